"""Report data for tests: `rich_report` fills every section with hard cases, `empty_report` none.

Everything is computed from fixed formulas, so that two calls give equal data.
"""

from __future__ import annotations

import hashlib
import math

from redpajama_pipe.report.model import (
    Cluster,
    CutRow,
    CutText,
    DocCard,
    DuplicateRow,
    Duplicates,
    FunnelRow,
    Histogram,
    IndexRow,
    PairRow,
    QuarantineRow,
    ReportData,
    RuleRow,
    ScheduleRow,
    ShardRow,
    SizeRow,
    SkippedRow,
    StageRow,
    TaskRow,
    Threshold,
    TokenRow,
)

SCRIPT_TEXT = "<script>alert('crawled')</script>"

_SOURCES = {
    # name: documents in, quarantined, filter, exact, near, bytes a document
    "common_crawl": (812_430, 9_214, 401_877, 38_102, 61_559, 4_810),
    "wikipedia": (204_118, 37, 9_406, 12, 1_733, 3_120),
    "c4_en": (154_200, 0, 22_871, 4_410, 9_954, 2_240),
    "github": (61_207, 1_404, 30_551, 8_702, 6_118, 5_930),
    "stackexchange": (48_911, 3, 2_204, 0, 310, 1_870),
    "arxiv": (9_004, 212, 61, 1, 14, 41_200),
}
_LANGUAGES = {
    "en": 0.581,
    "de": 0.082,
    "fr": 0.066,
    "es": 0.058,
    "ru": 0.049,
    "ja": 0.037,
    "zh": 0.034,
    "pt": 0.027,
    "it": 0.021,
    "ar": 0.016,
    "pl": 0.013,
    "fa": 0.008,
    "he": 0.005,
    "th": 0.002,
    "und": 0.001,
}


def digest(text: str, digits: int = 32) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def funnel_row(kind: str, name: str, numbers: tuple[int, int, int, int, int, int]) -> FunnelRow:
    documents, quarantined, filtered, exact, near, size = numbers
    kept = documents - quarantined - filtered - exact - near
    return FunnelRow(
        kind=kind,  # type: ignore[arg-type]
        name=name,
        documents_in=documents,
        quarantined=quarantined,
        dropped={"filter": filtered, "exact_dedup": exact, "near_dedup": near},
        kept=kept,
        tokens=int(kept * size * 0.263),
        bytes_in=(documents - quarantined) * size,
        bytes_kept=kept * size,
    )


def _languages() -> list[FunnelRow]:
    rows = []
    for index, (name, part) in enumerate(_LANGUAGES.items()):
        documents = int(1_279_000 * part)
        filtered = int(documents * (0.22 + 0.5 * abs(math.sin(index * 1.3))))
        exact, near = int(documents * 0.03), int(documents * 0.02 * (index % 5))
        rows.append(funnel_row("language", name, (documents, 0, filtered, exact, near, 3_900)))
    return rows


def _rules() -> list[RuleRow]:
    gopher = "Rae et al. 2021, arXiv:2112.11446, table A1"
    c4 = "Raffel et al. 2020, arXiv:1910.10683, section 2.2"
    filters = [
        ("gopher.word_count", "word_count BETWEEN 50 AND 100000", 141_203, 141_203, 60_118, gopher),
        ("gopher.mean_word_length", "mean_word_length BETWEEN 3 AND 10", 20_331, 54_390, 6_170, gopher),
        ("gopher.symbol_to_word_ratio", "symbol_to_word_ratio <= 0.1", 9_917, 33_101, 2_414, gopher),
        ("gopher.bullet_line_fraction", "bullet_line_fraction <= 0.9", 1_210, 2_020, 884, gopher),
        ("gopher.alphabetic_word_fraction", "alphabetic_word_fraction >= 0.8", 88_410, 160_977, 41_003, gopher),
        ("gopher.stop_word_count", "language <> 'en' OR stop_word_count >= 2", 31_770, 72_454, 12_918, gopher),
        ("gopher.duplicate_line_char_fraction", "duplicate_line_char_fraction <= 0.2", 62_018, 117_330, 30_276, gopher),
        (
            "c4.terminal_punctuation_line_fraction",
            "terminal_punctuation_line_fraction > 0.12",
            74_115,
            190_008,
            22_547,
            c4,
        ),
        ("c4.curly_bracket", "NOT contains(text, '{')", 37_996, 48_121, 29_055, c4),
        ("c4.lorem_ipsum", "lorem_ipsum_count = 0", 0, 3, 0, c4),
    ]
    rows = [RuleRow("filter", *item) for item in filters]
    rows.append(RuleRow("exact_dedup", "same_text", "the first document of each content hash", 51_227, None, None))
    rows.append(
        RuleRow("near_dedup", "jaccard", "no kept document with Jaccard >= 0.8", 79_688, None, None, "arXiv:2107.06499")
    )
    return rows


