"""Downloads of Wikipedia's dumps, from a server on the loopback that fails as it is told."""

from __future__ import annotations

import bz2
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from flaky_server import Fault, Site, serve

from redpajama_pipe import progress, recipe
from redpajama_pipe.errors import InputError, RecipeError
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources import remote, wiki_dumps
from redpajama_pipe.sources.plan import plan_splits
from redpajama_pipe.sources.wiki_dumps import find_dump, wiki_of, with_dumps

DATE = "20240101"
HEAD = bz2.compress(b"<mediawiki><siteinfo></siteinfo>\n")


def dump_files(wiki: str, date: str = DATE, size: int = 3000) -> dict[str, bytes]:
    """Make a multistream dump, its index, and what belongs to other jobs."""
    body = HEAD + bz2.compress(b"<page><title>a</title><id>1</id></page>") + bytes(size) + wiki.encode()
    return {
        f"{wiki}-{date}-pages-articles-multistream.xml.bz2": body,
        f"{wiki}-{date}-pages-articles-multistream-index.txt.bz2": bz2.compress(f"{len(HEAD)}:1:a\n".encode()),
        f"{wiki}-{date}-pages-articles.xml.bz2": bz2.compress(wiki.encode()),
    }


def publish(site: Site, wiki: str, date: str = DATE, multistream: str = "done", plain: str = "done") -> None:
    """Put a dump with its dumpstatus.json on a server, and the date into the wiki's listing."""
    files = dump_files(wiki, date)
    jobs: dict[str, Any] = {"metacurrentdump": {"status": "done", "files": {}}}
    for job, status in (("articlesmultistreamdump", multistream), ("articlesdump", plain)):
        mine = {name: data for name, data in files.items() if ("multistream" in name) == ("multistream" in job)}
        described = {
            name: {
                "size": len(data),
                "url": f"/{wiki}/{date}/{name}",
                "md5": hashlib.md5(data).hexdigest(),
                "sha1": hashlib.sha1(data).hexdigest(),
            }
            for name, data in mine.items()
        }
        jobs[job] = {"status": status, "updated": "2024-01-03 01:02:03", "files": described}
    site.files |= {f"/{wiki}/{date}/{name}": data for name, data in files.items()}
    site.files[f"/{wiki}/{date}/dumpstatus.json"] = json.dumps({"version": "0.8", "jobs": jobs}).encode()
    listing = site.files.get(f"/{wiki}/", b'<a href="../">../</a><a href="latest/">latest/</a>')
    site.files[f"/{wiki}/"] = listing + f'<a href="{date}/">{date}/</a>\n'.encode()


def describe(site: Site, wiki: str, **values: Any) -> None:
    """Change what dumpstatus.json says of the multistream file."""
    path = f"/{wiki}/{DATE}/dumpstatus.json"
    tree = json.loads(site.files[path])
    tree["jobs"]["articlesmultistreamdump"]["files"][big(wiki)] |= values
    site.files[path] = json.dumps(tree).encode()


def big(wiki: str) -> str:
    return f"{wiki}-{DATE}-pages-articles-multistream.xml.bz2"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(remote, "pause", lambda seconds: None)
    with serve(Site()) as running:
        publish(running, "dewiki")
        yield running


def wanted(site: Site, folder: Path, *languages: str, date: str = DATE) -> Source:
    return Source(
        "w", "wikipedia", (str(folder),), wiki_date=date, languages=languages or ("de",), dump_mirror=site.url + "/"
    )


def resolve(source: Source) -> Source:
    (found,) = with_dumps(Recipe("r", (source,)), quiet=True).sources
    return found


def asked_files(site: Site) -> list[tuple[str, str | None]]:
    """List the requests for files of dumps."""
    return [(path.rsplit("/", 1)[-1], asked) for path, asked, _ in site.requests if path.endswith(".bz2")]


