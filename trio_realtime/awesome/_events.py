"""What happens, besides the events of the connection.

Protocol: docs/protocol/awesome-im.md §1, §2.
"""

from __future__ import annotations

import attrs

from trio_realtime._values.events import Event

from ._messages import BaseMessage


@attrs.frozen
class MessageReceived(Event):
    """A message that is no answer to one of this client's own. In the original: ``MESSAGE``."""

    message: BaseMessage
    """The message."""


@attrs.frozen
class Notice(Event):
    """The server said something with a code that is not 0.

    The sample server says 4, ``"close"``, when another connection has closed.
    """

    code: int
    """The envelope's code."""
    reason: str
    """Its ``errMsg``."""
    message: BaseMessage | None = None
    """The message inside, if there is one."""


@attrs.frozen
class Connected(Event):
    """Connected, for the first time or again. In the original: ``STATUS``."""
