"""Every public operation, cancelled at every point where it can be.

Afterwards nothing of it is left: no command that waits, no task, no timer; and the client
works on. A test makes sure that no operation was forgotten.
"""

from __future__ import annotations

import gc
import inspect
import threading

import attrs
import pytest
import trio

from tests.client.world import world
from trio_realtime import (
    BoundQuery,
    File,
    IMClient,
    LocalFile,
    MessageReceived,
    MessageRef,
    Role,
    TextMessage,
    open_client,
    open_connection,
)


@attrs.frozen
class Stage:
    """What the operations work on."""

    tom: IMClient
    jerry: IMClient
    chat: object
    room: object
    service: str
    message: object
    file: File
    options: dict


async def all_of(iterator):
    return [item async for item in iterator]


async def downloaded(stage):
    async with stage.tom.download(stage.file) as pieces:
        return b"".join([piece async for piece in pieces])


async def one_event(stage):
    events = stage.tom.events(MessageReceived)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.jerry.send, stage.chat, TextMessage("an event"))
        await anext(events)
        nursery.cancel_scope.cancel()


async def visit(stage):
    async with open_client("Visitor", **stage.options) as visitor:
        await visitor.online(["Tom"])


async def visit_on_a_shared_connection(stage):
    async with (
        open_connection(**stage.options) as connection,
        connection.open_client("Guest") as guest,
    ):
        await guest.close()


async def resumed(stage):
    stage.tom.pause()
    await trio.lowlevel.checkpoint()
    stage.tom.resume()
    await stage.tom.online(["Tom"])


OPERATIONS = {
    "add_members": lambda s: s.tom.add_members(s.chat, ["Mary"]),
    "block_members": lambda s: s.tom.block_members(s.chat, ["Spike"]),
    "blocked_page": lambda s: s.tom.blocked_page(s.chat),
    "close": None,  # ends the client: see `visit_on_a_shared_connection`
    "count_members": lambda s: s.tom.count_members(s.chat),
    "create_chat_room": lambda s: s.tom.create_chat_room(name="room"),
    "create_conversation": lambda s: s.tom.create_conversation(["Mary"], unique=False),
    "create_temporary_conversation": lambda s: s.tom.create_temporary_conversation(["Mary"]),
    "download": downloaded,
    "edit": lambda s: s.tom.edit(s.message, TextMessage("better")),
    "fetch_receipts": lambda s: s.tom.fetch_receipts(s.chat),
    "get_conversation": lambda s: s.tom.get_conversation(s.chat.id, refresh=True),
    "get_conversations": lambda s: s.tom.get_conversations([s.chat.id], refresh=True),
    "get_member_info": lambda s: s.tom.get_member_info(s.chat, "Jerry"),
    "get_member_infos": lambda s: s.tom.get_member_infos(s.chat),
    "history": lambda s: all_of(s.tom.history(s.chat)),
    "history_page": lambda s: s.tom.history_page(s.chat),
    "is_member": lambda s: s.tom.is_member([s.chat]),
    "join": lambda s: s.tom.join(s.room),
    "mute": lambda s: s.tom.mute(s.chat),
    "online": lambda s: s.tom.online(["Jerry"]),
    "online_members": lambda s: s.tom.online_members(s.room),
    "quit": lambda s: s.tom.quit(s.room),
    "read": lambda s: s.tom.read(s.chat),
    "recall": lambda s: s.tom.recall(MessageRef(s.chat.id, s.message.id, s.message.timestamp)),
    "register_file": lambda s: s.tom.register_file("https://example.com/x", name="x"),
    "remove_members": lambda s: s.tom.remove_members(s.chat, ["Mary"]),
    "send": lambda s: s.tom.send(s.chat, TextMessage("x")),
    "set_role": lambda s: s.tom.set_role(s.chat, "Jerry", Role.MANAGER),
    "silence_members": lambda s: s.tom.silence_members(s.chat, ["Jerry"]),
    "silenced_page": lambda s: s.tom.silenced_page(s.chat),
    "subscribe": lambda s: s.tom.subscribe(s.service),
    "unblock_members": lambda s: s.tom.unblock_members(s.chat, ["Spike"]),
    "unmute": lambda s: s.tom.unmute(s.chat),
    "unsilence_members": lambda s: s.tom.unsilence_members(s.chat, ["Jerry"]),
    "unsubscribe": lambda s: s.tom.unsubscribe(s.service),
    "update_conversation": lambda s: s.tom.update_conversation(s.chat, name="name"),
    "upload": lambda s: s.tom.upload(LocalFile.from_bytes("a.txt", b"content")),
    "which_blocked": lambda s: s.tom.which_blocked(s.chat, ["Spike"]),
    "which_silenced": lambda s: s.tom.which_silenced(s.chat, ["Jerry"]),
}

