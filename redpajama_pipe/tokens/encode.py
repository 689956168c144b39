"""Texts to token ids, without a Python string or a Python list per document.

Two engines with the same ids: `gigatoken`, which reads Arrow's buffers where they lie, and `reference`, Hugging Face
tokenizers or SentencePiece itself, 10 to 40 times slower. What gigatoken would answer otherwise goes to the reference:
characters whose normalisation changed since Unicode 9 (see nfc_drift), models it cannot read.

Nothing is added: no BOS, no EOS, no separator. Special tokens that a text spells out: in a `hf_json` tokenizer they
become their id, as in Hugging Face tokenizers, so a text that says `<|endoftext|>` ends a document there; in a
`sentencepiece` one they stay text; the spec may say otherwise, see special_text. Long documents go in pieces, see
chunks.
"""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe import storage
from redpajama_pipe.errors import SetupError
from redpajama_pipe.text.buffers import utf8
from redpajama_pipe.tokens import chunks, spm_model
from redpajama_pipe.tokens.chunks import ChunkedTexts
from redpajama_pipe.tokens.spec import TokenizerSpec
from redpajama_pipe.tokens.special_text import SpecialTexts, encode_around, put_rows

Engine = Literal["gigatoken", "reference"]
Ids = NDArray[np.uint32]
Offsets = NDArray[np.int64]

# Normalisers that leave no room for another Unicode version; NFC is looked after by nfc_drift.
SETTLED_NORMALIZERS = {"NFC", "Prepend", "Replace", "Precompiled", "Sequence"}


class Encoder(Protocol):
    """Turns texts into ids.

    Attributes:
        engine: which one does the work.
        vocab_size: the tokenizer's own size with added tokens.
    """

    @property
    def engine(self) -> Engine: ...

    @property
    def vocab_size(self) -> int: ...

    def encode_batch(self, texts: pa.Array) -> tuple[Ids, Offsets]:
        """Encode documents, each alone.

        Args:
            texts: string or large_string, without nulls.

        Returns:
            The ids of all documents back to back, and (documents + 1,) where each begins.

        Raises:
            ValueError: there is a null.
        """

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        """Return the text of some ids, special tokens spelt out; bytes that are not UTF-8 become U+FFFD."""


def open_encoder(spec: TokenizerSpec, path: str | Path, engine: Engine = "gigatoken") -> Encoder:
    """Open a tokenizer and check its size, its end-of-document token and its golden cases.

    Args:
        spec: what `load_spec` gave.
        path: what `find_file` gave, or a trained model; a URL too.
        engine: `gigatoken` falls back to `reference` for a tokenizer it cannot be trusted with; the encoder says which.

    Raises:
        SetupError: the file cannot be read, or the tokenizer is not what the spec says.
    """
    try:
        data = storage.read_bytes(str(path))
    except OSError as error:
        raise SetupError(f"{spec.name}: cannot read tokenizer file {path}: {error.strerror or error}") from error
    try:
        reference = _JsonReference(data) if spec.kind == "hf_json" else _SentencePieceReference(data)
    except Exception as error:  # whatever the two libraries raise
        raise SetupError(f"{spec.name}: {path} is not a {spec.kind} tokenizer: {error}") from error
    encoder: Encoder = reference
    if engine == "gigatoken":
        encoder = _open_gigatoken(spec, data, reference) or reference
    _check(spec, reference, encoder)
    return _chunked(spec, data, _with_special_texts(spec, reference, encoder))


def _with_special_texts(spec: TokenizerSpec, reference: _Reference, encoder: Encoder) -> Encoder:
    native = "as_special" if spec.kind == "hf_json" else "as_text"
    wanted = spec.special_tokens_in_text or native
    if wanted == native:
        return encoder
    return SpecialTexts(encoder, list(reference.special_tokens), None if wanted == "error" else reference.encode_other)


