from __future__ import annotations

import sys
from pathlib import Path

import pytest

from redpajama_pipe import __version__, catalog, cli
from redpajama_pipe.errors import PipelineError


def test_help_teaches_the_first_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for command in ("make-sample", "run", "explain", "ingest", "annotate", "filter", "dedup", "tokenize", "schedule"):
        assert command in told


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"redpajama-pipe {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "nope", "-o", "x"], "redpajama-pipe: no conf entry 'nope'; there are: "),
        (
            ["run", "sample", "-o", "x", "--set", "dedup.thresh=1"],
            "redpajama-pipe: sample: dedup: unknown key 'thresh'",
        ),
        (
            ["run", "sample", "-o", "x", "--set", "vars.data=/nowhere"],
            "redpajama-pipe: sources.wikipedia: no file matches",
        ),
        (["explain", "/nowhere", "abcd"], "redpajama-pipe: no finished output in /nowhere/documents"),
        (["schedule", "sample", "-o", "/nowhere"], "redpajama-pipe: no finished output in /nowhere/tokens"),
        (["catalog", "filters", "gofer"], "redpajama-pipe: no filters entry 'gofer' (did you mean 'gopher'?)"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(argv) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("ingest ")]
    assert len(lines) == 1
    assert lines[0].startswith(message)


def test_a_bug_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(kind: str) -> list[str]:
        raise ZeroDivisionError

    monkeypatch.setattr(catalog, "entries", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["catalog"])


def test_catalog_lists_and_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["catalog"]) == 0
    listed = capsys.readouterr().out
    assert "conf/sample" in listed
    assert "filters/gopher" in listed
    assert "tokenize/gpt_neox_20b" in listed
    assert cli.main(["catalog", "filters", "gopher"]) == 0
    assert capsys.readouterr().out == catalog.read_text("filters", "gopher")


def test_all_errors_are_of_one_tree() -> None:
    from redpajama_pipe import errors

    kinds = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert all(issubclass(kind, PipelineError) for kind in kinds)
    drawn = errors.__doc__ or ""
    assert all(kind.__name__ in drawn for kind in kinds)


def test_importing_the_package_is_light() -> None:
    import subprocess

    heavy = "assert not {'pyspark', 'numba', 'torch', 'pyarrow'} & set(sys.modules), sorted(sys.modules)"
    command = f"import sys, redpajama_pipe, redpajama_pipe.cli; {heavy}"
    subprocess.run([sys.executable, "-c", command], check=True)


def test_an_error_of_a_worker_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    from redpajama_pipe.arguments import guarded

    def fail() -> None:
        raise RuntimeError(
            "An exception was thrown from the Python worker:\nTraceback (most recent call last):\n"
            '  File "x.py", line 3, in work\nredpajama_pipe.errors.SetupError: no model; install it\n\tat org.apache'
        )

    assert guarded(fail) == 2
    assert capsys.readouterr().err == "redpajama-pipe: no model; install it\n"


def test_a_full_disk_is_one_line_that_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    from redpajama_pipe.arguments import guarded

    def fail() -> None:
        raise RuntimeError("Traceback\n    self._raw.write(view)\nOSError: [Errno 28] No space left on device\n")

    assert guarded(fail) == 2
    told = capsys.readouterr().err
    assert told.startswith("redpajama-pipe: No space left on device; nothing half-written is left")
    assert told.count("\n") == 1
