"""The npm SDK returns after its token has ended, where logins are signed and it signs no return."""

from __future__ import annotations

import pytest
import trio

from tests.interop.js_peer import Js, open_js
from trio_realtime.server import App, Enforcement, Limits
from trio_realtime.server.rules.signatures import login_string, sign
from trio_realtime.testing import open_server

pytestmark = pytest.mark.interop

APP = App("strict-shop", "shop-key", "shop-master-key", enforce=Enforcement(login=True))


async def test_an_expired_token_is_shown_and_replaced():
    limits = Limits(token_ttl=1)
    async with open_server(apps=[APP], limits=limits) as server, open_js(server) as js:
        now = server.server.config.clock()
        signature = sign(APP.master_key, login_string(APP.id, "Tom", now, "n"))
        # Good for one login: the SDK asks for no signature when it returns.
        factory = Js(
            "(() => { let given = 0; return () => { if (given++) throw new Error('again');"
            f" return {{ signature: '{signature}', timestamp: {now}, nonce: 'n' }}; }}; }})()"
        )
        tom = await js.log_in("Tom", {"signatureFactory": factory})
        await trio.sleep(1.5)
        await js.drop()
        await tom.next_event("reconnect")
        chat = await tom.call("createConversation", {"members": ["Jerry"]})
        await chat.call("send", await js.text("here again"))
        assert server.stats().metrics.refusals[4112] == 1
        assert server.stats().metrics.refusals[4102] == 0
