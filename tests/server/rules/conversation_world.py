"""A small world for the tests of conversation rules: real tables, no sockets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trio_realtime.server.rules.conversation_table import CONVERSATION_HANDLERS
from trio_realtime.server.rules.types import (
    App,
    Caller,
    Clients,
    CountRoom,
    Enforcement,
    EnterRoom,
    Evict,
    Feature,
    FindInRooms,
    LeaveRoom,
    ListRoom,
    Outcome,
    Push,
    Refusal,
    Room,
)
from trio_realtime.server.store.interface import Kind, NewMessage
from trio_realtime.server.store.sqlite.database import Database
from trio_realtime.server.store.sqlite.runner import Job, Runner
from trio_realtime.server.store.sqlite.schema import connect
from trio_realtime.wire import (
    BlacklistCommand,
    CommandType,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    OpType,
    decode,
    encode,
)

JS = Feature(187)
"""What the JavaScript SDK declares."""

APP = App(id="app", key="key", master_key="master")
MISSING = "5" * 24


class Presence:
    """Who is in which room, for the one acting client of a moment."""

    def __init__(self) -> None:
        self.rooms: dict[str, list[str]] = {}
        self.actor = ""

    def perform(self, step):
        match step:
            case EnterRoom(cid):
                self.enter_room(cid)
            case LeaveRoom(cid):
                self.leave_room(cid)
            case Evict(cids, client_ids):
                for cid in cids:
                    self.evict(cid, client_ids)
            case CountRoom(cid, complete):
                complete(len(self.rooms.get(cid, [])))
            case ListRoom(cid, limit, complete):
                complete(self.rooms.get(cid, [])[:limit])
            case FindInRooms(cids, client_id, complete):
                complete([cid for cid in cids if client_id in self.rooms.get(cid, [])])

    def enter_room(self, cid):
        for members in self.rooms.values():
            if self.actor in members:
                members.remove(self.actor)
        self.rooms.setdefault(cid, []).append(self.actor)

    def leave_room(self, cid):
        if self.actor in self.rooms.get(cid, []):
            self.rooms[cid].remove(self.actor)

    def evict(self, cid, client_ids):
        self.rooms[cid] = [one for one in self.rooms.get(cid, []) if one not in client_ids]


class World:
    """Executes commands as the gateway would, and remembers what came of the last one."""

    def __init__(self, *, enforce: Enforcement | None = None) -> None:
        self.runner = Runner(Database(connect(None)))
        self.app = APP if enforce is None else App("app", "key", "master", enforce)
        self.presence = Presence()
        self.now = 1_700_000_000_000
        self.outcome = Outcome()

    def close(self) -> None:
        self.runner.close()

    def tx(self, rule, *, writes=True) -> Any:
        """Run anything in a transaction, a second after the last one."""
        self.now += 1000
        job = Job("app", rule, lambda _result: None, self.now, read_only=not writes)
        (result,) = self.runner.write([job])
        return result.unwrap()

    def do(self, who: str, command: GenericCommand, *, features: Feature = JS) -> GenericCommand:
        """Act for a client; the reply, or a Refusal."""
        # Through the bytes, so that rules meet what the wire can carry.
        command = decode(encode(command))
        handler = CONVERSATION_HANDLERS[command.cmd, command.op]
        room = next((cid for cid, who_is in self.presence.rooms.items() if who in who_is), None)
        caller = Caller(self.app, who, features=features, room=room)
        self.outcome = Outcome()
        outcome = self.tx(lambda tx: handler.rule(tx, caller, command), writes=handler.writes)
        self.presence.actor = who
        self.presence.perform(outcome.presence)
        self.outcome = outcome
        for push in outcome.pushes:
            encode(push.command)
        return decode(encode(outcome.reply))

    def conv(self, who: str, op: OpType, *, features: Feature = JS, **fields: Any) -> ConvCommand:
        """A conversation command; the reply's payload."""
        message = ConvCommand(**fields)
        command = GenericCommand(cmd=CommandType.CONV, op=op, i=1, conv_message=message)
        reply = self.do(who, command, features=features)
        assert reply.cmd == CommandType.CONV
        self.op = reply.op
        return reply.conv_message

    def block_list(
        self, who: str, op: OpType, *, features: Feature = JS, **fields: Any
    ) -> BlacklistCommand:
        message = BlacklistCommand(**fields)
        command = GenericCommand(cmd=CommandType.BLACKLIST, op=op, i=1, blacklist_message=message)
        reply = self.do(who, command, features=features)
        assert reply.cmd == CommandType.BLACKLIST
        self.op = reply.op
        return reply.blacklist_message

    # Shorthands.

    def start(self, who: str, *others: str, **fields: Any) -> str:
        return self.conv(who, OpType.START, m=sorted({who, *others}), **fields).cid

    def room(self, who: str) -> str:
        return self.start(who, transient=True, unique=False, temp_conv=False)

    def service(self, creator: str = "admin", **attributes: Any) -> str:
        from trio_realtime.server.rules.start import create_service

        return self.tx(lambda tx: create_service(tx, "News", attributes, creator)).id

    def add(self, who: str, cid: str, *ids: str, **fields: Any) -> ConvCommand:
        return self.conv(who, OpType.ADD, cid=cid, m=list(ids), **fields)

    def remove(self, who: str, cid: str, *ids: str, **fields: Any) -> ConvCommand:
        return self.conv(who, OpType.REMOVE, cid=cid, m=list(ids), **fields)

    def role(self, who: str, cid: str, target: str, role: str | None) -> ConvCommand:
        from trio_realtime.wire import ConvMemberInfo

        info = ConvMemberInfo(pid=target, role=role)
        return self.conv(
            who, OpType.MEMBER_INFO_UPDATE, cid=cid, target_client_id=target, info=info
        )

    def update(self, who: str, cid: str, changes: Any) -> ConvCommand:
        attr = JsonObjectMessage(data=json.dumps(changes))
        return self.conv(who, OpType.UPDATE, cid=cid, attr=attr)

    def query(self, who: str, where: Any = None, **fields: Any) -> list[dict[str, Any]]:
        text = None if where is None else JsonObjectMessage(data=json.dumps(where))
        return json.loads(self.conv(who, OpType.QUERY, where=text, **fields).results.data)

    def one(self, who: str, cid: str, **fields: Any) -> dict[str, Any]:
        (found,) = self.query(who, {"objectId": cid}, **fields)
        return found

    def members(self, cid: str) -> list[str]:
        return self.tx(lambda tx: tx.members(cid))

    def say(self, cid: str, sender: str, body: str | bytes, **fields: Any) -> Any:
        return self.tx(lambda tx: tx.append(cid, NewMessage(sender, body, **fields))[0])

    # What the last command pushed.

    @property
    def pushes(self) -> Sequence[Push]:
        return self.outcome.pushes

    def told(self) -> list[tuple[str, Any, list[str]]]:
        """(operation, to whom, about whom) of every push, in order."""
        return [
            (push.command.op.name, audience(push), push.command.conv_message.m)
            for push in self.pushes
        ]


def audience(push: Push) -> Any:
    """Client ids, or the id of a room."""
    assert push.except_client is None
    return list(push.to.ids) if isinstance(push.to, Clients) else f"room {room_of(push.to)}"


def room_of(to: Any) -> str:
    assert isinstance(to, Room)
    return to.cid


def refusal(call, *args: Any, **kwargs: Any) -> tuple[int, str]:
    """Code and reason of the refusal a call must end with."""
    try:
        call(*args, **kwargs)
    except Refusal as exc:
        return exc.code, exc.reason
    raise AssertionError("nothing was refused")


def failures(message: ConvCommand | BlacklistCommand) -> list[tuple[int, str, list[str]]]:
    """The failed ids of a reply."""
    return [(one.code, one.reason, one.pids) for one in message.failed_pids]


__all__ = ["APP", "JS", "MISSING", "Kind", "Presence", "World", "audience", "failures", "refusal"]
