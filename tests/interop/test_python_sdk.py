"""The storage SDK for Python, unmodified: a backend that manages conversations and messages."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace

import pytest
import trio

from tests.cli.program import APP, Program
from tests.interop.js_peer import HERE, PATIENCE
from tests.interop.storage_service import storage
from trio_realtime import MessageReceived, TextMessage, open_client
from trio_realtime.rest import open_rest

pytestmark = pytest.mark.interop

MODULES = HERE / "python_modules"


async def run_sdk(program, service_id):
    """What storage_client.py saw."""
    assert (MODULES / "leancloud").is_dir(), (
        "the Python SDK is missing; `nox -s interop` installs it"
    )
    keys = ["demo", "demo-key", "demo-master", service_id]
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [sys.executable, str(HERE / "storage_client.py"), *keys],
            capture_stdout=True,
            env={**os.environ, "PYTHONPATH": str(MODULES), "LC_API_SERVER": program.url},
        )
    return json.loads(done.stdout)


@pytest.fixture
async def seen(tmp_path):
    """What the SDK saw, and what Jerry heard meanwhile."""
    with storage() as url:
        upstream = url.removesuffix("/1.1")
        options = ["--data", tmp_path, "--app", APP, "--upstream", upstream]
        async with Program(*options) as program:
            keys = {"app_id": "demo", "server": program.url}
            async with (
                open_rest(master_key="demo-master", **keys) as rest,
                open_client("Jerry", app_key="demo-key", **keys) as jerry,
            ):
                service = await rest.create_service_conversation(name="shop")
                await jerry.send(service, TextMessage("is it open?"))
                with jerry.events(MessageReceived) as events:
                    told = await run_sdk(program, service.id)
                    heard = []
                    with trio.fail_after(PATIENCE):
                        while not heard or heard[-1][1] != "as Tom":
                            event = await events.receive()
                            heard.append((event.conversation_id, event.message.text))
                page = await jerry.history_page(told["service"]["id"])
                log = [message.text for message in page]
            yield SimpleNamespace(heard=heard, log=log, shop=service.id, **told)


async def test_all_that_it_knows_of_messaging(seen):
    chat = seen.chat
    assert (chat["name"], chat["members"], chat["muted"]) == ("lunch", ["Jerry", "Tom"], [])
    assert (chat["unique"], chat["topic"]) == (True, {"dish": "cheese", "guests": 2})
    assert seen.time - 60 < chat["created"] < seen.time + 60
    assert (seen.room["room"], seen.service["service"]) == (True, True)
    assert seen.found == ["batch 2", "batch 1"]
    assert (seen.count, seen.first, seen.gone, seen.missing) == (2, chat["id"], 0, 101)

    assert seen.history == ["with a push", "hello 2", "hello 1", "hello 0"]
    assert seen.upwards == ["hello 0", "hello 1"]
    assert seen.page == ["hello 1"]
    assert seen.row["sender"] == "Tom"
    assert (seen.row["to"], seen.row["conversation"]) == (chat["id"], f"{chat['id']}00000000")
    assert seen.row["address"] == "127.0.0.1"
    assert seen.row["flags"] == [False, True, False]
    assert (seen.sent, seen.everything) == (5, 5)
    assert seen.nowhere == 4303

    assert seen.heard == [
        *((chat["id"], f"hello {number}") for number in range(3)),
        (chat["id"], "in passing"),
        (chat["id"], "with a push"),
        (seen.service["id"], "for Jerry alone"),
        (seen.service["id"], "for everybody"),
        (seen.service["id"], "as Tom"),
    ]
    # He has not subscribed: what was said to everybody is not in his history.
    assert seen.log == ["for Jerry alone", "as Tom"]
    assert seen.wrote["from"] == "Jerry"
    assert json.loads(seen.wrote["data"])["_lctext"] == "is it open?"
    assert (seen.wrote["binary"], seen.wrote["conversation"]) == (False, seen.shop)

    assert seen.file["same"]
    assert seen.file["name"] == "three.bin"
    assert (seen.removed, seen.unfetched) == (None, 101)
    assert seen.external == {"url": "https://example.com/logo.jpg", "id": True}
    assert seen.device == {"same": True, "channels": ["Jerry", "news"]}

    assert seen.stranger == 210
    assert seen.user == {"id": "tom-id", "token": "token-of-tom"}
