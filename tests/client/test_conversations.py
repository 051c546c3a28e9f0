"""Every operation on conversations through the real server, and who is told what."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import trio

from tests.client.world import kinds, world
from trio_realtime import (
    BlockedError,
    ChatRoom,
    ConnectionLost,
    ConversationFull,
    ConversationNotFound,
    ConversationQuery,
    ConversationReadOnly,
    ConversationUpdated,
    Gap,
    Invited,
    Kicked,
    MemberInfo,
    MemberInfoUpdated,
    MembershipRequired,
    MembersJoined,
    MembersLeft,
    MessageReceived,
    OperationUnauthorized,
    OwnerPromotionNotAllowed,
    Role,
    Signature,
    SigningError,
    Silenced,
    TemporaryConversation,
    TextMessage,
)


async def test_a_conversation_is_created_once_for_its_members(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(
            ["Jerry"], name="Cat & Mouse", attributes={"topic": "cheese", "deep": {"n": 1}}
        )
        assert chat.members == ("Jerry", "Tom")
        assert (chat.name, chat.creator, chat.unique) == ("Cat & Mouse", "Tom", True)
        for name in ("Tom", "Jerry"):
            events = await w.seen(name)
            assert kinds(events) == ["Invited", "MembersJoined"]
            assert events[0] == Invited(chat.id, "Tom", at=chat.created_at)
            assert events[1].members == ("Jerry", "Tom")
        again = await jerry.create_conversation(["Tom"], name="Other name")
        assert (again.id, again.name) == (chat.id, "Cat & Mouse")
        assert again.attributes == {"topic": "cheese", "deep": {"n": 1}}
        other = await jerry.create_conversation(["Tom"], unique=False)
        assert other.id != chat.id
        assert kinds(await w.seen("Tom")) == ["Invited", "MembersJoined"]


async def test_conversations_are_got_by_id_together_and_absent_ones_are_none(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, jerry):
        one = await tom.create_conversation(["Jerry"])
        two = await tom.create_conversation(["Mary"])
        temporary = await tom.create_temporary_conversation(["Jerry"], ttl=60)
        found = await jerry.get_conversations([two.id, "0" * 24, temporary.id, one.id])
        assert [None if c is None else c.id for c in found] == [two.id, None, temporary.id, one.id]
        assert await jerry.get_conversation("0" * 24) is None
        cached = await jerry.get_conversation(one.id)
        assert cached is await jerry.get_conversation(one.id)
        await tom.update_conversation(one, name="New")
        await trio.sleep(1)
        assert (await jerry.get_conversation(one.id)).name == "New"
        assert (await jerry.get_conversation(one.id, refresh=True)).name == "New"


async def test_attributes_are_updated_by_path_deleted_and_incremented(autojump_clock):
    async with world("Tom", "Jerry", "Mary") as (w, tom, jerry, mary):
        chat = await tom.create_conversation(["Jerry"], attributes={"a": {"b": 1, "c": 2}, "n": 1})
        await w.forget()
        after = await tom.update_conversation(
            chat, {"a.b": 5, "new": [1, "x"]}, name="Named", delete=["a.c"], increment={"n": 2}
        )
        assert after.attributes == {"a": {"b": 5}, "n": 3, "new": (1, "x")}
        assert after.name == "Named"
        assert after.updated_at > chat.updated_at
        (event,) = await w.seen("Jerry")
        assert isinstance(event, ConversationUpdated)
        assert (event.by, event.at) == ("Tom", after.updated_at)
        assert await w.seen("Tom") == []
        fresh = await jerry.get_conversation(chat.id, refresh=True)
        assert fresh.attributes == after.attributes
        with pytest.raises(MembershipRequired) as caught:
            await mary.update_conversation(chat, {"a": 1})
        assert caught.value.code == 4309
        with pytest.raises(ConversationNotFound, match="CONVERSATION_NOT_FOUND"):
            await tom.update_conversation("5" * 24, {"a": 1})
        with pytest.raises(ValueError, match="changes nothing"):
            await tom.update_conversation(chat, {})
        with pytest.raises(ValueError, match="updatedAt"):
            await tom.update_conversation(chat, {"updatedAt": 1})
        assert (await jerry.get_conversation(chat.id, refresh=True)).attributes == after.attributes


async def test_members_come_and_go_and_everybody_is_told(autojump_clock):
    async with world("Tom", "Jerry", "Mary") as (w, tom, jerry, mary):
        chat = await tom.create_conversation(["Jerry"], unique=False)
        await w.forget()
        added = await tom.add_members(chat, ["Mary", "Spike"])
        assert (set(added.succeeded), added.failures) == ({"Mary", "Spike"}, ())
        assert set(added.conversation.members) == {"Tom", "Jerry", "Mary", "Spike"}
        at = added.conversation.updated_at
        assert kinds(await w.seen("Mary")) == ["Invited", "MembersJoined"]
        for name in ("Tom", "Jerry"):
            (event,) = await w.seen(name)
            assert event == MembersJoined(chat.id, "Tom", ("Mary", "Spike"), at=at)
        assert await mary.count_members(chat) == 4
        removed = await tom.remove_members(chat.id, ["Spike", "Nobody"])
        assert set(removed.succeeded) == {"Spike", "Nobody"}
        assert "Spike" not in removed.conversation.members
        assert kinds(await w.seen("Mary")) == ["MembersLeft"]
        await w.forget()
        left = await mary.quit(chat)
        assert "Mary" not in left.members
        assert kinds(await w.seen("Mary")) == ["Kicked"]
        (event,) = await w.seen("Jerry")
        assert isinstance(event, MembersLeft)
        assert (event.by, event.members) == ("Mary", ("Mary",))
        back = await mary.join(chat)
        assert "Mary" in back.members
        assert kinds(await w.seen("Mary")) == ["Invited", "MembersJoined"]
        assert await jerry.is_member([chat, "0" * 24]) == {chat.id: True, "0" * 24: False}
        assert isinstance((await w.seen("Tom"))[-1], MembersJoined)


async def test_a_group_has_500_members_at_most(autojump_clock):
    async with world("Tom") as (_w, tom):
        chat = await tom.create_conversation([], unique=False)
        for start in range(0, 480, 60):
            await tom.add_members(chat, [f"m{n}" for n in range(start, start + 60)])
        last = await tom.add_members(chat, [f"x{n}" for n in range(60)])
        assert len(last.succeeded) == 19
        assert {failure.error.code for failure in last.failures} == {4304}
        with pytest.raises(ConversationFull):
            await tom.add_members(chat, ["one more"])
        assert await tom.count_members(chat) == 500


async def test_chat_rooms_are_entered_by_presence_one_at_a_time(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        room = await tom.create_chat_room(name="Kitchen")
        other = await tom.create_chat_room(name="Garden")
        assert isinstance(room, ChatRoom)
        assert await tom.count_members(room) == 0, "creating the second left the first"
        await tom.join(room)
        await jerry.join(room)
        assert await jerry.count_members(room) == 2
        assert set(await jerry.online_members(room)) == {"Tom", "Jerry"}
        await tom.send(room, TextMessage("hi"))
        (event,) = await w.seen("Jerry")
        assert isinstance(event, MessageReceived)
        assert await w.seen("Tom") == []
        await jerry.quit(room)
        assert await tom.count_members(room) == 1
        names = {one.name async for one in jerry.query_chat_rooms()}
        assert names == {"Kitchen", "Garden"}
        w.server.drop_connections("Tom")
        await trio.sleep(10)
        assert await jerry.count_members(room) == 1, "who returns in time is in again"
        assert other.name == "Garden"


async def test_temporary_conversations_end_by_themselves(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, jerry):
        chat = await tom.create_temporary_conversation(["Jerry"], ttl=3600)
        assert isinstance(chat, TemporaryConversation)
        assert chat.members == ("Jerry", "Tom")
        assert timedelta(minutes=59) < chat.expires_at - datetime.now(UTC) < timedelta(minutes=61)
        same = await jerry.create_temporary_conversation(["Tom"])
        assert same.id == chat.id
        await jerry.send(chat, TextMessage("hi"))
        with pytest.raises(ConversationReadOnly):
            await tom.update_conversation(chat, {"a": 1})
        with pytest.raises(ConversationReadOnly):
            await tom.add_members(chat, ["Mary"])
        with pytest.raises(ConversationFull):
            await tom.create_temporary_conversation([f"m{n}" for n in range(10)])
        await trio.sleep(3601)
        with pytest.raises(ConversationNotFound):
            await tom.send(chat, TextMessage("too late"))
        assert await jerry.get_conversation(chat.id, refresh=True) is None


async def test_roles_decide_who_may_do_what(autojump_clock):
    async with world("Tom", "Jerry", "Mary") as (w, tom, jerry, mary):
        chat = await tom.create_conversation(["Jerry", "Mary"], unique=False)
        assert await tom.get_member_infos(chat) == {
            "Tom": MemberInfo(chat.id, "Tom", Role.OWNER),
            "Jerry": MemberInfo(chat.id, "Jerry"),
            "Mary": MemberInfo(chat.id, "Mary"),
        }
        await w.forget()
        assert await tom.set_role(chat, "Jerry", Role.MANAGER) == MemberInfo(
            chat.id, "Jerry", Role.MANAGER
        )
        for name in ("Tom", "Jerry", "Mary"):
            (event,) = await w.seen(name)
            assert isinstance(event, MemberInfoUpdated)
            assert event.info.role is Role.MANAGER
        info = await mary.get_member_info(chat, "Jerry")
        assert info.role is Role.MANAGER
        with pytest.raises(OwnerPromotionNotAllowed):
            await tom.set_role(chat, "Jerry", Role.OWNER)
        with pytest.raises(OperationUnauthorized):
            await mary.set_role(chat, "Mary", Role.MANAGER)
        with pytest.raises(OperationUnauthorized):
            await mary.remove_members(chat, ["Jerry"])
        await jerry.remove_members(chat, ["Mary"])
        assert isinstance((await w.seen("Mary"))[-1], Kicked)


async def test_the_silenced_read_but_do_not_send(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"], unique=False)
        await w.forget()
        done = await tom.silence_members(chat, ["Jerry"])
        assert done.succeeded == ("Jerry",)
        assert kinds(await w.seen("Jerry")) == ["Muted", "MembersMuted"]
        assert kinds(await w.seen("Tom")) == ["MembersMuted"]
        with pytest.raises(Silenced):
            await jerry.send(chat, TextMessage("squeak"))
        assert (await jerry.silenced_page(chat)).items == ("Jerry",)
        assert [one async for one in tom.silenced_members(chat)] == ["Jerry"]
        assert await tom.which_silenced(chat, ["Jerry", "Tom"]) == ["Jerry"]
        with pytest.raises(OperationUnauthorized):
            await jerry.unsilence_members(chat, ["Jerry"])
        await tom.unsilence_members(chat, ["Jerry"])
        assert kinds(await w.seen("Jerry")) == ["Unmuted", "MembersUnmuted"]
        await jerry.send(chat, TextMessage("squeak"))


async def test_the_blocked_are_out_and_stay_out(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"], unique=False)
        await w.forget()
        await tom.block_members(chat, ["Jerry", "Spike"])
        assert set(kinds(await w.seen("Jerry"))) == {"Blocked", "Kicked"}
        assert set(kinds(await w.seen("Tom"))) == {"MembersBlocked", "MembersLeft"}
        assert (await tom.get_conversation(chat.id)).members == ("Tom",)
        with pytest.raises(BlockedError):
            await jerry.join(chat)
        partial = await tom.add_members(chat, ["Jerry", "Mary"])
        assert partial.succeeded == ("Mary",)
        (failure,) = partial.failures
        assert failure.client_ids == ("Jerry",)
        assert failure.error.code == 4548
        with pytest.raises(BlockedError):
            await tom.add_members(chat, ["Jerry"])
        assert sorted([one async for one in tom.blocked_members(chat)]) == ["Jerry", "Spike"]
        assert await tom.which_blocked(chat, ["Jerry", "Mary"]) == ["Jerry"]
        await tom.unblock_members(chat, ["Jerry"])
        assert kinds(await w.seen("Jerry")) == ["Unblocked"]
        await jerry.join(chat)


async def test_long_lists_come_page_by_page(autojump_clock):
    async with world("Tom") as (_w, tom):
        chat = await tom.create_conversation([], unique=False)
        everybody = [f"m{n:03}" for n in range(120)]
        for start in (0, 60):
            await tom.block_members(chat, everybody[start : start + 60])
        assert sorted([one async for one in tom.blocked_members(chat)]) == everybody
        page = await tom.blocked_page(chat, limit=100)
        assert len(page.items) == 100
        rest = await tom.blocked_page(chat, limit=100, after=page.next)
        assert (len(rest.items), rest.next) == (20, None)


async def test_do_not_disturb(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        await w.forget()
        muted = await tom.mute(chat)
        assert (muted.muted, muted.muted_members) == (True, ("Tom",))
        seen = await jerry.get_conversation(chat.id, refresh=True)
        assert (seen.muted, seen.muted_members) == (False, ("Tom",))
        assert not (await tom.unmute(chat)).muted
        assert await w.seen("Jerry") == []


async def test_queries_find_what_they_describe(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, jerry):
        made = {}
        for n in range(5):
            chat = await tom.create_conversation(
                ["Jerry"],
                name=f"chat {n}",
                attributes={"n": n, "tags": ["even" if n % 2 == 0 else "odd", "x"]},
                unique=False,
            )
            made[n] = chat.id
        await tom.create_conversation(["Spike"], name="other", unique=False)

        async def ids(query):
            return [one.attributes["n"] for one in await query.find()]

        mine = jerry.query().ascending("n")
        assert await ids(mine.equal_to("n", 3)) == [3]
        assert await ids(mine.greater_than("n", 2)) == [3, 4]
        assert await ids(mine.less_than_or_equal_to("n", 1)) == [0, 1]
        assert await ids(mine.contained_in("n", [1, 4])) == [1, 4]
        assert await ids(mine.equal_to("tags", "odd")) == [1, 3]
        assert await ids(mine.contains_all("tags", ["x", "even"])) == [0, 2, 4]
        assert await ids(mine.contains("name", "at 2")) == [2]
        assert await ids(mine.starts_with("name", "chat")) == [0, 1, 2, 3, 4]
        assert await ids(mine.ends_with("name", "4")) == [4]
        assert await ids(mine.matches("name", "^CHAT [01]$", 2)) == [0, 1]
        assert await ids(mine.with_members(["Tom", "Jerry"])) == [0, 1, 2, 3, 4]
        assert await ids(mine.exists("n").skip(1).limit(2)) == [1, 2]
        both = jerry.query().or_(mine.equal_to("n", 0), mine.equal_to("n", 4))
        assert both.where
        every = [one.id async for one in jerry.query().contains_members(["Jerry"]).limit(2)]
        assert sorted(every) == sorted(made.values())
        compact = await jerry.query().compact().first()
        assert compact.members == ()
        await tom.send(made[2], TextMessage("the last word"))
        latest = await jerry.query().with_last_message().first()
        assert (latest.id, latest.last_message.text) == (made[2], "the last word")
        assert await jerry.query().equal_to("n", 99).first() is None


async def test_what_was_missed_is_told_after_a_reconnection(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        old = await tom.create_conversation(["Jerry"], name="old")
        await w.forget()
        jerry.pause()
        await trio.sleep(1)
        new = await tom.create_conversation(["Jerry"], name="new", unique=False)
        await tom.remove_members(old, ["Jerry"])
        jerry.resume()
        events = await w.seen("Jerry")
        assert Invited(new.id, "Tom", at=new.created_at) in events
        assert [e.conversation_id for e in events if isinstance(e, Kicked)] == [old.id]
        await w.forget()
        jerry.pause()
        jerry.resume()
        assert await w.seen("Jerry") == [], "nothing is told twice"


async def test_missed_moderation_is_told_once(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"], unique=False)
        await trio.sleep(1)
        await tom.silence_members(chat, ["Jerry"])
        await w.forget()
        jerry.pause()
        await trio.sleep(1)
        await tom.unsilence_members(chat, ["Jerry"])
        await trio.sleep(1)
        await tom.block_members(chat, ["Jerry"])
        jerry.resume()
        *told, gap = await w.seen("Jerry")
        assert sorted(kinds(told)) == ["Blocked", "Kicked", "Unmuted"]
        assert gap == Gap(chat.id, notices=3)
        await tom.unblock_members(chat, ["Jerry"])
        await jerry.join(chat)
        await tom.block_members(chat, ["Jerry"])
        await w.forget()
        jerry.pause()
        await trio.sleep(1)
        jerry.resume()
        assert await w.seen("Jerry") == []


async def test_any_number_of_clients_can_be_asked_for(autojump_clock):
    async with world("Tom", "Jerry", "Mary") as (_w, tom, _jerry, _mary):
        everybody = [f"nobody{n}" for n in range(43)] + ["Mary", "Tom", "Jerry"]
        assert await tom.online(everybody) == ["Mary", "Tom", "Jerry"]
        assert await tom.online([]) == []


async def test_operations_are_signed_by_the_application(autojump_clock):
    asked = []

    async def sign(cid, client_id, targets, action):
        asked.append((cid, client_id, list(targets), action))
        if action == "kick":
            raise RuntimeError("not today")
        return Signature("s", 1, "n")

    async with world("Tom", sign_conversation=sign, sign_block_list=sign) as (_w, tom):
        chat = await tom.create_conversation(["Jerry"])
        await tom.add_members(chat, ["Spike", "Mary"])
        with pytest.raises(SigningError, match="sign error: not today"):
            await tom.remove_members(chat, ["Mary"])
        await tom.block_members(chat, ["Butch"])
    assert asked == [
        (None, "Tom", ["Jerry", "Tom"], "create"),
        (chat.id, "Tom", ["Mary", "Spike"], "invite"),
        (chat.id, "Tom", ["Mary"], "kick"),
        (chat.id, "Tom", ["Butch"], "conversation-block-clients"),
    ]


@pytest.mark.parametrize("bad", ["Jerry", [1], [""], [None]])
async def test_ids_are_checked_before_anything_is_sent(autojump_clock, bad):
    async with world("Tom") as (_w, tom):
        chat = await tom.create_conversation([])
        with pytest.raises((TypeError, ValueError)):
            await tom.add_members(chat, bad)
        with pytest.raises((TypeError, ValueError)):
            await tom.create_conversation(bad)


async def test_a_change_of_members_stands_for_its_conversation(autojump_clock):
    async with world("Tom", "Jerry", "Mary") as (_w, tom, jerry, mary):
        chat = await tom.create_conversation(["Jerry"], unique=False)
        chat = await tom.add_members(chat, ["Mary"])
        chat = await tom.add_members(chat, ["Spike"])
        assert chat.id == chat.conversation.id
        assert chat.conversation.members == ("Jerry", "Tom", "Mary", "Spike")
        assert (await tom.send(chat, TextMessage("hi"))).conversation_id == chat.id
        await mary.mute(chat)
        assert (await tom.update_conversation(chat, name="x")).name == "x"
        assert [m.text async for m in jerry.history(chat)] == ["hi"]
        await jerry.read(chat)
        assert await tom.is_member([chat]) == {chat.id: True}
        with tom.events(conversation=chat) as events:
            await jerry.send(chat, TextMessage("ho"))
            assert (await anext(events)).message.text == "ho"
        left = await tom.remove_members(chat, ["Spike"])
        assert left.conversation.members == ("Jerry", "Tom", "Mary")


async def test_a_query_without_a_client_is_asked_by_any(autojump_clock):
    async with world("Tom") as (_w, tom):
        chat = await tom.create_conversation(["Jerry"], attributes={"topic": "film"})
        query = ConversationQuery().equal_to("topic", "film")
        assert await tom.query(query).find() == [chat]
        either = ConversationQuery.or_(query, ConversationQuery().equal_to("topic", "food"))
        assert await tom.query(either).first() == chat
        pickled = pickle.loads(pickle.dumps(tom.query().equal_to("topic", "film").limit(1)))
        assert await tom.query(pickled).find() == [chat]


async def test_any_number_of_ids_can_be_asked_about(autojump_clock):
    async with world("Tom") as (_w, tom):
        ids = [f"{number:024x}" for number in range(500)]
        chats = [await tom.create_conversation([f"m{n}"]) for n in range(3)]
        fleeting = await tom.create_temporary_conversation(["Jerry"])
        asked = [chats[0].id, *ids, chats[1].id, fleeting.id, *(f"_tmp:{one}" for one in ids)]
        found = await tom.get_conversations([*asked, chats[2].id], refresh=True)
        assert len(found) == len(asked) + 1
        assert [one.id for one in found if one is not None] == [
            chats[0].id, chats[1].id, fleeting.id, chats[2].id,
        ]  # fmt: skip
        known = await tom.is_member([*ids, *chats])
        assert [cid for cid, member in known.items() if member] == [chat.id for chat in chats]
        assert await tom.is_member([]) == {}
        members = [f"{number:064}" for number in range(150)]
        await tom.silence_members(chats[0], ["m0"])
        await tom.block_members(chats[0], ["Spike"])
        assert await tom.which_silenced(chats[0], [*members, "m0"]) == ["m0"]
        assert await tom.which_blocked(chats[0], [*members, "Spike"]) == ["Spike"]
        long = [f"{'猫' * 63}{number}" for number in range(10)]
        assert await tom.which_blocked(chats[0], long) == []


async def test_without_a_connection_every_operation_waits_for_it(autojump_clock):
    async with world("Tom") as (_w, tom):
        chat = await tom.create_conversation(["Jerry"], attributes={"n": 1})
        tom.pause()
        made = []

        async def keep(operation, *args, **options):
            made.append(await operation(*args, **options))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep, tom.create_chat_room)
            nursery.start_soon(partial(keep, tom.create_conversation, ["Jerry"], unique=False))
            nursery.start_soon(partial(keep, tom.update_conversation, chat, increment={"n": 2}))
            await trio.sleep(5)
            assert made == []
            tom.resume()
        assert len({one.id for one in made}) == 3
        (counted,) = [one for one in made if one.id == chat.id]
        assert counted.attributes == {"n": 3}
        tom.pause()
        with pytest.raises(ConnectionLost, match="not connected for 20 seconds"):
            await tom.create_chat_room()
        tom.resume()
        await tom.online(["Jerry"])
        assert len(await tom.query_chat_rooms().find()) == 1
