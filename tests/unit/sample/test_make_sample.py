import bz2
import gzip
import io
import json
import os
import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import Any

import mwparserfromhell
import pytest
import zstandard
from resiliparse.extract.html2text import extract_plain_text
from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed

from redpajama_pipe import recipe
from redpajama_pipe.errors import InputError
from redpajama_pipe.sample import pile, wiki
from redpajama_pipe.sample.articles import language, languages
from redpajama_pipe.sample.make import make_sample
from redpajama_pipe.sample.pages import edit_lines

PAGES = 45
PILE = "pile/sample.jsonl.zst"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    make_sample(folder, pages=PAGES)
    return folder


@pytest.fixture(scope="module")
def expected(sample: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((sample / "expected.json").read_text("utf-8"))
    return tree


@pytest.fixture(scope="module")
def texts(sample: Path) -> dict[tuple[str, str], str]:
    """Return the text of every document of crawl, WET and Pile by (file, record id), read without this project."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted((sample / "crawl").iterdir()):
        for kind, record_id, _, text in records(path):
            if kind in ("response", "conversion"):
                found[f"crawl/{path.name}", record_id] = text
    for number, line in enumerate(json_lines(sample)):
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError):
            continue
        if isinstance(text, str):
            found[PILE, str(number)] = text
    return found


def records(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield (type, record id, status, text) of each record of a whole WARC file."""
    with path.open("rb") as file:
        for record in ArchiveIterator(file, check_digests="raise"):
            body = record.content_stream().read()
            status = record.http_headers.get_statuscode() if record.http_headers else ""
            text = ""
            if record.rec_type == "conversion":
                text = body.decode("utf-8")
            elif record.rec_type == "response" and "html" in record.http_headers.get_header("content-type"):
                text = extract_plain_text(body.decode(charset(record.http_headers, body)))
            yield record.rec_type, record.rec_headers.get_header("WARC-Record-ID")[1:-1], status, text


def charset(headers: Any, body: bytes) -> str:
    named = re.search(r"charset=([\w-]+)", headers.get_header("content-type"))
    meta = re.search(rb'<meta charset="([\w-]+)"', body[:1024])
    return named[1] if named else meta[1].decode() if meta else "utf-8"


def json_lines(sample: Path) -> list[bytes]:
    with (sample / PILE).open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read().splitlines()


def similarity(first: str, second: str) -> float:
    """Return the Jaccard similarity of the sets of 5-word shingles."""
    shingles = []
    for text in (first, second):
        words = re.findall(r"\w+", text.lower())
        shingles.append({tuple(words[start : start + 5]) for start in range(len(words) - 4)})
    return len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])


def as_published(wikitext: str, prefixes: str) -> str:
    """Clean wikitext as the published RedPajama and Hugging Face Wikipedia sets did."""
    parts = []
    for section in mwparserfromhell.parse(wikitext).get_sections(flat=True, include_lead=True, include_headings=True):
        for link in section.ifilter_wikilinks(recursive=True):
            if re.match(f"(?:{prefixes}):", str(link.title), re.IGNORECASE):
                section.remove(link)
        for tag in section.ifilter_tags(matches=lambda node: node.tag == "ref"):
            section.remove(tag)
        parts.append(section.strip_code().strip())
    return "\n\n".join(parts)


def test_files_hold_the_records_that_expected_json_counts(sample: Path, expected: dict[str, Any]) -> None:
    paths = sorted((sample / "crawl").iterdir())
    assert [path.name for path in paths] == [
        "sample-20260105-00000.warc.gz",
        "sample-20260105-00000.warc.wet.gz",
        "sample-20260105-00001.warc.gz",
        "sample-20260119-00000.warc.gz",
    ]
    for path in paths:
        read = list(records(path))
        counted = Counter(kind for kind, *_ in read)
        counted.update(f"response {status}" for kind, _, status, _ in read if kind == "response")
        assert counted == expected["files"][f"crawl/{path.name}"]
        ids = [record_id for _, record_id, *_ in read]
        assert len(set(ids)) == len(ids)
    second = expected["files"]["crawl/sample-20260119-00000.warc.gz"]
    assert second["response 301"] == second["response 404"] == 1
    assert second["revisit"] == 2
    first = [expected["files"][f"crawl/sample-20260105-0000{number}.warc.gz"]["response"] for number in (0, 1)]
    assert sum(first) == PAGES + len(languages())


