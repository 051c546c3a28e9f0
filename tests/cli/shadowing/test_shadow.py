"""The program, and live traffic."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
import trio

from tests.cli.shadowing.scene import play, recorded
from tests.cli.test_tap import APP, PATIENCE
from trio_realtime import TextMessage, open_client
from trio_realtime._cli.recording import Recorded, now
from trio_realtime._cli.shadow import BEHIND, Backlog
from trio_realtime._cli.shadowing.report import Report
from trio_realtime.testing import open_server


def command(*arguments):
    return [sys.executable, "-m", "trio_realtime", "shadow", *map(str, arguments)]


async def run(*arguments):
    """Status, standard output and standard error."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            command(*arguments), capture_stdout=True, capture_stderr=True, check=False
        )
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
async def recording(tmp_path):
    file = tmp_path / "session.jsonl"
    file.write_text("".join(line.line() + "\n" for line in await recorded()), "utf-8")
    return file


async def test_a_recording_is_played(recording):
    async with open_server(apps=[APP]) as server:
        status, said, errors = await run(recording, "--against", server.url)
        assert (status, errors) == (0, ""), said
        assert re.search(r"^conv/start +2 +2 +0 +0 +0$", said, re.MULTILINE), said
        assert said.endswith("No difference.\n")
        status, said, _ = await run(recording, "--against", server.url, "--json")
        assert json.loads(said)["commands"]
    # A server without the app refuses everything.
    async with open_server(apps=[]) as server:
        arguments = (recording, "--against", server.url, "--patience", 0.2)
        status, said, _ = await run(*arguments)
        assert status == 1
        assert re.search(r"^session/open +3 +0 +\d +\d +0$", said, re.MULTILINE), said
        assert re.search(r"^\d+ differences\.$", said, re.MULTILINE)


async def test_a_recording_with_nothing_in_it_is_no_success(tmp_path):
    file = tmp_path / "empty.jsonl"
    file.write_text("\n")
    async with open_server(apps=[APP]) as server:
        status, _, errors = await run(file, "--against", server.url)
    assert (status, errors) == (2, "trio-realtime: There was nothing that could be compared.\n")


async def test_what_a_tap_that_was_killed_has_recorded_is_played(recording):
    whole = recording.read_bytes()
    recording.write_bytes(whole[:-20])
    async with open_server(apps=[APP]) as server:
        status, said, _ = await run(recording, "--against", server.url)
    assert status == 0, said


async def test_a_recording_of_an_older_tap_is_played(recording):
    frames = [line for line in recording.read_text("utf-8").splitlines() if "frame" in line]
    recording.write_text("\n".join(frames), "utf-8")
    async with open_server(apps=[APP]) as server:
        status, said, _ = await run(recording, "--against", server.url)
    assert status == 0, said
    assert re.search(r"^connection +3 +3 ", said, re.MULTILINE)


