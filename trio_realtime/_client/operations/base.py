"""What all operations share: the session they go through."""

from __future__ import annotations

from trio_realtime._client.session_view import SessionView


class Operations:
    """Base of the operations of `IMClient`."""

    _session: SessionView