def test_pages_come_in_many_charsets_and_codings(sample: Path) -> None:
    seen = Counter[str]()
    for path in (sample / "crawl").glob("*.warc.gz"):
        with path.open("rb") as file:
            for record in ArchiveIterator(file, no_record_parse=False):
                if record.rec_type != "response":
                    continue
                headers = record.http_headers
                for name in ("Content-Encoding", "Transfer-Encoding", "X-Crawler-Content-Encoding"):
                    seen[f"{name}: {headers.get_header(name)}"] += 1
                body = record.content_stream().read()
                assert "\ufffd" not in body.decode(charset(headers, body)) if body[:1] != b"\x89" else True
                named = "charset" in headers.get_header("content-type")
                seen[f"{'header' if named else 'body'} {charset(headers, body).lower()}"] += body[:1] != b"\x89"
    for kind in (
        *("Content-Encoding: gzip", "Transfer-Encoding: chunked", "X-Crawler-Content-Encoding: gzip"),
        *("header utf-8", "header utf-16", "header iso-8859-1", "body utf-8"),
        *("body windows-1252", "body windows-1251", "body iso-8859-2", "body koi8-r"),
    ):
        assert seen[kind] >= 1, kind


def test_dumps_parse_and_hold_each_kind_of_page(sample: Path, expected: dict[str, Any]) -> None:
    for item in languages():
        name = f"wiki/{item.code}wiki-20260101-pages-articles.xml.bz2"
        data = (sample / name).read_bytes()
        root = ET.fromstring(bz2.decompress(data))
        version = "0.10" if item.code in wiki.OLD_FORMAT else "0.11"
        assert root.tag == f"{{http://www.mediawiki.org/xml/export-{version}/}}mediawiki"
        spaces = {"": root.tag[1:].partition("}")[0]}
        names = {element.get("key"): element.text for element in root.iterfind(".//namespace", spaces)}
        assert (names["1"], names["14"]) == (item.talk, item.category)
        pages = root.findall("page", spaces)
        assert len(pages) == sum(expected["files"][name].values()) == len(item.articles) + 5
        assert [page.findtext("ns", "", spaces) for page in pages[-5:]] == ["0", "0", "1", "10", "0"]
        [redirect] = root.findall("page/redirect", spaces)
        assert redirect.get("title") == item.articles[0].title
        for page in pages:
            text = page.find("revision/text", spaces)
            assert text is not None
            assert int(text.get("bytes", "")) == len((text.text or "").encode())
            assert page.findtext("revision/sha1", "", spaces) == wiki.base36_sha1(text.text or "")
        first = bz2.BZ2Decompressor()
        first.decompress(data)
        assert bool(first.unused_data) == (item.code in wiki.MULTISTREAM)


def test_checksum_of_a_revision_is_mediawikis() -> None:
    assert wiki.base36_sha1("") == "phoiac9h4m842xq45sp7s6u21eteeq1"
    assert wiki.base36_sha1("#REDIRECT [[House Tornado]]") == "7wv0tmkb6o21hld1u6wveqptzh2w88d"
    # one in thirty has a leading zero
    assert {len(wiki.base36_sha1(str(number))) for number in range(300)} == {31}


def test_exact_duplicates_have_equal_text(expected: dict[str, Any], texts: dict[tuple[str, str], str]) -> None:
    compared = Counter[str]()
    for first, second in expected["exact_duplicates"]:
        if first["source"] == "wikipedia":
            continue
        assert (first["file"], first["record_id"]) != (second["file"], second["record_id"])
        assert texts[first["file"], first["record_id"]] == texts[second["file"], second["record_id"]]
        compared[f"{first['source']} {second['source']}"] += 1
    assert min(compared[kind] for kind in ("crawl crawl", "pile pile", "crawl_text pile")) >= 2


