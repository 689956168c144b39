"""Read one split: open its file and hand it to the reader of its kind."""

from __future__ import annotations

from collections.abc import Iterator

from redpajama_pipe.errors import InputError
from redpajama_pipe.recipe import Source
from redpajama_pipe.sources.record import Record, Split
from redpajama_pipe.sources.streams import open_stream


def read_split(split: Split, source: Source) -> Iterator[Record]:
    """Yield one row for each record of a file, in the order of the file.

    What cannot be read is a quarantine row, never an exception: when the rest of a file is lost, everything before it
    comes first and one row says why.

    Raises:
        InputError: there is no such file or it may not be read; the split is a part of a file, which no reader takes.
        OSError: the storage failed in the middle; trying again may help, so it is no fault of the file.
    """
    if (split.start, split.end) != (0, -1):
        raise InputError(f"{split.uri!r}: a split is a whole file, not bytes {split.start} to {split.end}")
    with open_stream(split.uri) as stream:
        # readers are imported here: a worker that reads JSON needs no HTML or wikitext parser
        if source.kind == "jsonl":
            from redpajama_pipe.sources.jsonl import read_jsonl

            yield from read_jsonl(stream, source)
        elif source.kind == "wikipedia":
            from redpajama_pipe.sources.wikipedia import read_wikipedia

            yield from read_wikipedia(stream, split, source)
        else:
            from redpajama_pipe.sources.warc import read_warc

            yield from read_warc(stream, source)
