"""Instants: aware UTC datetimes in values, milliseconds or ISO 8601 texts on the wire."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

# What a datetime can express; a peer may send any 64-bit number.
_EARLIEST_MS = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MILLISECOND
_LATEST_MS = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MILLISECOND


def now_ms() -> int:
    """The present in milliseconds since the epoch, by the local clock."""
    return time.time_ns() // 1_000_000


def utc_now() -> datetime:
    """The present, by the local clock."""
    return datetime.now(UTC)


def datetime_from_ms(ms: int) -> datetime:
    """The instant `ms` milliseconds after the epoch, clamped to what datetime can express."""
    return EPOCH + timedelta(milliseconds=min(max(ms, _EARLIEST_MS), _LATEST_MS))


def optional_datetime(ms: int | None) -> datetime | None:
    """Like `datetime_from_ms`; None stays None."""
    return None if ms is None else datetime_from_ms(ms)


def ms_from_datetime(moment: datetime) -> int:
    """Milliseconds since the epoch, rounded down.

    Raises:
        ValueError: the datetime is naive: which instant it means cannot be known.
    """
    return (aware(moment) - EPOCH) // MILLISECOND


def iso_from_datetime(moment: datetime) -> str:
    """The text JavaScript's ``toISOString`` writes: UTC, milliseconds, ``Z``.

    Raises:
        ValueError: the datetime is naive, or not in the years 1 to 9999 of UTC.
    """
    utc = _in_utc(aware(moment))
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def datetime_from_iso(text: str) -> datetime:
    """The instant an ISO 8601 text names; without an offset it is taken as UTC.

    Raises:
        ValueError: the text is no such date.
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else _in_utc(moment)


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{moment} is out of range") from error


def aware(moment: datetime) -> datetime:
    """The same datetime, if it has a time zone.

    Raises:
        ValueError: it has none.
    """
    if moment.utcoffset() is None:
        raise ValueError(f"a datetime with a time zone is needed, for instance UTC: {moment!r}")
    return moment


def checked_seconds(value: object, what: str) -> float:
    """The value, if it is a time to wait.

    Raises:
        TypeError: it is no number.
        ValueError: it is not above zero.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} is a number of seconds, not {value!r}")
    if math.isnan(value) or value <= 0:
        raise ValueError(f"{what} is a time to wait, not {value} seconds")
    return value
