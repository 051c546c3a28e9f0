"""Who asks much waits for himself."""

from __future__ import annotations

import json
import threading

import trio
import trio.testing

from tests.server.gateway.world import conversation_of, direct, peer_of, world
from trio_realtime.server.dialects import ProtobufDialect
from trio_realtime.testing import open_server
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    LogsCommand,
    OpType,
)

MANY = 60


def query(number):
    where = {"m": "Tom", "name": {"$regex": f"(x?){{30}}x{{30}}{number}"}}
    return GenericCommand(
        cmd=CommandType.CONV,
        op=OpType.QUERY,
        conv_message=ConvCommand(where=JsonObjectMessage(data=json.dumps(where))),
    )


async def serve_a_bystander(server, tom, jerry, mary):
    """How many queries of Tom were left when Jerry and Mary had got all they asked for."""
    await tom.login("Tom")
    await jerry.login("Jerry")
    cid = await conversation_of(tom, "Tom", "Jerry")
    read = server._store.statistics().reads
    for number in range(MANY):
        await tom.send(query(number))
    with trio.fail_after(60):
        assert (await jerry.call(direct(cid, "hello"))).cmd == CommandType.ACK
        logs = GenericCommand(cmd=CommandType.LOGS, logs_message=LogsCommand(cid=cid))
        assert len((await jerry.call(logs)).logs_message.logs) == 1
        await mary.login("Mary")
    # Counting those that the others caused as if they were his.
    return MANY - (server._store.statistics().reads - read)


async def test_queries_of_one_connection_delay_no_other(clock):
    async with (
        world() as server,
        peer_of(server) as tom,
        peer_of(server) as jerry,
        peer_of(server) as mary,
    ):
        left = await serve_a_bystander(server, tom, jerry, mary)
        assert left > MANY // 2


async def test_queries_of_a_closed_connection_are_left_undone(clock):
    async with world() as server, peer_of(server) as mary:
        async with peer_of(server) as tom:
            await tom.login("Tom")
            for number in range(MANY):
                await tom.send(query(number))
        await mary.login("Mary")
        await trio.sleep(1)
        assert server._store.statistics().waiting == 0
        assert server.stats().metrics.internal_errors_total == 0


async def test_what_was_said_before_a_return_comes_before_what_is_said_after(clock, monkeypatch):
    async with world() as server, peer_of(server) as old, peer_of(server) as new:
        token = await old.login("Tom")
        cid = await conversation_of(old, "Tom")
        store = server._store
        submit, waiting = store.submit, []
        owners = set()

        def late(*arguments, owner=None, **options):
            owners.add(owner)
            waiting.append(lambda: submit(*arguments, owner=owner, **options))

        # The writer gets to nothing of what is submitted meanwhile.
        monkeypatch.setattr(store, "submit", late)
        await old.send(direct(cid, "first"))
        await trio.testing.wait_all_tasks_blocked()
        (before,) = owners
        monkeypatch.setattr(store, "submit", submit)
        followed = []
        monkeypatch.setattr(store, "succeed", lambda *who: followed.append(who))
        await new.login("Tom", st=token, r=True)
        assert [owner for owner, _ in followed] == [before]
        assert followed[0][1] is not before


async def test_what_was_read_is_encoded_beside_the_event_loop(tmp_path, monkeypatch):
    threads = {}
    encode = ProtobufDialect.answer

    def noting(self, command, reply):
        threads[reply.cmd] = threading.get_ident()
        return encode(self, command, reply)

    monkeypatch.setattr(ProtobufDialect, "answer", noting)
    async with open_server(data=tmp_path) as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry")
        logs = GenericCommand(cmd=CommandType.LOGS, logs_message=LogsCommand(cid=cid))
        await tom.call(logs)
        await tom.call(query(1))
    assert threads[CommandType.SESSION] == threading.get_ident()
    assert threads[CommandType.LOGS] != threading.get_ident()
    assert threads[CommandType.CONV] != threading.get_ident()
