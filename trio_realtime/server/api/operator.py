"""Carrying out what the operator asks for: its key, its rule, and who is told then.

Protocol: docs/protocol/rest.md §1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import attrs
import outcome

from trio_realtime.server.bus.answer import DONE, Answer
from trio_realtime.server.gateway.commands import tell_hooks
from trio_realtime.server.gateway.gateway import Gateway
from trio_realtime.server.http import HttpError, Request
from trio_realtime.server.rules.operator.result import Result
from trio_realtime.server.rules.types import App, Refusal
from trio_realtime.server.store.interface import Kind, Mode, QueryError, Tx

from .rest import authorized_app, number

T = TypeVar("T")

KINDS: Mapping[str, tuple[Kind, ...]] = {
    "conversations": (Kind.NORMAL, Kind.TEMPORARY),
    "chatrooms": (Kind.ROOM,),
    "service-conversations": (Kind.SERVICE,),
}
"""The kinds of conversations under each of their paths."""

BAD_PARAMETER = 1
STATUS_OF_CODE = {101: 404, 507: 507, 4303: 404, 4401: 404, 4315: 403, 4305: 403}


@attrs.frozen
class Operator:
    """What the endpoints of the operator share."""

    gateway: Gateway

    def app(self, request: Request) -> App:
        """The app whose master key the request shows. Raises `HttpError` 401."""
        return authorized_app(self.gateway, request, master=True)

    async def write(self, app: App, rule: Callable[[Tx], Result]) -> Any:
        """Carry out a rule and tell those whom it concerns; its answer. Raises `HttpError`.

        Cancelled, it is carried out all the same.
        """
        context = self.gateway.apps[app.id]
        done: Answer[Any] = Answer()

        def run(tx: Tx) -> tuple[int, Result]:
            return tx.now, rule(tx)

        def committed(result: outcome.Outcome[tuple[int, Result]]) -> None:
            if isinstance(result, outcome.Error):
                done.settle(result)
                return
            at, decided = result.unwrap()
            context.bus.deliver(decided.pushes, actor=None, at=at)
            if decided.told is not None:
                context.metrics.messages_total += 1
                if context.hooks is not None:
                    told = decided.told
                    tell_hooks(context.hooks, context.bus, told.caller, told.command, told.outcome)
            evicted = DONE if decided.evict is None else context.bus.evict(decided.evict)
            evicted.then(
                lambda result: done.settle(
                    result if isinstance(result, outcome.Error) else outcome.Value(decided.answer)
                )
            )

        self.gateway.store.submit(app.id, run, committed)
        try:
            return await done
        except Refusal as refusal:
            raise refused(refusal) from refusal

    async def read(self, app: App, rule: Callable[[Tx], T], *, query: bool = False) -> T:
        """What a rule finds; with ``query`` it may take as long as a query. Raises `HttpError`."""
        done: Answer[T] = Answer()
        mode: Mode = "query" if query else "read"

        def found(result: outcome.Outcome[T]) -> None:
            done.settle(
                result if isinstance(result, outcome.Error) else outcome.Value(result.unwrap())
            )

        self.gateway.store.submit(app.id, rule, found, mode=mode)
        try:
            return await done
        except Refusal as refusal:
            raise refused(refusal) from refusal
        except QueryError as error:
            error.__traceback__ = None  # as in `refused`
            raise HttpError(400, 4310, str(error), limit=error.limit) from error


def refused(refusal: Refusal) -> HttpError:
    """A refusal of the rules as HTTP has it, told where it was waited for."""
    # Whose frame holds the answer, and so the refusal: with its traceback, that is a circle, which
    # would keep the request's body until the garbage collector comes.
    refusal.__traceback__ = None
    status = STATUS_OF_CODE.get(refusal.code, 400)
    said = refusal.detail or refusal.reason
    return HttpError(status, refusal.code, said, limit=refusal.limit)


def text(body: Mapping[str, Any], name: str, *, default: str | None = None) -> str:
    """A text among the values. Raises `HttpError` 400."""
    value = body.get(name, default)
    if not isinstance(value, str):
        raise HttpError(400, BAD_PARAMETER, f"{name} is needed, and is a text.")
    return value


def flag(body: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    """A boolean among the values. Raises `HttpError` 400."""
    value = body.get(name, default)
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise HttpError(400, BAD_PARAMETER, f"{name} is true or false.")
    return value


def integer(body: Mapping[str, Any], name: str, default: int | None = None) -> int | None:
    """A whole number among the values, or among those of a query. Raises `HttpError` 400."""
    value = body.get(name, default)
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            value = False
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise HttpError(400, BAD_PARAMETER, f"{name} is a whole number.")
    if value is not None and abs(value) >= 2**63:
        raise HttpError(400, BAD_PARAMETER, f"{name} is out of range.")
    return value


def ids(
    body: Mapping[str, Any], name: str = "client_ids", *, most: int | None = None
) -> Sequence[str]:
    """Texts among the values, at most so many. Raises `HttpError` 400."""
    value = body.get(name)
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise HttpError(400, BAD_PARAMETER, f"{name} is needed, and is an array of texts.")
    if most is not None and len(value) > most:
        raise HttpError(400, BAD_PARAMETER, f"{name} has more than {most} entries.")
    return value


def page(request: Request, *, default: int, most: int) -> int:
    """The limit a request asks for, within bounds. Raises `HttpError` 400."""
    return max(0, min(number(request, "limit", default), most))
