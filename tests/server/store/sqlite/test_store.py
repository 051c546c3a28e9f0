from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading

import pytest
import trio

from tests.server.store.world import query
from trio_realtime.server.store.interface import Kind, NewMessage, StoreError
from trio_realtime.server.store.sqlite import schema as _sqlite_schema
from trio_realtime.server.store.sqlite.checkpoints import Checkpoints
from trio_realtime.server.store.sqlite.schema import connect
from trio_realtime.server.store.sqlite.store import open_store

APP = "app"


def create(tx):
    return tx.create_conversation(kind=Kind.NORMAL, creator="tom", members=["tom", "jerry"]).id


def count(tx):
    return len(tx.find(query({}, limit=1000)))


async def test_many_waiters_share_a_commit(tmp_path, monkeypatch):
    monkeypatch.setattr("trio_realtime.server.store.sqlite.store.TRANSACTION_SECONDS", 60.0)
    async with open_store(tmp_path / "data.db") as store:
        cid = await store.write(APP, create)
        before = store.statistics()
        async with trio.open_nursery() as nursery:
            for n in range(300):
                nursery.start_soon(
                    store.write, APP, lambda tx, n=n: tx.append(cid, NewMessage("tom", str(n)))
                )
        after = store.statistics()
        assert after.writes - before.writes == 300
        assert after.commits - before.commits <= 3
        assert after.waiting == 0
        assert len(await store.read(APP, lambda tx: tx.history(cid, limit=999))) == 300
        assert store.statistics().reads == 1


async def test_a_read_sees_one_moment(tmp_path):
    async with open_store(tmp_path / "data.db") as store:
        await store.write(APP, create)
        read_once, written = threading.Event(), threading.Event()

        def look_twice(tx):
            first = count(tx)
            read_once.set()
            assert written.wait(10)
            return first, count(tx)

        async def write_between():
            await trio.to_thread.run_sync(read_once.wait)
            await store.write(APP, create)
            written.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_between)
            assert await store.read(APP, look_twice) == (1, 1)
        assert await store.read(APP, count) == 2


async def test_inline_runs_in_the_event_loop():
    async with open_store(None, inline=True) as store:
        here = threading.get_ident()
        assert await store.write(APP, lambda _: threading.get_ident()) == here
        assert await store.read(APP, lambda _: threading.get_ident()) == here
    async with open_store(None) as store:
        assert await store.write(APP, lambda _: threading.get_ident()) != here


async def test_quick_reads_and_writes_pass_queries_that_take_long(tmp_path):
    release = threading.Event()
    running, most, lock = set(), 0, threading.Lock()

    def slow(owner):
        def rule(_):
            nonlocal most
            with lock:
                assert owner not in running
                running.add(owner)
                most = max(most, len(running))
            assert release.wait(30)
            with lock:
                running.remove(owner)

        return rule

    async with open_store(tmp_path / "data.db") as store:
        results = []
        for owner in ("a", "b", "c"):
            for _ in range(20):
                store.submit(APP, slow(owner), results.append, mode="query", owner=owner)
        await store.write(APP, create)
        assert await store.read(APP, count) == 1
        assert results == []
        assert store.statistics().waiting > 50
        release.set()
    assert len(results) == 60
    for result in results:
        result.unwrap()
    assert most > 1


async def test_a_failed_commit_fails_its_rules_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "data.db"
    monkeypatch.setattr("trio_realtime.server.store.sqlite.store._READERS", 1)
    async with open_store(path) as store:
        cid = await store.write(APP, create)
        pages = await store.write(APP, lambda tx: tx._execute("PRAGMA page_count").fetchone()[0])

        def limit(tx, to):
            tx._execute(f"PRAGMA max_page_count = {to}")

        await store.write(APP, lambda tx: limit(tx, pages + 3))
        results = []
        for n in range(20):
            store.submit(
                APP,
                lambda tx, n=n: tx.append(cid, NewMessage("tom", "x" * 5000, dt=str(n))),
                results.append,
            )
        # The disk is full: whoever shared the transaction is told so, then or later.
        with pytest.raises(StoreError, match="full"):
            await store.write(APP, lambda tx: tx.append(cid, NewMessage("tom", "x" * 50000)))
        acknowledged = [result.value[0] for result in results if hasattr(result, "value")]
        assert await store.read(APP, lambda tx: tx.history(cid, limit=99)) == acknowledged
        await store.write(APP, lambda tx: limit(tx, 10**6))
        await store.write(APP, lambda tx: tx.append(cid, NewMessage("tom", "room again")))


# Files.


WRITER = """
import sys
from pathlib import Path
import trio
from trio_realtime.server.store.sqlite.checkpoints import Checkpoints
from trio_realtime.server.store.sqlite.schema import connect
from trio_realtime.server.store.sqlite.store import open_store
from trio_realtime.server.store.interface import Kind, NewMessage

async def main():
    async with open_store(Path(sys.argv[1])) as store:
        def start(tx):
            return tx.create_conversation(
                kind=Kind.NORMAL, creator="tom", members=["tom", "jerry"]).id
        cid = await store.write("app", start)
        async def send(number):
            while True:
                rule = lambda tx: tx.append(cid, NewMessage("tom", "x", receipt=True))
                message, _ = await store.write("app", rule)
                print(cid, message.id, message.timestamp, flush=True)
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(send, number)

trio.run(main)
"""


