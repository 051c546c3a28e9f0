"""How clients are opened: the entrance of the SDK."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from trio_realtime._engine.dialect import DialectName, OfflineMessages
from trio_realtime._engine.link_state import LinkState
from trio_realtime._engine.signing import ConversationSigner, LoginSigner
from trio_realtime._io.authentication import Credentials
from trio_realtime._io.connection import ClientConnection, run_connection
from trio_realtime._io.options import (
    COMMAND_TIMEOUT,
    AckMode,
    ClientOptions,
    ConnectionOptions,
)
from trio_realtime._io.reconnect import CONNECT_TIMEOUT
from trio_realtime._io.session import ClientSession
from trio_realtime._io.state import StateKeeper, StateLocation
from trio_realtime._values.typed_messages import TypedMessage
from trio_realtime.transport import StreamOpener, TransportName

from .im_client import IMClient
from .plugin import Plugin, show_client


class RealtimeConnection:
    """One socket that any number of clients share. Made by `open_connection`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @property
    def state(self) -> LinkState:
        """Where the connection stands. Protocol: docs/protocol/transport.md §7."""
        return self._connection.link.state

    @asynccontextmanager
    async def open_client(
        self,
        client_id: str | None = None,
        *,
        tag: str | None = None,
        device_id: str | None = None,
        user_session_token: str | None = None,
        sign_login: LoginSigner | None = None,
        sign_conversation: ConversationSigner | None = None,
        sign_block_list: ConversationSigner | None = None,
        message_types: Sequence[type[TypedMessage]] = (),
        plugins: Sequence[Plugin] = (),
        catch_up: bool = True,
        history_quota: float | None = None,
        state: StateLocation | None = None,
        ack: AckMode = "delivery",
        command_timeout: float = COMMAND_TIMEOUT,
    ) -> AsyncIterator[IMClient]:
        """Log a client in on this connection; see `trio_realtime.open_client`."""
        options = ClientOptions(
            client_id=client_id,
            tag=tag,
            device_id=device_id,
            credentials=Credentials(
                user_session_token=user_session_token,
                sign_login=sign_login,
                sign_conversation=sign_conversation,
                sign_block_list=sign_block_list,
            ),
            message_types=message_types,
            plugins=plugins,
            catch_up=catch_up,
            history_quota=history_quota,
            state=state,
            ack=ack,
            command_timeout=command_timeout,
        )
        async with run_client(self._connection, options, plugins) as client:
            yield client


@asynccontextmanager
async def run_client(
    connection: ClientConnection, options: ClientOptions, plugins: Sequence[Plugin]
) -> AsyncIterator[IMClient]:
    """A client that is logged in on a connection, for the time of the block."""
    session = ClientSession(connection, options)
    async with AsyncExitStack() as stack:
        if options.state is not None:
            await stack.enter_async_context(session.kept(StateKeeper(options.state)))
        if options.device_id is not None:
            session.login.device_id = options.device_id
        await session.open()
        with session.ending.raised():
            try:
                await session.keep_state()
                client = IMClient(session)
                show_client(plugins, client)
                yield client
            finally:
                await session.log_out()


@asynccontextmanager
async def open_connection(
    *,
    app_id: str,
    app_key: str,
    server: str | None = None,
    rtm_servers: Sequence[str] = (),
    transport: TransportName = "auto",
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout: float = CONNECT_TIMEOUT,
    connect_retry: bool | float = False,
    open_stream: StreamOpener | None = None,
    offline_messages: OfflineMessages = "unread",
    dialect: DialectName = "protobuf",
) -> AsyncIterator[RealtimeConnection]:
    """Open one connection for several clients: ``async with connection.open_client("Tom")``.

    Args:
        app_id: id of the application.
        app_key: its app key.
        server: URL of the server, for instance ``http://127.0.0.1:8080``. Only apps that
            the public app router knows can do without it.
        rtm_servers: WebSocket URLs to use instead of asking a router.
        transport: ``"websockets"`` (fast, needs the extra ``[speedups]``),
            ``"trio-websocket"``, or ``"auto"`` for the best that is installed.
        ssl_context: for ``https://`` and ``wss://``; the default verifies the server.
        connect_timeout: seconds that one attempt to connect may take.
        connect_retry: wait for a server that is not up yet: True for as long as it takes, or
            a number of seconds after which no attempt is begun any more. Attempts follow the
            schedule of reconnecting. What cannot pass, such as a wrong address, an unknown
            application or a refused login, is raised at once all the same.
        open_stream: where bytes come from instead of TCP; for tests without sockets.
        offline_messages: what becomes of messages sent while the client was away:
            ``"unread"`` counts them, ``"push"`` delivers the latest of them after the login.
        dialect: how commands are written: ``"protobuf"``, ``"base64"`` (the same as text),
            or ``"json"``, which can be read along.

    Raises:
        RoutingError: nobody could say where to connect.
        ConnectFailed: no server accepted the connection.
        TypeError, ValueError: an argument cannot be used; the message says which and why.

    Protocol: docs/protocol/transport.md §1 to §9.
    """
    options = ConnectionOptions(
        app_id=app_id,
        app_key=app_key,
        server=server,
        rtm_servers=rtm_servers,
        transport=transport,
        ssl_context=ssl_context,
        connect_timeout=connect_timeout,
        connect_retry=connect_retry,
        open_stream=open_stream,
        offline_messages=offline_messages,
        dialect=dialect,
    )
    async with run_connection(options) as connection:
        yield RealtimeConnection(connection)


