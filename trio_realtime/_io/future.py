"""Results that tasks wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import outcome
import trio

T = TypeVar("T")


class Future(Generic[T]):
    """A result that one task waits for, set from the event loop.

    Args:
        on_value: called with a good result at once, before the task goes on; what it raises
            becomes the result.
    """

    __slots__ = ("_on_value", "_result", "_task")

    def __init__(self, on_value: Callable[[T], None] | None = None) -> None:
        self._on_value = on_value
        self._result: outcome.Value[T] | outcome.Error | None = None
        self._task: trio.lowlevel.Task | None = None

    def set(self, result: outcome.Value[T] | outcome.Error) -> None:
        """Settle; the first result counts."""
        if self._result is None:
            if self._on_value is not None and isinstance(result, outcome.Value):
                seen = outcome.capture(self._on_value, result.value)
                if isinstance(seen, outcome.Error):
                    result = seen
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
