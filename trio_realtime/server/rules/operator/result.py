"""What comes of a rule of the operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from trio_realtime.server.rules.checks import existing, require_kind
from trio_realtime.server.rules.types import Caller, Evict, Outcome, Push
from trio_realtime.server.store.interface import ConversationRow, Kind, Tx
from trio_realtime.wire import GenericCommand


@attrs.frozen
class Told:
    """A message that the application is told of as if its sender had sent it."""

    caller: Caller
    command: GenericCommand
    outcome: Outcome


@attrs.frozen
class Result:
    """The answer, and whom to tell what once it is durable."""

    answer: Any = attrs.field(factory=dict)
    pushes: Sequence[Push] = ()
    evict: Evict | None = None
    told: Told | None = None


def conversation_of(tx: Tx, cid: str, *kinds: Kind) -> ConversationRow:
    """The conversation of this id, or 4303; of one of these kinds, or 4314."""
    row = existing(tx, cid)
    if kinds:
        require_kind(row, *kinds)
    return row
