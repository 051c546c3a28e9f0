"""The shape of a rule: who asks, what may come back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import IntFlag
from typing import Any, Protocol

import attrs

from trio_realtime.server.store.interface import ExpectedError, Mode, Tx
from trio_realtime.wire import GenericCommand


class Feature(IntFlag):
    """``configBitmap`` of a login: docs/protocol/session.md §4."""

    PATCHES = 1
    TEMPORARY_CONVERSATIONS = 2
    BIND_INSTALLATION = 4
    TRANSIENT_ACKS = 8
    RELIABLE_NOTIFICATIONS = 16
    PARTIAL_FAILURES = 32
    GROUP_RECEIPTS = 64
    OPTIONAL_PEER_ID = 128


@attrs.frozen
class Enforcement:
    """Which operations need a signature: docs/protocol/signatures.md §1. All off by default."""

    login: bool = False
    conversations: bool = False
    history: bool = False
    block_list: bool = False


@attrs.frozen
class App:
    """One application served: its keys and its switches."""

    id: str
    key: str
    master_key: str = attrs.field(repr=False)
    enforce: Enforcement = Enforcement()
    origins: frozenset[str] | None = None
    """Web origins that may log in, for instance ``https://chat.example.com``; None allows
    any. A connection without an ``Origin`` header does not come from a web page and is
    always allowed.
    """
    members_only: bool = attrs.field(default=False, kw_only=True)
    """Whether conversation queries show a conversation, and its last message, to its members
    alone. By default anybody finds it who knows a condition for it, as the protocol has it.
    Chat rooms and service conversations are found by everybody in either case.
    """


@attrs.frozen
class Caller:
    """The logged-in client a command acts for."""

    app: App
    client_id: str
    owner: object = attrs.field(eq=False, repr=False, default=None)
    """In whose turn the store writes what it does; opaque to rules, compared by identity."""
    features: Feature = Feature(0)
    address: str = ""
    room: str | None = None
    """The chat room the acting session is in."""
    json_depth: int = 32
    """How deep what it sends may nest."""


class Refusal(ExpectedError):
    """A rule says no: becomes the error reply of the command, and undoes the rule."""

    def __init__(
        self,
        code: int,
        reason: str,
        detail: str | None = None,
        *,
        app_code: int | None = None,
        app_message: str | None = None,
        limit: str | None = None,
    ) -> None:
        super().__init__(code, reason, detail)
        self.code = code
        self.reason = reason
        self.detail = detail
        self.app_code = app_code
        self.app_message = app_message
        self.limit = limit
        """Which of the `Limits` was reached."""


@attrs.frozen
class Clients:
    """All live sessions of these clients."""

    ids: Sequence[str]


@attrs.frozen
class Room:
    """The sessions that are in a chat room right now."""

    cid: str


@attrs.frozen
class Everyone:
    """All live sessions of the app."""


HIGH, NORMAL, LOW = 1, 2, 3
"""Priorities of pushes: what an overloaded receiver may lose first is lowest. HIGH is never
lost."""


@attrs.frozen
class Push:
    """A command for others. Its ``peer_id``, ``service`` and ``server_ts`` are filled in."""

    to: Clients | Room | Everyone
    command: GenericCommand
    except_actor: bool = False
    """Skip the acting session (not the client's other sessions)."""
    except_client: str | None = None
    """Skip every session of this client (chat rooms: the sender)."""
    needs: Feature = Feature(0)
    """Only sessions that declared all of these."""
    priority: int = HIGH
    """`HIGH`, `NORMAL` or `LOW`."""
    conversation_id: str | None = None
    """The conversation it is about; None if it is about several, or none."""
    place: int | None = None
    """Of a stored message, its timestamp: its place among the conversation's messages."""


@attrs.frozen
class Will:
    """A message to be sent when a session is lost."""

    command: GenericCommand
    """The command that asked for it."""
    message_id: str
    """What its acknowledgement said."""
    approval: object = attrs.field(default=None, eq=False, repr=False)
    """What the application has said about it; opaque to rules and to the bus."""


# What a rule wants of those who are online now. Rules only name it; the bus carries it out
# after the commit.


@attrs.frozen
class EnterRoom:
    """The acting session enters a chat room, and leaves any other."""

    cid: str


@attrs.frozen
class LeaveRoom:
    """The acting session leaves a chat room, if it is there."""

    cid: str


@attrs.frozen
class Evict:
    """Clients are taken out of chat rooms, with all their sessions."""

    cids: Sequence[str]
    client_ids: Sequence[str]


@attrs.frozen
class KeepWill:
    """A message is kept for the loss of the acting session: docs/protocol/messages.md §10.

    A later will of the same session takes the place of the earlier one; None takes it back.
    """

    will: Will | None


@attrs.frozen
class CountRoom:
    """How many clients are in a chat room? ``complete`` puts the answer into the reply."""

    cid: str
    complete: Callable[[int], None]


@attrs.frozen
class ListRoom:
    """Who is in a chat room? At most ``limit`` clients."""

    cid: str
    limit: int
    complete: Callable[[Sequence[str]], None]


@attrs.frozen
class FindInRooms:
    """In which of these chat rooms is a client?"""

    cids: Sequence[str]
    client_id: str
    complete: Callable[[Collection[str]], None]


PresenceStep = EnterRoom | LeaveRoom | Evict | KeepWill | CountRoom | ListRoom | FindInRooms


class Presence(Protocol):
    """Who of a push's audience is online, as the bus has answered."""

    def online(self, client_ids: Sequence[str]) -> list[str]: ...

    def room_members(self, cid: str, limit: int) -> list[str]: ...


@attrs.frozen
class Outcome:
    """What a rule decided. The reply leaves first, then the pushes in order."""

    reply: GenericCommand | None = None
    pushes: Sequence[Push] = ()
    presence: PresenceStep | None = None
    """Carried out before the reply is sent, which it may complete in place."""
    filed: Mapping[str, Any] | None = None
    """What a client has written to a service just now, as a row of ``_SysMessage``."""


Rule = Callable[[Tx, Caller, GenericCommand], Outcome]


@attrs.frozen
class Handler:
    """A rule and whether it needs the writer."""

    rule: Rule
    writes: bool = True
    slow: bool = False
    """Whether it may take as long as a conversation query may."""

    @property
    def mode(self) -> Mode:
        """How the store runs it."""
        if self.writes:
            return "write"
        return "query" if self.slow else "read"
