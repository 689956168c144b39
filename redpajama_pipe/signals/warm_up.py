"""Compile the kernels of a run before its workers need them: each family in one of several processes at once.

Numba compiles on one core, holding the interpreter's lock, 2 to 14 s a family, and keeps the result on disk. Families
share no kernels, so processes that take them one after the other, the longest first, divide the time by the cores.
Where everything is in Numba's cache it is loaded instead; where the last time all was, and nothing has changed since,
not even that is done (see warm_stamp).
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from redpajama_pipe.errors import PipelineError, SetupError
from redpajama_pipe.progress import Progress
from redpajama_pipe.settings.annotate import Annotate
from redpajama_pipe.signals.catalogue import FAMILIES
from redpajama_pipe.signals.warm_stamp import Loaded, Stamp, loaded

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MOST_PROCESSES = 8  # each holds some 300 MB
_ALONE = "language and hashes"
_LONGEST = ("redpajama_v2", "c4", "datatrove", "refinedweb", _ALONE)
# Ctrl-C reaches every process of a terminal: the one that asked ends the others, which would print traces.
_COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "from redpajama_pipe.signals.warm_up import serve; serve()"
)


@dataclass(frozen=True)
class Part:
    """What one process compiles at a time.

    Attributes:
        name: for messages.
        signals: of one module, whose kernels call each other; none: language, hashes and signatures.
    """

    name: str
    signals: tuple[str, ...]


def parts_of(settings: Annotate) -> list[Part]:
    """Cut the work of `annotate` into parts that share no kernels, the longest first."""
    wanted = set(settings.signals)
    modules: dict[str, list[str]] = {}
    for family in FAMILIES.values():
        of_family = [signal.name for signal in family.signals if signal.name in wanted]
        if of_family:
            modules.setdefault(family.compute.__module__.rpartition(".")[2], []).extend(of_family)
    parts = [Part(_ALONE, ()), *(Part(name, tuple(names)) for name, names in modules.items())]
    return sorted(parts, key=lambda part: _LONGEST.index(part.name) if part.name in _LONGEST else len(_LONGEST))


def warm_up(settings: Annotate, model: str, processes: int, told: Callable[[int, int], None] | None = None) -> Loaded:
    """Compile every kernel of `annotate`, or load it from Numba's cache, so that workers find it there.

    Args:
        settings: as signals.annotation.settings_of gives them.
        model: path of the language model.
        processes: how many at once; more than MOST_PROCESSES are not used.
        told: called with how many parts are done, and all.

    Returns:
        What the processes had to compile, and where the cache is.

    Raises:
        PipelineError: what a family raises, such as for a word list that is not there.
        SetupError: a process ended without an answer.
    """
    parts = parts_of(settings)
    many = min(processes, len(parts), MOST_PROCESSES)
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command, environment = [sys.executable, "-c", _COMMAND], {**os.environ, "PYTHONPATH": path}
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) for _ in range(many)
    ]
    idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    for child in children:
        idle.put(child)

    def one(part: Part) -> Loaded:
        child = idle.get()
        try:
            return _ask(child, settings, model, part)
        finally:
            idle.put(child)

    pool = ThreadPoolExecutor(many)
    try:
        futures = [pool.submit(one, part) for part in parts]
        done = Loaded()
        for count, future in enumerate(as_completed(futures)):
            done |= future.result()
            if told:
                told(count + 1, len(parts))
    except BaseException:
        for child in children:
            child.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        for child in children:
            child.communicate()
    return done


def warm_up_for_workers(spark: SparkSession, settings: Annotate, model: str, *, quiet: bool = False) -> None:
    """Do it, and say how far it is, where workers share this machine's cache; on a cluster each machine has its own."""
    if not (spark.sparkContext.master or "").startswith("local"):
        return
    state = 0, 0

    def told(done: int, parts: int) -> None:
        nonlocal state
        state = done, parts

    doing, counted = "loading, and compiling once for this installation", "parts compiled or loaded"
    with Progress("kernels", measure=lambda: state, quiet=quiet, doing=doing, counted=counted) as progress:
        stamp = Stamp(settings, model)
        if not stamp.holds():
            stamp.leave(warm_up(settings, model, spark.sparkContext.defaultParallelism, told))
        progress.note = "ready"


def _ask(child: subprocess.Popen[bytes], settings: Annotate, model: str, part: Part) -> Loaded:
    """Give a part to a process and wait for its answer."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        pickle.dump((settings, model, part), child.stdin)
        child.stdin.flush()
        answer: PipelineError | Loaded = pickle.load(child.stdout)
    except (OSError, EOFError):
        raise SetupError(
            f"the process that compiles the kernels of {part.name} ended with status {child.wait()};"
            " its message stands above; is there memory, and may Numba's cache folder (NUMBA_CACHE_DIR) be written?"
        ) from None
    if isinstance(answer, PipelineError):
        raise answer
    return answer


def serve() -> None:
    """Compile the parts that come on standard input until it ends; answer each on standard output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    while (asked := _next(sys.stdin.buffer)) is not None:
        answer: PipelineError | Loaded
        try:
            _compile(*asked)
            answer = loaded()
        except PipelineError as error:  # any other ends the process, with its traceback
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


def _next(stream: IO[bytes]) -> tuple[Annotate, str, Part] | None:
    try:
        return pickle.load(stream)  # type: ignore[no-any-return]
    except EOFError:
        return None


def _compile(settings: Annotate, model: str, part: Part) -> None:
    from redpajama_pipe.signals.annotation import hashes, scores, tell_language

    texts = pa.array(["a few words that are enough for one shingle"])
    if not part.signals:
        tell_language(texts, settings, model)
        hashes(texts, settings)
        return
    nothing: Any = pa.array([None], pa.string())
    scores(texts, pa.array(["en"]), nothing, replace(settings, signals=part.signals))
