from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from redpajama_pipe import __version__, arguments, catalog, cli, driver, recipe
from redpajama_pipe.errors import PipelineError, SetupError


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
        (["explain", "/nowhere", "abcd"], "redpajama-pipe: no run in /nowhere: there is no such folder"),
        (
            ["export", ".", "out/"],
            "redpajama-pipe: export: TARGET 'out/' is a folder; give the files a name: out/corpus",
        ),
        (["export", ".", "."], "redpajama-pipe: export: TARGET '.' is a folder; give the files a name: ./corpus"),
        (["view", str(Path(__file__)), "--step", "0"], f"redpajama-pipe: no run in {Path(__file__)}: that is a file"),
        (["report", "-o", "/nowhere"], "redpajama-pipe: no run in /nowhere (it has no recipe.yaml); correct --output"),
        (["run", "sampel", "-o", "x"], "redpajama-pipe: no conf entry 'sampel' (did you mean 'sample'?); there are: c"),
        (["run", "/", "-o", "x"], "redpajama-pipe: / is a folder; give an entry ("),
        (["run", "nope.yaml", "-o", "x"], "redpajama-pipe: no file 'nope.yaml'; see that the path is right"),
        (["run", "sample", "-o", "x", "--set", "sources=[]"], "redpajama-pipe: sources is empty"),
        (
            ["run", "sample", "-o", "x", "--set", "tokenize.tokenizer=gpt_neox"],
            "redpajama-pipe: no tokenize entry 'gpt_neox' (did you mean 'gpt_neox_20b'?)",
        ),
        (["run", "sample", "-o", "x", "--master", "locl[2]"], "redpajama-pipe: --master 'locl[2]' is no Spark master"),
        (
            ["run", "sample", "-o", "x", "--master", "local[x]"],
            "redpajama-pipe: --master 'local[x]' is no Spark master",
        ),
        (["make-sample", "/proc/nowhere"], "redpajama-pipe: No such file or directory: '/proc/nowhere'; see that"),
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


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["runn"], "redpajama-pipe: argument COMMAND: no 'runn' (did you mean run?); see redpajama-pipe --help"),
        (["run", "sample", "-o", "x", "--mastre=yarn"], "redpajama-pipe: unrecognized arguments: --mastre=yarn"),
        (["run", "sample"], "redpajama-pipe run: the following arguments are required: --output/-o; see"),
        (
            ["export", "a", "b", "--layout", "merge"],
            "redpajama-pipe export: argument --layout: no 'merge' (did you",
        ),
        (["view", "RUN", "--step", "ten"], "redpajama-pipe view: argument --step: invalid int value: 'ten'; see"),
        (
            ["run", "sample", "-o", ""],
            "redpajama-pipe: OUTPUT is empty, perhaps a variable of the shell that is not set",
        ),
        (["make-sample", ""], "redpajama-pipe: FOLDER is empty"),
        (["filter", "-o", "x", "--what-if", ""], "redpajama-pipe: WHAT_IF is empty"),
    ],
)
def test_a_wrong_option_is_one_line_with_what_was_meant(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(message)
    assert told.count("\n") == 1


def test_a_mistyped_option_is_found_among_those_of_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "sample", "-o", "x", "--mastre=yarn"])
    assert "(did you mean --master?)" in capsys.readouterr().err


def test_no_command_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "A first run, which needs no network" in capsys.readouterr().err


@pytest.mark.parametrize("command", cli._EXAMPLES)
def test_the_help_of_every_command_has_an_example_that_parses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    told = capsys.readouterr().out
    for example in cli._EXAMPLES[command]:
        assert f"\n  redpajama-pipe {example}\n" in told
        words = shlex.split(example.partition(" > ")[0])
        options = cli.build_parser().parse_args(words)
        assert words[0] == command
        for override in getattr(options, "set", []):
            if command not in ("experiment", "pretrain"):
                recipe.load("sample", [override])


