"""One request after another: the key, the pace, and patience with what passes.

A request that may be repeated without harm is repeated until it is answered or patience ends;
any other only where it certainly was not carried out.
"""

from __future__ import annotations

import json
import math
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import attrs
import trio

from trio_realtime._engine.backoff import Backoff
from trio_realtime._engine.budget import Budget
from trio_realtime._io.http import Http, content_of, reason_of
from trio_realtime._values.times import utc_now
from trio_realtime.transport import StreamOpener

from ._errors import NotFound, RateLimited, Refused, RestError, Unauthorized, Unavailable

if TYPE_CHECKING:
    import httpx2

LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes of one answer, unpacked; no page of the protocol comes near it."""

LONGEST_DELAY = 60.0
LONGEST_RETRY_AFTER = 3600.0
REPEATABLE = frozenset({"GET", "PUT", "DELETE"})
TOO_MUCH = 429
NOT_NOW = 503
FULL = 507
"""Insufficient storage: somebody has to make room, which is not waited for."""
MISSING = frozenset({101, 4303})
"""Codes for what is not there, whatever the status."""


@attrs.frozen
class Answer:
    """What came back."""

    status: int
    value: Any
    """The JSON; None if it was none."""
    retry_after: float | None
    """Seconds the server asks to wait."""


class TooLarge(Exception):
    """More comes than any answer of the protocol has."""


@attrs.frozen
class NoAnswer:
    """Why nothing came back."""

    error: Unavailable
    unsent: bool
    """Whether the server cannot have seen the request."""


class Requests:
    """Requests to one server with the keys of one app."""

    def __init__(
        self,
        server: str,
        headers: Mapping[str, str],
        *,
        requests_per_minute: float | None,
        timeout: float,
        patience: float,
        open_stream: StreamOpener | None,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self._server = server.rstrip("/")
        self._headers = dict(headers)
        self._budget = Budget(requests_per_minute)
        self._timeout = timeout
        self._patience = patience
        self._http = Http(open_stream=open_stream, ssl_context=ssl_context)
        self.made: int = 0
        """Requests sent, repeated ones counted each time."""
        self.retried: int = 0
        """Of these the repeated ones."""

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        repeatable: bool | None = None,
        patience: float | None = None,
    ) -> Any:
        """The JSON of a successful answer. Raises `RestError`."""
        repeats = method in REPEATABLE if repeatable is None else repeatable
        backoff = Backoff(longest=LONGEST_DELAY)
        patience = self._patience if patience is None else patience
        give_up_at = trio.current_time() + patience
        while True:
            await self._take_turn()
            answer = await self._once(method, path, _encoded(params), body, content)
            wait = None
            if isinstance(answer, NoAnswer):
                failure: RestError = answer.error
                harmless = answer.unsent
            elif answer.status < 400 and answer.value is not None:
                self._budget.granted()
                return answer.value
            else:
                failure = _failure(method, path, answer)
                harmless = answer.status in {TOO_MUCH, NOT_NOW}
                wait = answer.retry_after
                if answer.status == TOO_MUCH:
                    self._budget.refused(trio.current_time())
            passes = isinstance(failure, Unavailable | RateLimited) and failure.status != FULL
            if not passes or not (repeats or harmless):
                raise failure
            backoff.attempted()
            delay = max(backoff.next_delay() / 2, min(wait or 0.0, LONGEST_RETRY_AFTER))
            now = trio.current_time()
            again_at = max(now + delay, self._budget.resumes(now))
            if again_at > give_up_at:
                raise failure
            self.retried += 1
            await trio.sleep_until(again_at)

    async def _take_turn(self) -> None:
        await trio.sleep_until(self._budget.take(trio.current_time()))
        # Somebody else may have been told meanwhile that it was too much.
        while (  # noqa: ASYNC110 - it is a time that is waited for
            resumes := self._budget.resumes(trio.current_time())
        ) > trio.current_time():
            await trio.sleep_until(resumes)

    async def _once(
        self, method: str, path: str, params: Mapping[str, str], body: Any, content: bytes | None
    ) -> Answer | NoAnswer:
        import httpx2

        from trio_realtime._io.http_streams import Body

        url = self._server + path
        self.made += 1
        try:
            client = self._http.client
            request = client.build_request(
                method, url, params=params, headers=self._headers, json=body, content=content
            )
            request.stream = Body(request.content)
            with trio.fail_after(self._timeout):
                response = await client.send(request, stream=True)
                try:
                    content = await _content(response)
                finally:
                    with trio.CancelScope(shield=True), trio.move_on_after(1):
                        await response.aclose()
        except trio.TooSlowError:
            text = f"{method} {url} got no answer in {self._timeout:g} seconds"
            return NoAnswer(Unavailable(text), unsent=False)
        except TooLarge as error:
            return NoAnswer(Unavailable(f"{method} {url} {error}"), unsent=False)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            unavailable = Unavailable(f"{method} {url} failed: {reason_of(error)}")
            unavailable.__cause__ = error
            unsent = isinstance(error, httpx2.ConnectError | httpx2.InvalidURL)
            return NoAnswer(unavailable, unsent=unsent)
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            value = None
        return Answer(response.status_code, value, _retry_after(response.headers))

    async def aclose(self) -> None:
        """Close idle connections."""
        await self._http.aclose()


def _encoded(params: Mapping[str, Any] | None) -> dict[str, str]:
    """Parameters as storage SDKs write them: what is no text is JSON; None is left out."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in (params or {}).items()
        if value is not None
    }


async def _content(response: httpx2.Response) -> bytes:
    content = await content_of(response, LARGEST_ANSWER)
    if content is None:
        raise TooLarge(f"was answered with more than {LARGEST_ANSWER >> 20} MiB")
    return content


def _retry_after(headers: Mapping[str, str]) -> float | None:
    given = headers.get("retry-after")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(given) - utc_now()).total_seconds()
        except (TypeError, ValueError):
            return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _failure(method: str, path: str, answer: Answer) -> RestError:
    status, value = answer.status, answer.value
    known = isinstance(value, dict)
    code = value.get("code") if known else None
    said = str(value.get("error") or "") if known else ""
    what = f"{method} {path} was answered with status {status}"
    if status == TOO_MUCH:
        return RateLimited(said or what, status=status)
    if status >= 500 or status < 400 or not isinstance(code, int):
        if status in {401, 403} and not isinstance(code, int):
            return Unauthorized(what, status=status)
        if status == 404:
            return NotFound(status, what, status=status)
        reason = " and something that is no JSON" if value is None else ""
        return Unavailable(f"{what}{reason}{f': {said}' if said else ''}", status=status)
    if status == 401:
        return Unauthorized(said or what, status=status)
    missing = status == 404 or code in MISSING
    return (NotFound if missing else Refused)(code, said, status=status)
