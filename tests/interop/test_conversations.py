"""Every method of the npm SDK's conversations and queries, with a client of ours watching."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio

from tests.interop.js_peer import PATIENCE, Js, JsError
from trio_realtime import (
    Blocked,
    ConversationUpdated,
    Invited,
    Kicked,
    MemberInfoUpdated,
    MembersJoined,
    MembersLeft,
    MembersMuted,
    MembersUnmuted,
    Muted,
    Role,
    TextMessage,
    Unblocked,
    Unmuted,
)

pytestmark = pytest.mark.interop


@pytest.fixture
async def tour(js, log_in):
    """JavaScript Tom, Python Jerry with an inbox, and a group of both."""
    async with log_in("Jerry") as jerry:
        tom = await js.log_in("Tom")
        group = await tom.call(
            "createConversation",
            {"members": ["Jerry"], "name": "group", "unique": False, "topic": "cheese"},
        )
        inbox = jerry.events(conversation=group["id"])
        await next_of(inbox, Invited)
        await next_of(inbox, MembersJoined)
        yield tom, jerry, group, inbox


async def next_of(events, kind):
    with trio.fail_after(PATIENCE):
        event = await anext(events)
    assert isinstance(event, kind), event
    return event


async def refused(call, code):
    with pytest.raises(JsError) as caught:
        await call
    assert caught.value.code == code
    return caught.value


async def test_attributes_are_saved_and_fetched(tour):
    tom, jerry, group, inbox = tour
    # A notice that comes with the answer lets the SDK fetch the conversation once more, and what
    # was set meanwhile would be gone.
    await tom.next_event("membersjoined")
    assert await group.call("get", "topic") == "cheese"
    await group.call("set", "topic", "milk")
    await group.call("set", "settings", {"colour": "grey"})
    await group.call("save")
    changed = await next_of(inbox, ConversationUpdated)
    assert (changed.by, changed.attributes["topic"]) == ("Tom", "milk")
    known = await jerry.get_conversation(group["id"], refresh=True)
    assert known.attributes == {"topic": "milk", "settings": {"colour": "grey"}}
    await jerry.update_conversation(known, {"settings.colour": "brown"}, name="renamed")
    [_updated, where] = await tom.next_event("conversationinfoupdated")
    assert where["name"] == "renamed"
    await group.call("fetch")
    assert await group.call("get", "settings") == {"colour": "brown"}
    assert (await group.call("toFullJSON"))["name"] == "renamed"
    assert (await group.call("toJSON"))["id"] == group["id"]
    missing = await tom.call("getConversation", "5" * 24)
    assert missing is None


async def test_members_are_added_removed_join_and_quit(tour):
    tom, jerry, group, inbox = tour
    done = await group.call("add", ["Mary", "Spike"])
    assert sorted(done["successfulClientIds"]) == ["Mary", "Spike"]
    assert done["failures"] == []
    joined = await next_of(inbox, MembersJoined)
    assert (joined.by, sorted(joined.members)) == ("Tom", ["Mary", "Spike"])
    assert await group.call("count") == 4
    done = await group.call("remove", ["Spike", "Nobody"])
    assert sorted(done["successfulClientIds"]) == ["Nobody", "Spike"]
    left = await next_of(inbox, MembersLeft)
    assert "Spike" in left.members
    await group.call("quit")
    assert (await next_of(inbox, MembersLeft)).members == ("Tom",)
    await group.call("join")
    assert (await next_of(inbox, MembersJoined)).members == ("Tom",)
    await jerry.quit(group["id"])
    await next_of(inbox, Kicked)
    while (await tom.next_event("membersleft"))[0]["members"] != ["Jerry"]:
        pass


async def test_do_not_disturb(tour):
    _tom, jerry, group, _inbox = tour
    await group.call("mute")
    assert await group.get("muted") is True
    assert (await jerry.get_conversation(group["id"], refresh=True)).muted_members == ("Tom",)
    await group.call("unmute")
    assert await group.get("muted") is False


async def test_roles(tour, js):
    tom, jerry, group, inbox = tour
    infos = await group.call("getAllMemberInfo")
    assert {info["memberId"]: info["role"] for info in infos} == {"Tom": "Owner", "Jerry": "Member"}
    await group.call("updateMemberRole", "Jerry", "Manager")
    changed = await next_of(inbox, MemberInfoUpdated)
    assert changed.info.role is Role.MANAGER
    info = await group.call("getMemberInfo", "Jerry")
    assert (info["role"], info["isOwner"]) == ("Manager", False)
    assert (await group.call("getMemberInfo", "Tom"))["isOwner"] is True
    await refused(group.call("updateMemberRole", "Jerry", "Owner"), 5130)
    mary = await js.log_in("Mary")
    await group.call("add", ["Mary"])
    await next_of(inbox, MembersJoined)
    theirs = await mary.call("getConversation", group["id"])
    error = await refused(theirs.call("updateMemberRole", "Mary", "Manager"), 4320)
    assert error.message == "CONVERSATION_OPERATION_UNAUTHORIZED"
    await jerry.set_role(group["id"], "Mary", Role.MANAGER)
    [told, _where] = await tom.next_event("memberinfoupdated")
    assert told["member"] in {"Jerry", "Mary"}


async def test_silence_list(tour):
    tom, jerry, group, inbox = tour
    done = await group.call("muteMembers", ["Jerry"])
    assert done["successfulClientIds"] == ["Jerry"]
    assert (await next_of(inbox, Muted)).by == "Tom"
    assert (await next_of(inbox, MembersMuted)).members == ("Jerry",)
    page = await group.call("queryMutedMembers", {"limit": 10})
    assert page["results"] == ["Jerry"]
    done = await group.call("unmuteMembers", ["Jerry"])
    assert done["successfulClientIds"] == ["Jerry"]
    await next_of(inbox, Unmuted)
    await next_of(inbox, MembersUnmuted)
    await tom.next_event("membersmuted")
    [told, _where] = await tom.next_event("membersunmuted")
    assert told["members"] == ["Jerry"]
    await jerry.send(group["id"], TextMessage("I may speak"))


async def test_block_list(tour):
    tom, jerry, group, inbox = tour
    done = await group.call("blockMembers", ["Jerry"])
    assert done["successfulClientIds"] == ["Jerry"]
    seen = {type(await next_of(inbox, object)) for _ in range(2)}
    assert seen == {Blocked, Kicked}
    page = await group.call("queryBlockedMembers")
    assert page["results"] == ["Jerry"]
    done = await group.call("add", ["Jerry"])
    assert done["successfulClientIds"] == []
    assert done["failures"][0].code == 4548
    await group.call("unblockMembers", ["Jerry"])
    await next_of(inbox, Unblocked)
    [told, _where] = await tom.next_event("membersblocked")
    assert told["members"] == ["Jerry"]
    await tom.next_event("membersunblocked")
    await jerry.join(group["id"])
    with pytest.raises(Exception, match="4320"):
        await jerry.block_members(group["id"], ["Tom"])


async def test_events_of_our_moderation_reach_javascript(log_in, js):
    async with log_in("Jerry") as jerry:
        tom = await js.log_in("Tom")
        chat = await jerry.create_conversation(["Tom"], unique=False)
        await tom.next_event("invited")
        await jerry.silence_members(chat, ["Tom"])
        [told, where] = await tom.next_event("muted")
        assert (told["mutedBy"], where["id"]) == ("Jerry", chat.id)
        await jerry.unsilence_members(chat, ["Tom"])
        await tom.next_event("unmuted")
        await jerry.block_members(chat, ["Tom"])
        [told, _where] = await tom.next_event("blocked")
        assert told["blockedBy"] == "Jerry"
        await jerry.unblock_members(chat, ["Tom"])
        await tom.next_event("unblocked")


async def test_chat_rooms(js, log_in):
    async with log_in("Jerry") as jerry:
        tom = await js.log_in("Tom")
        room = await tom.call("createChatRoom", {"name": "Kitchen", "seats": 5})
        assert room.kind == "ChatRoom"
        await jerry.join(room["id"])
        assert await room.call("count") == 2
        query = await tom.call("getChatRoomQuery")
        await query.call("equalTo", "name", "Kitchen")
        (found,) = await query.call("find")
        assert found["id"] == room["id"]
        await jerry.send(room["id"], TextMessage("hi"))
        [message, where] = await tom.next_event("message")
        assert (message["text"], where["id"]) == ("hi", room["id"])
        await room.call("quit")
        assert await jerry.count_members(room["id"]) == 1
        await room.call("join")
        assert await jerry.count_members(room["id"]) == 2


async def test_temporary_conversations(js, log_in):
    async with log_in("Jerry") as jerry:
        tom = await js.log_in("Tom")
        fleeting = await tom.call(
            "createTemporaryConversation", {"members": ["Jerry"], "ttl": 3600}
        )
        assert fleeting["id"].startswith("_tmp:")
        assert await fleeting.get("expired") is False
        ours = await jerry.get_conversation(fleeting["id"])
        assert abs(ours.expires_at - fleeting["expiredAt"]) < timedelta(minutes=1)
        await fleeting.call("send", await js.text("quick"))
        (message,) = await jerry.history_page(ours)
        assert message.text == "quick"
        again = await tom.call("getConversation", fleeting["id"])
        assert again["id"] == fleeting["id"]


@pytest.fixture
async def library(js):
    """Tom and five conversations to search in."""
    tom = await js.log_in("Tom")
    for n in range(5):
        await tom.call(
            "createConversation",
            {
                "members": ["Jerry", f"guest{n}"],
                "name": f"chat {n}",
                "unique": False,
                "n": n,
                "tags": ["even" if n % 2 == 0 else "odd", "x"],
                "deep": {"n": n},
                **({"extra": True} if n == 3 else {}),
            },
        )
    return tom


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([("equalTo", "n", 3)], [3]),
        ([("equalTo", "deep.n", 2)], [2]),
        ([("equalTo", "tags", "odd")], [1, 3]),
        ([("notEqualTo", "n", 3)], [0, 1, 2, 4]),
        ([("lessThan", "n", 2)], [0, 1]),
        ([("lessThanOrEqualTo", "n", 2)], [0, 1, 2]),
        ([("greaterThan", "n", 2)], [3, 4]),
        ([("greaterThanOrEqualTo", "n", 2)], [2, 3, 4]),
        ([("containedIn", "n", [1, 4, 9])], [1, 4]),
        ([("notContainsIn", "n", [1, 4, 9])], [0, 2, 3]),
        ([("containsAll", "tags", ["x", "even"])], [0, 2, 4]),
        ([("sizeEqualTo", "tags", 2), ("lessThan", "n", 2)], [0, 1]),
        ([("exists", "extra")], [3]),
        ([("doesNotExist", "extra")], [0, 1, 2, 4]),
        ([("contains", "name", "at 2")], [2]),
        ([("startsWith", "name", "chat")], [0, 1, 2, 3, 4]),
        ([("endsWith", "name", "4")], [4]),
        ([("matches", "name", Js("/^CHAT [01]$/i"))], [0, 1]),
        ([("containsMembers", ["guest1"])], [1]),
        ([("withMembers", ["Jerry", "guest2"], True)], [2]),
        ([("skip", 1), ("limit", 2)], [1, 2]),
        ([("limit", 0)], []),
    ],
)
async def test_every_condition_of_a_query(library, calls, expected):
    query = await library.call("getQuery")
    await query.call("containsMembers", ["Tom"])
    for name, *args in calls:
        if name in {"containsMembers", "withMembers"}:
            query = await library.call("getQuery")
        await query.call(name, *args)
    await query.call("ascending", "n")
    found = await query.call("find")
    assert [await one.call("get", "n") for one in found] == expected


async def test_order_options_and_combinations_of_queries(library, js):
    query = await library.call("getQuery")
    await query.call("containsMembers", ["Tom"])
    await query.call("descending", "n")
    assert [await one.call("get", "n") for one in await query.call("find")] == [4, 3, 2, 1, 0]
    await query.call("ascending", "tags")
    await query.call("addDescending", "n")
    await query.call("addAscending", "name")
    assert len(await query.call("find")) == 5
    matching = await library.call("getQuery")
    await matching.call("contains", "name", "chat")
    await matching.call("compact", True)
    assert all(one["members"] == [] for one in await matching.call("find"))
    latest = await library.call("getQuery")
    await latest.call("withLastMessagesRefreshed", True)
    assert len(await latest.call("find")) == 5
    one, other = await library.call("getQuery"), await library.call("getQuery")
    await one.call("equalTo", "n", 0)
    await other.call("equalTo", "n", 4)
    either = await js.call("ConversationQuery", "or", one, other)
    await either.call("ascending", "n")
    assert [await c.call("get", "n") for c in await either.call("find")] == [0, 4]
    both = await js.call("ConversationQuery", "and", one, other)
    assert await both.call("find") == []


async def test_ping_and_parsing(js, log_in):
    async with log_in("Jerry"):
        tom = await js.log_in("Tom")
        assert await tom.call("ping", ["Jerry", "Nobody"]) == ["Jerry"]
        chat = await tom.call("createConversation", {"members": ["Jerry"], "unique": False})
        again = await tom.call("parseConversation", await chat.call("toFullJSON"))
        assert again["id"] == chat["id"]
        sent = await chat.call("send", await js.text("hi"))
        parsed = await tom.call("parseMessage", await sent.call("toFullJSON"))
        assert parsed["text"] == "hi"
