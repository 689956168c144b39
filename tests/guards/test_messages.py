"""What a person reads while a job works says 1 document, not 1 documents."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "redpajama_pipe"
NOUNS = r"documents|files|shards|pairs|rules|records|sets|spans|steps|epochs|tasks|sequences|tokens|signals"
COUNTED = re.compile(rf" (\w+ )?({NOUNS})\b")


def counted_by_hand(source: str) -> list[str]:
    """Return the nouns in the plural that stand behind a number, in what `progress.note` and `print` are given."""
    told: list[ast.AST] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Assign, ast.AugAssign)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Attribute) and target.attr == "note":
                told.append(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            told += node.args
    texts = [text for part in told for text in ast.walk(part) if isinstance(text, ast.JoinedStr)]
    found = []
    for text in texts:
        for number, noun in zip(text.values, text.values[1:], strict=False):
            if isinstance(number, ast.FormattedValue) and isinstance(noun, ast.Constant):
                found += [match.group(2) for match in [COUNTED.match(str(noun.value))] if match]
    return found


@pytest.mark.parametrize("path", sorted((PACKAGE / "stages").glob("*.py")), ids=lambda path: path.stem)
def test_counts_of_one_are_in_the_singular(path: Path) -> None:
    assert counted_by_hand(path.read_text("utf-8")) == []


def test_a_plural_by_hand_is_found() -> None:
    assert counted_by_hand('progress.note = f"{total:,} documents"\nprint(f"in {len(files)} new shards")') == [
        *("documents", "shards"),
    ]
    assert counted_by_hand("progress.note = f\"{plural(total, 'document')} in {place}\"") == []
