"""How large a command may be. Protocol: docs/protocol/transport.md §3."""

from __future__ import annotations

from trio_realtime._values.errors import MessageTooLarge
from trio_realtime.wire import GenericCommand, encode

MAX_COMMAND = 5 * 1024
"""Bytes of one command from a client; a larger one would cost the connection."""

SERIAL = 6
"""Bytes that the serial id can take, which is given at transmission."""
PLACEHOLDER = 2
"""Bytes that a zero in its place has taken already."""


def check_size(command: GenericCommand) -> None:
    """Refuse a command that the server would not accept.

    Raises:
        MessageTooLarge: it says by how much; nothing was sent.
    """
    size = len(encode(command)) + SERIAL - (0 if command.i is None else PLACEHOLDER)
    if size > MAX_COMMAND:
        raise MessageTooLarge(size, MAX_COMMAND)
