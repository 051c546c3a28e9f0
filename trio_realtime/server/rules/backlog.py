"""What a client has missed, told behind the answer to its login.

Looking for it may take long, for a client of very many conversations; so it is a rule of its
own that only reads. Protocol: docs/protocol/session.md §6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from trio_realtime.server.store.interface import Tx
from trio_realtime.wire import GenericCommand

from .broadcasts import missed
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


Content = str | int
"""A message, by its id, or an edit, by its time, which no other has."""


def contents_of(push: GenericCommand) -> Sequence[Content]:
    """The messages and edits that a push brings."""
    if push.direct_message is not None:
        return [push.direct_message.id or ""]
    if push.patch_message is not None:
        return [patch.patch_timestamp or 0 for patch in push.patch_message.patches]
    return ()


def covers(pushes: Sequence[GenericCommand]) -> Callable[[Sequence[Content]], bool]:
    """Tells of contents whether they add nothing to these pushes.

    Of a message that was edited several times only the latest edit is found; it stands for
    those before it.
    """
    found = frozenset(one for push in pushes for one in contents_of(push))
    latest_edit = max((one for one in found if isinstance(one, int)), default=-1)

    def known(contents: Sequence[Content]) -> bool:
        return bool(contents) and all(
            one <= latest_edit if isinstance(one, int) else one in found for one in contents
        )

    return known


def _brings_messages(login: LoginRequest) -> bool:
    """Whether the client is sent the messages it has missed, rather than told their number."""
    return login.delivery == 1


def _brings_edits(login: LoginRequest) -> bool:
    return Feature.PATCHES in login.features and login.message.last_patch_time is not None


def brings_contents(login: LoginRequest) -> bool:
    """Whether what is pushed after the login has to wait for what was missed before.

    A client takes the latest edit it has seen for the mark up to which it knows all, and so
    would never hear of the earlier ones if its connection broke in between.
    """
    return _brings_messages(login) or _brings_edits(login)


def find_backlog(tx: Tx, login: LoginRequest) -> Backlog:
    """Look for unread counters or offline messages, and for missed edits."""
    message, client_id = login.message, login.client_id
    temporary = Feature.TEMPORARY_CONVERSATIONS in login.features
    pushes: list[GenericCommand] = []
    unread: list[str] = []
    if _brings_messages(login):
        pushes += offline_pushes(tx, client_id, temporary=temporary)
    else:
        since = message.last_unread_notif_time
        news = unread_push(tx, client_id, since, temporary=temporary)
        if news is not None and news.unread_message is not None:
            unread = [counter.cid or "" for counter in news.unread_message.convs]
    pushes += missed(tx, client_id)
    if _brings_edits(login) and message.last_patch_time is not None:
        after = _edits_since(tx, login, message.last_patch_time)
        pushes += patch_pushes(tx, client_id, after, temporary=temporary)
    return Backlog(pushes, unread)


def _edits_since(tx: Tx, login: LoginRequest, mark: int) -> int | None:
    """From when on edits are news; None if it is not known.

    A mark of a client that was here before is a time of ours. If none of our clocks has come to it,
    it was set back since. Others begin with the time of their own clock, and have missed nothing.
    """
    was_here = login.reopen or bool(login.message.st)
    future = mark > tx.now and mark > tx.latest_patch()
    return None if was_here and future else mark
