"""What the server remembers: the interface between its rules and any database.

A *rule* is a plain function of a transaction. It is synchronous, knows no sockets and no
clock but ``tx.now``, and is bound to one app, so that it cannot see another app's data
even by mistake. Rules that write run one after another in the store's writer; many of
them share one durable commit. A rule that raises is undone alone.

Times are integer milliseconds since the epoch, as on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

import outcome

from .errors import ExpectedError, NotStorable, QueryError, StoreError, StoreUnavailable
from .rows import (
    Bound,
    ConversationRow,
    ImportedMessage,
    ImportOutcome,
    InstallationRow,
    Kind,
    Listing,
    MemberInfoRow,
    Membership,
    MessageRow,
    NewMessage,
    NotificationRow,
    PatchRow,
    Query,
    ReadMarks,
    TokenRow,
    UnreadRow,
)

__all__ = [
    "NOTIFICATIONS_KEPT",
    "SAME_MARK",
    "TOKENS_KEPT",
    "Bound",
    "ConversationRow",
    "ExpectedError",
    "ImportOutcome",
    "ImportedMessage",
    "InstallationRow",
    "Kind",
    "Listing",
    "MemberInfoRow",
    "Membership",
    "MessageRow",
    "Mode",
    "NewMessage",
    "NotStorable",
    "NotificationRow",
    "PatchRow",
    "Query",
    "QueryError",
    "ReadMarks",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "TokenRow",
    "Tx",
    "UnreadRow",
]


T = TypeVar("T")

SAME_MARK = 20
"""How many conversations of one mark are looked at: members of other names may have the same."""

TOKENS_KEPT = 100
"""How many session tokens are kept for a client; the oldest go first."""

NOTIFICATIONS_KEPT = 1000
"""How many notifications are kept for a client; the oldest go first."""

Mode = Literal["write", "read", "query"]
"""What a rule does: it may write; it reads, and is quick; or it reads, and may take as long as
a conversation query may."""


class Tx(Protocol):
    """One transaction on one app's data, inside the store's thread. Nothing here waits.

    Texts must have a UTF-8 form, and JSON be plain: `NotStorable` is raised for halves of
    surrogate pairs, NaN and infinity.
    """

    @property
    def now(self) -> int:
        """The time of this operation. Every part of one operation sees the same instant."""

    def earliest(self, mark: int) -> int:
        """The earliest moment that a time may mean which this store gave to a client.

        Where the clock was set back, times came twice; others mean themselves.
        """

    # Conversations.

    def conversation(self, cid: str) -> ConversationRow | None:
        """One conversation; expired temporary ones no longer exist."""

    def conversations(self, cids: Sequence[str]) -> dict[str, ConversationRow]:
        """Those of these conversations that exist, by id."""

    def conversations_by_unique_id(
        self, unique_id: str, kind: Kind, members: Sequence[str]
    ) -> list[ConversationRow]:
        """Conversations with this mark that one of these clients has made, and that have as many
        members; the oldest first, at most `SAME_MARK` of them.
        """

    def create_conversation(
        self,
        *,
        kind: Kind,
        creator: str,
        members: Sequence[str] = (),
        name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        unique_id: str | None = None,
        expires_at: int | None = None,
    ) -> ConversationRow:
        """Create with created_at = updated_at = now, and an id of the kind's form."""

    def update_conversation(
        self,
        cid: str,
        *,
        name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        unique_id: str | None = None,
    ) -> ConversationRow:
        """Replace what is given (attributes as a whole) and set updated_at to now."""

    def clear_name(self, cid: str) -> None:
        """Remove the name and set updated_at to now."""

    def delete_conversation(self, cid: str) -> None:
        """Delete with its members, lists and messages."""

    def find(self, query: Query) -> list[ConversationRow]:
        """Run a query. Raises `QueryError`."""

    def count(self, query: Query) -> int:
        """How many a query finds, whatever its page. Raises `QueryError`."""

    # Members. Order is the order of joining.

    def members(self, cid: str) -> list[str]: ...

    def members_of(self, cids: Sequence[str]) -> dict[str, list[str]]:
        """As `members`, of several conversations at once; those without members are left out."""

    def member_count(self, cid: str) -> int: ...

    def is_member(self, cid: str, client_id: str) -> bool: ...

    def add_members(self, cid: str, client_ids: Sequence[str]) -> list[str]:
        """Add, set updated_at, return those who were not members before."""

    def remove_members(self, cid: str, client_ids: Sequence[str]) -> list[str]:
        """Remove with their roles and do-not-disturb, and return those who were members. If
        there are any, set updated_at.
        """

    def joined_at(self, cid: str, client_id: str) -> int | None: ...

    def joined(self, client_id: str, cids: Sequence[str]) -> dict[str, int]:
        """Of these conversations those the client is a member of, with the time of joining."""

    def awaiting(self, client_id: str, *, temporary: bool, limit: int) -> list[Membership]:
        """The conversations in which others said what the client has not received, liveliest first.

        ``temporary`` tells whether temporary ones count.
        """

    # Do not disturb.

    def muted_by(self, cid: str) -> list[str]: ...

    def muted_in(self, cids: Sequence[str], *, limit: int) -> dict[str, list[str]]:
        """As `muted_by`, of several conversations at once, at most ``limit`` of each; those without
        are left out.
        """

    def muting(self, client_id: str, cids: Sequence[str]) -> set[str]:
        """Those of these conversations from which the client wants no push notifications."""

    def set_muted(self, cid: str, client_id: str, muted: bool) -> None: ...

    # Roles.

    def member_infos(
        self, cid: str, *, limit: int = 1000, skip: int = 0
    ) -> list[MemberInfoRow]: ...

    def role(self, cid: str, client_id: str) -> str | None:
        """The stored role; None where it was never changed."""

    def set_role(self, cid: str, client_id: str, role: str) -> MemberInfoRow: ...

    # Silence and block lists. An entry with an expiry acts like any other until then, but is
    # no part of the pages and the size of its list.

    def listed(
        self, listing: Listing, cid: str, *, limit: int, after: str | None = None, skip: int = 0
    ) -> tuple[list[str], str | None]:
        """A page of the permanent entries, and the cursor of the next page if there is one.

        A cursor that is not ours gives an empty page. ``skip`` passes over that many entries.
        """

    def listed_in(self, listing: Listing, client_id: str, cids: Sequence[str]) -> set[str]:
        """Of these conversations those where the client has an entry: see `which_listed`."""

    def which_listed(self, listing: Listing, cid: str, client_ids: Sequence[str]) -> set[str]:
        """Those with an entry, permanent or not yet expired."""

    def listed_count(self, listing: Listing, cid: str) -> int:
        """The number of permanent entries."""

    def add_listed(
        self,
        listing: Listing,
        cid: str,
        client_ids: Sequence[str],
        *,
        expires_at: int | None = None,
    ) -> None:
        """Add entries; one with an expiry replaces no permanent one."""

    def remove_listed(self, listing: Listing, cid: str, client_ids: Sequence[str]) -> None: ...

    def temporarily_silenced(self, cid: str, client_id: str) -> bool:
        """Silenced by an entry with an expiry that has not passed."""

    # Messages.

    def append(self, cid: str, message: NewMessage) -> tuple[MessageRow, bool]:
        """Store a message with a timestamp above every earlier one of the conversation.

        A ``dt`` the sender has used before in this conversation returns the first message
        and False; otherwise the new one and True.
        """

    def append_to_lines(
        self, cid: str, client_ids: Sequence[str], message: NewMessage
    ) -> list[MessageRow]:
        """Store what a service says to these clients alone: in the line of each, in this order.

        All have one time, which is above every earlier one of the service and of its lines. No
        two have one id: of the first it is that of the message, of the others `copy_id`.
        """

    def lines(self, client_id: str, cids: Sequence[str]) -> dict[str, str]:
        """Of these services those that have spoken to the client alone, with the id of the line.

        This id is known to nobody else: a line is told as its service.
        """

    def open_line(self, cid: str, client_id: str) -> str:
        """The id of the line of a service to a client, which is made if need be."""

    def next_timestamp(self, cid: str) -> int:
        """A timestamp for a message that is not stored (transient, will), never repeated."""

    def sent_before(self, cid: str, sender: str, dt: str) -> MessageRow | None:
        """The message the sender stored with this ``dt``, if any."""

    def message(self, cid: str, mid: str) -> MessageRow | None: ...

    def last_message(self, cid: str) -> MessageRow | None: ...

    def last_messages(self, cids: Sequence[str]) -> dict[str, MessageRow]:
        """The last message of each of these conversations that has any."""

    def history(
        self,
        cid: str,
        *,
        start: Bound | None = None,
        start_included: bool = False,
        end: Bound | None = None,
        end_included: bool = False,
        newer: bool = False,
        limit: int = 20,
        lctype: int | None = None,
    ) -> list[MessageRow]:
        """A page counted from ``start``, always ascending: docs/protocol/messages.md §7."""

    def patch(
        self,
        cid: str,
        mid: str,
        *,
        body: str | bytes,
        recalled: bool,
        mentions: tuple[str, ...],
        mention_all: bool,
        lctype: int | None,
        code: int | None = None,
        reason: str | None = None,
    ) -> PatchRow:
        """Edit a stored message; patch times increase strictly within the app."""

    def patches_for(self, client_id: str, after: int | None, *, limit: int = 100) -> list[PatchRow]:
        """Patches in the client's conversations later than ``after``, oldest first; for None the
        newest of all.
        """

    def latest_patch(self) -> int:
        """The newest time given to any patch of the app, 0 if there was none."""

    def delete_message(self, cid: str, mid: str) -> bool: ...

    # What only the operator asks, of an app as a whole.

    def feed(
        self,
        *,
        start: Bound | None = None,
        start_included: bool = False,
        end: Bound | None = None,
        end_included: bool = False,
        newer: bool = False,
        limit: int = 100,
        sender: str | None = None,
    ) -> list[MessageRow]:
        """A page of all messages, counted from ``start``: newest first, with ``newer`` oldest
        first, ties by id. With ``sender`` those of one client, services left out.

        Raises `QueryError` when it takes too long.
        """

    def all_member_infos(self, *, after: str = "", limit: int = 100) -> list[MemberInfoRow]:
        """The stored roles of all conversations, by id, those after this one."""

    def subscribers(
        self, cid: str, *, after: str | None = None, limit: int = 50
    ) -> list[tuple[str, int]]:
        """Members with the time of joining, in the order of joining, those after a member."""

    def subscriptions(self, client_id: str) -> list[tuple[str, int]]:
        """The service conversations a client has joined, with the time of it, earliest first."""

    def clients_seen(self, expiring_after: int) -> int:
        """How many clients have a token that lives beyond this time."""

    # Importing what another server has stored. Members count as having read what they find.

    def import_conversation(
        self, row: ConversationRow, members: Sequence[str], muted: Sequence[str]
    ) -> ImportOutcome:
        """Store with the id and the times given, or bring up to date what is older here."""

    def which_conversations(self, cids: Sequence[str]) -> set[str]:
        """Those of these that exist."""

    def import_messages(
        self, messages: Sequence[tuple[str, ImportedMessage]]
    ) -> list[ImportOutcome]:
        """Store messages of conversations with the ids and the times given. Of what is here
        another body counts, unless it was edited here; of two with one id the later one. Raises
        `StoreError` if a conversation is missing.
        """

    def import_role(self, cid: str, client_id: str, role: str, role_id: str) -> ImportOutcome: ...

    def import_subscriber(self, cid: str, client_id: str, joined_at: int) -> ImportOutcome:
        """Raises `StoreError` if it is no service."""

    # Receipts and unread.

    def acknowledge(self, cid: str, client_id: str, *, first: int, last: int) -> list[MessageRow]:
        """Mark others' messages in the inclusive range as received at ``now``.

        Returns those newly received by this client that asked for a receipt, of the newest
        of the range; a store may bound how many. The client's received mark never moves back.
        """

    def mark_read(self, cid: str, client_id: str, upto: int) -> list[MessageRow]:
        """Move the read mark (never back); returns newly read messages with a receipt, bounded
        as in `acknowledge`.
        """

    def marks(self, cid: str, client_ids: Sequence[str] | None = None) -> list[ReadMarks]:
        """Marks of the given members, or of all. Who read has received."""

    def unread(self, cid: str, client_id: str) -> UnreadRow: ...

    def unread_in(self, client_id: str, cids: Sequence[str]) -> list[UnreadRow]:
        """As `unread`, of several conversations of the client at once, in the order given."""

    def unread_of(
        self, client_id: str, *, since: int | None = None, limit: int = 50
    ) -> list[UnreadRow]:
        """Conversations with unread messages; with ``since``, every one whose unread
        state changed after that time, including those now at 0.
        """

    # Sessions.

    def forget_tokens(self, client_id: str) -> None:
        """Void every token of the client."""

    def put_token(self, token: str, row: TokenRow) -> None:
        """Remember a token (only its digest is stored).

        Of one client the newest `TOKENS_KEPT` are kept.
        """

    def token(self, token: str) -> TokenRow | None:
        """The token's row, also when it has expired (for a grace of 48 hours)."""

    def recent_login(self, client_id: str, since: int) -> TokenRow | None:
        """The newest token of the client that lived at or after ``since``."""

    def tag_holder(self, client_id: str, tag: str) -> TokenRow | None:
        """The newest token of the client with this tag, as long as `token` knows it."""

    # Notifications kept for replay.

    def keep_notification(self, client_ids: Sequence[str], item: Mapping[str, Any]) -> None: ...

    def notifications(self, client_id: str, after: int, *, limit: int) -> list[NotificationRow]: ...

    # Documents: small JSON rows of other parts (files, service messages, broadcasts).

    def put_document(self, table: str, key: str, value: Mapping[str, Any]) -> None: ...

    def document(self, table: str, key: str) -> Mapping[str, Any] | None: ...

    def which_documents(self, table: str, keys: Sequence[str]) -> set[str]:
        """Those of these keys that have a document."""

    def delete_document(self, table: str, key: str) -> bool: ...

    def documents(
        self, table: str, *, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> list[tuple[str, Mapping[str, Any]]]: ...

    # Installations.

    def installation(self, object_id: str) -> InstallationRow | None: ...

    def installations_of(
        self, *, device_token: str | None, installation_id: str | None
    ) -> list[InstallationRow]:
        """Those with this ``deviceToken`` or this ``installationId``, latest first; few."""

    def put_installation(self, attributes: Mapping[str, Any], row_id: str = "") -> InstallationRow:
        """Store a new one, or all that is said of a known one, with updated_at = now.

        A new one may bring its id.
        """

    def delete_installation(self, object_id: str) -> bool: ...

    def installation_count(self) -> int:
        """How many the app has."""

    def forget_installations(self, before: int) -> None:
        """Delete some of those that nobody has touched since."""

    def find_installations(self, query: Query) -> list[InstallationRow]:
        """Those that meet a condition, whose keys `parse_row_field` reads. Raises `QueryError`."""

    def count_installations(self, query: Query) -> int:
        """How many meet it, whatever the page. Raises `QueryError`."""


class Store(Protocol):
    """Runs rules. Safe to use from any task of the thread that opened it."""

    def submit(
        self,
        app_id: str,
        rule: Callable[[Tx], T],
        done: Callable[[outcome.Outcome[T]], None],
        *,
        mode: Mode = "write",
        owner: Hashable | None = None,
    ) -> None:
        """Queue a rule without waiting.

        ``done`` is called in the event loop once the result is durable, for writes in the
        order of the commits, and must neither block nor raise. What it does (answering,
        pushing) therefore happens in the order of the conversation's history.

        Writes of one ``owner`` are committed in the order of submission, and owners take
        turns: whoever queues many, or dear ones, delays nobody else. Writes without an owner
        have the same one.

        Rules that only read run beside the writer, and queries beside quick reads. Of one
        owner one read and one query runs at a time, in the order of submission, and owners
        take turns.
        """

    def succeed(self, owner: Hashable, successor: Hashable) -> None:
        """What one owner has submitted comes before what another one submits from now on."""

    async def write(self, app_id: str, rule: Callable[[Tx], T]) -> T:
        """Run a rule that may write; returns when it is durable.

        Cancelling the caller stops the wait, not the write.
        """

    async def read(self, app_id: str, rule: Callable[[Tx], T]) -> T:
        """Run a rule that only reads, beside the writer."""