def _chunked(spec: TokenizerSpec, data: bytes, encoder: Encoder) -> Encoder:
    drop_space = chunks.json_cuts(data) if spec.kind == "hf_json" else chunks.sentencepiece_cuts(data)
    return encoder if drop_space is None else ChunkedTexts(encoder, drop_space)


def _check(spec: TokenizerSpec, reference: _Reference, encoder: Encoder) -> None:
    if spec.vocab_size and encoder.vocab_size != spec.vocab_size:
        raise SetupError(f"{spec.name}: the tokenizer has {encoder.vocab_size} tokens, expected {spec.vocab_size}")
    found = reference.token_id(spec.eod)
    if found != spec.eod_id:
        raise SetupError(f"{spec.name}: {spec.eod} is token {found}, expected {spec.eod_id}")
    for case in spec.cases:
        # pyarrow imports pandas for its first array: not for those who only decode
        got = reference.encode(case.text) if encoder is reference else _encode_one(encoder, case.text)
        if got != list(case.ids):
            raise SetupError(f"{spec.name}: {encoder.engine} gives {got} for {case.text!r}, expected {list(case.ids)}")


def _encode_one(encoder: Encoder, text: str) -> list[int]:
    ids: list[int] = encoder.encode_batch(pa.array([text], pa.string()))[0].tolist()
    return ids


class _Reference(ABC):
    """One document at a time, on this thread: tokenizers' own batches would take every core of a Spark worker."""

    engine: Engine = "reference"
    vocab_size: int

    @abstractmethod
    def encode(self, text: str) -> list[int]: ...

    @abstractmethod
    def encode_other(self, text: str) -> list[int]:
        """Encode with special tokens in the text taken the other way: as text in hf_json, as special elsewhere."""

    @property
    @abstractmethod
    def special_tokens(self) -> dict[str, int]:
        """The tokens that are no text, and their ids."""

    @abstractmethod
    def token_id(self, token: str) -> int | None: ...

    @abstractmethod
    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str: ...

    def encode_batch(self, texts: pa.Array) -> tuple[Ids, Offsets]:
        documents = [np.array(self.encode(text), np.uint32) for text in _strings(texts)]
        return _join(documents)


