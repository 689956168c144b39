"""Cut texts into lines, paragraphs or spans of three sentences, and hash each: what repeated text is found by.

Lines are found and hashed by NumPy and Numba over the whole batch; no Python string is made but of lines outside ASCII
in CCNet's reading, which follows str.lower() of the running Python as the published code did.

Sources: Wenzek et al. 2019, CCNet, arXiv:1911.00359 (facebookresearch/cc_net: cc_net/dedup.py); Raffel et al. 2020,
Exploring the Limits of Transfer Learning, arXiv:1910.10683, section 2.2 (three-sentence spans).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.dedup.normalized import Spans, normalize_spans
from redpajama_pipe.dedup.sha1 import SPARE, make_lanes, sha1_spans
from redpajama_pipe.dedup.xxh64 import xxh64_spans
from redpajama_pipe.text.buffers import utf8
from redpajama_pipe.text.ccnet import normalize_for_dedup

SENTENCES = 3  # of a span, as C4
SPAN_BYTES = 16  # of one row of `places` as little-endian int32

Unit = Literal["line", "paragraph", "three_sentences", "ccnet_line"]


class Units(NamedTuple):
    """Units of a batch of texts, in order.

    Attributes:
        document: (units,) which text each is of.
        places: (units, 4) in bytes from the text's start: where the unit before ends, without what separates the two;
            where it begins; where it ends; where what separates it from the next one ends. The last two are equal for
            the last unit of a text, and for no other.
        keys: (units, 2) equal for equal units: 128 bits, or 64 and zeros for `ccnet_line`.
    """

    document: NDArray[np.int64]
    places: NDArray[np.int64]
    keys: NDArray[np.uint64]


def find_units(texts: pa.Array, unit: Unit, min_chars: int = 0) -> Units:
    """Cut texts into units.

    Args:
        texts: strings, none null.
        unit: `line`: between line breaks (U+000A). `paragraph`: lines up to one that is blank. `three_sentences`: each
            three sentences that follow each other, so these overlap; see `split_sentences`. These are equal when
            `normalized` makes the same of them, of each sentence for itself. `ccnet_line`: a line, in CCNet's
            normalisation.
        min_chars: lines and paragraphs whose normalised form has fewer code points are left out.

    Returns:
        The units. A blank one, and in CCNet's reading a text without a byte, is left out; CCNet's blank lines are not.
    """
    data, offsets, _ = utf8(texts)
    if unit == "ccnet_line":
        units = split_lines(data, offsets)
        empty = (offsets[1:] == offsets[:-1])[units.document]
        units = _select(units, ~empty)
        return units._replace(keys=_ccnet_keys(_spans(data, offsets, units)))
    if unit == "three_sentences":
        sentences = split_sentences(data, offsets)
        normal, _ = normalize_spans(_spans(data, offsets, sentences))
        return runs_of(sentences._replace(keys=_keys(normal)), SENTENCES)
    units = split_lines(data, offsets) if unit == "line" else split_paragraphs(data, offsets)
    normal, chars = normalize_spans(_spans(data, offsets, units))
    long_enough = chars >= max(1, min_chars)
    chosen = Spans(normal.data, normal.starts[long_enough], normal.ends[long_enough])
    return _select(units, long_enough)._replace(keys=_keys(chosen))


def split_lines(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Units:
    """Cut texts at U+000A; a text that ends with one has an empty line after it. Keys are empty."""
    breaks = np.flatnonzero(data[offsets[0] : offsets[-1]] == 0x0A) + offsets[0]
    starts = np.sort(np.concatenate([offsets[:-1], breaks + 1]), kind="stable")
    stops = np.sort(np.concatenate([breaks, offsets[1:]]), kind="stable")
    lines = np.searchsorted(breaks, offsets[1:]) - np.searchsorted(breaks, offsets[:-1]) + 1
    document = np.repeat(np.arange(len(lines)), lines)
    begin, end = offsets[:-1][document], offsets[1:][document]
    first = np.ones(len(document), np.bool_)
    first[1:] = document[1:] != document[:-1]
    last = np.ones(len(document), np.bool_)
    last[:-1] = first[1:]
    places = np.stack([starts - ~first, starts, stops, np.where(last, end, stops + 1)], axis=1) - begin[:, None]
    return Units(document, places, _no_keys(document))


def split_paragraphs(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Units:
    """Cut texts where a line is blank, that is, empty but for white space. Keys are empty."""
    lines = split_lines(data, offsets)
    blank = normalize_spans(_spans(data, offsets, lines)).chars == 0
    return _joined(lines, blank, offsets)


def split_sentences(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Units:
    """Cut texts into sentences. Keys are empty.

    A sentence ends at a line break; after a run of . ? ! and the quotes and brackets that close behind it, where white
    space follows; and after 。 ？ ！ or ｡ and what closes behind it. The paper names no splitter; datatrove's is
    Punkt, which knows abbreviations. Here "Dr. Who" is cut in two wherever it occurs, so copies still agree.
    """
    plain = np.ones(256, np.bool_)
    plain[[*b"\n.!?", 0xE3, 0xEF]] = False
    room = int(np.count_nonzero(~plain[data[offsets[0] : offsets[-1]]])) + len(offsets)
    plain[[*b"\t\v\f\r\x1c\x1d\x1e\x1f "]] = False
    starts, stops, document = _sentence_ends(data, offsets, plain, room)
    begin = offsets[:-1][document]
    places = np.stack([starts, starts, stops, stops], axis=1) - begin[:, None]
    units = Units(document, places, _no_keys(document))
    return _joined(units, np.zeros(len(document), np.bool_), offsets, alone=True)


def runs_of(units: Units, count: int) -> Units:
    """Make a unit of every `count` units that follow each other in one text; its key is a hash of theirs."""
    if len(units.document) < count:
        return _select(units, np.zeros(len(units.document), np.bool_))
    begins = np.flatnonzero(units.document[count - 1 :] == units.document[: len(units.document) - count + 1])
    first, last = units.places[begins], units.places[begins + count - 1]
    each = 16 * count
    keys = np.concatenate([units.keys[begins + step] for step in range(count)], axis=1).astype("<u8").tobytes()
    starts = np.arange(len(begins)) * each
    hashed = _keys(Spans(np.frombuffer(keys + bytes(SPARE), np.uint8), starts, starts + each))
    return Units(units.document[begins], np.concatenate([first[:, :2], last[:, 2:]], axis=1), hashed)


def rows_of(units: Units) -> tuple[NDArray[np.int64], NDArray[np.uint64], pa.Array]:
    """Gather the units of a text that have one key.

    Returns:
        For each text and key: the text's number, the key (rows, 2), and the places in order, as binary of `SPAN_BYTES`
        each.
    """
    order = np.lexsort((units.places[:, 1], units.keys[:, 1], units.keys[:, 0], units.document))
    document, keys = units.document[order], units.keys[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (document[1:] != document[:-1]) | np.any(keys[1:] != keys[:-1], axis=1)
    begins = np.flatnonzero(first)
    places = units.places[order].astype("<i4")
    ends = (np.append(begins, len(order)) * SPAN_BYTES).astype(np.int32)
    spans = pa.Array.from_buffers(pa.binary(), len(begins), [None, pa.py_buffer(ends), pa.py_buffer(places.tobytes())])
    return document[begins], keys[begins], spans


def _no_keys(document: NDArray[np.int64]) -> NDArray[np.uint64]:
    return np.zeros((len(document), 2), np.uint64)


def _select(units: Units, chosen: NDArray[np.bool_]) -> Units:
    return Units(units.document[chosen], units.places[chosen], units.keys[chosen])


def _spans(data: NDArray[np.uint8], offsets: NDArray[np.int64], units: Units) -> Spans:
    begin = offsets[:-1][units.document]
    return Spans(data, units.places[:, 1] + begin, units.places[:, 2] + begin)


def _joined(units: Units, blank: NDArray[np.bool_], offsets: NDArray[np.int64], *, alone: bool = False) -> Units:
    """Join units that follow each other without a blank one between them, or none (`alone`); blank ones separate."""
    solid = np.flatnonzero(~blank)
    document = units.document[solid]
    begins = np.ones(len(solid), np.bool_)
    if not alone:
        begins[1:] = (np.diff(solid) > 1) | (document[1:] != document[:-1])
    at = np.flatnonzero(begins)
    lasts = np.append(at[1:], len(solid))[: len(at)] - 1
    document = document[at]
    starts, stops = units.places[solid[at], 1], units.places[solid[lasts], 2]
    befores, ends = starts.copy(), (offsets[1:] - offsets[:-1])[document]
    same = document[1:] == document[:-1]
    befores[1:][same] = stops[:-1][same]
    ends[:-1][same] = starts[1:][same]
    last = np.ones(len(at), np.bool_)
    last[:-1] = ~same
    stops = np.where(last, ends, stops)  # what follows the last one, such as a line break, is taken with it
    return Units(document, np.stack([befores, starts, stops, ends], axis=1), _no_keys(document))


def _keys(spans: Spans) -> NDArray[np.uint64]:
    """Hash spans with two functions that have nothing in common: SHA-1's first 64 bits, and XXH64."""
    keys = np.zeros((2, len(spans.starts)), np.uint64)
    sha1_spans(spans.data, spans.starts, spans.ends, len(spans.starts), keys[0], make_lanes())
    xxh64_spans(spans.data, spans.starts, spans.ends, len(spans.starts), keys[1])
    return np.ascontiguousarray(keys.T)


