"""Sessions and the commands about them: the gateway's own part of the protocol.

The rules behind them are in ``rules/_session.py``; here their results meet connections.
Protocol: docs/protocol/session.md.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
import outcome

from trio_realtime._values.protocol import MAX_CLIENT_ID
from trio_realtime.server.hooks.approval import Approval
from trio_realtime.server.hooks.queue import HookQueue
from trio_realtime.server.hooks.types import ClientOffline, ClientOnline, OfflineReason
from trio_realtime.server.rules.session import (
    LoginRequest,
    Opened,
    TokenExpired,
    generated_client_id,
    open_session,
    refresh_session,
    stated_ttl,
)
from trio_realtime.server.rules.types import App, Caller, Feature, Refusal, Will
from trio_realtime.server.store.interface import TokenRow
from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    LoggedinCommand,
    OpType,
    SessionCommand,
)

if TYPE_CHECKING:
    from .connection import GatewayConnection

SESSION_CONFLICT = 4111
ONLINE_QUERY = 20
"""Ids looked at in one online query."""


@attrs.define(eq=False)
class GatewaySession:
    """One client logged in on one connection."""

    connection: GatewayConnection
    app: App
    client_id: str
    features: Feature
    tag: str | None = None
    device: str | None = None
    room: str | None = None
    """The chat room it is in."""
    will: Will | None = None
    """What to send when the connection is lost."""
    kicks: int = 0
    """How often the client had been kicked before it logged in."""
    tokens: frozenset[str] = frozenset()
    """With which its client may return: the token it was given last, and the one before, as
    long as it is not known that the answer has arrived."""
    caller: Caller = attrs.field(init=False)
    hook_queue: HookQueue | None = attrs.field(init=False, default=None)
    """Where commands wait for the application's hooks, if it has any."""
    will_approval: Approval | None = attrs.field(init=False, default=None)
    """What the application has said about the will."""

    def __attrs_post_init__(self) -> None:
        gateway = self.connection.gateway
        runner = gateway.hooks.get(self.app.id)
        if runner is not None:
            self.hook_queue = HookQueue(runner, gateway.spawn)
        self.update(self.features, self.tag, self.device)

    def update(self, features: Feature, tag: str | None, device: str | None) -> None:
        """Take over what a new login of the same session says."""
        self.features, self.tag, self.device = features, tag, device
        self._describe()

    def move(self, room: str | None) -> None:
        """Be in this chat room from now on."""
        self.room = room
        self._describe()

    def tell_online(self, *, reconnect: bool) -> None:
        """Tell the application that the client has logged in."""
        runner = self.connection.gateway.hooks.get(self.app.id)
        if runner is not None:
            address = self.connection.address
            runner.client_online(
                ClientOnline(
                    client_id=self.client_id, address=address, tag=self.tag, reconnect=reconnect
                )
            )

    def tell_offline(self, reason: OfflineReason, message: str | None = None) -> None:
        """Tell the application that the session is over."""
        runner = self.connection.gateway.hooks.get(self.app.id)
        if runner is not None:
            lost = reason is OfflineReason.LOST
            runner.client_offline(
                ClientOffline(
                    client_id=self.client_id,
                    reason=reason,
                    message=message,
                    address=None if lost else self.connection.address,
                    tag=self.tag,
                )
            )

    def _describe(self) -> None:
        self.caller = Caller(
            self.app,
            self.client_id,
            self,
            self.features,
            self.connection.address,
            self.room,
            self.connection.gateway.config.limits.json_depth,
        )


def log_in(connection: GatewayConnection, command: GenericCommand) -> None:
    """``session/open``: log a client in, or let it return."""
    message = command.session_message or SessionCommand()
    client_id = command.peer_id or generated_client_id()
    if client_id in connection.opening:
        connection.defer(client_id, command)
        return
    try:
        app = _admit(connection, command, client_id)
    except Refusal as refusal:
        connection.refuse(command, refusal, command.peer_id)
        if refusal.code in {4100, 4103, 4110}:
            connection.close(refusal.code, refusal.reason)
        return
    gateway = connection.gateway
    login = LoginRequest(
        app,
        client_id,
        message,
        connection.dialect.delivery,
        gateway.config.limits.token_ttl,
        gateway.nonces,
        connection.expired_tokens.pop(client_id, None),
    )
    connection.opening[client_id] = []
    connection.submit(
        app, lambda tx: open_session(tx, login), partial(_opened, connection, command, login)
    )


def _admit(connection: GatewayConnection, command: GenericCommand, client_id: str) -> App:
    """What can be judged without looking at any data."""
    config = connection.gateway.config
    app_id = command.app_id or (connection.app.id if connection.app else "")
    app = connection.gateway.apps.get(app_id)
    if app is None:
        raise Refusal(4100, "APP_NOT_AVAILABLE")
    if app.origins is not None and connection.origin not in {None, *app.origins}:
        raise Refusal(4110, "INVALID_ORIGIN")
    if len(client_id) > MAX_CLIENT_ID:
        raise Refusal(4103, "INVALID_LOGIN", f"a client id has at most {MAX_CLIENT_ID} characters")
    if connection.app is not None and connection.app is not app:
        raise Refusal(4105, "SESSION_REQUIRED", "this connection belongs to another app")
    clients = len(connection.sessions) + len(connection.opening)
    if clients >= config.limits.clients_per_connection and client_id not in connection.sessions:
        raise Refusal(
            4113,
            "APP_QUOTA_EXCEEDED",
            "too many clients on one connection",
            limit="clients_per_connection",
        )
    bus = connection.gateway.buses[app.id]
    if refusal := bus.over_rate(client_id, "commands_per_minute"):
        raise refusal
    connection.app = app
    return app


