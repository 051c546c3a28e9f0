"""What a client has missed, told behind the answer to its login.

Looking for it may take long, for a client of very many conversations; so it is a rule of its
own that only reads. Protocol: docs/protocol/session.md §6.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from trio_realtime.server.store.interface import Tx
from trio_realtime.wire import GenericCommand

from .offline import offline_pushes
from .patch import patch_pushes
from .read import unread_push
from .session import LoginRequest
from .types import Feature


@attrs.frozen
class Backlog:
    """What was found at one moment."""

    pushes: Sequence[GenericCommand] = ()
    """Messages and edits."""
    unread: Sequence[str] = ()
    """Conversations whose counters are news. The counters themselves are for a rule that runs in
    the order of the commits (`unread_counters`): clients go on counting what they are pushed.
    """

    @property
    def messages(self) -> frozenset[str | None]:
        """The ids of the messages."""
        found = (push.direct_message for push in self.pushes)
        return frozenset(direct.id for direct in found if direct is not None)


def brings_messages(login: LoginRequest) -> bool:
    """Whether the client is sent the messages it has missed, rather than told their number."""
    return login.delivery == 1


def brings_edits(login: LoginRequest) -> bool:
    """Whether the client is sent the edits it has missed."""
    return Feature.PATCHES in login.features and login.message.last_patch_time is not None


def find_backlog(tx: Tx, login: LoginRequest) -> Backlog:
    """Look for unread counters or offline messages, and for missed edits."""
    message, client_id = login.message, login.client_id
    temporary = Feature.TEMPORARY_CONVERSATIONS in login.features
    pushes: list[GenericCommand] = []
    unread: list[str] = []
    if brings_messages(login):
        pushes += offline_pushes(tx, client_id, temporary=temporary)
    else:
        since = message.last_unread_notif_time
        news = unread_push(tx, client_id, since, temporary=temporary)
        if news is not None and news.unread_message is not None:
            unread = [counter.cid or "" for counter in news.unread_message.convs]
    if brings_edits(login) and message.last_patch_time is not None:
        pushes += patch_pushes(tx, client_id, message.last_patch_time, temporary=temporary)
    return Backlog(pushes, unread)
