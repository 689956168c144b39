"""Cut a multistream dump into runs of whole bz2 streams, and read one run, so that many tasks read one file.

`…-pages-articles-multistream.xml.bz2` is one XML file in thousands of bz2 streams of 100 pages; the first holds
siteinfo alone, and `…-multistream-index.txt.bz2` beside it says where the others start. Cuts depend on these two files
only. Planning reads the indexes (2 to 6 s of one core for 100 MB of lines, nearly all of it bz2) and holds 24 bytes a
stream. Reading holds one stream, at most 48 MiB of it, for text is handed out only after its checksum held.

Source: wikimedia/operations-dumps: xmldumps-backup/dumps/recompressjobs.py; bzip2 1.0.8: decompress.c.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe import storage
from redpajama_pipe.errors import InputError
from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources.record import Quarantined, Record, Split
from redpajama_pipe.sources.remote import DEFAULT, Retry, is_http, open_remote
from redpajama_pipe.sources.streams import Fault, MemberStream
from redpajama_pipe.sources.wiki_pages import ROOT, PageReader, RawPage

# Compressed bytes of a split, at least: some minutes of work, most of it cleaning. Another value gives other parts, the
# same documents.
SPLIT_BYTES = 64 << 20
HEADER_BYTES = 1 << 20
# A block of 900 kB gives at most 46.7 MB (five bytes stand for up to 259), and its checksum is tested after it.
HELD_BYTES = 48 << 20
SCAN_BYTES = 1 << 20

_DUMP = re.compile(r"(-multistream)(\d*)\.xml((?:-p\d+p\d+)?\.bz2)$")
_INDEX = re.compile(r"-multistream-index\d*\.txt(-p\d+p\d+)?(\.bz2)?$")
# A stream starts on a whole byte with this and its first block's magic, or the end's when it is empty.
_STREAM = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
_STREAM_BYTES = 10
_ROOT_END = b"</mediawiki>"
_WAY_OUT = "fetch the dump and its index again, or remove the index to read the dump in one task"


def is_index(path: str) -> bool:
    """Say whether a file is the index of a multistream dump, which is no dump itself."""
    return _INDEX.search(path) is not None


def index_path(uri: str) -> str | None:
    """Say where a multistream dump's index is, which may or may not be there; None: the file is no such dump."""
    return _DUMP.sub(r"\1-index\2.txt\3", uri) if _DUMP.search(uri) else None


def cut_dumps(splits: Sequence[Split], retry: Retry = DEFAULT) -> list[Split]:
    """Cut each file as `cut_dump` does, several at a time, in the order given."""
    with ThreadPoolExecutor() as pool:  # nearly all of it is bz2, which needs no lock of Python's
        return [part for parts in pool.map(lambda split: cut_dump(split, retry=retry), splits) for part in parts]


def cut_dump(split: Split, split_bytes: int | None = None, retry: Retry = DEFAULT) -> list[Split]:
    """Cut a whole file into ranges of whole streams; a file without an index stays as it is.

    So does a file on a web server: Wikimedia asks for few connections, and many tasks would open many.

    Every range has at least `split_bytes` (by default SPLIT_BYTES; a smaller file is one range) and begins where the
    ids of all pages before it are smaller than those after it: so page ids that are unique in each range are unique
    in the file.

    Raises:
        InputError: the index cannot be read or belongs to another file, or the file does not begin as a dump does.
    """
    index = index_path(split.uri)
    if index is None or is_http(split.uri) or not storage.exists(index):
        return [split]
    size = storage.size(split.uri)
    least = SPLIT_BYTES if split_bytes is None else split_bytes
    read_header(split.uri, retry)  # without it no range can be read
    starts = [0]
    if size >= 2 * least:
        starts += _choose(_read_index(index, retry), size, least, split.uri, index, retry)
    return [replace(split, start=start, end=end) for start, end in zip(starts, [*starts[1:], size], strict=True)]


def read_header(uri: str, retry: Retry = DEFAULT) -> bytes:
    """Return what comes before the first page: the root element's start and siteinfo.

    Raises:
        InputError: the first bz2 stream cannot be read, or is not the beginning of a dump.
    """
    with open_remote(uri, end=HEADER_BYTES, retry=retry) as raw:
        stream = MemberStream(raw)
        header = b""
        for piece in stream.blocks():
            if header and stream.member_at(stream.position - len(piece)) is not None:
                break
            header += piece
            if b"<page>" in header or len(header) > HEADER_BYTES:
                break
    header = header.partition(b"<page>")[0]
    why = stream.fault.detail if stream.fault and stream.fault.offset == 0 else ""
    if not why and stream.codec != "bzip2":
        why = f"it is {stream.codec}, not bzip2"
    try:
        PageReader(HEADER_BYTES).feed(header)
    except expat.ExpatError as error:
        why = why or str(error)
    if why or b"<mediawiki" not in header or len(header) > HEADER_BYTES:
        why = why or "it does not begin with <mediawiki>"
        raise InputError(f"{uri!r} does not begin as a multistream dump does: {why}; fetch the file again")
    return header


