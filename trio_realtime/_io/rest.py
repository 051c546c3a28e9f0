"""The REST calls a client makes for itself. Protocol: docs/protocol/rest.md §2."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trio_realtime._values.errors import SessionTokenExpired

if TYPE_CHECKING:
    from .session import Session


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

    async def sign(self, user_session_token: str) -> Any:
        """Ask for a login signature in the name of a storage user. Raises as `get` does."""
        base, headers = await self._endpoint()
        return await self._session.connection.http.json(
            "POST",
            f"{base}/1.1/rtm/sign",
            headers=headers,
            body={"session_token": user_session_token},
        )

    async def _request(self, method: str, path: str, **options: Any) -> Any:
        base, headers = await self._endpoint()
        session = self._session
        try:
            headers |= _proof(await session.authentication.token())
            return await session.connection.http.json(
                method, base + path, headers=headers, **options
            )
        except SessionTokenExpired:
            session.login.expire_token()
            headers |= _proof(await session.authentication.token())
            return await session.connection.http.json(
                method, base + path, headers=headers, **options
            )

    async def _endpoint(self) -> tuple[str, dict[str, str]]:
        connection = self._session.connection
        base = await connection.endpoints.api_base()
        return base, {"X-LC-Id": connection.config.app_id, "X-LC-Key": connection.config.app_key}


def _proof(token: str | None) -> dict[str, str]:
    return {} if token is None else {"X-LC-IM-Session-Token": token}
