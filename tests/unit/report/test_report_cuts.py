"""The report's sections on cuts, duplicates and evaluation sets: what they show, and that their figures add up."""

from __future__ import annotations

import dataclasses
import re

import pytest
from report_factory import SCRIPT_TEXT, digest, empty_report, rich_report

from redpajama_pipe.manifest import Manifest
from redpajama_pipe.recipe import from_tree
from redpajama_pipe.report import cut_sections, duplicates
from redpajama_pipe.report.collect_cuts import LENGTH, cut_rows, pieces_of
from redpajama_pipe.report.collect_duplicates import described_rules, part_of
from redpajama_pipe.report.model import CutRow, Duplicates, ReportData


@pytest.mark.parametrize(
    ("rule", "text", "pieces"),
    [
        ("duplicate_line", "All  rights\treserved.\nRead more\n", ["All rights reserved.", "Read more"]),
        ("ccnet_paragraph", "a\n\nb", ["a", "b"]),
        ("duplicate_paragraph", "one\nline\n\n  \ntwo\n", ["one line", "two"]),
        ("c4_three_sentences", "A b.\nC d.", ["A b. C d."]),
        ("c4.clean_page.white_space", " \r\n\t", ["␣␍⏎⇥"]),
        ("duplicate_line", "\n\n", []),
        ("contaminated.x", "ab" * LENGTH, ["ab" * (LENGTH // 2) + "…"]),
    ],
)
def test_a_span_is_counted_by_its_units(rule: str, text: str, pieces: list[str]) -> None:
    assert pieces_of(rule, text) == pieces


def test_what_is_replaced_is_shown_by_its_shape_alone() -> None:
    assert pieces_of("pii.pii.email", "Jané.Doe7@mail.net", "x@example.org") == ["xxxx.xxx0@xxxx.xxx"]
    assert pieces_of("pii.pii.phone", "٣٤ (415) 555-2671", "555") == ["00 (000) 000-0000"]
    assert pieces_of("c4.clean_page.line_break", "\r\n", "\n") == ["␍⏎"]


def manifest_of(cuts: dict[str, dict[str, dict[str, int]]]) -> Manifest:
    return Manifest("filter", "", "", {}, {}, {"cuts": cuts} if cuts else {}, ())


def test_cuts_of_all_stages_are_added_over_the_sources() -> None:
    one = {"documents": 2, "spans": 3, "bytes": 10}
    two = {"documents": 5, "spans": 5, "bytes": 7}
    steps = {
        "filter": manifest_of({"web": {"c4.b": one, "c4.a": two}, "wiki": {"c4.b": two}}),
        "dedup": manifest_of({"web": {"duplicate_line": one}, "wiki": {}}),
        "decontaminate": manifest_of({}),
    }
    assert cut_rows(steps) == [
        CutRow("c4.a", 5, 5, 7, "filter"),
        CutRow("c4.b", 7, 8, 17, "filter"),
        CutRow("duplicate_line", 2, 3, 10, "dedup"),
    ]


def with_(**changes: object) -> ReportData:
    return dataclasses.replace(empty_report(), **changes)  # type: ignore[arg-type]


def rows_of(section: str) -> list[list[str]]:
    """The cells of every row, without markup."""
    rows = re.findall(r"<tr>(.*?)</tr>", section, re.DOTALL)
    return [
        [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


def test_cuts_are_ordered_by_bytes_and_every_figure_is_there() -> None:
    drawn = cut_sections.cuts(rich_report())
    assert drawn is not None
    table = rows_of(drawn)
    assert [row[0] for row in table[1:5]] == [
        "duplicate_line dedup",
        "c4_published.lines.javascript filter",
        "pii.pii.email filter",
        "contaminated.boolq decontaminate",
    ]
    assert table[1][2:] == ["22.1 MB", "0.4 %", "311,902", "40,118", "3.1 %"]


def test_a_sample_is_called_one_and_all_documents_are_too() -> None:
    rich = rich_report()
    drawn = cut_sections.cuts(rich)
    assert drawn is not None
    assert "in a random sample of them: those with the lowest ids, 588 to 603." in drawn
    whole = [dataclasses.replace(row, read=row.documents) for row in rich.cuts]
    drawn = cut_sections.cuts(dataclasses.replace(rich, cuts=whole))
    assert drawn is not None
    assert "Counted in all documents that the rules change." in drawn


def test_texts_follow_their_rules_and_what_becomes_of_them_is_said() -> None:
    drawn = cut_sections.cuts(rich_report())
    assert drawn is not None
    texts = rows_of(drawn)[6:]
    assert [row[1] for row in texts] == [
        "All rights reserved by the publisher.",
        "&lt;script&gt;alert(&#x27;crawled&#x27;)&lt;/script&gt;",
        "Please enable JavaScript.",
        "xxxx.xx0@xxxx.xxx",
        "␍⏎",
    ]
    assert [row[4] for row in texts] == ["–", "–", "–", "firstname.lastname@example.org", "⏎"]
    assert f'title="{digest("c")}"' in drawn  # the document that has the copy that stays
    assert SCRIPT_TEXT not in drawn


def test_columns_that_nothing_fills_are_left_out() -> None:
    text = dataclasses.replace(rich_report().cut_texts[0], rule="r")
    drawn = cut_sections.cuts(with_(cuts=[CutRow("r", 1, 1, 9, read=1)], cut_texts=[text]))
    assert drawn is not None
    assert "Becomes" not in drawn
    assert "One stays in" not in drawn


def test_kinds_add_up_over_sources_and_a_kind_without_documents_is_shown() -> None:
    drawn = duplicates.duplicates(with_(duplicates=rich_report().duplicates))
    assert drawn is not None
    kinds = rows_of(drawn)[:6]
    assert kinds[0] == ["Kind", "Amount", "Documents", "Similarity", "c4_en", "common_crawl", "github"]
    assert kinds[3][2:] == ["0", "–", "0", "0", "0"]
    assert kinds[5] == ["All", "", "118,628", "", "9,954", "99,972", "8,702"]


def test_pairs_of_sources_add_up_both_ways() -> None:
    drawn = duplicates.duplicates(with_(duplicates=rich_report().duplicates))
    assert drawn is not None
    matrix = rows_of(drawn.partition("Whose documents repeat whose")[2].partition("How alike")[0])
    assert matrix == [
        ["Dropped, of", "common_crawl", "wikipedia", "All"],
        ["c4_en", "–", "1,007", "1,007"],
        ["common_crawl", "89,661", "10,000", "99,661"],
        ["All", "89,661", "11,007", "100,668"],
    ]
    assert 'title="38,102 equal, 51,559 near"' in drawn


def test_indexes_sizes_and_similarities_are_shown() -> None:
    drawn = duplicates.duplicates(with_(duplicates=rich_report().duplicates))
    assert drawn is not None
    assert ["/corpora/&lt;2023&gt;", "311", "1,906", "2,217"] in [row[:4] for row in rows_of(drawn)]
    assert ["128 to 255", "3", "512"] in [[row[0], *row[2:]] for row in rows_of(drawn)]
    assert "A document goes from 0.8 on." in drawn
    assert "0.94 to 0.95: 0 kept, 9,000 dropped" in drawn


def test_duplicates_without_any_leave_the_section_out() -> None:
    assert duplicates.duplicates(empty_report()) is None
    assert duplicates.duplicates(with_(duplicates=Duplicates())) is None


def test_an_evaluation_set_has_its_sources_and_a_receipt() -> None:
    drawn = cut_sections.contamination(rich_report())
    assert drawn is not None
    [head, boolq, piqa] = rows_of(drawn)
    assert head[:4] == ["Evaluation set", "Documents", "common_crawl", "c4_en"]
    assert boolq[:5] == ["boolq", "12", "11", "1", "3"]
    assert "example 1187" in boolq[-1]
    assert piqa[-2:] == ["–", "–"]
    assert SCRIPT_TEXT not in drawn


def test_every_kind_that_a_recipe_asks_for_is_described() -> None:
    tree = {"name": "x", "sources": [], "dedup": {"exact": ["text", "url"], "against": ["old"], "verify": "none"}}
    told = described_rules(from_tree(tree, "x"))
    assert [rule for rule, _, _ in told] == [
        "exact_duplicate_of_index",
        "exact_duplicate",
        "url_duplicate",
        "near_duplicate_of_index",
        "near_duplicate",
    ]
    assert all(keeps and "{" not in keeps for _, keeps, _ in told)
    assert [part_of(rule) for rule, _, _ in told] == ["exact_dedup"] * 3 + ["near_dedup"] * 2
    tree["dedup"] = {"exact": False, "near": False, "lines": {"mode": "ccnet"}}
    assert [(rule, part_of(rule)) for rule, _, _ in described_rules(from_tree(tree, "x"))] == [
        ("ccnet_no_text_left", "repeated_lines")
    ]
