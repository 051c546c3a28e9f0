"""Conversations over REST: what is made, found, changed and removed, and who is told."""

from __future__ import annotations

import pytest

from tests.rest.world import backend, client_of
from trio_realtime import (
    ConversationKind,
    ConversationUpdated,
    ErrorCode,
    Invited,
    Kicked,
    MembersJoined,
    MembersLeft,
)
from trio_realtime.rest import NotFound, Refused


async def test_who_is_put_into_a_conversation_is_told(clock):
    async with backend() as (server, rest), client_of(server, "Jerry") as jerry:
        with jerry.events(Invited, MembersJoined, MembersLeft, Kicked) as events:
            chat = await rest.create_conversation(["Tom", "Jerry"], name="Lunch")
            assert isinstance(await anext(events), Invited)
            await anext(events)
            await rest.add_members(chat, ["Spike"])
            assert (await anext(events)).members == ("Spike",)
            await rest.remove_members(chat, ["Spike"])
            assert (await anext(events)).members == ("Spike",)
            await rest.remove_members(chat, ["Jerry"])
            assert isinstance(await anext(events), Kicked)
        assert await rest.members(chat) == ["Tom"]
        assert (await rest.conversation(chat)).members == ("Tom",)


async def test_the_same_members_find_the_same(clock):
    async with backend() as (server, rest), client_of(server, "Tom") as tom:
        first = await rest.create_conversation(["Tom", "Jerry"], unique=True)
        again = await rest.create_conversation(["Jerry", "Tom"], unique=True)
        other = await rest.create_conversation(["Jerry", "Tom"])
        assert first.id == again.id != other.id
        assert (await tom.create_conversation(["Jerry"])).id == first.id


async def test_a_change_reaches_the_members(clock):
    async with backend() as (server, rest), client_of(server, "Jerry") as jerry:
        chat = await rest.create_conversation(["Jerry"], attributes={"topic": "film", "n": 1})
        with jerry.events(ConversationUpdated) as events:
            await rest.update_conversation(chat, {"name": "New", "n": {"__op": "Increment"}})
            await anext(events)
        found = await rest.conversation(chat.id)
        assert (found.name, found.attributes) == ("New", {"topic": "film", "n": 2})
        path = f"/1.2/rtm/conversations/{chat.id}"
        await rest.call("PUT", path, body={"topic": "music"})
        assert (await rest.call("GET", path))["topic"] == "music"


async def test_members_as_a_storage_sdk_changes_them(clock):
    async with backend() as (_server, rest):
        chat = await rest.create_conversation(["Tom"])
        path = f"/1.1/classes/_Conversation/{chat.id}"
        for operation, objects, left in (
            ("AddUnique", ["Jerry", "Tom"], {"Tom", "Jerry"}),
            ("Remove", ["Tom", "Nobody"], {"Jerry"}),
            ("Add", ["Spike"], {"Jerry", "Spike"}),
        ):
            await rest.call("PUT", path, body={"m": {"__op": operation, "objects": objects}})
            assert set(await rest.members(chat)) == left
        await rest.call("PUT", path, body={"m": ["Butch"], "mu": ["Butch"]})
        assert (await rest.members(chat), await rest.muted_members(chat)) == (["Butch"], ["Butch"])
        with pytest.raises(Refused):
            await rest.call("PUT", path, body={"m": {"__op": "Increment", "objects": ["x"]}})


async def test_a_new_row_as_a_storage_sdk_writes_it(clock):
    async with backend() as (_server, rest):
        given = {
            "name": "Lunch",
            "m": {"__op": "AddUnique", "objects": ["Tom", "Jerry"]},
            "n": {"__op": "Increment", "amount": 2},
            "gone": {"__op": "Delete"},
        }
        row = await rest.call("POST", "/1.1/classes/_Conversation", body=given)
        assert (row["m"], row["n"], "gone" in row) == (["Tom", "Jerry"], 2, False)
        assert (await rest.conversation(row["objectId"])).members == ("Tom", "Jerry")
        bad = {"m": {"__op": "Increment", "amount": 1}}
        with pytest.raises(Refused):
            await rest.call("POST", "/1.1/classes/_Conversation", body=bad)


