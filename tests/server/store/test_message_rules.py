"""The rules of messages in any store, as the gateway runs them: queued, answering in order."""

from __future__ import annotations

from functools import partial

import pytest

from tests.server.rules.world import APP, JS
from trio_realtime.server.rules.message_table import MESSAGE_HANDLERS
from trio_realtime.server.rules.types import Caller, Refusal
from trio_realtime.server.store.interface import Kind
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


async def test_many_sends_at_once(open_store):
    async with open_store() as store:
        row = await store.write(
            APP.id,
            lambda tx: tx.create_conversation(
                kind=Kind.NORMAL, creator="tom", members=["tom", "jerry"]
            ),
        )
        results = []
        for number in range(20):
            submit(store, TOM, direct(row.id, str(number), dt=str(number % 10)), results.append)
            submit(store, SPIKE, direct(row.id, "refused"), results.append)
        await store.write(APP.id, lambda _: None)
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
        logs_rule = MESSAGE_HANDLERS[command.cmd, command.op].rule
        logs = await store.read(APP.id, lambda tx: call(logs_rule, TOM, command, tx))
        page = logs.reply.logs_message.logs
        assert [item.data for item in page] == [str(number) for number in range(10)]
