"""Conversations and their messages, and what may be expected of each."""

from __future__ import annotations

import attrs

ME = "Tom"
KINDS = {"a": 1, "b": 1, "new": 1, "news": 3, "_tmp:t": 4}
"""Conversations and their kinds; of "new" the client is no member to begin with."""


@attrs.define(eq=False)
class Said:
    """A message, and what may be expected of it."""

    at: int
    mid: str
    sender: str
    body: str
    stored: bool = True
    late: bool = False
    """The server pushes it after a later one."""
    behind: bool = False
    """If the server has not pushed it when the line breaks, nothing tells that there is one."""
    owed: bool = True
    """The client has to be given it, or be told that it is missing."""
    hidden: bool = False
    """The history has been asked, and did not show it yet."""
    meant: bool = True
    """It is meant for the client, which may say that it is missing."""
    patched: int = 0
    """When it was edited or recalled last."""
    recalled: bool = False


@attrs.define(eq=False)
class Room:
    """A conversation."""

    cid: str
    kind: int
    said: list[Said] = attrs.field(factory=list)
    joined_at: int | None = 0
    """Since when the client is a member; None: it is not."""
    forgotten_until: int = 0
    """The history begins behind this time."""
    acknowledged: int = 0
    """Up to here the client has said that it has the messages."""

    def history(self):
        since = max(self.joined_at or 0, self.forgotten_until + 1)
        stored = [one for one in self.said if one.stored and one.at >= since]
        return sorted(stored, key=lambda one: (one.at, one.mid))

    @property
    def last(self):
        return max(
            (one for one in self.said if one.stored),
            key=lambda one: (one.at, one.mid),
            default=None,
        )

    def after_all(self, at):
        """A time behind everything that was said, and not before this one."""
        return at if self.last is None else max(at, self.last.at + 1)
