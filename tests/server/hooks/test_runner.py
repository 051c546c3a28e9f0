from __future__ import annotations

import json
from contextlib import asynccontextmanager
from functools import partial

import outcome
import pytest
import trio
import trio.testing

from tests.server.rules.world import APP, JS, bodies
from trio_realtime.server.gateway.commands import Present
from trio_realtime.server.hooks.approval import MOST_ROUNDS
from trio_realtime.server.hooks.queue import CarriedOut, HookQueue, Work
from trio_realtime.server.hooks.runner import HookRunner
from trio_realtime.server.hooks.types import (
    Amend,
    ClientOffline,
    ClientOnline,
    Hooks,
    OfflineDecision,
    OfflineReason,
    Reject,
    Rewrite,
)
from trio_realtime.server.rules import carry_out
from trio_realtime.server.rules.types import (
    App,
    Caller,
    Clients,
    Enforcement,
    Outcome,
    Refusal,
)
from trio_realtime.server.store.interface import Kind, Listing
from trio_realtime.server.store.sqlite.store import open_store
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    DirectCommand,
    GenericCommand,
    JsonObjectMessage,
    OpType,
    PatchCommand,
    PatchItem,
    encode,
)

TOM = Caller(APP, "tom", features=JS, address="10.0.0.1")


class Recorder:
    """A function of an application: notes what it is told, answers what it should."""

    def __init__(self, answer=None) -> None:
        self.told = []
        self.answer = answer

    async def __call__(self, about):
        self.told.append(about)
        await trio.lowlevel.checkpoint()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @property
    def one(self):
        (about,) = self.told
        return about


async def never(_about):
    await trio.sleep_forever()


class Place:
    """A store, hooks, and a way to carry out commands through both."""

    def __init__(self, store, nursery) -> None:
        self.store = store
        self.nursery = nursery
        self.presence = Present(("tom", "jerry"))

    def hooks(self, *, run=True, **options):
        functions = {name: options.pop(name) for name in list(options) if hasattr(Hooks(), name)}
        self.runner = HookRunner(Hooks(**functions), self.store, **options)
        if run:
            self.nursery.start_soon(self.runner.run)
        return self.runner

    async def write(self, rule):
        return await self.store.write(APP.id, rule)

    async def conversation(self, *members, kind=Kind.NORMAL):
        row = await self.write(
            lambda tx: tx.create_conversation(kind=kind, creator="tom", members=members)
        )
        return row.id

    def enter(self, queue, command, done, caller=TOM):
        submit = partial(self.store.submit, APP.id)
        queue.enter(Work(command, carry_out, lambda: caller, submit, done))

    async def out(self, command, caller=TOM) -> CarriedOut:
        """Carry a command out as the gateway does."""
        results = []
        finished = trio.Event()

        def done(result):
            results.append(result)
            finished.set()

        self.enter(HookQueue(self.runner, self.nursery.start_soon), command, done, caller)
        await finished.wait()
        (result,) = results
        return result.unwrap()

    async def do(self, command, caller=TOM) -> Outcome:
        out = await self.out(command, caller)
        encode(out.command)
        self.runner.after(caller, out.command, out.decided, self.presence)
        await trio.testing.wait_all_tasks_blocked()
        return out.decided


@asynccontextmanager
async def place():
    async with open_store(None, inline=True) as store, trio.open_nursery() as nursery:
        yield Place(store, nursery)
        nursery.cancel_scope.cancel()


def direct(cid, msg=None, **fields):
    message = DirectCommand(cid=cid, msg=msg, **fields)
    return GenericCommand(cmd=CommandType.DIRECT, i=1, direct_message=message)


def conv(op, **fields):
    return GenericCommand(cmd=CommandType.CONV, op=op, i=1, conv_message=ConvCommand(**fields))


def patch(*items):
    return GenericCommand(
        cmd=CommandType.PATCH,
        op=OpType.MODIFY,
        i=1,
        patch_message=PatchCommand(patches=list(items)),
    )


