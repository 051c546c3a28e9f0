"""Refusals and partial results."""

from __future__ import annotations

from trio_realtime._values.errors import CommandError
from trio_realtime._values.results import Failure, PartialResult
from trio_realtime.wire import BlacklistCommand, ConvCommand, ErrorCommand


def error_from_command(error: ErrorCommand) -> CommandError:
    """The exception for an error reply or an entry of ``failedPids``."""
    return CommandError.from_wire(
        error.code or 0, error.reason, error.detail, error.app_code, error.app_msg
    )


def partial_result(reply: ConvCommand | BlacklistCommand) -> PartialResult:
    """Who an operation succeeded for, and who not.

    Protocol: docs/protocol/conversations.md §5.1.
    """
    return PartialResult(
        tuple(reply.allowed_pids),
        tuple(
            Failure(tuple(failed.pids), error_from_command(failed)) for failed in reply.failed_pids
        ),
    )
