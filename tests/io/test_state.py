"""A client that goes on where an earlier run of the program stopped."""

from __future__ import annotations

import errno
import json
import stat
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from tests.client.world import world
from tests.io.scripted_server import in_background, push
from tests.io.test_delivery import answer_history, ids, item
from trio_realtime import (
    Gap,
    Invited,
    MessageReceived,
    MessageUpdated,
    SessionConflictError,
    StateDamaged,
    StateError,
    StateInUse,
    TextMessage,
    open_client,
)
from trio_realtime._engine import saved_state
from trio_realtime._io import state as state_module
from trio_realtime._io.state import StateFile
from trio_realtime.testing import open_server


async def texts(events, count):
    return [(await anext(events)).message.text for _ in range(count)]


async def nothing_more(events, seconds=30):
    with trio.move_on_after(seconds):
        pytest.fail(f"nothing more: {await anext(events)}")


async def test_a_bot_that_was_down_is_given_what_it_missed_once_and_in_order(autojump_clock):
    state = {}
    async with world("Tom") as (w, tom):
        chat = await tom.create_conversation(["bot"], unique=False)
        async with w.open("bot", state=state) as bot:
            with bot.events(MessageReceived) as events:
                await tom.send(chat, TextMessage("1"))
                assert await texts(events, 1) == ["1"]
                await bot.send(chat, TextMessage("answer"))
        new = None
        for number in range(150):
            await tom.send(chat, TextMessage(f"missed {number}"))
            if number == 100:
                await trio.sleep(3600)
                new = await tom.create_conversation(["bot"], unique=False)
        await tom.send(new, TextMessage("in a new place"))
        async with w.open("bot", state=state) as bot:
            events = bot.events(MessageReceived, Invited, Gap)
            seen = []
            with trio.move_on_after(30):
                while True:
                    seen.append(await anext(events))
        here = [
            e.message.text
            for e in seen
            if isinstance(e, MessageReceived) and e.conversation_id == chat.id
        ]
        assert here == [f"missed {number}" for number in range(150)]
        there = [e for e in seen if e.conversation_id == new.id]
        assert [type(e) for e in there] == [Invited, MessageReceived, Gap]
        async with w.open("bot", state=state) as bot:
            await nothing_more(bot.events(MessageReceived, Invited, Gap))


async def test_without_a_state_nothing_of_before_is_given(autojump_clock):
    async with world("Tom") as (w, tom):
        chat = await tom.create_conversation(["bot"])
        async with w.open("bot", state={}):
            pass
        await tom.send(chat, TextMessage("missed"))
        async with w.open("bot", state={}) as bot:
            await nothing_more(bot.events(MessageReceived))


async def test_one_mapping_is_the_state_of_one_client_at_a_time(autojump_clock):
    state = {}
    async with world("Tom") as (w, _tom):
        async with w.open("bot", state=state):
            for _ in range(2):
                with pytest.raises(StateInUse, match="in use by another client"):
                    async with w.open("bot", state=state):
                        pass
            async with w.open("other", state={}):
                pass
        async with w.open("bot", state=state):
            pass


async def test_what_was_not_dealt_with_comes_again(autojump_clock):
    state = {}
    async with world("Tom") as (w, tom):
        chat = await tom.create_conversation(["bot"])
        async with w.open("bot", state=state, ack="next") as bot:
            events = bot.events(MessageReceived)
            for number in range(5):
                await tom.send(chat, TextMessage(str(number)))
            # The loop never comes back for the next one after these.
            assert await texts(events, 3) == ["0", "1", "2"]
            await trio.sleep(10)
        async with w.open("bot", state=state, ack="next") as bot:
            assert await texts(bot.events(MessageReceived), 3) == ["2", "3", "4"]


async def test_what_nobody_has_taken_is_not_behind_the_user(autojump_clock):
    state = {}
    async with world("Tom") as (w, tom):
        chat = await tom.create_conversation(["bot"])
        async with w.open("bot", state=state):
            await tom.send(chat, TextMessage("early"))
            await trio.sleep(10)
        async with w.open("bot", state=state) as bot:
            events = bot.events(MessageReceived, max_buffer=1)
            await tom.send(chat, TextMessage("dropped"))
            await trio.sleep(10)
        async with w.open("bot", state=state) as bot:
            events = bot.events(MessageReceived)
            assert (await texts(events, 1))[0] in {"dropped", "early"}


