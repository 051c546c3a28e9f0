"""Taking over what another server has stored: rows of its classes and of its history.

Rows come from outside, perhaps from files that somebody has edited. One that cannot be taken is
refused by itself, with the reason; the others are taken.

Protocol: docs/protocol/exports.md §4, §5 and §8.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from trio_realtime._values.json import decode_date
from trio_realtime._values.protocol import MAX_CLIENT_ID, TEMPORARY_PREFIX
from trio_realtime._values.texts import is_unicode
from trio_realtime._values.times import ms_from_datetime
from trio_realtime.server.rules.bodies import RECALLED, lctype_of
from trio_realtime.server.rules.checks import MemberRole
from trio_realtime.server.rules.client_blocks import block_conversation
from trio_realtime.server.rules.direct import SERVICE_MESSAGES
from trio_realtime.server.rules.json import date_json
from trio_realtime.server.rules.start import RESERVED
from trio_realtime.server.store.interface import (
    ConversationRow,
    ImportedMessage,
    ImportOutcome,
    Kind,
    Listing,
    NotStorable,
    StoreError,
    Tx,
)

Row = Mapping[str, Any]

AHEAD = 5 * 60_000
"""Milliseconds by which a time may be ahead of our clock."""

LONGEST_ID = 128
LARGEST_BODY = 64 * 1024
"""Bytes of a body; servers take 5 KiB."""

LARGEST_COLUMNS = 1024 * 1024
EARLIEST = 946_684_800_000
"""The year 2000: what is older is no time."""


class NotTaken(Exception):
    """Why a row cannot be taken."""


class NoConversation(NotTaken):
    """The row is of a conversation that is not here."""

    def __init__(self) -> None:
        super().__init__("there is no such conversation")


class Undo(Exception):
    """Undoes a rule that was only tried."""

    def __init__(self, result: Imported) -> None:
        super().__init__()
        self.result = result


@attrs.define
class Imported:
    """What became of rows."""

    new: int = 0
    changed: int = 0
    known: int = 0
    placeholders: int = 0
    """Conversations that were made because messages name them and nothing else does."""
    skipped: list[tuple[int, str]] = attrs.field(factory=list)
    """The number of a row, from 0, and why it was not taken."""

    def count(self, outcome: ImportOutcome) -> None:
        """Count what became of a row."""
        setattr(self, outcome, getattr(self, outcome) + 1)

    def to_json(self) -> dict[str, Any]:
        """As it is answered."""
        return attrs.asdict(self)


def import_rows(tx: Tx, kind: str, rows: Sequence[Any], *, dry_run: bool) -> Imported:
    """Take rows of a kind. With ``dry_run`` nothing is kept: raises `Undo`.

    What is only tried finds no conversation of those that were tried before, so that it is not
    told whether there is one.
    """
    result = Imported()
    if kind == "messages":
        _import_messages(tx, rows, result)
    else:
        taker = TAKERS[kind]
        for number, row in enumerate(rows):
            try:
                result.count(taker(tx, _object(row)))
            except NotTaken as reason:
                if dry_run and isinstance(reason, NoConversation):
                    result.count("new")
                else:
                    result.skipped.append((number, str(reason)))
            except (NotStorable, StoreError) as error:
                result.skipped.append((number, f"it cannot be stored: {error}"))
    if dry_run:
        raise Undo(result)
    return result


def _import_messages(tx: Tx, rows: Sequence[Any], result: Imported) -> None:
    messages: list[tuple[str, ImportedMessage]] = []
    receivers: list[str | None] = []
    rooms: set[str] = set()
    for number, row in enumerate(rows):
        try:
            given = _object(row)
            cid = _lasting_id(given, "to")
            receiver = _receiver(given)
            messages.append((cid, _message(given, tx.now)))
        except NotTaken as reason:
            result.skipped.append((number, str(reason)))
            continue
        receivers.append(receiver)
        if given.get("is-room") is True:
            rooms.add(cid)
    services = {cid for (cid, _), receiver in zip(messages, receivers, strict=True) if receiver}
    cids = {cid for cid, _ in messages}
    for cid in sorted(cids - tx.which_conversations(list(cids))):
        at = min(message.timestamp for named, message in messages if named == cid)
        kind = Kind.ROOM if cid in rooms else Kind.NORMAL
        kind = Kind.SERVICE if cid in services else kind
        # Older than anything that may come.
        placeholder = ConversationRow(cid, kind, creator="", created_at=at, updated_at=0)
        tx.import_conversation(placeholder, [], [])
        result.placeholders += 1
    named = [
        (_line(tx, cid, receiver), message)
        for (cid, message), receiver in zip(messages, receivers, strict=True)
    ]
    for outcome in tx.import_messages(named):
        result.count(outcome)


def _receiver(row: Row) -> str | None:
    """Whom a service said it to alone, in an archive of a server like this one."""
    receiver = row.get("to-client")
    return None if receiver is None else _client(receiver, "to-client")


def _line(tx: Tx, cid: str, receiver: str | None) -> str:
    """Where a message belongs."""
    if receiver is None:
        return cid
    row = tx.conversation(cid)
    is_service = row is not None and row.kind is Kind.SERVICE
    return tx.open_line(cid, receiver) if is_service else cid


def _message(row: Row, now: int) -> ImportedMessage:
    data = row.get("data")
    if not isinstance(data, str):
        raise NotTaken("data is no text")
    body: str | bytes = data
    if row.get("bin") is True:
        try:
            body = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise NotTaken("data is not base64, as it should be of a binary message") from None
    elif not is_unicode(data):
        # It cannot be kept otherwise, and no client could show it.
        body = data.encode("utf-8", "replace").decode()
    if len(data) > LARGEST_BODY:
        raise NotTaken(f"data has more than {LARGEST_BODY:,} characters")
    lctype = lctype_of(body)
    ack_at = row.get("ack-at")
    return ImportedMessage(
        id=_id(row, "msg-id"),
        sender=_client(row.get("from"), "from"),
        timestamp=_time(row.get("timestamp"), "timestamp", now),
        body=body,
        recalled=lctype == RECALLED,
        lctype=lctype,
        ack_at=ack_at if isinstance(ack_at, int) and 0 < ack_at < 2**53 else None,
        address=_address(row.get("from-ip")),
    )


def _address(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) <= LONGEST_ID else None


def _conversation(tx: Tx, row: Row) -> ImportOutcome:
    cid = _lasting_id(row, "objectId")
    kind = Kind.NORMAL
    if row.get("sys") is True:
        kind = Kind.SERVICE
    elif row.get("tr") is True:
        kind = Kind.ROOM
    created_at = _date(row, "createdAt", tx.now)
    if created_at is None:
        raise NotTaken("createdAt is no date")
    name, unique_id, creator = row.get("name"), row.get("uniqueId"), row.get("c")
    conversation = ConversationRow(
        id=cid,
        kind=kind,
        creator=creator if isinstance(creator, str) else "",
        created_at=created_at,
        updated_at=_date(row, "updatedAt", tx.now) or created_at,
        name=name if isinstance(name, str) else None,
        attributes={key: value for key, value in row.items() if key not in RESERVED | _NO_COLUMNS},
        unique_id=unique_id if isinstance(unique_id, str) and row.get("unique") is True else None,
        last_message_at=None if kind is Kind.SERVICE else _date(row, "lm", tx.now),
    )
    members = _clients(row.get("m"), "m") if kind is Kind.NORMAL else []
    if kind is Kind.SERVICE:
        # Who has subscribed stands elsewhere.
        members = tx.members(cid) if tx.conversation(cid) is not None else []
    return tx.import_conversation(conversation, members, _clients(row.get("mu"), "mu"))


_NO_COLUMNS = frozenset({"name", "ACL", "__type", "className"})


def _role(tx: Tx, row: Row) -> ImportOutcome:
    cid, client, role = _id(row, "cid"), _client(row.get("clientId"), "clientId"), row.get("role")
    if role not in set(MemberRole):
        raise NotTaken("role is none of Owner, Manager and Member")
    _require(tx, cid)
    return tx.import_role(cid, client, str(role), _id(row, "objectId"))


def _service_message(tx: Tx, row: Row) -> ImportOutcome:
    conv = row.get("conv")
    cid = conv.get("objectId") if isinstance(conv, Mapping) else conv
    mid, sender = _id(row, "msgId"), _client(row.get("from"), "from")
    at = _time(row.get("timestamp"), "timestamp", tx.now)
    if not isinstance(cid, str) or not isinstance(row.get("data"), str):
        raise NotTaken("conv or data is missing")
    key = f"{cid}/{mid}"
    if tx.document(SERVICE_MESSAGES, key) is not None:
        return "known"
    tx.put_document(
        SERVICE_MESSAGES,
        key,
        {
            "msgId": mid,
            "conv": {"__type": "Pointer", "className": "_Conversation", "objectId": cid},
            "from": sender,
            "fromIp": str(row.get("fromIp") or ""),
            "data": row["data"],
            "bin": row.get("bin") is True,
            "timestamp": at,
            "createdAt": date_json(_date(row, "createdAt", tx.now) or at),
            "updatedAt": date_json(_date(row, "updatedAt", tx.now) or at),
        },
    )
    return "new"


def _list(tx: Tx, row: Row) -> ImportOutcome:
    cid = _id(row, "conv_id")
    _require(tx, cid)
    outcome: ImportOutcome = "known"
    for listing, name in ((Listing.SILENCED, "silenced"), (Listing.BLOCKED, "blocked")):
        ids = _clients(row.get(name), name)
        new = set(ids) - tx.which_listed(listing, cid, ids)
        if new:
            tx.add_listed(listing, cid, [one for one in ids if one in new])
            outcome = "new"
    return outcome


def _subscriber(tx: Tx, row: Row) -> ImportOutcome:
    cid, client = _id(row, "conv_id"), _client(row.get("subscriber"), "subscriber")
    _require(tx, cid)
    return tx.import_subscriber(cid, client, _time(row.get("timestamp"), "timestamp", tx.now))


def _client_block(tx: Tx, row: Row) -> ImportOutcome:
    cid, client = _id(row, "conv_id"), _client(row.get("client_id"), "client_id")
    _require(tx, cid)
    block_conversation(tx, client, cid)
    return "new"


TAKERS: Mapping[str, Callable[[Tx, Row], ImportOutcome]] = {
    "conversations": _conversation,
    "member-infos": _role,
    "service-messages": _service_message,
    "lists": _list,
    "subscribers": _subscriber,
    "client-blocks": _client_block,
}
"""What takes a row of each kind."""

KINDS = frozenset({*TAKERS, "messages"})


def _require(tx: Tx, cid: str) -> None:
    if tx.conversation(cid) is None:
        raise NoConversation


def _object(row: Any) -> Row:
    if not isinstance(row, Mapping):
        raise NotTaken("it is no JSON object")
    return row


def _id(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID or not is_unicode(value):
        raise NotTaken(f"{name} is no id")
    return value


def _lasting_id(row: Row, name: str) -> str:
    cid = _id(row, name)
    if cid.startswith(TEMPORARY_PREFIX):
        raise NotTaken("temporary conversations are not imported")
    return cid


def _client(value: Any, name: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_CLIENT_ID or not is_unicode(value):
        raise NotTaken(f"{name} is no client id: {value!r:.80}")
    return value


def _clients(value: Any, name: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, Iterable) or isinstance(value, str | Mapping):
        raise NotTaken(f"{name} is no array of client ids")
    return [_client(one, name) for one in value]


def _time(value: Any, name: str, now: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < EARLIEST:
        raise NotTaken(f"{name} is no time in milliseconds")
    if value > now + AHEAD:
        raise NotTaken(f"{name} is in the future: {date_json(min(value, 2**47))['iso']}")
    return value


def _date(row: Row, name: str, now: int) -> int | None:
    moment = decode_date(row.get(name))
    return None if moment is None else _time(ms_from_datetime(moment), name, now)
