"""Dates of crawl records."""

import pytest

from redpajama_pipe.sources.timestamps import utc_timestamp


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-18T01:58:10Z", "2024-05-18T01:58:10Z"),
        ("2024-05-18T01:58:10.123456789Z", "2024-05-18T01:58:10.123456789Z"),
        ("2024-05-18T01:58Z", "2024-05-18T01:58Z"),
        ("2024-05-18", "2024-05-18"),
        ("2024-05", "2024-05"),
        ("2024", "2024"),
        ("2024-05-18 01:58:10", "2024-05-18T01:58:10Z"),
        ("2008-10-24T22:21:46-0700", "2008-10-25T05:21:46Z"),
        ("2008-10-24T00:30:00+01:00", "2008-10-23T23:30:00Z"),
        ("20140216050221", "2014-02-16T05:02:21Z"),
        ("20230320", "2023-03-20"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:60Z"),
        ("0999-01-01T00:00Z", "0999-01-01T00:00Z"),
    ],
)
def test_dates_become_iso_8601_in_utc(text: str, expected: str) -> None:
    assert utc_timestamp(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "null",
        "2008-10-294T05:21:46-0700",
        "2024-13-01",
        "2024-02-30",
        "2024-05-18T25:00:00Z",
        "2024-05-18T01:58:61Z",
        "201404010000000000",
        "Mon, 20 May 2024 10:00:00 GMT",
    ],
)
def test_what_is_no_date_is_none(text: str | None) -> None:
    assert utc_timestamp(text) is None
