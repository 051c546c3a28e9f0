"""A server that follows the protocol and is unkind in every way that it allows.

It pushes late, forgets histories and sessions, refuses by quota or for no reason, falls silent and
hangs.
"""

from __future__ import annotations

import contextlib
import json

import trio
from websockets.exceptions import InvalidState

from tests.io.scripted_server import ScriptedServer, described, iso_ms, push
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    ErrorCommand,
    GenericCommand,
    JsonObjectMessage,
    LogItem,
    LogsCommand,
    OpType,
    PatchCommand,
    PatchItem,
    QueryDirection,
    UnreadCommand,
    UnreadTuple,
)

from .rooms import ME
from .world import server_time

GONE = trio.BrokenResourceError, trio.ClosedResourceError, InvalidState
BEHIND_ALL = "~"
"""No id comes behind it."""
OFFLINE = 20
"""Messages of each conversation that are pushed after a login, where they are."""


class UnkindServer:
    """What the client talks to, and how it behaves at the moment."""

    def __init__(self, world):
        self.world = world
        self.scripted = ScriptedServer()
        self.faults = 0
        """Histories that will be refused for no reason."""
        self.lag = 0.0
        """Seconds after which a history shows what was said."""
        self.quota = None
        """Histories that may be asked for in a minute."""
        self.asked = (0, 0)
        self.blind = False
        """Nobody is told which conversations have changed."""
        self.silent = False
        """Histories are not answered."""
        self.deaf = False
        """Sendings are not answered."""
        self.names = True
        """Unread counters name the conversations of members."""
        self.delay = 0.0
        """Seconds between two pushes."""
        self.link = None
        """Where the client can be told something."""
        self.wire = None
        """Where it listens, or believes to."""
        self.pushes = None

    def calm_down(self):
        self.quota, self.delay, self.faults, self.lag = None, 0, 0, 0
        self.blind = self.silent = self.deaf = False

    async def serve(self):
        async with trio.open_nursery() as nursery:
            while True:
                link = await self.scripted.accept()
                nursery.start_soon(self.serve_link, link)

    async def serve_link(self, link):
        async with trio.open_nursery() as nursery:
            while (command := await link.receive_any()) is not None:
                if link.hangs:
                    continue
                if command.cmd == CommandType.SESSION and command.op == OpType.OPEN:
                    # Back to where `welcome` finds it.
                    link.commands.appendleft(command)
                    await link.welcome(at=server_time())
                    pushes, receive = trio.open_memory_channel(float("inf"))
                    self.link = self.wire = link
                    self.pushes, link.sessionless = pushes, False
                    nursery.start_soon(self.push_all, link, pushes, receive)
                    self.welcome(command.session_message)
                elif link.sessionless:
                    await self.refuse_stranger(link, command)
                else:
                    nursery.start_soon(self.answer, link, command)
            if self.link is link:
                self.link = None
            nursery.cancel_scope.cancel()

    def lose_link(self):
        """The client cannot be told anything any more."""
        link, self.link = self.link, None
        if link is not None:
            self.world.disown_unwritten()
            self.world.note_first_end(self.world.heard_at)
        return link

    # Pushes.

    async def push_all(self, link, pushes, receive):
        async for command in receive:
            if self.delay:
                await trio.sleep(self.delay)
            if self.link is not link or self.pushes is not pushes:
                return
            await self.send(link, command)
            if command.cmd == CommandType.GOAWAY:
                self.lose_link()

    async def send(self, link, command):
        with contextlib.suppress(*GONE):
            await link.send(command)
            if command.cmd not in {CommandType.PATCH, CommandType.GOAWAY}:
                self.world.heard_at = trio.current_time()

    def push(self, command):
        """Say something to the client, if it is there."""
        if self.link is not None:
            self.pushes.send_nowait(command)

    def tell(self, cid, one):
        room = self.world.rooms[cid]
        if self.link is not None and room.joined_at is not None:
            self.pushes.send_nowait(direct(room, one))
        elif not one.stored:
            one.owed = False

    def tell_patch(self, cid, one):
        self.push(patch(cid, one))

    def tell_notice(self, op, cid, after=0):
        """A membership begins or ends; when."""
        at = self.world.note_notice(op, cid, after)
        self.push(
            GenericCommand(
                cmd=CommandType.CONV,
                op=op,
                peer_id=ME,
                server_ts=at,
                notification_type=1,
                conv_message=ConvCommand(cid=cid, init_by="Jerry"),
            )
        )
        return at

    def welcome(self, session):
        """What follows the login by itself."""
        world = self.world
        if world.begun_at is None:
            world.begin()
        if world.push:
            for room in world.rooms.values():
                self.push_missed(room)
        else:
            self.name_unread()
        edited = [
            (one.patched, room.cid, one)
            for room in world.rooms.values()
            for one in room.said
            if one.patched > session.last_patch_time and room.joined_at is not None
        ]
        for _, cid, one in sorted(edited, key=lambda item: item[0]):
            self.pushes.send_nowait(patch(cid, one))

    def push_missed(self, room):
        if room.joined_at is None:
            return
        missed = [one for one in room.history() if one.at > room.acknowledged and one.sender != ME]
        more = len(missed) > OFFLINE
        for one in missed[-OFFLINE:]:
            self.pushes.send_nowait(direct(room, one, offline=True, has_more=more or None))

    def name_unread(self):
        convs = []
        for room in self.world.rooms.values():
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

    # Answers.

    async def refuse_stranger(self, link, command):
        if command.i:
            with contextlib.suppress(*GONE):
                await link.refuse(command, 4105)
        else:
            error = ErrorCommand(code=4105, reason="SESSION_REQUIRED")
            await self.send(
                link, GenericCommand(cmd=CommandType.ERROR, peer_id=ME, error_message=error)
            )

    async def answer(self, link, command):
        with contextlib.suppress(*GONE):
            await self.handle(link, command)

    async def handle(self, link, command):
        await trio.sleep(0.01)
        if link.hangs:
            return
        if command.cmd == CommandType.LOGS:
            if self.over_quota():
                await link.refuse(command, 4116)
            elif self.faults:
                self.faults -= 1
                await link.refuse(command, 4200)
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
        elif command.cmd == CommandType.ACK:
            ack = command.ack_message
            room = self.world.rooms[ack.cid]
            room.acknowledged = max(room.acknowledged, ack.tots)
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
        room = self.world.rooms[logs.cid]
        if room.joined_at is None:
            await link.refuse(command, 4312)
            return
        history = self.shown(room)
        start = (logs.t or 0, logs.mid or "")
        if logs.direction == QueryDirection.NEW:
            if not logs.t_included:
                start = (start[0], start[1] or BEHIND_ALL)
            found = [one for one in history if (one.at, one.mid) >= start]
            found = [one for one in found if logs.t_included or one.mid != logs.mid][: logs.l]
        else:
            found = [one for one in history if (one.at, one.mid) <= start][-logs.l :]
        items = [
            LogItem(from_=one.sender, data=one.body, timestamp=one.at, msg_id=one.mid)
            for one in found
        ]
        await link.send(
            GenericCommand(cmd=CommandType.LOGS, i=command.i, logs_message=LogsCommand(logs=items))
        )

    def shown(self, room):
        """The history as far as it shows already."""
        history = room.history()
        shown = [one for one in history if one.at <= server_time() - int(self.lag * 1000)]
        named = self.names and not self.blind and not self.world.push and room.kind in {1, 4}
        if len(shown) < len(history) and not (named and shown):
            # Nothing tells that there is more.
            for one in history[len(shown) :]:
                one.owed = False
        for one in history[len(shown) :]:
            one.late = True
            one.hidden |= self.lag > 0
        return shown

    async def query(self, link, command):
        conv = command.conv_message
        where = json.loads(conv.where.data) if conv.where is not None else {}
        wanted = conv.temp_conv_ids or where.get("objectId", {}).get("$in")
        rows = []
        for room in self.world.rooms.values():
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
        sent, world = command.direct_message, self.world
        if world.rooms[sent.cid].joined_at is None:
            await link.refuse(command, 4401)
            return
        one = world.tokens.get(sent.dt)
        if one is None:
            one = world.tokens[sent.dt] = world.keep(sent.cid, ME, sent.msg)
            one.owed = False
        if not self.deaf:
            await link.acknowledge(command, one.mid, one.at)

    def leave(self, cid):
        room = self.world.rooms[cid]
        if room.joined_at is None:
            return
        self.world.note_left(cid, server_time())
        for one in room.said:
            # Who leaves by itself has no claim on what is still under way.
            one.owed = False
        self.tell_notice(OpType.LEFT, cid)


def direct(room, one, **fields):
    return push(room.cid, one.mid, one.at, one.body, one.sender, ME, conv_type=room.kind, **fields)


def patch(cid, one):
    item = PatchItem(cid=cid, mid=one.mid, timestamp=one.at, from_=one.sender, data=one.body)
    item.patch_timestamp, item.recall = one.patched, one.recalled
    return GenericCommand(
        cmd=CommandType.PATCH,
        op=OpType.MODIFY,
        peer_id=ME,
        patch_message=PatchCommand(patches=[item]),
    )
