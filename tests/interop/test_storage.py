"""The storage SDK as a backend uses it: conversations as rows, messages in anybody's name."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import trio

from tests.interop.js_peer import HERE, PATIENCE
from trio_realtime import Message, MessageReceived, open_client
from trio_realtime.testing import open_server

pytestmark = pytest.mark.interop


@pytest.fixture(params=["leancloud-storage", "storage-4.8", "storage-4.5", "storage-3.15"])
async def seen(request):
    """What conversations.js saw, and what Jerry heard meanwhile."""
    async with (
        open_server() as server,
        open_client(
            "Jerry", app_id=server.app_id, app_key=server.app_key, server=server.url
        ) as jerry,
    ):
        keys = [request.param, server.url, server.app_id, server.app_key, server.master_key]
        with jerry.events(MessageReceived) as events, trio.fail_after(PATIENCE):
            done = await trio.run_process(
                ["node", str(HERE / "conversations.js"), *keys], capture_stdout=True
            )
            heard = [await events.receive() for _ in range(5)]
        assert server.stats().metrics.internal_errors_total == 0
    told = [(event.conversation_id, said(event.message)) for event in heard]
    return SimpleNamespace(heard=told, **json.loads(done.stdout))


def said(message: Message) -> str:
    return getattr(message, "text", None) or message.body


async def test_conversations_and_messages(seen):
    passed = datetime.now(UTC) - datetime.fromisoformat(seen.date)
    assert abs(passed) < timedelta(minutes=1)
    chat = seen.chat
    assert (chat["name"], chat["members"], chat["muted"]) == ("lunch", ["Jerry", "Tom"], [])
    assert chat["unique"]
    assert (chat["topic"], chat["served"]) == ({"dish": "cheese", "guests": 3}, 2)
    assert [[bool(flag) for flag in flags] for flags in seen.kinds] == [
        [True, False],
        [False, True],
    ]
    assert (seen.found, seen.count) == (["row 3", "row 2", "row 1"], 3)
    assert (seen.either, seen.page) == (["lunch", "row 2"], ["row 2"])
    assert (seen.gone, seen.missing, seen.nowhere) == (0, 101, 4303)
    assert seen.heard == [
        (chat["id"], "plain"),
        (chat["id"], "typed"),
        (chat["id"], "in passing"),
        (seen.service, "for Jerry alone"),
        (seen.service, "for everybody"),
    ]
    assert [row["data"] for row in seen.history][1] == "plain"
    assert json.loads(seen.history[0]["data"])["_lctext"] == "typed"
    assert seen.history[0]["from-ip"] == "127.0.0.1"
    assert seen.device == [True, ["Jerry", "news"]]
