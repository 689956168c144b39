"""Every error a user can meet, in one tree.

    PipelineError                 a user's mistake or bad data: the CLI prints one line and exits with status 2
    ├── RecipeError               a recipe, a rule set or an option is wrong
    ├── CatalogError              no such entry in filters/, tokenize/ or conf/
    ├── SetupError                Java, a model or an optional package is missing
    ├── InputError                the input files are missing or unreadable as a whole
    ├── StorageError              a disk is full, read-only or closed to the user
    ├── ManifestError             a stage's output is absent, unfinished or not what it says
    ├── ReconcileError            documents in differ from kept + dropped + quarantined
    └── GateError                 a stage lost more than its limit and stopped

A record that cannot be read is not an error: it is a quarantine row (see sources.record).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

# how a disk refuses, and what whoever has access to it can do
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
MAKE_ROOM = "make room, and run the same command again: it goes on where it stopped"
GIVE_ACCESS = "give access, or name another place, and run the same command again"


class PipelineError(Exception):
    """A failure with a cause that the user can act on; its text names the thing, the value and the way out."""


class RecipeError(PipelineError):
    """A recipe, a rule set or a command-line option is wrong."""


class CatalogError(PipelineError):
    """No such entry in filters/, tokenize/ or conf/."""


class SetupError(PipelineError):
    """Something the machine must have is missing: Java, a model file, an optional package."""


class InputError(PipelineError):
    """Input files are missing or cannot be opened at all."""


class StorageError(PipelineError):
    """What is to be written cannot be: the disk is full, over its quota, read-only, or closed to the user."""


class ManifestError(PipelineError):
    """A stage's output is absent, unfinished, or does not match its manifest."""


class ReconcileError(PipelineError):
    """Documents in differ from kept + dropped + quarantined."""


class GateError(PipelineError):
    """A stage would lose more than its limit; the recipe must say so to go on.

    Attributes:
        examples: ids of documents to look at.
    """

    def __init__(self, message: str, examples: Sequence[bytes] = ()) -> None:
        super().__init__(message)
        self.examples = tuple(examples)
