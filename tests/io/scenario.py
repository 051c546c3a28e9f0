"""A server that follows the protocol and is unkind in every way that it allows.

It keeps conversations, who is a member of them since when, their histories and edits; it pushes
late, forgets histories and sessions, refuses by quota or for no reason, falls silent, hangs and
breaks the line. A `Scenario` lets one client live through that, with its state kept or in flight
when the program stops, and at the end compares what it was told with what was said.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
from urllib.parse import parse_qs, urlsplit

import attrs
import h11
import trio
from websockets.exceptions import InvalidState

from tests.io.scripted_server import ScriptedServer, described, iso_ms, push
from trio_realtime import (
    CommandTimeout,
    Gap,
    Invited,
    Kicked,
    MessageRecalled,
    MessageReceived,
    MessageUpdated,
    NotificationGap,
    RealtimeError,
    RecalledMessage,
    TextMessage,
    open_client,
)
from trio_realtime._values.times import ms_from_datetime
from trio_realtime.testing import memory_streams
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

ME = "Tom"
KINDS = {"a": 1, "b": 1, "new": 1, "news": 3, "_tmp:t": 4}
"""Conversations and their kinds; of "new" the client is no member to begin with."""
EPOCH = 1_000_000_000
REST = "http://rest.test"
GONE = trio.BrokenResourceError, trio.ClosedResourceError, InvalidState
PAST = 10_000
PATIENT = 4
"""Faults in a row that are no gap yet."""
RECALLED = '{"_lctype":-127}'
OFFLINE = 20
"""Messages of each conversation that are pushed after a login, where they are."""
LOGIN_SETTLED = 10
"""Seconds after which a client believes that it has all that a login brings."""
WRITTEN = 1.001
"""Seconds within which a client writes down how far it has come."""


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
    hidden: bool = False
    """The history has been asked, and did not show it yet."""
    meant: bool = True
    """It is meant for the client, which may say that it is missing."""
    patched: int = 0
    """When it was edited or recalled last."""
    recalled: bool = False


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
    acknowledged: int = 0
    """Up to here the client has said that it has the messages."""

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
    """One client's life, step by step.

    Args:
        push: missed messages are pushed after a login, the latest of them.
        rest: there is a REST API, that knows which memberships were missed.
        ack: see `open_client`.
    """

    def __init__(self, *, push: bool = False, rest: bool = False, ack: str = "delivery") -> None:
        self.push = push
        self.rest = rest
        self.ack = ack
        self.scripted = ScriptedServer()
        self.rooms = {cid: Room(cid, kind) for cid, kind in KINDS.items()}
        self.rooms["new"].joined_at = None
        self.state = {}
        self.received = []
        self.told_at = {}
        """When the client was told of each event."""
        self.again = set()
        """Events that may be told a second time: the program stopped before it was noted."""
        self.unnoted = set()
        """What it was told before that, and not again."""
        self.notices = []
        """Memberships that began and ended."""
        self.left = {}
        """When memberships ended, by conversation."""
        self.heard_at = None
        """When the client was pushed anything last."""
        self.cut_off = None
        """When the first link ended, if not all had come for certain that a login brings."""
        self.was_silent = False
        """Whether the server has ever left histories unanswered."""
        self.patched = 0
        self.lazy = 0.0
        """Seconds that the program takes for each event."""
        self.faults = 0
        self.faulted = 0
        self.lag = 0.0
        """Seconds after which a history shows what was said."""
        self.resting = "well"
        self.mine = {}
        """Ids of what the client sent itself, and when it learnt that they are stored."""
        self.tokens = {}
        self.quota = None
        self.asked = (0, 0)
        self.blind = False
        self.silent = False
        self.deaf = False
        self.names = True
        self.delay = 0.0
        self.link = None
        """Where the client can be told something."""
        self.wire = None
        """Where it listens, or believes to."""
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
            if command.cmd != CommandType.PATCH:
                self.heard_at = trio.current_time()

    def welcome(self, session):
        """What follows the login by itself."""
        if self.begun_at is None:
            self.begin()
        if self.push:
            for room in self.rooms.values():
                self.push_missed(room)
        else:
            self.name_unread()
        edited = [
            (one.patched, room.cid, one)
            for room in self.rooms.values()
            for one in room.said
            if one.patched > session.last_patch_time and room.joined_at is not None
        ]
        for _, cid, one in sorted(edited, key=lambda item: item[0]):
            self.pushes.send_nowait(self.patch(cid, one))

    def begin(self):
        """The first login: what was said before is told only where it is pushed."""
        self.begun_at = server_time()
        for room in self.rooms.values():
            for one in room.said:
                one.owed = self.push and one.sender != ME and room.joined_at is not None
                one.meant = one.owed

    def push_missed(self, room):
        if room.joined_at is None:
            return
        missed = [one for one in room.history() if one.at > room.acknowledged and one.sender != ME]
        more = len(missed) > OFFLINE
        for one in missed[-OFFLINE:]:
            self.pushes.send_nowait(self.direct(room, one, offline=True, has_more=more or None))

    def direct(self, room, one, **fields):
        return push(
            room.cid, one.mid, one.at, one.body, one.sender, ME, conv_type=room.kind, **fields
        )

    def patch(self, cid, one):
        item = PatchItem(cid=cid, mid=one.mid, timestamp=one.at, from_=one.sender, data=one.body)
        item.patch_timestamp, item.recall = one.patched, one.recalled
        return GenericCommand(
            cmd=CommandType.PATCH,
            op=OpType.MODIFY,
            peer_id=ME,
            patch_message=PatchCommand(patches=[item]),
        )

    async def refuse_stranger(self, link, command):
        if command.i:
            with contextlib.suppress(*GONE):
                await link.refuse(command, 4105)
        else:
            error = ErrorCommand(code=4105, reason="SESSION_REQUIRED")
            await self.send(
                link, GenericCommand(cmd=CommandType.ERROR, peer_id=ME, error_message=error)
            )

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
            room = self.rooms[ack.cid]
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
        room = self.rooms[logs.cid]
        if room.joined_at is None:
            await link.refuse(command, 4312)
            return
        history = self.shown(room)
        start = (logs.t or 0, logs.mid or "")
        if logs.direction == QueryDirection.NEW:
            found = [
                one
                for one in history
                if (one.at, one.mid) > start or (logs.t_included and (one.at, one.mid) == start)
            ][: logs.l]
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
        named = self.names and not self.blind and not self.push and room.kind in {1, 4}
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
        if self.rooms[direct.cid].joined_at is None:
            await link.refuse(command, 4401)
            return
        one = self.tokens.get(direct.dt)
        if one is None:
            one = self.tokens[direct.dt] = self.keep(direct.cid, ME, direct.msg)
            one.owed = False
        if not self.deaf:
            await link.acknowledge(command, one.mid, one.at)

    # What happens.

    def keep(self, cid, sender, body=None, *, at=None, **fields):
        room = self.rooms[cid]
        at = at or after_all(room, max(server_time(), room.joined_at or 0))
        number = next(self.ids)
        # The order of ids is not that of times.
        mid = f"{(number * 7919) % 1000:03d}-{number}"
        one = Said(at, mid, sender, body if body is not None else mid, **fields)
        one.owed = one.meant = room.joined_at is not None
        room.said.append(one)
        return one

    def tell(self, cid, one):
        room = self.rooms[cid]
        if self.link is not None and room.joined_at is not None:
            self.pushes.send_nowait(self.direct(room, one))
        elif not one.stored:
            one.owed = False

    def leave(self, cid):
        room = self.rooms[cid]
        if room.joined_at is None:
            return
        room.joined_at = None
        self.left.setdefault(cid, []).append(server_time())
        for one in room.said:
            # Who leaves by itself has no claim on what is still under way.
            one.owed = False
        self.notice(OpType.LEFT, cid)

    def notice(self, op, cid, after=0):
        at = max(server_time(), self.begun_at + 1, after)
        if self.notices:
            at = max(at, self.notices[-1][2] + 1)
        self.notices.append((op, cid, at))
        if self.link is not None:
            self.pushes.send_nowait(
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

    def heard(self):
        """What the client was told, and has not forgotten."""
        return [
            event
            for event in self.received
            if isinstance(event, MessageReceived) and id(event) not in self.unnoted
        ]

    async def do_wait(self, seconds):
        await trio.sleep(seconds)

    async def do_say(self, cid, sender, count):
        for _ in range(count):
            if sender == ME and not self.can_be_heard(self.rooms[cid]):
                return
            self.tell(cid, self.keep(cid, sender))

    def can_be_heard(self, room):
        """Whether this client can know what it sends there elsewhere: no counter tells."""
        heard = any(event.conversation_id == room.cid for event in self.heard())
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
            self.mine[sent.id] = trio.current_time()

    async def do_break(self, seconds):
        self.scripted.refusing = True
        self.lose_link()
        if self.wire is not None:
            await self.wire.abort()
        await trio.sleep(seconds)
        self.scripted.refusing = False
        self.client.retry()

    def lose_link(self):
        link, self.link = self.link, None
        if link is not None:
            self.disown_unwritten()
            self.note_first_end(self.heard_at)
        return link

    def note_first_end(self, heard_at):
        """The first link ends; the client knows that it was alive until then."""
        if self.cut_off is None:
            begun = (self.begun_at - EPOCH) / 1000
            hasty = heard_at is None or heard_at < begun + LOGIN_SETTLED
            self.cut_off = trio.current_time() if hasty else float("inf")

    async def do_hang(self, seconds):
        """Nothing comes through any more, and after a while the line breaks."""
        if (link := self.lose_link()) is not None:
            link.hangs = True
            await trio.sleep(seconds)
            await link.abort()

    async def do_goaway(self):
        if self.link is not None:
            self.pushes.send_nowait(GenericCommand(cmd=CommandType.GOAWAY))

    async def do_lose(self):
        """The server forgets the session."""
        if (link := self.lose_link()) is not None:
            link.sessionless = True

    async def do_pause(self, seconds):
        self.lose_link()
        self.client.pause()
        await trio.sleep(seconds)
        self.client.resume()

    async def do_fault(self, count):
        """So many histories are refused for no reason."""
        self.faults = count
        self.faulted += count

    async def do_edit(self, cid):
        self.change(cid, recalled=False)

    async def do_recall(self, cid):
        self.change(cid, recalled=True)

    def change(self, cid, *, recalled):
        room = self.rooms[cid]
        if room.last is None or room.joined_at is None or room.last not in room.history():
            return
        one = room.last
        self.patched = one.patched = max(self.patched + 1, server_time(), self.begun_at + 1)
        one.body = RECALLED if recalled else f"{one.mid} edited {one.patched}"
        one.recalled = recalled
        if self.link is not None:
            self.pushes.send_nowait(self.patch(cid, one))

    def disown_unwritten(self):
        """What is not written yet, and in no place to be found, never will be."""
        for room in self.rooms.values():
            for one in room.said:
                if not one.stored or one.behind:
                    one.owed = False

    async def do_set(self, name, value):
        setattr(self, name, value)
        self.was_silent |= self.silent

    async def do_invite(self, cid):
        room = self.rooms[cid]
        if room.joined_at is None:
            after = 0 if room.last is None else room.last.at + 1
            room.joined_at = self.notice(OpType.JOINED, cid, after)

    async def do_remove(self, cid):
        room = self.rooms[cid]
        if room.joined_at is not None:
            self.disown_unheard(room)
            room.joined_at = None
            self.left.setdefault(cid, []).append(self.notice(OpType.LEFT, cid))

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
                # What still comes now comes after what is in the history; of what was said
                # before the first login nothing tells but the pushes.
                one.late = True
                if one.at < self.begun_at:
                    one.owed = False

    def disown_unheard(self, room):
        """Of a conversation never heard of nobody can know that something is gone."""
        stored = {one.mid for one in room.said if one.stored}
        heard = {event.message.id for event in self.heard()}
        if not stored & heard:
            for one in room.said:
                one.owed = False

    # The client.

    async def listen(self, events, scope):
        with scope:
            async for event in events:
                self.received.append(event)
                self.told_at[id(event)] = trio.current_time()
                await trio.sleep(self.lazy)

    async def open_stream(self, host, port):
        if host != "rest.test":
            return await self.scripted.open_stream(host, port)
        ours, theirs = memory_streams()
        if self.resting == "down":
            raise ConnectionRefusedError("refused by the script")
        self.nursery.start_soon(self.serve_rest, theirs)
        return ours

    async def serve_rest(self, stream):
        with contextlib.suppress(trio.BrokenResourceError, h11.RemoteProtocolError):
            await self.answer_rest(stream)
        await stream.aclose()

    async def answer_rest(self, stream):
        connection = h11.Connection(h11.SERVER)
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some())
        if not isinstance(event, h11.Request):
            return
        if self.resting == "silent":
            await trio.sleep(60)
        body = json.dumps(self.replay(event.target.decode())).encode()
        headers = [("Content-Length", str(len(body))), ("Connection", "close")]
        for part in (
            h11.Response(status_code=200, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            await stream.send_all(connection.send(part) or b"")

    def replay(self, target):
        """The answer of the REST API: what was missed of memberships."""
        since = int(parse_qs(urlsplit(target).query)["start_ts"][0])
        items = [
            {
                "cmd": "conv",
                "op": op.name.lower(),
                "cid": cid,
                "initBy": "Jerry",
                "m": [ME],
                "serverTs": at,
                "notificationType": 1,
            }
            for op, cid, at in self.notices
            if at > since
        ]
        return {"notifications": items, "hasMore": False}

    async def run(self, steps):
        """Live through these steps and a calm end; then see what was told.

        What the first steps say, if it is "past", was said before the client ever came.
        """
        while steps and steps[0][0] == "past":
            _, cid, count = steps[0]
            steps = steps[1:]
            for _ in range(count):
                self.keep(cid, "Jerry", at=after_all(self.rooms[cid], EPOCH - PAST))
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
        options = {**self.scripted.options, "state": self.state, "ack": self.ack}
        options["open_stream"] = self.open_stream
        options |= {"offline_messages": "push" if self.push else "unread"}
        if self.rest:
            options["server"] = REST
        written = None
        async with open_client(ME, **options) as self.client:
            types = MessageReceived, MessageUpdated, MessageRecalled, Gap
            events = self.client.events(*types, Invited, Kicked, NotificationGap, max_buffer=10**6)
            listening = trio.CancelScope()
            self.nursery.start_soon(self.listen, events, listening)
            for name, *args in steps:
                if name in {"restart", "crash"}:
                    await self.stop_listening(events, listening)
                    self.disown_unwritten()
                    self.note_first_end(trio.current_time() - WRITTEN)
                    written = copy.deepcopy(self.state) if name == "crash" else self.state
                    stopped = trio.current_time()
                    break
                await getattr(self, f"do_{name}")(*args)
        if written is None:
            return True
        if name == "crash":
            # The program was killed: what it had noted by then is all it leaves.
            stopped -= WRITTEN
            self.disown_sent(stopped)
        if name == "crash" or self.ack == "next":
            unnoted = [one for one in self.received if self.told_at[id(one)] >= stopped]
            self.again |= {key_of(event) for event in unnoted}
            self.unnoted |= {id(event) for event in unnoted}
        self.state = written
        return False

    async def stop_listening(self, events, listening):
        """The loop ends: with ``ack="next"`` what it has not come back for will come again."""
        if self.ack == "next":
            listening.cancel()
            self.again |= {key_of(event) for event in self.received[-1:]}
        else:
            self.lazy = 0
            while events._buffer.events:  # noqa: ASYNC110 - the loop tells nobody that it is done
                await trio.sleep(0.1)

    def disown_sent(self, since):
        """What was sent since then the client does not know as its own any more."""
        for one in self.tokens.values():
            if self.mine.get(one.mid, float("inf")) >= since:
                self.mine.pop(one.mid, None)
                one.late = True

    async def do_calm(self):
        self.quota, self.delay, self.faults, self.resting = None, 0, 0, "well"
        self.lag = self.lazy = 0
        self.blind = self.silent = self.deaf = False
        await self.do_break(0)
        await trio.sleep(600)

    # The claim.

    def audit(self):
        """Every message once, in order, or a gap that is true."""
        for cid, room in self.rooms.items():
            self.audit_room(cid, room)
        self.audit_notices()

    def audit_room(self, cid, room):
        events = [one for one in self.received if getattr(one, "conversation_id", None) == cid]
        gaps = [event for event in events if isinstance(event, Gap)]
        told = self.once([event for event in events if isinstance(event, MessageReceived)])
        mids = [event.message.id for event in told]
        assert not set(self.mine).intersection(mids), f"{cid}: its own: {mids}"
        late = {one.mid for one in room.said if one.late}
        times = [event.message.timestamp_ms for event in told if event.message.id not in late]
        assert times == sorted(times), f"{cid}: out of order: {mids}"
        for one in room.said:
            if one.owed and one.mid not in mids:
                assert any(covers(gap, one) for gap in gaps), (
                    f"{cid}: {one} is missing without a gap: {mids}, {gaps}"
                )
        for gap in gaps:
            self.check(gap, room, mids)
        self.audit_edits(room, events)

    def once(self, events):
        """These events without what was told again because a program stopped."""
        kept = {}
        for event in events:
            key = key_of(event)
            assert key not in kept or key in self.again, f"told twice: {event}"
            kept.setdefault(key, event)
        return list(kept.values())

    def audit_edits(self, room, events):
        """What the client knows of each message is what became of it."""
        if any(cid == room.cid and op == OpType.LEFT for op, cid, _ in self.notices):
            return
        changes = MessageReceived, MessageUpdated, MessageRecalled
        known = {event.message.id: event for event in events if isinstance(event, changes)}
        for one in room.said:
            event = known.get(one.mid)
            if event is None or not one.patched:
                continue
            assert isinstance(event.message, RecalledMessage) is one.recalled, (
                f"{one} is known as {event}"
            )
            assert one.recalled or event.message.body == one.body, f"{one} is known as {event}"

    def audit_notices(self):
        told = self.once([event for event in self.received if isinstance(event, Invited | Kicked)])
        if not self.rest or any(isinstance(event, NotificationGap) for event in self.received):
            return
        assert {key_of(event) for event in told} == {
            (TOLD_AS[op], cid, at) for op, cid, at in self.notices
        }

    def check(self, gap, room, mids):
        """A gap is true: something is missing in it, or nobody can know that nothing is."""
        if gap.error is not None:
            self.check_error(gap, room)
        elif gap.missing_until is not None:
            lost = [
                one
                for one in room.said
                if one.meant and covers(gap, one) and one.mid not in {*mids, *self.mine}
            ]
            assert lost or self.cannot_be_known(gap, room), f"{gap} and nothing is missing"
        else:
            assert gap.missing_from is None, gap
            assert gap.filled or gap.edited or gap.notices, f"{gap} says nothing"

    def check_error(self, gap, room):
        """Why a history could not be had is told as it is."""
        code = getattr(gap.error, "code", None)
        if code == 4200:
            assert self.faulted > PATIENT, gap
        elif code == 4312:
            assert room.cid in self.left, gap
        else:
            assert isinstance(gap.error, CommandTimeout), gap
            assert self.was_silent, gap

    def cannot_be_known(self, gap, room):
        """What docs/reliability.md says: where a gap may be empty."""
        after = 0 if gap.missing_from is None else ms_from_datetime(gap.missing_from)
        # A history that was given up does not say whether it had more.
        given_up = room.forgotten_until >= after > 0
        # The last message that was heard does not say that it was a will.
        will = any(not one.stored and one.at == after for one in room.said)
        # Who was out in between is not shown what was said before.
        out = any(at >= after > 0 for at in self.left.get(room.cid, ()))
        # Where the first login was cut off, nothing tells whether it would have brought more.
        late = self.told_at[id(gap)] >= self.cut_off
        more = self.push and late and gap.missing_from is None
        # What a history does not show yet may be pushed in the end.
        hidden = any(one.hidden and covers(gap, one) for one in room.said)
        return given_up or will or out or more or hidden


def after_all(room, at):
    """A time behind everything that was said, and not before this one."""
    return at if room.last is None else max(at, room.last.at + 1)


TOLD_AS = {OpType.JOINED: Invited, OpType.LEFT: Kicked}


def key_of(event):
    """What makes an event the same as another one."""
    if isinstance(event, MessageReceived):
        return event.conversation_id, event.message.id
    if isinstance(event, Invited | Kicked):
        return type(event), event.conversation_id, ms_from_datetime(event.at)
    return id(event)


def covers(gap, one):
    if gap.missing_from is None and gap.missing_until is None:
        return False
    after = gap.missing_from is None or ms_from_datetime(gap.missing_from) <= one.at
    before = gap.missing_until is None or one.at <= ms_from_datetime(gap.missing_until)
    return after and before
