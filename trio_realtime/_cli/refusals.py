"""Why a command about archives and servers has failed, in a sentence for whoever runs it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable

from .usage import UsageError

FAILED = 2


async def status_of(work: Awaitable[int], go_on: str) -> int:
    """The exit status of what a command does; what fails is said in a sentence, once.

    ``go_on`` says what to do where it passes.
    """
    logging.getLogger("trio_realtime").addHandler(logging.NullHandler())
    from trio_realtime._archive.errors import ArchiveError
    from trio_realtime.rest import RestError

    try:
        return await work
    except (UsageError, ArchiveError) as error:
        problem = str(error)
    except RestError as error:
        problem = said(error, go_on)
    print(f"trio-realtime: {problem}", file=sys.stderr)
    return FAILED


def said(error: Exception, go_on: str) -> str:
    """The sentence; ``go_on`` says what to do where it passes."""
    from trio_realtime.rest import Refused, Unauthorized

    text = str(error).rstrip(".")
    if isinstance(error, Unauthorized):
        return (
            f"The server does not accept the key ({text}). It must be the master key of this "
            "very app; an app key does not do."
        )
    if isinstance(error, Refused):
        return f"The server refuses: {text}. Is it the API of LeanCloud, or one like it?"
    return f"{text}. {go_on}"
