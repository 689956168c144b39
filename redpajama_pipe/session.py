"""The only place that builds a SparkSession, after checking that Java is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from redpajama_pipe import catalog, refusals
from redpajama_pipe.errors import SetupError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MINIMUM_JAVA = 17
_INSTALL = (
    "Debian/Ubuntu: apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17; "
    "conda: conda install -c conda-forge openjdk=17; then set JAVA_HOME if `java` is not on PATH"
)

# Law: these change speed, never bytes. Recipes and spark-submit override them.
DEFAULTS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
    "spark.sql.parquet.filterPushdown": "true",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.adaptive.enabled": "true",
}


def java_major() -> int:
    """Return the major version of the Java that Spark would start.

    Raises:
        SetupError: there is none, or it is older than Spark 4 needs; the message says what to install.
    """
    home = os.environ.get("JAVA_HOME")
    program = os.path.join(home, "bin", "java") if home else shutil.which("java")
    if not program or not os.path.exists(program):
        where = f"JAVA_HOME is {home}, which has no bin/java" if home else "no `java` on PATH"
        raise SetupError(f"Spark needs Java {MINIMUM_JAVA} or newer: {where}. {_INSTALL}")
    try:
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise SetupError(
            f"{program} cannot be run ({error.strerror}); Spark needs Java {MINIMUM_JAVA}. {_INSTALL}"
        ) from error
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    if not found:
        said = " ".join((answer.stderr + answer.stdout).split())[:200] or "nothing"
        raise SetupError(f"{program} -version says {said!r}; Spark needs Java {MINIMUM_JAVA}. {_INSTALL}")
    major = int(found.group(1))
    if major < MINIMUM_JAVA:
        raise SetupError(f"Spark needs Java {MINIMUM_JAVA} or newer: {program} is Java {major}. {_INSTALL}")
    return major


def check_user() -> None:
    """Refuse a user without a name, as containers may have, whom Spark's login would tell of in pages of traces.

    Raises:
        SetupError: /etc/passwd, or what the system asks beside it, has no entry for this user.
    """
    import pwd  # Windows has none

    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        raise SetupError(
            f"user {os.getuid()} has no entry in /etc/passwd, and Spark starts for no user without a name: add one, "
            f"`echo 'me:x:{os.getuid()}:{os.getgid()}::/tmp:/bin/sh' >> /etc/passwd`, or run as another user"
        ) from None


def _quiet_log() -> dict[str, str]:
    """Point the JVM at conf/spark/log4j2.properties (warnings of a local start say nothing a user can act on)."""
    file = catalog.folder("conf") / "spark" / "log4j2.properties"
    if not isinstance(file, Path) or not file.is_file():  # inside a zip: the JVM cannot read it there
        return {}
    return {"spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file:{file}"}


def with_retries(master: str) -> str:
    """Let tasks be tried four times on one machine too, as on a cluster; local[N] alone fails a job at the first."""
    cores = re.fullmatch(r"local(?:\[(\*|\d+)\])?", master)
    return f"local[{cores.group(1) or 1},4]" if cores else master


def build(name: str, master: str | None = None, conf: Mapping[str, str] | None = None) -> SparkSession:
    """Start Spark, or join the session that spark-submit prepared.

    Args:
        name: the application's name.
        master: local[*], spark://..., yarn; None: spark-submit's, or local[*] outside it.
        conf: spark.* settings of the recipe; they win over DEFAULTS.

    Raises:
        SetupError: Java is missing or too old, the user has no name, or Spark does not start.
        StorageError: Spark's own files have no place on this machine.
    """
    java_major()
    check_user()
    # Python workers take the first python3 on PATH unless told, which is not the one of an unactivated environment.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    # One BLAS or OpenMP thread a worker: Spark already runs one task a core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import logging

    from py4j.protocol import Py4JNetworkError  # type: ignore[import-untyped]
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

    logging.getLogger("py4j").setLevel(logging.WARNING)
    # Under spark-submit the JVM runs already and knows its settings; asking for them outside would start one too early.
    submitted = SparkConf() if "PYSPARK_GATEWAY_PORT" in os.environ else SparkConf(loadDefaults=False)
    chosen = master or submitted.get("spark.master") or "local[*]"
    if "spark.master" not in dict(submitted.getAll()):
        chosen = with_retries(chosen)
    builder = SparkSession.builder.appName(name).master(chosen)
    settings = dict(DEFAULTS)
    if chosen.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        settings["spark.sql.shuffle.partitions"] = str(2 * (os.cpu_count() or 1))
        settings["spark.ui.enabled"] = "false"
        settings["spark.driver.memory"] = "2g"
        settings |= _quiet_log()
    for key, value in settings.items():
        if not submitted.contains(key):
            builder = builder.config(key, value)
    for key, value in (conf or {}).items():
        builder = builder.config(key, value)
    if chosen.startswith("local"):
        refusals.check_scratch((conf or {}).get("spark.local.dir") or submitted.get("spark.local.dir"))
    try:
        spark = builder.getOrCreate()
    except (Py4JNetworkError, ConnectionError) as error:
        raise SetupError("Spark could not start, and Java says why above; see the recipe's execution.spark") from error
    spark.sparkContext.setLogLevel("ERROR")
    refusals.watch(spark)
    return spark


@contextmanager
def unlogged() -> Iterator[None]:
    """Keep PySpark from logging, as a page of JSON, an analysis error that is caught and told in one line."""
    from pyspark.logger import PySparkLogger

    # PySpark's own class: a plain logger of this name, made first, would break its logging for the whole process
    loggers = [PySparkLogger.getLogger(f"{kind}QueryContextLogger") for kind in ("SQL", "DataFrame")]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
