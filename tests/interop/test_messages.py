"""Everything the npm SDK and its plugin do with messages, with a client of ours on the other side."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio

from tests.interop.js_peer import PATIENCE, Js, JsError, open_js
from trio_realtime import (
    AudioMessage,
    File,
    FileMessage,
    GeoPoint,
    ImageMessage,
    LocationMessage,
    MessageDelivered,
    MessageRead,
    MessageRecalled,
    MessageReceived,
    MessageUpdated,
    RecalledMessage,
    SendOptions,
    TextMessage,
    Unread,
    VideoMessage,
)

pytestmark = pytest.mark.interop


async def next_of(events):
    with trio.fail_after(PATIENCE):
        return await anext(events)


@pytest.fixture
async def media_js(server):
    """A node process with the plugin for typed messages, and the storage SDK set up."""
    plugins = Js("[TypedMessagesPlugin]")
    async with open_js(server, plugins=plugins) as js:
        await js.call(
            "AV",
            "init",
            {"appId": server.app_id, "appKey": server.app_key, "serverURL": server.url},
        )
        yield js


@pytest.fixture
async def talk(media_js, log_in):
    """JavaScript Tom, Python Jerry, their conversation on both sides, and Jerry's inbox."""
    async with log_in("Jerry") as jerry:
        tom = await media_js.log_in("Tom")
        chat = await tom.call("createConversation", {"members": ["Jerry"]})
        yield media_js, tom, chat, jerry, jerry.events(MessageReceived)


OLD_TO_NEW = Js("MessageQueryDirection.OLD_TO_NEW")
COLLECT = Js(
    """async function (limit) {
        const iterator = this.createMessagesIterator({ limit });
        const texts = [];
        for (;;) {
            const { value, done } = await iterator.next();
            (value || []).slice().reverse().forEach((message) => texts.push(message.text));
            if (done) return texts;
        }
    }"""
)
BYTES = bytes(range(256)) * 40


@pytest.mark.parametrize(
    ("js_class", "ours", "name"),
    [
        ("ImageMessage", ImageMessage, "p.png"),
        ("AudioMessage", AudioMessage, "a.mp3"),
        ("VideoMessage", VideoMessage, "v.mp4"),
        ("FileMessage", FileMessage, "n.bin"),
    ],
)
async def test_files_from_javascript_arrive_in_python(talk, js_class, ours, name):
    js, _tom, chat, jerry, inbox = talk
    file = await js.new("File", name, Js(f"Buffer.from('{BYTES.hex()}', 'hex')"))
    await file.call("save")
    message = await js.new(js_class, file)
    await message.call("setText", "caption")
    await message.call("setAttributes", {"album": "猫"})
    await chat.call("send", message)
    event = await next_of(inbox)
    got = event.message
    assert type(got) is ours
    assert (got.text, got.attributes) == ("caption", {"album": "猫"})
    assert got.file.id == await file.get("id")
    async with jerry.download(got.file) as pieces:
        data = b"".join([piece async for piece in pieces])
    assert data == BYTES


async def test_files_from_python_arrive_in_javascript(talk):
    js, tom, chat, jerry, _inbox = talk
    file = await jerry.upload(File.from_bytes("p.png", BYTES, mime_type="image/png"))
    await jerry.send(chat["id"], ImageMessage(file, text="look"))
    [message, _where] = await tom.next_event("message")
    assert (message.kind, message["text"]) == ("ImageMessage", "look")
    theirs = await message.call("getFile")
    url = await theirs.call("url")
    assert url == file.url
    assert await theirs.call("name") == "p.png"
    assert await theirs.call("size") == len(BYTES)
    await chat.set("grab", Js("async (url) => (await fetch(url)).arrayBuffer()"))
    assert await chat.call("grab", url) == BYTES
    again = await js.call("AV", "request", {"path": f"/files/{file.id}", "method": "GET"})
    assert again["url"] == file.url


async def test_places_travel_both_ways(talk):
    js, tom, chat, jerry, inbox = talk
    point = await js.new("GeoPoint", 31.7, 118.8)
    await chat.call("send", await js.new("LocationMessage", point))
    message = (await next_of(inbox)).message
    assert isinstance(message, LocationMessage)
    assert message.location == GeoPoint(31.7, 118.8)
    await jerry.send(chat["id"], LocationMessage(GeoPoint(-1.5, 2.5), text="here"))
    [theirs, _where] = await tom.next_event("message")
    place = await theirs.call("getLocation")
    assert (place["latitude"], place["longitude"]) == (-1.5, 2.5)


