"""The rules about messages, by the command they answer."""

from __future__ import annotations

from trio_realtime.wire import CommandType, OpType

from .ack import acknowledge
from .direct import send
from .history import logs
from .patch import modified, modify
from .read import max_read, read
from .types import Handler

MESSAGE_HANDLERS: dict[tuple[CommandType, OpType | None], Handler] = {
    (CommandType.DIRECT, None): Handler(send),
    (CommandType.ACK, None): Handler(acknowledge),
    (CommandType.READ, None): Handler(read),
    (CommandType.LOGS, None): Handler(logs, writes=False),
    (CommandType.PATCH, OpType.MODIFY): Handler(modify),
    (CommandType.PATCH, OpType.MODIFIED): Handler(modified, writes=False),
    (CommandType.CONV, OpType.MAX_READ): Handler(max_read, writes=False),
}