def _bell(bins: int, centre: float, width: float, top: int) -> list[int]:
    return [round(top * math.exp(-(((index - centre) / width) ** 2))) for index in range(bins)]


def _histograms() -> list[Histogram]:
    powers = [0.0] + [10 ** (index / 6) for index in range(34)]
    fraction = [index / 40 for index in range(41)]
    return [
        Histogram(
            "word_count",
            "words",
            powers,
            _bell(34, 18, 5, 96_000)[:34],
            _bell(34, 8, 4, 41_000)[:34],
            [
                Threshold("gopher.word_count", 50, "min"),
                Threshold("gopher.word_count", 100_000, "max"),
                Threshold("c4.min_words", 50, "min"),
                Threshold("fineweb.min_words", 65, "min"),
            ],
            nulls=0,
            log=True,
        ),
        Histogram(
            "mean_word_length",
            "characters",
            [index / 2 for index in range(31)],
            _bell(30, 10, 2.4, 130_000),
            _bell(30, 9, 6, 22_000),
            [Threshold("gopher.mean_word_length", 3, "min"), Threshold("gopher.mean_word_length", 10, "max")],
            nulls=12,
        ),
        Histogram(
            "alphabetic_word_fraction",
            "fraction of words",
            fraction,
            _bell(40, 36, 5, 140_000),
            _bell(40, 26, 9, 36_000),
            [Threshold("gopher.alphabetic_word_fraction", 0.8, "min")],
            nulls=1,
        ),
        Histogram(
            "duplicate_line_char_fraction",
            "fraction of characters",
            fraction,
            _bell(40, 0, 3, 420_000),
            _bell(40, 3, 12, 30_000),
            [
                Threshold("gopher.duplicate_line_char_fraction", 0.2, "max"),
                Threshold("strict.duplicate_line_char_fraction", 0.25, "max"),
            ],
        ),
        Histogram(
            "symbol_to_word_ratio",
            "symbols a word",
            [0.001 * 10 ** (index / 8) for index in range(33)],
            _bell(32, 4, 6, 99_000),
            _bell(32, 20, 5, 12_000),
            [Threshold("gopher.symbol_to_word_ratio", 0.1, "max")],
            nulls=88,
            log=True,
        ),
        Histogram(
            "char_count",
            "characters",
            [0, 1e6, 2e6, 3e6],
            [12, 3, 1],
            [0, 0, 2],
            [Threshold("own.max_chars", 5e7, "max")],
        ),
    ]


KEPT_TEXT = (
    "The harbour of Ragusa was, for three centuries, the only port on the eastern Adriatic where Ottoman and Venetian "
    "merchants traded under one roof. Its Senate paid tribute to the Sultan, insured ships of every flag, and kept "
    "records so complete that historians can follow single bales of wool from Kotor to Ancona.\n\n"
    "In 1667 an earthquake destroyed most of the city. About five thousand people died, among them the Rector, and a "
    "fire burned for twenty days. The rebuilt town, with its uniform baroque fronts, is what visitors see today."
)
EXAMPLE_TEXT = (
    "The harbor of Ragusa was, for three centuries, the only port on the eastern Adriatic where Ottoman and Venetian "
    "merchants traded under one roof. Its Senate paid tribute to the Sultan, insured ships of every flag, and kept "
    "records so complete that historians can follow single bales of wool from Kotor to Ancona.\n\n"
    "In 1667 an earthquake destroyed most of the city. Some 5,000 people died, among them the Rector, and a "
    "fire burned for twenty days. The rebuilt town, with its uniform baroque fronts, is what visitors see today. "
    "Share this page | Print | Login"
)