def data(value):
    return JsonObjectMessage(data=json.dumps(value))


async def refusal(awaitable):
    with pytest.raises(Refusal) as caught:
        await awaitable
    return caught.value


# Messages.


async def test_a_message_is_shown_before_it_is_delivered():
    async with place() as here:
        seen = Recorder()
        here.hooks(message_received=seen)
        cid = await here.conversation("tom", "jerry", "mary")
        decided = await here.do(direct(cid, "hi", r=True))
        assert bodies([push.command for push in decided.pushes]) == ["hi"]
        about = seen.one
        assert (about.sender, about.conversation_id, about.body) == ("tom", cid, "hi")
        assert about.receivers == ["jerry", "mary"]
        assert (about.receipt, about.transient, about.service) == (True, False, False)
        assert about.address == "10.0.0.1"


async def test_a_message_can_be_refused():
    async with place() as here:
        here.hooks(message_received=Recorder(Reject(7, "not today")))
        cid = await here.conversation("tom", "jerry")
        no = await refusal(here.do(direct(cid, "hi")))
        assert (no.code, no.reason) == (4402, "MESSAGE_REJECTED_BY_APP")
        assert (no.app_code, no.app_message, no.detail) == (7, "not today", "not today")
        assert await here.write(lambda tx: tx.last_message(cid)) is None


@pytest.mark.parametrize("sent", [{"msg": "damn"}, {"binary_msg": b"damn"}])
@pytest.mark.parametrize("new", ["****", b"\0", ""])
async def test_a_message_can_be_rewritten(sent, new):
    async with place() as here:
        here.hooks(message_received=Recorder(Rewrite(body=new)))
        cid = await here.conversation("tom", "jerry")
        command = direct(cid, **sent)
        original = encode(command)
        decided = await here.do(command)
        assert bodies([push.command for push in decided.pushes]) == [new]
        assert (await here.write(lambda tx: tx.last_message(cid))).body == new
        assert encode(command) == original


async def test_receivers_can_be_left_out_but_not_added():
    async with place() as here:
        here.hooks(message_received=Recorder(Rewrite(receivers=["mary", "stranger"])))
        cid = await here.conversation("tom", "jerry", "mary")
        (push,) = (await here.do(direct(cid, "hi"))).pushes
        # The sender's other sessions are synchronised all the same.
        assert push.to == Clients(["tom", "mary"])
        assert push.except_actor


async def test_rooms_are_not_narrowed():
    async with place() as here:
        here.hooks(message_received=Recorder(Rewrite(receivers=[])))
        cid = await here.conversation(kind=Kind.ROOM)
        (push,) = (await here.do(direct(cid, "hi"))).pushes
        assert not isinstance(push.to, Clients)


async def test_services_are_marked():
    async with place() as here:
        seen = Recorder()
        here.hooks(message_received=seen)
        cid = await here.conversation(kind=Kind.SERVICE)
        await here.do(direct(cid, "hi"))
        assert seen.one.service
        assert seen.one.receivers == []


async def test_the_application_is_not_asked_about_what_is_refused_anyway():
    async with place() as here:
        seen = Recorder(Reject())
        here.hooks(message_received=seen)
        cid = await here.conversation("jerry")
        mine = await here.conversation("tom")
        await here.write(lambda tx: tx.add_listed(Listing.SILENCED, mine, ["tom"]))
        for command, code in [
            (direct(cid, "stranger"), 4401),
            (direct("5" * 24, "nowhere"), 4401),
            (direct(None, "nowhere"), 4401),
            (direct(mine, "silenced"), 4563),
            (GenericCommand(cmd=CommandType.DIRECT, i=1), 4401),
        ]:
            assert (await refusal(here.do(command))).code == code
        assert seen.told == []


async def test_a_repeat_is_asked_about_once():
    async with place() as here:
        seen, sent = Recorder(), Recorder()
        here.hooks(message_received=seen, message_sent=sent)
        cid = await here.conversation("tom", "jerry")
        for _ in range(2):
            await here.do(direct(cid, "hi", dt="x"))
        assert len(seen.told) == len(sent.told) == 1


