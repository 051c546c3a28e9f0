"""Refusals, partial results, and the parts that a reply must have."""

from __future__ import annotations

from typing import TypeVar

from trio_realtime._values.errors import CommandError, MalformedReply
from trio_realtime._values.results import Failure, PartialResult
from trio_realtime.wire import BlacklistCommand, ConvCommand, ErrorCommand, GenericCommand

T = TypeVar("T")


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


def part(reply: GenericCommand, message: T | None) -> T:
    """The part of a reply that must be there. Raises `MalformedReply`."""
    if message is None:
        raise MalformedReply(f"the reply {reply.cmd}/{reply.op} lacks its content")
    return message
