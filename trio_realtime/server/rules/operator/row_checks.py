"""What the fields of rows must be that another server has stored. They come from outside.

Protocol: docs/protocol/exports.md §4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trio_realtime._values.json import decode_date
from trio_realtime._values.protocol import MAX_CLIENT_ID, TEMPORARY_PREFIX
from trio_realtime._values.texts import is_unicode
from trio_realtime._values.times import ms_from_datetime
from trio_realtime.server.rules.json import date_json

Row = Mapping[str, Any]

AHEAD = 5 * 60_000
"""Milliseconds by which a time may be ahead of our clock."""

LONGEST_ID = 128
EARLIEST = 946_684_800_000
"""The year 2000: what is older is no time."""


class NotTaken(Exception):
    """Why a row cannot be taken."""


def object_of(row: Any) -> Row:
    """A row, if it is one. Raises `NotTaken`, as all of these do."""
    if not isinstance(row, Mapping):
        raise NotTaken("it is no JSON object")
    return row


def id_of(row: Row, name: str) -> str:
    """The id in a field."""
    value = row.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID or not is_unicode(value):
        raise NotTaken(f"{name} is no id")
    return value


def lasting_id(row: Row, name: str) -> str:
    """The id of a conversation that lasts."""
    return lasting(id_of(row, name))


def lasting(cid: str) -> str:
    """This id, if it is one of a conversation that lasts."""
    if cid.startswith(TEMPORARY_PREFIX):
        raise NotTaken("temporary conversations are not imported")
    return cid


def client(value: Any, name: str) -> str:
    """A client id."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_CLIENT_ID or not is_unicode(value):
        raise NotTaken(f"{name} is no client id: {value!r:.80}")
    return value


def clients(value: Any, name: str) -> list[str]:
    """Client ids, or none."""
    if value is None:
        return []
    if not isinstance(value, Iterable) or isinstance(value, str | Mapping):
        raise NotTaken(f"{name} is no array of client ids")
    return [client(one, name) for one in value]


def time(value: Any, name: str, now: int) -> int:
    """A time in milliseconds that has been."""
    if not isinstance(value, int) or isinstance(value, bool) or value < EARLIEST:
        raise NotTaken(f"{name} is no time in milliseconds")
    if value > now + AHEAD:
        raise NotTaken(f"{name} is in the future: {date_json(min(value, 2**47))['iso']}")
    return value


def date(row: Row, name: str, now: int) -> int | None:
    """The time that the date in a field is, if there is one."""
    moment = decode_date(row.get(name))
    return None if moment is None else time(ms_from_datetime(moment), name, now)
