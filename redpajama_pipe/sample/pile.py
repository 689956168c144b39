"""Write Pile-style JSON Lines: {"text", "meta": {"pile_set_name"}}, with the lines that a reader must survive."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

# Lines that hold no document, by what is wrong with them.
BAD_LINES = {
    "bad_json": b'{"text": "The line ends before the object does", "meta": {"pile_set_name": "Planted"',
    "missing_text": b'{"contents": "The text is under another name.", "meta": {"pile_set_name": "Planted"}}',
    "text_not_a_string": b'{"text": 42, "meta": {"pile_set_name": "Planted"}}',
    "invalid_utf8": b'{"text": "caf\xe9 in Latin-1", "meta": {"pile_set_name": "Planted"}}',
}

_PROSE = (
    "The keeper of the small museum writes down what visitors ask about the old clocks. Some want to know how they are"
    " wound, others when they were last repaired, and a few only whether one of them still shows the right time. She"
    " answers every letter by hand, and in winter that takes her most of the week. "
)

# Lines whose text needs a repair, or is empty: a reader makes a document of them, or says why not.
ODD_LINES = {
    "lone_surrogate": json.dumps(
        {"text": _PROSE + "Half \ud800 a pair.", "meta": {"pile_set_name": "Planted"}}
    ).encode(),
    "nul": json.dumps({"text": _PROSE + "A NUL \x00 inside.", "meta": {"pile_set_name": "Planted"}}).encode(),
    "byte_order_mark": json.dumps({"text": "\ufeff" + _PROSE, "meta": {"pile_set_name": "Planted"}}).encode(),
    "empty_text": b'{"text": "", "meta": {"pile_set_name": "Planted"}}',
    "no_meta": json.dumps({"text": _PROSE + "Nobody says where it is from."}).encode(),
}


@dataclass
class PileFile:
    """The lines of one file; a line is known by its number, from 0, which is its record id."""

    name: str
    subsets: Counter[str] = field(default_factory=Counter)
    lines: list[bytes] = field(default_factory=list)

    def add(self, text: str, subset: str) -> int:
        """Append a document; returns its line number."""
        self.subsets[subset] += 1
        line = {"text": text, "meta": {"pile_set_name": subset}}
        return self.add_line(json.dumps(line, ensure_ascii=False).encode())

    def add_line(self, line: bytes) -> int:
        """Append a line as it is; returns its number."""
        self.lines.append(line)
        return len(self.lines) - 1

    def write(self, folder: Path) -> int:
        """Write the file in two Zstandard frames, as concatenated files have; returns the bytes of its lines."""
        middle = len(self.lines) // 2
        frames = [b"".join(line + b"\n" for line in half) for half in (self.lines[:middle], self.lines[middle:])]
        compressor = zstandard.ZstdCompressor(level=6)
        (folder / self.name).write_bytes(b"".join(compressor.compress(frame) for frame in frames))
        return sum(map(len, frames))