def _clusters() -> list[Cluster]:
    def card(key: str, source: str, text: str, url: str | None, title: str | None) -> DocCard:
        return DocCard(digest(key), source, text, url, title)

    return [
        Cluster(
            214,
            0.802,
            0.914,
            0.988,
            card("a", "wikipedia", KEPT_TEXT, "https://en.wikipedia.org/wiki/Republic_of_Ragusa", "Republic of Ragusa"),
            card(
                "b",
                "common_crawl",
                EXAMPLE_TEXT,
                "http://old.example.com/travel/ragusa.php?id=1187&print=1&sid=" + "9f" * 40,
                "Ragusa – a short history | Travel Pages",
            ),
            0.931,
        ),
        Cluster(
            6,
            0.871,
            0.902,
            0.94,
            card(
                "c",
                "common_crawl",
                "東京都は日本の首都であり、世界最大の都市圏の中心である。人口は約一千四百万人。" * 3,
                "https://ja.example.org/東京",
                "東京都",
            ),
            card(
                "d",
                "common_crawl",
                "東京都は日本の首都で、世界最大級の都市圏の中心である。人口は約1400万人。" * 3,
                "javascript:alert(1)",
                None,
            ),
            0.871,
        ),
        Cluster(
            3,
            0.9,
            0.9,
            0.9,
            card(
                "e",
                "common_crawl",
                "القاهرة هي عاصمة جمهورية مصر العربية وأكبر مدنها، وتقع على ضفاف نهر النيل في شمال البلاد.",
                "https://ar.example.org/cairo",
                "القاهرة",
            ),
            card(
                "f",
                "c4_en",
                "القاهرة هي عاصمة مصر وأكبر مدنها، وتقع على ضفاف نهر النيل في شمال البلاد. المزيد",
                None,
                "القاهرة (عاصمة)",
            ),
        ),
        Cluster(
            2,
            0.83,
            0.83,
            0.83,
            card(
                "g",
                "github",
                f"<b>Free</b> & easy {SCRIPT_TEXT} with \x00 a NUL and a \x1b[31mcolour",
                None,
                SCRIPT_TEXT,
            ),
            card(
                "h",
                "github",
                f'<b>Free</b> & cheap {SCRIPT_TEXT} " onmouseover="x',
                "https://x.example/?q=<script>",
                "A&B",
            ),
            0.83,
        ),
    ]


def _cuts() -> list[CutRow]:
    return [
        CutRow("c4_published.lines.javascript", 7_120, 9_004, 611_227, read=603),
        CutRow("pii.pii.email", 31, 44, 1_012, read=31),
        CutRow("duplicate_line", 40_118, 311_902, 22_118_400, "dedup", 588),
        CutRow("contaminated.boolq", 1, 2, 640, "decontaminate", 1),
    ]


def _cut_texts() -> list[CutText]:
    return [
        CutText("c4_published.lines.javascript", "Please enable JavaScript.", 81, 80, digest("a")),
        CutText("duplicate_line", "All rights reserved by the publisher.", 402, 400, digest("b"), None, digest("c")),
        CutText("duplicate_line", SCRIPT_TEXT, 14, 14, digest("d"), None, digest("e")),
        CutText("pii.pii.email", "xxxx.xx0@xxxx.xxx", 3, 3, digest("f"), "firstname.lastname@example.org"),
        CutText("c4_published.lines.line_break", "␍⏎", 2, 1, digest("g"), "\n"),
    ]