class _JsonReference(_Reference):
    def __init__(self, data: bytes) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_buffer(data)
        self._data = data
        self.vocab_size = self._tokenizer.get_vocab_size(with_added_tokens=True)

    @cached_property
    def _as_text(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_buffer(self._data)
        tokenizer.encode_special_tokens = True  # tokenizers' name for taking them as text
        return tokenizer

    def encode_other(self, text: str) -> list[int]:
        ids: list[int] = self._as_text.encode(text, add_special_tokens=False).ids
        return ids

    @property
    def special_tokens(self) -> dict[str, int]:
        added = self._tokenizer.get_added_tokens_decoder()
        return {token.content: number for number, token in added.items() if token.special}

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def token_id(self, token: str) -> int | None:
        found: int | None = self._tokenizer.token_to_id(token)
        return found

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        text: str = self._tokenizer.decode([int(token) for token in ids], skip_special_tokens=False)
        return text


class _SentencePieceReference(_Reference):
    def __init__(self, data: bytes) -> None:
        from sentencepiece import SentencePieceProcessor

        spm_model.read_pieces(data)  # SentencePiece takes an empty file for a model
        self._processor = SentencePieceProcessor(model_proto=data)
        self.vocab_size = self._processor.get_piece_size()

    @cached_property
    def _control(self) -> list[bool]:
        return [self._processor.is_control(token) for token in range(self.vocab_size)]

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._processor.encode(text, add_bos=False, add_eos=False)
        return ids

    def encode_other(self, text: str) -> list[int]:
        return encode_around(text, self.special_tokens, self.encode)

    @cached_property
    def special_tokens(self) -> dict[str, int]:
        return {self._processor.id_to_piece(at): at for at, control in enumerate(self._control) if control}

    def token_id(self, token: str) -> int | None:
        found = self._processor.piece_to_id(token)
        return int(found) if self._processor.id_to_piece(found) == token else None

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        # SentencePiece drops control symbols; between two of them, each document is decoded alone.
        pieces: list[str] = []
        run: list[int] = []
        for token in [int(token) for token in ids]:
            if self._control[token]:
                pieces += (self._processor.decode(run), self._processor.id_to_piece(token))
                run = []
            else:
                run.append(token)
        pieces.append(self._processor.decode(run))
        return "".join(pieces)


class _Gigatoken:
    """gigatoken on this thread; in a forked Spark worker its thread pool would wait for ever."""

    engine: Engine = "gigatoken"

    def __init__(self, tokenizer: Any, reference: _Reference, *, nfc: bool) -> None:
        self._tokenizer = tokenizer
        self._reference = reference
        self._nfc = nfc
        self.vocab_size: int = reference.vocab_size

    def encode_batch(self, texts: pa.Array) -> tuple[Ids, Offsets]:
        awkward = importlib.import_module("awkward")  # gigatoken brings it; it has no types
        data, starts, valid = utf8(texts)
        if not valid.all():
            raise ValueError(f"text {int(np.argmin(valid))} is null")
        if not len(texts):
            return np.zeros(0, np.uint32), np.zeros(1, np.int64)
        characters = awkward.contents.NumpyArray(data, parameters={"__array__": "char"})
        strings = awkward.contents.ListOffsetArray(
            awkward.index.Index64(starts), characters, parameters={"__array__": "string"}
        )
        encoded = self._tokenizer.encode_batch(awkward.Array(strings), parallel=False).layout
        offsets: Offsets = np.asarray(encoded.offsets.data, np.int64)
        ids: Ids = np.asarray(encoded.content.data)[: offsets[-1]]
        if self._nfc:
            from redpajama_pipe.tokens import nfc_drift  # Numba: not for those who only decode

            drifting = np.zeros(len(texts), np.bool_)
            nfc_drift.find_drifting(data, starts, nfc_drift.changed(), drifting)
            if drifting.any():
                rows = np.flatnonzero(drifting)
                return put_rows(ids, offsets, rows, lambda row: self._reference.encode(texts[row].as_py()))
        return ids, offsets

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        return self._reference.decode(ids)


def _open_gigatoken(spec: TokenizerSpec, data: bytes, reference: _Reference) -> Encoder | None:
    """Open the fast engine; None for a tokenizer that it cannot read or would read differently."""
    from gigatoken import Tokenizer

    nfc = False
    try:
        if spec.kind == "sentencepiece":
            if spm_model.mergeable_symbols(data):
                return None
            tokenizer = Tokenizer.from_sentencepiece(spm_model.hide_control_symbols(data))
        else:
            kinds = set(_kinds(json.loads(data).get("normalizer")))
            if not kinds <= SETTLED_NORMALIZERS:
                return None
            nfc = "NFC" in kinds
            tokenizer = Tokenizer.from_json(data)
    except ValueError:  # a unigram model, an unknown pre-tokenizer
        return None
    return _Gigatoken(tokenizer, reference, nfc=nfc)


def _kinds(normalizer: Any) -> Iterator[str]:
    if normalizer:
        yield normalizer["type"]
        for inner in normalizer.get("normalizers", ()):
            yield from _kinds(inner)


def _strings(texts: pa.Array) -> list[str]:
    if texts.null_count:
        raise ValueError(f"text {texts.is_null().index(True).as_py()} is null")
    strings: list[str] = texts.to_pylist()
    return strings


def _join(documents: Sequence[Ids]) -> tuple[Ids, Offsets]:
    offsets = np.zeros(len(documents) + 1, np.int64)
    np.cumsum([len(document) for document in documents], out=offsets[1:])
    return np.concatenate([np.zeros(0, np.uint32), *documents]), offsets
