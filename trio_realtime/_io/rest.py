"""The REST calls a client makes for itself. Protocol: docs/protocol/rest.md §2."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from trio_realtime._values.errors import SessionTokenExpired

from .http import Http
from .routing import Endpoints


class AppRest:
    """The REST API of one app: everything that is asked goes out with the app's key."""

    def __init__(
        self, http: Http, endpoints: Endpoints, *, app_id: str, app_key: str, available: bool
    ) -> None:
        self._http = http
        self._endpoints = endpoints
        self._headers = {"X-LC-Id": app_id, "X-LC-Key": app_key}
        self.available = available
        """Whether a REST API belongs to the server; explicit WebSocket URLs tell of none."""

    async def call(
        self, method: str, path: str, *, session_token: str | None = None, **options: Any
    ) -> Any:
        """One call, perhaps with the token of a client's session.

        Raises:
            ConnectFailed: no proper answer, or no REST server is known.
            CommandError: the server refused.
        """
        base = await self._endpoints.api_base()
        headers = self._headers
        if session_token is not None:
            headers = headers | {"X-LC-IM-Session-Token": session_token}
        return await self._http.json(method, base + path, headers=headers, **options)

    async def sign(self, user_session_token: str) -> Any:
        """Ask for a login signature in the name of a storage user. Raises as `call` does."""
        return await self.call("POST", "/1.1/rtm/sign", body={"session_token": user_session_token})


class ClientRest:
    """REST in the name of one client: with the token of its session."""

    def __init__(
        self,
        api: AppRest,
        *,
        token: Callable[[], Awaitable[str | None]],
        expire_token: Callable[[], None],
    ) -> None:
        self._api = api
        self._token = token
        self._expire_token = expire_token

    @property
    def available(self) -> bool:
        """Whether a REST API belongs to the server."""
        return self._api.available

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
        return await self._call("GET", path, params=encoded)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Submit something; keys without a value are left out. Raises as `get` does."""
        given = {key: value for key, value in body.items() if value is not None}
        return await self._call("POST", path, body=given)

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            return await self._api.call(method, path, session_token=await self._token(), **options)
        except SessionTokenExpired:
            self._expire_token()
            return await self._api.call(method, path, session_token=await self._token(), **options)
