"""Remote files as units of ingest: what they are named by, what is asked when planning, what progress says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from flaky_server import Fault, Site, serve
from source_factory import http, members, warc

from redpajama_pipe import recipe
from redpajama_pipe.errors import InputError
from redpajama_pipe.progress import Progress
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources import remote
from redpajama_pipe.sources.plan import plan_splits
from redpajama_pipe.sources.remote import Retry
from redpajama_pipe.sources.unit import Unit, find_receipt, ingest_unit, receipt_path
from redpajama_pipe.stages.ingest_documents import plan_units

NAME = "CC-MAIN-2023-06"
PAGES = members(warc(http()), warc(http(), WARC_Target_URI="http://[2001:DB8::1]:80/"), warc(http()))


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(remote, "pause", lambda seconds: None)
    with serve(Site({f"/crawl-data/{NAME}/a.warc.gz": PAGES, "/b.warc.gz": PAGES})) as running:
        yield running


def planned(*paths: str, **options: object) -> list[Unit]:
    source = {"name": "cc", "kind": "warc", "paths": list(paths), **options}
    loaded: Recipe = recipe.from_tree(
        {"name": "test", "sources": [source], "execution": {"read_attempts": 3, "read_timeout": 5}}, "test"
    )
    return plan_units(loaded, None)


def test_urls_are_asked_once_each_and_read_no_body(site: Site) -> None:
    (first, second) = planned(f"{site.url}/b.warc.gz", f"{site.url}/crawl-data/{NAME}/a.warc.gz", root=site.url)
    assert [first.split.identity, second.split.identity] == ["b.warc.gz", f"crawl-data/{NAME}/a.warc.gz"]
    assert (first.input_bytes, first.retry) == (len(PAGES), Retry(3, 5.0))
    assert site.asked == ["bytes=0-0"] * 2
    before = first.key
    site.files["/b.warc.gz"] = PAGES + PAGES
    assert planned(f"{site.url}/b.warc.gz", root=site.url)[0].key != before
    with pytest.raises(InputError, match=r"cannot read '.*/c\.warc\.gz': no such file \(the server answers 404\)"):
        planned(f"{site.url}/c.warc.gz")


def test_a_pattern_over_http_is_an_error() -> None:
    for path in ("https://example.org/*.warc.gz", "https://user:pw@example.org/a[0-9].gz?x=1"):
        with pytest.raises(InputError, match="is a pattern, and web servers list no files; name each file") as caught:
            plan_splits(Source("cc", "warc", (path,)))
        assert "pw" not in str(caught.value)
    (split,) = plan_splits(Source("cc", "warc", ("https://example.org/get?id=[1]",)))
    assert split.identity == "https://example.org/get"


def test_what_chooses_files_and_how_long_to_try_change_no_unit(site: Site) -> None:
    (unit,) = planned(f"{site.url}/b.warc.gz")
    source = replace(unit.source, paths=(), snapshot=NAME)
    key = replace(unit, source=source).key
    for change in ({"fraction": 0.5}, {"base": "s3://commoncrawl"}, {"exclude": ("x",)}, {"allow_failed_files": True}):
        assert replace(unit, source=replace(source, **change)).key == key
    assert replace(unit, source=source, retry=Retry(1)).key == key
    assert replace(unit, source=replace(source, snapshot="CC-MAIN-2023-14")).key != key
    assert replace(unit, source=source, fingerprint="other").key != key


def test_a_unit_says_its_host_snapshot_and_true_size(site: Site, tmp_path: Path) -> None:
    units = planned(f"{site.url}/crawl-data/{NAME}/a.warc.gz", f"{site.url}/b.warc.gz")
    site.faults = [Fault(503), Fault(cut=100)]
    receipts = [ingest_unit(replace(unit, input_bytes=-1), str(tmp_path), str(tmp_path)) for unit in units]
    assert [receipt.input_bytes for receipt in receipts] == [len(PAGES)] * 2
    columns = [
        pq.read_table(tmp_path / receipt.parts[0].file.path, columns=["host", "snapshot", "content_digest"])
        for receipt in receipts
    ]
    both = {table["snapshot"][0].as_py(): table["host"].to_pylist() for table in columns}
    assert both == {name: ["example.org", "2001:db8::1", "example.org"] for name in (NAME, None)}


def test_a_unit_that_cannot_be_read_leaves_no_receipt(site: Site, tmp_path: Path) -> None:
    (unit,) = planned(f"{site.url}/b.warc.gz")
    site.always = Fault(cut=len(PAGES) // 2)
    site.ranges = False
    with pytest.raises(InputError, match="attempt 3 of 3"):
        ingest_unit(unit, str(tmp_path), str(tmp_path))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_full_disk_is_no_fault_of_the_input(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (unit,) = planned(f"{site.url}/b.warc.gz")

    def full(*items: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("redpajama_pipe.storage.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        ingest_unit(unit, str(tmp_path), str(tmp_path))


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"parts": [1]}'])
def test_a_damaged_receipt_is_none(site: Site, tmp_path: Path, text: str) -> None:
    (unit,) = planned(f"{site.url}/b.warc.gz")
    receipt = ingest_unit(unit, str(tmp_path), str(tmp_path))
    assert find_receipt(str(tmp_path), unit) == receipt
    Path(receipt_path(str(tmp_path), unit)).write_text(text)
    assert find_receipt(str(tmp_path), unit) is None


@pytest.mark.parametrize(
    ("measured", "text"),
    [((0, 90), "0 of 90 files, 10 s"), ((30, 90), "30 of 90 files, 10 s, about 20 s left"), ((9, 9), "9 of 9 files")],
)
def test_progress_in_files(monkeypatch: pytest.MonkeyPatch, measured: tuple[float, float], text: str) -> None:
    measure: Callable[[], tuple[float, float]] = lambda: measured  # noqa: E731
    progress = Progress("ingest", measure=measure, quiet=True, counted="files")
    monkeypatch.setattr("time.monotonic", lambda: 10.0)
    assert progress._state().startswith(text)
