"""What a service says to all clients of an app, whether they have subscribed or not.

It is kept as what the service says to its subscribers, who find it among all the rest. For others
it is noted until when it is valid: whoever logs in until then is pushed it, until he acknowledges
it; of those who never had one, the newest alone.

Protocol: docs/protocol/rest.md §6.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.ids import message_id
from trio_realtime.server.store.interface import Kind, MessageRow, Tx
from trio_realtime.wire import GenericCommand

from . import service as services
from .bodies import direct_command
from .checks import refuse
from .types import Everyone, Push, Refusal

LONGEST = 31 * 86_400_000
"""Milliseconds that a broadcast is valid at most, and by default."""

MOST = 200
"""Broadcasts of an app that are valid at one time."""

BAD_VALUE = 1

_NOTES = "_Broadcast"
_SEEN = "_BroadcastSeen"
_PUSHED_AT_ONCE = 20


@attrs.frozen
class Broadcast:
    """What is to be said to everybody, and until when it is news."""

    valid_till: int | None = None
    """Milliseconds since the epoch; None: as long as may be."""
    transient: bool = False
    """Only for who is online now."""


def send(
    tx: Tx,
    cid: str,
    sender: str,
    body: str | bytes,
    push_data: str | None,
    address: str,
    wanted: Broadcast,
) -> tuple[MessageRow, list[Push]]:
    """Say it to all who are online, and note it for the others."""
    services.check_broadcast(tx, cid, sender, body)
    until = tx.now + LONGEST if wanted.valid_till is None else wanted.valid_till
    if not tx.now < until <= tx.now + LONGEST:
        raise Refusal(BAD_VALUE, "BAD_VALUE", "valid_till is a time of the next 31 days")
    if wanted.transient:
        message = MessageRow(
            id=message_id(),
            conversation_id=cid,
            kind=Kind.SERVICE,
            sender=sender,
            timestamp=tx.next_timestamp(cid),
            body=body,
        )
    else:
        _forget_expired(tx)
        if len(tx.documents(_NOTES, limit=MOST)) >= MOST:
            raise Refusal(BAD_VALUE, "TOO_MANY_BROADCASTS", f"{MOST} are valid now")
        message, _ = services.broadcast(tx, cid, sender, body, push_data, address)
        note = {"cid": cid, "mid": message.id, "validTill": until}
        tx.put_document(_NOTES, _key(message.timestamp, message.id), note)
    push = Push(
        Everyone(),
        direct_command(message, transient=wanted.transient),
        conversation_id=cid,
        place=None if wanted.transient else message.timestamp,
    )
    return message, [push]


def valid(tx: Tx, after: str | None = None) -> list[tuple[MessageRow, int]]:
    """The broadcasts that are valid, oldest first, each with the end of it."""
    found: list[tuple[MessageRow, int]] = []
    for _, note in tx.documents(_NOTES, after=after, limit=MOST):
        message = tx.message(note["cid"], note["mid"]) if note["validTill"] > tx.now else None
        if message is not None and not message.recalled:
            found.append((message, note["validTill"]))
    return found


def withdraw(tx: Tx, mid: str) -> None:
    """Take back what was said: who does not have it yet gets it no more. Refuses what is unknown."""
    for key, note in tx.documents(_NOTES, limit=MOST):
        if note["mid"] == mid:
            tx.delete_document(_NOTES, key)
            tx.delete_message(note["cid"], mid)
            return
    refuse(ErrorCode.MESSAGE_NOT_FOUND)


def missed(tx: Tx, client_id: str) -> Sequence[GenericCommand]:
    """What is valid and the client does not have, as it is pushed to him when he logs in."""
    if not tx.documents(_NOTES, limit=1):
        return ()
    seen = tx.document(_SEEN, client_id)
    later = valid(tx, None if seen is None else _behind(seen["at"]))
    news = [message for message, _ in later if not tx.is_member(message.conversation_id, client_id)]
    kept = news[-1:] if seen is None else news[-_PUSHED_AT_ONCE:]
    return [direct_command(message, offline=True) for message in kept]


def acknowledge(tx: Tx, client_id: str, cid: str, first: int, last: int) -> None:
    """A client has what a service said in this time; what was a broadcast is none to him any more."""
    notes = tx.documents(_NOTES, after=_behind(first - 1), limit=MOST)
    times = [_time_of(key) for key, note in notes if note["cid"] == cid]
    seen = tx.document(_SEEN, client_id)
    latest = max((at for at in times if at <= last), default=0)
    if latest > (seen["at"] if seen else 0):
        tx.put_document(_SEEN, client_id, {"at": latest})
        # Each pays for some who have not been here for long.
        for name, mark in tx.documents(_SEEN, after=client_id, limit=2):
            if mark["at"] < tx.now - LONGEST:
                tx.delete_document(_SEEN, name)


def _forget_expired(tx: Tx) -> None:
    for key, note in tx.documents(_NOTES, limit=MOST):
        if note["validTill"] <= tx.now or tx.message(note["cid"], note["mid"]) is None:
            tx.delete_document(_NOTES, key)


def _key(timestamp: int, mid: str) -> str:
    return f"{timestamp:015d}/{mid}"


def _behind(timestamp: int) -> str:
    """A key behind all of this time, and before those of later ones."""
    return f"{timestamp:015d}0"


def _time_of(key: str) -> int:
    return int(key.partition("/")[0])
