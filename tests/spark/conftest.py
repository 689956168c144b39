"""One small local Spark for all tests of this folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    # Workers otherwise take the first python3 on PATH, which need not be this one.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .appName("redpajama_pipe tests")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.default.parallelism", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.driver.host", "localhost")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", "2g")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture
def configure(spark: SparkSession) -> Iterator[Callable[..., None]]:
    """Set spark.sql settings for one test: `configure(adaptive_enabled="false")` sets spark.sql.adaptive.enabled."""
    before: dict[str, str | None] = {}

    def set_values(**values: str) -> None:
        for name, value in values.items():
            key = f"spark.sql.{name.replace('_', '.')}"
            before.setdefault(key, spark.conf.get(key))
            spark.conf.set(key, value)

    yield set_values
    for key, value in before.items():
        if value is not None:
            spark.conf.set(key, value)
