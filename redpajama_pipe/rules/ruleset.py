"""Read a rule set from filters/*.yaml.

A rule is a named SQL predicate over signals and document columns that says what is KEPT. SQL is three-valued, so each
rule also states what a null answer means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, cast

from redpajama_pipe import catalog
from redpajama_pipe.errors import RecipeError

OnNull = Literal["keep", "drop"]


@dataclass(frozen=True)
class Rule:
    """One predicate.

    Attributes:
        name: unique in its set; what summaries and receipts call it.
        keep: SQL; the document stays where it is true.
        on_null: what happens where it is null.
        unit: of the number that is compared.
        source: where the threshold is published.
    """

    name: str
    keep: str
    on_null: OnNull
    unit: str = ""
    source: str = ""


@dataclass(frozen=True)
class Cut:
    """What is taken out of the documents that stay.

    Attributes:
        name: unique in its set; receipts call a span `set.name.rule`, the rule being the span's own.
        spans: the signal that holds the spans.
        rules: which of the spans' rules are applied; none given: all.
        when: SQL; only documents for which it is true are changed. Null is not true.
        source: where the cleaning is published.
    """

    name: str
    spans: str
    rules: tuple[str, ...] = ()
    when: str = "true"
    source: str = ""


@dataclass(frozen=True)
class RuleSet:
    """Rules in their published order, with examples that prove them.

    Attributes:
        cuts: applied to documents that no rule of the recipe's sets drops.
        include: the sets whose rules and cuts come before its own, which have their cases there.
        cases: each has `drops`, the rules that drop it in order, and either `text` and `language`, or `signals`, where
            only the rules whose columns are all given are evaluated. With `cleaned`: the text that cuts leave.
    """

    name: str
    title: str
    source: str
    rules: tuple[Rule, ...]
    cases: tuple[Mapping[str, Any], ...] = ()
    cuts: tuple[Cut, ...] = ()
    include: tuple[str, ...] = ()

    def columns(self, known: Iterable[str]) -> list[str]:
        """Name the known columns that any of the rules or cuts reads, in the order of `known`."""
        read = [rule.keep for rule in self.rules] + [f"{cut.spans} ; {cut.when}" for cut in self.cuts]
        return columns_of(" ; ".join(read), list(known))


def load(name: str) -> RuleSet:
    """Read an entry of filters/, or a file; `include` names sets whose rules and cuts come before its own.

    Raises:
        RecipeError: an unknown key, a rule without a predicate, a cut without spans, two of one name, a set that
            includes itself.
        CatalogError: no such entry.
    """
    return _load(name, ())


def _load(name: str, above: tuple[str, ...]) -> RuleSet:
    tree = catalog.load("filters", name)
    _only_known(tree, [f.name for f in fields(RuleSet)], f"filters entry {name!r}")
    if name in above:
        raise RecipeError(f"filters entry {name!r} includes itself: {' > '.join([*above, name])}")
    here = f"filters entry {name!r}"
    _only_texts({"name": tree.get("name")}, here)
    includes = _list(tree.get("include"), f"{here}: include")
    included = [_load(str(other), (*above, name)) for other in includes]
    rules: list[Rule] = [rule for other in included for rule in other.rules]
    for index, entry in enumerate(_mappings(tree.get("rules"), f"{here}: rules")):
        where = f"{here}, rule {entry.get('name', index)!r}"
        _only_known(entry, [f.name for f in fields(Rule)], where)
        for key in ("name", "keep", "on_null"):
            if key not in entry:
                raise RecipeError(f"{where}: missing key {key!r}")
        if entry["on_null"] not in ("keep", "drop"):
            raise RecipeError(f"{where}: on_null is {entry['on_null']!r}; it must be keep or drop")
        _only_texts(entry, where)
        if any(rule.name == str(entry["name"]) for rule in rules):
            raise RecipeError(f"{where}: there are two rules of this name")
        rules.append(Rule(**{key: cast(Any, str(value).strip()) for key, value in entry.items()}))
    cuts = tuple(cut for other in included for cut in other.cuts)
    cuts += _cuts(_mappings(tree.get("cuts"), f"{here}: cuts"), here)
    if not rules and not cuts:
        raise RecipeError(f"{here} has no rules")
    return RuleSet(
        name=str(tree["name"]),
        title=str(tree.get("title", "")),
        source=str(tree.get("source", "")),
        rules=tuple(rules),
        cases=tuple(_mappings(tree.get("cases"), f"{here}: cases")),
        cuts=cuts,
        include=tuple(map(str, includes)),
    )


def _cuts(entries: Sequence[Mapping[str, Any]], where: str) -> tuple[Cut, ...]:
    cuts: list[Cut] = []
    for index, entry in enumerate(entries):
        here = f"{where}, cut {entry.get('name', index)!r}"
        _only_known(entry, [f.name for f in fields(Cut)], here)
        for key in ("name", "spans"):
            if key not in entry:
                raise RecipeError(f"{here}: missing key {key!r}")
        if not isinstance(entry.get("rules", []), list):
            raise RecipeError(f"{here}: rules is {entry['rules']!r}; it must be a list")
        _only_texts({key: value for key, value in entry.items() if key != "rules"}, here)
        if any(cut.name == str(entry["name"]) for cut in cuts):
            raise RecipeError(f"{here}: there are two cuts of this name")
        texts = {key: str(value).strip() for key, value in entry.items() if key != "rules"}
        cuts.append(Cut(**texts, rules=tuple(map(str, entry.get("rules", [])))))
    return tuple(cuts)


def columns_of(predicate: str, known: Sequence[str]) -> list[str]:
    """Name the columns a predicate reads, in any case as in SQL, in the order of `known`."""
    words = words_of(predicate)
    return [column for column in known if column.lower() in words]


def words_of(predicate: str) -> set[str]:
    """Return the names in a predicate, in lower case; quoted text in it does not count."""
    bare = re.sub(r"'(?:[^'\\]|\\.|'')*'", " ", predicate, flags=re.DOTALL)
    return set(re.findall(r"[a-z_]\w*", bare.lower()))


def nearest(name: str, known: Sequence[str]) -> str:
    """Say which known names are like this one, as the end of an error message."""
    near = get_close_matches(name, known, 3, cutoff=0.5)
    return f"; nearest: {', '.join(near)}" if near else f"; there are: {', '.join(known)}"


def _list(value: Any, where: str) -> list[Any]:
    """Return what should be a list, [] for nothing at all."""
    if value is not None and not isinstance(value, list):
        raise RecipeError(f"{where} is {value!r}; it must be a list")
    return value or []


def _mappings(value: Any, where: str) -> list[Mapping[str, Any]]:
    entries = _list(value, where)
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise RecipeError(f"{where}, entry {index} is {entry!r}; it must be a mapping, such as {{name: ...}}")
    return entries


def _only_texts(entry: Mapping[str, Any], where: str) -> None:
    """Refuse values that are no text, number or boolean, and names and predicates that are empty."""
    for key, value in entry.items():
        if value is None or isinstance(value, (list, Mapping)):
            raise RecipeError(f"{where}: {key} is {value!r}; it must be text")
        if key in ("name", "keep", "spans", "when") and not str(value).strip():
            raise RecipeError(f"{where}: {key} is empty")


def _only_known(tree: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in tree:
        if key not in known:
            raise RecipeError(f"{where}: unknown key {key!r}; known: {', '.join(known)}")
