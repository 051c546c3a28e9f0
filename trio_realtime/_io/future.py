"""Results that tasks wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, cast

import trio

T = TypeVar("T")


class Future(Generic[T]):
    """A result that one task waits for, set from the event loop.

    Args:
        on_value: called with a good result at once, before the task goes on; what it raises
            becomes the result.
    """

    # An outcome object for each result would cost more than all the rest.
    __slots__ = ("_error", "_on_value", "_set", "_task", "_value")

    def __init__(self, on_value: Callable[[T], None] | None = None) -> None:
        self._on_value = on_value
        self._set = False
        self._value: T | None = None
        self._error: Exception | None = None
        self._task: trio.lowlevel.Task | None = None

    def set(self, result: T | Exception) -> None:
        """Settle, with a value or an error; the first result counts."""
        if self._set:
            return
        self._set = True
        if isinstance(result, Exception):
            self._error = result
        else:
            self._value = result
            if self._on_value is not None:
                try:
                    self._on_value(result)
                except Exception as error:  # noqa: BLE001 - raised where the result is awaited
                    self._error = error
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def get(self) -> T:
        """Wait for the result; cancelling the wait leaves no trace."""
        if not self._set:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        if self._error is not None:
            raise self._error
        return cast("T", self._value)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
