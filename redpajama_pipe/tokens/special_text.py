"""Texts that spell special tokens: `<|endoftext|>` in a crawled page is an attack, an accident or a manual.

The published libraries differ: Hugging Face tokenizers makes it the special token, SentencePiece leaves it text. A spec
or a recipe may ask for the other one, or for an error; then the few texts that spell a special token go to the
reference library, so that both engines give the same ids. Cost: one substring search a special token, about 1 GB/s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe.errors import InputError

if TYPE_CHECKING:
    from redpajama_pipe.tokens.encode import Encoder, Engine, Ids, Offsets


class SpecialTexts:
    """An encoder in which texts that spell a special token are encoded otherwise, or refused."""

    def __init__(self, encoder: Encoder, tokens: Sequence[str], encode: Callable[[str], list[int]] | None) -> None:
        """Wrap an encoder.

        Args:
            encoder: for all other texts.
            tokens: the special tokens' strings.
            encode: for a text that spells one; None: it is refused.
        """
        self._encoder, self._tokens, self._encode = encoder, list(tokens), encode

    @property
    def engine(self) -> Engine:
        return self._encoder.engine

    @property
    def vocab_size(self) -> int:
        return self._encoder.vocab_size

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        return self._encoder.decode(ids)

    def encode_batch(self, texts: pa.Array) -> tuple[Ids, Offsets]:
        """Encode documents, each alone.

        Raises:
            InputError: one spells a special token, and that is refused.
            ValueError: there is a null.
        """
        import pyarrow.compute as pc  # not for those who only decode

        ids, offsets = self._encoder.encode_batch(texts)
        spelling = np.zeros(len(texts), np.bool_)
        for token in self._tokens:
            found = pc.match_substring(texts, token).to_numpy(zero_copy_only=False)
            if self._encode is None and found.any():
                excerpt = _excerpt(texts[int(np.argmax(found))].as_py(), token)
                raise InputError(
                    f"a text spells the special token {token!r}: {excerpt}; "
                    "set tokenize.special_tokens_in_text to as_text or as_special"
                )
            spelling |= found
        if self._encode is None or not spelling.any():
            return ids, offsets
        return put_rows(ids, offsets, np.flatnonzero(spelling), lambda row: self._encode_row(texts, row))

    def _encode_row(self, texts: pa.Array, row: int) -> list[int]:
        assert self._encode is not None
        return self._encode(texts[row].as_py())


def put_rows(
    ids: Ids, offsets: Offsets, rows: NDArray[np.int64], encode: Callable[[int], list[int]]
) -> tuple[Ids, Offsets]:
    """Put other ids in place of some documents', ascending."""
    pieces: list[Ids] = []
    lengths = np.diff(offsets)
    at = 0
    for row in rows.tolist():
        own = np.array(encode(row), np.uint32)
        pieces += (ids[at : offsets[row]], own)
        at = int(offsets[row + 1])
        lengths[row] = len(own)
    pieces.append(ids[at:])
    return np.concatenate(pieces), np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def encode_around(text: str, tokens: Mapping[str, int], encode: Callable[[str], list[int]]) -> list[int]:
    """Encode a text with special tokens as their ids, the longest first; what lies between two is encoded alone."""
    names = sorted(tokens, key=lambda name: (-len(name), name))
    ids: list[int] = []
    for part in re.split("(" + "|".join(map(re.escape, names)) + ")", text):
        if part in tokens:
            ids.append(tokens[part])
        elif part:
            ids += encode(part)
    return ids


def _excerpt(text: str, token: str) -> str:
    at = text.index(token)
    return repr(text[max(0, at - 20) : at + len(token) + 20])