async def test_what_has_no_hook_is_not_asked_about():
    async with place() as here:
        runner = here.hooks(message_received=Recorder(Reject()))
        cid = await here.conversation("tom", "jerry")
        assert runner.concerns(direct(cid, "hi"))
        for command in (
            conv(OpType.ADD, cid=cid, m=["mary"]),
            GenericCommand(cmd=CommandType.READ),
            GenericCommand(cmd=CommandType.CONV, op=OpType.QUERY),
            patch(),
        ):
            assert not runner.concerns(command)


# Edits.


async def test_edits_can_be_refused_and_rewritten():
    async with place() as here:
        here.hooks()
        cid = await here.conversation("tom", "jerry", "mary")
        sent = await here.do(direct(cid, "hi"))
        mid, t = sent.reply.ack_message.uid, sent.reply.ack_message.t
        edit = patch(PatchItem(cid=cid, mid=mid, data="ho"))

        here.hooks(message_update=Recorder(Reject(3, "no")))
        no = await refusal(here.do(edit))
        assert (no.code, no.reason) == (4405, "MESSAGE_UPDATE_REJECTED_BY_APP")
        assert (no.app_code, no.detail) == (3, "no")

        seen = Recorder(Rewrite(body="h*", receivers=["mary"]))
        here.hooks(message_update=seen)
        (push,) = (await here.do(edit)).pushes
        about = seen.one
        assert (about.message_id, about.body, about.timestamp) == (mid, "ho", t)
        assert about.receivers == ["jerry", "mary"]
        assert not about.recall
        assert push.command.patch_message.patches[0].data == "h*"
        assert push.to == Clients(["tom", "mary"])
        assert edit.patch_message.patches[0].data == "ho"

        seen = Recorder()
        here.hooks(message_update=seen)
        await here.do(patch(PatchItem(cid=cid, mid=mid, recall=True)))
        assert (seen.one.recall, seen.one.body) == (True, "")


async def test_edits_of_others_are_not_asked_about():
    async with place() as here:
        seen = Recorder(Reject())
        here.hooks(message_update=seen)
        cid = await here.conversation("tom", "jerry")
        sent = await here.do(direct(cid, "hi"))
        item = PatchItem(cid=cid, mid=sent.reply.ack_message.uid, data="x")
        jerry = Caller(APP, "jerry", features=JS)
        assert (await refusal(here.do(patch(item), jerry))).code == 4403
        assert (await refusal(here.do(patch(PatchItem(cid=cid, data="x"))))).code == 4404
        assert seen.told == []


async def test_edits_in_two_conversations_have_receivers_of_their_own():
    async with place() as here:
        here.hooks()
        items = []
        for other in ("jerry", "mary"):
            cid = await here.conversation("tom", other)
            sent = await here.do(direct(cid, "hi"))
            items.append(PatchItem(cid=cid, mid=sent.reply.ack_message.uid, data="ho"))

        async def not_jerry(about):
            return Rewrite(receivers=[]) if "jerry" in about.receivers else None

        here.hooks(message_update=not_jerry)
        pushes = (await here.do(patch(*items))).pushes
        assert [list(push.to.ids) for push in pushes] == [["tom"], ["tom", "mary"]]


# What is asked is decided at the commit.


@pytest.mark.parametrize("fields", [{"transient": True}, {"will": True}])
async def test_a_spent_dt_does_not_carry_an_unstored_message_past_the_hook(fields):
    async with place() as here:
        cid = await here.conversation("tom", "jerry")
        here.hooks()
        await here.do(direct(cid, "hi", dt="x"))
        here.hooks(message_received=Recorder(Reject()))
        no = await refusal(here.do(direct(cid, "damn", dt="x", **fields)))
        assert no.code == 4402


