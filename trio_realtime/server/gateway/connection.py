"""One WebSocket connection: commands in, replies and pushes out.

The reader decodes and dispatches without waiting for results; rules run in the store, and
their results come back in the order of the commits, in callbacks that only queue bytes.
What the connection owes at most is bounded on both sides: commands under way by a pause in
reading, bytes to send by the buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import outcome
import trio
from websockets.protocol import State

from trio_realtime.server.bus.local import IM, ActingPresence
from trio_realtime.server.dialects import OutgoingCommand, ServerDialect
from trio_realtime.server.hooks.approval import Approval
from trio_realtime.server.hooks.queue import CarriedOut, Work
from trio_realtime.server.hooks.types import OfflineReason
from trio_realtime.server.metrics import log
from trio_realtime.server.rules import carry_out, handler_of
from trio_realtime.server.rules.types import App, Caller, Handler, Outcome, Refusal
from trio_realtime.server.store.interface import Mode, StoreError, Tx
from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    OpType,
    WireError,
)

from .refusals import command_name, refusal_reply
from .send_buffer import SendBuffer
from .sessions import GatewaySession, installation_command, log_in, session_command
from .websocket import FRAME_TOO_LONG, WebSocket

if TYPE_CHECKING:
    from .gateway import Gateway

T = TypeVar("T")

READ_SIZE = 64 * 1024

SLOW_CONSUMER = 1013
"""Close code for a receiver that does not keep up: try again later."""
LOST = 1006
"""Counted, never sent: the connection broke."""

_RATES: dict[CommandType | None, str] = {
    CommandType.DIRECT: "messages_per_minute",
    CommandType.LOGS: "history_per_minute",
}


class GatewayConnection:
    """One client socket, with any number of clients logged in on it."""

    def __init__(
        self,
        gateway: Gateway,
        stream: trio.abc.Stream,
        websocket: WebSocket,
        dialect: ServerDialect,
        address: str,
    ) -> None:
        assert websocket.request is not None
        limits = gateway.config.limits
        self.gateway = gateway
        self.number = gateway.metrics.connections_total
        """How many there were before."""
        self.dialect = dialect
        self.address = address
        self.origin: str | None = next(iter(websocket.request.headers.get_all("Origin")), None)
        self.app: App | None = None
        self.sessions: dict[str, GatewaySession] = {}
        self.opening: dict[str, list[GenericCommand]] = {}
        """Clients whose login is under way, with the commands that wait for it."""
        self.expired_tokens: dict[str, str] = {}
        """By client id, the client's own expired token with which it just tried to return."""
        self.closed = False
        """Nothing can be sent any more."""
        self.buffer = SendBuffer(
            stream,
            limit=limits.outbound_bytes,
            flusher=gateway.flusher,
            spawn=gateway.spawn,
            on_overflow=self._overflowed,
            on_broken=self.abort,
        )
        self._stream = stream
        self._websocket = websocket
        self._limits = limits
        self._scope = trio.CancelScope()
        self._logged_in = False
        self._in_flight = 0
        self._room_to_read = trio.lowlevel.ParkingLot()
        self._close_code: int | None = None
        self._shed = 0

    # The life of a connection.

    async def run(self) -> None:
        """Read and dispatch until the connection is over, however it ends."""
        self._scope.deadline = trio.current_time() + self._limits.login_timeout
        try:
            with self._scope:
                self._pump()
                await self._read()
            if self._scope.cancelled_caught and self._close_code is None:
                await self._time_out()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._forget_sessions()
            await self._finish()

    def close(self, code: int, reason: str) -> None:
        """Begin to close; what is queued already still leaves first."""
        if self._close_code is not None or self.closed:
            return
        self._close_code = code
        self._forget_sessions()
        if self._websocket.state is State.OPEN:
            self._websocket.send_close(code, reason)
            self._pump()
        self._scope.deadline = trio.current_time() + self._limits.close_timeout

    def abort(self) -> None:
        """Drop the connection without a word."""
        self.closed = True
        self._scope.cancel()

    def note_login(self) -> None:
        """The login time-out is met; from now on the read time-out counts."""
        self._logged_in = True
        self._listen_on()

    def _reached(self, limit: str) -> None:
        self.gateway.metrics.limits[limit] += 1

    def _listen_on(self) -> None:
        if self._close_code is None:
            self._scope.deadline = trio.current_time() + self._limits.read_timeout

    async def _time_out(self) -> None:
        if self.closed:
            return
        if self._logged_in:
            self._reached("read_timeout")
            self.close(4107, "READ_TIMEOUT")
        else:
            self._reached("login_timeout")
            self.close(4108, "LOGIN_TIMEOUT")
        # The client may still answer the close.
        with trio.move_on_after(self._limits.close_timeout):
            while not self._websocket.eof_sent:
                await self._receive()
                self._websocket.events_received()

    async def _finish(self) -> None:
        aborted = self.closed
        ended = self._websocket.close_sent or self._websocket.close_rcvd
        code = ended.code if ended is not None and not aborted else LOST
        if not aborted:
            with trio.move_on_after(self._limits.close_timeout, shield=True):
                self.buffer.flush()
                await self.buffer.wait_below(0)
                await self._linger()
        self.closed = True
        self.gateway.metrics.closes[code] += 1
        if code == FRAME_TOO_LONG:
            self._reached("frame_bytes")
        self.gateway.metrics.shed_total += self.buffer.shed
        if aborted:
            await trio.aclose_forcefully(self._stream)

    async def _linger(self) -> None:
        """Let a close reach the client, although it was still sending.

        Closing a socket with unread data would reset the connection, and the client might
        never read why.
        """
        if self._websocket.close_sent is None or self._websocket.close_rcvd is not None:
            return
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            while await self._stream.receive_some(READ_SIZE):
                pass

    def lose(self, session: GatewaySession) -> None:
        """A session ends because this connection is lost to its client."""
        del self.sessions[session.client_id]
        self.gateway.buses[session.app.id].lose(session)
        if session.will is not None and not self.gateway.draining:
            self.gateway.carry_out(session.will, session)
        session.tell_offline(OfflineReason.LOST)

    def _forget_sessions(self) -> None:
        for session in list(self.sessions.values()):
            self.lose(session)

    def _overflowed(self) -> None:
        """The receiver does not keep up: it catches up when it returns."""
        self._reached("outbound_bytes")
        if self._close_code is None:
            self.buffer.discard()
            self.close(SLOW_CONSUMER, "SLOW_CONSUMER")
        else:
            self.abort()

    # Reading.

    async def _read(self) -> None:
        websocket = self._websocket
        while True:
            for payload, text in websocket.messages():
                if self._close_code is not None:
                    break
                if not self._decode(payload, text=text):
                    break
                if self._in_flight >= self._limits.commands_in_flight:
                    self._reached("commands_in_flight")
                while self._in_flight >= self._limits.commands_in_flight:
                    await self._room_to_read.park()
            # Who does not take the answers may not ask on.
            if self.buffer.size > self._limits.outbound_bytes // 2:
                await self.buffer.wait_below(self._limits.outbound_bytes // 2)
            if websocket.eof_sent or websocket.state is State.CLOSED:
                return
            if await self._receive() and self._logged_in:
                self._listen_on()

    async def _receive(self) -> bool:
        """Feed what arrives to the protocol; whether it made up any frame."""
        data = await self._stream.receive_some(READ_SIZE)
        websocket = self._websocket
        if data:
            websocket.receive_data(data)
        else:
            websocket.receive_eof()
        self._pump()
        return bool(websocket.events)

    def _pump(self) -> None:
        """Queue what the protocol itself has to say: handshake, pongs, closes."""
        data = b"".join(self._websocket.data_to_send())
        if data:
            self.buffer.put(data)

    def _decode(self, payload: bytes, *, text: bool) -> bool:
        try:
            command = self.dialect.decode(payload, text=text)
        except WireError as error:
            log.debug("undecodable frame from %s: %s", self.address, error)
            self.close(4114, "UNPARSEABLE_RAW_MESSAGE")
            return False
        self.gateway.metrics.commands_total += 1
        try:
            size = self.dialect.size_of(command)
        except WireError as error:
            self.refuse(command, Refusal(4114, "UNPARSEABLE_RAW_MESSAGE", str(error)), None)
            return True
        if size > self._limits.frame_bytes:
            self.close(FRAME_TOO_LONG, "FRAME_TOO_LONG")
            return False
        self.dispatch(command)
        return True

    # Commands.

    def dispatch(self, command: GenericCommand) -> None:
        """Find out whom a command acts for, and have it carried out. Never waits."""
        cmd = command.cmd
        if cmd == CommandType.ECHO:
            reply = GenericCommand(cmd=CommandType.ECHO)
            self._send(command, reply, command.peer_id, None)
        elif cmd == CommandType.SESSION and command.op == OpType.OPEN:
            log_in(self, command)
        elif cmd in {CommandType.LOGIN, CommandType.LOGOUT}:
            installation_command(self, command)
        elif command.service in {None, IM}:
            self._dispatch_to_session(command)

    def _dispatch_to_session(self, command: GenericCommand) -> None:
        # Without an id the oldest session is meant: docs/protocol/session.md §8.
        peer = command.peer_id or next(iter(self.sessions), None) or next(iter(self.opening), None)
        if peer is not None and peer in self.opening:
            self.defer(peer, command)
            return
        session = self.sessions.get(peer) if peer is not None else None
        if session is None:
            self.refuse(command, Refusal(4105, "SESSION_REQUIRED"), command.peer_id)
        elif refusal := self._over_rate(session, command):
            self.refuse(command, refusal, session.client_id)
        elif command.cmd == CommandType.SESSION:
            session_command(self, session, command)
        elif command.cmd == CommandType.REPORT and command.op == OpType.UPLOAD:
            reply = GenericCommand(cmd=CommandType.REPORT, op=OpType.UPLOADED)
            self.reply(command, reply, session.client_id, None)
        else:
            handler = handler_of(command.cmd, command.op)
            if handler is None:
                self.refuse_unknown(command, session.client_id)
            else:
                self._run_rule(session, command, handler)

    def defer(self, peer: str, command: GenericCommand) -> None:
        """Keep a command until the login under way is decided; it counts as under way."""
        self._in_flight += 1
        self.opening[peer].append(command)

    def resume(self, deferred: Sequence[GenericCommand]) -> None:
        """Dispatch what waited for a login."""
        self._in_flight -= len(deferred)
        for command in deferred:
            self.dispatch(command)

    def _over_rate(self, session: GatewaySession, command: GenericCommand) -> Refusal | None:
        if command.i is None:
            return None  # acknowledgements and read marks
        kind = _RATES.get(command.cmd, "commands_per_minute")
        return self.gateway.buses[session.app.id].over_rate(session.client_id, kind)

    def _run_rule(self, session: GatewaySession, command: GenericCommand, handler: Handler) -> None:
        """Carry a command out, once the application has nothing against it."""
        if session.hook_queue is None:
            self._carry_out(session, command, handler)
            return

        def caller() -> Caller | None:
            return session.caller if self.sessions.get(session.client_id) is session else None

        def done(result: outcome.Outcome[CarriedOut] | None) -> None:
            self._in_flight -= 1
            if self._room_to_read:
                self._room_to_read.unpark_all()
            if isinstance(result, outcome.Error):
                self.fail(command, result.error, session.client_id)
            elif result is not None:
                out = result.unwrap()
                self._ruled(session, out.command, out.at, out.decided, out.approval)

        self._in_flight += 1
        submit = partial(self.submit, session.app, mode=handler.mode)
        session.hook_queue.enter(Work(command, carry_out, caller, submit, done))

    def _carry_out(
        self, session: GatewaySession, command: GenericCommand, handler: Handler
    ) -> None:
        caller, rule = session.caller, handler.rule

        def run(tx: Tx) -> tuple[int, Outcome]:
            return tx.now, rule(tx, caller, command)

        def done(result: outcome.Outcome[tuple[int, Outcome]]) -> None:
            if isinstance(result, outcome.Error):
                self.fail(command, result.error, session.client_id)
            else:
                self._ruled(session, command, *result.unwrap())

        self.submit(session.app, run, done, mode=handler.mode)

    def _ruled(
        self,
        session: GatewaySession,
        command: GenericCommand,
        at: int,
        decided: Outcome,
        approval: Approval | None = None,
    ) -> None:
        bus = self.gateway.buses[session.app.id]
        presence = ActingPresence(bus, session)
        if decided.finish is not None:
            before = session.will
            decided.finish(presence)
            if session.will is not before:
                session.will_approval = approval
        if command.cmd == CommandType.DIRECT:
            self.gateway.metrics.messages_total += 1
        if decided.reply is not None:
            self.reply(command, decided.reply, session.client_id, at)
        if decided.pushes:
            bus.emit(decided.pushes, actor=session, at=at)
        runner = self.gateway.hooks.get(session.app.id)
        if runner is not None:
            runner.after(session.caller, command, decided, presence)

    def submit(
        self,
        app: App,
        rule: Callable[[Tx], T],
        done: Callable[[outcome.Outcome[T]], None],
        *,
        mode: Mode = "write",
    ) -> None:
        """Have a rule run; it counts as under way until ``done`` was called."""

        def finished(result: outcome.Outcome[T]) -> None:
            self._in_flight -= 1
            if self._room_to_read:
                self._room_to_read.unpark_all()
            try:
                done(result)
            except Exception:  # noqa: BLE001 - see below
                # The store calls back for everybody: nobody else may suffer.
                self.gateway.metrics.internal_errors_total += 1
                log.exception("a result could not be delivered")

        def wanted(tx: Tx) -> T:
            if self.closed and mode != "write":
                # Who asks and goes away leaves no work behind.
                raise Refusal(4105, "SESSION_REQUIRED", "the connection is closed")
            return rule(tx)

        self._in_flight += 1
        try:
            self.gateway.store.submit(app.id, wanted, finished, mode=mode, owner=self)
        except StoreError as error:
            finished(outcome.Error(error))

    # Answers and pushes.

    def reply(
        self, command: GenericCommand, reply: GenericCommand, peer: str | None, at: int | None
    ) -> None:
        """Answer a command; one without a serial id expects no answer."""
        if command.i is not None or command.cmd == CommandType.SESSION:
            self._send(command, reply, peer, at)

    def fail(self, command: GenericCommand, error: BaseException, peer: str | None) -> None:
        """Answer a command whose rule raised."""
        if isinstance(error, Refusal):
            self.refuse(command, error, peer)
            return
        self.gateway.metrics.internal_errors_total += 1
        log.error("%s failed", command_name(command), exc_info=error)
        self.refuse(command, Refusal(4200, "INTERNAL_ERROR"), peer)

    def refuse(self, command: GenericCommand, refusal: Refusal, peer: str | None) -> None:
        """Say no: as an error, or as an acknowledgement with a code for a message."""
        self.gateway.metrics.refusals[refusal.code] += 1
        if refusal.limit is not None:
            self._reached(refusal.limit)
        self.reply(command, refusal_reply(command, refusal), peer, None)

    def refuse_unknown(self, command: GenericCommand, peer: str | None) -> None:
        """Answer a command nobody handles; the connection goes on."""
        detail = f"unknown command {command_name(command)}"
        self.refuse(command, Refusal(4114, "UNPARSEABLE_RAW_MESSAGE", detail), peer)

    def push(self, outgoing: OutgoingCommand, peer: str | None, priority: int) -> None:
        """Queue one push for a client of this connection."""
        if not self.closed and self._close_code is None:
            self.buffer.put(outgoing.frame(self.dialect, peer), priority)

    def push_alone(self, command: GenericCommand, peer: str | None, at: int | None) -> None:
        """A push for one client only."""
        command.service = IM
        if command.server_ts is None:
            command.server_ts = at if at is not None else self.gateway.config.clock()
        self.push(OutgoingCommand(command), peer, 1)

    def _send(
        self, command: GenericCommand, reply: GenericCommand, peer: str | None, at: int | None
    ) -> None:
        if self.closed or self._close_code is not None:
            return
        reply.i = command.i
        if reply.service is None:
            reply.service = IM
        if reply.server_ts is None:
            reply.server_ts = at if at is not None else self.gateway.config.clock()
        self.buffer.put(self.dialect.frame(self.dialect.answer(command, reply), peer))
