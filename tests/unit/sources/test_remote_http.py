"""Files over http from a server that throttles, cuts, lies and changes its files."""

from __future__ import annotations

import datetime
import email.utils
import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from flaky_server import Fault, Site, serve
from hypothesis import given, settings
from hypothesis import strategies as st
from source_factory import source

from redpajama_pipe.errors import InputError
from redpajama_pipe.sources import remote
from redpajama_pipe.sources.read import read_split
from redpajama_pipe.sources.record import Quarantined, Split
from redpajama_pipe.sources.remote import Answer, Body, RemoteFile, Retry, State, fetch, hidden, open_remote, stat

DATA = random.Random(1).randbytes(700_000)
QUICK = Retry(attempts=4, timeout=5, backoff=1.0, backoff_limit=60.0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been waited, in seconds."""
    found: list[float] = []
    monkeypatch.setattr(remote, "pause", found.append)
    return found


@pytest.fixture
def site(waits: list[float]) -> Iterator[Site]:
    with serve(Site({"/a": DATA, "/empty": b""})) as running:
        yield running


def read(site: Site, path: str = "/a", retry: Retry = QUICK, start: int = 0, end: int | None = None) -> bytes:
    with open_remote(site.url + path, start=start, end=end, retry=retry) as file:
        return file.read()


def test_a_file_is_one_request(site: Site) -> None:
    assert read(site) == DATA
    assert site.asked == ["bytes=0-"]
    assert site.seen[0]["User-Agent"].startswith("redpajama-pipe/")
    assert site.seen[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(("start", "end"), [(0, 5), (3, 4), (100_000, None), (0, 10**9), (5, 5), (700_000, None)])
def test_ranges(site: Site, start: int, end: int | None) -> None:
    for site.ranges in (True, False):
        assert read(site, start=start, end=end) == DATA[start:end]


def test_an_empty_file(site: Site) -> None:
    assert read(site, "/empty") == b""
    assert stat(f"{site.url}/empty").size == 0


def test_seeking(site: Site) -> None:
    with open_remote(f"{site.url}/a", retry=QUICK) as file:
        file.read(10)
        assert file.seek(650_000) == 650_000
        assert file.read() == DATA[650_000:]
        assert file.tell() == len(DATA)
        file.seek(-5, io.SEEK_END)
        assert file.read() == DATA[-5:]
        file.seek(2)
        assert file.read(3) == DATA[2:5]


@pytest.mark.parametrize("status", [403, 408, 429, 500, 502, 503, 504])
def test_a_status_that_asks_for_patience_is_waited_out(site: Site, waits: list[float], status: int) -> None:
    site.faults = [Fault(status), Fault(status)]
    assert read(site) == DATA
    assert len(waits) == 2
    assert 0.5 <= waits[0] <= 1 <= waits[1] <= 2


def test_waits_double_up_to_a_limit(site: Site, waits: list[float]) -> None:
    site.faults = [Fault(503)] * 9
    assert read(site, retry=Retry(attempts=10, backoff=1, backoff_limit=10)) == DATA
    for wait, longest in zip(waits, [1, 2, 4, 8, 10, 10, 10, 10, 10], strict=True):
        assert longest / 2 <= wait <= longest
    assert len(set(waits)) == len(waits)  # no two tasks come back together


def test_retry_after_is_honoured_within_bounds(site: Site, waits: list[float]) -> None:
    in_an_hour = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)
    site.faults = [
        Fault(429, {"Retry-After": "7"}),
        Fault(503, {"Retry-After": "86400"}),
        Fault(503, {"Retry-After": email.utils.format_datetime(in_an_hour, usegmt=True)}),
        Fault(503, {"Retry-After": "soon"}),
        Fault(503, {"Retry-After": "0"}),
    ]
    assert read(site, retry=Retry(attempts=9, backoff=0.1)) == DATA
    assert waits[:2] == [7, remote.RETRY_AFTER_SECONDS]
    assert 95 < waits[2] <= 100
    assert all(wait < 2 for wait in waits[3:])


def test_patience_ends(site: Site) -> None:
    site.always = Fault(503)
    with pytest.raises(InputError) as caught:
        read(site)
    assert str(caught.value) == (
        f"cannot read '{site.url}/a': the server answers 503 Service Unavailable (byte 0, attempt 4 of 4); "
        "run again later, or raise execution.read_attempts"
    )
    assert len(site.requests) == 4


@pytest.mark.parametrize(("status", "words"), [(404, "no such file"), (410, "no such file"), (401, "answers 401")])
def test_what_waiting_cannot_mend_is_an_error_at_once(site: Site, waits: list[float], status: int, words: str) -> None:
    site.always = Fault(status)
    with pytest.raises(InputError, match=words):
        read(site)
    assert (len(site.requests), waits) == (1, [])


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("ranges", [False, True])
def test_a_cut_file_is_resumed_at_the_very_byte(site: Site, reset: bool, ranges: bool) -> None:
    site.ranges = ranges
    site.faults = [Fault(cut=0, reset=reset), Fault(cut=100_001, reset=reset), Fault(cut=333_333, reset=reset)]
    assert read(site) == DATA
    assert site.statuses == [206 if ranges else 200] * 4
    positions = [int(str(asked).removeprefix("bytes=").rstrip("-")) for asked in site.asked]
    assert positions == sorted(positions)
    if not reset:
        assert positions[:3] == [0, 0, 100_001]


@given(cuts=st.lists(st.integers(0, 9_000), max_size=6), pieces=st.lists(st.integers(1, 5000), min_size=1))
@settings(max_examples=40)
def test_any_cuts_and_any_pieces_give_the_same_bytes(cuts: list[int], pieces: list[int]) -> None:
    data = DATA[:10_000]
    patience = Retry(attempts=8, backoff=0.0, backoff_limit=0.0)
    flaky = Site({"/a": data}, [Fault(cut=cut) for cut in cuts])
    with serve(flaky) as site, open_remote(f"{site.url}/a", retry=patience) as file:
        found = b""
        while piece := file.read(pieces[len(found) % len(pieces)]):
            found += piece
    assert found == data


def test_a_long_file_may_meet_more_trouble_than_one_place_may(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FRESH_BYTES", 50_000)
    site.faults = [Fault(cut=60_000)] * 11
    assert read(site, retry=Retry(attempts=2)) == DATA


def test_a_length_that_is_too_long_is_never_the_end_of_the_file(site: Site) -> None:
    site.ranges = False
    site.always = Fault(declare=10)
    with pytest.raises(InputError, match=r"10 bytes early|IncompleteRead|ends"):
        read(site)
    assert len(site.requests) == 4
    site.always = None
    site.faults = [Fault(declare=10)]
    with pytest.raises(InputError, match="changed while it was read"):
        read(site)  # the length that the second answer gives is another one


@pytest.mark.parametrize("declare", [-10, 10])
def test_a_length_that_contradicts_the_range_is_asked_for_again(site: Site, waits: list[float], declare: int) -> None:
    site.faults = [Fault(declare=declare), Fault(declare=declare)]
    assert read(site) == DATA
    assert len(waits) == 2
    site.always = Fault(declare=declare)
    with pytest.raises(InputError, match=r"sends 'bytes 0-699999/700000' with a Content-Length of"):
        read(site)


@pytest.mark.parametrize("said", ["bytes 5-699999/700000", "nonsense", "bytes */700000"])
def test_a_wrong_content_range_is_never_taken(site: Site, said: str) -> None:
    site.faults = [Fault(content_range=said)]
    assert read(site) == DATA
    site.always = Fault(content_range=said)
    with pytest.raises(InputError, match="asked for byte 0"):
        read(site)


def test_a_server_may_send_less_than_it_was_asked_for(site: Site, waits: list[float]) -> None:
    site.always = Fault(at_most=200_000)
    assert read(site) == DATA
    assert (len(site.requests), waits) == (4, [])


@pytest.mark.parametrize("validators", [True, False])
def test_a_file_that_changes_between_requests_is_an_error(site: Site, validators: bool) -> None:
    site.validators = validators
    other = DATA[::-1] if validators else DATA + b"more"
    site.faults = [Fault(cut=100_000), Fault(before=lambda: site.files.update({"/a": other}))]
    with pytest.raises(InputError, match=r"/a' changed while it was read; run again"):
        read(site)


def test_weak_and_strong_marks_of_one_file_are_the_same(site: Site) -> None:
    site.validators = False
    site.faults = [Fault(headers={"ETag": 'W/"1"'}, cut=9), Fault(headers={"ETag": '"1"'}, cut=9)]
    assert read(site) == DATA


def test_last_modified_counts_where_there_is_no_etag(site: Site) -> None:
    site.validators = False
    first, second = "Mon, 06 Feb 2023 00:00:00 GMT", "Tue, 07 Feb 2023 00:00:00 GMT"
    site.faults = [Fault(headers={"Last-Modified": first}, cut=9), Fault(headers={"Last-Modified": first}, cut=9)]
    assert read(site) == DATA
    site.faults = [Fault(headers={"Last-Modified": first}, cut=9), Fault(headers={"Last-Modified": second})]
    with pytest.raises(InputError, match="changed"):
        read(site)


def test_a_file_that_became_shorter_is_an_error(site: Site) -> None:
    site.validators = False
    site.faults = [Fault(cut=100_000), Fault(before=lambda: site.files.update({"/a": DATA[:1000]}))]
    with pytest.raises(InputError, match="changed"):
        read(site)


def test_chunked_answers(site: Site) -> None:
    site.ranges, site.chunked = False, True
    assert read(site) == DATA
    site.faults = [Fault(cut=10)]
    assert read(site) == DATA
    site.always = Fault(cut=10)
    with pytest.raises(InputError, match="cannot read"):
        read(site)


def test_a_range_without_a_content_length_is_still_counted(site: Site) -> None:
    site.lengths = False
    site.faults = [Fault(cut=100_000), Fault(cut=0)]
    assert read(site) == DATA
    assert site.asked == ["bytes=0-", "bytes=100000-", "bytes=100000-"]
    site.always = Fault(cut=0)
    with pytest.raises(InputError, match=r"the connection ended 700000 bytes early \(byte 0, attempt 4 of 4\)"):
        read(site)


def test_a_body_that_ends_early_in_good_order_is_not_the_end_of_the_file(waits: list[float]) -> None:
    class Half:
        def ask(self, position: int, end: int | None, retry: Retry) -> Answer:
            return Answer(cast(Body, io.BytesIO(DATA[position:1000])), position, State(2000))

        def check(self, state: State) -> None: ...

    with RemoteFile("half", Half(), 0, None, QUICK) as file:
        assert file.read(1000) == DATA[:1000]
        with pytest.raises(InputError, match=r"cannot read 'half': the body ends at byte 1000 of 2000"):
            file.read(1)


def test_a_body_without_any_length_is_refused(site: Site) -> None:
    site.ranges, site.lengths = False, False
    with pytest.raises(InputError, match="does not say how long it is"):
        read(site)


def test_a_silent_server_is_given_up(site: Site) -> None:
    site.faults = [Fault(cut=10, stall=5.0)]
    assert read(site, retry=Retry(attempts=2, timeout=0.1)) == DATA
    site.always = Fault(cut=0, stall=5.0)
    with pytest.raises(InputError, match="timed out"):
        read(site, retry=Retry(attempts=2, timeout=0.1))


def test_nobody_listens(waits: list[float]) -> None:
    with serve(Site()) as site:
        pass
    with pytest.raises(InputError, match=r"refused.*attempt 4 of 4"):
        read(site)
    assert len(waits) == 3


@pytest.mark.parametrize("url", ["http://[::1", "http:///x", "http://exa mple/"])
def test_what_is_no_url_is_an_error_at_once(waits: list[float], url: str) -> None:
    with pytest.raises(InputError, match="cannot read 'http:"):
        fetch(url)
    assert waits == []


def test_redirects_are_followed_but_not_for_ever(site: Site, waits: list[float]) -> None:
    site.moved = {"/b": "/a", "/round": "/round"}
    assert read(site, "/b") == DATA
    with pytest.raises(InputError, match="too many redirects"):
        read(site, "/round")
    assert waits == []


def test_credentials_are_sent_and_never_shown(site: Site) -> None:
    url = site.url.replace("http://", "http://user:p%40ss@")
    assert fetch(f"{url}/a?X-Signature=secret") == DATA
    assert site.seen[0]["authorization"] == "Basic dXNlcjpwQHNz"
    with pytest.raises(InputError) as caught:
        fetch(f"{url}/none?X-Signature=secret")
    assert str(caught.value) == f"cannot read '{site.url}/none': no such file (the server answers 404)"
    assert hidden("s3://bucket/a?b") == "s3://bucket/a?b"


def test_stat_reads_no_body(site: Site) -> None:
    found = stat(f"{site.url}/a")
    assert (found.size, site.asked) == (len(DATA), ["bytes=0-0"])
    before = found
    site.files["/a"] = DATA[::-1]
    assert before.differs(stat(f"{site.url}/a"))
    site.ranges = False
    assert stat(f"{site.url}/a").size == len(DATA)


def test_fetch_takes_no_large_file(site: Site) -> None:
    with pytest.raises(InputError, match="more than 1000 bytes"):
        fetch(f"{site.url}/a", most=1000)


def test_a_proxy_of_the_environment_is_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", site.url)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(InputError, match="no such file"):
        fetch("http://crawl.invalid/a", retry=QUICK)
    assert site.requests[0][0] == "http://crawl.invalid/a"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert read(site) == DATA


ARCHIVES = [
    "warc/commoncrawl_2020_34/warcfile.warc.gz",
    "warc/commoncrawl_2020_34/clipped.warc.gz",
    "warc/commoncrawl_2016_50/repaired/sample.warc.gz",
    "warc/commoncrawl_2024_22/whirlwind.warc.gz",
    "warc/warcio_cases/example.arc.gz",
]


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_real_archive_gives_the_same_records_as_the_local_file(real_data: Path, site: Site, name: str) -> None:
    data = (real_data / name).read_bytes()
    options = source("warc")
    expected = list(read_split(Split("s", str(real_data / name), name), options))
    site.files["/x.gz"] = data
    size = len(data)
    site.faults = [Fault(503, {"Retry-After": "1"}), Fault(cut=size // 3), Fault(cut=size // 4, reset=True), Fault(429)]
    split = Split("s", f"{site.url}/x.gz", name)
    assert list(read_split(split, options)) == expected
    assert len(site.requests) == 5


def test_a_length_that_is_too_short_without_ranges_shows_in_the_archive(real_data: Path, site: Site) -> None:
    """All that HTTP says is that the file ends there; the archive says that it does not."""
    site.files["/x.gz"] = (real_data / ARCHIVES[0]).read_bytes()
    site.ranges = False
    site.always = Fault(declare=-10)
    *_, last = read_split(Split("s", f"{site.url}/x.gz", "x"), source("warc"))
    assert isinstance(last, Quarantined)
    assert last.reason == "truncated_gzip"


def test_an_archive_that_cannot_be_read_to_its_end_is_an_error_and_no_truncated_archive(
    real_data: Path, site: Site
) -> None:
    site.files["/x.gz"] = (real_data / ARCHIVES[0]).read_bytes()
    site.always = Fault(cut=2000)
    site.ranges = False
    with pytest.raises(InputError, match="attempt 12 of 12"):
        list(read_split(Split("s", f"{site.url}/x.gz", "x"), source("warc")))
