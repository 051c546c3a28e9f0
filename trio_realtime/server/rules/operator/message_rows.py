"""Rows of the history of another server: many, so they are read and checked in one go.

One that is not as it should be is looked at field by field, so that the reason can be told.

Protocol: docs/protocol/rest.md §4, docs/protocol/exports.md §5.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated

import msgspec

from trio_realtime._values.protocol import MAX_CLIENT_ID
from trio_realtime._values.texts import is_unicode
from trio_realtime.server.rules.bodies import RECALLED, lctype_of
from trio_realtime.server.store.interface import ImportedMessage

from .row_checks import EARLIEST, LONGEST_ID, NotTaken, Row, client, id_of, lasting, time

LARGEST_BODY = 64 * 1024
"""Characters of a body; servers take 5 KiB."""

LARGEST_TIME = 2**53

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ID)]
_Client = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CLIENT_ID)]
_Address = Annotated[str, msgspec.Meta(max_length=LONGEST_ID)]


class ToldMessage(msgspec.Struct, gc=False):
    """A message as another server tells of it."""

    to: _Id
    """The conversation."""
    id: _Id = msgspec.field(name="msg-id")
    sender: _Client = msgspec.field(name="from")
    timestamp: Annotated[int, msgspec.Meta(ge=EARLIEST, lt=LARGEST_TIME)]
    data: Annotated[str, msgspec.Meta(max_length=LARGEST_BODY)]
    bin: bool = False
    is_room: bool = msgspec.field(name="is-room", default=False)
    ack_at: Annotated[int, msgspec.Meta(gt=0, lt=LARGEST_TIME)] | None = msgspec.field(
        name="ack-at", default=None
    )
    address: _Address | None = msgspec.field(name="from-ip", default=None)
    receiver: _Client | None = msgspec.field(name="to-client", default=None)
    """Whom a service said it to alone, in an archive of a server like this one."""


row_from: Callable[[bytes | str], ToldMessage] = msgspec.json.Decoder(ToldMessage).decode
"""Read a line. Raises `msgspec.MsgspecError` and what else decoding raises."""


def checked_row(row: Row, now: int) -> ToldMessage:
    """A row that was not read in one go. Raises `NotTaken`."""
    cid, data = lasting(id_of(row, "to")), row.get("data")
    if not isinstance(data, str):
        raise NotTaken("data is no text")
    if len(data) > LARGEST_BODY:
        raise NotTaken(f"data has more than {LARGEST_BODY:,} characters")
    binary = row.get("bin") is True
    if not binary and not is_unicode(data):
        # It cannot be kept otherwise, and no client could show it.
        data = data.encode("utf-8", "replace").decode()
    ack_at, address, receiver = row.get("ack-at"), row.get("from-ip"), row.get("to-client")
    return ToldMessage(
        to=cid,
        id=id_of(row, "msg-id"),
        sender=client(row.get("from"), "from"),
        timestamp=time(row.get("timestamp"), "timestamp", now),
        data=data,
        bin=binary,
        is_room=row.get("is-room") is True,
        ack_at=ack_at if isinstance(ack_at, int) and 0 < ack_at < LARGEST_TIME else None,
        address=address if isinstance(address, str) and len(address) <= LONGEST_ID else None,
        receiver=None if receiver is None else client(receiver, "to-client"),
    )


def imported(row: ToldMessage, now: int) -> ImportedMessage:
    """What is to be stored. Raises `NotTaken`."""
    lasting(row.to)
    body: str | bytes = row.data
    if row.bin:
        try:
            body = base64.b64decode(row.data, validate=True)
        except (binascii.Error, ValueError):
            raise NotTaken("data is not base64, as it should be of a binary message") from None
    lctype = lctype_of(body)
    return ImportedMessage(
        row.id,
        row.sender,
        time(row.timestamp, "timestamp", now),
        body,
        lctype == RECALLED,
        lctype,
        row.ack_at,
        row.address,
    )
