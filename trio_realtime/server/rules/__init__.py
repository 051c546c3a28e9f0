"""What the server decides: pure functions of a transaction, a caller and a command."""

from __future__ import annotations

from collections.abc import Mapping

from trio_realtime.wire import CommandType, OpType

from .conversation_table import CONVERSATION_HANDLERS
from .message_table import MESSAGE_HANDLERS
from .types import Handler

HANDLERS: Mapping[tuple[CommandType, OpType | None], Handler] = {
    **CONVERSATION_HANDLERS,
    **MESSAGE_HANDLERS,
}
"""The handler of each command and operation; operation None stands for any."""


def handler_of(cmd: CommandType | None, op: OpType | None) -> Handler | None:
    """Who handles a command; None for one that nobody knows."""
    if cmd is None:
        return None
    return HANDLERS.get((cmd, op)) or HANDLERS.get((cmd, None))
