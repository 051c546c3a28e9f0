"""Who is online, and how a push finds its receivers.

One bus per app, touched only in the event loop. A push is encoded once and put into the
buffer of each receiver; nothing here waits.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice

import attrs
import trio

from trio_realtime.server.config import ServerConfig
from trio_realtime.server.dialects import OutgoingCommand
from trio_realtime.server.gateway.send_buffer import HIGH
from trio_realtime.server.gateway.sessions import GatewaySession
from trio_realtime.server.metrics import Metrics
from trio_realtime.server.rules.types import App, Push, Refusal, Room, Will
from trio_realtime.wire import CommandType, GenericCommand

IM = 2
"""``service`` of everything about instant messaging."""

BEHIND_REPLY = 0.010
"""An SDK's test fails when what an operation causes for another client reaches the same
connection together with the reply: docs/protocol/conversations.md §10."""


class Bus:
    """The live sessions of one app, and the chat rooms they are in."""

    def __init__(self, config: ServerConfig, app: App, metrics: Metrics) -> None:
        self.app = app
        self._config = config
        self._metrics = metrics
        self._clients: dict[str, list[GatewaySession]] = {}
        self._rooms: dict[str, dict[GatewaySession, None]] = {}
        self._returning: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._rates: Counter[tuple[str, str]] = Counter()
        self._minute = -1

    # Sessions.

    def add(self, session: GatewaySession) -> None:
        """A client has logged in."""
        self._clients.setdefault(session.client_id, []).append(session)
        self._metrics.sessions += 1
        self._metrics.logins_total += 1

    def remove(self, session: GatewaySession) -> None:
        """A session is over, whatever the reason."""
        sessions = self._clients.get(session.client_id, [])
        if session not in sessions:
            return
        sessions.remove(session)
        if not sessions:
            del self._clients[session.client_id]
        self._metrics.sessions -= 1
        self._leave(session)

    def lose(self, session: GatewaySession) -> None:
        """A session's connection broke: keep its place in a room."""
        room = session.room
        self.remove(session)
        if room is not None:
            self._keep_place(session.client_id, room)

    def sessions_of(self, client_id: str) -> tuple[GatewaySession, ...]:
        """Every live session of a client."""
        return tuple(self._clients.get(client_id, ()))

    def all_sessions(self) -> Iterable[GatewaySession]:
        """Every live session."""
        return (session for sessions in self._clients.values() for session in sessions)

    def online(self, client_ids: Sequence[str]) -> list[str]:
        """Those of the given clients that are logged in."""
        return [client_id for client_id in client_ids if client_id in self._clients]

    # Rooms.

    def enter(self, session: GatewaySession, cid: str) -> None:
        """A session enters a room and leaves the one it was in."""
        if session.room == cid or session not in self._clients.get(session.client_id, ()):
            return
        self._leave(session)
        session.move(cid)
        self._rooms.setdefault(cid, {})[session] = None

    def leave(self, session: GatewaySession, cid: str) -> None:
        """A session leaves this room, if it is there."""
        if session.room == cid:
            self._leave(session)

    def return_to_room(self, session: GatewaySession) -> None:
        """A lost client is back: let it into the room it was in."""
        cid, until = self._returning.pop(session.client_id, ("", 0.0))
        if cid and until > trio.current_time() and session.room is None:
            self.enter(session, cid)

    def evict(self, cid: str, client_ids: Sequence[str]) -> None:
        """Take clients out of a room, also those about to return."""
        for client_id in client_ids:
            for session in self.sessions_of(client_id):
                self.leave(session, cid)
            if self._returning.get(client_id, ("", 0.0))[0] == cid:
                del self._returning[client_id]

    def room_clients(self, cid: str) -> list[str]:
        """The clients in a room, each once."""
        return list(dict.fromkeys(session.client_id for session in self._rooms.get(cid, ())))

    def _leave(self, session: GatewaySession) -> None:
        cid = session.room
        if cid is None:
            return
        session.move(None)
        inside = self._rooms[cid]
        del inside[session]
        if not inside:
            del self._rooms[cid]

    def _keep_place(self, client_id: str, cid: str) -> None:
        now = trio.current_time()
        while self._returning:
            oldest = next(iter(self._returning))
            if self._returning[oldest][1] > now:
                break
            del self._returning[oldest]
        self._returning.pop(client_id, None)
        self._returning[client_id] = (cid, now + self._config.limits.room_return)

    # Pushes.

    def emit(self, pushes: Iterable[Push], *, actor: GatewaySession | None, at: int) -> None:
        """Fan out what an operation causes, in order. ``at`` is its time in milliseconds."""
        paused = False
        for push in pushes:
            command = push.command
            command.service = IM
            if command.server_ts is None:
                command.server_ts = at
            outgoing = OutgoingCommand(command)
            # Only chat rooms may lose messages.
            priority = push.priority if isinstance(push.to, Room) else HIGH
            for session in self._audience(push):
                if (
                    (push.except_actor and session is actor)
                    or session.client_id == push.except_client
                    or push.needs & ~session.features
                ):
                    continue
                connection = session.connection
                if (
                    not paused
                    and actor is not None
                    and session is not actor
                    and connection is actor.connection
                    and command.cmd == CommandType.CONV
                ):
                    connection.buffer.pause(BEHIND_REPLY)
                    paused = True
                connection.push(outgoing, session.client_id, priority)
                self._metrics.pushes_total += 1

    def _audience(self, push: Push) -> list[GatewaySession]:
        if isinstance(push.to, Room):
            return list(self._rooms.get(push.to.cid, ()))
        clients = self._clients
        return [session for name in push.to.ids for session in clients.get(name, ())]

    # Rates.

    def over_rate(self, client_id: str, limit: str) -> Refusal | None:
        """Count one more command under the limit of this name; the refusal if it is too many."""
        at_most: int | None = getattr(self._config.limits, limit)
        if at_most is None:
            return None
        minute = int(trio.current_time() // 60)
        if minute != self._minute:
            self._minute = minute
            self._rates.clear()
        self._rates[client_id, limit] += 1
        if self._rates[client_id, limit] <= at_most:
            return None
        return Refusal(4116, "MESSAGE_SENT_QUOTA_EXCEEDED", limit=limit)


@attrs.frozen
class ActingPresence:
    """`Presence` as one command's outcome sees it."""

    bus: Bus
    session: GatewaySession

    def online(self, client_ids: Sequence[str]) -> list[str]:
        return self.bus.online(client_ids)

    def enter_room(self, cid: str) -> None:
        self.bus.enter(self.session, cid)

    def leave_room(self, cid: str) -> None:
        self.bus.leave(self.session, cid)

    def room_count(self, cid: str) -> int:
        return len(self.bus.room_clients(cid))

    def room_members(self, cid: str, limit: int) -> list[str]:
        return list(islice(self.bus.room_clients(cid), limit))

    def evict(self, cid: str, client_ids: Sequence[str]) -> None:
        self.bus.evict(cid, client_ids)

    def set_will(self, command: GenericCommand, pushes: Sequence[Push]) -> None:
        self.session.will = None
        for push in pushes:
            direct = push.command.direct_message
            assert direct is not None
            self.session.will = Will(command, direct.id or "")