def _ccnet_keys(spans: Spans) -> NDArray[np.uint64]:
    count = len(spans.starts)
    out = np.zeros(int((spans.ends - spans.starts).sum()) + SPARE, np.uint8)
    bounds, foreign = np.zeros(count + 1, np.int64), np.zeros(count, np.bool_)
    _ccnet_ascii(spans.data, spans.starts, spans.ends, out, bounds, foreign)
    starts, ends = bounds[:-1].copy(), bounds[1:].copy()
    view, pieces, at = spans.data.data, [out.tobytes()], len(out)
    for index in np.flatnonzero(foreign).tolist():
        line = str(view[spans.starts[index] : spans.ends[index]], "utf-8")
        piece = normalize_for_dedup(line).encode()
        pieces.append(piece)
        starts[index], ends[index] = at, at + len(piece)
        at += len(piece)
    data = np.frombuffer(b"".join([*pieces, bytes(SPARE)]), np.uint8)
    keys = np.zeros((2, count), np.uint64)
    sha1_spans(data, starts, ends, count, keys[0], make_lanes())
    return np.ascontiguousarray(keys.T)


@njit(cache=True, nogil=True)
def _ccnet_ascii(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    out: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    foreign: NDArray[np.bool_],
) -> None:
    """normalize_for_dedup of lines in ASCII; others are marked as `foreign` and give nothing."""
    k = 0
    for i in range(len(starts)):
        begin, end = starts[i], ends[i]
        while begin < end and _is_space(data[begin]):
            begin += 1
        while end > begin and _is_space(data[end - 1]):
            end -= 1
        for at in range(begin, end):
            byte = data[at]
            if byte > 127:
                foreign[i] = True
                k = bounds[i]
                break
            if 65 <= byte <= 90:
                byte += 32
            elif 48 <= byte <= 57:
                byte = 48
            if byte >= 32 and byte != 127:
                out[k] = byte
                k += 1
        bounds[i + 1] = k


