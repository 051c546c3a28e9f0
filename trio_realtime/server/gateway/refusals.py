from __future__ import annotations

from trio_realtime.server.rules.types import Refusal
from trio_realtime.wire import AckCommand, CommandType, ErrorCommand, GenericCommand


def refusal_reply(command: GenericCommand, refusal: Refusal) -> GenericCommand:
    """The answer that says no: an acknowledgement with a code for a message, otherwise an error.

    Protocol: docs/protocol/transport.md §5.
    """
    if command.cmd == CommandType.DIRECT:
        return GenericCommand(
            cmd=CommandType.ACK,
            ack_message=AckCommand(
                code=refusal.code,
                reason=refusal.reason,
                app_code=refusal.app_code,
                app_msg=refusal.app_message,
            ),
        )
    return GenericCommand(
        cmd=CommandType.ERROR,
        error_message=ErrorCommand(
            code=refusal.code,
            reason=refusal.reason,
            detail=refusal.detail,
            app_code=refusal.app_code,
            app_msg=refusal.app_message,
        ),
    )


def command_name(command: GenericCommand) -> str:
    """For logs and details: ``conv/start``."""
    parts = (command.cmd, command.op)
    return "/".join(str(getattr(part, "name", part)).lower() for part in parts if part is not None)
