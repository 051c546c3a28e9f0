"""Clients that talk, edit, recall and read while everything goes wrong, and keep the books."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from contextlib import AsyncExitStack

import attrs
import trio

from tests.ledger.ledger import Kind, Missing, Record, Sent, Sight, Stored, Violation, audit
from trio_realtime import (
    CommandTimeout,
    ConnectionEvent,
    ConnectionLost,
    ConversationEvent,
    Gap,
    MessageRecalled,
    MessageReceived,
    MessageRef,
    MessageUpdated,
    ReconnectScheduled,
    SendStatus,
    TextMessage,
    open_connection,
)
from trio_realtime._values.times import datetime_from_ms, ms_from_datetime

RECALLED = "(recalled)"
EDITABLE = 50
"""How many of its latest messages a client may still change its mind about."""


@attrs.frozen
class Shape:
    """How many do how much."""

    messages: int
    clients: int = 8
    conversations: int = 8
    members: int = 4
    """At most, at least two."""
    width: int = 3
    """Tasks of each client that talk at the same time."""
    sharing: int = 2
    """Clients on one connection."""
    pauses: tuple[float, ...] = (0, 0, 0, 0.01)
    """Seconds between two steps of a task, one of these."""
    impatience: float = 0.5
    """How often a client does not wait for the scheduled attempt to reconnect."""
    changes: float = 0.1
    """Edits and recalls, for each message."""
    reads: float = 0.05
    cancels: float = 0.03
    """Sendings that are cancelled and taken up again."""
    command_timeout: float = 20.0
    patience: float = 60.0
    """Seconds until all must be quiet."""


class Workload:
    """Some clients and the books of what they do, in rounds."""

    def __init__(self, seed: int, shape: Shape, options: dict) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.shape = shape
        self.record = Record()
        self.clients = {}
        self.sent = 0
        self.gaps = 0
        """Gaps that were filled."""
        self.owned_up = 0
        """Gaps that could not be filled, and were said to be so."""
        self.delivered = 0
        self.changed = 0
        self.reconnected = 0
        self._options = options
        self._numbers = itertools.count()
        self._own = defaultdict(list)
        self._busy = set()
        self._newest = {}
        self._begin = {}
        """Where the round begins in each conversation: the time of the last message before."""
        self._left = 0
        self._progress = trio.lowlevel.ParkingLot()

    def summary(self) -> str:
        """What has happened so far, in numbers."""
        return (
            f"{self.sent} sent, {self.delivered} delivered, {self.changed} changes seen, "
            f"{self.reconnected} reconnections, {self.gaps} gaps filled, {self.owned_up} owned up"
        )

    # Opening.

    async def open(self, stack: AsyncExitStack, nursery: trio.Nursery) -> None:
        """Log all clients in, several on each connection, and listen."""
        names = [f"client{number}" for number in range(self.shape.clients)]
        while names:
            group, names = names[: self.shape.sharing], names[self.shape.sharing :]
            connection = await stack.enter_async_context(open_connection(**self._options))
            for name in group:
                opening = connection.open_client(
                    name, command_timeout=self.shape.command_timeout, history_quota=None
                )
                client = self.clients[name] = await stack.enter_async_context(opening)
                events = client.events(ConversationEvent, ConnectionEvent, max_buffer=10**6)
                nursery.start_soon(self._listen, client, events)

    async def begin(self) -> None:
        """New books. The first time with new conversations, then with all of them read."""
        members, ends = self.record.members, {}
        if members:
            ends = {cid: stored[-1].at for cid, stored in self.record.history.items() if stored}
            await self._read_everything(ends)
        else:
            members = await self._create_conversations()
        self.record, self._newest = Record(members=members), {}
        self._begin = {**self._begin, **ends}
        self._own.clear()
        self._left = self.shape.messages

    async def _create_conversations(self) -> dict[str, tuple[str, ...]]:
        members, names = {}, list(self.clients)
        for number in range(self.shape.conversations):
            some = tuple(self.rng.sample(names, self.rng.randint(2, self.shape.members)))
            creator = self.clients[some[0]]
            chat = await creator.create_conversation(some, unique=False, name=str(number))
            members[chat.id] = some
        return members

    async def _read_everything(self, ends: dict[str, int]) -> None:
        """Wait until all that was said in the last round counts as read by everybody."""
        for cid in ends:
            for name in self.record.members[cid]:
                await self.clients[name].read(cid)
        while any(self.record.unread.values()):
            await trio.sleep(self.shape.patience / 1000)
            await self._count()

    # Listening.

    async def _listen(self, client, events) -> None:
        me = client.client_id
        async for event in events:
            match event:
                case MessageReceived(conversation_id=cid, message=message):
                    self.delivered += 1
                    self._saw(me, cid, Kind.NEW, message)
                    self._newest[me, cid] = message.timestamp_ms
                case MessageUpdated(conversation_id=cid, message=message):
                    self.changed += 1
                    self._saw(me, cid, Kind.CHANGED, message)
                case MessageRecalled(conversation_id=cid, message=message):
                    self.changed += 1
                    self._saw(me, cid, Kind.CHANGED, message)
                case Gap(conversation_id=cid):
                    self._gap(me, cid, event)
                case ReconnectScheduled():
                    if self.rng.random() < self.shape.impatience:
                        client.retry()
            if isinstance(event, ConnectionEvent):
                self.reconnected += type(event).__name__ == "Reconnected"
                self._log(me, str(event))

    def _saw(self, me, cid, kind, message) -> None:
        sight = Sight(kind, message.id, message.timestamp_ms, content_of(message))
        self.record.seen[me, cid].append(sight)

    def _gap(self, me, cid, gap) -> None:
        self._log(me, str(gap))
        if gap.error is None and gap.missing_until is None:
            self.gaps += 1
            return
        self.owned_up += 1
        since, until = gap.missing_from, gap.missing_until
        missing = Missing(
            None if since is None else ms_from_datetime(since),
            None if until is None else ms_from_datetime(until),
            str(gap.error),
        )
        self.record.missing[me, cid].append(missing)

    def _log(self, who, what) -> None:
        self.record.log.append((trio.current_time(), who, what))

    # Talking.

    async def talk(self) -> None:
        """Send all messages of a round, change and read some; returns when all is accepted."""
        async with trio.open_nursery() as nursery:
            for name, client in self.clients.items():
                mine = [cid for cid, members in self.record.members.items() if name in members]
                for _ in range(self.shape.width if mine else 0):
                    nursery.start_soon(self._talk, client, mine)

    async def sent_part(self, part: float) -> None:
        """Wait until this part of the messages of the round is on its way."""
        while self._left > self.shape.messages * (1 - part):
            await self._progress.park()

    async def _talk(self, client, conversations) -> None:
        rng, shape = self.rng, self.shape
        while self._left > 0:
            self._left -= 1
            self._progress.unpark_all()
            await self._send(client, rng.choice(conversations))
            if rng.random() < shape.changes:
                await self._change(client)
            if rng.random() < shape.reads:
                await self._read(client, rng.choice(conversations))
            await trio.sleep(rng.choice(shape.pauses))

    async def _send(self, client, cid) -> None:
        me, text = client.client_id, f"message {next(self._numbers)}"
        self.record.turns[me, cid].append(text)
        sending = client.sending(cid, TextMessage(text))
        in_turn = True
        if self.rng.random() < self.shape.cancels:
            with trio.move_on_after(self.rng.choice([0.001, 0.01, 1])):
                await sending.send()
            in_turn = sending.status is SendStatus.ACCEPTED
        message = await sending.send()
        sent = Sent(cid, me, message.id, message.timestamp_ms, text, content=text, in_turn=in_turn)
        self.record.sent.append(sent)
        self.sent += 1
        own = self._own[me]
        own.append(sent)
        if len(own) > EDITABLE:
            del own[0]

    async def _change(self, client) -> None:
        """Edit or recall one of the client's messages; nobody else changes it meanwhile."""
        sent = self.rng.choice(self._own[client.client_id])
        if sent in self._busy or sent.content == RECALLED:
            return
        self._busy.add(sent)
        ref = MessageRef(sent.cid, sent.id, datetime_from_ms(sent.at))
        recall = self.rng.random() < 0.2
        content = RECALLED if recall else f"{sent.text} edited {next(self._numbers)}"
        while True:
            try:
                if recall:
                    await client.recall(ref)
                else:
                    await client.edit(ref, TextMessage(content))
            except (CommandTimeout, ConnectionLost):
                # It may or may not have happened: asking again does no harm.
                continue
            break
        sent.content = content
        self._busy.discard(sent)

    async def _read(self, client, cid) -> None:
        book = client.client_id, cid
        if book in self._newest:
            self.record.read[book] = self._newest[book]
            await client.read(cid)

    # Closing the books.

    async def close_books(self) -> list[Violation]:
        """Wait until all is quiet; the violations that remain."""
        for name, cid in list(self._newest):
            if cid in self.record.members and self.rng.random() < 0.3:
                await self._read(self.clients[name], cid)
        for cid, members in self.record.members.items():
            self.record.history[cid] = await self._history(self.clients[members[0]], cid)
        deadline, pause = trio.current_time() + self.shape.patience, self.shape.patience / 1000
        while trio.current_time() < deadline:
            await trio.sleep(pause)
            pause = min(pause * 1.5, 20)
            await self._count()
            if not audit(self.record):
                # Whatever comes too often comes now.
                await trio.sleep(self.shape.patience / 100)
                break
        return audit(self.record)

    async def _history(self, client, cid) -> list[Stored]:
        start = datetime_from_ms(self._begin.get(cid, 0))
        pages = {"start": start, "oldest_first": True, "page_size": 1000}
        while True:
            try:
                return [
                    Stored(one.id, one.timestamp_ms, one.sender, content_of(one))
                    async for one in client.history(cid, **pages)
                ]
            except (CommandTimeout, ConnectionLost):
                continue

    async def _count(self) -> None:
        """Ask the server for the read marks, and the clients for their counters."""
        for cid, members in self.record.members.items():
            for asked in members[:2]:
                try:
                    receipts = await self.clients[asked].fetch_receipts(cid)
                except (CommandTimeout, ConnectionLost):
                    continue
                for who, state in receipts.items():
                    if state.read_at is not None:
                        self.record.marks[who, cid] = ms_from_datetime(state.read_at)
            for name in members:
                self.record.unread[name, cid] = self.clients[name].unread(cid).count


def content_of(message) -> str:
    """What a message says."""
    return getattr(message, "text", RECALLED) or RECALLED
