"""Editing and recalling messages: docs/protocol/messages.md §8, docs/protocol/session.md §6."""

from __future__ import annotations

from itertools import accumulate

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.interface import ConversationRow, Kind, MessageRow, PatchRow, Tx
from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    OpType,
    PatchCommand,
    PatchItem,
)

from .audience import audience_of, needs
from .bodies import RECALLED, RECALLED_BODY, body_of, lctype_of, patch_command
from .checks import refuse
from .types import Caller, Clients, Feature, Outcome, Push, Refusal, Room

_BATCH = 50
_REPLAYED_AT_MOST = 1000
_BYTES = 256 * 1024
"""Bodies replayed to one login at most, so that no receiver is overrun by its own backlog."""


def modify(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``patch/modify``: edits and recalls of the caller's own messages, all or none."""
    items = command.patch_message.patches if command.patch_message else []
    if not items:
        refuse(ErrorCode.MESSAGE_NOT_FOUND, "no message is named")
    latest = 0
    pushes: list[Push] = []
    audiences: dict[tuple[str, bool], tuple[Clients | Room, bool]] = {}
    for item in items:
        conversation, message = _own_message(tx, caller, item)
        if message.recalled:
            latest = max(latest, _recalled_before(item, message))
            continue
        # Most are of one conversation, which may have many members.
        where = conversation.id, bool(item.recall)
        if where not in audiences:
            audiences[where] = _audience(tx, caller, conversation, item)
        audience, may_speak = audiences[where]
        patch = _apply(tx, conversation.id, message, item, may_speak=may_speak)
        latest = max(latest, patch.patched_at)
        pushes.append(
            Push(
                audience,
                patch_command([patch]),
                except_actor=True,
                needs=Feature.PATCHES | needs(conversation.kind),
                conversation_id=conversation.id,
            )
        )
    reply = GenericCommand(
        cmd=CommandType.PATCH,
        op=OpType.MODIFIED,
        patch_message=PatchCommand(last_patch_time=latest),
    )
    return Outcome(reply, pushes)


def _own_message(tx: Tx, caller: Caller, item: PatchItem) -> tuple[ConversationRow, MessageRow]:
    conversation = tx.conversation(item.cid) if item.cid else None
    message = tx.message(conversation.id, item.mid) if conversation and item.mid else None
    if conversation is None or message is None:
        refuse(ErrorCode.MESSAGE_NOT_FOUND)
    # What a service says is the operator's, whatever name it says it in.
    if conversation.kind is Kind.SERVICE or message.sender != caller.client_id:
        refuse(ErrorCode.MESSAGE_OWNERSHIP_REQUIRED)
    return conversation, message


def _recalled_before(item: PatchItem, message: MessageRow) -> int:
    """When it was recalled, for who asks again; what is recalled cannot be edited."""
    if not item.recall:
        refuse(ErrorCode.MESSAGE_NOT_FOUND, "the message was recalled")
    return message.patched_at or message.timestamp


def _audience(
    tx: Tx, caller: Caller, conversation: ConversationRow, item: PatchItem
) -> tuple[Clients | Room, bool]:
    """Who is told, and whether the caller may say something new.

    New words need the right to speak; taking back one's own does not.
    """
    try:
        audience = audience_of(tx, caller, conversation)
    except Refusal:
        if not item.recall:
            raise
        room = conversation.kind is Kind.ROOM
        return Room(conversation.id) if room else Clients(tx.members(conversation.id)), False
    assert audience is not None
    return audience, True


def _apply(tx: Tx, cid: str, message: MessageRow, item: PatchItem, *, may_speak: bool) -> PatchRow:
    body = body_of(item.data, item.binary_msg)
    if item.recall:
        # A client that may speak may leave words in place of the message, if it says that it
        # is recalled.
        if not may_speak or body is None or lctype_of(body) != RECALLED:
            body = RECALLED_BODY
        return tx.patch(
            cid,
            message.id,
            body=body,
            recalled=True,
            mentions=(),
            mention_all=False,
            lctype=RECALLED,
        )
    if body is None:
        refuse(ErrorCode.UNPARSEABLE_RAW_MESSAGE, "an edit has one body, text or binary")
    return tx.patch(
        cid,
        message.id,
        body=body,
        recalled=False,
        mentions=tuple(dict.fromkeys(item.mention_pids)),
        mention_all=bool(item.mention_all),
        lctype=lctype_of(body),
    )


def modified(_tx: Tx, _caller: Caller, _command: GenericCommand) -> Outcome:
    """``patch/modified`` from a client: it has seen an edit. There is nothing to do."""
    return Outcome()


def patch_pushes(
    tx: Tx, client_id: str, after: int | None, *, temporary: bool = True
) -> list[GenericCommand]:
    """The edits a client missed since ``after`` (ms), oldest first, some in each command.

    Of very many, the later ones are left to the history, where every edit shows anyway; where it is
    not known since when (None), the earlier ones. ``temporary`` tells whether the session knows
    temporary conversations.
    """
    patches = tx.patches_for(client_id, after, limit=_REPLAYED_AT_MOST)
    if not temporary:
        patches = [patch for patch in patches if patch.message.kind is not Kind.TEMPORARY]
    ranked = patches if after is not None else patches[::-1]
    sizes = accumulate(len(patch.message.body) for patch in ranked)
    ranked = [patch for patch, size in zip(ranked, sizes, strict=True) if size <= _BYTES]
    patches = ranked if after is not None else ranked[::-1]
    return [
        patch_command(patches[start : start + _BATCH]) for start in range(0, len(patches), _BATCH)
    ]
