"""Changing a conversation's name and attributes. Protocol: docs/protocol/conversations.md §4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.interface import ConversationRow, Kind, Tx
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    OpType,
)

from .checks import conv_of, existing, refuse, require_member
from .json import BadJson, changed, is_operation, iso, json_text, parse_object, touched
from .notifications import Notices
from .start import MAX_ATTRIBUTES, RESERVED
from .types import Caller, Outcome, Push


def update(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``update``: members change attributes; the other members hear of it."""
    message = conv_of(command)
    row = existing(tx, message.cid)
    if row.kind in {Kind.TEMPORARY, Kind.SERVICE}:
        refuse(ErrorCode.CONVERSATION_READ_ONLY)
    require_member(tx, caller, row, ErrorCode.CONVERSATION_UPDATE_REJECTED)
    text = message.attr.data if message.attr is not None else None
    try:
        changes = parse_object(text, caller.json_depth)
        document = change(tx, row, changes, caller.json_depth)
    except BadJson as exc:
        refuse(ErrorCode.CONVERSATION_UPDATE_FAILED, str(exc), exc.limit)
    modified = touched(document, changes)
    reply = GenericCommand(
        cmd=CommandType.CONV,
        op=OpType.UPDATED,
        conv_message=ConvCommand(
            cid=row.id,
            udate=iso(tx.now if changes else row.updated_at),
            attr=message.attr,
            attr_modified=JsonObjectMessage(data=json_text(modified)),
        ),
    )
    if not changes:
        return Outcome(reply)
    return Outcome(reply, change_pushes(tx, row, changes, modified, by=caller.client_id))


def change_pushes(
    tx: Tx,
    row: ConversationRow,
    changes: Mapping[str, Any],
    modified: Mapping[str, Any],
    *,
    by: str,
) -> list[Push]:
    """The news of a change for the members."""
    notices = Notices(tx, row, by)
    notices.to_members(
        OpType.UPDATED,
        tx.members(row.id),
        notices.message(
            attr=JsonObjectMessage(data=json_text(_settled(changes, modified))),
            attr_modified=JsonObjectMessage(data=json_text(modified)),
        ),
        permanent=False,
        except_actor=True,
    )
    return notices.pushes


def change(
    tx: Tx, row: ConversationRow, changes: Mapping[str, Any], max_depth: int
) -> dict[str, Any]:
    """Store changes of name and custom columns; returns both as one document.

    Raises `BadJson`, among others for keys that are the server's.
    """
    for path in changes:
        if path.partition(".")[0] in RESERVED:
            raise BadJson(f"{path!r} cannot be changed")
    named = {} if row.name is None else {"name": row.name}
    document = changed({**row.attributes, **named}, changes, max_depth)
    attributes = {key: value for key, value in document.items() if key != "name"}
    name = document.get("name")
    if name is not None and not isinstance(name, str):
        raise BadJson("the name is not a string")
    if len(json_text(attributes).encode()) > MAX_ATTRIBUTES:
        raise BadJson(f"the attributes would take more than {MAX_ATTRIBUTES} bytes")
    if changes:
        tx.update_conversation(row.id, name=name, attributes=attributes)
        if name is None and row.name is not None:
            tx.clear_name(row.id)
    return document


def _settled(changes: Mapping[str, Any], modified: Mapping[str, Any]) -> dict[str, Any]:
    """The changes for others: operations replaced by what came out.

    The JavaScript SDK takes these values as they are. Deletions have no value and stay.
    """
    settled = dict(changes)
    for path, value in changes.items():
        if is_operation(value) and not is_operation(value, "Delete"):
            result: Any = modified
            for key in path.split("."):
                result = result.get(key) if isinstance(result, Mapping) else None
            settled[path] = result
    return settled
