"""What can happen: to the conversations, to the line, to the server, and what the client does."""

from __future__ import annotations

import contextlib

import trio
import trio.testing

from trio_realtime import RealtimeError, TextMessage
from trio_realtime.wire import CommandType, ConvCommand, GenericCommand, OpType

from .rooms import ME
from .world import server_time

RECALLED = '{"_lctype":-127}'


class Moves:
    """Each method that is named ``do_...`` is a move.

    Args:
        world: the truth.
        server: what the client talks to.
        rest: likewise.
    """

    def __init__(self, world, server, rest):
        self.world = world
        self.server = server
        self.rest = rest
        self.client = None
        """None while the program is not running."""
        self.nursery = None
        self.lazy = 0.0
        """Seconds that the program takes for each event."""

    async def make(self, name, *args):
        await getattr(self, f"do_{name}")(*args)

    async def do_wait(self, seconds):
        await trio.sleep(seconds)

    # What is said.

    async def do_say(self, cid, sender, count):
        for _ in range(count):
            if sender == ME and not self.can_be_heard(self.world.rooms[cid]):
                return
            self.server.tell(cid, self.world.keep(cid, sender))

    def can_be_heard(self, room):
        """Whether this client can know what it sends there elsewhere: no counter tells."""
        heard = any(event.conversation_id == room.cid for event in self.world.told.heard())
        return room.joined_at is not None and (room.kind == 1 or (room.kind == 4 and heard))

    async def do_twins(self, cid):
        """Two messages of one time, in the other order than their ids'."""
        first = self.world.keep(cid, "Jerry")
        second = self.world.keep(cid, "Jerry")
        second.at = first.at
        for one in sorted((first, second), key=lambda one: one.mid, reverse=True):
            one.late = True
            self.server.tell(cid, one)
        # The last message of the conversation is the one that is pushed first.
        one.behind = True

    async def do_late(self, cid):
        """The second of two is pushed first."""
        first = self.world.keep(cid, "Jerry", late=True, behind=True)
        second = self.world.keep(cid, "Jerry")
        self.server.tell(cid, second)
        self.server.tell(cid, first)

    async def do_will(self, cid):
        self.server.tell(cid, self.world.keep(cid, "Jerry", stored=False, late=True))

    async def do_edit(self, cid):
        self.change(cid, recalled=False)

    async def do_recall(self, cid):
        self.change(cid, recalled=True)

    def change(self, cid, *, recalled):
        world = self.world
        room = world.rooms[cid]
        if room.last is None or room.joined_at is None or room.last not in room.history():
            return
        one = room.last
        world.patched = one.patched = max(world.patched + 1, server_time(), world.begun_at + 1)
        one.body = RECALLED if recalled else f"{one.mid} edited {one.patched}"
        one.recalled = recalled
        self.server.tell_patch(cid, one)

    # Who may hear it.

    async def do_invite(self, cid):
        room = self.world.rooms[cid]
        if room.joined_at is None:
            after = 0 if room.last is None else room.last.at + 1
            room.joined_at = self.server.tell_notice(OpType.JOINED, cid, after)

    async def do_remove(self, cid):
        room = self.world.rooms[cid]
        if room.joined_at is not None:
            self.world.disown_unheard(room)
            self.world.note_left(cid, self.server.tell_notice(OpType.LEFT, cid))

    async def do_forget(self, cid):
        """The server gives up the history it has."""
        room = self.world.rooms[cid]
        self.world.disown_unheard(room)
        if room.last is not None:
            room.forgotten_until = room.last.at
            for one in room.said:
                # What still comes now comes after what is in the history; of what was said
                # before the first login nothing tells but the pushes.
                one.late = True
                if one.at < self.world.begun_at:
                    one.owed = False

    # What the client does.

    async def do_send(self, cid):
        if self.client is not None:
            self.nursery.start_soon(self.send_own, self.client, cid)

    async def send_own(self, client, cid):
        with contextlib.suppress(RealtimeError):
            sent = await client.send(cid, TextMessage(f"own {next(self.world.ids)}"))
            self.world.mine[sent.id] = trio.current_time()

    async def do_quit(self, cid):
        if self.server.link is None or self.world.rooms[cid].joined_at is None:
            return
        session = self.client._session
        leave = ConvCommand(cid=cid, m=[ME])
        command = GenericCommand(cmd=CommandType.CONV, op=OpType.REMOVE, conv_message=leave)
        with trio.move_on_after(5), contextlib.suppress(RealtimeError):
            await session.request(command)
            session.delivery.left(cid)

    async def do_pause(self, seconds):
        if self.client is not None:
            self.server.lose_link()
            self.client.pause()
            await trio.sleep(seconds)
            self.client.resume()

    # What becomes of the line.

    async def do_break(self, seconds):
        await self.do_cut()
        await trio.sleep(seconds)
        await self.do_mend()

    async def do_cut(self):
        """The line breaks, and stays broken until it is mended."""
        self.server.scripted.refusing = True
        self.server.lose_link()
        if self.server.wire is not None:
            await self.server.wire.abort()
        # The client has noticed.
        await trio.testing.wait_all_tasks_blocked()

    async def do_mend(self):
        self.server.scripted.refusing = False
        if self.client is not None:
            self.client.retry()

    async def do_hang(self, seconds):
        """Nothing comes through any more, and after a while the line breaks."""
        if (link := self.server.lose_link()) is not None:
            link.hangs = True
            await trio.sleep(seconds)
            await link.abort()

    async def do_goaway(self):
        self.server.push(GenericCommand(cmd=CommandType.GOAWAY))

    async def do_lose(self):
        """The server forgets the session."""
        if (link := self.server.lose_link()) is not None:
            link.sessionless = True

    # How the server and the program behave from now on.

    async def do_kind(self):
        """Whatever the server and the program do, they do at once."""
        self.server.calm_down()
        self.rest.mood, self.lazy = "well", 0

    async def do_fault(self, count):
        """So many histories are refused for no reason."""
        self.server.faults = count
        self.world.faulted += count

    async def do_set(self, name, value):
        assert hasattr(self.server, name), name
        setattr(self.server, name, value)
        self.world.was_silent |= self.server.silent

    async def do_rest(self, mood):
        self.rest.mood = mood

    async def do_lazy(self, seconds):
        self.lazy = seconds

    async def do_calm(self):
        await self.do_kind()
        await self.do_break(0)
        await trio.sleep(600)