async def test_edits_and_news_of_the_time_between_are_told_once(autojump_clock):
    state = {}
    async with world("Tom") as (w, tom):
        chat = await tom.create_conversation(["bot"])
        sent = await tom.send(chat, TextMessage("helo"))
        async with w.open("bot", state=state) as bot:
            bot.events(MessageUpdated)
            await trio.sleep(5)
        await tom.edit(sent, TextMessage("hello"))
        for expected in ["hello"], []:
            async with w.open("bot", state=state) as bot:
                events = bot.events(MessageUpdated)
                assert await texts(events, len(expected)) == expected
                await nothing_more(events)


async def test_own_messages_of_an_earlier_run_are_not_given_to_it(autojump_clock):
    state = {}
    async with world("Tom") as (w, tom):
        chat = await tom.create_conversation(["bot"])
        for wait in (0, 60):
            async with w.open("bot", state=state) as bot:
                await bot.send(chat, TextMessage("mine"))
                await trio.sleep(wait)
            await tom.send(chat, TextMessage("yours"))
            async with w.open("bot", state=state) as bot:
                events = bot.events(MessageReceived)
                assert await texts(events, 1) == ["yours"]
                await nothing_more(events)


async def test_the_token_of_an_earlier_run_saves_the_login(scripted, autojump_clock):
    state = {}

    async def server():
        link = await scripted.log_in(token="one")
        await link.send(push(mid="a", timestamp=2000))
        await link.serve_goodbye()
        link = await scripted.log_in(token="two", last={"c": (2001, "b")})
        session = link.login.session_message
        assert (session.st, session.r) == ("one", True)
        assert session.last_unread_notif_time is None, "counters of this run begin at nothing"
        await answer_history(link, await link.receive(), item("a", 2000), item("b", 2001))
        await link.serve_goodbye()
        # Whatever speaks against the old token: then it is a login like any other.
        link = await scripted.accept()
        refused = await link.receive()
        assert refused.session_message.st == "two"
        await link.refuse(refused, 4111, "SESSION_CONFLICT")
        command = await link.welcome()
        assert (command.session_message.st, command.session_message.r) == (None, False)
        assert command.session_message.device_id == state["device_id"]
        await link.serve_goodbye()

    async with in_background(server):
        async with open_client("Tom", **scripted.options, state=state) as tom:
            assert await ids(tom.events(MessageReceived), 1) == ["a"]
        async with open_client("Tom", **scripted.options, state=state) as tom:
            assert await ids(tom.events(MessageReceived), 1) == ["b"]
        async with open_client("Tom", **scripted.options, state=state) as tom:
            assert tom.client_id == "Tom"


async def test_a_tag_is_taken_over_by_the_program_that_starts_anew(autojump_clock):
    state = {}
    async with world() as (w,):
        async with w.open("bot", tag="bot", state=state):
            pass
        async with w.open("bot", tag="bot") as other:
            events = other.events(MessageReceived)
            async with w.open("bot", tag="bot", state=state):
                with pytest.raises(SessionConflictError):
                    await anext(events)


async def test_an_id_that_the_server_made_up_is_kept(autojump_clock):
    state = {}
    async with world() as (w,):
        async with w.open(None, state=state) as first:
            pass
        async with w.open(None, state=state) as second:
            assert second.client_id == first.client_id


async def test_a_state_is_of_one_client(autojump_clock):
    state = {}
    async with world() as (w,):
        async with w.open("bot", state=state):
            pass
        with pytest.raises(StateError, match="of 'bot' in the app 'test-app', not of 'Tom'"):
            async with w.open("Tom", state=state):
                pass


