"""The order of one session's commands while the application thinks about some of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs
import outcome
import trio

from trio_realtime.server.rules.types import Caller, Outcome, Refusal, Rule
from trio_realtime.server.store.interface import Tx
from trio_realtime.wire import GenericCommand

from .approval import Approval, decide
from .before import Question
from .runner import HookRunner
from .types import Hooks


@attrs.frozen
class CarriedOut:
    """A command that was carried out, as the application has approved it."""

    command: GenericCommand
    at: int
    """The time of its transaction, in milliseconds."""
    decided: Outcome
    approval: Approval


class Submit(Protocol):
    """Has a rule run in the store: `Store.submit` for one app."""

    def __call__(
        self, rule: Callable[[Tx], Any], done: Callable[[outcome.Outcome[Any]], None], /
    ) -> None: ...


@attrs.frozen
class Work:
    """A command to be carried out once the application has nothing against it."""

    command: GenericCommand
    rule: Rule
    caller: Callable[[], Caller | None]
    """For whom it acts at that time; None if that session is over."""
    submit: Submit
    done: Callable[[outcome.Outcome[CarriedOut] | None], None]
    """Called once, in the order of the commits, with what came of it; with None if the
    session was over. Must not raise."""
    approval: Approval = attrs.field(factory=Approval)
    """What is known beforehand."""


@attrs.define(eq=False)
class _Turn:
    """A command on its way."""

    work: Work
    approval: Approval
    before: _Turn | None
    """The last command before it that may have to be tried again."""
    questions: Sequence[Question] = ()
    """What was left to be asked when it was tried."""
    foreseen: bool = False
    settled: bool = False
    """Carried out or refused; set within the transaction."""

    def try_(self, hooks: Hooks, tx: Tx, caller: Caller) -> Outcome | Sequence[Question]:
        """Carry it out, if that is approved and all before it has been."""
        if self.before is not None and not self.before.settled:
            return ()
        try:
            decided = decide(hooks, tx, caller, self.work.command, self.work.rule, self.approval)
        except Refusal:
            self.settled = True
            raise
        self.settled = isinstance(decided, Outcome)
        return decided

    def settle(self) -> None:
        """It is carried out or refused for good; those before it are of no use any more."""
        self.settled = True
        self.before = None


class HookQueue:
    """Where the commands of one session wait for the application's answers.

    The application is asked about one after the other. Those that are approved go to the
    store without waiting for each other; if one is found to need another answer there, it
    and those behind it are tried again, in their order.

    ``spawn`` is ``start_soon`` of a nursery that outlives the session.
    """

    def __init__(self, runner: HookRunner, spawn: Callable[..., Any]) -> None:
        self._runner = runner
        self._spawn = spawn
        self._waiting: deque[_Turn] = deque()
        self._returned: list[_Turn] = []
        """What was tried, and is to be tried again when all that was submitted is back."""
        self._submitted = 0
        self._back = trio.Event()
        self._moving = False
        self._last: _Turn | None = None

    def enter(self, work: Work) -> None:
        """Have a command carried out after those before it.

        It is submitted at once if no hook is concerned and nobody waits.
        """
        concerned = self._runner.concerns(work.command)
        turn = _Turn(work, work.approval, self._last, foreseen=not concerned)
        if not self._moving and not concerned:
            self._submit(turn)
            return
        if concerned:
            self._last = turn
        self._waiting.append(turn)
        if not self._moving:
            self._moving = True
            self._spawn(self._move)
        self._back.set()

    async def _move(self) -> None:
        while self._waiting or self._submitted or self._returned:
            if self._returned and not self._submitted:
                self._waiting.extendleft(reversed(self._returned))
                self._returned.clear()
            if self._returned or not self._waiting:
                await self._back.wait()
                self._back = trio.Event()
                continue
            turn = self._waiting[0]
            await self._approve(turn)
            if not self._returned:  # what came back meanwhile goes first
                self._waiting.popleft()
                self._submit(turn)
        self._moving = False

    async def _approve(self, turn: _Turn) -> None:
        caller = turn.work.caller()
        if caller is None:
            return
        if not turn.foreseen:
            turn.foreseen = True
            turn.questions = await self._runner.foreseen(caller, turn.work.command)
        unanswered = turn.approval.unanswered(turn.questions)
        turn.questions = ()
        if unanswered:
            turn.approval = await self._runner.ask(unanswered, turn.approval)

    def _submit(self, turn: _Turn) -> None:
        work, approval = turn.work, turn.approval
        caller = work.caller()
        if caller is None:
            turn.settle()
            work.done(None)
            return
        hooks = self._runner.hooks

        def run(tx: Tx) -> tuple[int, Outcome | Sequence[Question]]:
            return tx.now, turn.try_(hooks, tx, caller)

        def done(result: outcome.Outcome[tuple[int, Outcome | Sequence[Question]]]) -> None:
            self._submitted -= 1
            self._back.set()
            if isinstance(result, outcome.Error):
                turn.settle()
                work.done(result)
                return
            at, decided = result.unwrap()
            if isinstance(decided, Outcome):
                turn.settle()
                command = approval.changed(work.command)
                work.done(outcome.Value(CarriedOut(command, at, decided, approval)))
            else:
                turn.questions = decided
                self._returned.append(turn)

        self._submitted += 1
        work.submit(run, done)
