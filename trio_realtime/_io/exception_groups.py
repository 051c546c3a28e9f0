"""One error instead of a group of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


@contextmanager
def single_error() -> Iterator[None]:
    """Let the errors of our own nurseries reach the user as they were raised.

    Cancellation gives way to real errors; several real errors stay a group, since none of
    them may be hidden.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        errors = [leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)]
        unique = list({id(leaf): leaf for leaf in errors or leaves[:1]}.values())
        if len(unique) > 1:
            raise
        error = unique[0]
        # The group says nothing that the error does not; keep the error's own context.
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context
