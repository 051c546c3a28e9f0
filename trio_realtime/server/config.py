from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs

from trio_realtime._values.times import now_ms

from .hooks.types import Hooks
from .limits import Limits
from .rules.types import App

UserLookup = Callable[[App, str], Awaitable[str | None]]
"""Tells which client id a storage user's session token stands for, None for nobody.

May raise `UserLookupError`.
"""


class UserLookupError(Exception):
    """Nobody could say whose session token it is; ``slow`` if that took too long.

    The client gets 502, or 504, and may try again. ``str()`` is for the log: no token in it.
    """

    def __init__(self, why: str, *, slow: bool = False) -> None:
        super().__init__(why)
        self.slow = slow


@attrs.frozen(kw_only=True)
class ServerConfig:
    """What a server serves, and where."""

    apps: Sequence[App]
    host: str = "127.0.0.1"
    port: int = 8080
    """0 chooses a free port."""
    data: Path | None = None
    """The directory that holds everything durable. None keeps all in memory."""
    limits: Limits = attrs.field(factory=Limits)
    tls: ssl.SSLContext | None = None
    """Serve ``https://`` and ``wss://`` with this context."""
    public_url: str | None = None
    """The URL under which clients reach this server when that is not what they connect to,
    behind a proxy that terminates TLS for instance: ``https://im.example.com``."""
    refuse_repeated_nonces: bool = False
    """Accept each login signature only once: docs/protocol/signatures.md §1."""
    master_sign_validity: float = 600.0
    """How far the time of an ``X-LC-Sign`` made with the master key may be from ours, in
    seconds: docs/protocol/rest.md §1."""
    user_lookup: UserLookup | None = None
    """Enables ``POST /1.1/rtm/sign``: docs/protocol/session.md §11."""
    upstream: str | None = None
    """Another server, ``http[s]://host[:port]``, which answers at all paths that are none of
    ours: the storage service, for instance, where its host name leads here. WebSockets are
    never passed on."""
    hooks: Mapping[str, Hooks] = attrs.field(factory=dict)
    """What an app wants to be asked and told, by app id: docs/protocol/rest.md §10."""
    hook_timeout: float = 5.0
    """Seconds that one call of a hook may take."""
    on_hook_failure: Literal["ignore", "refuse"] = "ignore"
    """What a hook that raises, or takes too long, means for what it was asked about."""
    clock: Callable[[], int] = now_ms
    """Milliseconds since the epoch."""
