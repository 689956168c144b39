"""The arguments that every job and every command share, and how a job ends."""

from __future__ import annotations

import argparse
import errno
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from redpajama_pipe import errors
from redpajama_pipe.errors import PipelineError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from redpajama_pipe.recipe import Recipe
    from redpajama_pipe.run_folder import RunFolder


# what a person with access to the disk can mend
_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


class Job:
    """A parsed command line: the recipe, the run's folder, and a session that starts when it is first needed."""

    def __init__(self, options: argparse.Namespace) -> None:
        from redpajama_pipe import recipe
        from redpajama_pipe.run_folder import RunFolder

        self.options = options
        self.folder: RunFolder = RunFolder.at(options.output)
        self.recipe: Recipe = recipe.load(options.recipe or self.folder.recipe, options.set)
        self.quiet: bool = options.quiet
        self._spark: SparkSession | None = None

    def spark(self) -> SparkSession:
        """Return the session; Spark starts on the first call."""
        if self._spark is None:
            from redpajama_pipe import session

            self._spark = session.build(
                f"redpajama-pipe {self.recipe.name}", self.options.master, self.recipe.execution.spark
            )
        return self._spark

    def close(self) -> None:
        """Stop Spark if this job started it."""
        if self._spark is not None:
            self._spark.stop()


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """Add RECIPE, --output, --master, --set and --quiet."""
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
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress lines")


def run_job(argv: Sequence[str] | None, description: str, work: Callable[[Job], Any]) -> int:
    """Parse a job's command line, do the work, and return the exit status.

    Returns:
        0; or 2 after a user's mistake or bad data, which is said in one line. A bug raises.
    """
    parser = argparse.ArgumentParser(description=description)
    add_job_arguments(parser)
    options = parser.parse_args(argv)
    return guarded(lambda: work_with(options, work))


def work_with(options: argparse.Namespace, work: Callable[[Job], Any]) -> None:
    """Do a job's work and stop its Spark."""
    job = Job(options)
    try:
        work(job)
    finally:
        job.close()


def from_worker(trace: str) -> str | None:
    """Find, in a trace, what the user can mend: a PipelineError of a Python worker, or a full or closed disk."""
    found = re.search(r"^(?:.*\s)?redpajama_pipe\.errors\.(\w+): (.+)$", trace, re.MULTILINE)
    if found and hasattr(errors, found.group(1)):
        return found.group(2)
    storage = re.search(rf"\[Errno (?:{'|'.join(map(str, _STORAGE))})\] (.+)$", trace, re.MULTILINE)
    if storage:
        why = storage.group(1)
        return f"{why}; nothing half-written is left: make room or give access, and run the same command again"
    return None


def guarded(work: Callable[[], Any]) -> int:
    """Run and turn a PipelineError, here or in a Spark worker, into one line on standard error and exit status 2."""
    try:
        work()
    except PipelineError as error:
        print(f"redpajama-pipe: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        told = from_worker(str(error))
        if told is None:
            raise
        print(f"redpajama-pipe: {told}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("redpajama-pipe: interrupted; the same command continues where this one stopped", file=sys.stderr)
        return 130
    return 0
