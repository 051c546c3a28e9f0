"""The embedded server: everything `leancloud-realtime` talks to, in one process on one port.

::

    async with open_server(ServerConfig(apps=[App("id", "key", "master")])) as server:
        print(server.url)
        await trio.sleep_forever()
"""

from __future__ import annotations

from ._config import ServerConfig, UserLookup
from ._limits import Limits
from ._log import Metrics
from ._rule import App, Enforcement
from ._server import Server, ServerStartError, open_server
from ._store import StoreError

__all__ = [
    "App",
    "Enforcement",
    "Limits",
    "Metrics",
    "Server",
    "ServerConfig",
    "ServerStartError",
    "StoreError",
    "UserLookup",
    "open_server",
]