@njit(cache=True, nogil=True)
def _is_space(byte: int) -> bool:
    return byte == 32 or 9 <= byte <= 13 or 28 <= byte <= 31


@njit(cache=True, nogil=True)
def _ideographic_stop(data: NDArray[np.uint8], at: int, end: int) -> bool:
    if at + 3 > end:
        return False
    a, b, c = data[at], data[at + 1], data[at + 2]
    # 。 ！ ？ ｡
    if a == 0xE3:
        return bool(b == 0x80 and c == 0x82)
    return bool(a == 0xEF and ((b == 0xBC and (c == 0x81 or c == 0x9F)) or (b == 0xBD and c == 0xA1)))


@njit(cache=True, nogil=True)
def _closing(data: NDArray[np.uint8], at: int, end: int) -> int:
    """Return the bytes of the closing quote or bracket at a place; 0 where there is none."""
    byte = data[at]
    if byte == 0x22 or byte == 0x27 or byte == 0x29 or byte == 0x5D:  # " ' ) ]
        return 1
    if byte == 0xC2 and at + 2 <= end and data[at + 1] == 0xBB:  # »
        return 2
    if at + 3 <= end:
        b, c = data[at + 1], data[at + 2]
        if byte == 0xE2 and b == 0x80 and (c == 0x99 or c == 0x9D):  # ’ ”
            return 3
        if byte == 0xE3 and b == 0x80 and (c == 0x8D or c == 0x8F):  # 」 』
            return 3
        if byte == 0xEF and b == 0xBC and c == 0x89:  # ）
            return 3
    return 0


@njit(cache=True, nogil=True)
def _sentence_ends(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], plain: NDArray[np.bool_], room: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return where each sentence begins and ends, white space left out, and the text that it is of.

    Args:
        data: the texts.
        offsets: where each begins and ends.
        plain: (256,) bytes that neither are white space nor begin a mark that may end a sentence.
        room: no less than there are sentences.
    """
    starts, stops, document = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    count = 0
    for i in range(len(offsets) - 1):
        at, end = offsets[i], offsets[i + 1]
        start = np.int64(-1)  # of the sentence that is open
        stop = at  # after its last byte that is no white space
        while at <= end:
            if at < end and plain[data[at]]:
                start = at if start < 0 else start
                at += 1
                stop = at
                continue
            over = at == end or data[at] == 0x0A
            if not over and not _is_space(data[at]):
                if start < 0:
                    start = at
                ended = False
                if _ideographic_stop(data, at, end):
                    at += 3
                    ended = True
                    while at < end and _ideographic_stop(data, at, end):
                        at += 3
                elif data[at] == 0x2E or data[at] == 0x21 or data[at] == 0x3F:
                    at += 1
                    ended = True
                    while at < end and (data[at] == 0x2E or data[at] == 0x21 or data[at] == 0x3F):
                        at += 1
                else:
                    at += 1
                if ended:
                    ideographic = data[at - 1] > 127
                    closing = _closing(data, at, end) if at < end else 0
                    while closing:
                        at += closing
                        closing = _closing(data, at, end) if at < end else 0
                    over = ideographic or at == end or _is_space(data[at])
                stop = at
                if not over:
                    continue
                at -= 1  # the step below goes on behind the sentence
            if over and start >= 0:
                starts[count], stops[count], document[count] = start, stop, i
                count += 1
                start = np.int64(-1)
            at += 1
    return starts[:count], stops[:count], document[:count]
