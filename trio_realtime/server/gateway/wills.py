"""The will of a client that was lost: a message for those who may hear it now.

Protocol: docs/protocol/messages.md §10.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import attrs
import outcome

from trio_realtime.server.hooks.approval import Approval
from trio_realtime.server.hooks.queue import CarriedOut, HookQueue, Work
from trio_realtime.server.metrics import log
from trio_realtime.server.rules.direct import will_pushes
from trio_realtime.server.rules.types import Caller, Outcome, Refusal, Will
from trio_realtime.server.store.interface import StoreError, StoreUnavailable, Tx
from trio_realtime.wire import GenericCommand

from .commands import tell_hooks
from .context import AppContext, ServerContext

T = TypeVar("T")


def send_will(server: ServerContext, app: AppContext, caller: Caller, will: Will) -> None:
    """Have a will sent, as soon as the application, if there is one, has nothing against it.

    The application has approved it when it was made. It is asked again if others than those
    it was asked about would hear it.
    """

    def rule(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
        return Outcome(pushes=will_pushes(tx, caller, attrs.evolve(will, command=command)))

    approval = will.approval if isinstance(will.approval, Approval) else Approval()
    approval = attrs.evolve(approval, rounds=0)
    if app.hooks is not None:
        done = partial(_carried_out, server, app, caller)
        work = Work(
            will.command, rule, lambda: caller, partial(_submit, app, caller), done, approval
        )
        HookQueue(app.hooks, app.spawn).enter(work)
        return

    def run(tx: Tx) -> CarriedOut:
        return CarriedOut(will.command, tx.now, rule(tx, caller, will.command), approval)

    _submit(app, caller, run, partial(_carried_out, server, app, caller))


def _submit(
    app: AppContext,
    caller: Caller,
    rule: Callable[[Tx], T],
    done: Callable[[outcome.Outcome[T]], Any],
) -> None:
    try:
        # It comes behind what the client has said itself.
        app.store.submit(app.id, rule, done, owner=caller.owner)
    except StoreError as error:
        done(outcome.Error(error))


def _carried_out(
    server: ServerContext,
    app: AppContext,
    caller: Caller,
    result: outcome.Outcome[CarriedOut] | None,
) -> None:
    assert result is not None
    if isinstance(result, outcome.Error):
        if isinstance(result.error, StoreUnavailable):
            server.note_store(result.error)
        elif not isinstance(result.error, Refusal):
            log.error("a will was not carried out", exc_info=result.error)
        return
    out = result.unwrap()
    app.bus.deliver(out.decided.pushes, actor=None, at=out.at)
    if app.hooks is not None:
        tell_hooks(app.hooks, app.bus, caller, out.command, out.decided)
