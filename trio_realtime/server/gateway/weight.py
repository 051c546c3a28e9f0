"""How much a command counts among those of its connection that are under way.

All writers wait for one another. What one command may ask for is bounded by its size, and what
one connection has under way by `Limits.commands_in_flight`; so that the product is bounded too,
a command that names many counts as many.
"""

from __future__ import annotations

from trio_realtime.wire import CommandType, GenericCommand, OpType

CLIENTS = 4
"""So many clients, or conversations to be read, count as one command."""

RENEWAL = 16
"""As how many commands the renewal of a token counts: nobody needs several at once."""


def weight(command: GenericCommand) -> int:
    """As how many commands it counts, at least as one."""
    count = 1
    if command.cmd == CommandType.SESSION and command.op == OpType.REFRESH:
        count = RENEWAL
    if conv := command.conv_message:
        count += len(conv.m) // CLIENTS
    if listed := command.blacklist_message:
        count += len(listed.to_pids) // CLIENTS + len(listed.to_cids)
    if read := command.read_message:
        count += (len(read.convs) + len(read.cids)) // CLIENTS
    if patch := command.patch_message:
        count += len(patch.patches)
    return count
