"""Rules that wait for the writer: who comes next, and how much goes into one transaction.

The owners of rules take turns, with one rule each; who had nothing waiting comes before those who
have waited for a second rule. The writer takes rules while its transaction is open, so that a rule
may still get into the one that is running, and commits when a few milliseconds are used up.

That is fair as long as no rule takes long by itself, since none can be interrupted. Whose rule took
long is therefore set apart for a while: such rules have a transaction of their own each, and where
others write as well, only a share of the writer's time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from math import inf
from threading import Lock
from time import perf_counter, thread_time

import attrs

from .runner import Job

TRANSACTION_SECONDS = 0.008
"""Of rules, before they are committed."""
DEAR_SECONDS = 0.003
"""A rule that keeps the processor busy for longer is dear."""
DEAR_SHARE = 0.25
"""Of the writer's time, for dear rules, while others write as well."""
REMEMBERED = 1.0
"""Seconds for which an owner counts as dear after a dear rule, and as writing after any other."""


@attrs.define(eq=False)
class Transaction:
    """The rules that one transaction takes from the queue, one after the other."""

    queue: WriteQueue
    jobs: list[Job] = attrs.field(factory=list)
    """Those it has taken."""
    dear: bool = False
    """It has but one, of an owner who is set apart."""
    _owners: list[Hashable] = attrs.field(factory=list)
    _processor: list[float] = attrs.field(factory=list)
    """Seconds that each kept the processor busy, at most."""
    _began: float = 0.0

    def __iter__(self) -> Iterator[Job]:
        queue = self.queue
        self._began = before = queue.clock()
        used, cheap = queue.processor(), 0.0
        while (taken := queue.take(self)) is not None:
            owner, job = taken
            self.jobs.append(job)
            self._owners.append(owner)
            yield job
            now = queue.clock()
            seconds = now - before
            before = now
            if seconds < DEAR_SECONDS:
                cheap += seconds
            else:
                # It may only have waited, for the processor or the interpreter's lock. To ask for
                # the time on the processor takes as long as a small rule: only of who is suspected
                # is it asked, and what the others before took is theirs.
                total = queue.processor()
                seconds = max(0.0, total - used - cheap)
                used, cheap = total, 0.0
            self._processor.append(seconds)
            if self.dear or now - self._began >= queue.seconds:
                return

    def committed(self) -> None:
        """It is over: see who was dear."""
        queue = self.queue
        seconds = queue.clock() - self._began
        spent = sum(self._processor) or 1.0
        for owner, processor in zip(self._owners, self._processor, strict=False):
            queue.charge(owner, processor, seconds * processor / spent)


class WriteQueue:
    """Rules of many owners, for one writer. Safe to use from the writer's thread as well.

    Rules of one owner come out in the order in which they were put in. ``seconds`` is how long
    one transaction takes rules; infinity means that nothing depends on time.
    """

    def __init__(
        self,
        seconds: float = TRANSACTION_SECONDS,
        *,
        clock: Callable[[], float] = perf_counter,
        processor: Callable[[], float] = thread_time,
    ) -> None:
        self.seconds = seconds
        self.clock = clock
        self.processor = processor
        self._lock = Lock()
        self._new: dict[Hashable, deque[Job]] = {}
        """Owners who had nothing waiting, in the order of their coming."""
        self._turns: dict[Hashable, deque[Job]] = {}
        """Owners in the order of their turns, also those who have nothing left: only when their
        next turn has passed are they new again."""
        self._dear: dict[Hashable, deque[Job]] = {}
        """Owners who are set apart."""
        self._dear_until: dict[Hashable, float] = {}
        self._dear_from = -inf
        """When the next dear rule may run."""
        self._hurried = False
        self._dear_last = False
        """Whether the last transaction was a dear one."""
        self._others_at = -inf
        """When somebody who is not dear has last written."""

    def __len__(self) -> int:
        with self._lock:
            return sum(
                len(jobs)
                for queues in (self._new, self._turns, self._dear)
                for jobs in queues.values()
            )

    def put(self, owner: Hashable, job: Job) -> None:
        """Add a rule."""
        with self._lock:
            self._queue_of(owner).append(job)

    def succeed(self, owner: Hashable, successor: Hashable) -> None:
        """What waits of one owner comes before what another one puts in from now on."""
        with self._lock:
            for queues in (self._new, self._turns, self._dear):
                if jobs := queues.pop(owner, None):
                    self._queue_of(successor).extend(jobs)

    def delay(self) -> float | None:
        """Seconds until there may be something to take; None if nothing waits."""
        with self._lock:
            if any(self._new.values()) or any(self._turns.values()):
                return 0.0
            if not self._dear:
                return None
            return 0.0 if self._hurried else max(0.0, self._dear_from - self.clock())

    def take(self, transaction: Transaction) -> tuple[Hashable, Job] | None:
        """The next rule of a transaction, with its owner; None if there is none for it."""
        with self._lock:
            if not transaction.jobs and self._dear and self._dear_may_run():
                transaction.dear = self._dear_last = True
                return _next_turn(self._dear)
            taken = self._take_new() or _next_turn(self._turns, keep=True)
            if taken is not None:
                self._dear_last = False
            return taken

    def charge(self, owner: Hashable, processor: float, seconds: float) -> None:
        """A rule kept the processor busy for so long, and the writer for ``seconds``."""
        if self.seconds == inf:
            return
        now = self.clock()
        if processor < DEAR_SECONDS:
            if owner not in self._dear_until:
                self._others_at = now
            return
        with self._lock:
            self._forget(now)
            self._dear_until[owner] = now + REMEMBERED
            for queues in (self._new, self._turns):
                if jobs := queues.pop(owner, None):
                    self._dear[owner] = jobs
            alone = now - self._others_at > REMEMBERED
            self._dear_from = now if alone else now + seconds * (1 / DEAR_SHARE - 1)

    def hurry(self) -> None:
        """There will be no more: no rule needs to wait for its share of the time."""
        self._hurried = True

    def drain(self) -> list[Job]:
        """Take everything, for good."""
        with self._lock:
            every = (self._new, self._turns, self._dear)
            jobs = [job for queues in every for waiting in queues.values() for job in waiting]
            for queues in every:
                queues.clear()
            return jobs

    def _queue_of(self, owner: Hashable) -> deque[Job]:
        until = self._dear_until.get(owner)
        if owner in self._dear or (until is not None and until > self.clock()):
            queues = self._dear
        else:
            queues = self._turns if owner in self._turns else self._new
        return queues.setdefault(owner, deque())

    def _dear_may_run(self) -> bool:
        if not self._hurried and self.clock() < self._dear_from:
            return False
        others = any(self._new.values()) or any(self._turns.values())
        return not (others and self._dear_last)

    def _take_new(self) -> tuple[Hashable, Job] | None:
        if not self._new:
            return None
        owner = next(iter(self._new))
        jobs = self._new.pop(owner)
        self._turns[owner] = jobs
        return owner, jobs.popleft()

    def _forget(self, now: float) -> None:
        while self._dear_until:
            oldest = next(iter(self._dear_until))
            if self._dear_until[oldest] > now:
                return
            del self._dear_until[oldest]


def _next_turn(
    queues: dict[Hashable, deque[Job]], *, keep: bool = False
) -> tuple[Hashable, Job] | None:
    """The next rule of the owner whose turn it is; ``keep`` one who has nothing left for a turn."""
    while queues:
        owner = next(iter(queues))
        jobs = queues.pop(owner)
        if not jobs:
            continue
        job = jobs.popleft()
        if jobs or keep:
            queues[owner] = jobs
        return owner, job
    return None
