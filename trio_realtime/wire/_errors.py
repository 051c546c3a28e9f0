from __future__ import annotations


class WireError(ValueError):
    """Bytes that are no command, or a command that cannot be put into bytes.

    A received frame that raises this is malformed: nothing of it was used. A command
    that raises it on the way out lacks a required field or holds a value that its field
    cannot carry.

    Protocol: docs/protocol/schema.md, "Rules for a codec".
    """
