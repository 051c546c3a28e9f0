"""What connections and sessions find around them."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from trio_realtime.server.bus.interface import Bus
from trio_realtime.server.bus.order import ConnectionOrder
from trio_realtime.server.config import ServerConfig
from trio_realtime.server.hooks.runner import HookRunner
from trio_realtime.server.metrics import Metrics
from trio_realtime.server.rules.types import App
from trio_realtime.server.store.interface import Store, StoreUnavailable
from trio_realtime.server.troubles import TroubleLog

from .send_buffer import Flusher, Spawn
from .shown_tokens import ShownTokens
from .unfinished import Unfinished


@attrs.frozen(eq=False, kw_only=True)
class AppContext:
    """One app that is served, and all that its sessions need."""

    app: App
    config: ServerConfig
    store: Store
    bus: Bus
    metrics: Metrics
    spawn: Spawn
    hooks: HookRunner | None = None
    shown: ShownTokens = attrs.field(factory=ShownTokens)
    unfinished: Unfinished = attrs.field(factory=Unfinished)

    @property
    def id(self) -> str:
        """The app's id."""
        return self.app.id


@attrs.frozen(eq=False, kw_only=True)
class ServerContext:
    """What connections share before it is known to which app they belong."""

    config: ServerConfig
    metrics: Metrics
    spawn: Spawn
    flusher: Flusher
    order: ConnectionOrder
    troubles: TroubleLog
    apps: Mapping[str, AppContext]

    def note_store(self, error: StoreUnavailable) -> None:
        """The store could not do what a command needed."""
        self.metrics.store_failures_total += 1
        self.troubles.note("the database failed", error.__cause__ or error)
