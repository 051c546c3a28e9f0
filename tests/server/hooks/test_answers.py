"""Whatever an application answers: its hook may have failed, the server has not."""

from __future__ import annotations

import math

import pytest

from tests.security.test_identity import conv
from tests.server.gateway.world import conversation_of, direct, peer_of, start, world
from trio_realtime._values.errors import ErrorCode
from trio_realtime.server import Amend, Hooks, Limits, OfflineDecision, Reject, Rewrite
from trio_realtime.server.hooks.answers import checked
from trio_realtime.server.hooks.approval import Approval
from trio_realtime.server.hooks.before import Question
from trio_realtime.server.hooks.runner import HookRunner
from trio_realtime.server.store.sqlite.store import open_store
from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    JsonObjectMessage,
    LogsCommand,
    OpType,
    PatchCommand,
    PatchItem,
)

HALF = "\ud800"
LARGE = 5 * 1024
DEEP = {"a": 1}
for _ in range(32):
    DEEP = {"a": DEEP}
ASKED = (
    "message_received",
    "message_update",
    "conversation_start",
    "conversation_add",
    "conversation_remove",
    "conversation_update",
)

NONSENSE = {
    "a number": 5,
    "a text": "no",
    "true": True,
    "a class": Reject,
    "a body that is no text": Rewrite(body=5),
    "half a pair": Rewrite(body=HALF),
    "a text for receivers": Rewrite(receivers="Jerry"),
    "numbers for receivers": Rewrite(receivers=[5]),
    "nobody": Rewrite(receivers=[None]),
    "lists for receivers": Rewrite(receivers=[[]]),
    "no list": Rewrite(receivers=7),
    "no number": Amend(attributes={"a": math.nan}),
    "half an attribute": Amend(attributes={"a": HALF}),
    "a long text": Rewrite(body="x" * (LARGE + 1)),
    "long characters": Rewrite(body="\u4e2d" * (LARGE // 3 + 1)),
    "many bytes": Rewrite(body=bytes(LARGE + 1)),
    "large attributes": Amend(attributes={"a": "x" * LARGE}),
    "deep attributes": Amend(attributes=DEEP),
    "a list of attributes": Amend(attributes=[1]),
    "an object": Amend(attributes={"a": object()}),
    "a mute that is no bool": Amend(mute="yes"),
}


def commands(cid, sent):
    edit = PatchItem(cid=cid, mid=sent.uid, timestamp=sent.t, data="edited")
    return (
        direct(cid, "hi"),
        GenericCommand(
            cmd=CommandType.PATCH, op=OpType.MODIFY, patch_message=PatchCommand(patches=[edit])
        ),
        conv(OpType.UPDATE, cid, attr=JsonObjectMessage(data='{"a":1}')),
        conv(OpType.MUTE, cid),
        conv(OpType.ADD, cid, m=["Spike"]),
        conv(OpType.REMOVE, cid, m=["Spike"]),
        start(["Tom", "Spike"]),
    )


def code(reply):
    if reply.cmd == CommandType.ERROR:
        return reply.error_message.code
    return reply.ack_message.code if reply.cmd == CommandType.ACK else None


async def test_nonsense_is_a_failure_of_the_hook(clock, caplog):
    said = None

    async def answer(_about):
        return said

    hooks = Hooks(**dict.fromkeys(ASKED, answer))
    async with world(hooks=hooks) as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Jerry", "Tom", unique=False)
        sent = (await tom.call(direct(cid, "before"))).ack_message
        for name, nonsense in NONSENSE.items():
            said = nonsense
            # Who is not asked further goes ahead.
            codes = {code(await tom.call(command)) for command in commands(cid, sent)}
            assert codes == {None}, name
        said = None
        assert (await tom.call(direct(cid, "after"))).ack_message.code is None
        assert server.stats().metrics.internal_errors_total == 0
    assert not [record for record in caplog.records if record.exc_info]


async def test_nonsense_refuses_where_failures_do(clock):
    async def answer(_about):
        return "go ahead"

    async with open_store(None, inline=True) as store:
        runner = HookRunner(Hooks(message_received=answer), store, on_failure="refuse")
        question = Question("message_received", answer, None, ErrorCode.MESSAGE_REJECTED_BY_APP)
        approval = await runner.ask([question], Approval())
        refusal = approval.refusal([question])
        assert refusal is not None
        assert refusal.code == 4402


@pytest.mark.parametrize(
    "reject",
    [Reject(2**80, "x"), Reject(5, HALF), Reject("5", object()), Reject(math.nan, ["x"])],
)
async def test_a_refusal_is_one_whatever_goes_with_it(reject, clock):
    async def answer(_about):
        return reject

    hooks = Hooks(message_received=answer, conversation_start=answer)
    async with world(hooks=hooks) as server, peer_of(server) as tom:
        await tom.login("Tom")
        assert code(await tom.call(start(["Tom"]))) == 4305
        news = await server.server.create_service_conversation(server.app_id, name="News")
        assert code(await tom.call(direct(news, "x"))) == 4402
        assert server.stats().metrics.internal_errors_total == 0


@pytest.mark.parametrize(
    "said",
    [
        5,
        Rewrite(),
        OfflineDecision(receivers="Jerry"),
        OfflineDecision(data=5),
        OfflineDecision(data="x" * (LARGE + 1)),
        OfflineDecision(skip="no"),
        OfflineDecision(force=1),
    ],
)
def test_what_is_said_of_the_absent_is_checked(said):
    with pytest.raises((TypeError, ValueError)):
        checked("receivers_offline", said)


def test_what_makes_sense_is_taken_as_it_is():
    for hook, said in (
        ("message_received", None),
        ("message_received", Rewrite(body=b"\xff", receivers=("Tom",))),
        ("conversation_update", Amend(attributes={"a": [1]}, mute=None)),
        ("conversation_start", Reject(7, "no")),
        ("message_update", Rewrite(body="x" * LARGE)),
        ("conversation_update", Amend(attributes=DEEP["a"])),
        ("receivers_offline", OfflineDecision(receivers=["Tom"], data="x")),
    ):
        assert checked(hook, said) == said


async def test_what_takes_the_place_of_a_message_is_as_large_as_a_message_may_be(clock):
    said = None

    async def answer(_about):
        return said

    hooks = Hooks(message_received=answer)
    limits = Limits(frame_bytes=1000, outbound_bytes=10_000)
    async with world(hooks=hooks, limits=limits) as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Jerry", "Tom", unique=False)
        for size, kept in ((1000, True), (1001, False)):
            said = Rewrite(body="x" * size)
            assert (await tom.call(direct(cid, "short"))).ack_message.code is None
            page = GenericCommand(cmd=CommandType.LOGS, logs_message=LogsCommand(cid=cid, l=1))
            (item,) = (await tom.call(page)).logs_message.logs
            assert (item.data != "short") is kept


def test_a_long_reason_is_cut():
    said = checked("message_received", Reject(1, "no" * 10_000))
    assert said == Reject(1, "no" * 500)
