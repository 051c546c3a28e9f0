"""What the server decides: pure functions of a transaction, a caller and a command."""

from __future__ import annotations

from collections.abc import Mapping

from trio_realtime.server.store.interface import Tx
from trio_realtime.wire import CommandType, GenericCommand, OpType

from .conversation_table import CONVERSATION_HANDLERS
from .message_table import MESSAGE_HANDLERS
from .types import Caller, Handler, Outcome

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


def carry_out(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """The rule of whatever command it is, which must be one that somebody handles."""
    handler = handler_of(command.cmd, command.op)
    assert handler is not None
    return handler.rule(tx, caller, command)