def read_range(split: Split, source: Source, retry: Retry = DEFAULT) -> Iterator[Record]:
    """Yield one row for each page of a run of streams, as `wikipedia.read_wikipedia` does for a whole file.

    A damaged stream costs its own pages: one quarantine row with the stream's place, and reading goes on at the next.

    Raises:
        InputError: the file does not begin as a dump does, or the language is unknown.
    """
    from redpajama_pipe.sources.wikipedia import articles_of

    siteinfo = PageReader(HEADER_BYTES)
    siteinfo.feed(read_header(split.uri, retry))
    articles = articles_of(split, source, siteinfo)
    xml: _StreamXml | None = None
    for piece in _verified_pieces(split, retry):
        if isinstance(piece, Fault):
            yield Quarantined("", piece.offset, piece.reason, piece.detail)
        else:
            xml = xml or _StreamXml(piece.offset, source.max_document_bytes)
            for page in xml.pages(piece.data, piece.last):
                yield page if isinstance(page, Quarantined) else articles.read(page)
            if not piece.last:
                continue
        if xml:
            xml.release()
            xml = None


class _StreamXml(PageReader):
    """The XML of one stream, completed by the root's start and end to a document of its own."""

    def __init__(self, offset: int, limit: int) -> None:
        super().__init__(limit)
        self._stream = offset
        self._tail = b""
        if offset:  # the first stream has it
            self.feed(ROOT)

    def pages(self, data: bytes, last: bool) -> Iterator[RawPage | Quarantined]:
        """Yield the pages that end in more of the stream, and a row for what is lost up to the next page."""
        self._tail = (self._tail + data)[-2 * len(_ROOT_END) :]
        for found, bad in self.read(data):
            yield from self._placed(found)
            if bad:
                yield replace(bad, offset=self._stream)
        if not last:
            return
        try:
            if not self._tail.rstrip().endswith(_ROOT_END):
                self.feed(_ROOT_END)
            self.close()
        except expat.ExpatError as error:
            yield replace(self.rest("truncated_xml", str(error)), offset=self._stream)

    def release(self) -> None:
        """Free the parser now; it and its handlers hold each other, and there is one for each stream."""
        del self._parser

    def _placed(self, pages: list[RawPage]) -> Iterator[RawPage]:
        for page in pages:
            if self._stream:
                page.offset = self._stream
            yield page


@dataclass(frozen=True, slots=True)
class _Piece:
    """Decompressed bytes of the stream that starts at `offset`; `last`: they end it."""

    offset: int
    data: bytes
    last: bool


def _verified_pieces(split: Split, retry: Retry) -> Iterator[_Piece | Fault]:
    """Decompress the streams of a range; what fails its checksum is not handed out but a fault in its place."""
    start: int | None = split.start
    while start is not None:
        with open_remote(split.uri, start=start, end=split.end, retry=retry) as raw:
            stream = MemberStream(raw)
            held: deque[bytes] = deque()
            size = 0
            offset = start
            for data in stream.blocks():
                member = stream.member_at(stream.position - len(data))
                stream.forget()
                if member is not None:
                    yield from _hand_out(offset, held)
                    size, offset = 0, start + member
                held.append(data)
                size += len(data)
                while size > HELD_BYTES:
                    size -= len(held[0])
                    yield _Piece(offset, held.popleft(), last=False)
            fault = stream.fault
            if fault is None or start + fault.offset != offset:  # it lies after the stream that is held
                yield from _hand_out(offset, held)
        if fault is None:
            return
        at = start + fault.offset
        cause = fault.detail.partition(": ")[2]
        yield replace(fault, offset=at, detail=f"bz2 stream at byte {at}, all its pages: {cause}")
        start = _find_stream(split.uri, at + 1, split.end, retry)


def _hand_out(offset: int, held: deque[bytes]) -> Iterator[_Piece]:
    """Yield what is held of a stream that ended well."""
    while held:
        yield _Piece(offset, held.popleft(), last=not held)


def _find_stream(uri: str, start: int, end: int, retry: Retry) -> int | None:
    """Say where the next stream begins at or after `start`; None: there is none before `end`."""
    with open_remote(uri, start=start, end=end, retry=retry) as raw:
        seen = b""
        while data := raw.read(SCAN_BYTES):
            seen = seen[-_STREAM_BYTES + 1 :] + data
            start += len(data)
            found = _STREAM.search(seen)
            if found:
                return start - len(seen) + found.start()
    return None


