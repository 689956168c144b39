"""What a kernel compiles lies in its own file or in text/: Numba's cache sees no change of other files."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Beside text/: after a change of one of these the caches of kernels must be deleted, too.
SHARED = (
    *(f"redpajama_pipe.dedup.{name}." for name in ("ascii_blocks", "letters", "sha1", "xxh64")),
    "redpajama_pipe.signals.c4_kernels.LINE_BREAK_REASON",
)
DECORATORS = {"njit", "lean", "lean_entry", "inner"}


def decorators(function: ast.FunctionDef) -> set[str]:
    called = (each.func if isinstance(each, ast.Call) else each for each in function.decorator_list)
    return {each.id for each in called if isinstance(each, ast.Name)}


def foreign(source: str) -> list[str]:
    """The names that kernels of a module read and that come from modules of the package outside text/."""
    tree = ast.parse(source)
    imported = {
        name.asname or name.name: f"{each.module}.{name.name}"
        for each in ast.walk(tree)
        if isinstance(each, ast.ImportFrom) and (each.module or "").startswith("redpajama_pipe")
        for name in each.names
    }
    found = []
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and decorators(function) & DECORATORS:
            read = {each.id for part in function.body for each in ast.walk(part) if isinstance(each, ast.Name)}
            found += [f"{function.name}: {imported[name]}" for name in sorted(read & set(imported))]
    return [each for each in found if not each.split(": ")[1].startswith(("redpajama_pipe.text.", *SHARED))]


def test_kernels_compile_nothing_of_other_files_but_of_text() -> None:
    modules = [path for path in (ROOT / "redpajama_pipe").rglob("*.py") if path.parent.name != "text"]
    reading = {str(path.relative_to(ROOT)): foreign(path.read_text("utf-8")) for path in modules}
    assert {path: names for path, names in reading.items() if names} == {}
    kernels = [path for path in modules if DECORATORS & set(path.read_text("utf-8").replace("@", " ").split())]
    assert len(kernels) > 15


def test_what_is_foreign_is_found() -> None:
    source = (
        "from redpajama_pipe.text.blocks import ones\nfrom redpajama_pipe.signals.c4_kernels import tally\n"
        "@njit(cache=True)\ndef kernel(x): return ones(tally(x))\ndef plain(x): return tally(x)\n"
    )
    assert foreign(source) == ["kernel: redpajama_pipe.signals.c4_kernels.tally"]
