"""One error instead of a group of one.

Our blocks run tasks in the background of the user's body. Whatever the body raises leaves the
block as it was raised, the very object with its notes and its context, also a group, also a
cancellation. What our tasks raise is never seen as a group: it is one error.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NoReturn

import trio

logger = logging.getLogger("trio_realtime")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def is_cancelled(error: BaseException) -> bool:
    """Whether there is a cancellation in an error: the scopes it passes have to see it."""
    return any(isinstance(leaf, trio.Cancelled) for leaf in _leaves(error))


def _is_only_cancelled(error: BaseException) -> bool:
    return all(isinstance(leaf, trio.Cancelled) for leaf in _leaves(error))


def _most_telling(error: BaseException) -> BaseException:
    """The error that stands for all in a group of ours.

    What ends the program comes before everything else, cancellation after it.
    """
    leaves = {id(leaf): leaf for leaf in _leaves(error)}.values()
    errors = [leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)]
    if not errors:
        return next(iter(leaves))
    chosen = next((one for one in errors if not isinstance(one, Exception)), errors[0])
    for other in errors:
        if other is not chosen:
            _log_lost(other)
    return chosen


def _log_lost(error: BaseException) -> None:
    logger.error("a task in the background failed as well", exc_info=error)


def raise_as_it_is(error: BaseException) -> NoReturn:
    """Raise an error once more, with the context that it has."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        del error, context


@contextmanager
def single_error() -> Iterator[None]:
    """Let the error of a nursery of ours out as it was raised; not for what the user's raise."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise_as_it_is(_most_telling(group))


@asynccontextmanager
async def background_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery of ours around a body of the user's. It does not end the tasks by itself."""
    raised: BaseException | None = None
    failed: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            # A nursery wraps what passes through it, and takes groups apart: the error of the
            # body goes around.
            try:
                yield nursery
            except BaseException as error:  # noqa: BLE001 - raised again below
                raised = error
    except BaseException as error:  # noqa: BLE001 - likewise
        failed = _most_telling(error)
    try:
        if raised is None or failed is None:
            error_of_block = raised if failed is None else failed
        else:
            error_of_block = _decided(raised, failed)
        if error_of_block is not None:
            raise_as_it_is(error_of_block)
    finally:
        del raised, failed, error_of_block


def _decided(raised: BaseException, failed: BaseException) -> BaseException:
    """What is raised where the body raises something, and a task of ours fails."""
    if isinstance(failed, trio.Cancelled):
        return raised
    if _is_only_cancelled(raised):
        return failed
    if not isinstance(failed, Exception):
        if failed.__context__ is None:
            failed.__context__ = raised
        return failed
    _log_lost(failed)
    if isinstance(raised, BaseExceptionGroup) and is_cancelled(raised):
        # Those of its tasks that were cancelled were so for the sake of ours.
        return raised.split(trio.Cancelled)[1] or raised
    return raised