def _duplicates() -> Duplicates:
    return Duplicates(
        kinds=[
            DuplicateRow("exact_duplicate_of_index", "exact_dedup", {"common_crawl": 311}, (1.0, 1.0, 1.0)),
            DuplicateRow("exact_duplicate", "exact_dedup", {"common_crawl": 38_102, "github": 8_702}, (0.83, 0.99, 1)),
            DuplicateRow("url_duplicate", "exact_dedup", {}),
            DuplicateRow("near_duplicate", "near_dedup", {"common_crawl": 61_559, "c4_en": 9_954}, (0.8, 0.91, 1.0)),
        ],
        threshold=0.8,
        similarity=Histogram(
            "similarity",
            "jaccard",
            [0.8 + step / 100 for step in range(21)],
            [0] * 20,
            _bell(20, 14, 7, 9_000),
        ),
        groups=[SizeRow(1, 1, 31_204, 31_204), SizeRow(2, 3, 9_118, 22_416), SizeRow(128, 255, 3, 512)],
        components=[SizeRow(2, 3, 40_001, 91_330), SizeRow(4, 7, 11_020, 51_777)],
        pairs=[
            PairRow("c4_en", "wikipedia", 3, 1_004),
            PairRow("common_crawl", "common_crawl", 38_102, 51_559),
            PairRow("common_crawl", "wikipedia", 0, 10_000),
        ],
        indexes=[IndexRow("/corpora/<2023>", digest("index"), 311, 1_906), IndexRow("", digest("other"), 0, 0)],
    )


def _tokens() -> list[TokenRow]:
    rows = []
    for language, part in _LANGUAGES.items():
        for index, source in enumerate(_SOURCES):
            if language != "en" and source in ("c4_en", "arxiv", "github"):
                continue
            documents = int(600_000 * part / (index + 1))
            rows.append(TokenRow(language, source, documents, documents * (900 + 70 * index)))
    return rows


def rich_report() -> ReportData:
    """Six sources, fifteen languages, every section, several scripts, hostile text, figures of real size."""
    sources = [funnel_row("source", name, numbers) for name, numbers in _SOURCES.items()]
    summed = tuple(sum(numbers[index] for numbers in _SOURCES.values()) for index in range(5))
    total = funnel_row("total", "redpajama_sample", (*summed, 4_300))  # type: ignore[arg-type]
    shard_names = [f"shard_{index:05d}" for index in range(19)]
    return ReportData(
        recipe_name="redpajama_sample",
        title="Six slices, one corpus",
        created="2025-03-14 09:26 UTC",
        totals=total,
        funnel=[*sources, *_languages()],
        rules=_rules(),
        cuts=_cuts(),
        cut_texts=_cut_texts(),
        tasks=[
            TaskRow(
                "boolq",
                3_270,
                0,
                279_441,
                12,
                3,
                7,
                {"common_crawl": 11, "c4_en": 1},
                (digest("boolq"), "1187", f"does ethanol take more energy {SCRIPT_TEXT}"),
            ),
            TaskRow("piqa", 1_838, 12, 53_107, 0, 0),
        ],
        duplicates=_duplicates(),
        quarantine=[
            QuarantineRow(
                "common_crawl",
                "truncated",
                6_021,
                "crawl/CC-MAIN-20230921-00017.warc.gz @ 81,220,113",
                "record ends after 4,096 of 61,440 bytes",
            ),
            QuarantineRow(
                "common_crawl",
                "too_large",
                2_880,
                "crawl/CC-MAIN-20230921-00003.warc.gz @ 1,204",
                "301 MB, the limit is 256 MiB",
            ),
            QuarantineRow(
                "github",
                "undecodable",
                1_404,
                "github/part-0007.jsonl.zst @ 118",
                f"invalid UTF-8 at byte 17: {SCRIPT_TEXT}",
            ),
            QuarantineRow("common_crawl", "no_charset", 313),
            QuarantineRow(
                "arxiv", "bad_json", 212, "arxiv/arxiv_0002.jsonl.zst @ 9", "Expecting ',' delimiter: column 88"
            ),
        ],
        skipped=[
            SkippedRow("common_crawl", "request", 812_430),
            SkippedRow("common_crawl", "not_html", 90_104),
            SkippedRow("wikipedia", "redirect", 118_760),
        ],
        histograms=_histograms(),
        clusters=_clusters(),
        tokens=_tokens(),
        schedules=[
            ScheduleRow(1.0, "joint_shuffle", 412, 421_888, 864_026_624, {0: 913, 1: 676_700}),
            ScheduleRow(1.5, "joint_shuffle", 618, 632_832, 1_296_039_936, {0: 204, 1: 340_118, 2: 337_291}),
            ScheduleRow(4.0, "sequential_epochs", 1_648, 1_687_552, 3_456_106_496, {3: 41, 4: 677_572}),
        ],
        shards=[
            ShardRow(
                f"{name}.bin",
                35_000 + 17 * index,
                71_680_000 - 9_113 * index,
                143_360_000 - 18_226 * index,
                digest(name, 64),
            )
            for index, name in enumerate(shard_names)
        ],
        stages=[
            StageRow("annotate", 1_842.7, 1_289_870, 5_540_000_000, 3_006_000.0),
            StageRow("filter_documents", 38.4, 1_279_000, None, None),
            StageRow("dedup_exact", 21.9, 812_030),
            StageRow("dedup_minhash", 402.6, 760_803),
            StageRow("tokenize_documents", 96.2, 677_613, 2_910_000_000, 30_249_000.0),
            StageRow("schedule_tokens", 0.42),
        ],
        facts={"recipe hash": digest("recipe", 16), "code": "0.1.0", "cores": "16"},
    )


