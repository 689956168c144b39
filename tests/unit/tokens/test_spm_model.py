from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor

from redpajama_pipe.tokens.spm_model import Type, hide_control_symbols, mergeable_symbols, read_pieces


def entry(piece: bytes, kind: Type) -> bytes:
    body = b"\x0a" + bytes([len(piece)]) + piece + b"\x15\x00\x00\x80\xbf" + b"\x18" + bytes([kind])
    return b"\x0a" + bytes([len(body)]) + body


def test_pieces_are_sentencepieces_own(sentencepiece_model: Path) -> None:
    processor = SentencePieceProcessor(model_file=str(sentencepiece_model))
    pieces = read_pieces(sentencepiece_model.read_bytes())
    assert [text for text, _ in pieces] == [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    assert [kind for _, kind in pieces[:4]] == [Type.UNKNOWN, Type.CONTROL, Type.CONTROL, Type.BYTE]


def test_control_symbols_are_hidden_and_nothing_else_changes(sentencepiece_model: Path) -> None:
    model = sentencepiece_model.read_bytes()
    hidden = hide_control_symbols(model)
    before, after = read_pieces(model), read_pieces(hidden)
    assert after[1:3] == [("\x001", Type.UNUSED), ("\x002", Type.UNUSED)]
    assert [after[0], *after[3:]] == [before[0], *before[3:]]
    with pytest.raises(RuntimeError, match="piece must not include null character"):
        SentencePieceProcessor(model_proto=hidden)  # so no piece of a real model can be spelt like these


def test_reserved_pieces_that_text_could_merge_into_are_named() -> None:
    reserved = entry(b"<unk>", Type.UNKNOWN) + entry(b"<0x0A>", Type.BYTE)
    assert mergeable_symbols(reserved + entry(b"<un", Type.NORMAL)) == []
    assert mergeable_symbols(reserved + entry(b"<un", Type.NORMAL) + entry(b"k>", Type.NORMAL)) == ["<unk>"]
    assert mergeable_symbols(reserved + entry(b"<0x", Type.NORMAL) + entry(b"0A>", Type.USER_DEFINED)) == ["<0x0A>"]


@pytest.mark.parametrize("data", [b"", b"{}", b"\x0a\xff\x01abc", b"\x08\x01"])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a SentencePiece model"):
        read_pieces(data)
