"""The arguments with which connections and clients are opened: misuse is said before anything is sent."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, MutableMapping, Sequence
from typing import Any, get_args
from urllib.parse import urlsplit

import trio

from trio_realtime._engine.dialect import DIALECTS, OfflineMessages
from trio_realtime._io.session import AckMode
from trio_realtime._io.state import StateLocation
from trio_realtime._values.protocol import MAX_CLIENT_ID
from trio_realtime._values.texts import checked_id
from trio_realtime.transport import TransportName

MAX_NAME = 256
"""Characters of ids and keys of apps, and of tags."""
MAX_URL = 2048


def _check_loop() -> None:
    """Raise a RuntimeError that says how, where somebody runs this without Trio."""
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "trio_realtime runs under Trio: start the program with trio.run(main). Beside "
            "asyncio it can have a thread of its own: await asyncio.to_thread(trio.run, main)"
        )


def check_connection(
    *,
    app_id: str,
    app_key: str,
    server: str | None,
    rtm_servers: Sequence[str],
    transport: str,
    offline_messages: str,
    dialect: str,
    connect_timeout: float,
    connect_retry: bool | float,
) -> None:
    """Raise a TypeError or ValueError that names the argument of `open_connection` at fault."""
    _check_loop()
    checked_id(app_id, "app_id", MAX_NAME)
    checked_id(app_key, "app_key", MAX_NAME)
    if server is not None:
        _check_url(server, "server", ("http", "https"))
    if isinstance(rtm_servers, str) or not isinstance(rtm_servers, Iterable):
        raise TypeError(f"rtm_servers are several WebSocket URLs, in a list: not {rtm_servers!r}")
    for url in rtm_servers:
        _check_url(url, "each of rtm_servers", ("ws", "wss"))
    _check_choice(transport, "transport", get_args(TransportName))
    _check_choice(offline_messages, "offline_messages", get_args(OfflineMessages))
    _check_choice(dialect, "dialect", tuple(DIALECTS))
    _check_seconds(connect_timeout, "connect_timeout")
    if not isinstance(connect_retry, bool):
        _check_seconds(connect_retry, "connect_retry")


def check_client(
    *,
    client_id: str | None,
    tag: str | None,
    ack: str,
    command_timeout: float,
    history_quota: float | None,
    state: StateLocation | None,
    catch_up: bool,
) -> None:
    """Raise a TypeError or ValueError that names the argument of `open_client` at fault."""
    _check_loop()
    if client_id is not None:
        checked_id(client_id, "the client id", MAX_CLIENT_ID)
    if tag is not None:
        checked_id(tag, "the tag", MAX_NAME)
    _check_choice(ack, "ack", get_args(AckMode))
    _check_seconds(command_timeout, "command_timeout")
    if state is not None:
        if not isinstance(state, str | os.PathLike | MutableMapping):
            raise TypeError(f"state is a file or a mapping, not {state!r}")
        if not catch_up:
            raise ValueError("state says what was missed, which takes catch_up")
    if history_quota is not None:
        if isinstance(history_quota, bool) or not isinstance(history_quota, int | float):
            raise TypeError(f"history_quota is a number, not {history_quota!r}")
        if not history_quota >= 1:
            raise ValueError(f"history_quota is at least 1 a minute, not {history_quota}")


def _check_choice(value: Any, what: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"there is no {what} {value!r}: it is one of {str([*choices])[1:-1]}")


def _check_seconds(value: Any, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} is a number of seconds, not {value!r}")
    if math.isnan(value) or value <= 0:
        raise ValueError(f"{what} is a time to wait, not {value} seconds")


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


FORBIDDEN = frozenset("\"'<>\\^`{|}!$&()*+,;=")