async def test_a_repeat_to_a_service_is_asked_about_once():
    async with place() as here:
        seen = Recorder()
        here.hooks(message_received=seen)
        cid = await here.conversation(kind=Kind.SERVICE)
        first, second = [await here.do(direct(cid, "hi", dt="x")) for _ in range(2)]
        assert first.reply.ack_message.uid == second.reply.ack_message.uid
        assert len(seen.told) == 1


async def test_a_member_who_joins_in_the_same_breath_is_asked():
    async with place() as here:
        cid = await here.conversation("jerry")
        seen = Recorder(Reject())
        runner = here.hooks(message_received=seen, conversation_update=seen)
        queue = HookQueue(runner, here.nursery.start_soon)
        results = []
        for command in (
            conv(OpType.ADD, cid=cid, m=["tom"]),
            direct(cid, "damn"),
            conv(OpType.UPDATE, cid=cid, attr=data({"name": "damn"})),
        ):
            here.enter(queue, command, results.append)
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(results[0], outcome.Value)
        assert [result.error.code for result in results[1:]] == [4402, 4305]
        assert len(seen.told) == 2


async def test_who_joins_while_the_application_thinks_is_asked_about():
    async with place() as here:
        cid = await here.conversation("tom", "jerry")
        asked = []

        async def thoughtful(about):
            asked.append(list(about.receivers))
            if len(asked) == 1:
                await here.write(lambda tx: tx.add_members(cid, ["mary"]))
            return Rewrite(body=f"{about.body}!")

        here.hooks(message_received=thoughtful)
        (push,) = (await here.do(direct(cid, "hi"))).pushes
        assert asked == [["jerry"], ["jerry", "mary"]]
        assert push.to == Clients(["tom", "jerry", "mary"])
        assert bodies([push.command]) == ["hi!"]


async def test_who_leaves_while_the_application_thinks_gets_nothing():
    async with place() as here:
        cid = await here.conversation("tom", "jerry", "mary")
        asked = []

        async def thoughtful(about):
            asked.append(list(about.receivers))
            await here.write(lambda tx: tx.remove_members(cid, ["mary"]))

        here.hooks(message_received=thoughtful)
        (push,) = (await here.do(direct(cid, "hi"))).pushes
        assert asked == [["jerry", "mary"]]
        assert push.to == Clients(["tom", "jerry"])


async def test_where_somebody_joins_all_the_time_there_is_an_end_to_asking():
    async with place() as here:
        cid = await here.conversation("tom")
        asked = []

        async def thoughtful(about):
            asked.append(list(about.receivers))
            await here.write(lambda tx: tx.add_members(cid, [f"new-{len(asked)}"]))

        here.hooks(message_received=thoughtful)
        (push,) = (await here.do(direct(cid, "hi"))).pushes
        assert len(asked) == MOST_ROUNDS
        assert push.to == Clients(["tom", *asked[-1]])


async def test_json_as_deep_as_the_server_allows_is_asked_about():
    deep = Caller(APP, "tom", features=JS, json_depth=100)
    attr = JsonObjectMessage(data='{"a":' + "[" * 60 + "]" * 60 + "}")
    async with place() as here:
        cid = await here.conversation("tom")
        here.hooks(conversation_start=Recorder(Reject()), conversation_update=Recorder(Reject()))
        for command in (
            conv(OpType.START, m=["jerry"], attr=attr),
            conv(OpType.UPDATE, cid=cid, attr=attr),
        ):
            assert (await refusal(here.do(command, deep))).code == 4305


# Conversations.


async def test_starting_a_conversation():
    async with place() as here:
        seen, started = Recorder(), Recorder()
        here.hooks(conversation_start=seen, conversation_started=started)
        command = conv(OpType.START, m=["jerry"], unique=True, attr=data({"name": "n", "x": 1}))
        decided = await here.do(command)
        cid = decided.reply.conv_message.cid
        assert (seen.one.actor, seen.one.attributes) == ("tom", {"name": "n", "x": 1})
        assert seen.one.members == ["jerry", "tom"]
        assert started.one.conversation_id == cid
        await here.do(command)
        assert len(started.told) == 1  # it existed already

        here.hooks(conversation_start=Recorder(Reject(1, "no")))
        no = await refusal(here.do(command))
        assert (no.code, no.reason) == (4305, "CONVERSATION_REJECTED_BY_APP")


