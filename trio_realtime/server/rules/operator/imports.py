"""Taking over what another server has stored: rows of its classes and of its history.

Rows come from outside, perhaps from files that somebody has edited. One that cannot be taken is
refused by itself, with the reason; the others are taken.

Protocol: docs/protocol/exports.md §4, §5 and §8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

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

from .message_rows import ToldMessage, checked_row, imported
from .row_checks import (
    NotTaken,
    Row,
    client,
    clients,
    date,
    id_of,
    lasting_id,
    object_of,
    time,
)


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
    if kind == MESSAGES:
        _import_messages(tx, rows, result)
    else:
        taker = TAKERS[kind]
        for number, row in enumerate(rows):
            try:
                result.count(taker(tx, object_of(row)))
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
    messages: list[tuple[ToldMessage, ImportedMessage]] = []
    for number, given in enumerate(rows):
        try:
            row = given if isinstance(given, ToldMessage) else checked_row(object_of(given), tx.now)
            messages.append((row, imported(row, tx.now)))
        except NotTaken as reason:
            result.skipped.append((number, str(reason)))
    rooms = {row.to for row, _ in messages if row.is_room}
    services = {row.to for row, _ in messages if row.receiver is not None}
    cids = {row.to for row, _ in messages}
    for cid in sorted(cids - tx.which_conversations(list(cids))):
        at = min(row.timestamp for row, _ in messages if row.to == cid)
        kind = Kind.ROOM if cid in rooms else Kind.NORMAL
        kind = Kind.SERVICE if cid in services else kind
        # Older than anything that may come.
        placeholder = ConversationRow(cid, kind, creator="", created_at=at, updated_at=0)
        tx.import_conversation(placeholder, [], [])
        result.placeholders += 1
    placed = [(_line(tx, row.to, row.receiver), message) for row, message in messages]
    for outcome in tx.import_messages(placed):
        result.count(outcome)


def _line(tx: Tx, cid: str, receiver: str | None) -> str:
    """Where a message belongs."""
    if receiver is None:
        return cid
    row = tx.conversation(cid)
    is_service = row is not None and row.kind is Kind.SERVICE
    return tx.open_line(cid, receiver) if is_service else cid


def _conversation(tx: Tx, row: Row) -> ImportOutcome:
    cid = lasting_id(row, "objectId")
    kind = Kind.NORMAL
    if row.get("sys") is True:
        kind = Kind.SERVICE
    elif row.get("tr") is True:
        kind = Kind.ROOM
    created_at = date(row, "createdAt", tx.now)
    if created_at is None:
        raise NotTaken("createdAt is no date")
    name, unique_id, creator = row.get("name"), row.get("uniqueId"), row.get("c")
    conversation = ConversationRow(
        id=cid,
        kind=kind,
        creator=creator if isinstance(creator, str) else "",
        created_at=created_at,
        updated_at=date(row, "updatedAt", tx.now) or created_at,
        name=name if isinstance(name, str) else None,
        attributes={key: value for key, value in row.items() if key not in RESERVED | _NO_COLUMNS},
        unique_id=unique_id if isinstance(unique_id, str) and row.get("unique") is True else None,
        last_message_at=None if kind is Kind.SERVICE else date(row, "lm", tx.now),
    )
    members = clients(row.get("m"), "m") if kind is Kind.NORMAL else []
    if kind is Kind.SERVICE:
        # Who has subscribed stands elsewhere.
        members = tx.members(cid) if tx.conversation(cid) is not None else []
    return tx.import_conversation(conversation, members, clients(row.get("mu"), "mu"))


_NO_COLUMNS = frozenset({"name", "ACL", "__type", "className"})


def _role(tx: Tx, row: Row) -> ImportOutcome:
    cid, name, role = id_of(row, "cid"), client(row.get("clientId"), "clientId"), row.get("role")
    if role not in set(MemberRole):
        raise NotTaken("role is none of Owner, Manager and Member")
    _require(tx, cid)
    return tx.import_role(cid, name, str(role), id_of(row, "objectId"))


def _service_message(tx: Tx, row: Row) -> ImportOutcome:
    conv = row.get("conv")
    cid = conv.get("objectId") if isinstance(conv, Mapping) else conv
    mid, sender = id_of(row, "msgId"), client(row.get("from"), "from")
    at = time(row.get("timestamp"), "timestamp", tx.now)
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
            "createdAt": date_json(date(row, "createdAt", tx.now) or at),
            "updatedAt": date_json(date(row, "updatedAt", tx.now) or at),
        },
    )
    return "new"


def _list(tx: Tx, row: Row) -> ImportOutcome:
    cid = id_of(row, "conv_id")
    _require(tx, cid)
    outcome: ImportOutcome = "known"
    for listing, name in ((Listing.SILENCED, "silenced"), (Listing.BLOCKED, "blocked")):
        ids = clients(row.get(name), name)
        new = set(ids) - tx.which_listed(listing, cid, ids)
        if new:
            tx.add_listed(listing, cid, [one for one in ids if one in new])
            outcome = "new"
    return outcome


def _subscriber(tx: Tx, row: Row) -> ImportOutcome:
    cid, name = id_of(row, "conv_id"), client(row.get("subscriber"), "subscriber")
    _require(tx, cid)
    return tx.import_subscriber(cid, name, time(row.get("timestamp"), "timestamp", tx.now))


def _client_block(tx: Tx, row: Row) -> ImportOutcome:
    cid, name = id_of(row, "conv_id"), client(row.get("client_id"), "client_id")
    _require(tx, cid)
    block_conversation(tx, name, cid)
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

MESSAGES = "messages"
KINDS = frozenset({*TAKERS, MESSAGES})


def _require(tx: Tx, cid: str) -> None:
    if tx.conversation(cid) is None:
        raise NoConversation
