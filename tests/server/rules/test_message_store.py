"""The rules in the store as the gateway runs them: queued, sharing commits, answering in order."""

from __future__ import annotations

from functools import partial

import pytest
import trio.testing

from tests.server.rules.message_world import APP, JS
from trio_realtime.server.rules.message_table import MESSAGE_HANDLERS
from trio_realtime.server.rules.types import Caller, Refusal
from trio_realtime.server.store.interface import Kind
from trio_realtime.server.store.sqlite.store import open_store
from trio_realtime.wire import CommandType, DirectCommand, GenericCommand, LogsCommand

TOM = Caller(APP, "tom", features=JS)
SPIKE = Caller(APP, "spike", features=JS)


def submit(store, caller, command, done):
    handler = MESSAGE_HANDLERS[command.cmd, command.op]
    rule = partial(call, handler.rule, caller, command)
    store.submit(APP.id, rule, done, mode="write" if handler.writes else "read")


def call(rule, caller, command, tx):
    return rule(tx, caller, command)


def direct(cid, msg, dt=None):
    message = DirectCommand(cid=cid, msg=msg, dt=dt)
    return GenericCommand(cmd=CommandType.DIRECT, i=1, direct_message=message)


async def test_many_sends_in_one_commit(autojump_clock):
    async with open_store(None, inline=True) as store:
        row = await store.write(
            APP.id,
            lambda tx: tx.create_conversation(
                kind=Kind.NORMAL, creator="tom", members=["tom", "jerry"]
            ),
        )
        results = []
        before = store.statistics().commits
        for number in range(20):
            submit(store, TOM, direct(row.id, str(number), dt=str(number % 10)), results.append)
            submit(store, SPIKE, direct(row.id, "refused"), results.append)
        await trio.testing.wait_all_tasks_blocked()
        assert store.statistics().commits == before + 1
        sent, refused = results[::2], results[1::2]
        outcomes = [result.unwrap() for result in sent]
        acks = [outcome.reply.ack_message for outcome in outcomes]
        # The second half repeats the tokens of the first.
        assert acks[10:] == acks[:10]
        assert [len(outcome.pushes) for outcome in outcomes] == [1] * 10 + [0] * 10
        assert [ack.t for ack in acks[:10]] == sorted({ack.t for ack in acks})
        for result in refused:
            with pytest.raises(Refusal):
                result.unwrap()
        command = GenericCommand(cmd=CommandType.LOGS, logs_message=LogsCommand(cid=row.id))
        submit(store, TOM, command, results.append)
        await trio.testing.wait_all_tasks_blocked()
        page = results[-1].unwrap().reply.logs_message.logs
        assert [item.data for item in page] == [str(number) for number in range(10)]
