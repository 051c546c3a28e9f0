"""What one run of a program leaves to the next: a small, versioned document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import attrs
import msgspec

from trio_realtime._values.errors import StateDamaged, StateError
from trio_realtime._values.protocol import MAX_CLIENT_ID
from trio_realtime._values.times import datetime_from_ms

from .delivery import FORGOTTEN, NOWHERE, SLACK, Delivery, Track
from .login import LoginState
from .notices import ToldNotices
from .positions import Positions, Progress

VERSION = 1
MAX_NAME = 256
"""Characters of the id of a device."""
LATEST = 253_402_300_799_999
"""The end of the year 9999."""
AHEAD = 24 * 3_600_000
"""Milliseconds by which a state may be ahead of its server, whose clock may have been set."""
Time = Annotated[int, msgspec.Meta(ge=-1, le=LATEST)]
CONVERSATIONS = 10_000
"""Conversations kept at most, those that spoke last."""


@attrs.frozen(kw_only=True)
class SavedConversation:
    """How far the user has come in one conversation."""

    mark: tuple[Time, str]
    """Time and id of the newest message behind the user; without an id: none of that time is."""
    ahead: dict[str, Time] = attrs.field(factory=dict)
    """Ids and times of later ones that are dealt with all the same."""
    heard: bool = True
    """Whether the user has been given anything before the mark; else it may still come."""


@attrs.frozen(kw_only=True)
class SavedState:
    """Everything that is kept. Times are milliseconds."""

    format: Literal["trio-realtime"] = "trio-realtime"
    version: Literal[1] = 1
    app_id: str
    client_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CLIENT_ID)]
    device_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
    token: str | None
    token_expires_at: int
    complete_until: Time
    """Server time up to which nothing is missing where no conversation says otherwise."""
    patch_time: Time | None
    notification_time: Time | None
    conversations: dict[str, SavedConversation] = attrs.field(factory=dict)
    begun: bool = True
    """Whether what the server pushed after the very first login has come."""
    notices: list[tuple[str, str, Time]] = attrs.field(factory=list)
    """Kinds, conversations and times of later news about this client that it has been told."""


def decoded(data: bytes) -> SavedState:
    """The state in a file.

    Raises:
        StateDamaged: it is none.
        StateError: a later version has written it.
    """
    try:
        return read(msgspec.json.decode(data))
    except (msgspec.DecodeError, RecursionError) as error:
        raise StateDamaged(f"the saved state is damaged: {error}") from error


def read(document: Any) -> SavedState:
    """The state in a document of plain values. Raises as `decoded` does."""
    version = document.get("version") if isinstance(document, Mapping) else None
    if isinstance(version, int) and version > VERSION:
        raise StateError(f"the saved state is of version {version}; this program knows {VERSION}")
    try:
        state = msgspec.convert(document, SavedState)
        # A mapping may hold what no file can: halves of characters.
        encoded(state)
    except (msgspec.ValidationError, UnicodeEncodeError, RecursionError) as error:
        raise StateDamaged(f"the saved state is damaged: {error}") from error
    return state


def check_times(state: SavedState, server_time: int) -> None:
    """See that a state is not of a time that its server has not reached: all until then would
    count as known.

    Raises:
        StateDamaged: it is.
    """
    latest = max(
        state.complete_until,
        state.patch_time or 0,
        state.notification_time or 0,
        *(one.mark[0] for one in state.conversations.values()),
    )
    if latest > server_time + AHEAD:
        raise StateDamaged(
            f"the saved state is of {datetime_from_ms(latest):%Y-%m-%d}, which its server has not"
            f" reached: there it is {datetime_from_ms(server_time):%Y-%m-%d}"
        )


def document(state: SavedState) -> dict[str, Any]:
    """The state as plain values, for JSON or wherever a mapping keeps them."""
    plain = msgspec.to_builtins(state)
    assert isinstance(plain, dict)
    return plain


def encoded(state: SavedState) -> bytes:
    """The state as the contents of a file."""
    return msgspec.json.encode(state)


def save(
    login: LoginState,
    delivery: Delivery[Any],
    positions: Positions,
    notices: ToldNotices,
    notices_from: int | None,
    now: float,
) -> SavedState:
    """What is to be kept at this moment.

    Args:
        login: token and times.
        delivery: up to when nothing is missing.
        positions: how far the user has come.
        notices: the news about this client that have been told.
        notices_from: server time from which news about this client are still to be fetched.
        now: the present, on the clock of the answers to what was sent.
    """
    oldest = delivery.complete_until - FORGOTTEN
    complete = delivery.away_since is None
    conversations: dict[str, SavedConversation] = {}
    for cid, track in delivery.tracks.items():
        progress = positions.conversations.get(cid)
        mark = None if progress is None else progress.mark(now, complete=complete)
        if mark is None:
            # The user was given nothing; an id only says what the user need not be given.
            begin = track.mark
            mark = (delivery.complete_until, "") if begin is None or begin[1] else begin
        ahead = {} if progress is None else progress.ahead()
        begin = track.mark
        awaited = progress is not None and begin is not None and progress.awaits(begin)
        if begin is not None and not begin[1] and mark <= begin and not awaited:
            # The user is a member since then, or has been told that all before is gone.
            if mark[1]:
                ahead[mark[1]] = mark[0]
            mark = begin
        # What was missed before it was left is still to be told.
        settled = track.left and track.deferred is None
        if not settled and mark[0] >= oldest:
            heard = progress is not None and progress.reached is not None
            conversations[cid] = SavedConversation(mark=mark, ahead=ahead, heard=heard)
    if len(conversations) > CONVERSATIONS:
        latest = sorted(conversations, key=lambda cid: conversations[cid].mark)
        conversations = {cid: conversations[cid] for cid in latest[-CONVERSATIONS:]}
    notified = login.notification_watermark if notices_from is None else notices_from
    notified_until = positions.notices_until(notified)
    return SavedState(
        app_id=login.app_id,
        client_id=login.assigned_id,
        device_id=login.device_id,
        token=login.token,
        token_expires_at=login.token_expires_at,
        complete_until=delivery.complete_until,
        patch_time=positions.patches_until(login.patch_watermark),
        notification_time=notified_until,
        conversations=conversations,
        begun=delivery.begun_settled(now),
        notices=[
            notice
            for notice in notices.since(notified_until or 0)
            if positions.has_dealt_with(notice)
        ],
    )


def restore(
    state: SavedState,
    login: LoginState,
    delivery: Delivery[Any],
    positions: Positions,
    notices: ToldNotices,
) -> None:
    """Go on where an earlier run of the program stopped.

    Raises:
        StateError: it was another client.
    """
    if state.app_id != login.app_id or login.client_id not in {None, state.client_id}:
        raise StateError(
            f"the saved state is of {state.client_id!r} in the app {state.app_id!r},"
            f" not of {login.client_id!r} in {login.app_id!r}"
        )
    login.client_id = state.client_id
    login.device_id = state.device_id
    login.token, login.token_expires_at = state.token, state.token_expires_at
    login.opened_at = state.complete_until
    login.patch_watermark = state.patch_time
    login.notification_watermark = state.notification_time
    login.anew = True
    notices.restore(state.notices)
    delivery.begun_at = state.complete_until
    delivery.heard = state.complete_until + SLACK
    for cid, saved in state.conversations.items():
        timestamp, mid = saved.mark
        known = (timestamp, "") if saved.heard or mid else NOWHERE
        track: Track[Any] = Track(saved.mark, known=known)
        track.seen = {**({mid: timestamp} if mid else {}), **saved.ahead}
        delivery.tracks[cid] = track
        reached = saved.mark if saved.heard or mid else None
        positions.conversations[cid] = Progress(reached, dict(saved.ahead))
    delivery.lose_link()
    delivery.begun = state.begun
