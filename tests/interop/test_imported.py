"""What was imported from the service, as the npm SDK shows it."""

from __future__ import annotations

import pytest
import trio

from tests.archive.service import START, Service, conversation, message
from tests.archive.world import pull
from tests.interop.js_peer import open_js
from trio_realtime._archive.importing import Importer
from trio_realtime._archive.sources import read_sources
from trio_realtime._archive.verifying import Comparison, verify
from trio_realtime.rest import open_rest
from trio_realtime.testing import open_server

pytestmark = pytest.mark.interop


async def test_history_is_read_and_nothing_is_unread(tmp_path):
    service = Service()
    row = conversation(1, START, name="Lunch", m=["Tom", "Jerry"], c="Jerry", attr={"a": 1})
    service.conversations = [row]
    cid = row["objectId"]
    text = '{"_lctype":-1,"_lctext":"number %d"}'
    # Two of one time, from one sender.
    service.messages = [
        message(number, START + 1000 * (number // 2), cid, sender="Jerry", body=text % number)
        for number in range(50)
    ]
    await pull(service, tmp_path)
    async with (
        open_server() as server,
        open_js(server) as js,
        open_rest(app_id=server.app_id, master_key=server.master_key, server=server.url) as rest,
    ):
        importer = Importer(rest)
        await importer.run(read_sources([tmp_path]))
        assert importer.counts["messages"].new == 50
        comparison = Comparison()
        await verify(tmp_path, rest, comparison, lambda _: None)
        assert comparison.differences == []
        tom = await js.log_in("Tom")
        chat = await tom.call("getConversation", cid)
        assert (chat["name"], sorted(chat["members"])) == ("Lunch", ["Jerry", "Tom"])
        assert await chat.get("unreadMessagesCount") == 0
        found = []
        place = {}
        while page := await chat.call("queryMessages", {"limit": 7, **place}):
            found = [*page, *found]
            place = {"beforeTime": page[0]["timestamp"], "beforeMessageId": page[0]["id"]}
        assert [one["text"] for one in found] == [f"number {number}" for number in range(50)]
        assert [one["id"] for one in found] == [one["msg-id"] for one in service.messages]
        assert found[0]["from"] == "Jerry"
        # What is said from now on counts.
        await rest.send(cid, text % 50, sender="Jerry")
        with trio.fail_after(30):
            while await chat.get("unreadMessagesCount") != 1:  # noqa: ASYNC110 - the SDK decides when
                await trio.sleep(0.05)
