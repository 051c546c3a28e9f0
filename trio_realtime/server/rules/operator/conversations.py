"""Conversations the operator makes, changes and removes, and who belongs to them.

Protocol: docs/protocol/rest.md §3, §5, §6 and §8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.rules.checks import MAX_MEMBERS, checked_ids, refuse
from trio_realtime.server.rules.json import BadJson, changed, iso, json_text, touched
from trio_realtime.server.rules.members import add_clients, remove_clients
from trio_realtime.server.rules.query import Facts
from trio_realtime.server.rules.start import (
    RESERVED,
    attributes_of,
    created_pushes,
    same_members,
    unique_id,
)
from trio_realtime.server.rules.types import Push
from trio_realtime.server.rules.update import change, change_pushes
from trio_realtime.server.store.interface import ConversationRow, Kind, Tx

from .result import Result, conversation_of

BODY_DEPTH = 32
"""How deep what is stored with a conversation may nest."""


def row_json(tx: Tx, row: ConversationRow) -> dict[str, Any]:
    """One conversation as the operator sees it."""
    return rows_json(tx, [row])[0]


def rows_json(tx: Tx, rows: Sequence[ConversationRow]) -> list[dict[str, Any]]:
    """Conversations as the operator sees them."""
    facts = Facts.about(tx, rows, None)
    return [facts.json(row) for row in rows]


def create(tx: Tx, kind: Kind, given: Mapping[str, Any]) -> Result:
    """Make a conversation with members, name and columns of its own; answers its row.

    What is asked for as unique is found again by the same members.
    """
    try:
        # Storage SDKs write what they add to a new row as operations.
        given = changed({}, given, BODY_DEPTH)
    except BadJson as exc:
        refuse(ErrorCode.CONVERSATION_API_FAILED, str(exc), exc.limit)
    members = _ids(given.get("m", []), "m")
    creator = given.get("c", "")
    if not isinstance(creator, str):
        refuse(ErrorCode.CONVERSATION_API_FAILED, "c is not a client id")
    if creator:
        checked_ids([creator])
    name, attributes = _columns(given)
    if kind is not Kind.NORMAL:
        if members:
            refuse(ErrorCode.NORMAL_CONVERSATION_REQUIRED, "only conversations have members")
        row = tx.create_conversation(kind=kind, creator=creator, name=name, attributes=attributes)
        return Result(row_json(tx, row))
    if len(members) > MAX_MEMBERS:
        refuse(ErrorCode.CONVERSATION_FULL)
    mark = None
    if given.get("unique") is True and members:
        members.sort()
        mark = unique_id(members)
        found = same_members(tx, mark, Kind.NORMAL, members)
        if found is not None:
            return Result(row_json(tx, found))
        # By its members it is found only while its creator is one of them.
        creator = creator if creator in members else members[0]
    row = tx.create_conversation(
        kind=kind,
        creator=creator,
        members=members,
        name=name,
        attributes=attributes,
        unique_id=mark,
    )
    return Result(row_json(tx, row), created_pushes(tx, row, members) if members else [])


def update(tx: Tx, cid: str, given: Mapping[str, Any], *kinds: Kind) -> Result:
    """Change name and columns, and with ``m`` and ``mu`` members and do-not-disturb."""
    row = conversation_of(tx, cid, *kinds)
    changes = {
        path: value for path, value in given.items() if path.partition(".")[0] not in RESERVED
    }
    pushes: list[Push] = []
    try:
        document = change(tx, row, changes, BODY_DEPTH)
        if "m" in given:
            pushes += _change_members(tx, row, given["m"])
        if "mu" in given:
            _change_muted(tx, row, given["mu"])
    except BadJson as exc:
        refuse(ErrorCode.CONVERSATION_UPDATE_FAILED, str(exc), exc.limit)
    if changes:
        pushes += change_pushes(tx, row, changes, touched(document, changes), by="")
    return Result(_updated(conversation_of(tx, cid)), pushes)


def delete(tx: Tx, cid: str, *kinds: Kind) -> Result:
    """Remove a conversation with all that was said in it."""
    conversation_of(tx, cid, *kinds)
    tx.delete_conversation(cid)
    return Result({})


def add(tx: Tx, cid: str, client_ids: Sequence[str], *kinds: Kind) -> Result:
    """Make these clients members."""
    row = conversation_of(tx, cid, *kinds)
    done = add_clients(tx, row, checked_ids(client_ids), by="")
    done.verdict.require_all()
    return Result(_updated(conversation_of(tx, cid)), done.pushes)


def remove(tx: Tx, cid: str, client_ids: Sequence[str], *kinds: Kind) -> Result:
    """End the membership of these clients."""
    row = conversation_of(tx, cid, *kinds)
    done = remove_clients(tx, row, checked_ids(client_ids), by="")
    done.verdict.require_all()
    return Result(_updated(conversation_of(tx, cid)), done.pushes)


def mute(tx: Tx, cid: str, client_ids: Sequence[str], *kinds: Kind, muted: bool) -> Result:
    """Set or lift do-not-disturb of these members."""
    row = conversation_of(tx, cid, *kinds)
    ids = checked_ids(client_ids)
    if muted and not set(ids) <= set(tx.members(cid)):
        refuse(ErrorCode.CONVERSATION_MEMBERSHIP_REQUIRED)
    for client_id in ids:
        tx.set_muted(cid, client_id, muted)
    return Result(_updated(row))


def _updated(row: ConversationRow) -> dict[str, Any]:
    return {"updatedAt": iso(row.updated_at), "objectId": row.id}


def _columns(given: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    try:
        text = json_text(dict(given))
    except (ValueError, RecursionError) as exc:
        refuse(ErrorCode.CONVERSATION_API_FAILED, f"the columns are not JSON: {exc}")
    return attributes_of(text, BODY_DEPTH)


def _ids(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        refuse(ErrorCode.CONVERSATION_API_FAILED, f"{name} is not an array of client ids")
    return checked_ids(value) if value else []


def _change_members(tx: Tx, row: ConversationRow, value: Any) -> list[Push]:
    if row.kind is not Kind.NORMAL:
        refuse(ErrorCode.NORMAL_CONVERSATION_REQUIRED, "only conversations have members")
    members = tx.members(row.id)
    new, gone = _difference(members, value, "m")
    pushes: list[Push] = []
    if gone:
        removed = remove_clients(tx, row, gone, by="")
        removed.verdict.require_all()
        pushes += removed.pushes
    if new:
        added = add_clients(tx, row, new, by="")
        added.verdict.require_all()
        pushes += added.pushes
    return pushes


def _change_muted(tx: Tx, row: ConversationRow, value: Any) -> None:
    new, gone = _difference(tx.muted_by(row.id), value, "mu")
    for client_id in gone:
        tx.set_muted(row.id, client_id, False)
    for client_id in new:
        tx.set_muted(row.id, client_id, True)


def _difference(present: Sequence[str], value: Any, name: str) -> tuple[list[str], list[str]]:
    """Who is new and who is gone after an operation on an array, or a whole array."""
    if not isinstance(value, dict):
        wanted = _ids(value, name)
        return [i for i in wanted if i not in present], [i for i in present if i not in wanted]
    ids = _ids(value.get("objects"), name)
    match value.get("__op"):
        case "Add" | "AddUnique":
            return [i for i in ids if i not in present], []
        case "Remove":
            return [], [i for i in ids if i in present]
    raise BadJson(f"{name} takes Add, AddUnique and Remove")