def _opened(
    connection: GatewayConnection,
    command: GenericCommand,
    login: LoginRequest,
    result: outcome.Outcome[Opened],
) -> None:
    deferred = connection.opening.pop(login.client_id)
    if connection.closed:
        return
    if isinstance(result, outcome.Error):
        if isinstance(result.error, TokenExpired):
            connection.expired_tokens[login.client_id] = login.message.st or ""
        connection.fail(command, result.error, login.client_id)
    else:
        _register(connection, command, login, result.unwrap())
    connection.resume(deferred)


def _register(
    connection: GatewayConnection, command: GenericCommand, login: LoginRequest, opened: Opened
) -> None:
    bus = connection.gateway.buses[login.app.id]
    session = connection.sessions.get(login.client_id)
    token = login.message.st
    for other in bus.sessions_of(login.client_id):
        # Who returns with its token has given up the connection it was on before. What that
        # one may still bring was said before, and must not undo what will be said now. But
        # the return itself may be such a late word, on a connection given up meanwhile.
        if token in other.tokens and other.connection.number < connection.number:
            other.connection.lose(other)
            other.connection.abort()
    rivals = [
        other
        for other in bus.sessions_of(login.client_id)
        if other is not session and opened.tag is not None and other.tag == opened.tag
    ]
    if rivals and opened.assumed:
        # It may be another device than the one that holds the tag now.
        refusal = Refusal(4111, "SESSION_CONFLICT", "another device logged in with this tag")
        connection.refuse(command, refusal, login.client_id)
        return
    if session is None:
        session = GatewaySession(
            connection, login.app, login.client_id, login.features, opened.tag, opened.device
        )
        connection.sessions[login.client_id] = session
        bus.add(session)
    else:
        session.update(login.features, opened.tag, opened.device)
    session.kicks = opened.kicks
    session.tokens = frozenset({token or opened.token, opened.token})
    session.tell_online(reconnect=login.reopen)
    connection.note_login()
    for rival in rivals:
        end_session(rival, 4111, "SESSION_CONFLICT")
    if login.reopen:
        bus.return_to_room(session)
    granted = SessionCommand(st=opened.token, st_ttl=stated_ttl(login.ttl))
    _answer(connection, command, login.client_id, OpType.OPENED, granted, opened.at)
    for push in opened.backlog:
        connection.push_alone(push, login.client_id, opened.at)


def session_command(
    connection: GatewayConnection, session: GatewaySession, command: GenericCommand
) -> None:
    """Every other command about a session that is open."""
    match command.op:
        case OpType.CLOSE:
            session.will = None
            del connection.sessions[session.client_id]
            connection.gateway.buses[session.app.id].remove(session)
            session.tell_offline(OfflineReason.LOGOUT)
            _answer(connection, command, session.client_id, OpType.CLOSED, None, None)
        case OpType.QUERY:
            message = command.session_message or SessionCommand()
            bus = connection.gateway.buses[session.app.id]
            online = bus.online(message.session_peer_ids[:ONLINE_QUERY])
            found = SessionCommand(online_session_peer_ids=online)
            _answer(connection, command, session.client_id, OpType.QUERY_RESULT, found, None)
        case OpType.REFRESH:
            _refresh(connection, session, command)
        case _:
            connection.refuse_unknown(command, session.client_id)


def _refresh(
    connection: GatewayConnection, session: GatewaySession, command: GenericCommand
) -> None:
    app, client_id = session.app, session.client_id
    message = command.session_message or SessionCommand()
    ttl = connection.gateway.config.limits.token_ttl
    row = TokenRow(client_id, 0, session.tag, session.device)
    kicks = session.kicks

    def refreshed(result: outcome.Outcome[tuple[int, str]]) -> None:
        if isinstance(result, outcome.Error):
            connection.fail(command, result.error, client_id)
        else:
            at, token = result.unwrap()
            session.tokens |= {token}
            granted = SessionCommand(st=token, st_ttl=stated_ttl(ttl))
            _answer(connection, command, client_id, OpType.REFRESHED, granted, at)

    connection.submit(
        app,
        lambda tx: refresh_session(tx, app, client_id, message, row, ttl, kicks),
        refreshed,
    )


def end_session(session: GatewaySession, code: int, reason: str, detail: str | None = None) -> None:
    """Force a session off-line and tell it why; its connection stays open."""
    connection = session.connection
    if connection.sessions.get(session.client_id) is not session:
        return
    session.will = None
    del connection.sessions[session.client_id]
    connection.gateway.buses[session.app.id].remove(session)
    conflict = code == SESSION_CONFLICT
    session.tell_offline(OfflineReason.CONFLICT if conflict else OfflineReason.KICKED, reason)
    closed = GenericCommand(
        cmd=CommandType.SESSION,
        op=OpType.CLOSED,
        session_message=SessionCommand(code=code, reason=reason, detail=detail),
    )
    connection.push_alone(closed, session.client_id, None)


def installation_command(connection: GatewayConnection, command: GenericCommand) -> None:
    """``login`` and ``logout`` of a live query or push installation."""
    login = command.cmd == CommandType.LOGIN
    if login:
        connection.note_login()
    reply = GenericCommand(
        cmd=CommandType.LOGGEDIN if login else CommandType.LOGGEDOUT,
        installation_id=command.installation_id,
        service=command.service,
        loggedin_message=LoggedinCommand(push_disabled=True) if login else None,
    )
    connection.reply(command, reply, None, None)


def _answer(
    connection: GatewayConnection,
    command: GenericCommand,
    client_id: str,
    op: OpType,
    message: SessionCommand | None,
    at: int | None,
) -> None:
    reply = GenericCommand(cmd=CommandType.SESSION, op=op, session_message=message)
    connection.reply(command, reply, client_id, at)
