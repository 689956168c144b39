"""Read and rewrite the pieces of a SentencePiece .model, a protocol buffer, without the protobuf package.

A loader that takes control symbols (<s>, </s>) for special tokens finds them in text; SentencePiece does not.
Renaming those pieces to something no text can spell gives SentencePiece's ids.

Source: google/sentencepiece, src/sentencepiece_model.proto: ModelProto.pieces = 1; SentencePiece.piece = 1, type = 3;
TrainerSpec.model_type = 3, treat_whitespace_as_suffix = 24; NormalizerSpec.precompiled_charsmap = 2,
add_dummy_prefix = 3, remove_extra_whitespaces = 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

PIECES = 1
PIECE, TYPE = 1, 3


class Type(IntEnum):
    """SentencePiece.Type."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _spell(value: int) -> bytes:
    spelt = bytearray()
    while value >= 0x80:
        spelt.append(value & 0x7F | 0x80)
        value >>= 7
    spelt.append(value)
    return bytes(spelt)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes, bytes]]:
    """Yield each field: its number, its value, and the bytes that spell both."""
    at = 0
    while at < len(data):
        start = at
        key, at = _varint(data, at)
        value: int | bytes
        if key & 7 == 0:
            value, at = _varint(data, at)
        else:
            if key & 7 == 2:
                length, at = _varint(data, at)
            elif key & 7 in (1, 5):
                length = 8 if key & 7 == 1 else 4
            else:
                raise ValueError(f"not a SentencePiece model: wire type {key & 7} at byte {start}")
            if at + length > len(data):
                raise ValueError(f"not a SentencePiece model: a field of {length} bytes at byte {start} is cut short")
            value, at = data[at : at + length], at + length
        yield key >> 3, value, data[start:at]


def _piece(entry: bytes) -> tuple[bytes, Type]:
    text, kind = b"", int(Type.NORMAL)
    for number, value, _ in _fields(entry):
        if number == PIECE and isinstance(value, bytes):
            text = value
        elif number == TYPE and isinstance(value, int):
            kind = value
    return text, Type(kind)


def read_pieces(model: bytes) -> list[tuple[str, Type]]:
    """Return every piece and its type; the position is the id.

    Raises:
        ValueError: this is not a SentencePiece model.
    """
    entries = [value for number, value, _ in _fields(model) if number == PIECES and isinstance(value, bytes)]
    if not entries:
        raise ValueError("not a SentencePiece model: it has no pieces")
    return [(text.decode("utf-8"), kind) for text, kind in map(_piece, entries)]


def hide_control_symbols(model: bytes) -> bytes:
    """Return the model with its control symbols renamed to NUL and a number, and made unused.

    SentencePiece refuses NUL in a piece, so nothing merges into one like that; ids stay what they are. The result is
    for other readers: SentencePiece refuses it too.
    """
    parts: list[bytes] = []
    position = 0
    for number, value, spelt in _fields(model):
        if number == PIECES and isinstance(value, bytes):
            if _piece(value)[1] is Type.CONTROL:
                name = b"\0%d" % position
                rest = b"".join(field for key, _, field in _fields(value) if key not in (PIECE, TYPE))
                entry = b"\x0a" + _spell(len(name)) + name + rest + b"\x18" + _spell(Type.UNUSED)
                spelt = b"\x0a" + _spell(len(entry)) + entry
            position += 1
        parts.append(spelt)
    return b"".join(parts)


def mergeable_symbols(model: bytes) -> list[str]:
    """Return the unknown and byte pieces that two ordinary pieces spell, such as `<unk>` from `<un` and `k>`.

    SentencePiece never merges into one of these; an implementation that builds its merges from the vocabulary would.
    """
    pieces = read_pieces(model)
    ordinary = {text for text, kind in pieces if kind in (Type.NORMAL, Type.USER_DEFINED)}
    reserved = [text for text, kind in pieces if kind in (Type.UNKNOWN, Type.BYTE)]
    return [
        text for text in reserved if any(text[:at] in ordinary and text[at:] in ordinary for at in range(1, len(text)))
    ]


@dataclass(frozen=True)
class Settings:
    """What a model says of itself that decides where a text may be cut.

    Attributes:
        unigram: not BPE.
        suffix: a space belongs to the word before it.
        maps_characters: it has a table of replacements.
        dummy_prefix: a space is put before every text.
        trims: runs of spaces become one, and none begins or ends a text.
    """

    unigram: bool
    suffix: bool
    maps_characters: bool
    dummy_prefix: bool
    trims: bool


def read_settings(model: bytes) -> Settings:
    """Read TrainerSpec (2) and NormalizerSpec (3) with the defaults of the published definition."""
    trainer, normalizer = (
        {key: value for number, entry, _ in _fields(model) if number == group and isinstance(entry, bytes)
         for key, value, _ in _fields(entry)}
        for group in (2, 3)
    )  # fmt: skip
    kind = trainer.get(3, 1)  # model_type: UNIGRAM = 1, BPE = 2, WORD, CHAR
    return Settings(
        unigram=kind != 2,
        suffix=bool(trainer.get(24, 0)),
        maps_characters=bool(normalizer.get(2, b"")),
        dummy_prefix=bool(normalizer.get(3, 1)),
        trims=bool(normalizer.get(4, 1)),
    )
