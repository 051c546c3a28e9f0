"""Test an application without any cloud: the real server, inside the test.

::

    async with open_server() as server:
        async with open_client(
            "Tom", app_id=server.app_id, app_key=server.app_key, server=server.url
        ) as tom:
            ...
"""

from __future__ import annotations

from ._pipe import MemoryStream, memory_streams
from ._server import LocalServer, ServerStatistics, open_server

__all__ = ["LocalServer", "MemoryStream", "ServerStatistics", "memory_streams", "open_server"]
