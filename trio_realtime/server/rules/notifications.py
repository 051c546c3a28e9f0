"""What members are told about a change, live and later.

Protocol: docs/protocol/conversations.md §9, docs/protocol/session.md §7.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from trio_realtime.server.store.interface import ConversationRow, Kind, NotificationRow, Tx
from trio_realtime.wire import CommandType, ConvCommand, GenericCommand, OpType

from .json import iso
from .types import Clients, Feature, Push, Room

PERMANENT = 1
"""``notificationType`` of what is kept for replay."""

_MAX_PAGE = 100


class Notices:
    """Collects the pushes of one operation: one actor, one conversation, one instant."""

    def __init__(self, tx: Tx, conversation: ConversationRow, by: str) -> None:
        self.pushes: list[Push] = []
        self._tx = tx
        self._conversation = conversation
        self._by = by
        self._kept = 0

    def personal(self, op: OpType, to: Sequence[str]) -> None:
        """Tell the clients concerned, also those that are offline now."""
        if not to:
            return
        message = self.message()
        # The store spaces what one client gets in one instant by a millisecond.
        self._push(op, Clients(list(to)), message, at=self._tx.now + self._kept)
        self._kept += 1
        item = {
            "cmd": "conv",
            "op": op_name(op),
            "cid": message.cid,
            "initBy": message.init_by,
            "udate": message.udate,
        }
        self._tx.keep_notification(to, item)

    def shared(self, op: OpType, members: Sequence[str], about: Sequence[str]) -> None:
        """Tell the members, all of their sessions, what happened to some of them."""
        if about:
            self.to_members(op, members, self.message(m=list(about)))

    def to_members(
        self,
        op: OpType,
        members: Sequence[str],
        message: ConvCommand,
        *,
        permanent: bool = True,
        except_actor: bool = False,
    ) -> None:
        """Push to the members, or to who is in the chat room."""
        if self._conversation.kind is Kind.ROOM:
            audience: Clients | Room = Room(self._conversation.id)
        elif members:
            audience = Clients(list(members))
        else:
            return
        self._push(op, audience, message, permanent=permanent, except_actor=except_actor)

    def message(self, **fields: Any) -> ConvCommand:
        """A payload that names conversation, actor and time."""
        return ConvCommand(
            cid=self._conversation.id,
            init_by=self._by,
            udate=iso(self._tx.now),
            **fields,
        )

    def _push(
        self,
        op: OpType,
        audience: Clients | Room,
        message: ConvCommand,
        *,
        at: int | None = None,
        permanent: bool = True,
        except_actor: bool = False,
    ) -> None:
        temporary = self._conversation.kind is Kind.TEMPORARY
        command = GenericCommand(
            cmd=CommandType.CONV,
            op=op,
            # The instant of the change: clients ask for replay from the last one they saw.
            server_ts=self._tx.now if at is None else at,
            notification_type=PERMANENT if permanent else None,
            conv_message=message,
        )
        self.pushes.append(
            Push(
                audience,
                command,
                except_actor=except_actor,
                needs=Feature.TEMPORARY_CONVERSATIONS if temporary else Feature(0),
                conversation_id=self._conversation.id,
            )
        )


def op_name(op: OpType) -> str:
    """The name of an operation in JSON."""
    return OpType(op).name.lower().replace("_", "-")


def notifications_json(
    tx: Tx,
    client_id: str,
    after: int,
    limit: int = 100,
    kind: Literal["permanent"] | None = None,
) -> dict[str, Any]:
    """What a client missed after a time in milliseconds, oldest first.

    With ``kind`` "permanent", the form for the JavaScript SDK, which understands only
    ``joined`` and ``left``; without, the form for the Swift SDK.

    Protocol: docs/protocol/session.md §7.
    """
    limit = max(1, min(limit, _MAX_PAGE))
    later = tx.notifications(client_id, after - 1, limit=1)
    if after > tx.now and not later:
        # Nothing was given that time: the clock was set back since it was ours.
        after = 0
    elif not later or later[0].timestamp != after:
        # The times of what one client is told never go back, those of what all are told may.
        after = tx.earliest(after)
    wanted = {"joined", "left"} if kind == "permanent" else None
    items, more = _page(tx, client_id, after, limit, wanted)
    page = {"hasMore": more, "notifications": items}
    if kind == "permanent":
        return page
    # What concerns all members is not kept for each of them: whoever missed anything is
    # told to read its conversations again.
    stale = {"invalidLocalConvCache": True, "notifications": []}
    return {"permanent": page, "droppable": stale}


def _page(
    tx: Tx, client_id: str, after: int, limit: int, wanted: set[str] | None
) -> tuple[list[dict[str, Any]], bool]:
    found: list[NotificationRow] = []
    while len(found) <= limit:
        rows = tx.notifications(client_id, after, limit=limit + 1)
        found += [row for row in rows if wanted is None or row.item["op"] in wanted]
        if len(rows) <= limit:
            break
        after = rows[-1].timestamp
    items = [
        {**row.item, "serverTs": row.timestamp, "notificationType": PERMANENT}
        for row in found[:limit]
    ]
    return items, len(found) > limit
