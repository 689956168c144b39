"""Read one split: open its file and hand it to the reader of its kind."""

from __future__ import annotations

from collections.abc import Generator

from redpajama_pipe.errors import InputError
from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources.record import Record, Split
from redpajama_pipe.sources.remote import DEFAULT, Retry, open_remote, reading
from redpajama_pipe.sources.streams import MemberStream


def read_split(
    split: Split, source: Source, retry: Retry = DEFAULT, *, guarded: bool = False
) -> Generator[Record, None, int]:
    """Yield one row for each record of a file, in the order of the file.

    What cannot be read is a quarantine row, never an exception: when the rest of a file is lost, everything before it
    comes first and one row says why. Guarded, web pages are parsed in a process of their own (see sources.pages).

    Returns:
        The bytes of the file, as stored, that were read.

    Raises:
        InputError: there is no such file, it may not be read, or the storage failed in the middle, which is no fault
            of the file: trying again may help. The split is a part of a file that is not cut.
    """
    if (split.start, split.end) != (0, -1):
        if source.kind == "wikipedia":
            from redpajama_pipe.sources.wiki_splits import read_range

            with reading(split.uri):
                yield from read_range(split, source, retry)
            return split.end - split.start
        raise InputError(f"{split.uri!r}: a split is a whole file, not bytes {split.start} to {split.end}")
    with open_remote(split.uri, retry=retry) as raw, reading(split.uri):
        stream = MemberStream(raw)
        # readers are imported here: a worker that reads JSON needs no HTML or wikitext parser
        if source.kind == "jsonl":
            from redpajama_pipe.sources.jsonl import read_jsonl

            yield from read_jsonl(stream, source)
        elif source.kind == "wikipedia":
            from redpajama_pipe.sources.wikipedia import read_wikipedia

            yield from read_wikipedia(stream, split, source)
        else:
            from redpajama_pipe.sources.warc import read_warc

            yield from read_warc(stream, source, guarded=guarded)
        return stream.stored_position
