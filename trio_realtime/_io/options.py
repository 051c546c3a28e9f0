"""What may be chosen when a connection or a client is opened; misuse is said before anything is sent."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import attrs
import trio

from trio_realtime._engine.dialect import DIALECTS, DialectName, OfflineMessages
from trio_realtime._engine.message_hooks import MessageHooks
from trio_realtime._values.checks import flag
from trio_realtime._values.protocol import MAX_CLIENT_ID
from trio_realtime._values.texts import checked_id
from trio_realtime._values.times import checked_seconds
from trio_realtime._values.typed_messages import TypedMessage
from trio_realtime.transport import StreamOpener, TransportName

from .authentication import Credentials
from .reconnect import CONNECT_TIMEOUT, patience
from .state import StateLocation

COMMAND_TIMEOUT = 20.0
"""Seconds to wait for a reply: docs/protocol/transport.md §5."""

AckMode = Literal["delivery", "next"]

MAX_NAME = 256
"""Characters of ids and keys of apps, and of tags."""
MAX_URL = 2048
FORBIDDEN = frozenset("\"'<>\\^`{|}!$&()*+,;=")
"""What no host name contains."""

Check = Callable[[Any, Any, Any], None]
"""A validator of attrs."""


def _name(longest: int, what: str | None = None) -> Check:
    def check(_: Any, attribute: Any, value: Any) -> None:
        checked_id(value, what or attribute.name, longest)

    return check


def _choice(choices: tuple[str, ...]) -> Check:
    def check(_: Any, attribute: Any, value: Any) -> None:
        if value not in choices:
            known = str([*choices])[1:-1]
            raise ValueError(f"there is no {attribute.name} {value!r}: it is one of {known}")

    return check


def _seconds(_: Any, attribute: Any, value: Any) -> None:
    checked_seconds(value, attribute.name)


def _server(_: Any, attribute: Any, value: Any) -> None:
    _check_url(value, attribute.name, ("http", "https"))


def _rtm_servers(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"rtm_servers are several WebSocket URLs, in a list: not {value!r}")
    urls = tuple(value)
    for url in urls:
        _check_url(url, "each of rtm_servers", ("ws", "wss"))
    return urls


def _check_url(url: Any, what: str, schemes: tuple[str, str]) -> None:
    checked_id(url, what, MAX_URL)
    expected = f"{what} must be an {schemes[0]}:// or {schemes[1]}:// URL, not {url!r}"
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{expected}: {error}") from None
    if parts.scheme not in schemes or not host:
        raise ValueError(expected)
    try:
        # Besides foreign letters this checks how long the name and its parts are.
        host.encode("idna")
    except UnicodeError as error:
        raise ValueError(f"{expected}: {host!r} is no host name ({error})") from None
    if any(character in FORBIDDEN or character.isspace() for character in host):
        raise ValueError(f"{expected}: {host!r} is no host name")


def _quota(_: Any, attribute: Any, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} is a number, not {value!r}")
    if not value >= 1:
        raise ValueError(f"{attribute.name} is at least 1 a minute, not {value}")


def _state(options: ClientOptions, _: Any, value: Any) -> None:
    if not isinstance(value, str | os.PathLike | MutableMapping):
        raise TypeError(f"state is a file or a mapping, not {value!r}")
    if isinstance(value, str) and (not value or "\0" in value):
        raise ValueError(f"state is the name of a file, not {value!r}")
    if not options.catch_up:
        raise ValueError("state says what was missed, which takes catch_up")


def _context(_: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, ssl.SSLContext):
        raise TypeError(f"{attribute.name} is an ssl.SSLContext, not {value!r}")


def _opener(_: Any, attribute: Any, value: Any) -> None:
    if not callable(value):
        raise TypeError(f"{attribute.name} is a function that opens a stream, not {value!r}")


def _types(_: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, Sequence) or not all(
        isinstance(one, type) and issubclass(one, TypedMessage) for one in value
    ):
        raise TypeError(
            f"{attribute.name} is a list of classes made with message_type, not {value!r}"
        )


def _plugins(_: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, Sequence) or not all(isinstance(one, MessageHooks) for one in value):
        raise TypeError(f"{attribute.name} is a list of Plugin(...), not {value!r}")


def _check_loop() -> None:
    """Raise a RuntimeError that says how, where somebody runs this without Trio."""
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "trio_realtime runs under Trio: start the program with trio.run(main). Beside "
            "asyncio it can have a thread of its own: await asyncio.to_thread(trio.run, main)"
        )


optional = attrs.validators.optional


@attrs.frozen(kw_only=True)
class ConnectionOptions:
    """How to reach the server of one app; each is described at `open_connection`.

    Raises a TypeError or ValueError that names the argument at fault.
    """

    app_id: str = attrs.field(validator=_name(MAX_NAME))
    app_key: str = attrs.field(validator=_name(MAX_NAME))
    server: str | None = attrs.field(default=None, validator=optional(_server))
    rtm_servers: tuple[str, ...] = attrs.field(default=(), converter=_rtm_servers)
    transport: TransportName = attrs.field(
        default="auto", validator=_choice(get_args(TransportName))
    )
    ssl_context: ssl.SSLContext | None = attrs.field(default=None, validator=optional(_context))
    connect_timeout: float = attrs.field(default=CONNECT_TIMEOUT, validator=_seconds)
    connect_retry: float = attrs.field(default=False, converter=patience)
    """Seconds in which the first connection, and each first login on it, is tried again."""
    open_stream: StreamOpener | None = attrs.field(default=None, validator=optional(_opener))
    offline_messages: OfflineMessages = attrs.field(
        default="unread", validator=_choice(get_args(OfflineMessages))
    )
    dialect: DialectName = attrs.field(default="protobuf", validator=_choice(tuple(DIALECTS)))

    def __attrs_pre_init__(self) -> None:
        _check_loop()


@attrs.frozen(kw_only=True)
class ClientOptions:
    """What a client may choose for itself; each is described at `open_client`.

    Raises a TypeError or ValueError that names the argument at fault.
    """

    client_id: str | None = attrs.field(
        default=None, validator=optional(_name(MAX_CLIENT_ID, "the client id"))
    )
    tag: str | None = attrs.field(default=None, validator=optional(_name(MAX_NAME, "the tag")))
    device_id: str | None = attrs.field(
        default=None, validator=optional(_name(MAX_NAME, "the device id"))
    )
    credentials: Credentials = attrs.field(factory=Credentials)
    message_types: Sequence[type[TypedMessage]] = attrs.field(default=(), validator=_types)
    plugins: Sequence[MessageHooks] = attrs.field(default=(), validator=_plugins)
    catch_up: bool = attrs.field(default=True, validator=flag)
    history_quota: float | None = attrs.field(default=None, validator=_quota)
    state: StateLocation | None = attrs.field(default=None, validator=optional(_state))
    ack: AckMode = attrs.field(default="delivery", validator=_choice(get_args(AckMode)))
    command_timeout: float = attrs.field(default=COMMAND_TIMEOUT, validator=_seconds)

    def __attrs_pre_init__(self) -> None:
        _check_loop()
