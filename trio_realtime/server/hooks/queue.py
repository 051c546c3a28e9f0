"""The order of one session's commands while the application thinks about some of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs
import outcome
import trio

from trio_realtime.server.rules.types import Caller, Outcome, Rule
from trio_realtime.server.store.interface import Tx
from trio_realtime.wire import GenericCommand

from .approval import Approval, decide
from .before import Question
from .runner import HookRunner


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


class HookQueue:
    """Where the commands of one session wait for the application's answers.

    ``spawn`` is ``start_soon`` of a nursery that outlives the session.
    """

    def __init__(self, runner: HookRunner, spawn: Callable[..., Any]) -> None:
        self._runner = runner
        self._spawn = spawn
        self._waiting: deque[Work] = deque()

    def enter(self, work: Work) -> None:
        """Have a command carried out after those before it.

        It is submitted at once if no hook is concerned and nobody waits.
        """
        if not self._waiting and not self._runner.concerns(work.command):
            self._submit(work, work.approval, _nothing_is_asked)
            return
        self._waiting.append(work)
        if len(self._waiting) == 1:
            self._spawn(self._move)

    async def _move(self) -> None:
        while self._waiting:
            work = self._waiting[0]
            if self._runner.concerns(work.command):
                await self._settle(work)
            else:
                self._submit(work, work.approval, _nothing_is_asked)
            self._waiting.popleft()

    async def _settle(self, work: Work) -> None:
        approval = work.approval
        while questions := await self._tried(work, approval):
            try:
                approval = await self._runner.ask(questions, approval)
            except Exception as error:  # noqa: BLE001 - it is the answer to this command
                work.done(outcome.Error(error))
                return

    async def _tried(self, work: Work, approval: Approval) -> Sequence[Question]:
        finished = trio.Event()
        left: Sequence[Question] = ()

        def report(questions: Sequence[Question]) -> None:
            nonlocal left
            left = questions
            finished.set()

        self._submit(work, approval, report)
        await finished.wait()
        return left

    def _submit(
        self, work: Work, approval: Approval, report: Callable[[Sequence[Question]], None]
    ) -> None:
        """Try a command with what is approved; reports what is still to be asked."""
        caller = work.caller()
        if caller is None:
            work.done(None)
            report(())
            return
        hooks = self._runner.hooks

        def run(tx: Tx) -> tuple[int, Outcome | Sequence[Question]]:
            return tx.now, decide(hooks, tx, caller, work.command, work.rule, approval)

        def done(result: outcome.Outcome[tuple[int, Outcome | Sequence[Question]]]) -> None:
            questions: Sequence[Question] = ()
            try:
                if isinstance(result, outcome.Error):
                    work.done(result)
                    return
                at, decided = result.unwrap()
                if isinstance(decided, Outcome):
                    command = approval.changed(work.command)
                    work.done(outcome.Value(CarriedOut(command, at, decided, approval)))
                else:
                    questions = decided
            finally:
                report(questions)

        work.submit(run, done)


def _nothing_is_asked(_questions: Sequence[Question]) -> None:
    pass
