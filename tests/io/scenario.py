"""A server that follows the protocol and is unkind in every way that it allows.

It keeps conversations, who is a member of them since when, and their histories; it pushes late,
forgets, refuses by quota or for no reason, falls silent and breaks the line. A `Scenario` lets one
client live through that, and at the end compares what it was told with what was said.
"""

from __future__ import annotations

import contextlib
import itertools
import json

import attrs
import trio

from tests.io.scripted_server import ScriptedServer, described, iso_ms, push
from trio_realtime import (
    CommandTimeout,
    Gap,
    MessageReceived,
    RealtimeError,
    TextMessage,
    open_client,
)
from trio_realtime._values.times import ms_from_datetime
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    LogItem,
    LogsCommand,
    OpType,
    QueryDirection,
    UnreadCommand,
    UnreadTuple,
)

ME = "Tom"
KINDS = {"a": 1, "b": 1, "new": 1, "news": 3, "_tmp:t": 4}
"""Conversations and their kinds; of "new" the client is no member to begin with."""
EPOCH = 1_000_000_000


def server_time():
    return EPOCH + int(trio.current_time() * 1000)


@attrs.define(eq=False)
class Said:
    """A message, and what may be expected of it."""

    at: int
    mid: str
    sender: str
    body: str
    stored: bool = True
    late: bool = False
    """The server pushes it after a later one."""
    behind: bool = False
    """If the server has not pushed it when the line breaks, nothing tells that there is one."""
    owed: bool = True
    """The client has to be given it, or be told that it is missing."""


@attrs.define(eq=False)
class Room:
    """A conversation."""

    cid: str
    kind: int
    said: list[Said] = attrs.field(factory=list)
    joined_at: int | None = 0
    """Since when the client is a member; None: it is not."""
    forgotten_until: int = 0
    """The history begins behind this time."""

    def history(self):
        since = max(self.joined_at or 0, self.forgotten_until + 1)
        stored = [one for one in self.said if one.stored and one.at >= since]
        return sorted(stored, key=lambda one: (one.at, one.mid))

    @property
    def last(self):
        return max(
            (one for one in self.said if one.stored),
            key=lambda one: (one.at, one.mid),
            default=None,
        )