def test_near_duplicates_are_over_the_threshold_and_not_equal(
    expected: dict[str, Any], texts: dict[tuple[str, str], str]
) -> None:
    english = language("en")
    articles = {
        str(wiki.FIRST_ARTICLE_ID + number): as_published(article.wikitext, f"{english.file}|{english.category}")
        for number, article in enumerate(english.articles)
    }
    compared = Counter[str]()
    for first, second in expected["near_duplicates"]:
        one = (
            articles[first["record_id"]] if first["source"] == "wikipedia" else texts[first["file"], first["record_id"]]
        )
        other = texts[second["file"], second["record_id"]]
        assert one != other
        assert similarity(one, other) >= 0.85, (first, second)
        compared[f"{first['source']} {second['source']}"] += 1
    assert compared["wikipedia pile"] == 5
    assert min(compared[kind] for kind in ("crawl crawl", "pile pile", "crawl crawl_text")) >= 2


def test_similar_pages_that_are_no_duplicates_stay_under_the_threshold(
    expected: dict[str, Any], texts: dict[tuple[str, str], str]
) -> None:
    assert expected["not_duplicates"]
    for places in expected["not_duplicates"]:
        first, second = (texts[place["file"], place["record_id"]] for place in places)
        assert 0.6 <= similarity(first, second) <= 0.78, places


def test_ends_of_a_chain_are_no_duplicates_of_each_other(
    expected: dict[str, Any], texts: dict[tuple[str, str], str]
) -> None:
    assert len(expected["chains"]) == 2
    for places in expected["chains"]:
        editions = [texts[place["file"], place["record_id"]] for place in places]
        assert len(editions) == 4
        assert all(similarity(one, other) >= 0.82 for one, other in pairwise(editions))
        assert similarity(editions[0], editions[-1]) <= 0.75


def test_lines_that_cannot_be_read_are_where_expected_json_says(sample: Path, expected: dict[str, Any]) -> None:
    lines = json_lines(sample)
    assert len(lines) == expected["files"][PILE]["lines"]
    for kind, number in expected["bad_lines"].items():
        assert lines[number] == pile.BAD_LINES[kind]
    good = set(range(len(lines))) - set(expected["bad_lines"].values())
    assert all(isinstance(json.loads(lines[number])["text"], str) for number in good)
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[expected["bad_lines"]["bad_json"]])
    with pytest.raises(UnicodeDecodeError):
        lines[expected["bad_lines"]["invalid_utf8"]].decode("utf-8")
    odd = {kind: json.loads(lines[number])["text"] for kind, number in expected["odd_lines"].items()}
    assert "\ud800" in odd["lone_surrogate"]
    assert "\x00" in odd["nul"]
    assert odd["byte_order_mark"].startswith("\ufeff")
    assert odd["empty_text"] == ""


def test_subsets_and_rules_are_counted(
    sample: Path, expected: dict[str, Any], texts: dict[tuple[str, str], str]
) -> None:
    counted = Counter[str]()
    for number in range(expected["files"][PILE]["lines"]):
        if str(number) not in map(str, {*expected["bad_lines"].values(), *expected["odd_lines"].values()}):
            counted[json.loads(json_lines(sample)[number])["meta"]["pile_set_name"]] += 1
    assert counted == {name: count for name, count in expected["files"][PILE].items() if name != "lines"}
    assert counted["Planted"] == sum(len(places) for places in expected["gopher"].values())
    [long] = expected["gopher"]["max_word_count"]
    assert len(texts[long["file"], long["record_id"]].split()) > 100_000


def test_clipped_file_breaks_in_its_last_response(sample: Path, expected: dict[str, Any]) -> None:
    damage = next(damage for damage in expected["broken"] if damage["kind"] == "cut_in_record")
    bodies = [
        (record.rec_headers.get_header("WARC-Record-ID")[1:-1], record.content_stream().read())
        for record in ArchiveIterator(io.BytesIO((sample / damage["file"]).read_bytes()))
        if record.rec_type == "response"
    ]
    whole = [body for _, body in bodies if body.endswith(b"</html>\n")]
    assert len(whole) == damage["readable"] == len(bodies) - 1
    assert bodies[-1][0] == damage["record_id"]
    assert not bodies[-1][1].endswith(b"</html>\n")