async def test_members_who_come_and_go():
    async with place() as here:
        add, added, remove, removed = Recorder(), Recorder(), Recorder(), Recorder()
        here.hooks(
            conversation_add=add,
            conversation_added=added,
            conversation_remove=remove,
            conversation_removed=removed,
        )
        cid = await here.conversation("tom", "jerry")
        await here.do(conv(OpType.ADD, cid=cid, m=["mary"]))
        for about in (add.one, added.one):
            assert (about.actor, about.conversation_id, about.members) == ("tom", cid, ["mary"])
        await here.do(conv(OpType.REMOVE, cid=cid, m=["mary"]))
        assert remove.one.members == removed.one.members == ["mary"]
        await here.do(conv(OpType.REMOVE, cid=cid, m=["tom"]))
        assert len(remove.told) == 1  # whoever leaves by himself is not held
        assert len(removed.told) == 2
        spike = Caller(APP, "spike", features=JS)
        await here.do(conv(OpType.ADD, cid=cid, m=["spike"]), spike)
        assert add.told[-1].members == ["spike"]

        here.hooks(conversation_add=Recorder(Reject()), conversation_remove=Recorder(Reject()))
        for op in (OpType.ADD, OpType.REMOVE):
            no = await refusal(here.do(conv(op, cid=cid, m=["jerry"]), spike))
            assert no.code == 4305


async def test_hooks_come_after_signatures():
    app = App("app", "key", "master", Enforcement(conversations=True))
    caller = Caller(app, "tom", features=JS)
    async with place() as here:
        seen = Recorder()
        here.hooks(conversation_start=seen, conversation_add=seen)
        cid = await here.conversation("tom")
        for command in (conv(OpType.START, m=["jerry"]), conv(OpType.ADD, cid=cid, m=["jerry"])):
            assert (await refusal(here.do(command, caller))).code == 4302
        assert seen.told == []


async def test_updates_can_be_amended():
    async with place() as here:
        seen = Recorder(Amend(attributes={"name": "polite"}, mute=True))
        here.hooks(conversation_update=seen)
        cid = await here.conversation("tom", "jerry")
        await here.do(conv(OpType.UPDATE, cid=cid, attr=data({"name": "rude"})))
        assert (seen.one.attributes, seen.one.mute) == ({"name": "rude"}, None)
        row = await here.write(lambda tx: tx.conversation(cid))
        assert row.name == "polite"

        here.hooks(conversation_update=Recorder(Amend(attributes={"name": "x"}, mute=False)))
        await here.do(conv(OpType.MUTE, cid=cid))
        assert await here.write(lambda tx: tx.muted_by(cid)) == []
        seen = Recorder()
        here.hooks(conversation_update=seen)
        await here.do(conv(OpType.MUTE, cid=cid))
        assert (seen.one.attributes, seen.one.mute) == (None, True)
        assert await here.write(lambda tx: tx.muted_by(cid)) == ["tom"]

        here.hooks(conversation_update=Recorder(Reject(2)))
        assert (await refusal(here.do(conv(OpType.UNMUTE, cid=cid)))).app_code == 2
        spike = Caller(APP, "spike", features=JS)
        command = conv(OpType.UPDATE, cid=cid, attr=data({"name": "x"}))
        assert (await refusal(here.do(command, spike))).code == 4309


@pytest.mark.parametrize("op", [OpType.START, OpType.UPDATE])
async def test_json_that_is_none_is_left_to_the_rule(op):
    async with place() as here:
        seen = Recorder()
        here.hooks(conversation_start=seen, conversation_update=seen)
        cid = await here.conversation("tom")
        await refusal(here.do(conv(op, cid=cid, m=["jerry"], attr=JsonObjectMessage(data="{"))))
        assert seen.told == []


