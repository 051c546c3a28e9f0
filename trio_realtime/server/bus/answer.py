"""What a bus is asked: answered at once where it knows, later where it must ask others."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

import outcome
import trio

T = TypeVar("T")

Result = outcome.Value[T] | outcome.Error


class Answer(Generic[T]):
    """A result that may be there already. It may be looked at more than once.

    ``await answer`` gives the value or raises the error; cancelling the wait leaves no trace.
    Where nothing may wait, `then` is called back in the event loop.
    """

    __slots__ = ("_callbacks", "result")

    def __init__(self, result: Result[T] | None = None) -> None:
        self.result = result
        """None as long as it is not known."""
        self._callbacks: list[Callable[[Result[T]], None]] = []

    @classmethod
    def of(cls, value: T) -> Answer[T]:
        """An answer that is there."""
        return cls(outcome.Value(value))

    @classmethod
    def failed(cls, error: Exception) -> Answer[T]:
        """A refusal, or an error, that is there."""
        return cls(outcome.Error(error))

    def settle(self, result: Result[T]) -> None:
        """Give the result, once; calls back whoever waits, in the order they came."""
        assert self.result is None
        self.result = result
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(result)

    def then(self, callback: Callable[[Result[T]], None]) -> None:
        """Call back with the result: at once if it is there. ``callback`` must not raise."""
        if self.result is not None:
            callback(self.result)
        else:
            self._callbacks.append(callback)

    def __await__(self) -> Generator[Any, Any, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        if self.result is None:
            settled = trio.Event()
            self._callbacks.append(callback := lambda _result: settled.set())
            try:
                await settled.wait()
            finally:
                if self.result is None:
                    self._callbacks.remove(callback)
        assert self.result is not None
        if isinstance(self.result, outcome.Error):
            raise self.result.error
        return self.result.value


DONE: Answer[None] = Answer(outcome.Value(None))
"""The answer to what was done at once."""
