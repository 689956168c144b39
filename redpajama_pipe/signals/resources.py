"""Word lists and models that some signals need: where they are found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """Where word lists and models lie.

    Attributes:
        word_lists: folder with word lists; empty: look in the usual places.
    """

    word_lists: str = ""
