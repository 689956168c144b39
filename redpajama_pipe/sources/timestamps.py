"""Dates of crawl records as ISO 8601 in UTC, as precise as the record is."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_ISO = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(?:Z|([+-])(\d\d):?(\d\d))?)?)?)?"
)
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d))?")


def utc_timestamp(text: str | None) -> str | None:
    """Normalise a WARC-Date, an ARC date or a date of a JSON record.

    Args:
        text: a W3C profile of ISO 8601 with any precision from the year to nanoseconds and an optional zone, or the
            14 or 8 digits of an ARC line. A time without a zone is taken as UTC.

    Returns:
        The date with the precision it came with, a time ending in Z; None when it is no date that exists, such as
        the 2008-10-294T05:21:46-0700 of ClueWeb09.

    Source: ISO 28500 (WARC 1.1), 5.4 WARC-Date; W3C NOTE-datetime.
    """
    if text is None:
        return None
    text = text.strip()
    compact = _COMPACT.fullmatch(text)
    parts = compact or _ISO.fullmatch(text)
    if parts is None:
        return None
    year, month, day, hour, minute, second = parts.group(1, 2, 3, 4, 5, 6)
    fraction, sign, zone_hours, zone_minutes = (None,) * 4 if compact else parts.group(7, 8, 9, 10)
    try:
        moment = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), min(int(second or 0), 59)
        )
        if sign:
            zone = timedelta(hours=int(zone_hours or 0), minutes=int(zone_minutes or 0))
            moment = moment.replace(tzinfo=timezone(zone if sign == "+" else -zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    if hour is None:
        return "-".join(part for part in (year, month, day) if part)
    if second is None:
        return moment.strftime("%Y-%m-%dT%H:%MZ").rjust(17, "0")
    # a leap second, :60, is a second that exists
    seconds = second if int(second) <= 60 else None
    if seconds is None:
        return None
    tail = f".{fraction}" if fraction else ""
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M}:{seconds}{tail}Z"
