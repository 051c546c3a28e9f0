"""How much a command counts among those of its connection that are under way.

All writers wait for one another. What one command may ask for is bounded by its size, and what
one connection has under way by `Limits.commands_in_flight`; so that the product is bounded too,
a command that names many counts as many.
"""

from __future__ import annotations

from trio_realtime.wire import GenericCommand

CLIENTS = 4
"""So many clients, or conversations to be read, count as one command."""


def weight(command: GenericCommand) -> int:
    """As how many commands it counts, at least as one."""
    count = 1
    if conv := command.conv_message:
        count += len(conv.m) // CLIENTS
    if listed := command.blacklist_message:
        count += len(listed.to_pids) // CLIENTS + len(listed.to_cids)
    if read := command.read_message:
        count += (len(read.convs) + len(read.cids)) // CLIENTS
    if patch := command.patch_message:
        count += len(patch.patches)
    return count
