"""The embedded server: everything `leancloud-realtime` talks to, in one process on one port.

::

    async with open_server(ServerConfig(apps=[App("shop-production", "app key", "master key")])) as server:
        print(server.url)
        await trio.sleep_forever()
"""

from __future__ import annotations

from .api.services import ServiceMessage
from .config import ServerConfig, UserLookup, UserLookupError
from .hooks.leanengine import leanengine_hooks
from .hooks.types import (
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
from .hooks.web import service_web_hook, web_hooks
from .limits import Limits
from .metrics import Metrics
from .rules.types import App, Enforcement, Refusal
from .server import Server, ServerStartError, open_server
from .store.interface import StoreError
from .users import storage_users

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
    "UserLookupError",
    "leanengine_hooks",
    "open_server",
    "service_web_hook",
    "storage_users",
    "web_hooks",
]
