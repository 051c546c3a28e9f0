"""Misuse gets one clear sentence of ours, before anything is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf, nan

import attrs
import pytest

from tests.client.world import world
from trio_realtime import (
    BinaryMessage,
    ConversationQuery,
    File,
    LocationMessage,
    Message,
    MessagePriority,
    MessageRef,
    Role,
    RoutingError,
    SendOptions,
    TextMessage,
    open_client,
)

GOOD = {"app_id": "demo", "app_key": "key", "server": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        (ValueError, {"transport": "x"}, "there is no transport 'x': it is one of 'auto', 'trio"),
        (
            ValueError,
            {"offline_messages": "x"},
            "there is no offline_messages 'x': .* 'unread', 'p",
        ),
        (ValueError, {"ack": "nxt"}, "there is no ack 'nxt': it is one of 'delivery', 'next'"),
        (ValueError, {"dialect": ["json"]}, r"there is no dialect \['json'\]"),
        (TypeError, {"rtm_servers": "wss://a"}, "several WebSocket URLs, in a list: not 'wss://a'"),
        (TypeError, {"rtm_servers": 5}, "several WebSocket URLs, in a list: not 5"),
        (ValueError, {"rtm_servers": ["http://a"]}, "each of rtm_servers must be an ws:// or wss"),
        (TypeError, {"server": 5}, "server is a text, not 5"),
        (ValueError, {"server": "127.0.0.1:80"}, "server must be an http:// or https:// URL"),
        (ValueError, {"server": "http://"}, "server must be an http:// or https:// URL"),
        (ValueError, {"server": "http://a b"}, "'a b' is no host name"),
        (ValueError, {"server": "http://" + "a" * 64}, "is no host name"),
        (ValueError, {"server": "http://a..b"}, "is no host name"),
        (ValueError, {"server": "http://a:port"}, "Port could not be cast"),
        (ValueError, {"server": "http://[::1"}, "Invalid IPv6"),
        (ValueError, {"server": "http://\ud83d.example"}, "lone surrogate"),
        (TypeError, {"app_id": None}, "app_id is a text, not None"),
        (ValueError, {"app_key": ""}, "app_key is empty"),
        (TypeError, {"client_id": 5}, "the client id is a text, not 5"),
        (ValueError, {"client_id": ""}, "the client id is empty"),
        (ValueError, {"client_id": "x" * 65}, "the client id has at most 64 characters, not 65"),
        (ValueError, {"client_id": "\ud83d"}, "the client id contains half of a character"),
        (TypeError, {"tag": 5}, "the tag is a text, not 5"),
        (TypeError, {"state": 5}, "state is a file or a mapping, not 5"),
        (ValueError, {"state": {}, "catch_up": False}, "which takes catch_up"),
        (TypeError, {"history_quota": "5"}, "history_quota is a number, not '5'"),
        (ValueError, {"history_quota": 0}, "history_quota is at least 1 a minute, not 0"),
        (TypeError, {"command_timeout": "5"}, "command_timeout is a number of seconds, not '5'"),
        (ValueError, {"connect_timeout": float("nan")}, "connect_timeout is a time to wait"),
        (ValueError, {"state": ""}, "state is the name of a file, not ''"),
        (ValueError, {"state": "a\0b"}, "state is the name of a file, not 'a"),
        (TypeError, {"ssl_context": True}, "ssl_context is an ssl.SSLContext, not True"),
        (TypeError, {"open_stream": 5}, "open_stream is a function that opens a stream, not 5"),
        (TypeError, {"message_types": TextMessage}, "message_types is a list of classes made with"),
        (TypeError, {"message_types": [str]}, "message_types is a list of classes made with"),
        (TypeError, {"plugins": [5]}, r"plugins is a list of Plugin\(...\), not \[5\]"),
        (TypeError, {"plugins": 5}, r"plugins is a list of Plugin\(...\), not 5"),
        (TypeError, {"sign_login": "x"}, "sign_login is a function that signs, not 'x'"),
        (TypeError, {"sign_block_list": 5}, "sign_block_list is a function that signs, not 5"),
        (TypeError, {"user_session_token": 5}, "user_session_token is a text, not 5"),
        (ValueError, {"user_session_token": ""}, "user_session_token is empty"),
        (TypeError, {"catch_up": "no"}, "catch_up is True or False, not 'no'"),
    ],
)
async def test_arguments_of_a_client(kind, options, sentence):
    with pytest.raises(kind, match=sentence):
        async with open_client(**{**GOOD, **options}):
            pass


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        (ValueError, {"priority": 9}, "no priority 9: a MessagePriority is one of 1, 2, 3"),
        (ValueError, {"priority": True}, "no priority True"),
        (ValueError, {"priority": "high"}, "no priority 'high'"),
        (TypeError, {"transient": "yes"}, "transient is True or False, not 'yes'"),
        (TypeError, {"receipt": 1}, "receipt is True or False, not 1"),
        (TypeError, {"will": []}, r"will is True or False, not \[\]"),
        (TypeError, {"push_data": "x"}, "push_data is a mapping, not 'x'"),
        (TypeError, {"push_data": {1: 2}}, "push_data cannot be sent: keys of JSON objects are"),
        (TypeError, {"push_data": {"a": b"x"}}, "push_data cannot be sent: bytes cannot be exp"),
        (ValueError, {"push_data": {"a": float("nan")}}, "push_data cannot be sent: nan cannot be"),
    ],
)
def test_how_a_message_is_sent(kind, options, sentence):
    with pytest.raises(kind, match=sentence):
        SendOptions(**options)


def test_a_priority_may_be_its_number():
    assert SendOptions(priority=1).priority is MessagePriority.HIGH


@pytest.mark.parametrize(
    ("kind", "make", "sentence"),
    [
        (TypeError, lambda: TextMessage(5), "^text is a text, not 5$"),
        (TypeError, lambda: Message(5), "^body is a text, not 5$"),
        (TypeError, lambda: LocationMessage("here"), "location of a message is a GeoPoint, not"),
        (TypeError, lambda: TextMessage("hi", mentions=5), "^mentions are client ids, not 5$"),
        (TypeError, lambda: TextMessage("hi", mentions=["a", 5]), "mentioned is a text, not 5"),
        (TypeError, lambda: File(5), "^url is a text, not 5$"),
        (ValueError, lambda: ConversationQuery().greater_than("a", float("nan")), "^nan cannot be"),
        (TypeError, lambda: ConversationQuery().contains_members(5), "expected several values"),
    ],
)
def test_values(kind, make, sentence):
    with pytest.raises(kind, match=sentence):
        make()


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        (TypeError, {"own": "no"}, "own is True or False, not 'no'"),
        (TypeError, {"max_buffer": "5"}, "max_buffer is an integer, not '5'"),
        (TypeError, {"max_buffer": 1.5}, "max_buffer is an integer, not 1.5"),
        (TypeError, {"max_buffer": True}, "max_buffer is an integer, not True"),
        (ValueError, {"max_buffer": 0}, "max_buffer is at least 1, not 0"),
    ],
)
async def test_options_of_a_subscription(kind, options, sentence, autojump_clock):
    async with world("Tom") as (_w, tom):
        with pytest.raises(kind, match=sentence):
            tom.events(**options)


async def test_options_of_operations(autojump_clock):
    async with world("Tom") as (_w, tom):
        chat = await tom.create_conversation(["Jerry"])
        for kind, sentence, attempt in [
            (TypeError, "options are SendOptions", lambda: tom.send(chat, "x", options=5)),
            (TypeError, "retry is True or False", lambda: tom.send(chat, "x", retry="no")),
            (
                TypeError,
                "mention_all is True or False",
                lambda: tom.send(chat, TextMessage("x", mention_all="yes")),
            ),
            (TypeError, "limit is an integer", lambda: tom.history_page(chat, limit="5")),
            (TypeError, "unique is True or F", lambda: tom.create_conversation(["a"], unique="no")),
            (TypeError, "the name of a conv", lambda: tom.create_conversation(["a"], name=5)),
            (
                TypeError,
                "the attributes of a conversation are",
                lambda: tom.create_conversation(["a"], attributes=5),
            ),
            (TypeError, "the name of a conv", lambda: tom.update_conversation(chat, name=5)),
            (TypeError, "ttl is a numb", lambda: tom.create_temporary_conversation(["a"], ttl="x")),
            (ValueError, "ttl is a time", lambda: tom.create_temporary_conversation(["a"], ttl=-1)),
            (TypeError, "several conversations", lambda: tom.get_conversations("abc")),
            (TypeError, "several conversations", lambda: tom.is_member(5)),
            (TypeError, "a file to upload", lambda: tom.upload("image.png")),
            (
                ValueError,
                "no conversation ends",
                lambda: tom.create_temporary_conversation([], ttl=inf),
            ),
            (TypeError, "limit is an integer", lambda: tom.blocked_page(chat, limit=nan)),
            (ValueError, "1 to 1000 elements", lambda: tom.silenced_page(chat, limit=2**70)),
            (ValueError, "1 to 1000 elements", lambda: tom.online_members(chat, limit=0)),
            (TypeError, "after is a text", lambda: tom.blocked_page(chat, after=5)),
            (TypeError, "a role is Role.MAN", lambda: tom.set_role(chat, "Jerry", "boss")),
            (TypeError, "a client id is a text", lambda: tom.set_role(chat, 5, Role.MANAGER)),
            (TypeError, "says where history begins", lambda: tom.history_page(chat, start=5)),
            (ValueError, "has 32 bits", lambda: tom.history_page(chat, type=2**70)),
            (TypeError, "url is a text", lambda: tom.register_file(5, name="x")),
            (ValueError, "name contains half", lambda: tom.register_file("u", name="\ud83d")),
            (TypeError, "changes is a map", lambda: tom.update_conversation(chat, ["topic"])),
            (
                TypeError,
                "delete names several",
                lambda: tom.update_conversation(chat, delete="topic"),
            ),
            (
                TypeError,
                "increment is a map",
                lambda: tom.update_conversation(chat, increment=["a"]),
            ),
        ]:
            with pytest.raises(kind, match=sentence):
                await attempt()
        with pytest.raises(TypeError, match="expected a ConversationQuery, not 5"):
            tom.query(5)


@pytest.mark.parametrize(
    "server", ["http://[::1]:1", "http://bücher.invalid", "http://a_b.invalid"]
)
async def test_unusual_names_of_hosts_are_names(server):
    with pytest.raises(RoutingError):
        async with open_client("Tom", **{**GOOD, "server": server}):
            pass


async def test_operations(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, _jerry):
        chat = await tom.create_conversation(["Jerry"])
        long = "x" * 65
        for kind, sentence, call in (
            (TypeError, "expected a conversation or its id, not 5", lambda: tom.send(5, "x")),
            (ValueError, "a conversation id is empty", lambda: tom.send("", "x")),
            (ValueError, "at most 256", lambda: tom.send("x" * 257, "x")),
            (ValueError, "lone surrogate", lambda: tom.join("\ud83d")),
            (TypeError, "expected a message or a text, not 5", lambda: tom.send(chat, 5)),
            (ValueError, "lone surrogate", lambda: tom.send(chat, Message("a\ud83d"))),
            (ValueError, "lone surrogate", lambda: tom.send(chat, Message("a", dt="\ud83d"))),
            (ValueError, "at most 128", lambda: tom.send(chat, Message("a", dt="x" * 6000))),
            (TypeError, "dt of a message is a text", lambda: tom.send(chat, Message("a", dt=5))),
            (
                ValueError,
                "lone surrogate",
                lambda: tom.send(chat, TextMessage("a", mentions="\ud83d")),
            ),
            (TypeError, "not the single string 'Mary'", lambda: tom.add_members(chat, "Mary")),
            (TypeError, "several client ids, not 5", lambda: tom.add_members(chat, 5)),
            (TypeError, "a client id is a text, not 5", lambda: tom.add_members(chat, [5])),
            (ValueError, "a client id is empty", lambda: tom.online([""])),
            (ValueError, "at most 64 characters, not 65", lambda: tom.create_conversation([long])),
            (ValueError, "lone surrogate", lambda: tom.block_members(chat, ["\ud83d"])),
            (TypeError, "expected a message or a MessageRef", lambda: tom.recall("m")),
            (
                ValueError,
                "a message id is empty",
                lambda: tom.recall(MessageRef(chat, "", datetime.now(UTC))),
            ),
        ):
            with pytest.raises(kind, match=sentence):
                await call()
        assert await tom.online(["Jerry"]) == ["Jerry"]


async def test_a_text_is_a_text_message(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, _jerry):
        chat = await tom.create_conversation(["Jerry"])
        await w.forget()
        sent = await tom.send(chat, "hello", SendOptions(receipt=True))
        assert sent == TextMessage(
            "hello",
            id=sent.id,
            conversation_id=chat.id,
            sender="Tom",
            timestamp_ms=sent.timestamp_ms,
        )
        (event,) = await w.seen("Jerry")
        assert event.message == sent
        edited = await tom.edit(sent, "hallo")
        assert edited.text == "hallo"
        assert (await tom.sending(chat, "again").send()).text == "again"
        binary = await tom.edit(sent, BinaryMessage(b"x"))
        assert attrs.evolve(binary, id="") != binary
