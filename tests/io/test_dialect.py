"""What a client speaks is what it was asked to speak."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.world import world
from trio_realtime import MessageReceived, TextMessage
from trio_realtime._engine.dialect import DIALECTS
from trio_realtime.wire import CommandType, GenericCommand, WireError


@pytest.mark.parametrize(
    ("dialect", "offline_messages", "subprotocol"),
    [
        ("protobuf", "unread", "lc.protobuf2.3"),
        ("protobuf", "push", "lc.protobuf2.1"),
        ("base64", "unread", "lc.proto2base64.3"),
        ("base64", "push", "lc.proto2base64.1"),
        ("json", "unread", "lc.json.3"),
        ("json", "push", "lc.json.1"),
    ],
)
@pytest.mark.parametrize("transport", ["trio-websocket", "websockets"])
async def test_the_dialect_is_negotiated_and_spoken(
    dialect, offline_messages, subprotocol, transport, autojump_clock
):
    options = {"offline_messages": offline_messages, "transport": transport}
    async with world("Tom") as (w, tom):
        jerry = await w.client("Jerry", dialect=dialect, **options)
        names = {connection.dialect.name for connection in w.server.server.gateway.connections}
        assert names == {"lc.protobuf2.3", subprotocol}
        chat = await tom.create_conversation(["Jerry"])
        toms, jerrys = tom.events(MessageReceived), jerry.events(MessageReceived)
        await tom.send(chat, TextMessage('你好 "Jerry" \\ \u2028'))
        received = (await anext(jerrys)).message
        assert received.text == '你好 "Jerry" \\ \u2028'
        await jerry.send(chat, TextMessage("hello"))
        assert (await anext(toms)).message.text == "hello"


async def test_an_unknown_dialect_is_said_to_be_one(autojump_clock):
    async with world() as (w,):
        with pytest.raises(ValueError, match="'protobuf', 'base64', 'json'"):
            await w.client("Tom", dialect="klingon")


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
@given(payload=st.binary(max_size=100) | st.text(max_size=100))
def test_whatever_arrives_is_a_command_or_an_error_of_the_wire(dialect, payload):
    with contextlib.suppress(WireError):
        assert isinstance(dialect.decode(payload), GenericCommand)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
@given(i=st.integers(1, 2**31 - 1), peer_id=st.text(max_size=20))
def test_what_is_encoded_can_be_decoded(dialect, i, peer_id):
    command = GenericCommand(cmd=CommandType.ECHO, i=i, peer_id=peer_id)
    assert dialect.decode(dialect.encode(command)) == command
