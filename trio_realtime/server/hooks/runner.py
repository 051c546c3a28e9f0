"""Calls the functions of an application: asks before a command, tells after it.

What an application answers becomes an `Approval` or a `Refusal`; what it fails to answer in
time is decided by the server's policy. Hooks run in the event loop, never inside a
transaction, and never between a commit and its pushes.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import outcome
import trio

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.rules.types import Caller, Outcome, Presence, Refusal
from trio_realtime.server.store.interface import Store, StoreError, StoreUnavailable
from trio_realtime.server.troubles import TroubleLog
from trio_realtime.wire import GenericCommand

from .after import OfflineCall, calls_after
from .answers import DEFAULT_BOUNDS, AnswerBounds, checked
from .approval import Answered, Approval
from .before import Question, hook_before, questions_before
from .types import (
    ClientOffline,
    ClientOnline,
    Hooks,
    IncomingMessage,
    MessageUpdate,
    OfflineDecision,
    OfflinePush,
    Reject,
    Rewrite,
)

T = TypeVar("T")
R = TypeVar("R")

log: logging.Logger = logging.getLogger(__name__)

_APPROVED_AT_ONCE = 64
_ROWS_AT_ONCE = 100
_ROWS_TIMEOUT = 5.0
_ROWS_RETRIED_AFTER = (1.0, 2.0, 4.0)
"""Seconds; messages to services that still cannot be told are left in the store."""


class HookRunner:
    """Calls the functions of one application's `Hooks`.

    ``timeout`` bounds every call, in seconds. ``on_failure`` says what a function that
    raises or takes too long means for what it was asked about: ``ignore`` goes ahead as if
    there were no hook, ``refuse`` refuses; an answer beyond ``bounds`` is such a failure.
    ``backlog`` calls about the past may wait, and ``workers`` run at once; more are dropped and
    counted.
    """

    def __init__(
        self,
        hooks: Hooks,
        store: Store,
        *,
        timeout: float = 5.0,
        on_failure: Literal["ignore", "refuse"] = "ignore",
        bounds: AnswerBounds = DEFAULT_BOUNDS,
        backlog: int = 10_000,
        workers: int = 16,
    ) -> None:
        self.hooks = hooks
        self.failures: TroubleLog = TroubleLog(log)
        self.dropped: int = 0
        """Calls about the past that found the backlog full."""
        self._store = store
        self._timeout = timeout
        self._on_failure = on_failure
        self._bounds = bounds
        self._workers = workers
        self._backlog = backlog
        self._send, self._receive = trio.open_memory_channel[Callable[[], Awaitable[object]]](
            backlog
        )
        self._rows: deque[Mapping[str, Any]] = deque()
        self._some_rows = trio.Event()
        self._approving = 0

    async def run(self) -> None:
        """Make the calls about the past. Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.failures.run)
            nursery.start_soon(self._tell_services)
            for _ in range(self._workers):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        async for call in self._receive:
            try:
                await call()
            except StoreUnavailable as error:
                self.failures.note("a hook could not be called", error)
            except Exception:  # a defect costs one call
                log.exception("a hook could not be called")

    # Before.

    def concerns(self, command: GenericCommand) -> bool:
        """Whether the application is asked about such commands."""
        return hook_before(self.hooks, command) is not None

    async def foreseen(self, caller: Caller, command: GenericCommand) -> Sequence[Question]:
        """What will be asked about a command, as things stand without those under way.

        Only a guess, which spares a turn of the writer where it is right.
        """
        try:
            return await self._store.read(
                caller.app.id, lambda tx: questions_before(self.hooks, tx, caller, command)
            )
        except (Refusal, StoreError):
            return ()

    async def ask(self, questions: Sequence[Question], approval: Approval) -> Approval:
        """Put questions to the application, until it refuses; what is approved then."""
        answers: list[Answered] = []
        for question in questions:
            answers.append(Answered(question, await self._said(question)))
            if isinstance(answers[-1].said, Refusal):
                break
        return approval.extended(answers)

    async def approve(self, message: IncomingMessage) -> Rewrite:
        """Ask about a message that no client sends: what of it is to be changed.

        Raises `Refusal`: the application's (4402), or 4116 where too many wait for its answer, as they
        do where an application that is asked about a message sends another one.
        """
        function, code = self.hooks.message_received, ErrorCode.MESSAGE_REJECTED_BY_APP
        if function is None:
            return Rewrite()
        return await self._approve(Question("message_received", function, message, code))

    async def approve_update(self, update: MessageUpdate) -> Rewrite:
        """Ask about an edit or a recall that no client makes. As `approve`, but 4405."""
        function, code = self.hooks.message_update, ErrorCode.MESSAGE_UPDATE_REJECTED_BY_APP
        if function is None:
            return Rewrite()
        return await self._approve(Question("message_update", function, update, code))

    async def _approve(self, question: Question) -> Rewrite:
        if self._approving >= _APPROVED_AT_ONCE:
            code = ErrorCode.MESSAGE_SENT_QUOTA_EXCEEDED
            raise Refusal(int(code), code.name, "too many messages wait for the application")
        self._approving += 1
        try:
            said = await self._said(question)
        finally:
            self._approving -= 1
        if isinstance(said, Refusal):
            raise said
        return said if isinstance(said, Rewrite) else Rewrite()

    async def may_sign(self, app_user: Mapping[str, Any]) -> None:
        """Ask whether a storage user may have a login signature. Raises `Refusal` (4102)."""
        function = self.hooks.rtm_client_sign
        if function is not None:
            code = ErrorCode.SIGNATURE_FAILED
            said = await self._said(Question("rtm_client_sign", function, app_user, code))
            if isinstance(said, Refusal):
                raise said

    async def _said(self, question: Question) -> object:
        """The answer to one question; a `Refusal` with its code if it is no."""
        code = question.code
        result = await self._asked(question.hook, question.function, question.about)
        if isinstance(result, outcome.Error):
            if self._on_failure == "refuse":
                return Refusal(int(code), code.name, "the application does not answer")
            return None
        said = result.unwrap()
        if isinstance(said, Reject):
            return Refusal(
                int(code), code.name, said.detail, app_code=said.code, app_message=said.detail
            )
        return said

    async def _asked(
        self, hook: str, function: Callable[[T], Awaitable[object]], about: T
    ) -> outcome.Outcome[object]:
        async def answer(about: T) -> object:
            return checked(hook, await function(about), self._bounds)

        return await self._call(hook, answer, about)

    async def _call(
        self, hook: str, function: Callable[[T], Awaitable[R]], about: T
    ) -> outcome.Outcome[R]:
        return await self._bounded(hook, function, about, self._timeout)

    async def _bounded(
        self, hook: str, function: Callable[[T], Awaitable[R]], about: T, seconds: float
    ) -> outcome.Outcome[R]:
        try:
            with trio.move_on_after(seconds):
                return outcome.Value(await function(about))
            error: Exception = trio.TooSlowError(f"no answer within {seconds:g} s")
        except Exception as raised:  # noqa: BLE001 - an application may raise anything
            error = raised
        self.failures.note(f"the hook {hook} failed", error)
        return outcome.Error(error)

    # After.

    def after(
        self, caller: Caller, command: GenericCommand, decided: Outcome, presence: Presence
    ) -> None:
        """Tell the application what a command did. Does not wait and does not raise."""
        for call in calls_after(self.hooks, caller, command, decided, presence):
            if isinstance(call, OfflineCall):
                self._enqueue(partial(self._notify_absent, caller.app.id, call))
            else:
                self._enqueue(partial(self._call, call.hook, call.function, call.about))
        if decided.filed is not None and self.hooks.service_messages is not None:
            if len(self._rows) < self._backlog:
                self._rows.append(decided.filed)
                self._some_rows.set()
            else:
                self._drop()

    def client_online(self, client: ClientOnline) -> None:
        """Tell the application that a client has logged in."""
        if self.hooks.client_online is not None:
            self._enqueue(partial(self._call, "client_online", self.hooks.client_online, client))

    def client_offline(self, client: ClientOffline) -> None:
        """Tell the application that a session is over."""
        if self.hooks.client_offline is not None:
            self._enqueue(partial(self._call, "client_offline", self.hooks.client_offline, client))

    def _enqueue(self, call: Callable[[], Awaitable[object]]) -> None:
        try:
            self._send.send_nowait(call)
        except trio.WouldBlock:
            self._drop()

    def _drop(self) -> None:
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:
            log.warning("hooks are too slow: %d calls were dropped", self.dropped)

    async def _notify_absent(self, app_id: str, call: OfflineCall) -> None:
        about = call.about
        decision = OfflineDecision()
        if self.hooks.receivers_offline is not None:
            result = await self._asked("receivers_offline", self.hooks.receivers_offline, about)
            if isinstance(result, outcome.Value) and isinstance(result.value, OfflineDecision):
                decision = result.value
        if self.hooks.send_push is None or decision.skip:
            return
        receivers = about.offline if decision.receivers is None else decision.receivers
        if not decision.force:
            cid = about.conversation_id
            muted = set(await self._store.read(app_id, lambda tx: tx.muted_by(cid)))
            receivers = [name for name in receivers if name not in muted]
        if receivers:
            push = OfflinePush(
                sender=about.sender,
                conversation_id=about.conversation_id,
                receivers=receivers,
                body=about.body,
                data=decision.data or call.push_data,
            )
            await self._call("send_push", self.hooks.send_push, push)

    async def _tell_services(self) -> None:
        """Hand over what clients write to services, in order, some at a time."""
        while True:
            await self._some_rows.wait()
            self._some_rows = trio.Event()
            while self._rows:
                count = min(len(self._rows), _ROWS_AT_ONCE)
                await self._tell_rows([self._rows.popleft() for _ in range(count)])

    async def _tell_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        function = self.hooks.service_messages
        assert function is not None
        for pause in (*_ROWS_RETRIED_AFTER, None):
            result = await self._bounded("service_messages", function, rows, _ROWS_TIMEOUT)
            if isinstance(result, outcome.Value):
                return
            if pause is not None:
                await trio.sleep(pause)
        self.dropped += len(rows)
        log.warning("%d messages to services could not be handed over", len(rows))
