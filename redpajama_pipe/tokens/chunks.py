r"""Long documents in pieces, cut where no tokenizer looks across: the ids are those of the whole.

A cut lies before a single space between two ASCII letters. Byte-level BPE: the pre-tokenizer's pattern ends a word at
the letter and begins the next with the space, whatever lies around; NFC composes neither with a space. SentencePiece
BPE: pieces join only into pieces of the vocabulary, and none has a letter before U+2581; where the model puts a space
before every text, the space at the cut is left out. A unigram model is not cut: it adds up its scores in 32 bits from
the beginning of the text, so equal sums are broken otherwise. Memory and time then follow the piece, not the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe.tokens import spm_model

if TYPE_CHECKING:
    from redpajama_pipe.tokens.encode import Encoder, Engine, Ids, Offsets

CHUNK_BYTES = 4 << 20
_CUT = re.compile(rb"[A-Za-z] (?=[A-Za-z])")
_ACROSS = re.compile("[A-Za-z][ \u2581]")


def cut_text(text: bytes, chunk_bytes: int, drop_space: bool) -> Iterator[bytes]:
    """Cut UTF-8 at the first safe places after each `chunk_bytes`; where there is none, not at all.

    Args:
        text: one document.
        chunk_bytes: the least size of a piece, but for the last one.
        drop_space: the space at a cut is in neither piece.
    """
    at = 0
    while found := _CUT.search(text, at + chunk_bytes - 1):
        yield text[at : found.start() + 1]
        at = found.start() + 1 + drop_space
    yield text[at:]


class ChunkedTexts:
    """An encoder that takes a long document in pieces."""

    def __init__(self, encoder: Encoder, drop_space: bool, chunk_bytes: int = CHUNK_BYTES) -> None:
        """Wrap an encoder; `drop_space` is what `json_cuts` or `sentencepiece_cuts` says of its tokenizer."""
        self._encoder, self._drop_space, self._chunk_bytes = encoder, drop_space, chunk_bytes

    @property
    def engine(self) -> Engine:
        return self._encoder.engine

    @property
    def vocab_size(self) -> int:
        return self._encoder.vocab_size

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        return self._encoder.decode(ids)

    def encode_batch(self, texts: pa.Array) -> tuple[Ids, Offsets]:
        """Encode documents, each alone; as `Encoder.encode_batch`."""
        import pyarrow.compute as pc  # a tenth of a second: not for those who only decode

        sizes = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
        long = np.flatnonzero(sizes > self._chunk_bytes)
        if not len(long) or texts.null_count:
            return self._encoder.encode_batch(texts)
        pieces: list[Ids] = []
        lengths = np.zeros(len(texts), np.int64)
        at = 0
        for row in [*long.tolist(), len(texts)]:
            ids, offsets = self._encoder.encode_batch(texts.slice(at, row - at))
            pieces.append(ids)
            lengths[at:row] = np.diff(offsets)
            if row < len(texts):
                whole = texts[row].as_buffer().to_pybytes()
                for part in cut_text(whole, self._chunk_bytes, self._drop_space):
                    pieces.append(self._encoder.encode_batch(pa.array([part], pa.large_binary()).cast(_STRING))[0])
                    lengths[row] += len(pieces[-1])
            at = row + 1
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return np.concatenate(pieces), offsets


_STRING = pa.large_string()


def json_cuts(tokenizer: bytes) -> bool | None:
    """Say whether the space at a cut is dropped, for a tokenizer.json; None: its texts cannot be cut."""
    tree = json.loads(tokenizer)
    before = tree.get("pre_tokenizer") or {}
    plain = (
        tree["model"].get("type") == "BPE"
        and not tree["model"].get("dropout")
        and (tree.get("normalizer") or {}).get("type") in (None, "NFC")
        and before.get("type") == "ByteLevel"
        and before.get("use_regex", True)
    )
    tokens = tree.get("added_tokens") or []
    across = any(
        _ACROSS.search(token["content"]) or any(token.get(key) for key in ("lstrip", "rstrip", "single_word"))
        for token in tokens
    )
    return False if plain and not across else None


def sentencepiece_cuts(model: bytes) -> bool | None:
    """Say whether the space at a cut is dropped, for a SentencePiece model; None: its texts cannot be cut."""
    said = spm_model.read_settings(model)
    if said.unigram or said.maps_characters or said.suffix or (said.trims and not said.dummy_prefix):
        return None
    if any(_ACROSS.search(piece) for piece, _ in spm_model.read_pieces(model)):
        return None
    return said.dummy_prefix
