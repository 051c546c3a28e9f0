"""The rules of conversations in any store, reads apart from writes."""

from __future__ import annotations

from tests.server.rules.world import APP, JS
from trio_realtime.server.rules.conversation_table import CONVERSATION_HANDLERS
from trio_realtime.server.rules.types import Caller
from trio_realtime.wire import BlacklistCommand, CommandType, ConvCommand, GenericCommand, OpType

READS = {
    (CommandType.CONV, OpType.QUERY),
    (CommandType.CONV, OpType.COUNT),
    (CommandType.CONV, OpType.MEMBERS),
    (CommandType.CONV, OpType.IS_MEMBER),
    (CommandType.CONV, OpType.QUERY_SHUTUP),
    (CommandType.CONV, OpType.CHECK_SHUTUP),
    (CommandType.BLACKLIST, OpType.QUERY),
    (CommandType.BLACKLIST, OpType.CHECK_BLOCK),
}


def test_what_only_reads_says_so():
    assert {key for key, handler in CONVERSATION_HANDLERS.items() if not handler.writes} == READS


async def run(store, op, message):
    blocks = isinstance(message, BlacklistCommand)
    command = GenericCommand(cmd=CommandType.BLACKLIST if blocks else CommandType.CONV, op=op)
    if blocks:
        command.blacklist_message = message
    else:
        command.conv_message = message
    handler = CONVERSATION_HANDLERS[command.cmd, op]
    caller = Caller(APP, "Tom", features=JS)
    act = store.write if handler.writes else store.read
    return await act("app", lambda tx: handler.rule(tx, caller, command))


async def test_writing_then_reading(open_store):
    async with open_store() as store:
        await written_then_read(store)


async def written_then_read(store):
    started = await run(store, OpType.START, ConvCommand(m=["Tom", "Jerry"], unique=True))
    cid = started.reply.conv_message.cid
    await run(store, OpType.ADD_SHUTUP, ConvCommand(cid=cid, m=["Jerry"]))
    await run(store, OpType.BLOCK, BlacklistCommand(src_cid=cid, to_pids=["Mary"]))
    found = await run(store, OpType.QUERY, ConvCommand(flag=2))
    assert cid in found.reply.conv_message.results.data
    counted = await run(store, OpType.COUNT, ConvCommand(cid=cid))
    assert counted.reply.conv_message.count == 2
    members = await run(store, OpType.MEMBERS, ConvCommand(cid=cid))
    assert members.reply.conv_message.m == ["Jerry", "Tom"]
    silenced = await run(store, OpType.QUERY_SHUTUP, ConvCommand(cid=cid))
    assert silenced.reply.conv_message.m == ["Jerry"]
    blocked = await run(store, OpType.QUERY, BlacklistCommand(src_cid=cid))
    assert blocked.reply.blacklist_message.blocked_pids == ["Mary"]
    checked = await run(store, OpType.CHECK_BLOCK, BlacklistCommand(src_cid=cid, to_pids=["Mary"]))
    assert checked.reply.blacklist_message.blocked_pids == ["Mary"]
