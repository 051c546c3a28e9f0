"""Whatever a server sends, the client goes on, and says only what is documented."""

from __future__ import annotations

import random

import pytest
import trio

from tests.io.scripted_server import in_background, push
from trio_realtime import (
    CommandTimeout,
    Event,
    MalformedReply,
    MessageReceived,
    RealtimeError,
    TextMessage,
    open_client,
)
from trio_realtime.wire import (
    AckCommand,
    CommandType,
    ConvCommand,
    ErrorCommand,
    GenericCommand,
    JsonObjectMessage,
    OpType,
    PatchCommand,
    PatchItem,
    SessionCommand,
    UnreadCommand,
    UnreadTuple,
    encode,
)

FRAMES = 10_000

VALID = [
    encode(command)
    for command in (
        push(text='{"_lctype":-1,"_lctext":"hi"}'),
        push(text="", mention_all=True, transient=True),
        GenericCommand(
            cmd=CommandType.CONV,
            op=OpType.MEMBERS_JOINED,
            peer_id="Tom",
            server_ts=5,
            notification_type=1,
            conv_message=ConvCommand(cid="c", m=["a"], init_by="b", udate="2026-01-01T00:00:00Z"),
        ),
        GenericCommand(
            cmd=CommandType.CONV,
            op=OpType.UPDATED,
            peer_id="Tom",
            conv_message=ConvCommand(
                cid="c", attr=JsonObjectMessage(data='{"a.b":1}'), init_by="b"
            ),
        ),
        GenericCommand(
            cmd=CommandType.UNREAD,
            peer_id="Tom",
            unread_message=UnreadCommand(
                convs=[UnreadTuple(cid="c", unread=3, mid="m", timestamp=7, data="x")],
                notif_time=9,
            ),
        ),
        GenericCommand(
            cmd=CommandType.PATCH,
            op=OpType.MODIFY,
            peer_id="Tom",
            patch_message=PatchCommand(
                patches=[PatchItem(cid="c", mid="m", timestamp=1, patch_timestamp=2, data="x")]
            ),
        ),
        GenericCommand(cmd=CommandType.ACK, i=3, ack_message=AckCommand(uid="m", t=5)),
        GenericCommand(
            cmd=CommandType.ERROR, i=4, error_message=ErrorCommand(code=4200, reason="X")
        ),
        GenericCommand(cmd=CommandType.ECHO, i=7),
    )
]


def mutated(rng):
    frame = bytearray(rng.choice(VALID))
    for _ in range(rng.randint(1, 4)):
        kind = rng.randrange(3)
        if kind == 0 and frame:
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        elif kind == 1:
            frame.insert(rng.randint(0, len(frame)), rng.randrange(256))
        elif frame:
            del frame[rng.randrange(len(frame))]
    return bytes(frame)


def ends_the_session(frame):
    """Frames that rightly end a client, or its link, would end the test."""
    from trio_realtime.wire import WireError, decode

    try:
        command = decode(frame)
    except WireError:
        return False
    return command.cmd == CommandType.GOAWAY or (
        command.cmd == CommandType.SESSION and command.op == OpType.CLOSED
    )


@pytest.mark.parametrize("kind", ["random", "mutated"])
async def test_garbage_between_good_frames(kind, scripted, autojump_clock, caplog):
    rng = random.Random(20_261_120)

    async def server():
        link = await scripted.log_in()
        for _ in range(FRAMES):
            frame = rng.randbytes(rng.randint(0, 60)) if kind == "random" else mutated(rng)
            if not ends_the_session(frame):
                await link.send(frame)
        await link.send(push(cid="sane", mid="last", text="still here"))
        while (command := await link.receive()) is not None:
            if command.cmd == CommandType.DIRECT:
                await link.acknowledge(command, "mine", 9000)

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        with tom.events(max_buffer=2 * FRAMES) as events:
            async for event in events:
                assert isinstance(event, Event)
                match event:
                    case MessageReceived(conversation_id="sane", message=message):
                        assert message.id == "last"
                        break
        sent = await tom.send("sane", TextMessage("me too"))
        assert sent.id == "mine"


@pytest.mark.parametrize(
    "answer",
    [
        GenericCommand(cmd=CommandType.ACK),
        GenericCommand(cmd=CommandType.ACK, ack_message=AckCommand()),
        GenericCommand(cmd=CommandType.ACK, ack_message=AckCommand(uid="m")),
        GenericCommand(cmd=CommandType.ERROR),
        GenericCommand(cmd=CommandType.CONV, conv_message=ConvCommand()),
    ],
)
async def test_an_incomplete_answer_is_an_error_of_the_command_alone(
    answer, scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        first = await link.receive()
        answer.i = first.i
        await link.send(answer)
        await link.acknowledge(await link.receive(), "mine", 9000)
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        with pytest.raises(RealtimeError) as caught:
            await tom.send("c", TextMessage("hi"))
        assert not isinstance(caught.value, CommandTimeout)
        assert (await tom.send("c", TextMessage("again"))).id == "mine"


@pytest.mark.parametrize(
    "conv",
    [
        ConvCommand(),
        ConvCommand(results=JsonObjectMessage(data="{")),
        ConvCommand(results=JsonObjectMessage(data="{}")),
        ConvCommand(results=JsonObjectMessage(data='[{"name":1}]')),
        ConvCommand(results=JsonObjectMessage(data="[" * 5000)),
    ],
)
async def test_odd_query_results(conv, scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        command = await link.receive()
        await link.send(
            GenericCommand(cmd=CommandType.CONV, op=OpType.RESULTS, i=command.i, conv_message=conv)
        )
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        try:
            found = await tom.get_conversation("c")
        except MalformedReply:
            return
        assert found is None


@pytest.mark.parametrize(
    "opened",
    [
        GenericCommand(cmd=CommandType.SESSION, op=OpType.OPENED),
        GenericCommand(cmd=CommandType.SESSION, op=OpType.QUERY_RESULT, peer_id="x"),
        GenericCommand(
            cmd=CommandType.SESSION,
            op=OpType.CLOSED,
            session_message=SessionCommand(code=4103, reason="INVALID_LOGIN"),
        ),
    ],
)
async def test_an_odd_answer_to_the_login_is_our_own_error(opened, scripted, autojump_clock):
    async def server():
        link = await scripted.accept()
        command = await link.receive()
        opened.i = command.i
        await link.send(opened)
        await link.serve_goodbye()

    async with in_background(server):
        with pytest.raises(RealtimeError):
            async with open_client(**scripted.options):
                pytest.fail("must not be entered")


async def test_pushes_for_others_are_ignored(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="stranger", peer="Spike"))
        live_query = push(mid="live-query")
        live_query.service = 1
        await link.send(live_query)
        await link.send(push(mid="mine"))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        event = await anext(tom.events(MessageReceived))
        assert event.message.id == "mine"
        with trio.move_on_after(5) as scope:
            await anext(tom.events(MessageReceived))
        assert scope.cancelled_caught


async def test_a_message_that_names_no_conversation_is_dropped(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(push(cid=None, mid="nowhere"))
        await link.send(push(cid="", mid="nowhere either"))
        await link.send(push(mid="somewhere"))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        assert (await anext(tom.events(MessageReceived))).message.id == "somewhere"
