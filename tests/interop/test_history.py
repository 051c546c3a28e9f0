"""A server that demands signatures for history over REST, and the npm SDK, which signs none."""

from __future__ import annotations

import httpx2
import pytest

from tests.interop.js_peer import open_js
from trio_realtime.server import App, Enforcement
from trio_realtime.server.rules.signatures import history_string, sign
from trio_realtime.testing import open_server

pytestmark = pytest.mark.interop

APP = App("strict-shop", "shop-key", "shop-master-key", enforce=Enforcement(history=True))


async def test_members_read_on_their_connection_and_over_rest_with_a_signature():
    async with open_server(apps=[APP]) as server, open_js(server) as js:
        tom = await js.log_in("Tom")
        chat = await tom.call("createConversation", {"members": ["Jerry"]})
        for text in ("one", "two"):
            await chat.call("send", await js.text(text))
        messages = await chat.call("queryMessages", {"limit": 10})
        assert len(messages) == 2
        cid = await chat.get("id")
        now = server.server.config.clock()
        query = {
            "client_id": "Tom",
            "nonce": "n",
            "signature_ts": now,
            "signature": sign(APP.master_key, history_string(APP.id, "Tom", cid, "n", now)),
        }
        headers = {"X-LC-Id": APP.id, "X-LC-Key": APP.key}
        url = f"{server.url}/1.2/rtm/conversations/{cid}/messages"
        async with httpx2.AsyncClient(headers=headers) as client:
            assert len((await client.get(url, params=query)).json()) == 2
            del query["signature"]
            assert (await client.get(url, params=query)).json()["code"] == 4312
