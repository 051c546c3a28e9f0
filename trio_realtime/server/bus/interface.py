"""Who is online, and how what concerns them reaches them: what every bus can do.

There is one bus for each app. It is touched only in the event loop. What is above it knows
its own sessions, and must not count on being the only process: the same client may be logged
in elsewhere, and those in a chat room may be spread over many processes.

Two kinds of methods follow from this. Some are local by nature: they concern a session of
this process, or only need to be passed on in order. They return at once. The others need an
answer that many processes may have to agree on; they return an `Answer`, which is there at
once where one process knows everything.

What must hold of every implementation, `tests/server/bus/` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import attrs

from trio_realtime.server.dialects import OutgoingCommand
from trio_realtime.server.rules.types import (
    Caller,
    Clients,
    Evict,
    Feature,
    PresenceStep,
    Push,
    Refusal,
    Room,
    Will,
)

from .answer import Answer
from .nonces import Nonce

CarryOut = Callable[[Caller, Will], None]
"""Carries out the will of a client that was lost."""


class Channel(Protocol):
    """The connection of a session, as a bus sees it."""

    def __hash__(self) -> int: ...

    @property
    def order(self) -> int:
        """Greater for later connections, whichever process they lead to: `ConnectionOrder`."""

    def push(self, outgoing: OutgoingCommand, peer: str | None, priority: int, /) -> None:
        """Queue a command for a client of the connection. Neither waits nor raises."""

    def pause_behind_reply(self) -> None:
        """Keep what is pushed from now on apart from the reply that is queued before it."""


class LiveSession(Protocol):
    """A client logged in on a connection of this process. Compared by identity."""

    @property
    def client_id(self) -> str: ...

    @property
    def connection(self) -> Channel: ...

    @property
    def features(self) -> Feature: ...

    @property
    def tag(self) -> str | None: ...

    @property
    def tokens(self) -> tuple[str, ...]:
        """With which its client may return."""

    @property
    def caller(self) -> Caller:
        """For whom its will speaks."""

    @property
    def room(self) -> str | None:
        """The chat room it is in, as the bus has said with `move`."""

    def move(self, room: str | None, /) -> None:
        """Be in this chat room from now on."""

    def abandon(self, successor: LiveSession | None, /) -> None:
        """Its client has returned on another connection: this one is as good as lost.

        ``successor`` is its session there, where that is one of this process.

        The session calls `Bus.lose`.
        """

    def end(self, code: int, reason: str, /) -> None:
        """It is forced off-line, and tells its client why. The session calls `Bus.leave`."""


@attrs.frozen
class Arrival:
    """A login that the store has granted, on its way to become a session."""

    tag: str | None
    token: str | None
    """With which the client returns, if it does."""
    assumed: bool
    """The tag is only that of the client's newest login: it may be another device."""
    returning: bool


class Bus(Protocol):
    """The live sessions of one app, and the chat rooms they are in."""

    def start(self, carry_out: CarryOut) -> None:
        """Called once, before anything else. ``carry_out`` gets the wills of lost sessions.

        With many processes, also those of sessions of a process that died.
        """

    # Sessions.

    def expect(self, client_id: str, nonce: Nonce | None) -> Answer[None]:
        """A client is about to log in; ``nonce`` is that of its signature, if it showed one.

        Fails with `Refusal` 4102 for a nonce that was claimed before; of many claims at one
        time one succeeds. A nonce stays claimed whatever becomes of the login.

        Called before the transaction of the login, so that of what is committed after it
        nothing is missed: with many processes, what is delivered for this client from now on
        is sent to this one too. An announcement that no `join` follows is forgotten by itself.

        To be awaited, since all processes must agree on it.
        """

    def join(self, session: LiveSession, arrival: Arrival) -> Answer[None]:
        """A login was granted, or granted again: the session is online from now on.

        Older connections that the client has given up, as its token tells, are abandoned. Of
        the other sessions with this tag each is ended (4111); but if the tag is assumed, the
        session fails with this `Refusal`, and nothing changes. Who returns is let into the
        chat room in which it was when its connection broke.

        To be awaited, since a tag is one in the whole cluster. What is delivered meanwhile
        comes to the session after the answer.
        """

    def leave(self, session: LiveSession) -> None:
        """A session is over by its client's will or by force. Its own will goes with it.

        Local: other processes learn of it in time.
        """

    def lose(self, session: LiveSession) -> None:
        """A session's connection broke: keep its place in a room, carry out its will.

        Local: other processes learn of it in time.
        """

    def kick(self, client_id: str, code: int, reason: str) -> Answer[None]:
        """End every session of a client.

        To be awaited, since they may be anywhere: when the answer is there, the sessions of
        this process have ended, and no process that lives misses it.
        """

    # Presence.

    def present(self, audience: Clients | Room, limit: int | None = None) -> Answer[list[str]]:
        """Those of an audience that are online, each once, and at most ``limit`` of them.

        Of `Clients` in the order given; of a `Room` those that are in it.

        To be awaited, since they may be anywhere.
        """

    def perform(self, session: LiveSession, step: PresenceStep) -> Answer[None]:
        """What a command's outcome wants of presence, acting for a session.

        The steps of one session are carried out in the order in which they are asked for.
        One for a session that is over meanwhile changes nothing.

        To be awaited: that a room is entered, or somebody evicted, counts for what is
        delivered after the answer, from wherever; who is in a room only all processes know;
        and a will must outlive the process.
        """

    def evict(self, step: Evict) -> Answer[None]:
        """Take clients out of chat rooms in nobody's name: as `perform` does with this step."""

    def population(self) -> Answer[int]:
        """How many clients are online, each counted once."""

    # Pushes.

    def deliver(self, pushes: Iterable[Push], *, actor: LiveSession | None, at: int) -> None:
        """Fan out what an operation causes, in order. ``at`` is its time in milliseconds.

        Called after the commit, in the order of the commits. Whoever gets two pushes of one
        conversation gets them in the order of their places, whichever processes they come
        from.

        Local: receivers of this process have it queued when this returns; for those of others
        it is on its way, and nobody waits for it.
        """

    # Rates.

    def over_rate(self, client_id: str, limit: str) -> Refusal | None:
        """Count one more command under the limit of this name; the refusal if it is too many.

        Local, since every command is counted: processes tell each other what they have
        counted, so that a client that uses many may exceed a limit for a moment.
        """
