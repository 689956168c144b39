"""Apply cuts and replacements to a text: what a decision's spans mean, in bytes.

Linear in the text after sorting the spans. Spans are the UTF-8 byte offsets of the decisions table.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

Span = tuple[int, int, bytes]
GivenSpan = tuple[int, int, bytes | str | None]


def merge_spans(given: Sequence[GivenSpan]) -> list[Span]:
    """Sort spans and make them disjoint.

    Cuts that overlap or touch become one. A replacement inside a cut is dropped: the cut removes it anyway. What
    overlaps otherwise becomes one span, with the first replacement in it: nothing that either would take out is left.

    Args:
        given: (start, end, replacement) in bytes, in any order; without a replacement, or with an empty one, a cut.

    Raises:
        ValueError: a span is empty or reversed.
    """
    spans = [(start, end, text.encode() if isinstance(text, str) else text or b"") for start, end, text in given]
    for start, end, _ in spans:
        if not 0 <= start < end:
            raise ValueError(f"span {start}:{end} is not a range of bytes")
    cuts: list[Span] = []
    for start, end, _ in sorted(span for span in spans if not span[2]):
        if cuts and start <= cuts[-1][1]:
            cuts[-1] = (cuts[-1][0], max(cuts[-1][1], end), b"")
        else:
            cuts.append((start, end, b""))
    starts = [start for start, _, _ in cuts]

    def is_cut(span: Span) -> bool:
        at = bisect_right(starts, span[0]) - 1
        return at >= 0 and span[1] <= cuts[at][1]

    merged: list[Span] = []
    for start, end, text in sorted([*cuts, *{span for span in spans if span[2] and not is_cut(span)}]):
        if merged and start < merged[-1][1]:
            before = merged[-1]
            merged[-1] = (before[0], max(before[1], end), before[2] or text)
        else:
            merged.append((start, end, text))
    return merged


def apply_spans(text: bytes | bytearray | memoryview, spans: Sequence[GivenSpan]) -> bytes:
    """Return the text with every span replaced.

    Args:
        text: valid UTF-8, as any flat buffer of bytes, an Arrow buffer too.
        spans: (start, end, replacement) as `merge_spans` takes them; end is exclusive.

    Returns:
        Valid UTF-8. No spans give the text itself.

    Raises:
        ValueError: a span ends outside the text, splits a character, or `merge_spans` refuses the spans.
    """
    view = memoryview(text).cast("B")
    pieces: list[bytes | memoryview] = []
    at = 0
    for start, end, replacement in merge_spans(spans):
        if end > len(view):
            raise ValueError(f"span {start}:{end} ends outside a text of {len(view)} bytes")
        for edge in (start, end):
            if edge < len(view) and view[edge] & 0xC0 == 0x80:
                raise ValueError(f"span {start}:{end} splits a UTF-8 character at byte {edge}")
        replacement.decode("utf-8")  # UnicodeDecodeError is a ValueError
        pieces += (view[at:start], replacement)
        at = end
    pieces.append(view[at:])
    return b"".join(pieces)