def test_dump_with_its_index_is_fetched_and_becomes_the_paths(site: Site, tmp_path: Path) -> None:
    publish(site, "be_x_oldwiki")
    found = resolve(wanted(site, tmp_path, "be-tarask", "de"))
    assert found == Source(
        "w",
        "wikipedia",
        tuple(f"{tmp_path}/{wiki}/{DATE}/{big(wiki)}" for wiki in ("be_x_oldwiki", "dewiki")),
        root=str(tmp_path),
    )
    names = {path.name for path in (tmp_path / "dewiki" / DATE).iterdir()}
    expected = {name: data for name, data in dump_files("dewiki").items() if "multistream" in name}
    assert names == {*expected, "_dump.json"}
    assert all((tmp_path / "dewiki" / DATE / name).read_bytes() == data for name, data in expected.items())
    assert all(headers["User-Agent"].startswith("redpajama-pipe/") for headers in site.seen)
    assert [split.identity for split in plan_splits(found)] == [
        f"{wiki}/{DATE}/{big(wiki)}" for wiki in ("be_x_oldwiki", "dewiki")
    ]


def test_recipe_of_the_twenty_languages_loads_with_a_date_of_choice(tmp_path: Path) -> None:
    (source,) = recipe.load("wikipedia", ["vars.date=20240201", f"vars.dumps={tmp_path}"]).sources
    assert (source.wiki_date, source.paths, source.dump_mirror) == (
        "20240201",
        (str(tmp_path),),
        "https://dumps.wikimedia.org",
    )
    assert " ".join(source.languages) == "bg ca cs da de en es fr hr hu it nl pl pt ro ru sl sr sv uk"


def test_recipe_without_dates_is_left_alone(tmp_path: Path) -> None:
    plain = Recipe("r", (Source("w", "wikipedia", (str(tmp_path),)),))
    assert with_dumps(plain) == plain


def test_second_run_asks_for_nothing_and_hashes_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = resolve(wanted(site, tmp_path))
    site.requests.clear()
    site.files.clear()  # the server keeps a dump for some months
    monkeypatch.setattr("hashlib.new", None)
    assert resolve(wanted(site, tmp_path)) == first
    assert not site.requests


def test_unfinished_multistream_job_leaves_the_plain_one(site: Site, tmp_path: Path) -> None:
    publish(site, "dewiki", multistream="in-progress")
    found = resolve(wanted(site, tmp_path))
    assert found.paths == (f"{tmp_path}/dewiki/{DATE}/dewiki-{DATE}-pages-articles.xml.bz2",)
    # a later run stays with what was taken, though the other job is done by then
    publish(site, "dewiki")
    assert resolve(wanted(site, tmp_path)) == found


def test_unfinished_dump_names_finished_dates(site: Site, tmp_path: Path) -> None:
    publish(site, "dewiki", "20231220")
    publish(site, "dewiki", "20231201", multistream="waiting")
    publish(site, "dewiki", "20240120", multistream="in-progress", plain="waiting")
    with pytest.raises(InputError) as caught:
        resolve(wanted(site, tmp_path, date="20240120"))
    assert str(caught.value) == (
        "the dump of dewiki of 20240120 is not finished: articlesmultistreamdump is 'in-progress', articlesdump is "
        f"'waiting' at {site.url}; finished are: 20240101, 20231220, 20231201"
    )
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"dewiki has no dump of 20010101 at .*; finished are: 20240101, 20231220"):
        resolve(wanted(site, tmp_path, date="20010101"))


def test_latest_is_the_newest_that_is_finished(site: Site, tmp_path: Path) -> None:
    publish(site, "dewiki", "20240120", multistream="in-progress", plain="in-progress")
    publish(site, "dewiki", "20231220")
    (path,) = resolve(wanted(site, tmp_path, date="latest")).paths
    assert path == f"{tmp_path}/dewiki/{DATE}/{big('dewiki')}"
    site.requests.clear()
    resolve(wanted(site, tmp_path, date="latest"))
    assert not asked_files(site)
    publish(site, "frwiki", "20240120", multistream="failed", plain="failed")
    with pytest.raises(InputError, match="has no finished dump of frwiki"):
        find_dump(site.url, "frwiki", "latest")