# Failing applications.


@pytest.mark.parametrize(
    "function",
    [Recorder(ValueError("bug")), Recorder(ExceptionGroup("bugs", [ValueError()])), never],
)
async def test_a_failing_hook_is_ignored_or_refuses(function, autojump_clock):
    async with place() as here:
        cid = await here.conversation("tom", "jerry")
        runner = here.hooks(message_received=function, timeout=2)
        began = trio.current_time()
        assert (await here.do(direct(cid, "hi"))).pushes
        assert trio.current_time() - began == (2 if function is never else 0)
        assert runner.failures.total == 1
        here.hooks(message_received=function, timeout=2, on_failure="refuse")
        assert (await refusal(here.do(direct(cid, "hi")))).code == 4402


async def test_cancelling_whoever_asks_is_not_a_failure(autojump_clock):
    async with place() as here:
        cid = await here.conversation("tom", "jerry")
        runner = here.hooks(message_received=never, timeout=20)
        with trio.move_on_after(1) as scope:
            await here.do(direct(cid, "hi"))
        assert scope.cancelled_caught
        assert runner.failures.total == 0


async def test_signing_for_a_user():
    async with place() as here:
        await here.hooks().may_sign({"objectId": "u"})
        seen = Recorder()
        await here.hooks(rtm_client_sign=seen).may_sign({"objectId": "u"})
        assert seen.one == {"objectId": "u"}
        runner = here.hooks(rtm_client_sign=Recorder(Reject(detail="banned")))
        no = await refusal(runner.may_sign({}))
        assert (no.code, no.detail) == (4102, "banned")


# After.


async def test_what_was_sent():
    async with place() as here:
        sent = Recorder()
        here.hooks(message_sent=sent)
        cid = await here.conversation("tom", "jerry", "mary")
        decided = await here.do(direct(cid, "hi", r=True))
        about = sent.one
        ack = decided.reply.ack_message
        assert (about.message_id, about.timestamp, about.body) == (ack.uid, ack.t, "hi")
        assert (about.online, about.offline) == (["jerry"], ["mary"])
        assert (about.receipt, about.transient) == (True, False)
        await here.do(direct(cid, binary_msg=b"", transient=True))
        assert sent.told[-1].transient
        assert sent.told[-1].body == b""
        await here.do(direct(cid, "bye", will=True))
        assert len(sent.told) == 2


async def test_what_was_sent_to_a_room():
    async with place() as here:
        sent, absent = Recorder(), Recorder()
        here.hooks(message_sent=sent, receivers_offline=absent)
        await here.do(direct(await here.conversation(kind=Kind.ROOM), "hi"))
        assert (sent.one.online, sent.one.offline) == (["jerry"], [])
        assert absent.told == []


async def test_the_absent_are_notified():
    async with place() as here:
        pushed = Recorder()
        absent = Recorder()
        here.hooks(receivers_offline=absent, send_push=pushed)
        cid = await here.conversation("tom", "jerry", "mary", "spike", "butch")
        await here.write(lambda tx: tx.set_muted(cid, "spike", True))
        here.presence = Present(("tom", "jerry"))
        await here.do(direct(cid, "hi", mention_pids=["jerry", "mary"], push_data='{"alert":"x"}'))
        about = absent.one
        assert about.offline == ["mary", "spike", "butch"]
        assert (about.mentioned, about.mention_all, about.body) == (["mary"], False, "hi")
        push = pushed.one
        assert (push.receivers, push.data) == (["mary", "butch"], '{"alert":"x"}')

        for decision, expected in [
            (OfflineDecision(skip=True), []),
            (OfflineDecision(force=True, data="y"), [(["mary", "spike", "butch"], "y")]),
            (OfflineDecision(receivers=["spike"]), []),
            (OfflineDecision(receivers=["butch"]), [(["butch"], None)]),
            (None, [(["mary", "butch"], None)]),
            (ValueError("bug"), [(["mary", "butch"], None)]),
        ]:
            pushed = Recorder()
            here.hooks(receivers_offline=Recorder(decision), send_push=pushed)
            await here.do(direct(cid, "hi"))
            assert [(one.receivers, one.data) for one in pushed.told] == expected
        await here.do(direct(cid, "hi", transient=True))
        assert len(pushed.told) == 1


