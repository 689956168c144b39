from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from redpajama_pipe.errors import SetupError
from redpajama_pipe.signals import score
from redpajama_pipe.signals.resources import Resources
from redpajama_pipe.signals.url_lists import UrlLists

LISTS = {
    "adult/domains": "# comment\nwicked.example\nWWW.Old.example\nbücher.example\n\n",
    "adult/words": "naughty\n",
    "adult/soft_words": "hot\nsingles\n",
    "gambling/domains": "bets.wicked.example\n10.1.2.3\n",
    "gambling/urls": "host.example/~casino\nhttp://www.shop.example/Win?now=1\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in LISTS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://wicked.example/a", "adult: domain wicked.example"),
        ("https://WWW.Wicked.Example:8080/", "adult: domain wicked.example"),
        ("http://user@sub.wicked.example./", "adult: domain wicked.example"),
        ("http://x.bets.wicked.example/", "gambling: domain bets.wicked.example"),  # the longest domain first
        ("http://www.old.example/", "adult: domain old.example"),
        ("http://bücher.example/x", "adult: domain xn--bcher-kva.example"),
        ("http://xn--bcher-kva.example/x", "adult: domain xn--bcher-kva.example"),
        ("http://10.1.2.3/x", "gambling: domain 10.1.2.3"),
        ("http://notwicked.example/", None),
        ("http://wow.example/", None),
        ("http://2.3/", None),
        ("http://example/", None),
        ("http://host.example/~casino/page?x=1", "gambling: url host.example/~casino"),
        ("http://www.host.example/~casino", "gambling: url host.example/~casino"),
        ("http://host.example/~casinos", None),
        ("https://shop.example/Win?now=1", "gambling: url shop.example/Win?now=1"),
        ("https://shop.example/win?now=1", None),
        ("http://a.example/so-NAUGHTY/x", "adult: word naughty"),
        ("http://a.example/naughtyness", None),
        ("http://hot.example/singles", "adult: soft_words hot singles"),
        ("http://hot.example/", None),
        ("naughty", None),  # no URL
        ("http://[naughty", None),
        ("", None),
    ],
)
def test_match(folder: Path, url: str, expected: str | None) -> None:
    match = UrlLists(folder).match(url)
    assert (None if match is None else f"{match.category}: {match}") == expected


def test_columns_tell_no_url_from_not_listed(folder: Path) -> None:
    texts = pa.array(["a", "b", "c", None, None])
    urls = pa.array([None, "http://wicked.example/", "http://good.example/", "http://wicked.example/", "http://a.b/"])
    names = ["url_block_category", "url_block_match"]
    batch = score(texts, names, urls=urls, resources=Resources(url_lists=str(folder)))
    assert batch.to_pydict() == {
        "url_block_category": [None, "adult", "", None, None],
        "url_block_match": [None, "domain wicked.example", "", None, None],
    }
    assert score(texts, names, resources=Resources(url_lists=str(folder)))[0].to_pylist() == [None] * 5


def test_signal_asked_for_by_name_needs_lists(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"url_block_category needs URL lists: .* set annotate\.url_lists"):
        score(pa.array(["a"]), ["url_block_category"])
    with pytest.raises(SetupError, match=r"no URL lists in .*dsi\.ut-capitole\.fr"):
        score(pa.array(["a"]), ["url_block_category"], resources=Resources(url_lists=str(tmp_path / "none")))