@asynccontextmanager
async def open_client(
    client_id: str | None = None,
    *,
    app_id: str,
    app_key: str,
    server: str | None = None,
    rtm_servers: Sequence[str] = (),
    tag: str | None = None,
    device_id: str | None = None,
    user_session_token: str | None = None,
    sign_login: LoginSigner | None = None,
    sign_conversation: ConversationSigner | None = None,
    sign_block_list: ConversationSigner | None = None,
    message_types: Sequence[type[TypedMessage]] = (),
    plugins: Sequence[Plugin] = (),
    catch_up: bool = True,
    history_quota: float | None = None,
    state: StateLocation | None = None,
    ack: AckMode = "delivery",
    command_timeout: float = COMMAND_TIMEOUT,
    transport: TransportName = "auto",
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout: float = CONNECT_TIMEOUT,
    connect_retry: bool | float = False,
    open_stream: StreamOpener | None = None,
    offline_messages: OfflineMessages = "unread",
    dialect: DialectName = "protobuf",
) -> AsyncIterator[IMClient]:
    """Log in, and stay logged in for the time of the block.

    Leaving the block logs out, closes the socket and ends every task. A connection that
    breaks in between is restored by itself.

    Args:
        client_id: who logs in, at most 64 characters. None: the server invents an id.
        app_id: see `open_connection`, as for everything not listed here.
        app_key: likewise.
        server: likewise.
        rtm_servers: likewise.
        tag: what kind of login this is, such as ``"mobile"`` or ``"bot"``. Without one, any
            number of logins of a client id live side by side, and each sees what the others
            send (`MessageEvent.own`). With one, a new login of the same id and tag ends the
            older with `SessionConflictError`.
        device_id: identity of this device, if it should outlive the program.
        user_session_token: log in as the storage user whose session token this is; the
            server signs the login. The client id is the user's, and may be left out where
            the server tells it.
        sign_login: asked for a login signature, with the client id.
        sign_conversation: asked to sign creations, invitations and kicks, see
            `ConversationSigner`.
        sign_block_list: asked to sign changes of block lists, likewise.
        message_types: classes of custom messages, see `message_type`.
        plugins: extensions, see `Plugin`.
        catch_up: fetch and deliver, after a broken connection, what was missed.
        history_quota: how many histories the server lets a client read in a minute (120 on
            LeanCloud). Catching up keeps to it: the first half at once, the rest evenly, so
            that the other half is left to the program. None: it goes as fast as the server
            answers, until that says that it was too much (4116); then it pauses, and keeps
            to 120 a minute. Neither loses anything.
        state: a file (or a mapping, to be kept by the application) in which this client notes
            how far it has come. The next run of the program that names it is given what was
            missed in between, and gets into the same session. It belongs to one client at one
            server: of a time that the server has not reached by a day, it is `StateDamaged`.
        ack: acknowledge messages on ``"delivery"`` to a subscription, or when the loop
            asks for the ``"next"`` event.
        command_timeout: seconds to wait for the server's reply to a command.
        transport: see `open_connection`.
        ssl_context: likewise.
        connect_timeout: likewise.
        connect_retry: likewise.
        open_stream: likewise.
        offline_messages: likewise.
        dialect: likewise.

    Raises:
        LoginError: the server refused the login.
        SessionConflictError: another login took the place of this one, and nothing in
            the block was there to be told.
        RealtimeError: likewise for everything else that ends the client for good.
        ConnectFailed: no connection could be made.
        TypeError, ValueError: an argument cannot be used; the message says which and why.
        PluginError: a plugin failed at the sight of the new client.
        StateError: the state cannot be read, is in use (`StateInUse`), is no state
            (`StateDamaged`), or could at the end not be written.

    Protocol: docs/protocol/session.md §1 to §5.
    """
    # All of them before there is a connection, which may take its time.
    connection_options = ConnectionOptions(
        app_id=app_id,
        app_key=app_key,
        server=server,
        rtm_servers=rtm_servers,
        transport=transport,
        ssl_context=ssl_context,
        connect_timeout=connect_timeout,
        connect_retry=connect_retry,
        open_stream=open_stream,
        offline_messages=offline_messages,
        dialect=dialect,
    )
    client_options = ClientOptions(
        client_id=client_id,
        tag=tag,
        device_id=device_id,
        credentials=Credentials(
            user_session_token=user_session_token,
            sign_login=sign_login,
            sign_conversation=sign_conversation,
            sign_block_list=sign_block_list,
        ),
        message_types=message_types,
        plugins=plugins,
        catch_up=catch_up,
        history_quota=history_quota,
        state=state,
        ack=ack,
        command_timeout=command_timeout,
    )
    async with (
        run_connection(connection_options) as connection,
        run_client(connection, client_options, plugins) as client,
    ):
        yield client
