"""The arguments that every job and every command share, and how a job ends."""

from __future__ import annotations

import argparse
import errno
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from redpajama_pipe import catalog, errors
from redpajama_pipe.driver import MASTERS, Driver, text_of
from redpajama_pipe.errors import InputError, PipelineError, RecipeError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from redpajama_pipe.recipe import Recipe
    from redpajama_pipe.run_folder import RunFolder


# what a person with access to the disk can mend, and how
_WRONG = "see that the path is right"
_STORAGE = {
    **dict.fromkeys(errors.DISK_FULL, errors.MAKE_ROOM),
    **dict.fromkeys(errors.DISK_CLOSED, errors.GIVE_ACCESS),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG), _WRONG),
}

# what a trace says → what to tell; of the first that fits
_KNOWN = (
    (
        r"java\.io\.IOException: No space left on device",
        f"No space left on device, where Spark keeps its files; {errors.MAKE_ROOM}",
    ),
    (
        r"\[FAILED_READ_FILE[^\]]*\] Encountered error while reading file (\S+?)\.?\s",
        "{0} cannot be read: it is damaged. Remove it, and run the same command again, which makes it again",
    ),
    (
        r"(Parquet magic bytes not found|Couldn't deserialize thrift|Invalid or truncated PLAIN|"
        r"\w+ decompression failed|Parquet file size is \d+ bytes|Unexpected end of stream)",
        "a Parquet file of the run is damaged ({0}); the sha256 of each file stands in the _manifest.json beside it: "
        "remove the one that differs, and do that stage again",
    ),
    (
        r"java\.lang\.OutOfMemoryError",
        "Spark ran out of memory; give it more with --set 'execution.spark={{spark.driver.memory: 8g}}' (on a cluster "
        "spark.executor.memory), and run the same command again",
    ),
    (
        r"Py4JNetworkError",
        "Spark's JVM ended while it worked, and says why above; if it was memory, give it more with "
        "--set 'execution.spark={{spark.driver.memory: 8g}}', and run the same command again",
    ),
    (
        r"no locator available for file '(.+?)'",
        "compiled kernels have no place: neither beside {0} nor in a cache folder of the user can be written; set "
        "NUMBA_CACHE_DIR to a folder that can, here and for Spark's workers",
    ),
    (r"Could not parse Master URL: '(.*?)'", f"--master {{0!r}} is no Spark master; {MASTERS}"),
    (
        r"\[JAVA_GATEWAY_EXITED\]|calling None\.org\.apache\.spark\.api\.java\.JavaSparkContext",
        "Spark could not start, and Java says why above; see --master and the recipe's execution.spark",
    ),
    (
        r"\[UNABLE_TO_INFER_SCHEMA\]",
        "there is no document to work on; the run's quarantine/ says why, where records were read and none was good",
    ),
    (
        r"Unable to locate credentials",
        "no credentials for S3; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, here and for workers",
    ),
    (
        r"(Could not connect to the endpoint URL: \S+)",
        "{0}; see that the address is right and can be reached from here",
    ),
)


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are one line: what is wrong, what was meant perhaps, and where help is."""

    # argparse's own has overloads for namespaces of one's own, which no parser here is given
    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse, and refuse an empty value: as a path it would be the present folder, as --what-if a whole stage."""
        _print_anything()
        options = super().parse_args(args, namespace)
        for name, value in vars(options).items():
            if value == "":
                self.error(f"{name.upper()} is empty, perhaps a variable of the shell that is not set; give a value")
        return options

    def error(self, message: str) -> NoReturn:
        """Say the mistake and end with status 2."""
        # Python 3.12.8, 3.13.1 and 3.14 write the choices without quotes, 3.15 a guess of its own before them
        choice = re.search(r"invalid choice: '(.*?)'.*? \(choose from (.*)\)", message)
        unknown = re.search(r"unrecognized arguments: (--[^\s=]+)", message)
        if choice:
            near = get_close_matches(choice.group(1), re.findall(r"[^\s',]+", choice.group(2)), 1)
            message = message[: choice.start()] + f"no {choice.group(1)!r}" if near else message
        else:
            near = get_close_matches(unknown.group(1), _options(self), 1) if unknown else []
        hint = f" (did you mean {near[0]}?)" if near else ""
        self.exit(2, f"{self.prog}: {message}{hint}; see {self.prog} --help\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End, of a --help too that nobody could read."""
        failed = _flush()
        super().exit(status or failed, message)


def _flush() -> int:
    """Write out what was printed, which the end of the process would do with a trace; returns the exit status."""
    if sys.stdout is None:  # closed by who called
        return 0
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # of `| head`: whoever reads has enough
        _discard()
    except OSError as error:
        _discard()
        print(f"redpajama-pipe: cannot write to standard output: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def _discard() -> None:
    """Let what is still to be printed go nowhere."""
    with suppress(OSError, ValueError):  # a stream without a file beneath, as in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_anything() -> None:
    """Let no character that the terminal lacks, such as a table's line in ASCII, end the work that prints it."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace" if sys.stdout.isatty() else "backslashreplace")


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """Return the options of a parser and of its commands."""
    known = [option for action in parser._actions for option in action.option_strings]
    commands = [action.choices.values() for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return known + [option for some in commands for command in some for option in _options(command)]


class Job:
    """A parsed command line: the recipe, the run's folder, and a session that starts when it is first needed."""

    def __init__(self, options: argparse.Namespace) -> None:
        from redpajama_pipe import recipe, storage
        from redpajama_pipe.run_folder import RunFolder

        self.options = options
        self.folder: RunFolder = RunFolder.at(options.output)
        if not options.recipe and not storage.exists(self.folder.recipe):
            raise RecipeError(
                f"no run in {self.folder.path} (it has no recipe.yaml); correct --output, or give a RECIPE: "
                "an entry of `redpajama-pipe catalog conf` or a path ending in .yaml"
            )
        self.recipe: Recipe = recipe.load(options.recipe or self.folder.recipe, options.set)
        if not self.recipe.sources:
            raise RecipeError(
                "sources is empty: there is nothing to read; `redpajama-pipe catalog conf sample` shows some"
            )
        catalog.read_text("tokenize", self.recipe.tokenize.tokenizer)  # a wrong name is said before hours of work
        self.quiet: bool = options.quiet
        self._driver = Driver(f"redpajama-pipe {self.recipe.name}", options.master, self.recipe.execution.spark)
        self._claim = -1

    def spark(self) -> SparkSession:
        """Return the session; Spark starts on the first call."""
        if self._claim < 0 and not getattr(self.options, "what_if", None):  # which only reads
            self._claim = self.folder.claim()
        return self._driver.spark()

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._driver.__exit__(kind, error, trace)
        finally:  # nothing can write to the folder any more
            if self._claim >= 0:
                os.close(self._claim)
                self._claim = -1

    def own(self) -> None:
        """Make the folder this recipe's, before its documents are touched; with --replace whatever it holds.

        Raises:
            RecipeError: it holds the documents of another recipe.
        """
        from redpajama_pipe import recipe, storage

        if not self.options.replace:
            self.folder.check_owner(self.recipe)
        elif storage.exists(self.folder.recipe):
            storage.write_bytes(self.folder.recipe, recipe.to_yaml(self.recipe).encode("utf-8"))

    def remember(self) -> None:
        """Leave the recipe in the run's folder where it has none yet: later commands need no RECIPE then."""
        from redpajama_pipe import recipe, storage

        asks_only = getattr(self.options, "what_if", None)
        if not asks_only and not storage.exists(self.folder.recipe):
            storage.write_bytes(self.folder.recipe, recipe.to_yaml(self.recipe).encode("utf-8"))


def add_job_arguments(parser: argparse.ArgumentParser, *, replaces: bool = False) -> None:
    """Add RECIPE, --output, --master, --set and --quiet; and --replace, where documents of a run may be replaced."""
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        nargs="?",
        help="a recipe: an entry of conf/ or a path ending in .yaml (default: the one that RUN was made with)",
    )
    parser.add_argument("--output", "-o", metavar="RUN", required=True, help="the run's folder: a path or a URL")
    parser.add_argument(
        "--master", help="Spark master: local[4], yarn, spark://… (default: spark-submit's, or local[*])"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the recipe: dedup.threshold=0.9, sources.pile.paths=[a.jsonl.zst], vars.data=/corpus",
    )
    if replaces:
        parser.add_argument(
            "--replace", action="store_true", help="let this recipe replace the documents that RUN has of another one"
        )
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress lines")


def run_job(argv: Sequence[str] | None, description: str, work: Callable[[Job], Any], *, replaces: bool = False) -> int:
    """Parse a job's command line, do the work, and return the exit status.

    Returns:
        0; or 2 after a user's mistake or bad data, which is said in one line. A bug raises.
    """
    parser = Parser(description=description)
    add_job_arguments(parser, replaces=replaces)
    options = parser.parse_args(argv)
    return guarded(lambda: work_with(options, work))


def work_with(options: argparse.Namespace, work: Callable[[Job], Any]) -> None:
    """Do a job's work and stop its Spark."""
    with Job(options) as job:
        work(job)
        job.remember()


def from_worker(trace: str) -> str | None:
    """Find, in a trace, what the user can mend: a PipelineError of a Python worker, the disk, memory, the master."""
    found = re.search(r"^(?:.*\s)?redpajama_pipe\.errors\.(\w+): (.+)$", trace, re.MULTILINE)
    if found and hasattr(errors, found.group(1)):
        return found.group(2)
    failed = re.search(rf"\[Errno ({'|'.join(map(str, _STORAGE))})\] (.+)$", trace, re.MULTILINE)
    if failed:
        return f"{failed.group(2)}; {_STORAGE[int(failed.group(1))]}"
    for pattern, told in _KNOWN:
        said = re.search(pattern, trace)
        if said:
            return told.format(*said.groups())
    return None


def check_run(path: str) -> None:
    """Refuse a run's folder that is not there.

    Raises:
        InputError: it is a local path, and no folder.
    """
    if "://" not in path and not os.path.isdir(path):
        raise InputError(f"no run in {path}: {'that is a file' if os.path.exists(path) else 'there is no such folder'}")


def guarded(work: Callable[[], Any]) -> int:
    """Run and turn a PipelineError, here or in a Spark worker, into one line on standard error and exit status 2."""
    try:
        work()
        return _flush()
    except PipelineError as error:
        print(f"redpajama-pipe: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        _discard()
        return 0
    except Exception as error:
        said = text_of(error)
        told = said if isinstance(error, ImportError) and "nstall" in said else from_worker(said)
        if told is None:
            raise
        print(f"redpajama-pipe: {told}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("redpajama-pipe: interrupted; the same command continues where this one stopped", file=sys.stderr)
        return 130