def empty_report() -> ReportData:
    """A run that found nothing."""
    total = FunnelRow("total", "nothing", 0, 0, {}, 0)
    return ReportData("nothing", "An empty run", "2025-03-14 09:26 UTC", total)


def extreme_report() -> ReportData:
    """150 languages, names that never end, huge and unbalanced figures, values that are not known."""
    huge = 10**18
    total = FunnelRow("total", "x", huge, 1, {"filter": 3, "own_stage": 5}, huge - 10, None, None, None)
    languages = [
        FunnelRow("language", f"lang_{index:03d}", 10 ** (index % 9), 0, {"filter": 10 ** (index % 9) - 1}, 1)
        for index in range(150)
    ]
    long_rule = "a_rule_set_of_somebody_with_patience." + "very_long_rule_name_" * 12
    return ReportData(
        recipe_name="recipe-" + "x" * 180,
        title="שלום <עולם> & 世界 " + "unbroken" * 30,
        created="",
        totals=total,
        funnel=[FunnelRow("source", "only", huge, 1, {"filter": 3, "own_stage": 5}, huge - 10), *languages],
        rules=[
            RuleRow("filter", long_rule, "x >= 1 AND " * 80, 3, 4, 0),
            RuleRow("own_stage", "own", "y IS NOT NULL", 5),
        ],
        histograms=[
            Histogram("nothing", "", [0.0, 1.0], [0], [0], [Threshold("own", math.inf, "max")], nulls=huge),
            Histogram("no_bins", "", [], [], []),
            Histogram("one_value", "", [5.0, 5.0], [7], [0], [Threshold("own", -1e300, "min")], log=True),
            Histogram(
                "crowded",
                "",
                list(range(11)),
                [1] * 10,
                [huge] * 10,
                [Threshold(f"rule_{i}", 5 + i / 50, "min" if i % 2 else "max") for i in range(9)],
            ),
        ],
        tokens=[TokenRow("en", "only", 1, huge), TokenRow("de", "only", 0, 0)],
        schedules=[
            ScheduleRow(300.0, "joint_shuffle", huge, huge, huge, {times: times + 1 for times in range(0, 301, 10)})
        ],
        shards=[ShardRow(f"shard_{index:05d}", 1, 1, 1, "") for index in range(1_200)],
        stages=[StageRow("annotate", 0.0), StageRow("filter_documents", 10.0**9)],
    )
