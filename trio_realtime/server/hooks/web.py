"""Hooks over HTTP, at URLs of the application's choice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from trio_realtime._io.http import content_of

from .remote import Json, WebHookError, remote_hooks
from .types import Hooks, Tell

if TYPE_CHECKING:
    import httpx2


ANSWER_BYTES = 1024 * 1024
"""What is read of one answer; the application may be at the end of any network."""


@attrs.frozen
class WebAnswer:
    """What an application's server has answered."""

    status: int
    content: bytes = attrs.field(repr=False)

    @property
    def is_success(self) -> bool:
        """Whether it has taken the request."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The value. Raises `ValueError` or `RecursionError`."""
        return json.loads(self.content)


def web_hooks(
    url: str,
    client: httpx2.AsyncClient,
    *,
    headers: Mapping[str, str] | None = None,
    only: Sequence[str] | None = None,
) -> Hooks:
    """Hooks that POST to ``{url}/{name}``, such as ``https://example.com/_messageReceived``.

    The answer is the result as a JSON object, bare or as ``{"result": {...}}``; an empty
    body means no objection. ``headers`` go with every request: give one with a secret, so
    that the application knows who asks, and ``X-LC-Id`` with the id of the app if it serves
    several. ``only`` names the hooks that exist (``_messageReceived``, …); every call costs
    a request, so leave out what the application does not answer. The caller owns
    ``client``; time-outs are those of whoever calls the hooks.

    Raises:
        ValueError: ``only`` has a name that is none.

    Protocol: docs/protocol/rest.md §10.
    """
    base, sent = url.rstrip("/"), dict(headers or {})

    async def call(name: str, parameters: Mapping[str, Any]) -> Json:
        response = await post(client, f"{base}/{name}", parameters, sent)
        if not response.is_success:
            raise WebHookError(f"status {response.status}")
        return _result(response)

    return remote_hooks(call, only)


def service_web_hook(
    url: str, client: httpx2.AsyncClient, *, headers: Mapping[str, str] | None = None
) -> Tell[Sequence[Mapping[str, Any]]]:
    """The function for `Hooks.service_messages` that POSTs the rows to a URL.

    The body is a JSON array of rows of ``_SysMessage``; any status of success means that
    they have arrived. ``headers`` go with every request.

    Protocol: docs/protocol/engine-hooks.md §6.
    """
    sent = dict(headers or {})

    async def service_messages(rows: Sequence[Mapping[str, Any]]) -> None:
        response = await post(client, url, rows, sent)
        if not response.is_success:
            raise WebHookError(f"status {response.status}")

    return service_messages


async def post(
    client: httpx2.AsyncClient, url: str, value: object, headers: Mapping[str, str]
) -> WebAnswer:
    """POST a value as JSON. Raises `WebHookError` if nothing comes back, or far too much."""
    import httpx2  # only servers that have such hooks pay for it

    try:
        async with client.stream(
            "POST",
            url,
            content=json.dumps(value).encode(),
            headers={"Content-Type": "application/json", **headers},
        ) as response:
            content = await content_of(response, ANSWER_BYTES)
            if content is None:
                raise WebHookError(f"the answer has more than {ANSWER_BYTES} bytes")
            return WebAnswer(response.status_code, content)
    except httpx2.HTTPError as error:
        raise WebHookError(f"{type(error).__name__}: {error}".removesuffix(": ")) from error


def _result(response: WebAnswer) -> Json:
    if not response.content:
        return {}
    try:
        answer = response.json()
    except (ValueError, RecursionError) as error:
        raise WebHookError("the answer is not JSON") from error
    # What signs for a user answers a truth value under this name.
    if isinstance(answer, dict) and not isinstance(answer.get("result", False), bool):
        answer = answer["result"]
    if answer is None:
        return {}
    if not isinstance(answer, dict):
        raise WebHookError("the answer is not an object")
    return answer
