"""Misuse gets one clear sentence of ours, before anything is sent."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest

from tests.client.world import world
from trio_realtime import (
    BinaryMessage,
    Message,
    MessageRef,
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
    ],
)
async def test_arguments_of_a_client(kind, options, sentence):
    with pytest.raises(kind, match=sentence):
        async with open_client(**{**GOOD, **options}):
            pass


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
