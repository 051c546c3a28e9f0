"""Results that tasks wait for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import outcome
import trio

from trio_realtime._engine.commands import Waiting
from trio_realtime._values.errors import CommandError, RemoteProtocolError
from trio_realtime.wire import CommandType, GenericCommand, OpType

T = TypeVar("T")


class Reply(Generic[T]):
    """A result that one task waits for, set from the event loop."""

    __slots__ = ("_result", "_task")

    def __init__(self) -> None:
        self._result: outcome.Value[T] | outcome.Error | None = None
        self._task: trio.lowlevel.Task | None = None

    def set(self, result: outcome.Value[T] | outcome.Error) -> None:
        """Settle; the first result counts."""
        if self._result is None:
            self._result = result
            if self._task is not None:
                trio.lowlevel.reschedule(self._task)
                self._task = None

    async def get(self) -> T:
        """Wait for the result; cancelling the wait leaves no trace."""
        if self._result is None:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        assert self._result is not None
        return self._result.unwrap()

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


async def all_gone(commands: Iterable[Waiting]) -> None:
    """Wait until nobody waits for any of these commands any more."""
    gone = []
    for one in commands:
        gone.append(event := trio.Event())
        one.gone = event.set
    for event in gone:
        await event.wait()


def checked(reply: GenericCommand) -> GenericCommand:
    """The reply, unless it says no."""
    error = reply.error_message
    if reply.cmd == CommandType.ERROR and error is not None:
        raise CommandError.from_wire(
            error.code or 0, error.reason or "", error.detail, error.app_code, error.app_msg
        )
    session = reply.session_message
    if session is not None and reply.op == OpType.CLOSED and session.code:
        raise CommandError.from_wire(session.code, session.reason or "", session.detail)
    if reply.cmd == CommandType.ERROR:
        raise RemoteProtocolError("the server answered with an error that says nothing")
    return reply