async def test_writes_are_few(autojump_clock, monkeypatch):
    writes = []
    monkeypatch.setattr(
        state_module.StateMapping, "write", lambda _self, saved: writes.append(saved)
    )
    async with world("Tom") as (w, tom):
        chat = await tom.create_conversation(["bot"])
        async with w.open("bot", state={}) as bot:
            events = bot.events(MessageReceived)
            for number in range(100):
                await tom.send(chat, TextMessage(str(number)))
                await trio.sleep(0.05)
            await texts(events, 100)
            assert len(writes) <= 8
            await trio.sleep(15)
            before = len(writes)
            await trio.sleep(3600)
            assert len(writes) == before, "nothing has changed"
        assert writes[-1].conversations[chat.id].mark[1] == (await tom.history_page(chat))[-1].id


# Files.


@asynccontextmanager
async def bot_of(server, path, name="bot"):
    async with open_client(
        name, app_id=server.app_id, app_key=server.app_key, server=server.url, state=path
    ) as client:
        yield client


async def test_a_file_is_private_whole_and_claimed_by_one(tmp_path):
    path = tmp_path / "bot.state"
    async with open_server() as server:
        async with bot_of(server, path) as bot:
            with pytest.raises(StateInUse, match="in use by another client"):
                async with bot_of(server, path):
                    pass
            program = (
                "import sys\n"
                "from pathlib import Path\n"
                "from trio_realtime._io.state import StateFile\n"
                "StateFile(Path(sys.argv[1])).open()\n"
            )
            result = await trio.run_process(
                [sys.executable, "-c", program, str(path)],
                check=False,
                capture_stderr=True,
                stdout=subprocess.DEVNULL,
            )
            assert b"StateInUse" in result.stderr
            chat = await bot.create_conversation(["Tom"])
            async with bot_of(server, tmp_path / "tom.state", "Tom") as tom:
                await tom.send(chat, TextMessage("one"))
            events = bot.events(MessageReceived)
            await anext(events)
        async with bot_of(server, tmp_path / "tom.state", "Tom") as tom:
            await tom.send(chat, TextMessage("two"))
        async with bot_of(server, str(path)) as bot:
            events = bot.events(MessageReceived)
            assert await texts(events, 1) == ["two"]
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "bot.state",
        "bot.state.lock",
        "tom.state",
        "tom.state.lock",
    ]
    if sys.platform != "win32":
        assert {stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()} == {0o600}
    saved = json.loads(path.read_bytes())
    assert (saved["format"], saved["version"], saved["client_id"]) == ("trio-realtime", 1, "bot")


@pytest.mark.parametrize(
    ("contents", "error", "words"),
    [
        (b"", StateDamaged, "damaged"),
        (b"{", StateDamaged, "damaged"),
        (b"\xff\xfe", StateDamaged, "damaged"),
        (b"[]", StateDamaged, "damaged"),
        (b'{"version": 1}', StateDamaged, "missing required field"),
        (b'{"version": 2}', StateError, "of version 2; this program knows 1"),
        (b"[" * 100_000, StateDamaged, "damaged"),
    ],
)
def test_what_is_no_state_is_said_to_be_none(contents, error, words, tmp_path):
    path = tmp_path / "state"
    path.write_bytes(contents)
    store = StateFile(path)
    with pytest.raises(error, match=words) as caught:
        store.open()
    assert type(caught.value) is error
    assert str(path) in str(caught.value)
    assert path.read_bytes() == contents, "it is left as it was"
    store.close()


SAVED = saved_state.SavedState(
    app_id="a",
    client_id="c",
    device_id="d",
    token=None,
    token_expires_at=0,
    complete_until=1,
    patch_time=None,
    notification_time=None,
)
LATER = attrs.evolve(SAVED, complete_until=2)