@dataclass(frozen=True, slots=True)
class _Index:
    """For each stream, in order: where it starts, and the smallest and the largest id of its pages."""

    starts: NDArray[np.int64]
    lowest: NDArray[np.int64]
    highest: NDArray[np.int64]


def _read_index(index: str, retry: Retry = DEFAULT) -> _Index:
    """Read an index to one entry for each stream."""
    starts: list[NDArray[np.int64]] = []
    lowest: list[NDArray[np.int64]] = []
    highest: list[NDArray[np.int64]] = []
    with open_remote(index, retry=retry) as raw:
        stream = MemberStream(raw)
        for block in _whole_lines(stream):
            offsets, ids = _parse_lines(block, index)
            first = np.flatnonzero(np.diff(offsets, prepend=-1))
            starts.append(offsets[first])
            lowest.append(np.minimum.reduceat(ids, first))
            highest.append(np.maximum.reduceat(ids, first))
        if stream.fault:
            raise InputError(f"the index {index!r} is damaged: {stream.fault.detail}; {_WAY_OUT}")
    if not starts:
        raise InputError(f"the index {index!r} is empty; {_WAY_OUT}")
    offsets, low, high = np.concatenate(starts), np.concatenate(lowest), np.concatenate(highest)
    if np.any(np.diff(offsets) < 0):
        raise InputError(f"the index {index!r} is not in the order of its dump; {_WAY_OUT}")
    first = np.flatnonzero(np.diff(offsets, prepend=-1))  # a stream may lie in two blocks of lines
    return _Index(offsets[first], np.minimum.reduceat(low, first), np.maximum.reduceat(high, first))


def _whole_lines(stream: MemberStream) -> Iterator[bytes]:
    """Yield the stream in pieces that end with a line."""
    rest = b""
    for block in stream.blocks():
        lines, newline, block_rest = block.rpartition(b"\n")
        if newline:
            yield rest + lines + newline
            rest = block_rest
        else:
            rest += block
    if rest:
        yield rest + b"\n"


def _parse_lines(lines: bytes, index: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the stream's start and the page id of each line `start:id:title`; titles may hold colons."""
    data = np.frombuffer(lines, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    begins = np.concatenate(([0], ends[:-1] + 1))
    colons = np.append(np.flatnonzero(data == ord(":")), [len(data), len(data)])
    at = np.searchsorted(colons, begins)
    first, second = colons[at], colons[at + 1]
    offsets, ids = _numbers(data, begins, first), _numbers(data, first + 1, second)
    wrong = np.flatnonzero((second > ends) | (offsets < 0) | (ids < 0))
    if len(wrong):
        line = lines[begins[wrong[0]] : ends[wrong[0]]].decode("utf-8", "replace")
        raise InputError(f"the index {index!r} has a line that is not offset:page id:title: {line!r}; {_WAY_OUT}")
    return offsets, ids


def _numbers(data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Read the decimal numbers from begins to ends, excluded; -1 for what is none of 1 to 18 digits."""
    width = ends - begins
    values = np.zeros(len(begins), np.int64)
    bad = (width < 1) | (width > 18)
    for place in range(int(width[~bad].max(initial=0))):
        digits = data[np.minimum(begins + place, len(data) - 1)].astype(np.int64) - ord("0")
        inside = place < width
        bad |= inside & ((digits < 0) | (digits > 9))
        values = np.where(inside, values * 10 + digits, values)
    return np.where(bad, -1, values)


def _choose(streams: _Index, size: int, least: int, uri: str, index: str, retry: Retry) -> list[int]:
    """Choose where ranges after the first begin, and see that a stream does begin there."""
    if streams.starts[-1] >= size:
        raise InputError(
            f"the index {index!r} names byte {streams.starts[-1]}, but {uri!r} has {size}: it is another dump's index, "
            f"or the dump is not complete; {_WAY_OUT}"
        )
    # a cut is safe where all ids before it are smaller than all ids from it on
    before = np.maximum.accumulate(streams.highest)[:-1]
    after = np.minimum.accumulate(streams.lowest[::-1])[::-1][1:]
    places = streams.starts[1:][before < after]
    chosen: list[int] = []
    start = 0
    while True:
        at = int(np.searchsorted(places, start + least))
        if at == len(places) or size - places[at] < least:
            return chosen
        start = int(places[at])
        with open_remote(uri, start=start, end=start + _STREAM_BYTES, retry=retry) as raw:
            found = raw.read(_STREAM_BYTES)
        if not _STREAM.fullmatch(found):
            raise InputError(
                f"the index {index!r} says that a bz2 stream of {uri!r} begins at byte {start}, but there is "
                f"{found!r}: it is another dump's index, or the dump is damaged; {_WAY_OUT}"
            )
        chosen.append(start)