def test_every_command_has_an_example() -> None:
    actions = cli.build_parser()._actions
    commands = next(list(action.choices) for action in actions if isinstance(action.choices, dict))
    assert commands == list(cli._EXAMPLES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: x\nsources:\n\t- a\n",
            "my.yaml, line 3, column 1 is not valid YAML: found character '\\t' that",
        ),
        ("just text", "my.yaml is not a YAML mapping, `key: value` lines"),
        ("", "my.yaml is not a YAML mapping, `key: value` lines"),
        (b"name: \xff", "my.yaml is not UTF-8 text (byte 6); save it as UTF-8"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_one_line(
    text: str | bytes,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert cli.main(["run", "my.yaml", "-o", "x"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"redpajama-pipe: {message}")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        (
            "[JAVA_GATEWAY_EXITED] Java gateway process exited",
            "Spark could not start, and Java says why above; see",
        ),
        (
            "x: java.lang.OutOfMemoryError: Java heap space",
            "Spark ran out of memory; give it more with --set 'execution.",
        ),
        (
            "org.apache: Could not parse Master URL: 'locl'",
            "--master 'locl' is no Spark master; give local[4], yarn",
        ),
        (
            "java.io.IOException: No space left on device\n at",
            "No space left on device, where Spark keeps its files; make",
        ),
        (
            "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file file:///run/a.parquet.  SQLSTATE: KD001",
            "file:///run/a.parquet cannot be read: it is damaged. Remove it, and run",
        ),
        (
            "Could not open Parquet input source '<Buffer>': Parquet magic bytes not found in footer. Either",
            "a Parquet file of the run is damaged (Parquet magic bytes not found); the sha256 of each",
        ),
        (
            "cannot cache function 'places': no locator available for file '/lib/blocks.py'",
            "compiled kernels have no place: neither beside /lib/blocks.py nor in a cache folder of the user",
        ),
        ("Unable to locate credentials", "no credentials for S3; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or"),
        (
            "[Errno 30] Read-only file system: '/x'",
            "Read-only file system: '/x'; give access, or name another place, an",
        ),
        ("[Errno 21] Is a directory: '/x'", "Is a directory: '/x'; see that the path is right"),
    ],
)
def test_what_the_machine_refuses_is_one_line(trace: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise RuntimeError(trace)

    assert arguments.guarded(fail) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"redpajama-pipe: {message}")
    assert told.count("\n") == 1
    if "'exec" in told:  # what it says can be typed
        override = told.partition("--set '")[2].partition("'")[0]
        assert recipe.load("sample", [override]).execution.spark == {"spark.driver.memory": "8g"}


def test_a_jvm_that_ended_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from py4j.protocol import Py4JNetworkError

    class JavaError(Exception):
        def __str__(self) -> str:
            raise Py4JNetworkError("Answer from Java side is empty")

    class Session:
        sparkContext = Namespace(master="local[2,4]")  # PySpark's name

        def stop(self) -> None:
            raise Py4JNetworkError("Error while sending or receiving")

    def lose(job: arguments.Job) -> None:
        job._spark = Session()
        raise JavaError

    options = Namespace(output=str(tmp_path), recipe="sample", set=[], quiet=True, master=None)
    assert arguments.guarded(lambda: arguments.work_with(options, lose)) == 2
    told = capsys.readouterr().err
    assert told.startswith("redpajama-pipe: Spark's JVM ended while it worked, and says why above; if it was memory")
    assert told.count("\n") == 1


def test_a_jvm_that_was_killed_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    from py4j.protocol import Py4JNetworkError

    def lose() -> None:
        try:
            raise Py4JNetworkError("Answer from Java side is empty")
        except Py4JNetworkError:
            raise ConnectionRefusedError(111, "Connection refused")  # noqa: B904  as Py4J does

    assert arguments.guarded(lose) == 2
    assert capsys.readouterr().err.startswith("redpajama-pipe: Spark's JVM ended while it worked, and says why above;")

    def refused() -> None:  # by another server
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(ConnectionRefusedError):
        arguments.guarded(refused)


def test_an_interruption_is_one_line_and_logs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = Namespace(output=str(tmp_path), recipe="sample", set=[], quiet=True, master=None)

    def cut_short(job: arguments.Job) -> None:
        try:
            job._driver._interrupt()
        except KeyboardInterrupt:
            raise ConnectionError("what PySpark makes of it") from None

    try:
        assert arguments.guarded(lambda: arguments.work_with(options, cut_short)) == 130
        logging.getLogger().error("what Py4J says of a call that was cut short")
    finally:
        logging.disable(logging.NOTSET)
    assert capsys.readouterr().err == (
        "redpajama-pipe: interrupted; the same command continues where this one stopped\n"
    )


def test_ctrl_c_waits_until_spark_has_started_so_that_it_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from redpajama_pipe import session

    steps: list[str] = []

    class Session:
        sparkContext = None  # PySpark's name

        def stop(self) -> None:
            steps.append("stopped")

    def build(*settings: object) -> Session:
        signal.raise_signal(signal.SIGINT)
        steps.append("started")
        return Session()

    monkeypatch.setattr(session, "build", build)
    monkeypatch.setattr(driver.Driver, "_silence", lambda driver: None)
    options = Namespace(output=str(tmp_path / "run"), recipe="sample", set=[], quiet=True, master=None)
    before = signal.getsignal(signal.SIGINT)
    try:
        assert arguments.guarded(lambda: arguments.work_with(options, lambda job: job.spark())) == 130
    finally:
        signal.signal(signal.SIGINT, before)
        logging.disable(logging.NOTSET)
    assert steps == ["started", "stopped"]


def test_ctrl_c_is_not_pysparks_while_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal
    import threading

    from redpajama_pipe import session

    class Session:
        sparkContext = None  # PySpark's name

        def stop(self) -> None:
            stopped.append(True)

    stopped = []

    def build(*settings: object) -> Session:
        if threading.current_thread() is threading.main_thread():  # as SparkContext._do_init, which is not the end
            signal.signal(signal.SIGINT, signal.default_int_handler)
        os.kill(os.getpid(), signal.SIGINT)
        return Session()

    monkeypatch.setattr(session, "build", build)
    monkeypatch.setattr(driver.Driver, "_silence", lambda driver: None)
    options = Namespace(output=str(tmp_path), recipe="sample", set=[], quiet=True, master=None)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt), arguments.Job(options) as job:
            job.spark()
    finally:
        signal.signal(signal.SIGINT, before)
        logging.disable(logging.NOTSET)
    assert stopped


