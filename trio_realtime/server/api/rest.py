"""The HTTP endpoints the SDKs call themselves, and those of the operator.

Protocol: docs/protocol/transport.md §1 and §2, docs/protocol/rest.md §1 and §2,
docs/protocol/session.md §7 and §11.
"""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlsplit

import attrs

from trio_realtime.server.config import ServerConfig, UserLookupError
from trio_realtime.server.gateway.gateway import Gateway
from trio_realtime.server.health import Health, unhealthy
from trio_realtime.server.http import HttpError, Request, Response, Router, json_response
from trio_realtime.server.rules.json import date_json
from trio_realtime.server.rules.notifications import notifications_json
from trio_realtime.server.rules.session import token_holder
from trio_realtime.server.rules.signatures import login_string, rest_key_is, rest_sign_is, sign
from trio_realtime.server.rules.types import App, Refusal

ROUTE_TTL = 3600
"""Seconds a client may keep what the routers told it."""

NOTIFICATIONS_PAGE = 100


@attrs.frozen
class SdkEndpoints:
    """The endpoints; `routes` enters them into a router."""

    gateway: Gateway
    health: Health

    def routes(self, router: Router) -> None:
        """Register every endpoint."""
        router.add("GET", "/healthz", self.healthz)
        router.add("GET", "/metrics", self.metrics)
        router.add("GET", "/v1/route", self.rtm_route)
        router.add("GET", "/2/route", self.app_route)
        router.add("POST", "/1.1/rtm/sign", self.sign)
        router.add("GET", "/1.2/rtm/clients/sign", self.sign_for_query)
        router.add("GET", "/1.1/rtm/notifications", self.notifications)
        router.add("GET", "/1.1/date", self.date)

    async def healthz(self, _request: Request) -> Response:
        """Whether the server can do its work, and otherwise why not."""
        if problems := await self.health.problems():
            return json_response(unhealthy(problems), 503)
        return json_response({"status": "draining" if self.gateway.draining else "ok"})

    async def metrics(self, _request: Request) -> Response:
        """Counters in the text format of Prometheus."""
        gateway = self.gateway
        text = gateway.metrics.exposition(queue_bytes=gateway.queue_bytes)
        return Response(body=text.encode(), content_type="text/plain; version=0.0.4")

    async def rtm_route(self, request: Request) -> Response:
        """Where to open the WebSocket.

        A server without TLS names ``ws://`` even to a client that asks for a secure URL: the
        JavaScript SDK asks for one unless told otherwise, and follows the answer.
        """
        self._routed_app(request)
        origin = origin_of(self.gateway.config, request)
        url = origin.replace("http", "ws", 1)
        return json_response(
            {
                "server": url,
                "secondary": url,
                "ttl": ROUTE_TTL,
                "groupId": "g0",
                "groupUrl": url,
            }
        )

    async def app_route(self, request: Request) -> Response:
        """Which hosts serve an app: all services are here."""
        self._routed_app(request)
        host = urlsplit(origin_of(self.gateway.config, request)).netloc
        names = ("rtm_router", "api", "push", "engine", "stats")
        return json_response({**{f"{name}_server": host for name in names}, "ttl": ROUTE_TTL})

    async def sign(self, request: Request) -> Response:
        """Sign the login of a storage user."""
        return await self._sign(request, request.json().get("session_token"))

    async def sign_for_query(self, request: Request) -> Response:
        """The same, as the later version of the API asks for it."""
        return await self._sign(request, request.query.get("session_token"))

    async def _sign(self, request: Request, token: object) -> Response:
        app = authorized_app(self.gateway, request)
        if not isinstance(token, str):
            raise HttpError(400, 107, "session_token is missing.")
        lookup = self.gateway.config.user_lookup
        try:
            client_id = await lookup(app, token) if lookup is not None else None
        except UserLookupError as error:
            self.gateway.server.troubles.note("a storage user could not be looked up", error)
            if error.slow:
                raise HttpError(504, 124, "Looking up the user took too long.") from None
            raise HttpError(502, 1, "The user could not be looked up.") from None
        if client_id is None:
            raise HttpError(401, 211, "Could not find user.")
        hooks = self.gateway.apps[app.id].hooks
        if hooks is not None:
            try:
                await hooks.may_sign({"objectId": client_id, "sessionToken": token})
            except Refusal as refusal:
                raise HttpError(403, refusal.code, refusal.detail or refusal.reason) from refusal
        timestamp, nonce = self.gateway.config.clock(), secrets.token_hex(8)
        signature = sign(app.master_key, login_string(app.id, client_id, timestamp, nonce))
        return json_response(
            {
                "signature": signature,
                "timestamp": timestamp,
                "nonce": nonce,
                "client_id": client_id,
            }
        )

    async def notifications(self, request: Request) -> Response:
        """Membership notifications a client missed."""
        app = authorized_app(self.gateway, request)
        client_id = request.query.get("client_id", "")
        after = number(request, "start_ts", 0)
        limit = number(request, "limit", NOTIFICATIONS_PAGE)
        permanent = request.query.get("notification_type") == "permanent"
        token = request.headers.get("x-lc-im-session-token")

        def rule(tx: Any) -> dict[str, Any] | None:
            if token_holder(tx, token) != client_id:
                return None
            return notifications_json(
                tx, client_id, after, limit, "permanent" if permanent else None
            )

        return json_response(known(await self.gateway.store.read(app.id, rule)))

    async def date(self, _request: Request) -> Response:
        """The time of the server."""
        return json_response(date_json(self.gateway.config.clock()))

    def _routed_app(self, request: Request) -> App:
        app = self.gateway.apps.get(request.query.get("appId", ""))
        if app is None:
            raise HttpError(404, 4100, "APP_NOT_AVAILABLE")
        return app.app


