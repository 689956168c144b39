"""Write files that are damaged in the ways that real ones are: cut off in the middle, or with a wrong length."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from redpajama_pipe.sample import wiki
from redpajama_pipe.sample.articles import language
from redpajama_pipe.sample.crawl import Place, WarcFile, plain_utf8
from redpajama_pipe.sample.pages import Page

CLIPPED = "broken/clipped.warc.gz"
WRONG_LENGTH = "broken/wrong_length.warc.gz"
TRUNCATED_DUMP = "broken/enwiki-20251220-pages-articles.xml.bz2"


@dataclass(frozen=True)
class Damage:
    """What is broken; `record_id` is of the damaged record, or "" where it cannot be known.

    Attributes:
        readable: documents of the file that are whole; a reader may repair others.
    """

    kind: str
    source: str
    file: str
    record_id: str
    readable: int


def clipped_warc(folder: Path, pages: Sequence[Page], start: datetime) -> Damage:
    """Cut a WARC file in the middle of its last response, as an interrupted download does."""
    with WarcFile(folder, CLIPPED, start) as warc:
        places = [warc.capture(page.url(), plain_utf8(page)) for page in pages]
    path = folder / CLIPPED
    members = _members(path.read_bytes())
    at = _response(members, places[-1])
    path.write_bytes(b"".join(members[:at]) + members[at][: len(members[at]) * 2 // 3])
    return Damage("cut_in_record", "crawl", CLIPPED, places[-1].record_id, len(pages) - 1)


def wrong_lengths(folder: Path, pages: Sequence[Page], start: datetime) -> list[Damage]:
    """Make the Content-Length of the second response too small and that of the fourth too large."""
    with WarcFile(folder, WRONG_LENGTH, start) as warc:
        places = [warc.capture(page.url(), plain_utf8(page)) for page in pages]
    path = folder / WRONG_LENGTH
    members = _members(path.read_bytes())
    damages = []
    for place, kind, change in ((places[1], "length_too_small", -100), (places[3], "length_too_large", 100)):
        at = _response(members, place)
        members[at] = _gzip(_with_length_changed(zlib.decompress(members[at], 31), change))
        damages.append(Damage(kind, "crawl", WRONG_LENGTH, place.record_id, len(pages) - 2))
    path.write_bytes(b"".join(members))
    return damages


def truncated_dump(folder: Path) -> Damage:
    """Cut a dump of several streams inside one: what the streams before it hold can still be read."""
    english = language("en")
    streams = wiki.dump(english, wiki.pages(english), pages_in_stream=2)
    whole, cut = streams[:2], streams[2]
    (folder / TRUNCATED_DUMP).write_bytes(b"".join(whole) + cut[: len(cut) // 2])
    return Damage("cut_in_stream", "wikipedia", TRUNCATED_DUMP, "", 2)


def _with_length_changed(record: bytes, change: int) -> bytes:
    # the first Content-Length is the WARC header's; one of HTTP would come later
    return re.sub(rb"(?<=\r\nContent-Length: )\d+", lambda found: b"%d" % (int(found[0]) + change), record, count=1)


def _response(members: Sequence[bytes], place: Place) -> int:
    """Return which member holds a record."""
    wanted = f"WARC-Record-ID: <{place.record_id}>\r\n".encode()
    return next(at for at, member in enumerate(members) if wanted in zlib.decompress(member, 31))


def _members(data: bytes) -> list[bytes]:
    """Cut a gzip file into its members, still compressed."""
    members = []
    while data:
        inflater = zlib.decompressobj(31)
        inflater.decompress(data)
        members.append(data[: len(data) - len(inflater.unused_data)])
        data = inflater.unused_data
    return members


def _gzip(record: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, 31)  # 31: a gzip header, whose time is 0
    return deflater.compress(record) + deflater.flush()
