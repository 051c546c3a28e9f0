"""The rules about messages, by the command they answer."""

from __future__ import annotations

from trio_realtime.server._rule import Handler
from trio_realtime.wire import CommandType, OpType

from ._ack import acknowledge
from ._direct import send
from ._history import logs
from ._patch import modified, modify
from ._read import max_read, read

MESSAGE_HANDLERS: dict[tuple[CommandType, OpType | None], Handler] = {
    (CommandType.DIRECT, None): Handler(send),
    (CommandType.ACK, None): Handler(acknowledge),
    (CommandType.READ, None): Handler(read),
    (CommandType.LOGS, None): Handler(logs, writes=False),
    (CommandType.PATCH, OpType.MODIFY): Handler(modify),
    (CommandType.PATCH, OpType.MODIFIED): Handler(modified, writes=False),
    (CommandType.CONV, OpType.MAX_READ): Handler(max_read, writes=False),
}
"""Protocol: messages.md; ``max_read``: conversations.md §5.2."""
