"""The bus of a server that is one process: it knows everybody, and answers at once.

A push is encoded once and put into the send buffer of each receiver; nothing here waits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TypeVar

import trio

from trio_realtime.server.dialects import IM, OutgoingCommand
from trio_realtime.server.limits import Limits
from trio_realtime.server.metrics import Metrics
from trio_realtime.server.rules.types import (
    HIGH,
    Clients,
    CountRoom,
    EnterRoom,
    Everyone,
    Evict,
    FindInRooms,
    KeepWill,
    LeaveRoom,
    ListRoom,
    PresenceStep,
    Push,
    Refusal,
    Room,
    Will,
)
from trio_realtime.wire import CommandType

from .answer import DONE, Answer
from .interface import Arrival, CarryOut, LiveSession
from .nonces import Nonce, NonceMemory

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED = 100_000
"""How many clients that may be gone are remembered for their rates, and for their places in
chat rooms. Strangers can have as many names as they like; the oldest are forgotten first."""


class LocalBus:
    """`Bus` for one process.

    With ``nonces`` every login signature counts once.
    """

    def __init__(
        self, limits: Limits, metrics: Metrics, *, nonces: NonceMemory | None = None
    ) -> None:
        self._limits = limits
        self._metrics = metrics
        self._nonces = nonces
        self._carry_out: CarryOut | None = None
        self._clients: dict[str, list[LiveSession]] = {}
        self._wills: dict[LiveSession, Will] = {}
        self._rooms: dict[str, dict[LiveSession, None]] = {}
        self._returning: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._rates: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._minute = -1

    def start(self, carry_out: CarryOut) -> None:
        self._carry_out = carry_out

    # Sessions.

    def expect(self, client_id: str, nonce: Nonce | None) -> Answer[None]:  # noqa: ARG002
        if nonce is None or self._nonces is None or self._nonces.claim(nonce):
            return DONE
        return Answer.failed(Refusal(4102, "SIGNATURE_FAILED", "the nonce was used before"))

    def join(self, session: LiveSession, arrival: Arrival) -> Answer[None]:
        for other in self._sessions_of(session.client_id):
            # Who returns with its token has given up the connection it was on before. What
            # that one may still bring was said before, and must not undo what will be said
            # now. But the return itself may be such a late word, on a connection given up
            # meanwhile.
            if arrival.token in other.tokens and other.connection.order < session.connection.order:
                other.abandon(session)
        rivals = [
            other
            for other in self._sessions_of(session.client_id)
            if other is not session and arrival.tag is not None and other.tag == arrival.tag
        ]
        if rivals and arrival.assumed:
            return Answer.failed(
                Refusal(4111, "SESSION_CONFLICT", "another device logged in with this tag")
            )
        for rival in rivals:
            rival.end(4111, "SESSION_CONFLICT")
        sessions = self._clients.setdefault(session.client_id, [])
        if session not in sessions:
            sessions.append(session)
            self._metrics.sessions += 1
            self._metrics.logins_total += 1
        if arrival.returning:
            self._return_to_room(session)
        return DONE

    def leave(self, session: LiveSession) -> None:
        sessions = self._clients.get(session.client_id, [])
        if session not in sessions:
            return
        sessions.remove(session)
        if not sessions:
            del self._clients[session.client_id]
        self._metrics.sessions -= 1
        self._wills.pop(session, None)
        self._leave_room(session)

    def lose(self, session: LiveSession) -> None:
        room, will = session.room, self._wills.get(session)
        self.leave(session)
        if room is not None:
            self._keep_place(session.client_id, room)
        if will is not None and self._carry_out is not None:
            self._carry_out(session.caller, will)

    def kick(self, client_id: str, code: int, reason: str) -> Answer[None]:
        for session in self._sessions_of(client_id):
            session.end(code, reason)
        return DONE

    def _sessions_of(self, client_id: str) -> tuple[LiveSession, ...]:
        return tuple(self._clients.get(client_id, ()))

    # Presence.

    def present(self, audience: Clients | Room, limit: int | None = None) -> Answer[list[str]]:
        if isinstance(audience, Room):
            found = self._room_clients(audience.cid)
        else:
            found = [name for name in dict.fromkeys(audience.ids) if name in self._clients]
        return Answer.of(found[:limit])

    def perform(self, session: LiveSession, step: PresenceStep) -> Answer[None]:
        match step:
            case EnterRoom(cid):
                self._enter_room(session, cid)
            case LeaveRoom(cid):
                if session.room == cid:
                    self._leave_room(session)
            case Evict():
                return self.evict(step)
            case KeepWill(will):
                self._keep_will(session, will)
            case CountRoom(cid, complete):
                complete(len(self._room_clients(cid)))
            case ListRoom(cid, limit, complete):
                complete(self._room_clients(cid)[:limit])
            case FindInRooms(cids, client_id, complete):
                inside = {other.room for other in self._sessions_of(client_id)}
                complete([cid for cid in cids if cid in inside])
        return DONE

    def evict(self, step: Evict) -> Answer[None]:
        for cid in step.cids:
            self._evict(cid, step.client_ids)
        return DONE

    def population(self) -> Answer[int]:
        return Answer.of(len(self._clients))

    def _online(self, session: LiveSession) -> bool:
        return session in self._clients.get(session.client_id, ())

    def _keep_will(self, session: LiveSession, will: Will | None) -> None:
        self._wills.pop(session, None)
        if will is not None and self._online(session):
            self._wills[session] = will

    # Rooms.

    def _enter_room(self, session: LiveSession, cid: str) -> None:
        if session.room == cid or not self._online(session):
            return
        self._leave_room(session)
        session.move(cid)
        self._rooms.setdefault(cid, {})[session] = None

    def _leave_room(self, session: LiveSession) -> None:
        cid = session.room
        if cid is None:
            return
        session.move(None)
        inside = self._rooms[cid]
        del inside[session]
        if not inside:
            del self._rooms[cid]

    def _return_to_room(self, session: LiveSession) -> None:
        cid, until = self._returning.pop(session.client_id, ("", 0.0))
        if cid and until > trio.current_time() and session.room is None:
            self._enter_room(session, cid)

    def _evict(self, cid: str, client_ids: Sequence[str]) -> None:
        """Take clients out of a room, also those about to return."""
        for client_id in client_ids:
            for session in self._sessions_of(client_id):
                if session.room == cid:
                    self._leave_room(session)
            if self._returning.get(client_id, ("", 0.0))[0] == cid:
                del self._returning[client_id]

    def _room_clients(self, cid: str) -> list[str]:
        return list(dict.fromkeys(session.client_id for session in self._rooms.get(cid, ())))

    def _keep_place(self, client_id: str, cid: str) -> None:
        now = trio.current_time()
        while self._returning:
            oldest = next(iter(self._returning))
            if self._returning[oldest][1] > now:
                break
            del self._returning[oldest]
        self._returning.pop(client_id, None)
        _remember(self._returning, client_id, (cid, now + self._limits.room_return))

    # Pushes.

    def deliver(self, pushes: Iterable[Push], *, actor: LiveSession | None, at: int) -> None:
        paused = False
        for push in pushes:
            command, needs = push.command, push.needs
            command.service = IM
            if command.server_ts is None:
                command.server_ts = at
            outgoing = OutgoingCommand(command)
            # Only chat rooms may lose messages.
            priority = push.priority if isinstance(push.to, Room) else HIGH
            left_out = actor if push.except_actor else None
            except_client = push.except_client
            beside = actor if command.cmd == CommandType.CONV and not paused else None
            pushed = 0
            # Everything that is the same for all of them is above: there may be thousands.
            for session in self._audience(push):
                client_id = session.client_id
                if (
                    session is left_out
                    or client_id == except_client
                    or (needs and needs & ~session.features)
                ):
                    continue
                connection = session.connection
                if beside is not None and session is not beside and connection is beside.connection:
                    connection.pause_behind_reply()
                    beside, paused = None, True
                connection.push(outgoing, client_id, priority)
                pushed += 1
            self._metrics.pushes_total += pushed

    def _audience(self, push: Push) -> list[LiveSession]:
        if isinstance(push.to, Room):
            return list(self._rooms.get(push.to.cid, ()))
        clients = self._clients
        if isinstance(push.to, Everyone):
            return [session for sessions in clients.values() for session in sessions]
        return [session for name in push.to.ids for session in clients.get(name, ())]

    # Rates.

    def over_rate(self, client_id: str, limit: str) -> Refusal | None:
        at_most: int | None = getattr(self._limits, limit)
        if at_most is None:
            return None
        minute = int(trio.current_time() // 60)
        if minute != self._minute:
            self._minute = minute
            self._rates.clear()
        count = self._rates.pop((client_id, limit), 0) + 1
        _remember(self._rates, (client_id, limit), count)
        if count <= at_most:
            return None
        return Refusal(4116, "MESSAGE_SENT_QUOTA_EXCEEDED", limit=limit)


def _remember(memory: OrderedDict[K, V], key: K, value: V) -> None:
    """Add what is new, and forget the oldest where there is too much."""
    memory[key] = value
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
