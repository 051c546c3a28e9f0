"""The way of a command: whom it acts for, the hooks, the rule, and what comes of it.

Nothing here waits. Rules run in the store, and their results come back in the order of the
commits, in callbacks that only queue bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from itertools import islice

import attrs
import outcome

from trio_realtime.server.bus.interface import Bus
from trio_realtime.server.dialects import IM
from trio_realtime.server.hooks.approval import Approval
from trio_realtime.server.hooks.queue import CarriedOut, Work
from trio_realtime.server.hooks.runner import HookRunner
from trio_realtime.server.rules import carry_out, handler_of
from trio_realtime.server.rules.types import (
    Caller,
    Everyone,
    Handler,
    KeepWill,
    Outcome,
    Refusal,
    Room,
)
from trio_realtime.server.store.interface import Tx
from trio_realtime.wire import CommandType, GenericCommand, OpType

from .connection import GatewayConnection
from .logins import installation_command, log_in, session_command
from .reply_order import Turn
from .session import GatewaySession
from .weight import weight

ROOM_SHOWN = 1000
"""How many of those in a chat room the hooks are told of."""

_RATES: dict[CommandType | None, str] = {
    CommandType.DIRECT: "messages_per_minute",
    CommandType.LOGS: "history_per_minute",
    CommandType.ACK: "acknowledgements_per_minute",
    CommandType.READ: "acknowledgements_per_minute",
}


def handle(connection: GatewayConnection, command: GenericCommand) -> None:
    """Find out whom a command acts for, and have it carried out."""
    cmd = command.cmd
    if cmd == CommandType.ECHO:
        reply = GenericCommand(cmd=CommandType.ECHO)
        connection.send_reply(command, reply, command.peer_id, None)
    elif cmd == CommandType.SESSION and command.op == OpType.OPEN:
        log_in(connection, command)
    elif cmd in {CommandType.LOGIN, CommandType.LOGOUT}:
        installation_command(connection, command)
    elif command.service in {None, IM}:
        _handle_for_session(connection, command)
    else:
        connection.refuse_unknown(command, command.peer_id)


def _handle_for_session(connection: GatewayConnection, command: GenericCommand) -> None:
    # Without an id the oldest session is meant: docs/protocol/session.md §8.
    peer = command.peer_id or next(iter(connection.sessions), next(iter(connection.opening), None))
    if peer is not None and peer in connection.opening:
        connection.defer(peer, command)
        return
    session = connection.sessions.get(peer) if peer is not None else None
    if session is None:
        connection.refuse(command, Refusal(4105, "SESSION_REQUIRED"), command.peer_id)
    elif refusal := _over_rate(session, command):
        connection.refuse(command, refusal, session.client_id)
    elif command.cmd == CommandType.SESSION:
        session_command(connection, session, command)
    elif command.cmd == CommandType.REPORT and command.op == OpType.UPLOAD:
        reply = GenericCommand(cmd=CommandType.REPORT, op=OpType.UPLOADED)
        connection.reply(command, reply, session.client_id, None)
    else:
        handler = handler_of(command.cmd, command.op)
        if handler is None:
            connection.refuse_unknown(command, session.client_id)
        else:
            _run_rule(connection, session, command, handler)


def _over_rate(session: GatewaySession, command: GenericCommand) -> Refusal | None:
    kind = _RATES.get(command.cmd, "commands_per_minute")
    return session.app.bus.over_rate(session.client_id, kind)


def _run_rule(
    connection: GatewayConnection,
    session: GatewaySession,
    command: GenericCommand,
    handler: Handler,
) -> None:
    """Carry a command out, once the application has nothing against it."""
    turn = session.replies.begin(reads=not handler.writes)
    if session.hook_queue is None:
        _run_now(connection, session, command, handler, turn)
        return

    def caller() -> Caller | None:
        return session.caller if session.live else None

    submit = partial(connection.submit, session.app, mode=handler.mode)
    approved = partial(_approved, connection, session, command, turn)
    done = connection.under_way(approved, weight(command))
    session.hook_queue.enter(Work(command, carry_out, caller, submit, done))


def _approved(
    connection: GatewayConnection,
    session: GatewaySession,
    command: GenericCommand,
    turn: Turn,
    result: outcome.Outcome[CarriedOut] | None,
) -> None:
    with session.replies.answering(turn):
        if result is None:
            # The session ended while the application was thinking; the connection may live on.
            connection.refuse(command, Refusal(4105, "SESSION_REQUIRED"), session.client_id)
        elif isinstance(result, outcome.Error):
            connection.fail(command, result.error, session.client_id)
        else:
            out = result.unwrap()
            _decided(connection, session, out.command, out.at, out.decided, out.approval)


def _run_now(
    connection: GatewayConnection,
    session: GatewaySession,
    command: GenericCommand,
    handler: Handler,
    turn: Turn,
) -> None:
    caller, rule = session.caller, handler.rule

    def run(tx: Tx) -> tuple[int, Outcome, bytes | None]:
        decided = rule(tx, caller, command)
        frame = None
        if not handler.writes and decided.presence is None and decided.reply is not None:
            # A page may be large. Here it is encoded in the thread that has read it.
            frame = connection.answer(command, decided.reply, caller.client_id, tx.now)
        return tx.now, decided, frame

    done = partial(_ruled, connection, session, command, turn)
    connection.submit(session.app, run, done, mode=handler.mode, weight=weight(command))


def _ruled(
    connection: GatewayConnection,
    session: GatewaySession,
    command: GenericCommand,
    turn: Turn,
    result: outcome.Outcome[tuple[int, Outcome, bytes | None]],
) -> None:
    with session.replies.answering(turn):
        if isinstance(result, outcome.Error):
            connection.fail(command, result.error, session.client_id)
            return
        at, decided, frame = result.unwrap()
        if frame is not None and command.i is not None:
            connection.send_answer(frame)
            # Nobody else is told of what was only read.
            decided = attrs.evolve(decided, reply=None)
        _decided(connection, session, command, at, decided)


def _decided(
    connection: GatewayConnection,
    session: GatewaySession,
    command: GenericCommand,
    at: int,
    decided: Outcome,
    approval: Approval | None = None,
) -> None:
    step = decided.presence
    if step is None:
        _conclude(connection, session, command, at, decided)
        return
    if isinstance(step, KeepWill) and step.will is not None:
        step = KeepWill(attrs.evolve(step.will, approval=approval))
    performed = partial(_performed, connection, session, command, at, decided)
    connection.in_turn(session.app.bus.perform(session, step), performed)


def _performed(
    connection: GatewayConnection,
    session: GatewaySession,
    command: GenericCommand,
    at: int,
    decided: Outcome,
    result: outcome.Outcome[None],
) -> None:
    """The bus has done its part."""
    if isinstance(result, outcome.Error):
        connection.fail(command, result.error, session.client_id)
        # What is committed is told to the others nevertheless.
        decided = attrs.evolve(decided, reply=None)
    _conclude(connection, session, command, at, decided)


def _conclude(
    connection: GatewayConnection,
    session: GatewaySession,
    command: GenericCommand,
    at: int,
    decided: Outcome,
) -> None:
    """Reply, then tell the others, then the application."""
    app = session.app
    if command.cmd == CommandType.DIRECT:
        app.metrics.messages_total += 1
    if decided.reply is not None:
        connection.reply(command, decided.reply, session.client_id, at)
    if decided.pushes:
        app.bus.deliver(decided.pushes, actor=session, at=at)
    if app.hooks is not None:
        tell_hooks(app.hooks, app.bus, session.caller, command, decided)


@attrs.frozen
class Present:
    """`Presence` as the bus has answered."""

    names: Collection[str] = ()

    def online(self, client_ids: Sequence[str]) -> list[str]:
        here = frozenset(self.names)
        return [name for name in client_ids if name in here]

    def room_members(self, cid: str, limit: int) -> list[str]:  # noqa: ARG002 - the only one asked about
        return list(islice(self.names, limit))


def tell_hooks(
    hooks: HookRunner, bus: Bus, caller: Caller, command: GenericCommand, decided: Outcome
) -> None:
    """Tell the application what a command did, and who was online then."""
    if command.cmd != CommandType.DIRECT or not decided.pushes:
        hooks.after(caller, command, decided, Present())
        return

    def answered(result: outcome.Outcome[list[str]]) -> None:
        # Where nobody knows, a notification too many does less harm than one too few.
        names = result.value if isinstance(result, outcome.Value) else ()
        hooks.after(caller, command, decided, Present(names))

    audience = decided.pushes[0].to  # a message has one
    if isinstance(audience, Everyone):
        hooks.after(caller, command, decided, Present())  # of everybody there is no list
        return
    limit = ROOM_SHOWN if isinstance(audience, Room) else None
    bus.present(audience, limit).then(answered)
