"""``pull`` as a program: what it says, how it ends, and that a kill costs nothing."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from tests.archive.service import APP, KEY, Service
from tests.archive.world import by_place, content, rows
from tests.cli import archive_commands
from trio_realtime._archive.archive import blob_path, read_manifest
from trio_realtime._archive.check import check

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, and limits of files")


command = partial(archive_commands.command, "pull")
environ = partial(archive_commands.environ, KEY)
run = partial(archive_commands.run, "pull", key=KEY)


@asynccontextmanager
async def running(**fill):
    service = Service()
    service.fill(**fill)
    async with service.listening():
        yield service


def options(service):
    return ("--server", service.url, "--app-id", APP, "--per-minute", 1_000_000)


async def test_a_copy_and_what_is_said(tmp_path):
    async with running(messages=2500) as service:
        path = tmp_path / "copy"
        large = os.urandom(3_000_000)
        service.files["/file/large"] = large
        service.messages[5]["data"] = json.dumps({"_lcfile": {"url": f"{service.url}/file/large"}})
        status, out, errors = await run(path, *options(service))
        assert (status, errors) == (0, "")
        assert "2,500 new messages" in out
        assert "It holds 2,500 messages from 2025-10-09" in out
        assert by_place(rows(path, "messages")) == by_place(service.messages)
        (row,) = rows(path, "files")
        assert blob_path(path, row["sha256"]).read_bytes() == large
        service.say(3)
        # The archive remembers where it came from.
        status, out, _ = await run(path)
        assert (status, "3 new messages" in out) == (0, True)
        status, out, errors = await run(path, "--check", env={})
        assert (status, errors) == (0, "")
        assert out.splitlines()[-1] == f"The archive in {path} is whole."


@pytest.mark.parametrize("most", [5, pytest.param(20, marks=pytest.mark.slow)])
async def test_killed_at_random_points(most, tmp_path):
    """The copy is the same as one that was never interrupted."""
    chance = random.Random(4)
    async with running(conversations=40, messages=8000) as service:
        cids = [row["objectId"] for row in service.conversations]
        service.silenced = {cid: ["eve"] for cid in cids[::3]}
        service.subscribers[cids[2]] = [f"s{number}" for number in range(130)]
        service.largest_page = 100
        whole, killed = tmp_path / "whole", tmp_path / "killed"
        assert (await run(whole, *options(service)))[0] == 0
        total = len(service.requests)
        kills = progress = 0
        while kills < most:
            left = chance.randrange(1, max(2, total // (most * 2 // 3)))
            enough = trio.Event()

            def count(_request, enough=enough):
                nonlocal left
                left -= 1
                if left <= 0:
                    enough.set()

            service.before_answer = count
            with subprocess.Popen(  # noqa: ASYNC220 - it starts at once
                command(killed, *options(service)),
                env=environ(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as process:
                with trio.move_on_after(60):
                    await enough.wait()
                    # Anywhere in what follows: a request, a commit.
                    await trio.sleep(chance.uniform(0, 1.2))
                process.kill()
                ended = await trio.to_thread.run_sync(process.wait)
            service.before_answer = None
            assert ended in {-signal.SIGKILL, 0}
            kills += 1
            if (killed / "manifest.json").exists():
                assert check(killed).problems == []
                now = sum(part.rows for part in read_manifest(killed).parts)
                assert now >= progress
                progress = now
        status, out, errors = await run(killed, *options(service))
        assert (status, errors) == (0, "")
        assert by_place(rows(killed, "messages")) == by_place(service.messages)
        assert content(killed) == content(whole)
        status, out, _ = await run(killed, "--check")
        assert status == 0, out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_peace(number, tmp_path):
    async with running(messages=3000) as service:
        service.largest_page = 10
        enough = trio.Event()
        service.before_answer = lambda _: enough.set() if len(service.requests) > 30 else None
        with subprocess.Popen(  # noqa: ASYNC220 - it starts at once
            command(tmp_path / "copy", *options(service), "--per-minute", 6000),
            env=environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            with trio.fail_after(60):
                await enough.wait()
                process.send_signal(number)
                out, errors = await trio.to_thread.run_sync(process.communicate)
        assert process.returncode == 128 + number
        assert errors == (
            "trio-realtime: Interrupted. What was fetched is kept; run the same command again to "
            "go on.\n"
        )
        assert out == ""
        assert len(rows(tmp_path / "copy", "messages")) > 0
        service.before_answer = None
        assert (await run(tmp_path / "copy"))[0] == 0
        assert by_place(rows(tmp_path / "copy", "messages")) == by_place(service.messages)


async def test_following_until_it_is_interrupted(tmp_path):
    async with running(messages=50) as service:
        copy = tmp_path / "copy"
        with subprocess.Popen(  # noqa: ASYNC220 - it starts at once
            command(copy, *options(service), "--follow", "--every", 0.2),
            env=environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            with trio.fail_after(60):
                await trio.to_thread.run_sync(process.stdout.readline)
                service.say(5)
                while len(rows(copy, "messages")) < 55:  # noqa: ASYNC110 - a program writes them
                    await trio.sleep(0.05)
                process.send_signal(signal.SIGINT)
                await trio.to_thread.run_sync(process.communicate)
        # It may have been interrupted between a row and what counts it.
        assert (await run(copy))[0] == 0
        assert by_place(rows(copy, "messages")) == by_place(service.messages)
        assert (await run(copy, "--check"))[0] == 0


async def test_following_waits_for_a_server_that_is_away(tmp_path, monkeypatch, capsys):
    from argparse import Namespace

    from trio_realtime._archive.progress import Progress
    from trio_realtime._archive.pulling import Puller, Scope
    from trio_realtime._cli.progress_bar import ProgressBar
    from trio_realtime._cli.pull import _next_round
    from trio_realtime.rest import RateLimited, Unavailable

    answers = [Unavailable("nobody listens"), RateLimited("too much"), None]

    async def look(self, scope):
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    monkeypatch.setattr(Puller, "round", look)
    puller = Puller(None, None, None, Progress())
    await _next_round(Namespace(every=0), puller, Scope(), ProgressBar(lambda: ""))
    assert answers == []
    assert capsys.readouterr().err.splitlines() == [
        "trio-realtime: nobody listens. It is tried again.",
        "trio-realtime: too much. It is tried again.",
    ]


async def test_a_wrong_key(tmp_path):
    async with running(messages=5) as service:
        env = environ(TRIO_REALTIME_MASTER_KEY="wrong-key-of-somebody")
        status, out, errors = await run(tmp_path / "copy", *options(service), env=env)
        assert (status, out) == (2, "")
        assert "does not accept the key" in errors
        assert "must be the master key" in errors
        assert "wrong-key" not in errors
        assert len(errors.splitlines()) == 1


async def test_where_the_key_comes_from(tmp_path):
    async with running(messages=5) as service:
        file = tmp_path / "key"
        file.write_text(f"{KEY}\n")
        bare = environ()
        del bare["TRIO_REALTIME_MASTER_KEY"]
        given = options(service)
        assert (await run(tmp_path / "1", *given, "--key-file", file, env=bare))[0] == 0
        env = {**bare, "LEANCLOUD_APP_MASTER_KEY": KEY}
        assert (await run(tmp_path / "2", *given, env=env))[0] == 0
        env |= {"LEANCLOUD_APP_ID": APP, "LEANCLOUD_API_SERVER": service.url}
        assert (await run(tmp_path / "3", env=env))[0] == 0
        status, _, errors = await run(tmp_path / "4", *given, env=bare, stdin=b"")
        assert (status, "TRIO_REALTIME_MASTER_KEY" in errors) == (2, True)
        for text, said in (
            ("", "master key alone"),
            ("two keys", "master key alone"),
            (b"\xff\xfe", "no text"),
        ):
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
            status, _, errors = await run(tmp_path / "4", *given, "--key-file", file)
            assert (status, said in errors) == (2, True), errors
        status, _, errors = await run(tmp_path / "4", *given, "--key-file", tmp_path / "none")
        assert (status, "no key file" in errors) == (2, True)
        assert not (tmp_path / "4").exists()


async def test_of_another_app(tmp_path):
    async with running(messages=5) as service:
        await run(tmp_path, *options(service))
        status, _, errors = await run(tmp_path, "--server", service.url, "--app-id", "shop-staging")
        assert status == 2
        assert errors == (
            f"trio-realtime: {tmp_path} is the archive of the app {APP}, not of shop-staging."
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--server is needed"),
        (("--server", "https://api.example.com"), "--app-id is needed"),
        (("--server", "api.example.com", "--app-id", "x"), "server is a URL"),
        (("--server", "http://x", "--app-id", "x", "--at-once", "0"), "--at-once takes"),
        (("--check",), "There is no archive"),
    ],
)
async def test_what_cannot_be_meant(arguments, said, tmp_path):
    status, out, errors = await run(tmp_path / "copy", *arguments)
    assert (status, out) == (2, "")
    assert said in errors
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "copy").exists()


async def test_a_key_on_the_command_line_is_no_option(tmp_path):
    status, _, errors = await run(tmp_path, "--master-key", "x")
    assert (status, "unrecognized arguments" in errors) == (2, True)


async def test_a_key_in_the_clear_is_warned_of(tmp_path):
    given = ("--server", "http://192.0.2.1:9", "--app-id", "x")
    with subprocess.Popen(  # noqa: ASYNC220 - it starts at once
        command(tmp_path / "copy", *given),
        env=environ(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        with trio.fail_after(60):
            line = await trio.to_thread.run_sync(process.stderr.readline)
        process.kill()
    assert "is not encrypted" in line


async def test_a_full_disk(tmp_path):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    async with running(messages=3000, days=0.5) as service:
        copy = tmp_path / "copy"
        status, _, errors = await run(copy, *options(service), preexec_fn=small_files)
        assert status == 2
        assert f"There is no room left for {copy}" in errors
        assert len(errors.splitlines()) == 1
        assert check(copy).problems == []
        assert (await run(copy))[0] == 0
        assert by_place(rows(copy, "messages")) == by_place(service.messages)


async def test_damage_is_told_and_repaired(tmp_path):
    async with running(messages=3000) as service:
        copy = tmp_path / "copy"
        await run(copy, *options(service))
        before = content(copy)
        for number, file in enumerate(sorted((copy / "messages").iterdir())[:3]):
            data = file.read_bytes()
            file.write_bytes([data[:-9], data.replace(b"ann", b"eve"), b""][number])
        status, out, _ = await run(copy, "--check")
        assert status == 1
        assert f"The archive in {copy} is NOT whole." in out
        assert len(out.splitlines()) >= 4
        status, _, errors = await run(copy)
        assert (status, "--repair" in errors) == (2, True)
        status, out, errors = await run(copy, "--repair")
        assert (status, "3 parts and files are fetched again" in errors) == (0, True)
        assert by_place(rows(copy, "messages")) == by_place(service.messages)
        assert content(copy)[0] == before[0]
        assert (await run(copy, "--check"))[0] == 0


async def test_progress_is_drawn_for_who_watches():
    import io

    from trio_realtime._archive.progress import Progress
    from trio_realtime._cli.progress_bar import ProgressBar, duration, size
    from trio_realtime._cli.pull import _line

    progress = Progress(stage="messages", span=1000, span_done=250, messages=5000)
    text = _line(progress, 50.0)
    assert "[######------------------]  25%" in text
    assert "5,000 new, 100/s" in text
    assert "about 2 min left" in text or "about 150 s left" in text

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    bar = ProgressBar(lambda: "x" * 5000, terminal)
    bar.show()
    bar.clear()
    drawn = terminal.getvalue()
    assert drawn.endswith("\r\x1b[K")
    assert "\n" not in drawn
    assert len(drawn) < 1000
    assert [duration(n) for n in (5, 600, 20_000, 400_000)] == [
        "5 s",
        "10 min",
        "5.6 h",
        "4.6 days",
    ]
    assert [size(n) for n in (5, 2048, 3 << 20, 5 << 30)] == [
        "5 B",
        "2.0 KiB",
        "3.0 MiB",
        "5.0 GiB",
    ]
    assert json.dumps(text)