async def test_a_message_for_everybody_names_nobody():
    async with place() as here:
        absent = Recorder()
        here.hooks(receivers_offline=absent)
        cid = await here.conversation("tom", "mary")
        await here.do(direct(cid, "hi", mention_pids=["mary"], mention_all=True))
        assert (absent.one.mention_all, absent.one.mentioned) == (True, [])


async def test_what_was_sent_to_a_service():
    async with place() as here:
        sent = Recorder()
        here.hooks(message_sent=sent)
        cid = await here.conversation(kind=Kind.SERVICE)
        for _ in range(2):
            decided = await here.do(direct(cid, "hi", dt="x"))
        about = sent.one
        ack = decided.reply.ack_message
        assert (about.service, about.message_id, about.timestamp) == (True, ack.uid, ack.t)


async def test_rows_for_services_come_together_in_order_and_again(autojump_clock):
    calls = []

    async def busy(rows):
        calls.append([row["data"] for row in rows])
        if len(calls) in {2, 3}:
            raise OSError("down")

    async with place() as here:
        runner = here.hooks(service_messages=busy)
        cid = await here.conversation(kind=Kind.SERVICE)
        await here.do(direct(cid, "a"))
        outs = [await here.out(direct(cid, text)) for text in "bcd"]
        for out in outs:
            runner.after(TOM, out.command, out.decided, here.presence)
        await trio.sleep(10)
        assert calls == [["a"], *[["b", "c", "d"]] * 3]
        assert runner.dropped == 0


async def test_rows_that_nobody_takes_are_given_up(autojump_clock):
    async with place() as here:
        seen = Recorder(OSError("down"))
        runner = here.hooks(service_messages=seen)
        cid = await here.conversation(kind=Kind.SERVICE)
        await here.do(direct(cid, "a"))
        await trio.sleep(10)
        assert len(seen.told) == 4
        assert runner.dropped == 1
        seen.answer = None
        await here.do(direct(cid, "b"))
        assert [row["data"] for row in seen.told[-1]] == ["b"]


async def test_nobody_absent_is_no_call():
    async with place() as here:
        absent = Recorder()
        here.hooks(receivers_offline=absent)
        await here.do(direct(await here.conversation("tom", "jerry"), "hi"))
        assert absent.told == []


async def test_logins_and_logouts():
    async with place() as here:
        online, offline = Recorder(), Recorder()
        runner = here.hooks(client_online=online, client_offline=offline)
        here_it_is = ClientOnline(client_id="tom", address="10.0.0.1")
        gone = ClientOffline(client_id="tom", reason=OfflineReason.LOST)
        runner.client_online(here_it_is)
        runner.client_offline(gone)
        await trio.testing.wait_all_tasks_blocked()
        assert (online.one, offline.one) == (here_it_is, gone)
        silent = here.hooks()
        silent.client_online(here_it_is)
        silent.client_offline(gone)


async def test_one_failing_call_does_not_end_the_others():
    async with place() as here:
        sent = Recorder(ValueError("bug"))
        runner = here.hooks(message_sent=sent, workers=1)
        cid = await here.conversation("tom", "jerry")
        for _ in range(3):
            await here.do(direct(cid, "hi"))
        assert len(sent.told) == runner.failures.total == 3


async def test_a_backlog_is_bounded():
    async with place() as here:
        runner = here.hooks(run=False, message_sent=Recorder(), backlog=2)
        cid = await here.conversation("tom", "jerry")
        for _ in range(5):
            await here.do(direct(cid, "hi"))
        assert runner.dropped == 3


