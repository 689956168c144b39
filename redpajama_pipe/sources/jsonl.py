"""JSON lines to documents: one object a line, with the text in a named field.

Plain, gzip, bzip2 or Zstandard with any number of frames and windows up to 2 GiB. About 155 MB/s of decompressed lines
on one core. Memory: one line.

Source: jsonlines.org; RFC 8259 (JSON).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson

from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources.lines import Line, read_lines
from redpajama_pipe.sources.record import Document, Quarantined, Record, Skipped
from redpajama_pipe.sources.sanitise import clean
from redpajama_pipe.sources.streams import MemberStream
from redpajama_pipe.sources.timestamps import utc_timestamp

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Where datasets put what describes a document: RedPajama and the Pile in `meta`, Dolma in `metadata`.
META_KEYS = ("meta", "metadata")
# RFC 8259, section 9, lets a parser have a limit. Python's own is at about 1,000 in 3.11, 10,000 in 3.13, less the
# stack of whoever calls; orjson reads 1,024 and writes 254.
DEEPEST = 500


def read_jsonl(stream: MemberStream, source: Source) -> Iterator[Record]:
    """Yield one row for each line that is not blank.

    A document's record_id is the number of its line, from 0, blank lines counted; its offset is the byte of the
    decompressed stream at which the line starts. `meta` holds every key but the text, as JSON with sorted keys; `url`,
    `title` and `timestamp` are also taken from there, from the object itself or from its `meta`, if they are strings.

    Skipped: `empty_text`. Quarantined are, by reason: `bad_json`, `bad_utf8`, `no_text` (the field is absent or holds
    no string), `too_large`; and for the rest of a file the faults of the compression.
    """
    parser = _Parser(source)
    for line in read_lines(stream, source.max_document_bytes):
        if stream.fault and not line.ended:  # cut off, with all that follows
            yield Quarantined(str(line.number), line.offset, stream.fault.reason, stream.fault.detail)
            return
        found = parser.read(line)
        while found:
            yield found.pop()  # no longer held here: who takes a giant text can let it go
    if stream.fault:
        yield Quarantined("", stream.position, stream.fault.reason, stream.fault.detail)


class _Parser:
    """Turns lines into rows; holds the field names of the source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._text_path = tuple(source.text_field.split("."))
        self._subset_path = tuple(source.subset_field.split(".")) if source.subset_field else None

    def read(self, line: Line) -> list[Record]:
        """Decide what one line is; nothing: it is blank. Takes its bytes."""
        record = self._record(line)
        return [] if record is None else [record]

    def _record(self, line: Line) -> Record | None:
        if line.data is None:
            limit = self._source.max_document_bytes
            return self._bad(line, "too_large", f"{line.length} bytes; the limit is {limit}")
        data, line.data = line.data, None
        if line.number == 0:
            data = data.removeprefix(BYTE_ORDER_MARK)
        if not data or data.isspace():
            return None
        try:
            tree = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            try:
                tree = _loads_leniently(data)
            except UnicodeDecodeError as wrong:
                return self._bad(line, "bad_utf8", str(wrong))
            except (ValueError, RecursionError):
                return self._bad(line, "bad_json", str(error))
        del data
        if not isinstance(tree, dict):
            return self._bad(line, "bad_json", f"the line holds a {type(tree).__name__}, not an object")
        try:
            return self._document(line, tree)
        except RecursionError as error:
            return self._bad(line, "bad_json", str(error))

    def _document(self, line: Line, tree: dict[str, Any]) -> Record:
        source = self._source
        raw = _at(tree, self._text_path)
        if not isinstance(raw, str):
            known = ", ".join(sorted(tree))[:200]
            absent = "is null" if source.text_field in tree else "is absent"
            what = absent if raw is None else f"is a {type(raw).__name__}"
            return self._bad(line, "no_text", f"field {source.text_field!r} {what}; the keys are: {known}")
        text = clean(raw)
        if not text or text.isspace():
            return Skipped("empty_text")
        subset = _at(tree, self._subset_path) if self._subset_path else None
        holders = [tree, *(tree[key] for key in META_KEYS if isinstance(tree.get(key), dict))]
        return Document(
            text=text,
            record_id=str(line.number),
            offset=line.offset,
            length=line.length,
            url=_string(holders, "url"),
            title=_string(holders, "title"),
            timestamp=utc_timestamp(_string(holders, "timestamp")),
            language=source.language,
            subset=None if subset is None else clean(subset if isinstance(subset, str) else _canonical(subset)),
            meta=self._meta(tree),
        )

    def _meta(self, tree: dict[str, Any]) -> str | None:
        """Write every key but the text as JSON; the tree loses its text."""
        holder: Any = tree
        for step in self._text_path[:-1]:
            holder = holder[step]
        del holder[self._text_path[-1]]
        return clean(_canonical(tree)) if tree else None

    def _bad(self, line: Line, reason: str, detail: str) -> Quarantined:
        return Quarantined(str(line.number), line.offset, reason, clean(detail))


def _loads_leniently(data: bytes) -> Any:
    """Parse what orjson refuses although Python wrote it: escapes of lone surrogates, numbers of any size.

    Raises:
        ValueError: it is no JSON; NaN and Infinity are none.
        RecursionError: it is nested more than DEEPEST levels deep.
    """

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON number")

    tree = json.loads(data.decode("utf-8"), parse_constant=refuse)
    _check_depth(tree)
    return tree


def _check_depth(tree: Any) -> None:
    """Raise RecursionError where a tree is nested more than DEEPEST levels deep."""
    level = [tree]
    for _ in range(DEEPEST + 1):
        level = [value for value in level if isinstance(value, dict | list)]
        if not level:
            return
        level = [part for value in level for part in (value.values() if isinstance(value, dict) else value)]
    raise RecursionError(f"the line is nested more than {DEEPEST} levels deep")


def _canonical(value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # more than 254 levels, a lone surrogate or a number beyond 64 bits
        _check_depth(value)
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if not isinstance(tree, dict):
            return None
        tree = tree.get(step)
    return tree


def _string(holders: list[dict[str, Any]], key: str) -> str | None:
    for holder in holders:
        value = holder.get(key)
        if isinstance(value, str) and value:
            return clean(value)
    return None