@pytest.mark.parametrize(
    "changes",
    [
        {"complete_until": 2**62},
        {"complete_until": 2**80},
        {"complete_until": -5},
        {"complete_until": None},
        {"complete_until": 1.5},
        {"patch_time": 2**64},
        {"notification_time": -(2**62)},
        {"token": 5},
        {"client_id": ""},
        {"client_id": "x" * 65},
        {"device_id": "\ud83d"},
        {"conversations": []},
        {"conversations": {"c": {"mark": [2**70, "a"]}}},
        {"conversations": {"c": {"mark": ["x", "a"]}}},
        {"conversations": {"c": {"mark": [1, "a", 2]}}},
        {"conversations": {"c": {"mark": [1, "a"], "ahead": {"b": 2**63}}}},
        {"notices": [["Invited", "c", 10**18]]},
        {"version": "1"},
        {"version": 0},
        {"format": "other"},
    ],
)
def test_absurd_contents_are_damage(changes):
    with pytest.raises(StateDamaged, match="the saved state is damaged"):
        saved_state.read({**saved_state.document(SAVED), **changes})


@pytest.mark.parametrize(
    "ahead",
    [
        {"complete_until": 4102444800000},
        {"patch_time": 4102444800000},
        {"conversations": {"c": {"mark": [4102444800000, "a"]}}},
    ],
)
async def test_a_state_from_the_future_is_refused(ahead, autojump_clock):
    state = {}
    async with world() as (w,):
        async with w.open("bot", state=state):
            pass
        before = dict(state)
        state.update(ahead)
        with pytest.raises(StateDamaged, match="of 2100-01-01, which its server has not reached"):
            async with w.open("bot", state=state):
                pass
        assert state == {**before, **ahead}, "it is left as it was"
        async with w.open("bot", state=before):
            pass


class Killed(BaseException):
    pass


def refuse(*_args, **_options):
    raise OSError(errno.ENOSPC, "No space left on device")


def die(*_args, **_options):
    raise Killed


STEPS = [
    (state_module.os, "open"),
    (saved_state, "encoded"),
    (state_module.os, "fsync"),
    (Path, "replace"),
    (state_module, "sync_folder"),
]


@pytest.mark.parametrize(("place", "name"), STEPS, ids=[name for _, name in STEPS])
@pytest.mark.parametrize("fault", [refuse, die])
def test_a_write_that_stops_anywhere_leaves_the_old_state_or_the_new(
    fault, place, name, tmp_path, monkeypatch
):
    store = StateFile(tmp_path / "state")
    assert store.open() is None
    store.write(SAVED)
    with monkeypatch.context() as patched:
        patched.setattr(place, name, fault)
        with pytest.raises((StateError, Killed)) as caught:
            store.write(LATER)
    if fault is refuse:
        assert "No space left on device" in str(caught.value)
        assert not (tmp_path / "state.new").exists(), "the disk is full enough"
    store.close()
    again = StateFile(tmp_path / "state")
    assert again.open() == (LATER if name == "sync_folder" else SAVED)
    again.write(LATER)
    again.close()
    assert saved_state.decoded((tmp_path / "state").read_bytes()) == LATER


async def test_a_full_disk_is_told_once_and_written_when_there_is_room(
    tmp_path, monkeypatch, caplog
):
    path = tmp_path / "state"
    monkeypatch.setattr(state_module, "INTERVAL", 0.01)
    async with open_server() as server, bot_of(server, path) as bot:
        chat = await bot.create_conversation(["Tom"])
        events = bot.events(MessageReceived)
        async with bot_of(server, tmp_path / "tom.state", "Tom") as tom:
            with monkeypatch.context() as patched:
                patched.setattr(Path, "replace", refuse)
                await tom.send(chat, TextMessage("one"))
                await anext(events)
                with trio.fail_after(30):
                    while "No space left" not in caplog.text:  # noqa: ASYNC110 - no event is logged
                        await trio.sleep(0.01)
                await trio.sleep(0.1)
            with trio.fail_after(30):
                while "can be written again" not in caplog.text:  # noqa: ASYNC110 - likewise
                    await trio.sleep(0.01)
    assert sum(f"cannot write {path}:" in one for one in caplog.messages) == 1, caplog.text
    assert saved_state.decoded(path.read_bytes()).conversations


