"""The npm SDK with itself: several clients on one socket, and on several."""

from __future__ import annotations

import pytest

from tests.interop.js_peer import JsError, open_js

pytestmark = pytest.mark.interop


async def test_two_clients_on_one_socket(server, js):
    tom = await js.log_in("Tom")
    jerry = await js.log_in("Jerry")
    assert server.stats().connections == 1
    assert server.stats().sessions == 2

    chat = await tom.call("createConversation", {"members": ["Jerry"], "name": "Tom & Jerry"})
    [invitation, _] = await jerry.next_event("invited")
    assert invitation == {"invitedBy": "Tom"}

    sent = await chat.call("send", await js.text("到了叫我 📬"))
    [received, where] = await jerry.next_event("message")
    assert (received["text"], received["from"], received["id"]) == (
        "到了叫我 📬",
        "Tom",
        sent["id"],
    )
    assert where["name"] == "Tom & Jerry"
    assert sorted(where["members"]) == ["Jerry", "Tom"]

    await where.call("send", await js.text("Out of bed already!"))
    [answer, _] = await tom.next_event("message")
    assert (answer["text"], answer["from"]) == ("Out of bed already!", "Jerry")


async def test_messages_go_to_their_client_only(js):
    tom = await js.log_in("Tom")
    jerry = await js.log_in("Jerry")
    mary = await js.log_in("Mary")
    chat = await tom.call("createConversation", {"members": ["Jerry"]})
    await chat.call("send", await js.text("for Jerry"))
    await jerry.next_event("message")
    both = await tom.call("createConversation", {"members": ["Jerry", "Mary"]})
    await both.call("send", await js.text("for both"))
    [seen, _] = await mary.next_event("message")
    assert seen["text"] == "for both"
    assert mary.seen("message") == []
    assert tom.seen("message") == []


async def test_two_processes(server, js):
    async with open_js(server) as other:
        tom = await js.log_in("Tom")
        jerry = await other.log_in("Jerry")
        assert server.stats().connections == 2
        assert await tom.call("ping", ["Jerry", "Nobody"]) == ["Jerry"]
        chat = await tom.call("createConversation", {"members": ["Jerry"]})
        await chat.call("send", await js.text("over there"))
        [received, _] = await jerry.next_event("message")
        assert received["text"] == "over there"


async def test_one_client_leaves_and_the_other_stays(server, js):
    tom = await js.log_in("Tom")
    jerry = await js.log_in("Jerry")
    await jerry.call("close")
    assert await tom.call("ping", ["Tom", "Jerry"]) == ["Tom"]
    assert server.stats().sessions == 1


async def test_a_refusal_reaches_the_program(js):
    tom = await js.log_in("Tom")
    chat = await tom.call("createConversation", {"members": ["Jerry"]})
    await chat.call("quit")
    with pytest.raises(JsError) as refused:
        await chat.call("send", await js.text("still here?"))
    assert refused.value.code == 4401
    assert refused.value.name == "INVALID_MESSAGING_TARGET"