def origin_of(config: ServerConfig, request: Request) -> str:
    """The URL the client of a request uses for this server, without a path."""
    if config.public_url is not None:
        return config.public_url.rstrip("/")
    host = request.headers.get("host") or f"{config.host}:{config.port}"
    return f"{'https' if request.secure else 'http'}://{host}"


def authorized_app(gateway: Gateway, request: Request, *, master: bool = False) -> App:
    """The app whose key a request shows. Raises `HttpError` 401.

    The master key serves everywhere; with ``master`` nothing else does.

    Protocol: docs/protocol/rest.md §1.
    """
    served = gateway.apps.get(request.headers.get("x-lc-id", ""))
    if served is not None:
        app = served.app
        keys = [(app.master_key, True)] if master else [(app.master_key, True), (app.key, False)]
        if any(_shows(gateway, request, key, master=is_master) for key, is_master in keys):
            return app
    raise HttpError(401, 401, "Unauthorized.")


def shows_master_key(gateway: Gateway, app: App, request: Request) -> bool:
    """Whether a request comes from the operator."""
    return _shows(gateway, request, app.master_key, master=True)


def from_operator(gateway: Gateway, request: Request) -> bool:
    """Whether a request shows the master key of the app it names."""
    served = gateway.apps.get(request.headers.get("x-lc-id", ""))
    return served is not None and shows_master_key(gateway, served.app, request)


def _shows(gateway: Gateway, request: Request, key: str, *, master: bool) -> bool:
    config = gateway.config
    if (presented := request.headers.get("x-lc-key")) is not None:
        if presented.endswith(",master") != master:
            return False
        return rest_key_is(presented.removesuffix(",master"), key)
    if (presented := request.headers.get("x-lc-sign")) is not None:
        if presented.endswith(",master") != master:
            return False
        validity = config.master_sign_validity if master else None
        return rest_sign_is(presented.removesuffix(",master"), key, config.clock(), validity)
    return False


def known(value: Any) -> Any:
    """What a rule found, or 401 where it returned None: the session token says too little."""
    if value is None:
        raise HttpError(401, 4112, "SESSION_TOKEN_EXPIRED")
    return value


def number(request: Request, name: str, default: int) -> int:
    """An integer among the parameters. Raises `HttpError` 400."""
    value = request.query.get(name)
    if value is None:
        return default
    try:
        number = int(value)
    except ValueError:
        raise HttpError(400, 102, f"{name} is not a number.") from None
    if abs(number) >= 2**63:
        raise HttpError(400, 102, f"{name} is out of range.")
    return number
