"""Hooks as a program written for LeanEngine expects to be called.

Protocol: docs/protocol/engine-hooks.md.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

import attrs
import trio

from trio_realtime.server.rules.types import App

from .remote import Json, WebHookError, remote_hooks
from .types import Hooks
from .web import WebAnswer, post

if TYPE_CHECKING:
    import httpx2

log: logging.Logger = logging.getLogger(__name__)

_LIST_KEPT = 180.0
"""Seconds until a deployment with other functions is noticed."""
_LIST_RETRIED = 10.0


def leanengine_hooks(
    url: str,
    client: httpx2.AsyncClient,
    *,
    app: App,
    hook_key: str,
    only: Sequence[str] | None = None,
) -> Hooks:
    """Hooks that call the cloud functions of a LeanEngine program, unmodified.

    ``url`` is where the program listens: functions are at ``{url}/1.1/functions/{name}``.
    ``hook_key`` is what it was started with as ``LEANCLOUD_APP_HOOK_KEY``; ``app`` must have
    the id and keys it was started with. The program is asked which functions it defines,
    at first and every three minutes, and others are not called; ``only`` names those that
    may be, without its leave. The caller owns ``client``; time-outs are those of whoever
    calls the hooks.

    Raises:
        ValueError: ``only`` has a name that is none.

    Protocol: docs/protocol/engine-hooks.md §1 to §3.
    """
    return remote_hooks(_Engine(url.rstrip("/"), client, app, hook_key).call, only)


@attrs.define(eq=False)
class _Engine:
    url: str
    client: httpx2.AsyncClient
    app: App
    hook_key: str = attrs.field(repr=False)
    defined: frozenset[str] | None = None
    """The functions it has; None if it has not said so."""
    listed_again_at: float = -inf
    listing: trio.Lock = attrs.field(factory=trio.Lock)

    async def call(self, name: str, parameters: Mapping[str, Any]) -> Json:
        # Who knows nothing waits for what somebody else is being told.
        if self.defined is None or trio.current_time() >= self.listed_again_at:
            async with self.listing:
                if trio.current_time() >= self.listed_again_at:
                    await self._list()
        if self.defined is not None and name not in self.defined:
            return {}
        headers = {"X-LC-Key": self.app.key, "X-LC-Hook-Key": self.hook_key}
        response = await self._post(name, parameters, headers)
        answer = _object(response)
        if response.status == 200 and answer is not None:
            result = answer.get("result")
            return result if isinstance(result, dict) else {}
        if response.status == 404 and answer is not None and answer.get("code") in {1, 404}:
            if self.defined is None:
                return {}  # there is no such function
            self.listed_again_at = -inf
        error = answer.get("error") if answer is not None else None
        raise WebHookError(f"status {response.status}: {error or 'no JSON'}")

    async def _list(self) -> None:
        """Ask what there is to be called; meanwhile others go by what was known."""
        self.listed_again_at = trio.current_time() + _LIST_RETRIED
        headers = {"X-LC-Key": f"{self.app.master_key},master"}
        try:
            response = await self._post("_ops/metadatas", {}, headers)
        except WebHookError:
            return  # the call itself will say so
        names = (_object(response) or {}).get("result")
        if response.status == 200 and isinstance(names, list):
            self.defined = frozenset(name for name in names if isinstance(name, str))
            self.listed_again_at = trio.current_time() + _LIST_KEPT
        else:
            log.debug("%s does not list its functions: %d", self.url, response.status)

    async def _post(
        self, name: str, parameters: Mapping[str, Any], headers: Mapping[str, str]
    ) -> WebAnswer:
        url = f"{self.url}/1.1/functions/{name}"
        return await post(self.client, url, parameters, {"X-LC-Id": self.app.id, **headers})


def _object(response: WebAnswer) -> Json | None:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None