def test_wiki_that_is_not_there(site: Site, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no wiki called 'sr_elwiki'; correct languages or dump_mirror"):
        resolve(wanted(site, tmp_path, "sr-el"))


def test_server_that_is_away_is_not_a_missing_dump(site: Site) -> None:
    site.always = Fault(status=503)
    with pytest.raises(InputError, match="the server answers 503"):
        find_dump(site.url, "dewiki", DATE)


def test_cut_connections_and_requests_for_patience_are_met(site: Site, tmp_path: Path) -> None:
    site.faults = [Fault(), Fault(status=429, headers={"Retry-After": "2"}), Fault(cut=50), Fault(cut=1, reset=True)]
    (path,) = resolve(wanted(site, tmp_path)).paths
    assert Path(path).read_bytes() == dump_files("dewiki")[big("dewiki")]


def test_download_goes_on_where_it_was(site: Site, tmp_path: Path) -> None:
    whole = dump_files("dewiki")[big("dewiki")]
    folder = tmp_path / "dewiki" / DATE
    folder.mkdir(parents=True)
    (folder / f"{big('dewiki')}.partial").write_bytes(whole[:1000])
    (path,) = resolve(wanted(site, tmp_path)).paths
    assert Path(path).read_bytes() == whole
    assert dict(asked_files(site))[big("dewiki")] == f"bytes=1000-{len(whole) - 1}"
    assert not list(folder.glob("*.partial"))


def test_whole_partial_file_is_only_verified(site: Site, tmp_path: Path) -> None:
    whole = dump_files("dewiki")[big("dewiki")]
    folder = tmp_path / "dewiki" / DATE
    folder.mkdir(parents=True)
    (folder / f"{big('dewiki')}.partial").write_bytes(whole)
    resolve(wanted(site, tmp_path))
    assert big("dewiki") not in dict(asked_files(site))


@pytest.mark.parametrize("kind", ["wrong bytes", "too long"])
def test_wrong_partial_file_is_fetched_anew(site: Site, tmp_path: Path, kind: str) -> None:
    whole = dump_files("dewiki")[big("dewiki")]
    folder = tmp_path / "dewiki" / DATE
    folder.mkdir(parents=True)
    (folder / f"{big('dewiki')}.partial").write_bytes(b"x" * 1000 if kind == "wrong bytes" else whole + b"x")
    (path,) = resolve(wanted(site, tmp_path)).paths
    assert Path(path).read_bytes() == whole


@pytest.mark.parametrize(
    ("values", "found"),
    [({"sha1": "0" * 40}, r"sha1 0{40} was published, found: [0-9a-f]{40};"), ({"size": 9999}, "bytes of 9999;")],
)
def test_wrong_file_is_fetched_twice_then_an_error(
    site: Site, tmp_path: Path, values: dict[str, Any], found: str
) -> None:
    describe(site, "dewiki", **values)
    with pytest.raises(InputError, match=rf"does not match its dumpstatus.json, twice: .*{found} take another date"):
        resolve(wanted(site, tmp_path))
    assert [name for name, _ in asked_files(site)].count(big("dewiki")) == 2
    assert not list((tmp_path / "dewiki" / DATE).glob("*multistream.xml*"))


def test_md5_where_there_is_no_sha1_and_an_error_where_there_is_neither(site: Site, tmp_path: Path) -> None:
    describe(site, "dewiki", sha1=None)
    resolve(wanted(site, tmp_path / "a"))
    describe(site, "dewiki", md5="0" * 32)
    with pytest.raises(InputError, match=r"md5 0{32} was published"):
        resolve(wanted(site, tmp_path / "b"))
    describe(site, "dewiki", md5=None)
    with pytest.raises(InputError, match=r"gives no size or no checksum"):
        resolve(wanted(site, tmp_path / "c"))


def test_file_brought_by_other_means_is_verified_not_fetched(site: Site, tmp_path: Path) -> None:
    publish(site, "frwiki")
    for wiki, data in (("dewiki", dump_files("dewiki")[big("dewiki")]), ("frwiki", bytes(3000))):
        (tmp_path / wiki / DATE).mkdir(parents=True)
        (tmp_path / wiki / DATE / big(wiki)).write_bytes(data.ljust(len(dump_files(wiki)[big(wiki)]), b"?"))
    resolve(wanted(site, tmp_path, "de", "fr"))
    assert big("dewiki") not in dict(asked_files(site))
    assert (tmp_path / "frwiki" / DATE / big("frwiki")).read_bytes() == dump_files("frwiki")[big("frwiki")]


def test_file_that_shrank_after_it_was_verified_is_fetched_again(site: Site, tmp_path: Path) -> None:
    (path,) = resolve(wanted(site, tmp_path)).paths
    Path(path).write_bytes(b"short")
    site.requests.clear()
    resolve(wanted(site, tmp_path))
    assert [name for name, _ in asked_files(site)] == [big("dewiki")]


def test_failed_run_keeps_what_was_verified(site: Site, tmp_path: Path) -> None:
    publish(site, "frwiki")
    good = site.files.pop(f"/frwiki/{DATE}/{big('frwiki')}")
    with pytest.raises(InputError, match="no such file"):
        resolve(wanted(site, tmp_path, "de", "fr"))
    state = json.loads((tmp_path / "dewiki" / DATE / "_dump.json").read_text())
    assert state["job"] == "articlesmultistreamdump"
    site.files[f"/frwiki/{DATE}/{big('frwiki')}"] = good
    site.requests.clear()
    resolve(wanted(site, tmp_path, "de", "fr"))
    assert not {name for name, _ in asked_files(site)} & set(state["verified"])
    assert big("frwiki") in dict(asked_files(site))


def test_at_most_two_connections(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wikis = ("cs", "da", "de", "en", "es")
    for language in wikis:
        publish(site, f"{language}wiki")
    lock, counts = threading.Lock(), [0, 0]
    two = threading.Barrier(2, timeout=20)

    def counted(uri: str, **options: Any) -> BinaryIO:
        with lock:
            counts[0] += 1
            counts[1] = max(counts)
        two.wait()  # ten files, two at a time: never waits for long
        file = remote.open_remote(uri, **options)
        close = file.close

        def closed() -> None:
            with lock:
                counts[0] -= not file.closed
            close()

        monkeypatch.setattr(file, "close", closed, raising=False)
        return file

    monkeypatch.setattr(wiki_dumps, "open_remote", counted)
    resolve(wanted(site, tmp_path, *wikis))
    assert counts[1] == 2


def test_progress_line_shows_bytes_and_what_came(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = StringIO()
    monkeypatch.setattr("sys.stderr", shown)
    measured: list[tuple[float, float]] = []

    class Watched(progress.Progress):
        def __exit__(self, *error: Any) -> None:
            assert self._measure
            measured.append(self._measure())
            super().__exit__(*error)

    monkeypatch.setattr(wiki_dumps, "Progress", Watched)
    with_dumps(Recipe("r", (wanted(site, tmp_path),)))
    total = sum(len(data) for name, data in dump_files("dewiki").items() if "multistream" in name)
    assert measured == [(total, total)]
    assert shown.getvalue().startswith(f"download   {progress.human_bytes(total)} in 2 files of 1 Wikipedia, verified")


def test_disk_without_room_is_said_before_the_download(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10})())
    with pytest.raises(InputError, match=r"the dumps need 3\.\d kB more in '.*', where 10 B are free"):
        resolve(wanted(site, tmp_path))
    assert not asked_files(site)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "jsonl"}, "wiki_date is for kind wikipedia, not jsonl"),
        ({"wiki_date": "2024-01-01"}, "wiki_date is '2024-01-01'; write a date as 20240101, or latest"),
        ({"languages": ()}, "languages is empty"),
        ({"languages": ("../x",)}, "'../x' is no code of a Wikipedia"),
        ({"paths": ("s3://bucket/x",)}, "paths must be the one local folder"),
        ({"paths": ("/a", "/b")}, "paths must be the one local folder"),
    ],
)
def test_wrong_recipes_are_errors_before_any_request(
    site: Site, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        resolve(replace(wanted(site, tmp_path), **change))
    assert not site.requests


def test_status_that_is_none_is_an_error(site: Site) -> None:
    site.files[f"/dewiki/{DATE}/dumpstatus.json"] = b"<html>"
    with pytest.raises(InputError, match="is not a dump's status"):
        find_dump(site.url, "dewiki", DATE)


def test_names_in_a_status_cannot_lead_out_of_the_folder(site: Site) -> None:
    path = f"/dewiki/{DATE}/dumpstatus.json"
    site.files[path] = site.files[path].replace(b"dewiki-20240101-pages-articles-m", b"../../dewiki-pages-articles-m")
    assert find_dump(site.url, "dewiki", DATE).job == "articlesdump"


@pytest.mark.parametrize(
    ("language", "wiki"),
    [("en", "enwiki"), ("zh-yue", "zh_yuewiki"), ("yue", "zh_yuewiki"), ("no", "nowiki"), ("nb", "nowiki")],
)
def test_wiki_of_a_language(language: str, wiki: str) -> None:
    assert wiki_of(language) == wiki
