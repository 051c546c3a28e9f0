"""What all operations share: the session they go through."""

from __future__ import annotations

from trio_realtime._io.session import ClientSession


class Operations:
    """Base of the operations of `IMClient`."""

    _session: ClientSession
