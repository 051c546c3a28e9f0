"""What receivers say they received: docs/protocol/messages.md §1.4 and §4."""

from __future__ import annotations

from trio_realtime.server.store.interface import Kind, MessageRow, Tx
from trio_realtime.wire import AckCommand, GenericCommand

from . import broadcasts
from .audience import needs
from .bodies import receipt
from .types import Caller, Clients, Outcome, Push

_RECEIPTS = (Kind.NORMAL, Kind.TEMPORARY)


def acknowledge(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``ack`` of a receiver: of one message by id, or of a range of times.

    Nobody waits for an answer, so that what makes no sense is passed over in silence.
    """
    ack = command.ack_message
    if ack is None or not ack.cid:
        return Outcome()
    conversation = tx.conversation(ack.cid)
    if conversation is None or conversation.kind is Kind.ROOM:
        return Outcome()
    logs = [ack.cid]
    if conversation.kind is Kind.SERVICE:
        logs += tx.lines(caller.client_id, [ack.cid]).values()
    span = next((span for log in logs if (span := _span(tx, log, ack)) is not None), None)
    if span is None:
        return Outcome()
    first, last = span
    received: list[MessageRow] = []
    for log in logs:
        received += tx.acknowledge(log, caller.client_id, first=first, last=last)
    if conversation.kind is Kind.SERVICE:
        broadcasts.acknowledge(tx, caller.client_id, ack.cid, first, last)
    if conversation.kind not in _RECEIPTS:
        return Outcome()
    return Outcome(pushes=receipts(received, caller.client_id, tx.now, read=False))


def receipts(messages: list[MessageRow], reader: str, now: int, *, read: bool) -> list[Push]:
    """One receipt for each message, to all sessions of its sender."""
    return [
        Push(
            Clients([message.sender]),
            receipt(message, reader, now, read=read),
            needs=needs(message.kind),
            conversation_id=message.conversation_id,
        )
        for message in messages
    ]


def _span(tx: Tx, cid: str, ack: AckCommand) -> tuple[int, int] | None:
    """The times a receiver acknowledges, both included."""
    if ack.mid:
        message = tx.message(cid, ack.mid)
        return None if message is None else (message.timestamp, message.timestamp)
    first = ack.tots if ack.fromts is None else ack.fromts
    last = ack.fromts if ack.tots is None else ack.tots
    return None if first is None or last is None else (first, last)
