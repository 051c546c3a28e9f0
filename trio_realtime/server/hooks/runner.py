"""Where hooks meet commands: asking before a rule runs, telling after it did.

What an application answers becomes a changed command or a `Refusal`; what it fails to
answer in time is decided by the server's policy. Hooks run in the event loop, never inside
a transaction, and never between a commit and its pushes.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Literal, TypeVar

import attrs
import outcome
import trio

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.rules.types import Caller, Clients, Outcome, Presence, Push, Refusal
from trio_realtime.server.store.interface import Store
from trio_realtime.wire import GenericCommand

from . import before as questions
from .after import News, news_of
from .types import (
    ClientOffline,
    ClientOnline,
    Hooks,
    OfflineDecision,
    OfflinePush,
    ReceiversOffline,
    Reject,
)

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)


@attrs.frozen
class Approved:
    """A command as the application lets it pass."""

    command: GenericCommand
    receivers: frozenset[str] | None = None
    """Who of the others may get what it causes; None for all."""

    def narrowed(self, decided: Outcome, actor: str) -> Outcome:
        """What the rule decided, for the receivers the application left over.

        The actor's own other sessions are always told.
        """
        if self.receivers is None:
            return decided
        kept = self.receivers | {actor}
        return attrs.evolve(decided, pushes=[_narrowed(push, kept) for push in decided.pushes])


def _narrowed(push: Push, kept: frozenset[str]) -> Push:
    if not isinstance(push.to, Clients):
        return push
    return attrs.evolve(push, to=Clients([name for name in push.to.ids if name in kept]))


class HookRunner:
    """Calls the functions of one application's `Hooks`.

    ``timeout`` bounds every call, in seconds. ``on_failure`` says what a function that
    raises or takes too long means for what it was asked about: ``ignore`` goes ahead as if
    there were no hook, ``refuse`` refuses. ``backlog`` calls about the past may wait, and
    ``workers`` run at once; more are dropped and counted.
    """

    def __init__(
        self,
        hooks: Hooks,
        store: Store,
        *,
        timeout: float = 5.0,
        on_failure: Literal["ignore", "refuse"] = "ignore",
        backlog: int = 10_000,
        workers: int = 16,
    ) -> None:
        self.hooks = hooks
        self.failures = 0
        """Calls that raised or took too long."""
        self.dropped = 0
        """Calls about the past that found the backlog full."""
        self._store = store
        self._timeout = timeout
        self._on_failure = on_failure
        self._workers = workers
        self._send, self._receive = trio.open_memory_channel[Callable[[], Awaitable[object]]](
            backlog
        )

    async def run(self) -> None:
        """Make the calls about the past. Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._workers):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        async for call in self._receive:
            try:
                await call()
            except Exception:
                # The store may have closed under it.
                log.exception("a hook could not be called")

    # Before.

    def concerns(self, command: GenericCommand) -> bool:
        """Whether `before` would ask anything about such a command."""
        return questions.asker(self.hooks, command) is not None

    async def before(self, caller: Caller, command: GenericCommand) -> Approved:
        """Ask the application; the command as it may be carried out.

        What the rule is going to refuse anyway is not asked about. Raises `Refusal`.
        """
        ask = questions.asker(self.hooks, command)
        if ask is None:
            return Approved(command)
        return Approved(*await ask(self._store, self._asked, caller, command))

    async def may_sign(self, app_user: Mapping[str, Any]) -> None:
        """Ask whether a storage user may have a login signature. Raises `Refusal` (4102)."""
        function = self.hooks.rtm_client_sign
        if function is not None:
            await self._asked(function, app_user, ErrorCode.SIGNATURE_FAILED)

    async def _asked(
        self, function: Callable[[T], Awaitable[R]], about: T, code: ErrorCode
    ) -> R | None:
        """The answer of a function; a `Refusal` with this code if it says no."""
        result = await self._call(function, about)
        if isinstance(result, outcome.Error):
            if self._on_failure == "refuse":
                raise Refusal(int(code), code.name, "the application does not answer")
            return None
        answer = result.unwrap()
        if isinstance(answer, Reject):
            raise Refusal(
                int(code),
                code.name,
                answer.detail,
                app_code=answer.code,
                app_message=answer.detail,
            )
        return answer

    async def _call(self, function: Callable[[T], Awaitable[R]], about: T) -> outcome.Outcome[R]:
        try:
            with trio.move_on_after(self._timeout):
                return outcome.Value(await function(about))
        except Exception as error:
            # An application may raise anything.
            self.failures += 1
            log.exception("a hook failed on %s", type(about).__name__)
            return outcome.Error(error)
        self.failures += 1
        log.error("a hook took over %g s for %s", self._timeout, type(about).__name__)
        return outcome.Error(trio.TooSlowError())

    # After.

    def after(
        self, caller: Caller, command: GenericCommand, decided: Outcome, presence: Presence
    ) -> None:
        """Tell the application what a command did. Does not wait and does not raise."""
        for news in news_of(self.hooks, caller, command, decided, presence):
            if isinstance(news.about, ReceiversOffline):
                self._enqueue(partial(self._notify_absent, caller.app.id, news, news.about))
            else:
                self._enqueue(partial(self._call, news.function, news.about))

    def client_online(self, client: ClientOnline) -> None:
        """Tell the application that a client has logged in."""
        if self.hooks.client_online is not None:
            self._enqueue(partial(self._call, self.hooks.client_online, client))

    def client_offline(self, client: ClientOffline) -> None:
        """Tell the application that a session is over."""
        if self.hooks.client_offline is not None:
            self._enqueue(partial(self._call, self.hooks.client_offline, client))

    def _enqueue(self, call: Callable[[], Awaitable[object]]) -> None:
        try:
            self._send.send_nowait(call)
        except trio.WouldBlock:
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:
                log.warning("hooks are too slow: %d calls were dropped", self.dropped)

    async def _notify_absent(self, app_id: str, news: News, about: ReceiversOffline) -> None:
        decision = OfflineDecision()
        if self.hooks.receivers_offline is not None:
            result = await self._call(self.hooks.receivers_offline, about)
            if isinstance(result, outcome.Value) and result.value is not None:
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
                data=decision.data or news.push_data,
            )
            await self._call(self.hooks.send_push, push)


class Lane:
    """Keeps the commands of one session in order while the application thinks about some.

    ``spawn`` is ``start_soon`` of a nursery that outlives the session.
    """

    def __init__(self, runner: HookRunner, spawn: Callable[..., Any]) -> None:
        self._runner = runner
        self._spawn = spawn
        self._waiting: deque[
            tuple[Caller, GenericCommand, Callable[[outcome.Outcome[Approved]], None]]
        ] = deque()

    def enter(
        self,
        caller: Caller,
        command: GenericCommand,
        then: Callable[[outcome.Outcome[Approved]], None],
    ) -> None:
        """Call ``then`` with the approved command or a `Refusal`, after those before it.

        At once, if nothing is to be asked and nobody waits. ``then`` must not raise.
        """
        if not self._waiting and not self._runner.concerns(command):
            then(outcome.Value(Approved(command)))
            return
        self._waiting.append((caller, command, then))
        if len(self._waiting) == 1:
            self._spawn(self._move)

    async def _move(self) -> None:
        while self._waiting:
            caller, command, then = self._waiting[0]
            result: outcome.Outcome[Approved]
            try:
                result = outcome.Value(await self._runner.before(caller, command))
            except Exception as error:  # noqa: BLE001 - it is the answer to this command
                result = outcome.Error(error)
            then(result)
            self._waiting.popleft()
