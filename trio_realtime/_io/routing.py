"""Where to connect: the app router and the RTM router.

Protocol: docs/protocol/transport.md §1, §2.
"""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import urlsplit

import trio

from trio_realtime._values.errors import (
    CommandError,
    ConnectFailed,
    ErrorCode,
    Retry,
    RoutingError,
)

from .http import Http

APP_ROUTER = "https://app-router.com"
DEFAULT_TTL = 3600.0
INTERNATIONAL = "-MdYXbMMI"
"""Suffix of the ids of the apps that the app router knows."""


class Endpoints:
    """The WebSocket URLs of one app, in the order in which to try them.

    Given URLs (``rtm_servers``) are used as they are; otherwise the routers are asked and
    their answers kept for the time they name.
    """

    def __init__(
        self,
        http: Http,
        *,
        app_id: str,
        server: str | None = None,
        rtm_servers: tuple[str, ...] = (),
    ) -> None:
        if server is None and not rtm_servers and not app_id.endswith(INTERNATIONAL):
            raise ValueError(
                "server is required: the URL of the server, for instance http://127.0.0.1:8080. "
                f"Only apps whose id ends in {INTERNATIONAL} can be found without it."
            )
        if server is not None and urlsplit(server).scheme not in {"http", "https"}:
            raise ValueError(f"server must be an http:// or https:// URL, not {server!r}")
        self._http = http
        self._app_id = app_id
        self._server = server.rstrip("/") if server is not None else None
        self._fixed = rtm_servers
        self._urls: list[str] = []
        self._expires_at = float("-inf")
        self._hosts: dict[str, str] | None = None
        self._hosts_expire_at = float("-inf")

    def forget(self) -> None:
        """The answers are known to be outdated (``goaway``)."""
        self._expires_at = float("-inf")

    def connected(self, url: str) -> None:
        """This one works; the next connection begins with the one behind it."""
        if url in self._urls:
            index = self._urls.index(url) + 1
            self._urls = self._urls[index:] + self._urls[:index]

    async def urls(self) -> list[str]:
        """The URLs to try now.

        Raises:
            RoutingError: a router could not be asked or did not answer properly.
        """
        if self._fixed:
            if set(self._urls) != set(self._fixed):
                self._urls = random.sample(self._fixed, len(self._fixed))
        elif trio.current_time() >= self._expires_at:
            await self._route()
        return list(self._urls)

    async def api_base(self) -> str:
        """The origin of the REST API."""
        return self._server or (await self._ask_app_router())["api_server"]

    async def _route(self) -> None:
        router = self._server or (await self._ask_app_router())["rtm_router_server"]
        secure = "true" if router.startswith("https:") else "false"
        answer = await self._get(f"{router}/v1/route", appId=self._app_id, secure=secure)
        urls = [
            url
            for key in ("server", "secondary")
            if isinstance(url := answer.get(key), str) and url.startswith(("ws://", "wss://"))
        ]
        if not urls:
            raise RoutingError(f"{router}/v1/route named no WebSocket URL", retry=Retry.NEVER)
        # Keep the rotation when the answer is the same as before.
        if set(urls) != set(self._urls):
            self._urls = list(dict.fromkeys(urls))
        self._expires_at = trio.current_time() + _ttl(answer)

    async def _ask_app_router(self) -> dict[str, str]:
        if self._hosts is None or trio.current_time() >= self._hosts_expire_at:
            try:
                answer = await self._get(f"{APP_ROUTER}/2/route", appId=self._app_id)
            except RoutingError:
                prefix = self._app_id[:8].lower()
                answer = {
                    "rtm_router_server": f"{prefix}.rtm.lncldglobal.com",
                    "api_server": f"{prefix}.api.lncldglobal.com",
                    "ttl": 0,
                }
            self._hosts = {
                key: f"https://{answer[key]}"
                for key in ("rtm_router_server", "api_server")
                if isinstance(answer.get(key), str)
            }
            if len(self._hosts) < 2:
                self._hosts = None
                raise RoutingError("the app router did not name the servers of this app")
            self._hosts_expire_at = trio.current_time() + _ttl(answer)
        return self._hosts

    async def _get(self, url: str, **params: str) -> dict[str, Any]:
        try:
            answer = await self._http.json("GET", url, params=params)
        except (ConnectFailed, CommandError) as error:
            raise RoutingError(
                f"cannot find the server of app {self._app_id}: {error}",
                status=error.status if isinstance(error, ConnectFailed) else None,
                retry=_retry(error),
            ) from error
        if not isinstance(answer, dict):
            raise RoutingError(f"{url} did not answer with an object", retry=Retry.NEVER)
        return answer


def _retry(error: ConnectFailed | CommandError) -> Retry:
    """Whether a router may say something else later."""
    if isinstance(error, CommandError) and not isinstance(error.code, ErrorCode):
        # A code of HTTP's, repeated in the body.
        return ConnectFailed(status=error.code).retry
    return error.retry


def _ttl(answer: dict[str, Any]) -> float:
    ttl = answer.get("ttl")
    return float(ttl) if isinstance(ttl, (int, float)) and ttl >= 0 else DEFAULT_TTL
