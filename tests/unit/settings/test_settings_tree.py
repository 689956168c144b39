from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.tree import apply_override, build, digest, to_tree


@dataclass(frozen=True)
class Leaf:
    size: int
    kind: Literal["oak", "fir"] = "oak"


@dataclass(frozen=True)
class Tree:
    leaf: Leaf
    leaves: tuple[Leaf, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    label: str | None = None
    keys: bool | tuple[str, ...] = True


def test_what_is_built_turns_back_into_plain_values_with_defaults() -> None:
    plain = {"leaf": {"size": 1}, "leaves": [{"size": 2, "kind": "fir"}], "weights": {"a": 1}, "keys": ["x"]}
    built = build(Tree, plain, "tree")
    assert built == Tree(Leaf(1), (Leaf(2, "fir"),), {"a": 1.0}, None, ("x",))
    assert to_tree(built) == {
        "leaf": {"size": 1, "kind": "oak"},
        "leaves": [{"size": 2, "kind": "fir"}],
        "weights": {"a": 1.0},
        "label": None,
        "keys": ["x"],
    }
    assert build(Tree, to_tree(built), "tree") == built


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (7, "tree: expected a group of keys, found 7"),
        ({}, "tree: missing key 'leaf'"),
        (
            {"leaf": {"size": 1}, "lable": "x"},
            r"tree: unknown key 'lable' \(did you mean 'label'\?\); known: leaf, lea",
        ),
        ({"leaf": {"size": True}}, "tree: leaf: size: expected int, found True"),
        ({"leaf": {"size": 1.0}}, "tree: leaf: size: expected int, found 1.0"),
        ({"leaf": {"size": 1}, "leaves": [{"size": 1}, {"size": "a"}]}, r"leaves\[1\]: size: expected int, found 'a'"),
        ({"leaf": {"size": 1}, "leaves": {"size": 1}}, "leaves: expected a list, found {'size': 1}"),
        ({"leaf": {"size": 1, "kind": "elm"}}, "kind: 'elm' is not one of oak, fir"),
        ({"leaf": {"size": 1}, "weights": {"a": "b"}}, r"weights\.a: expected float, found 'b'"),
        ({"leaf": {"size": 1}, "keys": "x"}, "keys: expected a list, found 'x'"),
    ],
)
def test_what_cannot_be_built_is_named(plain: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build(Tree, plain, "tree")


def test_a_digest_is_that_of_canonical_json() -> None:
    assert digest({"b": (1, 2), "a": "é"}) == digest({"a": "é", "b": [1, 2]})
    assert digest({"b": (1, 2), "a": "é"}) == hashlib.sha256('{"a":"é","b":[1,2]}'.encode()).hexdigest()


def test_an_override_makes_the_groups_on_its_way() -> None:
    plain: dict[str, Any] = {"a": None, "many": [{"name": "x"}, {"name": "y"}]}
    apply_override(plain, "a.b.c=[1, two]")
    apply_override(plain, "many.y.size=3")
    assert plain == {"a": {"b": {"c": [1, "two"]}}, "many": [{"name": "x"}, {"name": "y", "size": 3}]}
