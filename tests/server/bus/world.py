"""Sessions without sockets, and a bus of whichever implementation between them."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio.testing

from trio_realtime.server.bus.interface import Arrival
from trio_realtime.server.bus.local import LocalBus
from trio_realtime.server.bus.nonces import NonceMemory
from trio_realtime.server.limits import Limits
from trio_realtime.server.metrics import Metrics
from trio_realtime.server.rules.types import App, Caller, Clients, Feature, Push
from trio_realtime.wire import CommandType, DirectCommand, GenericCommand

APP = App("app", "key", "master")

LIMITS = Limits(messages_per_minute=2, commands_per_minute=1, room_return=100)


class Line:
    """A connection that notes what it is given."""

    def __init__(self, order):
        self.order = order
        self.got = []

    def push(self, outgoing, peer, priority):
        self.got.append((peer, outgoing.command, priority))

    def pause_behind_reply(self):
        self.got.append("pause")


class Live:
    """A session as a bus sees it; notes how it ended."""

    def __init__(self, bus, client_id, line, *, features=Feature(255), tag=None, token=None):
        self.bus = bus
        self.client_id = client_id
        self.connection = line
        self.features = features
        self.tag = tag
        self.tokens = frozenset({token or f"token of {client_id} on {line.order}"})
        self.caller = Caller(APP, client_id, self)
        self.room = None
        self.ended = None

    def __repr__(self):
        return f"<{self.client_id} on {self.connection.order}>"

    def move(self, room):
        self.room = room

    def abandon(self, successor=None):
        self.ended, self.successor = "abandoned", successor
        self.bus.lose(self)

    def end(self, code, reason):
        self.ended = (code, reason)
        self.bus.leave(self)

    @property
    def texts(self):
        """What it was told, in order."""
        return [text_of(item[1]) for item in self.connection.got if item[0] == self.client_id]


def text_of(command):
    return command.direct_message.msg


def message(text, *to, place=None, cid="c", **options):
    """A push of a message; ``to`` are clients, or one audience."""
    audience = to[0] if to and not isinstance(to[0], str) else Clients(to)
    command = GenericCommand(
        cmd=CommandType.DIRECT, direct_message=DirectCommand(cid=cid, msg=text)
    )
    return Push(audience, command, conversation_id=cid, place=place, **options)


class Cluster:
    """Buses that are one; of an implementation for one process, one and the same."""

    def __init__(self, *buses):
        self.buses = buses
        self.wills = []
        self._lines = 0
        for bus in buses:
            bus.start(lambda caller, will: self.wills.append((caller.client_id, will)))

    def bus(self, node=0):
        return self.buses[node % len(self.buses)]

    def line(self):
        self._lines += 1
        return Line(self._lines)

    def session(self, client_id, *, node=0, line=None, **options):
        return Live(self.bus(node), client_id, line or self.line(), **options)

    async def join(self, session, *, token=None, assumed=False, returning=False):
        await session.bus.expect(session.client_id, None)
        await session.bus.join(session, Arrival(session.tag, token, assumed, returning))
        return session

    async def login(self, client_id, *, returning=False, **options):
        return await self.join(self.session(client_id, **options), returning=returning)

    async def settle(self):
        """Wait until everything that is on its way has arrived."""
        await trio.testing.wait_all_tasks_blocked()

    async def deliver(self, *pushes, node=0, actor=None, at=1000):
        bus = self.bus(node) if actor is None else actor.bus
        bus.deliver(pushes, actor=actor, at=at)
        await self.settle()


@asynccontextmanager
async def local(*, nonces=True):
    yield Cluster(LocalBus(LIMITS, Metrics(), nonces=NonceMemory() if nonces else None))


IMPLEMENTATIONS = {"local": local}
"""What makes a `Cluster` of each implementation. An implementation for many processes gives it
two buses or more."""

__all__ = ["APP", "IMPLEMENTATIONS", "Cluster", "Line", "Live", "message", "text_of"]
