"""Results of operations that concern many clients or come in pages."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

import attrs

from .conversations import BaseConversation
from .errors import CommandError, RealtimeError

__all__ = ["Failure", "MemberChange", "NothingSucceeded", "Page", "PartialResult"]

T = TypeVar("T")
C_co = TypeVar("C_co", bound=BaseConversation, covariant=True)


@attrs.frozen
class Failure:
    """Why an operation failed for some of the clients it named."""

    client_ids: tuple[str, ...]
    """The clients it failed for."""
    error: CommandError = attrs.field(eq=str)
    """The reason."""


@attrs.frozen
class PartialResult:
    """What became of an operation on several clients.

    Protocol: docs/protocol/conversations.md §5.1.
    """

    succeeded: tuple[str, ...] = ()
    """The clients it was carried out for; also those for whom nothing had to be done."""
    failures: tuple[Failure, ...] = ()
    """What failed, grouped by cause."""

    def checked(self) -> Self:
        """This result, if anything succeeded or nothing failed.

        Raises:
            CommandError: everything failed, for one reason.
            NothingSucceeded: everything failed, for several reasons.
        """
        if self.succeeded or not self.failures:
            return self
        if len(self.failures) == 1:
            raise self.failures[0].error
        raise NothingSucceeded(self.failures)


@attrs.frozen
class MemberChange(PartialResult, Generic[C_co]):
    """What became of adding or removing members, and the conversation afterwards.

    Operations take it wherever they take a conversation, so that
    ``chat = await tom.add_members(chat, ["Mary"])`` can be followed by ``tom.send(chat, ...)``.
    """

    conversation: C_co = attrs.field(kw_only=True)
    """The new snapshot."""

    @property
    def id(self) -> str:
        """Id of the conversation."""
        return self.conversation.id


class NothingSucceeded(RealtimeError):
    """An operation on several clients failed for each of them, for several reasons."""

    def __init__(self, failures: tuple[Failure, ...]) -> None:
        super().__init__(failures)
        self.failures = failures
        """What failed, grouped by cause."""

    def __str__(self) -> str:
        return "; ".join(f"{', '.join(f.client_ids)}: {f.error}" for f in self.failures)


@attrs.frozen
class Page(Generic[T]):
    """One page of a list the server keeps."""

    items: tuple[T, ...] = ()
    """The entries of this page."""
    next: str | None = None
    """Where the next page begins; None: this is the last one."""