class Scenario:
    """One client's life, step by step."""

    def __init__(self) -> None:
        self.scripted = ScriptedServer()
        self.rooms = {cid: Room(cid, kind) for cid, kind in KINDS.items()}
        self.rooms["new"].joined_at = None
        self.state = {}
        self.received = []
        self.mine = set()
        """Ids of what the client sent itself, and knows to be stored."""
        self.tokens = {}
        self.quota = None
        self.asked = (0, 0)
        self.blind = False
        self.silent = False
        self.deaf = False
        self.names = True
        self.delay = 0.0
        self.link = None
        self.pushes = None
        self.client = None
        self.begun_at = None
        self.ids = itertools.count()
        self.nursery = None

    # The server.

    async def serve(self):
        async with trio.open_nursery() as nursery:
            while True:
                link = await self.scripted.accept()
                nursery.start_soon(self.serve_link, link)

    async def serve_link(self, link):
        async with trio.open_nursery() as nursery:
            while (command := await link.receive_any()) is not None:
                if command.cmd == CommandType.SESSION and command.op == OpType.OPEN:
                    # Back to where `welcome` finds it.
                    link.commands.appendleft(command)
                    await link.welcome(at=server_time())
                    self.begun_at = self.begun_at or server_time()
                    send, receive = trio.open_memory_channel(float("inf"))
                    self.link, self.pushes = link, send
                    nursery.start_soon(self.push_all, link, receive)
                    self.name_unread()
                    continue
                nursery.start_soon(self.answer, link, command)
            if self.link is link:
                self.link = None
            nursery.cancel_scope.cancel()

    async def push_all(self, link, receive):
        async for command in receive:
            if self.delay:
                await trio.sleep(self.delay)
            await self.send(link, command)

    async def send(self, link, command):
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await link.send(command)

    def name_unread(self):
        convs = []
        for room in self.rooms.values():
            last = room.last
            if room.kind == 1 and not self.names:
                continue
            others = any(one.stored and one.sender != ME for one in room.said)
            if room.joined_at is not None and last is not None and others:
                one = UnreadTuple(
                    cid=room.cid, unread=1, mid=last.mid, timestamp=last.at, from_=last.sender
                )
                one.data = last.body
                one.conv_type = room.kind
                convs.append(one)
        unread = UnreadCommand(convs=convs, notif_time=server_time())
        self.pushes.send_nowait(
            GenericCommand(cmd=CommandType.UNREAD, peer_id=ME, unread_message=unread)
        )

    async def answer(self, link, command):
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.handle(link, command)

    async def handle(self, link, command):
        await trio.sleep(0.01)
        if command.cmd == CommandType.LOGS:
            if self.over_quota():
                await link.refuse(command, 4116)
            elif not self.silent:
                await self.logs(link, command)
        elif command.cmd == CommandType.CONV and command.op == OpType.QUERY:
            if self.blind:
                await link.refuse(command, 4310)
            else:
                await self.query(link, command)
        elif command.cmd == CommandType.CONV and command.op == OpType.REMOVE:
            self.leave(command.conv_message.cid)
            reply = ConvCommand(cid=command.conv_message.cid, allowed_pids=[ME])
            await link.send(
                GenericCommand(
                    cmd=CommandType.CONV, op=OpType.REMOVED, i=command.i, conv_message=reply
                )
            )
        elif command.cmd == CommandType.DIRECT:
            await self.store(link, command)
        elif command.cmd == CommandType.SESSION:
            await link.send(GenericCommand(cmd=CommandType.SESSION, op=OpType.CLOSED, i=command.i))

    def over_quota(self):
        minute, count = int(trio.current_time() // 60), 0
        if self.asked[0] == minute:
            count = self.asked[1]
        self.asked = (minute, count + 1)
        return self.quota is not None and count >= self.quota

    async def logs(self, link, command):
        logs = command.logs_message
        room = self.rooms[logs.cid]
        if room.joined_at is None:
            await link.refuse(command, 4312)
            return
        start = (logs.t or 0, logs.mid or "")
        if logs.direction == QueryDirection.NEW:
            found = [
                one
                for one in room.history()
                if (one.at, one.mid) > start or (logs.t_included and (one.at, one.mid) == start)
            ][: logs.l]
        else:
            found = [one for one in room.history() if (one.at, one.mid) <= start][-logs.l :]
        items = [
            LogItem(from_=one.sender, data=one.body, timestamp=one.at, msg_id=one.mid)
            for one in found
        ]
        await link.send(
            GenericCommand(cmd=CommandType.LOGS, i=command.i, logs_message=LogsCommand(logs=items))
        )

    async def query(self, link, command):
        conv = command.conv_message
        where = json.loads(conv.where.data) if conv.where is not None else {}
        wanted = conv.temp_conv_ids or where.get("objectId", {}).get("$in")
        rows = []
        for room in self.rooms.values():
            if wanted is None:
                if room.joined_at is None or room.kind != 1:
                    continue
            elif room.cid not in wanted:
                continue
            last = room.last
            shown = last is not None and room.kind != 3
            if "lm" in where and (not shown or last.at < iso_ms(where["lm"]["$gte"])):
                continue
            place = (last.at, last.mid) if shown else (None, None)
            rows.append(described(room.cid, *place, conv_type=room.kind, sys=room.kind == 3))
        rows.sort(key=lambda row: row.get("msg_timestamp", 0))
        rows = rows[conv.skip or 0 :][: conv.limit]
        await link.send(
            GenericCommand(
                cmd=CommandType.CONV,
                op=OpType.RESULTS,
                i=command.i,
                conv_message=ConvCommand(results=JsonObjectMessage(data=json.dumps(rows))),
            )
        )

    async def store(self, link, command):
        direct = command.direct_message
        one = self.tokens.get(direct.dt)
        if one is None:
            one = self.tokens[direct.dt] = self.keep(direct.cid, ME, direct.msg)
            one.owed = False
        if not self.deaf:
            await link.acknowledge(command, one.mid, one.at)

    # What happens.

    def keep(self, cid, sender, body=None, **fields):
        room = self.rooms[cid]
        last = room.last
        at = server_time()
        if last is not None:
            at = max(at, last.at + 1)
        number = next(self.ids)
        # The order of ids is not that of times.
        mid = f"{(number * 7919) % 1000:03d}-{number}"
        one = Said(at, mid, sender, body if body is not None else mid, **fields)
        one.owed = room.joined_at is not None
        room.said.append(one)
        return one

    def tell(self, cid, one):
        room = self.rooms[cid]
        if self.link is not None and room.joined_at is not None:
            self.pushes.send_nowait(
                push(cid, one.mid, one.at, one.body, one.sender, ME, conv_type=room.kind)
            )
        elif not one.stored:
            one.owed = False

    def leave(self, cid):
        room = self.rooms[cid]
        if room.joined_at is None:
            return
        room.joined_at = None
        for one in room.said:
            # Who leaves by itself has no claim on what is still under way.
            one.owed = False
        self.notice(OpType.LEFT, cid)

    def notice(self, op, cid):
        if self.link is not None:
            self.pushes.send_nowait(
                GenericCommand(
                    cmd=CommandType.CONV,
                    op=op,
                    peer_id=ME,
                    server_ts=server_time(),
                    notification_type=1,
                    conv_message=ConvCommand(cid=cid, init_by="Jerry"),
                )
            )

    async def do_wait(self, seconds):
        await trio.sleep(seconds)

    async def do_say(self, cid, sender, count):
        for _ in range(count):
            if sender == ME and not self.can_be_heard(self.rooms[cid]):
                return
            self.tell(cid, self.keep(cid, sender))

    def can_be_heard(self, room):
        """Whether this client can know what it sends there elsewhere: no counter tells."""
        heard = any(event.conversation_id == room.cid for event in self.received)
        return room.joined_at is not None and (room.kind == 1 or (room.kind == 4 and heard))

    async def do_twins(self, cid):
        """Two messages of one time, in the other order than their ids'."""
        first = self.keep(cid, "Jerry")
        second = self.keep(cid, "Jerry")
        second.at = first.at
        for one in sorted((first, second), key=lambda one: one.mid, reverse=True):
            one.late = True
            self.tell(cid, one)
        # The last message of the conversation is the one that is pushed first.
        one.behind = True

    async def do_late(self, cid):
        """The second of two is pushed first."""
        first = self.keep(cid, "Jerry", late=True, behind=True)
        second = self.keep(cid, "Jerry")
        self.tell(cid, second)
        self.tell(cid, first)

    async def do_will(self, cid):
        self.tell(cid, self.keep(cid, "Jerry", stored=False, late=True))

    async def do_send(self, cid):
        self.nursery.start_soon(self.send_own, self.client, cid)

    async def send_own(self, client, cid):
        with contextlib.suppress(RealtimeError):
            sent = await client.send(cid, TextMessage(f"own {next(self.ids)}"))
            self.mine.add(sent.id)

    async def do_break(self, seconds):
        self.scripted.refusing = True
        link, self.link = self.link, None
        if link is not None:
            self.disown_unwritten()
            await link.abort()
        await trio.sleep(seconds)
        self.scripted.refusing = False
        self.client.retry()

    def disown_unwritten(self):
        """What is not written yet, and in no place to be found, never will be."""
        for room in self.rooms.values():
            for one in room.said:
                if not one.stored or one.behind:
                    one.owed = False

    async def do_set(self, name, value):
        setattr(self, name, value)

    async def do_invite(self, cid):
        room = self.rooms[cid]
        if room.joined_at is None:
            room.joined_at = server_time()
            if room.last is not None:
                room.joined_at = max(room.joined_at, room.last.at + 1)
            self.notice(OpType.JOINED, cid)

    async def do_remove(self, cid):
        room = self.rooms[cid]
        if room.joined_at is not None:
            self.disown_unheard(room)
            room.joined_at = None
            self.notice(OpType.LEFT, cid)

    async def do_quit(self, cid):
        if self.link is not None and self.rooms[cid].joined_at is not None:
            with trio.move_on_after(5):
                try:
                    await self.client._session.request(
                        GenericCommand(
                            cmd=CommandType.CONV,
                            op=OpType.REMOVE,
                            conv_message=ConvCommand(cid=cid, m=[ME]),
                        )
                    )
                    self.client._session.delivery.left(cid)
                except RealtimeError:
                    pass

    async def do_forget(self, cid):
        """The server gives up the history it has."""
        room = self.rooms[cid]
        self.disown_unheard(room)
        if room.last is not None:
            room.forgotten_until = room.last.at
            for one in room.said:
                # What still comes now comes after what is in the history.
                one.late = True

    def disown_unheard(self, room):
        """Of a conversation never heard of nobody can know that something is gone."""
        stored = {one.mid for one in room.said if one.stored}
        heard = {e.message.id for e in self.received if isinstance(e, MessageReceived)}
        if not stored & heard:
            for one in room.said:
                one.owed = False

    # The client.

    async def listen(self, events):
        async for event in events:
            self.received.append(event)

    async def run(self, steps):
        """Live through these steps and a calm end; then see what was told."""
        steps = iter((*steps, ("calm",)))
        async with trio.open_nursery() as self.nursery:
            self.nursery.start_soon(self.serve)
            calm = False
            while not calm:
                calm = await self.live(steps)
            self.nursery.cancel_scope.cancel()
        self.audit()

    async def live(self, steps):
        """One run of the program; whether it was the last."""
        options = {**self.scripted.options, "state": self.state}
        async with open_client(ME, **options) as self.client:
            events = self.client.events(MessageReceived, Gap, max_buffer=10**6)
            self.nursery.start_soon(self.listen, events)
            for name, *args in steps:
                if name == "restart":
                    self.disown_unwritten()
                    return False
                await getattr(self, f"do_{name}")(*args)
        return True

    async def do_calm(self):
        self.quota, self.delay = None, 0
        self.blind = self.silent = self.deaf = False
        await self.do_break(0)
        await trio.sleep(600)

    # The claim.

    def audit(self):
        """Every message once, in order, or a gap that is true."""
        for cid, room in self.rooms.items():
            events = [event for event in self.received if event.conversation_id == cid]
            gaps = [event for event in events if isinstance(event, Gap)]
            told = [event.message for event in events if isinstance(event, MessageReceived)]
            mids = [message.id for message in told]
            assert len(mids) == len(set(mids)), f"{cid}: told twice: {mids}"
            assert not self.mine.intersection(mids), f"{cid}: its own: {mids}"
            late = {one.mid for one in room.said if one.late}
            times = [message.timestamp_ms for message in told if message.id not in late]
            assert times == sorted(times), f"{cid}: out of order: {mids}"
            missing = [one for one in room.said if one.owed and one.mid not in mids]
            for one in missing:
                assert one.at < self.begun_at or any(covers(gap, one) for gap in gaps), (
                    f"{cid}: {one} is missing without a gap: {mids}, {gaps}"
                )
            for gap in gaps:
                self.check(gap, room, mids)

    def check(self, gap, room, mids):
        if gap.error is None and gap.missing_from is not None:
            lost = [one for one in room.said if one.mid not in mids and covers(gap, one)]
            after = ms_from_datetime(gap.missing_from)
            # A history that was given up does not say whether it had more; nor does the last
            # message that was heard say that it was a will.
            unknown = room.forgotten_until >= after or any(
                not one.stored and one.at == after for one in room.said
            )
            assert lost or unknown, f"{gap} and nothing is missing"
        elif gap.error is not None:
            refused = getattr(gap.error, "code", None)
            assert refused == 4312 or isinstance(gap.error, CommandTimeout), gap


def covers(gap, one):
    if gap.missing_from is None and gap.missing_until is None:
        return False
    after = gap.missing_from is None or ms_from_datetime(gap.missing_from) <= one.at
    before = gap.missing_until is None or one.at <= ms_from_datetime(gap.missing_until)
    return after and before