async def test_calls_about_the_past_overlap_and_are_bounded_in_time(autojump_clock):
    async with place() as here:
        runner = here.hooks(message_sent=never, timeout=3, workers=4)
        cid = await here.conversation("tom", "jerry")
        for _ in range(4):
            await here.do(direct(cid, "hi"))
        # One after another they would need 12 seconds.
        await trio.sleep(3.5)
        assert runner.failures.total == 4


# The queue.


async def test_commands_of_one_session_keep_their_order(autojump_clock):
    async with place() as here:
        cid = await here.conversation("tom", "jerry")
        order = []

        async def thoughtful(about):
            await trio.sleep({"slow": 2, "slower": 3}.get(about.body, 0))
            return Reject() if about.body == "slower" else None

        queue = HookQueue(here.hooks(message_received=thoughtful), here.nursery.start_soon)

        def enter(name, command):
            here.enter(queue, command, lambda result: order.append((name, result)))

        count = conv(OpType.COUNT, cid=cid)
        enter("first", count)
        await trio.testing.wait_all_tasks_blocked()
        assert [name for name, _ in order] == ["first"]  # nothing to wait for
        enter("slow", direct(cid, "slow"))
        enter("count", count)
        enter("slower", direct(cid, "slower"))
        enter("quick", direct(cid, "quick"))
        await trio.sleep(1)
        assert len(order) == 1
        await trio.sleep(5)
        assert [name for name, _ in order] == ["first", "slow", "count", "slower", "quick"]
        results = dict(order)
        assert isinstance(results["slower"], outcome.Error)
        assert isinstance(results["slower"].error, Refusal)
        assert results["count"].unwrap().command is count
        enter("last", count)
        await trio.testing.wait_all_tasks_blocked()
        assert order[-1][0] == "last"


async def test_what_is_tried_again_stays_before_what_follows():
    async with place() as here:
        cid = await here.conversation("tom", "jerry")
        asked = []

        async def thoughtful(about):
            asked.append(about.body)
            if asked == ["0"]:
                # Behind what is under way, and before what is to come.
                await here.write(lambda tx: tx.add_members(cid, ["mary"]))

        queue = HookQueue(here.hooks(message_received=thoughtful), here.nursery.start_soon)
        results = []
        for text in "01234":
            here.enter(queue, direct(cid, text), results.append)
        here.enter(queue, conv(OpType.COUNT, cid=cid), results.append)
        await trio.testing.wait_all_tasks_blocked()
        outs = [result.unwrap() for result in results]
        assert [out.command.cmd for out in outs] == [CommandType.DIRECT] * 5 + [CommandType.CONV]
        assert [out.command.direct_message.msg for out in outs[:5]] == list("01234")
        stamps = [out.decided.reply.ack_message.t for out in outs[:5]]
        assert stamps == sorted(set(stamps))
        assert asked.count("0") == 2
        assert all("mary" in out.decided.pushes[0].to.ids for out in outs[:5])


async def test_queues_do_not_wait_for_each_other(autojump_clock):
    async with place() as here:
        cid = await here.conversation("tom", "jerry")
        runner = here.hooks(message_received=never, timeout=10)
        one, two = (HookQueue(runner, here.nursery.start_soon) for _ in range(2))
        done = []
        here.enter(one, direct(cid, "hi"), done.append)
        here.enter(two, conv(OpType.COUNT, cid=cid), done.append)
        await trio.testing.wait_all_tasks_blocked()
        assert len(done) == 1


async def test_the_queue_of_a_session_that_is_over_empties(autojump_clock):
    async with place() as here:
        cid = await here.conversation("tom", "jerry")
        seen = Recorder()
        queue = HookQueue(here.hooks(message_received=seen), here.nursery.start_soon)
        done = []
        submit = partial(here.store.submit, APP.id)
        for text in "ab":
            queue.enter(Work(direct(cid, text), carry_out, lambda: None, submit, done.append))
        await trio.testing.wait_all_tasks_blocked()
        assert done == [None, None]
        assert seen.told == []