@asynccontextmanager
async def rehearsing(*arguments, status):
    """The program between clients and two servers; the URL for the clients, and what it said."""
    program = await trio.lowlevel.open_process(
        command("--listen", 0, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    said = []
    try:
        with trio.fail_after(PATIENCE):
            line = (await program.stderr.receive_some()).decode()
            yield re.search(r"http://[\d.:]+", line)[0].rstrip("."), said
            program.send_signal(signal.SIGINT)
            said.append(b"".join([chunk async for chunk in program.stdout]).decode())
            said.append(b"".join([chunk async for chunk in program.stderr]).decode())
            assert await program.wait() == status, "".join(said)
    finally:
        program.kill()
        await program.wait()
        await program.stdout.aclose()
        await program.stderr.aclose()
    assert "Traceback" not in "".join(said)


@pytest.mark.parametrize("dialect", ["protobuf", "base64", "json"])
async def test_live_clients_are_answered_by_the_old_service_and_ours_is_told_the_same(
    dialect, tmp_path
):
    record = tmp_path / "live.jsonl"
    async with open_server(apps=[APP]) as old, open_server(apps=[APP]) as ours:
        arguments = ("--old", old.url, "--ours", ours.url, "--record", record)
        async with rehearsing(*arguments, status=0) as (url, said):
            await play(url, dialect)
        assert said[0].endswith("No difference.\n"), said
        assert re.search(r"^direct +4 +4 ", said[0], re.MULTILINE)
        # Recorded as by a tap: without secrets, and good for another rehearsal.
        assert '"st":' not in record.read_text("utf-8").replace('"st": "***"', "")
    async with open_server(apps=[APP]) as ours:
        status, replayed, _ = await run(record, "--against", ours.url)
        assert status == 0, replayed
        # Once more, there is a conversation already; what is sent is sent anew.
        status, replayed, _ = await run(record, "--against", ours.url)
        assert status == 1
        assert "existing: absent, ours true" in replayed
        assert re.search(r"^← direct +4 +4 ", replayed, re.MULTILINE), replayed


async def test_enforced_signatures_and_tokens_reach_ours_in_live_traffic():
    """With one app on both, what clients have signed is good for both."""
    async with open_server(apps=[APP]) as old, open_server(apps=[APP]) as ours:
        async with (
            rehearsing("--old", old.url, "--ours", ours.url, status=0) as (url, said),
            open_client("Tom", app_id=APP.id, app_key=APP.key, server=url) as tom,
        ):
            chat = await tom.create_conversation(["Jerry"])
            await tom.send(chat, TextMessage("1"))
        assert said[0].endswith("No difference.\n")
        (row,) = [line for line in said[0].splitlines() if line.startswith("session/open")]
        assert row.split() == ["session/open", "1", "1", "0", "0", "0"]


@pytest.mark.parametrize("trouble", ["nobody", "silent", "garbage", "stops"])
async def test_clients_do_not_notice_what_is_wrong_with_ours(trouble):
    async def silent(stream):
        if trouble == "garbage":
            await stream.send_all(b"\x00\xff nonsense\r\n\r\n")
        if trouble != "nobody":
            await trio.sleep_forever()
        await stream.aclose()

    async with open_server(apps=[APP]) as old, trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, silent, 0)
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with open_server(apps=[APP]) as ours:
            if trouble == "stops":
                url = ours.url
            arguments = ("--old", old.url, "--ours", url, "--patience", 0.2)
            async with rehearsing(*arguments, status=1) as (url, said):
                await play(url)
                if trouble == "stops":
                    await ours.stop()
                    await play(url)
        nursery.cancel_scope.cancel()
    assert "unanswered" in said[0]
    assert re.search(r"^session/open +\d +\d +\d +[1-9]", said[0], re.MULTILINE), said[0]


def test_who_is_too_far_behind_is_left_alone():
    report = Report()
    backlog = Backlog(report)
    frame = Recorded(now(), 1, "to-server", "json", "{}")
    for _ in range(BEHIND + 5):
        backlog.add(frame)
    assert report.lost == 5
    backlog = Backlog(report := Report())
    large = Recorded(now(), 1, "to-server", "json", "x" * (40 << 20))
    backlog.add(large)
    backlog.add(large)
    backlog.add(frame)
    # What comes behind a frame that ours was not told would mean something else to it.
    assert report.lost == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Give a recording and --against, or --listen with --old and --ours."),
        (["{file}"], "Give a recording and --against"),
        (["nowhere", "--against", "http://h"], "nowhere cannot be read: No such file"),
        (["{file}", "--against", "ftp://h"], "--against takes a URL such as"),
        (["{file}", "--against", "http://h"], "{file}, line 1, is no line of a recording: "),
        (["{file}", "--against", "http://h", "--old", "http://h"], "--old, --ours and --record go"),
        (["--listen", "0"], "--listen needs --old and --ours."),
        (["--listen", "x:y", "--old", "http://h", "--ours", "http://h"], "--listen takes a port"),
        (["--listen", "70000", "--old", "http://h", "--ours", "http://h"], "There is no port"),
        (
            ["{file}", "--listen", "0", "--old", "http://h", "--ours", "http://h"],
            "--listen takes n",
        ),
        (
            ["{empty}", "--against", "http://127.0.0.1:1"],
            "There is no server at http://127.0.0.1:1: ",
        ),
    ],
)
async def test_what_the_user_can_put_right_is_one_sentence(arguments, said, tmp_path):
    places = {"file": tmp_path / "bad.jsonl", "empty": tmp_path / "empty.jsonl"}
    places["file"].write_text('{"cmd": "conv"}\n')
    places["empty"].write_text("\n")
    status, _, errors = await run(*[text.format(**places) for text in arguments])
    assert status == 2
    assert errors.startswith(f"trio-realtime: {said.format(**places)}")
    assert len(errors.splitlines()) == 1
