"""Clients, and a server of rules between them: real tables, no sockets, a clock in hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from trio_realtime.server.rules import handler_of
from trio_realtime.server.rules.direct import will_pushes
from trio_realtime.server.rules.start import create_service
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
    KeepWill,
    LeaveRoom,
    ListRoom,
    Outcome,
    PresenceStep,
    Push,
    Refusal,
    Room,
)
from trio_realtime.server.store.interface import Kind, NewMessage
from trio_realtime.server.store.sqlite.database import Database
from trio_realtime.server.store.sqlite.runner import Job, Runner
from trio_realtime.server.store.sqlite.schema import connect
from trio_realtime.wire import (
    AckCommand,
    BlacklistCommand,
    CommandType,
    ConvCommand,
    ConvMemberInfo,
    DirectCommand,
    GenericCommand,
    JsonObjectMessage,
    LogsCommand,
    OpType,
    PatchCommand,
    PatchItem,
    ReadCommand,
    ReadTuple,
    decode,
    encode,
)

JS = Feature(187)
"""What the JavaScript SDK declares."""

APP = App(id="app", key="key", master_key="master")
MISSING = "5" * 24


class Device:
    """One live session of a client, and what it was sent."""

    def __init__(self, client_id: str, features: Feature = JS) -> None:
        self.client_id = client_id
        self.features = features
        self.inbox: list[GenericCommand] = []
        self.will: Any = None

    def __repr__(self) -> str:
        return f"<Device of {self.client_id}>"

    def take(self) -> list[GenericCommand]:
        """What arrived since the last time."""
        arrived, self.inbox = self.inbox, []
        return arrived


class World:
    """Carries commands out as the gateway would, and remembers what came of the last one.

    Who acts is a device, or a client id, which stands for the first device of the client.
    """

    def __init__(self, *, enforce: Enforcement | None = None) -> None:
        self.runner = Runner(Database(connect(None)))
        self.app = APP if enforce is None else App("app", "key", "master", enforce)
        self.devices: list[Device] = []
        self.rooms: dict[str, list[Device]] = {}
        self.now = 1_700_000_000_000
        self.outcome = Outcome()

    def close(self) -> None:
        self.runner.close()

    def device(self, client_id: str, features: Feature = JS) -> Device:
        """One more device of a client."""
        self.devices.append(Device(client_id, features))
        return self.devices[-1]

    def device_of(self, who: str | Device) -> Device:
        if isinstance(who, Device):
            return who
        known = (device for device in self.devices if device.client_id == who)
        return next(known, None) or self.device(who)

    def inside(self, cid: str) -> list[str]:
        """The ids of the clients in a chat room."""
        return [device.client_id for device in self.rooms.get(cid, [])]

    def tx(self, rule: Any, *, writes: bool = True) -> Any:
        """Run anything in a transaction, a second after the last one."""
        self.now += 1000
        job = Job(self.app.id, rule, lambda _result: None, self.now, read_only=not writes)
        (result,) = self.runner.write([job])
        return result.unwrap()

    def do(
        self, who: str | Device, command: GenericCommand, *, features: Feature | None = None
    ) -> GenericCommand | None:
        """Act for a client; the reply, or a Refusal."""
        # Through the bytes, so that rules meet what the wire can carry.
        command = decode(encode(command))
        handler = handler_of(command.cmd, command.op)
        assert handler is not None
        device = self.device_of(who)
        room = next((cid for cid, inside in self.rooms.items() if device in inside), None)
        caller = Caller(
            self.app,
            device.client_id,
            owner=device,
            features=device.features if features is None else features,
            room=room,
        )
        self.outcome = Outcome()
        outcome = self.tx(lambda tx: handler.rule(tx, caller, command), writes=handler.writes)
        if isinstance(outcome.presence, KeepWill):
            will = outcome.presence.will
            device.will = will and partial(will_pushes, caller=caller, will=will)
        elif outcome.presence is not None:
            self.perform(outcome.presence, device)
        self.outcome = outcome
        for push in outcome.pushes:
            self.deliver(push, device)
        return None if outcome.reply is None else decode(encode(outcome.reply))

    def perform(self, step: PresenceStep, actor: Device) -> None:
        """What the bus does for a rule."""
        match step:
            case EnterRoom(cid):
                for inside in self.rooms.values():
                    if actor in inside:
                        inside.remove(actor)
                self.rooms.setdefault(cid, []).append(actor)
            case LeaveRoom(cid):
                if actor in self.rooms.get(cid, []):
                    self.rooms[cid].remove(actor)
            case Evict(cids, client_ids):
                for cid in cids:
                    inside = self.rooms.get(cid, [])
                    self.rooms[cid] = [one for one in inside if one.client_id not in client_ids]
            case CountRoom(cid, complete):
                complete(len(self.inside(cid)))
            case ListRoom(cid, limit, complete):
                complete(self.inside(cid)[:limit])
            case FindInRooms(cids, client_id, complete):
                complete([cid for cid in cids if client_id in self.inside(cid)])
            case _:
                raise AssertionError(step)

    def deliver(self, push: Push, actor: Device) -> None:
        if isinstance(push.to, Clients):
            assert len(set(push.to.ids)) == len(push.to.ids)
            receivers = [one for one in self.devices if one.client_id in push.to.ids]
        else:
            receivers = self.rooms.get(push.to.cid, [])
        for device in receivers:
            if push.except_actor and device is actor:
                continue
            if push.except_client == device.client_id or push.needs not in device.features:
                continue
            assert push.command.i is None
            device.inbox.append(decode(encode(push.command)))

    # Conversations.

    def conversation(self, *members: str, kind: Kind = Kind.NORMAL, ttl: int | None = None) -> str:
        return self.tx(
            lambda tx: tx.create_conversation(
                kind=kind,
                creator=members[0] if members else "admin",
                members=members,
                expires_at=None if ttl is None else tx.now + ttl,
            )
        ).id

    def conv(
        self, who: str, op: OpType, *, features: Feature | None = None, **fields: Any
    ) -> ConvCommand:
        """A conversation command; the reply's payload."""
        message = ConvCommand(**fields)
        command = GenericCommand(cmd=CommandType.CONV, op=op, i=1, conv_message=message)
        reply = self.do(who, command, features=features)
        assert reply.cmd == CommandType.CONV
        self.op = reply.op
        return reply.conv_message

    def block_list(
        self, who: str, op: OpType, *, features: Feature | None = None, **fields: Any
    ) -> BlacklistCommand:
        message = BlacklistCommand(**fields)
        command = GenericCommand(cmd=CommandType.BLACKLIST, op=op, i=1, blacklist_message=message)
        reply = self.do(who, command, features=features)
        assert reply.cmd == CommandType.BLACKLIST
        self.op = reply.op
        return reply.blacklist_message

    def start(self, who: str, *others: str, **fields: Any) -> str:
        return self.conv(who, OpType.START, m=sorted({who, *others}), **fields).cid

    def room(self, who: str) -> str:
        return self.start(who, transient=True, unique=False, temp_conv=False)

    def service(self, creator: str = "admin", **attributes: Any) -> str:
        return self.tx(lambda tx: create_service(tx, "News", attributes, creator)).id

    def add(self, who: str, cid: str, *ids: str, **fields: Any) -> ConvCommand:
        return self.conv(who, OpType.ADD, cid=cid, m=list(ids), **fields)

    def remove(self, who: str, cid: str, *ids: str, **fields: Any) -> ConvCommand:
        return self.conv(who, OpType.REMOVE, cid=cid, m=list(ids), **fields)

    def role(self, who: str, cid: str, target: str, role: str | None) -> ConvCommand:
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

    # Messages.

    def send(self, device: Device, cid: str | None, msg=None, *, priority=None, **fields):
        """Send; the payload of the acknowledgement."""
        message = DirectCommand(cid=cid, msg=msg, **fields)
        command = GenericCommand(
            cmd=CommandType.DIRECT, i=1, priority=priority, direct_message=message
        )
        reply = self.do(device, command)
        if reply is None:
            return None
        assert reply.cmd == CommandType.ACK
        assert reply.ack_message.code is None
        return reply.ack_message

    def ack(self, device: Device, cid: str | None, **fields) -> None:
        message = AckCommand(cid=cid, **fields)
        assert self.do(device, GenericCommand(cmd=CommandType.ACK, ack_message=message)) is None

    def read(self, device: Device, *cids: str, **fields) -> None:
        """Mark as read, in the current form."""
        convs = [ReadTuple(cid=cid, **fields) for cid in cids]
        self.read_command(device, ReadCommand(convs=convs))

    def read_command(self, device: Device, message: ReadCommand, i: int | None = None) -> None:
        command = GenericCommand(cmd=CommandType.READ, i=i, read_message=message)
        assert self.do(device, command) is None

    def logs(self, device: Device, cid: str | None, **fields):
        message = LogsCommand(cid=cid, **fields)
        reply = self.do(device, GenericCommand(cmd=CommandType.LOGS, i=1, logs_message=message))
        assert reply.cmd == CommandType.LOGS
        assert reply.op is None
        return reply.logs_message.logs

    def patch(self, device: Device, *items: PatchItem) -> int:
        """Edit; the time of the latest patch."""
        command = GenericCommand(
            cmd=CommandType.PATCH,
            op=OpType.MODIFY,
            i=1,
            patch_message=PatchCommand(patches=list(items)),
        )
        reply = self.do(device, command)
        assert (reply.cmd, reply.op) == (CommandType.PATCH, OpType.MODIFIED)
        return reply.patch_message.last_patch_time

    def max_read(self, device: Device, cid: str | None, **fields) -> ConvCommand:
        message = ConvCommand(cid=cid, **fields)
        command = GenericCommand(
            cmd=CommandType.CONV, op=OpType.MAX_READ, i=1, conv_message=message
        )
        reply = self.do(device, command)
        assert (reply.cmd, reply.op) == (CommandType.CONV, OpType.MAX_READ)
        return reply.conv_message

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


def bodies(commands: list[GenericCommand]) -> list[str | bytes]:
    """The bodies of delivered messages; anything else among them is an error."""
    found = [command.direct_message for command in commands]
    return [direct.binary_msg if direct.msg is None else direct.msg for direct in found]
