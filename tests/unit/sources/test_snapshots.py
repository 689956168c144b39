"""Snapshots of Common Crawl: the listing, the choice of files, and what is wrong with them."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flaky_server import Fault, Site, serve
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.errors import InputError, RecipeError
from redpajama_pipe.recipe import Execution
from redpajama_pipe.schema import document_id
from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources import remote
from redpajama_pipe.sources.plan import plan_splits
from redpajama_pipe.sources.read import read_split
from redpajama_pipe.sources.record import Document
from redpajama_pipe.sources.snapshots import place_of

NAME = "CC-MAIN-2023-06"
LISTING = f"crawl-data/{NAME}/warc.paths.gz"
WARC = "warc/commoncrawl_2020_34/warcfile.warc.gz"


def path_of(number: int, kind: str = "warc") -> str:
    name = f"CC-MAIN-20230126210844-20230127000844-{number:05d}.warc{'.wet' if kind == 'wet' else ''}.gz"
    return f"crawl-data/{NAME}/segments/16747644948{number % 100:02d}.98/{kind}/{name}"


PATHS = [path_of(number) for number in range(2000)]


def listing(paths: list[str]) -> bytes:
    return gzip.compress("".join(f"{path}\n" for path in paths).encode())


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    for kind in ("warc", "wet"):
        file = tmp_path / "mirror" / f"crawl-data/{NAME}/{kind}.paths.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(listing([path_of(number, kind) for number in range(2000)]))
    return tmp_path / "mirror"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(remote, "pause", lambda seconds: None)
    with serve(Site({f"/{LISTING}": listing(PATHS)})) as running:
        yield running


def identities(base: object, fraction: float = 1.0, kind: str = "warc", **options: object) -> list[str]:
    source = Source("cc", kind, (), NAME, fraction, str(base), **options)  # type: ignore[arg-type]
    return [split.identity for split in plan_splits(source)]


def test_the_whole_listing_in_order(mirror: Path) -> None:
    assert identities(mirror) == sorted(PATHS)
    assert identities(f"{mirror}/", kind="wet") == sorted(path_of(number, "wet") for number in range(2000))


def test_a_larger_fraction_holds_a_smaller_one(mirror: Path) -> None:
    before: set[str] = set()
    for fraction in (0.001, 0.01, 0.1, 0.5, 1.0):
        chosen = set(identities(mirror, fraction))
        assert before <= chosen
        assert abs(len(chosen) - 2000 * fraction) <= 4 * (2000 * fraction) ** 0.5
        before = chosen


def test_wet_files_are_those_of_the_same_pages(mirror: Path) -> None:
    archives = [path.replace("/warc/", "/wet/").replace(".warc.gz", ".warc.wet.gz") for path in identities(mirror, 0.1)]
    assert identities(mirror, 0.1, "wet") == archives


def test_places_are_golden() -> None:
    # another value would choose other files in every recipe that says a fraction
    assert place_of(NAME, PATHS[0]) == 0.81778887082452
    assert place_of("CC-MAIN-2024-22", PATHS[0]) == 0.8354004760330928


@given(st.text(max_size=30), st.text(max_size=30))
def test_places_lie_in_the_unit_interval(snapshot: str, path: str) -> None:
    assert 0 <= place_of(snapshot, path) < 1


def test_order_and_repeats_in_a_listing_change_nothing(mirror: Path) -> None:
    expected = identities(mirror, 0.1)
    (mirror / LISTING).write_bytes(listing(PATHS[::-1] + PATHS[:50]))
    assert identities(mirror, 0.1) == expected


def test_exclude(mirror: Path) -> None:
    kept = identities(mirror, exclude=("*-01*.warc.gz",))
    assert len(kept) == 1000
    with pytest.raises(InputError, match="exclude leaves none of the 2,000 files"):
        identities(mirror, exclude=("*.gz",))


def test_planning_asks_for_the_listing_alone(site: Site) -> None:
    site.faults = [Fault(503), Fault(cut=100)]
    assert identities(site.url, 0.05) == [path for path in sorted(PATHS) if place_of(NAME, path) < 0.05]
    assert {path for path, _, _ in site.requests} == {f"/{LISTING}"}


def test_ids_are_the_same_over_http_and_from_a_mirror(real_data: Path, site: Site, mirror: Path) -> None:
    data = (real_data / WARC).read_bytes()
    site.files[f"/{PATHS[7]}"] = data
    (mirror / PATHS[7]).parent.mkdir(parents=True)
    (mirror / PATHS[7]).write_bytes(data)
    found = []
    for base in (site.url, f"{site.url}/".replace("//127", "//user:pw@127"), mirror, f"file://{mirror}"):
        source = Source("cc", "warc", (), NAME, 1.0, str(base))
        (split,) = [split for split in plan_splits(source) if split.identity == PATHS[7]]
        read = [record for record in read_split(split, source) if isinstance(record, Document)]
        found.append([(document_id(split.identity, document.record_id), document) for document in read])
    assert found[0]
    assert all(other == found[0] for other in found)
    # and as with paths and a root
    source = Source("cc", "warc", (f"{mirror}/{PATHS[7]}",), root=str(mirror))
    assert [split.identity for split in plan_splits(source)] == [PATHS[7]]


def test_an_unknown_snapshot_names_the_url_and_where_snapshots_are_listed(site: Site) -> None:
    with pytest.raises(InputError) as caught:
        plan_splits(Source("cc", "warc", (), "CC-MAIN-2023-07", base=site.url))
    assert str(caught.value) == (
        "sources.cc: no listing of CC-MAIN-2023-07: cannot read "
        f"'{site.url}/crawl-data/CC-MAIN-2023-07/warc.paths.gz': no such file (the server answers 404). "
        "https://index.commoncrawl.org/collinfo.json lists the snapshots; sources.cc.base says where crawl-data/ lies"
    )
    assert len(site.requests) == 1


def test_a_mirror_without_the_listing(mirror: Path) -> None:
    shutil.rmtree(mirror / "crawl-data")
    with pytest.raises(InputError, match=r"sources.cc: no listing of .*warc\.paths\.gz': no such file\. https://index"):
        identities(mirror)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is an empty file"),
        (listing([]), "is empty; fetch"),
        (listing(PATHS)[:-1], r"is cut off after \d+ bytes of text"),
        (listing(PATHS)[:500], r"is cut off after \d+ bytes of text"),
        (listing(PATHS) + b"junk", "is no gzip file|is damaged"),
        (listing(PATHS)[:300] + b"\0\0\0\0" + listing(PATHS)[304:], "is damaged"),
        ("\n".join(PATHS).encode(), "is no gzip file"),
        (b"<html>not found</html>", "is no gzip file"),
        # what an example of Common Crawl's own once held under this name
        (listing(["cc-index/table/cc-main/warc/crawl=CC-MAIN-2024-22/part-00000.parquet"]), "names 'cc-index/table"),
        (listing([*PATHS, path_of(1, "wet")]), "which is no warc file of CC-MAIN-2023-06"),
        (listing([PATHS[0].replace("2023-06", "2023-14")]), "which is no warc file of CC-MAIN-2023-06"),
        (listing([f"crawl-data/{NAME}/../../../etc/x.warc.gz"]), "which is no warc file"),
    ],
)
def test_a_damaged_listing_is_an_error(mirror: Path, data: bytes, message: str) -> None:
    (mirror / LISTING).write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        identities(mirror)
    assert str(caught.value).startswith(f"sources.cc: the listing '{mirror}/{LISTING}' ")


def test_a_listing_in_several_gzip_members_is_read_whole(mirror: Path) -> None:
    (mirror / LISTING).write_bytes(listing(PATHS[:1000]) + listing(PATHS[1000:]))
    assert identities(mirror) == sorted(PATHS)


def test_a_fraction_that_chooses_nothing_says_which_would(mirror: Path) -> None:
    (mirror / LISTING).write_bytes(listing(PATHS[:3]))
    with pytest.raises(InputError, match=r"fraction 0\.0001 chooses none of 3 files") as caught:
        identities(mirror, 0.0001)
    smallest = float(str(caught.value).rsplit(" ", 1)[-1])
    assert len(identities(mirror, smallest)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "sources.cc has no paths and no snapshot; give one"),
        ({"paths": ("a",), "snapshot": NAME}, "sources.cc has both paths and a snapshot; leave one out"),
        ({"snapshot": NAME, "fraction": 0.0}, "sources.cc.fraction is 0; give a number above 0 and up to 1"),
        ({"snapshot": NAME, "fraction": 1.5}, "sources.cc.fraction is 1.5; give a number above 0 and up to 1"),
        ({"snapshot": NAME, "fraction": float("nan")}, "sources.cc.fraction is nan; give a number above 0 and up to 1"),
        (
            {"paths": ("a",), "fraction": 0.5},
            "sources.cc.fraction is for a snapshot; give a snapshot, or leave fraction out",
        ),
        (
            {"paths": ("a",), "base": "s3://commoncrawl"},
            "sources.cc.base is for a snapshot; give a snapshot, or leave base out",
        ),
        (
            {"snapshot": NAME, "kind": "jsonl"},
            "sources.cc.kind is 'jsonl'; a snapshot of Common Crawl has warc and wet files",
        ),
        (
            {"snapshot": NAME, "root": "/x"},
            "sources.cc.root is for paths; with a snapshot, base says where crawl-data/ lies",
        ),
        (
            {"snapshot": "2023-06"},
            "sources.cc.snapshot is '2023-06'; write it as CC-MAIN-2023-06 (year and week)",
        ),
        (
            {"snapshot": "CC-MAIN-2023-06/../x"},
            "sources.cc.snapshot is 'CC-MAIN-2023-06/../x'; write it as CC-MAIN-2023-06 (year and week)",
        ),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Source(**{"name": "cc", "kind": "warc", **options})  # type: ignore[arg-type]
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("read_attempts", 0, "1"), ("read_timeout", 0.0, "0.001"), ("read_backoff", -1.0, "0")],
)
def test_patience_that_makes_no_sense_is_refused(name: str, value: float, least: str) -> None:
    with pytest.raises(RecipeError, match=rf"execution\.{name} is {value:g}; give {least} or more"):
        Execution(**{name: value})  # type: ignore[arg-type]


def test_the_ready_recipe_loads() -> None:
    from redpajama_pipe import recipe

    loaded = recipe.load("commoncrawl", ["vars.snapshot=CC-MAIN-2024-22"])
    (source,) = loaded.sources
    assert (source.snapshot, source.fraction, source.base) == ("CC-MAIN-2024-22", 0.001, "https://data.commoncrawl.org")