def test_spark_that_does_not_start_leaves_ctrl_c_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    from redpajama_pipe import session

    def build(*settings: object) -> None:
        raise SetupError("no Java")

    monkeypatch.setattr(session, "build", build)
    options = Namespace(output=str(tmp_path / "run"), recipe="sample", set=[], quiet=True, master=None)
    before = signal.getsignal(signal.SIGINT)
    assert arguments.guarded(lambda: arguments.work_with(options, lambda job: job.spark())) == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_a_reader_that_has_enough_ends_the_command_in_silence(tmp_path: Path) -> None:
    import subprocess

    command = f"set -o pipefail; {sys.executable} -m redpajama_pipe.cli signals dolma redpajama_v2 gopher | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("words", ["catalog", "run --help", "--version"])
def test_output_that_nobody_takes_leaves_no_trace(words: str) -> None:
    command = f"{sys.executable} -m redpajama_pipe.cli {words}"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}

    def run(line: str) -> tuple[int, str]:
        shell = ["bash", "-o", "pipefail", "-c", line]
        ended = subprocess.run(shell, env=buffered, capture_output=True, text=True, check=False)
        return ended.returncode, ended.stderr

    full = "redpajama-pipe: cannot write to standard output: No space left on device\n"
    assert run(f"{command} | exec true") == (0, "")
    assert run(f"{command} > /dev/full") == (2, full)
    if "--" not in words:  # argparse says it on standard error then
        assert run(f"{command} >&-") == (0, "")


def test_a_terminal_without_the_characters_ends_nothing() -> None:
    for encoding in ("ascii", "latin-1"):
        ended = subprocess.run(
            [sys.executable, "-m", "redpajama_pipe.cli", "run", "--help"],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert b"spark://\\u2026" in ended.stdout


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
    assert told.startswith("redpajama-pipe: No space left on device; make room, and run the same command again")
    assert told.count("\n") == 1