async def test_do_not_disturb(clock):
    async with backend() as (_server, rest):
        chat = await rest.create_conversation(["Tom", "Jerry"])
        await rest.mute(chat, ["Tom"])
        assert await rest.muted_members(chat) == ["Tom"]
        await rest.unmute(chat, ["Tom"])
        assert await rest.muted_members(chat) == []
        with pytest.raises(Refused) as refused:
            await rest.mute(chat, ["Spike"])
        assert refused.value.code is ErrorCode.CONVERSATION_MEMBERSHIP_REQUIRED


async def test_queries_of_all_kinds(clock):
    async with backend() as (_server, rest):
        made = [
            await rest.create_conversation(["Tom"], attributes={"n": number}) for number in range(5)
        ]
        room, news = await rest.create_chat_room(), await rest.create_service_conversation()
        assert {one.id async for one in rest.conversations(page=2)} == {
            one.id for one in (*made, room, news)
        }
        assert await rest.count({"m": "Tom"}) == 5
        found = await rest.conversation_page({"n": {"$gt": 1}}, order="-n", limit=2, skip=1)
        assert [one.attributes["n"] for one in found] == [3, 2]
        for path, kind in (
            ("conversations", ConversationKind.NORMAL),
            ("chatrooms", ConversationKind.CHAT_ROOM),
            ("service-conversations", ConversationKind.SERVICE),
        ):
            rows = (await rest.call("GET", f"/1.2/rtm/{path}"))["results"]
            assert {row["conv_type"] for row in rows} == {int(kind)}
        every = await rest.call("GET", "/1.2/rtm/all-conversations", params={"limit": 6})
        assert len(every["results"]) == 6
        (short,) = (
            await rest.call(
                "GET",
                "/1.1/classes/_Conversation",
                params={"keys": "n", "limit": 1, "include": "c", "where": {"n": 4}},
            )
        )["results"]
        assert set(short) == {"objectId", "createdAt", "updatedAt", "n"}


@pytest.mark.parametrize(
    "params",
    [
        {"where": "{"},
        {"where": "[]"},
        {"where": '{"a":{"$where":"1"}}'},
        {"where": '{"a":{"$regex":"("}}'},
        {"limit": "many"},
        {"skip": "1.5"},
        {"order": ",".join("abcdefghijk")},
    ],
)
async def test_a_query_that_cannot_be_meant_is_refused(params, clock):
    async with backend() as (_server, rest):
        with pytest.raises(Refused) as refused:
            await rest.call("GET", "/1.1/classes/_Conversation", params=params)
        assert refused.value.status == 400


async def test_what_is_removed_is_gone(clock):
    async with backend() as (_server, rest):
        chat = await rest.create_conversation(["Tom", "Jerry"])
        await rest.send(chat, "x", sender="Tom")
        await rest.delete_conversation(chat)
        with pytest.raises(NotFound) as missing:
            await rest.conversation(chat)
        assert missing.value.code == 101
        assert await rest.history_page() == []
        with pytest.raises(NotFound):
            await rest.delete_conversation(chat)


@pytest.mark.parametrize(
    "body",
    [
        {"m": "Tom"},
        {"m": [1]},
        {"m": [""]},
        {"m": [f"c{number}" for number in range(501)]},
        {"name": 5},
        {"c": 5},
        {"c": "x" * 100},
        {"attr": "x" * 6000},
    ],
)
async def test_what_cannot_be_created_is_refused(body, clock):
    async with backend() as (_server, rest):
        for path in ("/1.2/rtm/conversations", "/1.1/classes/_Conversation"):
            with pytest.raises(Refused):
                await rest.call("POST", path, body=body)
        assert await rest.count() == 0


async def test_a_kind_has_its_own_paths(clock):
    async with backend() as (_server, rest):
        chat = await rest.create_conversation(["Tom"])
        for path in ("chatrooms", "service-conversations"):
            with pytest.raises(Refused) as refused:
                await rest.call("GET", f"/1.2/rtm/{path}/{chat.id}")
            assert refused.value.code is ErrorCode.NORMAL_CONVERSATION_REQUIRED


async def test_what_a_storage_sdk_creates_has_its_kind(clock):
    async with backend() as (_server, rest):
        for given, kind in (
            ({"tr": True}, ConversationKind.CHAT_ROOM),
            ({"sys": True}, ConversationKind.SERVICE),
            ({"m": ["Tom"]}, ConversationKind.NORMAL),
        ):
            row = await rest.call("POST", "/1.1/classes/_Conversation", body=given)
            assert (await rest.conversation(row["objectId"])).kind is kind
