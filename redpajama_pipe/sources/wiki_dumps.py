"""Download Wikipedia's dumps of one date, checked against the checksums that Wikimedia publishes with them.

Files lie in FOLDER/dewiki/20240101/ as on the server, with `_dump.json`: which job was taken, which files belong to it,
and which of them were verified. A dump whose files are all verified is not asked for again, even when the server has
dropped it, as it does after some months; so a run is repeated without a network. A download that was cut goes on where
it was. Cost: the dumps' size on disk, and one more reading of each for its checksum.

Source: wikimedia/operations-dumps: StatusAPI, version 0.8, which writes dumpstatus.json. https://dumps.wikimedia.org
asks for no more than two connections, and for a User-Agent that names the client.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from redpajama_pipe import storage
from redpajama_pipe.errors import InputError, RecipeError
from redpajama_pipe.progress import Progress, human_bytes
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.figures import plural
from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources.remote import DEFAULT, Retry, fetch, open_remote
from redpajama_pipe.sources.wiki_splits import is_index

CONNECTIONS = 2
PIECE_BYTES = 1 << 20
STATE = "_dump.json"
# In order of preference: only the first can be cut (see wiki_splits), and it has the same pages.
JOBS = ("articlesmultistreamdump", "articlesdump")
DONE = "done"

# Language → wiki where one is not the other with _ for -: MediaWiki, languages/LanguageCode.php,
# getDeprecatedCodeMapping, read backwards; Norwegian Bokmål has the wiki of `no`.
WIKIS = {
    "be-tarask": "be_x_oldwiki",
    "gsw": "alswiki",
    "lzh": "zh_classicalwiki",
    "nan": "zh_min_nanwiki",
    "nb": "nowiki",
    "rup": "roa_rupwiki",
    "sgs": "bat_smgwiki",
    "vro": "fiu_vrowiki",
    "yue": "zh_yuewiki",
}


@dataclass(frozen=True)
class DumpFile:
    """A file of a dump as its dumpstatus.json has it; `algorithm` is sha1, or md5 where there is no sha1."""

    name: str
    bytes: int
    algorithm: str
    checksum: str


@dataclass(frozen=True)
class Dump:
    """The articles of one wiki at one date."""

    wiki: str
    date: str
    job: str
    files: tuple[DumpFile, ...]

    @property
    def path(self) -> str:
        """Where it lies, below the server and below the folder."""
        return f"{self.wiki}/{self.date}"


def with_dumps(recipe: Recipe, quiet: bool = False, retry: Retry = DEFAULT) -> Recipe:
    """Download what the sources ask for.

    Returns:
        The recipe with files as paths in place of dates and languages. Ids are made from `dewiki/20240101/…` when the
        source has no root.

    Raises:
        RecipeError: a source says it in part, or wrongly.
        InputError: there is no such dump, it is not finished, or a file does not come as published.
    """
    sources = tuple(_with_dumps(source, quiet, retry) if source.wiki_date else source for source in recipe.sources)
    return replace(recipe, sources=sources)


def wiki_of(language: str) -> str:
    """Name the Wikipedia of a language as its dumps are named: zh_min_nanwiki for nan or zh-min-nan."""
    return WIKIS.get(language) or language.replace("-", "_") + "wiki"


def find_dump(mirror: str, wiki: str, date: str, retry: Retry = DEFAULT) -> Dump:
    """Ask a server for what it has of a wiki.

    Args:
        mirror: the server, `https://dumps.wikimedia.org` or one that is laid out like it.
        wiki: as `wiki_of` names it.
        date: 20240101, or `latest`: the newest that is finished.
        retry: how long to try.

    Raises:
        InputError: no such dump, or it is not finished; the text names dates that are.
    """
    if date != "latest":
        statuses = _statuses(mirror, wiki, date, retry)
        found = _choose(wiki, date, statuses)
        if found:
            return found
        states = ", ".join(f"{job} is {statuses[job]['status']!r}" for job in JOBS if job in statuses)
        why = f"the dump of {wiki} of {date} is not finished: {states}" if states else f"{wiki} has no dump of {date}"
        dates = [other.date for other in _finished(mirror, wiki, retry)]
        raise InputError(f"{why} at {mirror}; finished are: {', '.join(dates) or 'none'}")
    for dump in _finished(mirror, wiki, retry):
        return dump
    raise InputError(f"{mirror} has no finished dump of {wiki}")


def download(dumps: Sequence[Dump], mirror: str, folder: Path, quiet: bool = False, retry: Retry = DEFAULT) -> None:
    """Fetch and verify every file that is not there verified; at most two at a time.

    Raises:
        InputError: the disk has no room, or a file does not come as published.
    """
    work = [_Download(f"{mirror}/{dump.path}", folder / dump.path, dump, retry) for dump in dumps]
    tasks = [(item, file) for item in work for file in item.missing()]
    if not tasks:
        return
    total = sum(item.left(file) for item, file in tasks)
    free = shutil.disk_usage(folder).free
    if total > free:
        raise InputError(
            f"the dumps need {human_bytes(total)} more in {str(folder)!r}, where {human_bytes(free)} are free"
        )
    with (
        Progress("download", measure=lambda: (sum(item.done for item in work), total), quiet=quiet) as progress,
        ThreadPoolExecutor(CONNECTIONS) as pool,
    ):
        futures = [pool.submit(item.fetch, file) for item, file in tasks]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:  # the others end at their next piece, not after hours
            for item in work:
                item.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
        wikis = len({dump.wiki for dump in dumps})
        progress.note = (
            f"{human_bytes(total)} in {plural(len(tasks), 'file')} of {plural(wikis, 'Wikipedia')}, verified"
        )


class _Download:
    """One dump on its way to the disk."""

    def __init__(self, url: str, folder: Path, dump: Dump, retry: Retry) -> None:
        self._url = url
        self._folder = folder
        self._dump = dump
        self._retry = retry
        self._lock = threading.Lock()
        self._verified = set(_read_state(folder).get("verified", ()))
        self.stop = threading.Event()
        self.done = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._write_state()

    def missing(self) -> list[DumpFile]:
        """List the files that are not there verified."""
        return [file for file in self._dump.files if file.name not in self._verified or not self._has(file)]

    def left(self, file: DumpFile) -> int:
        """Say how many bytes of a file are still to come."""
        partial = self._partial(file)
        have = partial.stat().st_size if partial.exists() else 0
        return 0 if self._has(file) else max(0, file.bytes - have)

    def fetch(self, file: DumpFile) -> None:
        """Bring one file here, whole and verified."""
        target, partial = self._folder / file.name, self._partial(file)
        if self._has(file) and self._checksum(target, file) == file.checksum:  # brought here by other means
            self._mark(file)
            return
        found = ""
        for _ in range(2):
            self._complete(file, partial)
            size = partial.stat().st_size
            found = self._checksum(partial, file) if size == file.bytes else f"{size} bytes of {file.bytes}"
            if self.stop.is_set():
                return
            if found == file.checksum:
                os.replace(partial, target)
                self._mark(file)
                return
            partial.unlink()
            self._count(-min(size, file.bytes))
        raise InputError(
            f"{self._url}/{file.name} does not match its dumpstatus.json, twice: {file.algorithm} {file.checksum} was "
            f"published, found: {found}; take another date or dump_mirror"
        )

    def _complete(self, file: DumpFile, partial: Path) -> None:
        have = partial.stat().st_size if partial.exists() else 0
        if have >= file.bytes:
            return
        with (
            open_remote(f"{self._url}/{file.name}", start=have, end=file.bytes, retry=self._retry) as raw,
            open(partial, "ab") as out,
        ):
            while not self.stop.is_set() and (piece := raw.read(PIECE_BYTES)):
                out.write(piece)
                self._count(len(piece))
            out.flush()
            os.fsync(out.fileno())

    def _checksum(self, path: Path, file: DumpFile) -> str:
        digest = hashlib.new(file.algorithm, usedforsecurity=False)
        with open(path, "rb") as data:
            while not self.stop.is_set() and (piece := data.read(PIECE_BYTES)):
                digest.update(piece)
        return digest.hexdigest()

    def _has(self, file: DumpFile) -> bool:
        path = self._folder / file.name
        return path.is_file() and path.stat().st_size == file.bytes

    def _partial(self, file: DumpFile) -> Path:
        return self._folder / f"{file.name}.partial"

    def _count(self, size: int) -> None:
        with self._lock:
            self.done += size

    def _mark(self, file: DumpFile) -> None:
        with self._lock:
            self._verified.add(file.name)
            self._write_state()

    def _write_state(self) -> None:
        state = {**asdict(self._dump), "verified": sorted(self._verified)}
        storage.write_bytes(str(self._folder / STATE), json.dumps(state, indent=1).encode())


def _with_dumps(source: Source, quiet: bool, retry: Retry) -> Source:
    where = f"sources.{source.name}"
    if source.kind != "wikipedia":
        raise RecipeError(f"{where}.wiki_date is for kind wikipedia, not {source.kind}")
    if not re.fullmatch(r"\d{8}|latest", source.wiki_date):
        raise RecipeError(f"{where}.wiki_date is {source.wiki_date!r}; write a date as 20240101, or latest")
    if not source.languages:
        raise RecipeError(f"{where}.languages is empty; list the Wikipedias to download, such as [en, de]")
    for language in source.languages:
        if not re.fullmatch(r"[a-z]+(-[a-z]+)*", language):
            raise RecipeError(f"{where}.languages: {language!r} is no code of a Wikipedia, such as en or zh-yue")
    if len(source.paths) != 1 or "://" in source.paths[0].removeprefix("file://"):
        raise RecipeError(f"{where}.paths must be the one local folder to keep the dumps in, as wiki_date is set")
    folder = Path(storage.absolute(source.paths[0].removeprefix("file://")))
    mirror = source.dump_mirror.rstrip("/")
    wikis = sorted({wiki_of(language) for language in source.languages})
    dumps = [
        _kept(folder, wiki, source.wiki_date) or find_dump(mirror, wiki, source.wiki_date, retry) for wiki in wikis
    ]
    dumps = [_kept(folder, dump.wiki, dump.date) or dump for dump in dumps]  # what was `latest` may be here
    download(dumps, mirror, folder, quiet, retry)
    paths = tuple(
        str(folder / dump.path / file.name) for dump in dumps for file in dump.files if not is_index(file.name)
    )
    plain = Source(source.name, source.kind, paths)
    return replace(
        source,
        paths=paths,
        root=source.root or str(folder),
        wiki_date=plain.wiki_date,
        languages=plain.languages,
        dump_mirror=plain.dump_mirror,
    )


def _kept(folder: Path, wiki: str, date: str) -> Dump | None:
    """Return the dump that was chosen earlier for this date, so that a run is repeated with the same files."""
    state = _read_state(folder / wiki / date)
    if not state:
        return None
    return Dump(state["wiki"], state["date"], state["job"], tuple(DumpFile(**file) for file in state["files"]))


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / STATE).read_bytes())
    except FileNotFoundError:
        return {}
    return found


def _statuses(mirror: str, wiki: str, date: str, retry: Retry) -> dict[str, Any]:
    """Return the jobs of a dump, none when there is no such dump."""
    url = f"{mirror}/{wiki}/{date}/dumpstatus.json"
    data = _fetch_if_there(url, retry)
    if data is None:
        return {}
    try:
        jobs: dict[str, Any] = json.loads(data)["jobs"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{url} is not a dump's status: {error}; take another date or dump_mirror") from error
    return jobs


def _choose(wiki: str, date: str, jobs: dict[str, Any]) -> Dump | None:
    """Take the best job that is done."""
    ours = re.compile(rf"{re.escape(wiki)}-{date}-pages-articles[\w.-]*\.bz2")
    for job in JOBS:
        if jobs.get(job, {}).get("status") == DONE:
            listed = jobs[job].get("files", {})
            files = tuple(_file(name, listed[name]) for name in sorted(listed) if ours.fullmatch(name))
            if files:
                return Dump(wiki, date, job, files)
    return None


def _file(name: str, described: dict[str, Any]) -> DumpFile:
    for algorithm in ("sha1", "md5"):
        if described.get(algorithm) and described.get("size") is not None:
            return DumpFile(name, int(described["size"]), algorithm, str(described[algorithm]).lower())
    raise InputError(f"{name}: dumpstatus.json gives no size or no checksum; take another date")


def _finished(mirror: str, wiki: str, retry: Retry) -> Iterator[Dump]:
    """Yield the finished dumps of a wiki, newest first."""
    listing = _fetch_if_there(f"{mirror}/{wiki}/", retry)
    if listing is None:
        raise InputError(f"{mirror} has no wiki called {wiki!r}; correct languages or dump_mirror")
    dates = sorted(set(re.findall(rb'href="(?:[^"]*/)?(\d{8})/?"', listing)), reverse=True)
    for date in (found.decode() for found in dates):
        if dump := _choose(wiki, date, _statuses(mirror, wiki, date, retry)):
            yield dump


def _fetch_if_there(url: str, retry: Retry) -> bytes | None:
    try:
        return fetch(url, retry=retry)
    except InputError as error:
        if "no such file" in str(error):  # and not: the server is away
            return None
        raise
