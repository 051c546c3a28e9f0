"""Devices, and a server of rules between them: real tables, no sockets, a clock in hand."""

from __future__ import annotations

from functools import partial

from trio_realtime.server.rules.direct import will_pushes
from trio_realtime.server.rules.message_table import MESSAGE_HANDLERS
from trio_realtime.server.rules.types import App, Caller, Clients, Feature, KeepWill, Refusal
from trio_realtime.server.store.interface import Kind
from trio_realtime.server.store.sqlite.database import Database
from trio_realtime.server.store.sqlite.runner import Job, Runner
from trio_realtime.server.store.sqlite.schema import connect
from trio_realtime.wire import (
    AckCommand,
    CommandType,
    ConvCommand,
    DirectCommand,
    GenericCommand,
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

APP = App("app", "key", "master")
MISSING = "5" * 24


class Device:
    """One live session of a client, and what it was sent."""

    def __init__(self, client_id: str, features: Feature = JS) -> None:
        self.client_id = client_id
        self.features = features
        self.inbox: list[GenericCommand] = []
        self.will = None

    def __repr__(self) -> str:
        return f"<Device of {self.client_id}>"

    def take(self) -> list[GenericCommand]:
        """What arrived since the last time."""
        arrived, self.inbox = self.inbox, []
        return arrived


class World:
    def __init__(self) -> None:
        self.runner = Runner(Database(connect(None)))
        self.devices: list[Device] = []
        self.rooms: dict[str, list[Device]] = {}
        self.now = 1_700_000_000_000
        self.outcome = None

    def close(self) -> None:
        self.runner.close()

    def device(self, client_id: str, features: Feature = JS) -> Device:
        self.devices.append(Device(client_id, features))
        return self.devices[-1]

    def tx(self, rule, *, writes=True):
        """Run anything in a transaction, a second after the last one."""
        self.now += 1000
        job = Job(APP.id, rule, lambda _: None, self.now, read_only=not writes)
        (result,) = self.runner.write([job])
        return result.unwrap()

    def conversation(self, *members: str, kind: Kind = Kind.NORMAL, ttl: int | None = None) -> str:
        return self.tx(
            lambda tx: tx.create_conversation(
                kind=kind,
                creator=members[0] if members else "admin",
                members=members,
                expires_at=None if ttl is None else tx.now + ttl,
            )
        ).id

    def do(self, device: Device, command: GenericCommand) -> GenericCommand | None:
        """Act for a device as the gateway would; the reply, or a Refusal."""
        # Through the bytes, so that rules meet what the wire can carry.
        command = decode(encode(command))
        handler = MESSAGE_HANDLERS[command.cmd, command.op]
        caller = Caller(APP, device.client_id, session=device, features=device.features)
        outcome = self.tx(lambda tx: handler.rule(tx, caller, command), writes=handler.writes)
        self.outcome = outcome
        if isinstance(outcome.presence, KeepWill):
            will = outcome.presence.will
            device.will = will and partial(will_pushes, caller=caller, will=will)
        for push in outcome.pushes:
            self.deliver(push, device)
        return None if outcome.reply is None else decode(encode(outcome.reply))

    def deliver(self, push, actor: Device) -> None:
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

    # Shorthands.

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


def refusal(call, *args, **kwargs) -> tuple[int, str]:
    """Code and reason of the refusal a call must end with."""
    try:
        call(*args, **kwargs)
    except Refusal as exc:
        return exc.code, exc.reason
    raise AssertionError("nothing was refused")


def bodies(commands: list[GenericCommand]) -> list[str | bytes]:
    """The bodies of delivered messages; anything else among them is an error."""
    found = [command.direct_message for command in commands]
    return [direct.binary_msg if direct.msg is None else direct.msg for direct in found]