MORE = {
    "query": lambda s: all_of(s.tom.query()),
    "query_find": lambda s: s.tom.query().find(),
    "query_first": lambda s: s.tom.query().first(),
    "sending": lambda s: s.tom.sending(s.chat, TextMessage("x")).send(),
    "events": one_event,
    "open_client": visit,
    "open_connection": visit_on_a_shared_connection,
    "pause_and_resume": resumed,
}


def is_awaited(function):
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    return any(kind(inspect.unwrap(function)) for kind in kinds)


def test_no_operation_is_forgotten():
    public = {
        name
        for name, function in inspect.getmembers(IMClient, inspect.isfunction)
        if not name.startswith("_") and (is_awaited(function) or name == "history")
    }
    assert public == set(OPERATIONS)
    assert [name for name in ("find", "first") if not hasattr(BoundQuery, name)] == []


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when a task has gone this many steps."""

    def __init__(self, task, steps, scope):
        self._task, self._left, self._scope = task, steps, scope

    def after_task_step(self, task):
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def attempt(operation, steps):
    """Run an operation in a task of its own; False if it was cancelled at that step."""
    finished = False
    async with trio.open_nursery() as nursery:

        async def run():
            nonlocal finished
            instrument = CancelAtStep(trio.lowlevel.current_task(), steps, nursery.cancel_scope)
            trio.lowlevel.add_instrument(instrument)
            try:
                await operation()
                finished = True
            finally:
                trio.lowlevel.remove_instrument(instrument)

        nursery.start_soon(run)
    return finished


@pytest.mark.parametrize("name", sorted(name for name, op in (OPERATIONS | MORE).items() if op))
async def test_a_cancelled_operation_leaves_nothing(name, autojump_clock):
    operation = (OPERATIONS | MORE)[name]
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"], unique=False)
        room = await tom.create_chat_room(name="here")
        stage = Stage(
            tom,
            jerry,
            chat,
            room,
            await w.server.server.create_service_conversation(w.server.app_id, name="news"),
            await tom.send(chat, TextMessage("hello")),
            await tom.upload(LocalFile.from_bytes("b.txt", b"content")),
            {
                "app_id": w.server.app_id,
                "app_key": w.server.app_key,
                "server": w.server.url,
                "open_stream": w.server.open_stream,
            },
        )
        session = tom._session
        await trio.sleep(100)
        threads = threading.enumerate()
        tasks = trio.lowlevel.current_statistics().tasks_living
        connections = w.server.stats().connections
        steps = 0
        while True:
            steps += 1
            finished = await attempt(lambda: operation(stage), steps)
            if name == "pause_and_resume":
                # The client itself asks what it missed.
                tom.resume()
            else:
                assert len(session.commands.pending) == 0, steps
            await trio.sleep(30)
            assert len(session.commands.pending) == 0, steps
            assert len(session.connection.serials) == 0, steps
            assert trio.lowlevel.current_statistics().tasks_living == tasks, steps
            assert w.server.stats().connections == connections, steps
            assert tom.state.name == "CONNECTED", steps
            if finished:
                break
            assert steps < 500
        assert steps > 1
        # Only workers of trio's pool may be new, which wait for the next file.
        new = [thread.name for thread in threading.enumerate() if thread not in threads]
        assert len(new) <= 1, new
        assert all(name.startswith("Trio thread") for name in new), new
        assert (await tom.send(chat, TextMessage("still here"))).id
        gc.collect()
