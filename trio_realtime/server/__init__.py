"""The embedded server: everything `leancloud-realtime` talks to, in one process on one port.

::

    async with open_server(ServerConfig(apps=[App("id", "key", "master")])) as server:
        print(server.url)
        await trio.sleep_forever()
"""

from __future__ import annotations

from ._config import ServerConfig, UserLookup
from ._hooks import (
    Amend,
    ClientOffline,
    ClientOnline,
    ConversationStart,
    ConversationStarted,
    ConversationUpdate,
    Hooks,
    IncomingMessage,
    MemberChange,
    MessageUpdate,
    OfflineDecision,
    OfflinePush,
    OfflineReason,
    ReceiversOffline,
    Reject,
    Rewrite,
    SentMessage,
)
from ._limits import Limits
from ._log import Metrics
from ._rule import App, Enforcement, Refusal
from ._server import Server, ServerStartError, open_server
from ._services import ServiceMessage
from ._store import StoreError
from ._web_hooks import web_hooks

__all__ = [
    "Amend",
    "App",
    "ClientOffline",
    "ClientOnline",
    "ConversationStart",
    "ConversationStarted",
    "ConversationUpdate",
    "Enforcement",
    "Hooks",
    "IncomingMessage",
    "Limits",
    "MemberChange",
    "MessageUpdate",
    "Metrics",
    "OfflineDecision",
    "OfflinePush",
    "OfflineReason",
    "ReceiversOffline",
    "Refusal",
    "Reject",
    "Rewrite",
    "SentMessage",
    "Server",
    "ServerConfig",
    "ServerStartError",
    "ServiceMessage",
    "StoreError",
    "UserLookup",
    "open_server",
    "web_hooks",
]
