"""The REST calls a client makes for itself. Protocol: rest.md §2."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._session import Session


class Rest:
    """REST in the name of one client: app key, and its session token."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self, path: str, params: Mapping[str, Any]) -> Any:
        """Ask for something; values that are no strings are sent as JSON.

        Raises:
            ConnectFailed: no proper answer, or no REST server is known.
            CommandError: the server refused.
        """
        encoded = {
            key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for key, value in params.items()
        }
        return await self._request("GET", path, params=encoded)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Submit something; keys without a value are left out. Raises as `get` does."""
        given = {key: value for key, value in body.items() if value is not None}
        return await self._request("POST", path, body=given)

    async def _request(self, method: str, path: str, **options: Any) -> Any:
        connection = self._session.connection
        base = await connection.endpoints.api_base()
        headers = {"X-LC-Id": connection.config.app_id, "X-LC-Key": connection.config.app_key}
        token = await self._session.current_token()
        if token is not None:
            headers["X-LC-IM-Session-Token"] = token
        return await connection.http.json(method, base + path, headers=headers, **options)