async def test_a_file_is_the_same_by_any_name(tmp_path, monkeypatch):
    path, alias = tmp_path / "state", tmp_path / "alias"
    alias.symlink_to(path)
    monkeypatch.chdir(tmp_path)
    async with open_server() as server:
        async with bot_of(server, "state"):
            for name in alias, path, "../" + tmp_path.name + "/state":
                with pytest.raises(StateInUse):
                    async with bot_of(server, name):
                        pass
            # Where the program goes meanwhile does not matter.
            elsewhere = tmp_path / "elsewhere"
            elsewhere.mkdir()
            monkeypatch.chdir(elsewhere)
        assert list(elsewhere.iterdir()) == []
        async with bot_of(server, alias):
            pass
    assert alias.is_symlink()


class Broken(dict):
    """A mapping whose writes fail from some time on."""

    left = 0

    def __setitem__(self, key, value):
        if not self.left:
            raise RuntimeError("the database has gone away")
        self.left -= 1
        super().__setitem__(key, value)

    def update(self, other):
        for key, value in other.items():
            self[key] = value


async def test_a_mapping_that_raises_is_told_as_what_it_is(autojump_clock):
    async with world() as (w,):
        with pytest.raises(StateError, match="the database has gone away") as told:
            async with w.open("bot", state=Broken()):
                pass
        assert isinstance(told.value.__cause__, RuntimeError)


@pytest.mark.parametrize("left", range(12))
async def test_a_mapping_that_stops_halfway_loses_nothing(left, autojump_clock):
    state = Broken()
    state.left = 10**6
    async with world("Tom") as (w, tom):
        chat = await tom.create_conversation(["bot"])
        async with w.open("bot", state=state) as bot:
            events = bot.events(MessageReceived)
            await tom.send(chat, TextMessage("1"))
            assert await texts(events, 1) == ["1"]
        await tom.send(chat, TextMessage("2"))

        async def run():
            async with w.open("bot", state=state) as bot:
                events = bot.events(MessageReceived)
                assert await texts(events, 1) == ["2"]
                await trio.sleep(60)
                await tom.send(chat, TextMessage("3"))
                state.left = left
                assert await texts(events, 1) == ["3"]
                await trio.sleep(0.5)

        with pytest.raises(StateError):
            await run()
        await tom.send(chat, TextMessage("4"))
        state.left = 10**6
        async with w.open("bot", state=state) as bot:
            events, seen = bot.events(MessageReceived), []
            with trio.move_on_after(60):
                while True:
                    seen += await texts(events, 1)
        # What the run that stopped had dealt with in its last second may come again.
        assert seen in (["3", "4"], ["4"])


async def test_a_disk_that_hangs_keeps_nobody_logged_in(tmp_path, monkeypatch):
    path = tmp_path / "state"
    hanging, goes_on, encoded = threading.Event(), threading.Event(), saved_state.encoded

    def hang(state):
        hanging.set()
        assert goes_on.wait(60)
        return encoded(state)

    monkeypatch.setattr(saved_state, "encoded", hang)
    monkeypatch.setattr(state_module, "FINAL_WRITE", 0.1)
    async with open_server() as server:

        async def run(*, task_status=trio.TASK_STATUS_IGNORED):
            with trio.CancelScope() as scope:
                task_status.started(scope)
                async with bot_of(server, path):
                    await trio.sleep_forever()

        try:
            with trio.fail_after(30), pytest.RaisesGroup(StateError):
                async with trio.open_nursery() as nursery:
                    scope = await nursery.start(run)
                    await trio.to_thread.run_sync(hanging.wait)
                    scope.cancel()
            assert server.stats().sessions == 0
            # It may still be written.
            with pytest.raises(StateInUse):
                StateFile(path).open()
        finally:
            goes_on.set()
        with trio.fail_after(30):
            while True:
                try:
                    async with bot_of(server, path):
                        break
                except StateInUse:
                    await trio.sleep(0.01)


def test_a_folder_that_is_not_there_is_said_at_once(tmp_path):
    with pytest.raises(StateError, match="No such file or directory"):
        StateFile(tmp_path / "no" / "state").open()


def test_a_folder_is_no_state(tmp_path):
    store = StateFile(tmp_path)
    with pytest.raises(StateError, match="Is a directory"):
        store.open()
    store.close()
