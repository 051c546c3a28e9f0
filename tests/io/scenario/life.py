"""One client's life: runs of a program, with its state kept or in flight when it stops."""

from __future__ import annotations

import copy
import itertools

import trio

from trio_realtime import (
    Gap,
    Invited,
    Kicked,
    MessageRecalled,
    MessageReceived,
    MessageUpdated,
    NotificationGap,
    open_client,
)

from . import rest
from .moves import Moves
from .oracle import audit
from .rest import UnkindRest
from .rooms import ME
from .server import UnkindServer
from .world import World, key_of

TOLD = (
    MessageReceived,
    MessageUpdated,
    MessageRecalled,
    Gap,
    Invited,
    Kicked,
    NotificationGap,
)
WRITTEN = 1.001
"""Seconds within which a client writes down how far it has come."""
STOPS = {"restart", "crash", "stop", "kill"}
"""How a program ends; after the last two of them it stays away until "start"."""


class Scenario:
    """One client's life, step by step.

    Args:
        push: missed messages are pushed after a login, the latest of them.
        rest: there is a REST API, that knows which memberships were missed.
        ack: see `open_client`.
    """

    def __init__(self, *, push: bool = False, rest: bool = False, ack: str = "delivery") -> None:
        self.ack = ack
        self.world = World(push, rest)
        self.server = UnkindServer(self.world)
        self.rest = UnkindRest(self.world)
        self.moves = Moves(self.world, self.server, self.rest)
        self.state = {}
        self.steps = iter(())
        self.nursery = None

    async def run(self, steps):
        """Live through these steps and a calm end; then see what was told.

        What the first steps say, if it is "past", was said before the client ever came.
        """
        past = list(itertools.takewhile(lambda step: step[0] == "past", steps))
        for _, cid, count in past:
            for _ in range(count):
                self.world.keep_past(cid)
        self.steps = iter((*steps[len(past) :], ("calm",)))
        async with trio.open_nursery() as self.nursery:
            self.moves.nursery = self.nursery
            self.nursery.start_soon(self.server.serve)
            while (stopped_by := await self.live()) is not None:
                if stopped_by in {"stop", "kill"}:
                    await self.be_away()
            self.nursery.cancel_scope.cancel()
        audit(self.world)

    async def live(self):
        """One run of the program; what ended it, if it was not the end."""
        self.server.scripted.refusing = False
        self.world.told.runs.append(len(self.world.told.received))
        async with open_client(ME, **self.options) as self.moves.client:
            events = self.moves.client.events(*TOLD, max_buffer=10**6)
            listening = trio.CancelScope()
            self.nursery.start_soon(self.listen, events, listening)
            for name, *args in self.steps:
                if name in STOPS:
                    break
                await self.moves.make(name, *args)
            else:
                return None
            killed = name in {"crash", "kill"}
            await self.stop_listening(events, listening)
            self.world.disown_unwritten()
            self.world.note_first_end(trio.current_time() - WRITTEN)
            written = copy.deepcopy(self.state) if killed else self.state
            stopped = trio.current_time()
        self.moves.client = None
        if killed:
            # All that it leaves is what it had noted by then.
            stopped -= WRITTEN
            self.world.disown_sent(stopped)
        if killed or self.ack == "next":
            self.world.told.forget_since(stopped)
        self.state = written
        return name

    async def be_away(self):
        """The program does not run, and life goes on."""
        for step in self.steps:
            if step[0] == "start" or step[0] in STOPS:
                return
            if step[0] == "calm":
                self.steps = iter([step])
                return
            await self.moves.make(*step)

    @property
    def options(self):
        options = {**self.server.scripted.options, "state": self.state, "ack": self.ack}
        options["open_stream"] = self.open_stream
        options |= {"offline_messages": "push" if self.world.push else "unread"}
        if self.world.rest:
            options["server"] = f"http://{rest.HOST}"
        return options

    async def open_stream(self, host, port):
        if host == rest.HOST:
            return self.rest.connect(self.nursery)
        return await self.server.scripted.open_stream(host, port)

    async def listen(self, events, scope):
        with scope:
            async for event in events:
                self.world.told.take(event)
                await trio.sleep(self.moves.lazy)

    async def stop_listening(self, events, listening):
        """The loop ends: with ``ack="next"`` what it has not come back for will come again."""
        if self.ack == "next":
            listening.cancel()
            told = self.world.told
            told.again |= {key_of(event) for event in told.received[-1:]}
        else:
            self.moves.lazy = 0
            while events._buffer.events:  # noqa: ASYNC110 - the loop tells nobody that it is done
                await trio.sleep(0.1)
