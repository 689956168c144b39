"""Extraction quality: how much of an article's text each extractor finds, and how much else.

    python benchmarks/bench_extraction.py FOLDER [--rounds 1]

FOLDER is a copy of scrapinghub/article-extraction-benchmark: 181 news pages and their texts. The measure is that of its
evaluate.py: bags of 4-word shingles; precision and recall of each page, their means, and F1 of these means; ± is the
standard deviation over 1,000 bootstrap samples. Pages a second are CPU seconds of one core, the best of the rounds.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from resiliparse.extract.html2text import extract_plain_text

from redpajama_pipe.errors import SetupError
from redpajama_pipe.sources.html import find_extractor

SHINGLE = 4
BOOTSTRAPS = 1000
# The benchmark's own README.rst, in its words and numbers: F1, precision, recall.
PUBLISHED = {
    "rs_trafilatura 9261e08": (0.970, 0.951, 0.990),
    "go_trafilatura ae7ea06": (0.960, 0.940, 0.980),
    "trafilatura 2.0.0": (0.958, 0.938, 0.978),
    "readability_js 0.6.0": (0.947, 0.914, 0.982),
    "goose3 3.1.20": (0.896, 0.940, 0.856),
    "justext 3.0.2": (0.804, 0.858, 0.756),
    "inscriptis 2.6.0": (0.679, 0.517, 0.992),
    "html-text 0.7.0": (0.665, 0.500, 0.994),
}

Counts = tuple[float, float, float]


def shingles(text: str) -> Counter[tuple[str, ...]]:
    """Return the bag of 4-word shingles; a shorter text is one shingle."""
    words = re.findall(r"\w+", text)
    found = (tuple(words[start : start + SHINGLE]) for start in range(max(1, len(words) - SHINGLE + 1)))
    return Counter(shingle for shingle in found if shingle)


def compare(true: str, found: str) -> Counts:
    """Return the shares of shingles that are in both, only found, and only true."""
    expected, seen = shingles(true), shingles(found)
    both = (expected & seen).total()
    counts = (both, seen.total() - both, expected.total() - both)
    total = sum(counts) or 1
    return counts[0] / total, counts[1] / total, counts[2] / total


def score(pages: list[Counts]) -> tuple[float, float, float]:
    """Return F1, precision and recall of pages; a page where nothing was found has no precision."""
    precision = statistics.mean(both / (both + extra) for both, extra, _ in pages if both + extra > 0)
    recall = statistics.mean(both / (both + lost) for both, _, lost in pages if both + lost > 0)
    return 2 * precision * recall / (precision + recall), precision, recall


def spread(pages: list[Counts]) -> float:
    """Return the standard deviation of F1 over bootstrap samples."""
    chosen = random.Random(0)
    return statistics.stdev(score(chosen.choices(pages, k=len(pages)))[0] for _ in range(BOOTSTRAPS))


def candidates() -> dict[str, Callable[[str], str]]:
    """Return what is compared, by name; what is not installed is left out."""
    found: dict[str, Callable[[str], str]] = {}
    for name in ("resiliparse", "trafilatura", "plain"):
        try:
            extract = find_extractor(name)
        except SetupError as error:
            print(error)
            continue
        found[f"`{name}`"] = lambda html, extract=extract: extract(html).text  # type: ignore[misc]
    found["Resiliparse, main_content alone"] = lambda html: extract_plain_text(html, main_content=True)
    try:
        import trafilatura
    except ImportError:
        return found
    found["trafilatura, precision"] = lambda html: trafilatura.extract(html, favor_precision=True) or ""
    found["trafilatura as datatrove: precision, no comments, deduplicate"] = lambda html: (
        trafilatura.extract(html, favor_precision=True, include_comments=False, deduplicate=True) or ""
    )
    found["trafilatura, fast"] = lambda html: trafilatura.extract(html, include_comments=False, fast=True) or ""
    return found


def main() -> None:
    """Print one line of a table for each extractor, ours and published."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    truth = json.loads((options.folder / "ground-truth.json").read_text(encoding="utf-8"))
    pages = {}
    for key in truth:
        with gzip.open(options.folder / "html" / f"{key}.html.gz", "rt", encoding="utf-8") as file:
            pages[key] = file.read()
    print(f"{len(pages)} pages; resiliparse {version('resiliparse')}")
    print("| extractor | F1 | precision | recall | pages/s |\n|---|---|---|---|---|")
    for name, extract in candidates().items():
        best, texts = float("inf"), {}
        for _ in range(options.rounds):
            begin = time.process_time()
            texts = {key: extract(html) for key, html in pages.items()}
            best = min(best, time.process_time() - begin)
        compared = [compare(truth[key]["articleBody"], text) for key, text in texts.items()]
        f1, precision, recall = score(compared)
        row = (f"{f1:.3f} ± {spread(compared):.3f}", f"{precision:.3f}", f"{recall:.3f}", f"{len(pages) / best:,.0f}")
        print(f"| {name} | {' | '.join(row)} |")
    for name, (f1, precision, recall) in PUBLISHED.items():
        print(f"| published: {name} | {f1:.3f} | {precision:.3f} | {recall:.3f} | |")


if __name__ == "__main__":
    main()