def test_wrong_lengths_are_one_too_small_and_one_too_large(sample: Path, expected: dict[str, Any]) -> None:
    small, large = (
        next(damage for damage in expected["broken"] if damage["kind"] == kind)
        for kind in ("length_too_small", "length_too_large")
    )
    path = sample / small["file"]
    with pytest.raises(ArchiveLoadFailed, match="Invalid WARC record"):
        list(ArchiveIterator(io.BytesIO(path.read_bytes())))
    data = gzip.decompress(path.read_bytes())
    off = {}
    for found in re.finditer(rb"WARC/1.0\r\n(.*?)\r\n\r\n(.*?)\r\n\r\n(?=WARC/1.0|\Z)", data, re.DOTALL):
        head = dict(line.split(b": ", 1) for line in found[1].split(b"\r\n"))
        block = found[2]
        if head[b"WARC-Type"] == b"response":
            off[head[b"WARC-Record-ID"][1:-1].decode()] = int(head[b"Content-Length"]) - len(block)
    assert {record_id: gap for record_id, gap in off.items() if gap} == {
        small["record_id"]: -100,
        large["record_id"]: 100,
    }
    assert len(off) == 5


def test_truncated_dump_still_gives_its_first_pages(sample: Path, expected: dict[str, Any]) -> None:
    damage = next(damage for damage in expected["broken"] if damage["kind"] == "cut_in_stream")
    data, text = (sample / damage["file"]).read_bytes(), b""
    while data:
        stream = bz2.BZ2Decompressor()
        text += stream.decompress(data)
        data = stream.unused_data
    assert not stream.eof
    assert text.count(b"</page>") == damage["readable"] == 2
    with bz2.open(sample / damage["file"]) as file, pytest.raises(EOFError):
        file.read()


def test_two_calls_write_equal_bytes(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.chdir(tmp_path)
    make_sample(tmp_path / "again", pages=PAGES)
    files = sorted(path.relative_to(sample) for path in sample.rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*") if path.is_file()
    )
    for path in files:
        assert (sample / path).read_bytes() == (tmp_path / "again" / path).read_bytes(), path


def test_pages_do_not_say_where_python_lies(texts: dict[tuple[str, str], str]) -> None:
    everything = "\n".join(texts.values())
    for folder in {sys.prefix, sys.base_prefix, os.path.dirname(os.__file__)} - {"/usr"}:
        assert folder not in everything
    assert not re.search(r"\bat\s0x[0-9a-f]{6,}", everything)


def test_more_pages_make_a_larger_sample(tmp_path: Path) -> None:
    small = make_sample(tmp_path / "small", pages=30)
    large = make_sample(tmp_path / "large", pages=60)
    assert large["web pages (WARC responses)"] >= small["web pages (WARC responses)"] + 30
    assert large["JSON lines"] > small["JSON lines"]
    with pytest.raises(InputError, match="a sample of 10 pages is too small; the fewest is 30"):
        make_sample(tmp_path / "tiny", pages=10)


def test_edited_share_of_lines_is_exact() -> None:
    text = "".join(f"this is line number {number} of many\n" for number in range(100))
    changed = [old != new for old, new in zip(text.split("\n"), edit_lines(text, 0.1, "x").split("\n"), strict=True)]
    assert sum(changed) == 10
    assert edit_lines(text, 0.1, "x") == edit_lines(text, 0.1, "x") != edit_lines(text, 0.1, "y")


def test_recipe_reads_every_file_of_the_sample_once(sample: Path) -> None:
    loaded = recipe.load("sample", [f"vars.data={sample}"])
    assert [source.name for source in loaded.sources] == ["wikipedia", "crawl", "crawl_text", "pile"]
    assert loaded.filter.rule_sets == ("language", "gopher")
    assert loaded.schedule.epochs == (1.0, 1.5)
    assert loaded.tokenize.tokenizer == "sample_spm"
    inputs = [path for path in sample.rglob("*") if path.suffix in (".gz", ".bz2", ".zst")]
    assert len(inputs) == 28
    for path in inputs:
        readers = [s.name for s in loaded.sources for pattern in s.paths if fnmatch(str(path), pattern)]
        assert len(readers) == 1, (path, readers)
