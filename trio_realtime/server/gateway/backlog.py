"""How a client hears of what it has missed, and of nothing twice or out of order.

It is looked for beside the writer, when the session is open already. Counters are taken once
more in the order of the commits, for only the conversations that were found, so that each
count fits between the pushes before and after it. Where messages or edits themselves are brought,
what is pushed meanwhile waits behind them, until all is told that was committed before they were
looked for.
"""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import outcome

from trio_realtime.server.metrics import log
from trio_realtime.server.rules.backlog import Backlog, brings_contents, covers, find_backlog
from trio_realtime.server.rules.read import unread_counters
from trio_realtime.server.rules.session import LoginRequest
from trio_realtime.server.rules.types import Refusal
from trio_realtime.server.store.interface import StoreUnavailable
from trio_realtime.wire import GenericCommand

from .connection import GatewayConnection
from .send_buffer import ASKED
from .session import GatewaySession

T = TypeVar("T")


def expect_backlog(connection: GatewayConnection, login: LoginRequest) -> None:
    """A login is granted; from now on its client may be pushed something."""
    if brings_contents(login):
        connection.hold(login.client_id)


def send_backlog(
    connection: GatewayConnection, login: LoginRequest, session: GatewaySession, at: int
) -> None:
    """Have looked up and sent what the client of a new login has missed."""
    connection.submit(
        session.app,
        partial(find_backlog, login=login),
        partial(_found, connection, login, session, at),
        mode="read",
    )


def _found(
    connection: GatewayConnection,
    login: LoginRequest,
    session: GatewaySession,
    at: int,
    result: outcome.Outcome[Backlog],
) -> None:
    backlog = _value(connection, result, Backlog())
    client_id = login.client_id
    if session.live:
        for push in backlog.pushes:
            connection.push_missed(push, client_id, at)
    if connection.holds(client_id):
        known = covers(backlog.pushes)
        # A commit may be seen before it is told. What was committed by now is told when this
        # comes back.
        connection.submit(
            session.app,
            lambda _tx: None,
            lambda _result: connection.release(client_id, known),
        )
    if backlog.unread and session.live:
        connection.submit(
            session.app,
            lambda tx: (tx.now, unread_counters(tx, client_id, backlog.unread)),
            partial(_counted, connection, session),
        )


def _counted(
    connection: GatewayConnection,
    session: GatewaySession,
    result: outcome.Outcome[tuple[int, GenericCommand | None]],
) -> None:
    at, push = _value(connection, result, (0, None))
    if push is not None and session.live:
        connection.push_alone(push, session.client_id, at, ASKED)


def _value(connection: GatewayConnection, result: outcome.Outcome[T], default: T) -> T:
    if isinstance(result, outcome.Error):
        if isinstance(result.error, StoreUnavailable):
            connection.server.note_store(result.error)
        elif not isinstance(result.error, Refusal):
            log.error("a backlog could not be read", exc_info=result.error)
        return default
    return result.unwrap()
