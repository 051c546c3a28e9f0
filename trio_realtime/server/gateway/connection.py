"""One WebSocket connection: commands in, replies and pushes out.

The reader decodes commands and hands them on without waiting for results. What the connection
owes at most is bounded on both sides: commands under way by a pause in reading, bytes to send
by the buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import outcome
import trio
from websockets.protocol import State

from trio_realtime._values.error_codes import ErrorCode
from trio_realtime.server.bus.answer import Answer
from trio_realtime.server.dialects import IM, OutgoingCommand, ServerDialect
from trio_realtime.server.metrics import log
from trio_realtime.server.pace import Pace
from trio_realtime.server.rules.backlog import Content, contents_of
from trio_realtime.server.rules.types import HIGH, Refusal
from trio_realtime.server.store.interface import Mode, StoreError, StoreUnavailable, Tx
from trio_realtime.wire import CommandType, GenericCommand, WireError

from .context import AppContext, ServerContext
from .read_queue import ReadQueue
from .refusals import command_name, refusal_reply
from .send_buffer import ASKED, SendBuffer
from .session import GatewaySession
from .websocket import FRAME_TOO_LONG, WebSocket
from .weight import weight

T = TypeVar("T")
R = TypeVar("R")

READ_SIZE = 64 * 1024
PARSED_AT_ONCE = 2 * 1024
"""Bytes after which others have a turn, whatever is in them: a few hundred messages at most."""
IDLE_PARSED_AT_ONCE = 256
"""The same behind frames that are no messages, each of which takes ten times as long, and at the
beginning."""

HANDLED_AT_ONCE = 16
"""Commands after which others have a turn, however small they are."""

SLOW_CONSUMER = 1013
"""Close code for a receiver that does not keep up: try again later."""
LOST = 1006
"""Counted, never sent: the connection broke."""

OTHER = 0
"""Counted for all codes that neither RFC 6455 nor the protocol knows: clients may choose any."""
_KNOWN_CODES = frozenset({*range(1000, 1016), *ErrorCode})

BEHIND_REPLY = 0.020
"""An SDK's test fails when what an operation causes for another client reaches the same
connection together with the reply: docs/protocol/conversations.md §10."""


class GatewayConnection:
    """One client socket, with any number of clients logged in on it."""

    def __init__(
        self,
        server: ServerContext,
        handle: Callable[[GatewayConnection, GenericCommand], None],
        stream: trio.abc.Stream,
        websocket: WebSocket,
        dialect: ServerDialect,
        address: str,
    ) -> None:
        assert websocket.request is not None
        limits = server.config.limits
        self.server = server
        self.order: int = server.order.next()
        """Greater for later connections."""
        self.dialect = dialect
        self.address = address
        self.origin: str | None = next(iter(websocket.request.headers.get_all("Origin")), None)
        self.app: AppContext | None = None
        self.sessions: dict[str, GatewaySession] = {}
        self.opening: dict[str, list[GenericCommand]] = {}
        """Clients whose login or logout is under way, with the commands that wait for it."""
        self.expired_tokens: dict[str, str] = {}
        """By client id, the client's own expired token with which it just tried to return."""
        self.closed: bool = False
        """Nothing can be sent any more."""
        self.buffer: SendBuffer = SendBuffer(
            stream,
            limit=limits.outbound_bytes,
            flusher=server.flusher,
            spawn=server.spawn,
            on_overflow=self._overflowed,
            on_broken=self.abort,
        )
        self._reads = ReadQueue(self.buffer, at_most=limits.outbound_bytes // 2, spawn=server.spawn)
        self._held: dict[str, list[tuple[Sequence[Content], bytes, int]]] = {}
        """Pushes for clients whose missed messages are still being looked up, with the ids of
        the messages they bring."""
        self._held_bytes = 0
        self._handle = handle
        self._stream = stream
        self._websocket = websocket
        self._limits = limits
        self._scope = trio.CancelScope()
        self._logged_in = False
        self._pace = Pace(limits.idle_frames_per_second)
        self._idle_frames = 0
        """Frames that did no work since the pace was last asked."""
        self._unparsed: bytes | bytearray = websocket.behind_head
        websocket.behind_head = b""
        self._parsed_at_once = IDLE_PARSED_AT_ONCE
        self._in_flight = 0
        self._room_to_read = trio.lowlevel.ParkingLot()
        self._close_code: int | None = None
        self._sessions_forgotten = False

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
        self.buffer.close_gaps()
        if self._websocket.state is State.OPEN:
            self._websocket.send_close(code, reason)
            self._pump()
        self._scope.deadline = trio.current_time() + self._limits.close_timeout

    def abort(self) -> None:
        """Drop the connection without a word."""
        self.closed = True
        self._scope.cancel()

    def dissolve(self) -> None:
        """It is over. What it holds is given back at once: circles would wait for the collector."""
        self.buffer.retire()
        self._websocket.dissolve()

    def note_login(self) -> None:
        """The login time-out is met; from now on the read time-out counts."""
        self._logged_in = True
        self._listen_on()

    def _reached(self, limit: str) -> None:
        self.server.metrics.limits[limit] += 1

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
                for _ignored in self._websocket.messages():
                    pass

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
        self.server.metrics.closes[code if code in _KNOWN_CODES else OTHER] += 1
        if code == FRAME_TOO_LONG:
            self._reached("frame_bytes")
        self.server.metrics.shed_total += self.buffer.shed
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

    @property
    def over(self) -> bool:
        """Whether nobody can be logged in here any more; the rest may still have to leave."""
        return self._sessions_forgotten or self.closed

    def _forget_sessions(self) -> None:
        self._sessions_forgotten = True
        for session in list(self.sessions.values()):
            session.lose()

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
            for number, (payload, text) in enumerate(websocket.messages(), 1):
                if not number % HANDLED_AT_ONCE:
                    await trio.lowlevel.checkpoint()
                await self._wait_for_room()
                if self._close_code is not None or not self._decode(payload, text=text):
                    break
            await self._wait_for_room()
            await self._keep_pace()
            if websocket.eof_sent or websocket.state is State.CLOSED:
                return
            if await self._receive() and self._logged_in:
                self._listen_on()

    async def _wait_for_room(self) -> None:
        """Who does not take the answers may not ask on."""
        if self._in_flight >= self._limits.commands_in_flight:
            self._reached("commands_in_flight")
        while self._in_flight >= self._limits.commands_in_flight:
            await self._room_to_read.park()
        await self.buffer.wait_below(self._limits.outbound_bytes // 2)

    async def _receive(self) -> bool:
        """Feed what arrives to the protocol; whether it made up any frame."""
        websocket = self._websocket
        if self._unparsed:
            await trio.lowlevel.checkpoint()
        else:
            self._unparsed = await self._stream.receive_some(READ_SIZE)
        if not self._unparsed:
            websocket.receive_eof()
            self._pump()
            return False
        at_once = self._parsed_at_once
        heard = websocket.feed(self._unparsed[:at_once])
        self._unparsed = self._unparsed[at_once:]
        self._parsed_at_once = IDLE_PARSED_AT_ONCE if websocket.idle_frames else PARSED_AT_ONCE
        self._pump()
        return heard

    async def _keep_pace(self) -> None:
        """Read on when the frames that did no work are paid for."""
        idle = self._idle_frames + self._websocket.idle_frames
        if not idle:
            return
        self._idle_frames = self._websocket.idle_frames = 0
        wait = self._pace.take(idle, trio.current_time())
        if wait and self._close_code is None:
            self._reached("idle_frames_per_second")
            await trio.sleep(wait)

    def _pump(self) -> None:
        """Queue what the protocol itself has to say: handshake, pongs, closes."""
        data = b"".join(self._websocket.data_to_send())
        if data:
            self.buffer.put(data, ASKED)

    def _decode(self, payload: bytes, *, text: bool) -> bool:
        try:
            command = self.dialect.decode(payload, text=text)
        except WireError as error:
            log.debug("undecodable frame from %s: %s", self.address, error)
            self.close(4114, "UNPARSEABLE_RAW_MESSAGE")
            return False
        self.server.metrics.commands_total += 1
        if not self.sessions or command.cmd == CommandType.ECHO:
            self._idle_frames += 1
        try:
            size = self.dialect.size_of(command, payload, text=text)
        except WireError as error:
            self.refuse(command, Refusal(4114, "UNPARSEABLE_RAW_MESSAGE", str(error)), None)
            return True
        if size > self._limits.frame_bytes:
            self.close(FRAME_TOO_LONG, "FRAME_TOO_LONG")
            return False
        self._handle(self, command)
        return True

    # Commands.

    def defer(self, peer: str, command: GenericCommand) -> None:
        """Keep a command until the login or logout under way is over; it counts as under way."""
        self._in_flight += weight(command)
        self.opening[peer].append(command)

    def resume(self, peer: str) -> None:
        """The login or logout of this client is over: handle what waited for it."""
        deferred = self.opening.pop(peer)
        self._in_flight -= sum(map(weight, deferred))
        for command in deferred:
            if not self.closed:
                self._handle(self, command)

    def under_way(self, then: Callable[[R], None], weight: int = 1) -> Callable[[R], None]:
        """Count a command as under way until what is returned is called with a result.

        ``weight`` is as how many commands it counts.

        Who calls it calls for everybody, so that ``then`` may raise: nobody else suffers.
        """
        self._in_flight += weight
        return partial(self._arrived, then, weight)

    def _arrived(self, then: Callable[[R], None], weight: int, result: R) -> None:
        self._in_flight -= weight
        if self._room_to_read:
            self._room_to_read.unpark_all()
        try:
            then(result)
        except Exception:  # noqa: BLE001 - a defect costs one command
            self.server.metrics.internal_errors_total += 1
            log.exception("a result could not be delivered")

    def when(self, answer: Answer[T], then: Callable[[outcome.Outcome[T]], None]) -> None:
        """Call ``then`` with the bus's answer."""
        if answer.result is not None:
            then(answer.result)
        else:
            answer.then(self.under_way(then))

    def in_turn(self, answer: Answer[T], then: Callable[[outcome.Outcome[T]], None]) -> None:
        """As `when`; and what is sent from now on follows what ``then`` will send."""
        if answer.result is not None:
            then(answer.result)
            return
        slot = self.buffer.slot()

        def fill(result: outcome.Outcome[T]) -> None:
            with self.buffer.filling(slot):
                then(result)

        answer.then(self.under_way(fill))

    @property
    def busy(self) -> bool:
        """Whether anything that was asked for here is not done."""
        return self._in_flight > 0

    def submit(
        self,
        app: AppContext,
        rule: Callable[[Tx], T],
        done: Callable[[outcome.Outcome[T]], None],
        *,
        mode: Mode = "write",
        weight: int = 1,
    ) -> None:
        """Have a rule run; it counts as under way until ``done`` was called."""
        arrived = self.under_way(done, weight)
        reads = mode != "write"

        def finished(result: outcome.Outcome[T]) -> None:
            arrived(result)
            if reads:
                self._reads.finished()

        def wanted(tx: Tx) -> T:
            if self.closed and reads:
                # Who asks and goes away leaves no work behind.
                raise Refusal(4105, "SESSION_REQUIRED", "the connection is closed")
            return rule(tx)

        def begin() -> None:
            try:
                app.store.submit(app.id, wanted, finished, mode=mode, owner=self)
            except StoreError as error:
                finished(outcome.Error(error))

        if reads:
            self._reads.enter(begin)
        else:
            begin()

    # Answers and pushes.

    def reply(
        self, command: GenericCommand, reply: GenericCommand, peer: str | None, at: int | None
    ) -> None:
        """Answer a command; one without a serial id expects no answer."""
        if command.i is not None or command.cmd == CommandType.SESSION:
            self.send_reply(command, reply, peer, at)

    def fail(self, command: GenericCommand, error: BaseException, peer: str | None) -> None:
        """Answer a command whose rule raised."""
        if isinstance(error, Refusal):
            self.refuse(command, error, peer)
            return
        if isinstance(error, StoreUnavailable):
            self.server.note_store(error)
            self.refuse(command, Refusal(4200, "INTERNAL_ERROR"), peer)
            return
        self.server.metrics.internal_errors_total += 1
        log.error("%s failed", command_name(command), exc_info=error)
        self.refuse(command, Refusal(4200, "INTERNAL_ERROR"), peer)

    def refuse(self, command: GenericCommand, refusal: Refusal, peer: str | None) -> None:
        """Say no: as an error, or as an acknowledgement with a code for a message."""
        self.server.metrics.refusals[refusal.code] += 1
        if refusal.limit is not None:
            self._reached(refusal.limit)
        self.reply(command, refusal_reply(command, refusal), peer, None)

    def refuse_unknown(self, command: GenericCommand, peer: str | None) -> None:
        """Answer a command nobody handles; the connection goes on."""
        detail = f"unknown command {command_name(command)}"
        self.refuse(command, Refusal(4114, "UNPARSEABLE_RAW_MESSAGE", detail), peer)

    def push(self, outgoing: OutgoingCommand, peer: str | None, priority: int) -> None:
        """Queue one push for a client of this connection, behind what it has missed."""
        if self.closed or self._close_code is not None:
            return
        frame = outgoing.frame(self.dialect, peer)
        if peer is None or (held := self._held.get(peer)) is None:
            self.buffer.put(frame, priority)
            return
        held.append((contents_of(outgoing.command), frame, priority))
        self._held_bytes += len(frame)
        if self._held_bytes > self._limits.outbound_bytes:
            self._overflowed()

    def hold(self, peer: str) -> None:
        """Keep what is pushed to a client from now on, until `release`."""
        self._held.setdefault(peer, [])

    def holds(self, peer: str) -> bool:
        """Whether what is pushed to a client is kept."""
        return peer in self._held

    def release(
        self, peer: str, known: Callable[[Sequence[Content]], bool] = lambda _: False
    ) -> None:
        """Push what was held for a client, but for what it has been sent meanwhile."""
        for contents, frame, priority in self._held.pop(peer, ()):
            self._held_bytes -= len(frame)
            if self._close_code is None and not known(contents):
                self.buffer.put(frame, priority)

    def pause_behind_reply(self) -> None:
        """Keep what is pushed from now on apart from the reply that is queued before it."""
        self.buffer.pause(BEHIND_REPLY)

    def push_alone(
        self, command: GenericCommand, peer: str | None, at: int | None, priority: int = HIGH
    ) -> None:
        """A push for one client only."""
        self.push(self._alone(command, at), peer, priority)

    def push_missed(self, command: GenericCommand, peer: str, at: int) -> None:
        """What a client has missed: it asked for it with its login, and waits for it first."""
        if not self.closed and self._close_code is None:
            self.buffer.put(self._alone(command, at).frame(self.dialect, peer), ASKED)

    def _alone(self, command: GenericCommand, at: int | None) -> OutgoingCommand:
        command.service = IM
        if command.server_ts is None:
            command.server_ts = at if at is not None else self.server.config.clock()
        return OutgoingCommand(command)

    def send_reply(
        self, command: GenericCommand, reply: GenericCommand, peer: str | None, at: int | None
    ) -> None:
        """Answer a command, whether or not it has a serial id."""
        if self.closed or self._close_code is not None:
            return
        try:
            frame = self.answer(command, reply, peer, at)
        except Exception:  # noqa: BLE001 - who waits for an answer gets one, whatever is wrong
            self.server.metrics.internal_errors_total += 1
            log.exception("the answer to %s cannot be sent", command_name(command))
            refusal = refusal_reply(command, Refusal(4200, "INTERNAL_ERROR"))
            frame = self.answer(command, refusal, peer, at)
        self.send_answer(frame)

    def send_answer(self, frame: bytes) -> None:
        """Queue what `answer` has made."""
        if not self.closed and self._close_code is None:
            self.buffer.put(frame, ASKED)

    def answer(
        self, command: GenericCommand, reply: GenericCommand, peer: str | None, at: int | None
    ) -> bytes:
        """The frame that answers a command. May be called in another thread."""
        reply.i = command.i
        if reply.service is None:
            reply.service = IM
        if reply.server_ts is None:
            reply.server_ts = at if at is not None else self.server.config.clock()
        return self.dialect.frame(self.dialect.answer(command, reply), peer)