async def test_every_option_of_sending(talk, media_js):
    _js, _tom, chat, jerry, inbox = talk
    receipts = jerry.events(MessageDelivered, MessageRead)
    await chat.listen()
    text = await media_js.text("mention")
    await text.call("setMentionList", ["Jerry"])
    await chat.call("send", text, {"receipt": True, "pushData": {"alert": "x"}})
    message = (await next_of(inbox)).message
    assert message.mentioned
    await chat.next_event("lastdeliveredatupdate")
    assert await chat.get("lastDeliveredAt") >= message.timestamp
    await jerry.read(chat["id"])
    await chat.next_event("lastreadatupdate")
    assert await chat.get("lastReadAt") >= message.timestamp
    everybody = await media_js.text("everybody")
    await everybody.call("mentionAll")
    await chat.call("send", everybody, {"priority": 1})
    assert (await next_of(inbox)).message.mention_all
    await chat.call("send", await media_js.text("typing"), {"transient": True})
    assert (await next_of(inbox)).message.transient
    sent = await jerry.send(chat["id"], TextMessage("back"), SendOptions(receipt=True))
    delivered = await next_of(receipts)
    assert (delivered.message_id, delivered.by) == (sent.id, "Tom")
    await chat.call("read")
    read = await next_of(receipts)
    assert isinstance(read, MessageRead)
    await chat.call("fetchReceiptTimestamps")
    assert await chat.get("lastReadAt") is not None


async def test_a_will_of_javascript_is_carried_out(talk, media_js):
    js, _tom, chat, _jerry, inbox = talk
    await chat.call("send", await media_js.text("farewell"), {"will": True})
    await js.drop()
    assert (await next_of(inbox)).message.text == "farewell"


async def test_unread_counts_of_javascript(talk, media_js):
    _js, tom, chat, jerry, _inbox = talk
    await jerry.send(chat["id"], TextMessage("one", mentions=["Tom"]))
    await tom.next_event("message")
    assert await chat.get("unreadMessagesCount") == 1
    assert await chat.get("unreadMessagesMentioned") is True
    await chat.call("read")
    await jerry.send(chat["id"], TextMessage("two"))
    await tom.next_event("message")
    assert await chat.get("unreadMessagesCount") <= 1
    await chat.call("send", await media_js.text("mine"))
    await trio.sleep(0.1)
    assert jerry.unread(chat["id"]) == Unread(1)


async def test_editing_and_recalling_both_ways(talk, media_js):
    _js, tom, chat, jerry, _inbox = talk
    changes = jerry.events(MessageUpdated, MessageRecalled)
    sent = await chat.call("send", await media_js.text("helo"))
    await chat.call("update", sent, await media_js.text("hello"))
    event = await next_of(changes)
    assert (event.message.id, event.message.text) == (sent["id"], "hello")
    recalled = await chat.call("recall", sent)
    assert recalled.kind == "RecalledMessage"
    event = await next_of(changes)
    assert isinstance(event.message, RecalledMessage)
    ours = await jerry.send(chat["id"], TextMessage("mine"))
    await tom.next_event("message")
    await jerry.edit(ours, TextMessage("better"))
    [message, _reason, *_rest] = [*(await tom.next_event("messageupdate")), None]
    assert (message["id"], message["text"]) == (ours.id, "better")
    await jerry.recall(ours)
    [message, *_rest] = await tom.next_event("messagerecall")
    assert message["id"] == ours.id
    with pytest.raises(JsError, match="not allowed"):
        await chat.call("update", message, await media_js.text("not mine"))


async def test_every_option_of_history(talk, media_js):
    _js, _tom, chat, jerry, _inbox = talk
    sent = []
    for n in range(8):
        if n % 2:
            sent.append(await jerry.send(chat["id"], TextMessage(str(n))))
        else:
            await chat.call("send", await media_js.text(str(n)))
            sent.append((await jerry.history_page(chat["id"], limit=1))[0])

    async def query(**options):
        return [m["text"] for m in await chat.call("queryMessages", options)]

    everything = [str(n) for n in range(8)]
    assert await query() == everything
    assert await query(limit=3) == everything[-3:]
    assert await query(beforeTime=sent[4].timestamp, beforeMessageId=sent[4].id, limit=2) == [
        "2",
        "3",
    ]
    assert await query(startTime=sent[2].timestamp, startMessageId=sent[2].id, direction=OLD_TO_NEW,
                       limit=2, startClosed=True) == ["2", "3"]  # fmt: skip
    assert await query(startTime=sent[6].timestamp, startMessageId=sent[6].id,
                       endTime=sent[3].timestamp, endMessageId=sent[3].id) == ["4", "5"]  # fmt: skip
    assert await query(type=-1) == everything
    assert await query(type=-2) == []
    assert await query(limit=0) == []
    await chat.set("collect", COLLECT)
    assert await chat.call("collect", 3) == everything[::-1]


async def test_signatures_are_enforced_alike(log_in, server, js):
    """Bogus signatures are ignored where nothing is enforced: the original tests rely on it."""
    factory = Js("() => ({ signature: 'nonsense', timestamp: 1, nonce: 'n' })")
    tom = await js.log_in(
        "Tom",
        {
            "signatureFactory": factory,
            "conversationSignatureFactory": factory,
            "blacklistSignatureFactory": factory,
        },
    )
    chat = await tom.call("createConversation", {"members": ["Jerry"], "unique": False})
    await chat.call("add", ["Mary"])
    await chat.call("blockMembers", ["Mary"])
    sent = await chat.call("send", await js.text("hi"))
    async with log_in("Jerry") as jerry:
        (message,) = await jerry.history_page(chat["id"])
        assert abs(message.timestamp - sent["timestamp"]) < timedelta(milliseconds=1)