def read_until_killed(path):
    """What a writing process reported before it was killed in the middle of its work."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True
    ) as process:
        lines = [process.stdout.readline() for _ in range(200)]
        process.kill()
        lines += process.stdout.readlines()
    return [line.split() for line in lines if line.endswith("\n")]


async def test_a_kill_loses_nothing_acknowledged(tmp_path):
    path = tmp_path / "data.db"
    acknowledged = await trio.to_thread.run_sync(read_until_killed, path)
    assert len(acknowledged) >= 200
    cid = acknowledged[0][0]
    async with open_store(path) as store:
        rows = await store.read(APP, lambda tx: tx.history(cid, limit=10**6))
        assert {(cid, row.id, str(row.timestamp)) for row in rows} >= {
            tuple(line) for line in acknowledged
        }
        times = [row.timestamp for row in rows]
        assert times == sorted(set(times))


async def test_the_log_is_tidied_away(tmp_path):
    path = tmp_path / "data.db"
    async with open_store(path) as store:
        await store.write(APP, create)
    assert not path.with_name("data.db-wal").exists()


async def refused(path, match):
    with pytest.raises(StoreError, match=match):
        async with open_store(path):
            pytest.fail("opened")


async def test_only_one_process_may_have_the_file(tmp_path):
    path = tmp_path / "data.db"
    other = (
        "import sys, trio; from pathlib import Path\n"
        "from trio_realtime.server.store.sqlite.store import open_store\n"
        "async def main():\n"
        "    async with open_store(Path(sys.argv[1])): pass\n"
        "trio.run(main)"
    )
    async with open_store(path):
        await refused(path, "in use by another")
        result = await trio.run_process(
            [sys.executable, "-c", other, path], capture_stderr=True, check=False
        )
        assert result.returncode == 1
        assert b"in use by another server process" in result.stderr
    async with open_store(path):
        pass


async def test_files_that_are_not_ours_are_refused_and_left_alone(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear database, " * 100)
    await refused(path, "not a database")
    assert path.read_text().startswith("Dear database")

    path = tmp_path / "foreign.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title)")
    connection.close()
    content = path.read_bytes()
    await refused(path, "another program")
    assert path.read_bytes() == content

    await refused(tmp_path, "cannot open")
    (tmp_path / "file").write_text("")
    await refused(tmp_path / "file" / "data.db", "cannot use")


async def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "data.db"
    async with open_store(path) as store:
        await store.write(APP, create)
    path.write_bytes(path.read_bytes()[:70])
    await refused(path, "cannot open")


async def test_tables_of_another_version_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "data.db"
    async with open_store(path):
        pass
    version = _sqlite_schema.VERSION
    monkeypatch.setattr(_sqlite_schema, "VERSION", 1)
    await refused(path, f"version {version}; this program knows version 1")


async def test_an_old_sqlite_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    await refused(tmp_path / "data.db", "too old")


# Long batches.


async def test_batches_in_parts_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr("trio_realtime.server.store.sqlite.store.TRANSACTION_SECONDS", 0.0)
    reported = []
    async with open_store(tmp_path / "data.db") as store:
        cid = await store.write(APP, create)
        commits = store.statistics().commits

        def submit(n):
            def done(_):
                reported.append(n)
                if n < 50:  # what a result leads to comes behind what is waiting
                    submit(n + 50)

            store.submit(APP, lambda tx: tx.append(cid, NewMessage("tom", str(n))), done)

        for n in range(50):
            submit(n)
        with trio.fail_after(60):
            while len(reported) < 100:
                await store.write(APP, lambda _: None)
        assert reported == list(range(100))
        assert store.statistics().commits - commits >= 100
        rows = await store.read(APP, lambda tx: tx.history(cid, limit=200))
        assert sorted(int(row.body) for row in rows) == list(range(100))


async def test_what_is_left_of_a_batch_is_not_begun_after_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("trio_realtime.server.store.sqlite.store.TRANSACTION_SECONDS", 0.0)
    results = []
    begun, ended = threading.Event(), threading.Event()

    def wait(_tx):
        begun.set()
        assert ended.wait(60)

    async def fail():
        async with open_store(tmp_path / "data.db") as store:
            store.submit(APP, wait, results.append)
            for _ in range(10):
                store.submit(APP, lambda _tx: None, results.append)
            await trio.to_thread.run_sync(begun.wait)
            monkeypatch.setattr(store, "close", close_then(store.close, ended.set))
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    kinds = sorted(type(result).__name__ for result in results)
    assert kinds == ["Error"] * 10 + ["Value"]


def close_then(close, then):
    def both(*, finish):
        close(finish=finish)
        then()

    return both


# Checkpoints.


async def test_what_is_committed_reaches_the_database_beside_the_writer(tmp_path, monkeypatch):
    monkeypatch.setattr("trio_realtime.server.store.sqlite.store.SECONDS_BETWEEN", 0.01)
    path = tmp_path / "data.db"
    async with open_store(path) as store:
        with trio.fail_after(60):
            while b"a word that is looked for" not in path.read_bytes():
                cid = await store.write(APP, create)
                message = NewMessage("tom", "a word that is looked for")
                await store.write(APP, lambda tx, cid=cid, m=message: tx.append(cid, m))
                await trio.sleep(0.01)


def test_a_checkpoint_that_fails_is_made_another_time(tmp_path):
    connection = connect(tmp_path / "data.db")
    checkpoints = Checkpoints(connection)
    checkpoints.take_over()
    checkpoints.close()
    checkpoints.take_over()
