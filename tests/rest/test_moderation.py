"""Roles, silence and block lists over REST."""

from __future__ import annotations

import pytest
import trio

from tests.rest.world import backend, client_of
from trio_realtime import (
    BlockedError,
    CommandError,
    ConversationKind,
    ErrorCode,
    Kicked,
    Role,
    Silenced,
)
from trio_realtime.rest import Refused


async def test_silence_for_good_and_for_a_while(clock):
    async with backend() as (server, rest), client_of(server, "Jerry") as jerry:
        chat = await rest.create_conversation(["Tom", "Jerry"])
        await rest.silence(chat, ["Jerry"])
        assert [one async for one in rest.silenced(chat)] == ["Jerry"]
        with pytest.raises(Silenced):
            await jerry.send(chat.id, "x")
        await rest.unsilence(chat, ["Jerry"])
        await jerry.send(chat.id, "1")
        await rest.silence(chat, ["Jerry"], seconds=60)
        with pytest.raises(CommandError) as refused:
            await jerry.send(chat.id, "x")
        assert refused.value.code is ErrorCode.CONVERSATION_TEMPORARY_BLACKLISTED
        assert [one async for one in rest.silenced(chat)] == []
        await trio.sleep(61)
        await jerry.send(chat.id, "2")
        for seconds in (0, -1, 90_000):
            with pytest.raises(Refused):
                await rest.silence(chat, ["Jerry"], seconds=seconds)


async def test_the_first_version_silences_too(clock):
    async with backend() as (_server, rest):
        chat = await rest.create_conversation(["Tom", "Jerry"])
        given = {"conv_id": chat.id, "client_id": "Jerry"}
        path = "/1.1/rtm/conversation/blacklist"
        assert await rest.call("POST", path, body={**given, "ttl": 60}) == {}
        assert await rest.call("DELETE", path, body=given) == {}


async def test_a_list_of_many_pages(clock):
    async with backend() as (_server, rest):
        chat = await rest.create_conversation(["Tom"])
        names = [f"c{number}" for number in range(250)]
        await rest.block(chat, names)
        assert [one async for one in rest.blocked(chat)] == names
        await rest.unblock(chat, names[1:])
        assert [one async for one in rest.blocked(chat)] == names[:1]
        with pytest.raises(Refused):
            await rest.block(chat, [f"d{number}" for number in range(501)])


async def test_who_is_blocked_is_out(clock):
    async with backend() as (server, rest), client_of(server, "Jerry") as jerry:
        chat, room = await rest.create_conversation(["Tom", "Jerry"]), await rest.create_chat_room()
        await jerry.join(room)
        with jerry.events(Kicked) as events:
            await rest.block(chat, ["Jerry"])
            await anext(events)
        with pytest.raises(BlockedError):
            await jerry.send(chat.id, "x")
        await rest.block(room, ["Jerry"])
        assert await rest.members(room) == []
        with pytest.raises(CommandError):
            await jerry.join(room)


async def test_what_a_client_blocks(clock):
    async with backend() as (server, rest), client_of(server, "Jerry") as jerry:
        chat, room = await rest.create_conversation(["Tom", "Jerry"]), await rest.create_chat_room()
        await jerry.join(room)
        await rest.block_for_client("Jerry", chat)
        await rest.block_for_client("Jerry", room)
        assert await rest.members(chat) == ["Tom"]
        assert await rest.members(room) == []
        assert {one async for one in rest.blocked_by_client("Jerry")} == {chat.id, room.id}
        with pytest.raises(Refused):
            await rest.add_members(chat, ["Jerry"])
        await rest.unblock_for_client("Jerry", chat)
        await rest.add_members(chat, ["Jerry"])


async def test_roles(clock):
    async with backend() as (server, rest), client_of(server, "Tom") as tom:
        chat = await tom.create_conversation(["Jerry", "Spike"])
        await rest.set_role(chat, "Jerry", Role.MANAGER)
        (stored,) = [one async for one in rest.roles(chat)]
        assert (stored.client_id, stored.role) == ("Jerry", Role.MANAGER)
        (row,) = [one async for one in rest.rows("_ConversationMemberInfo")]
        assert (row["objectId"], row["cid"], row["role"]) == (stored.id, chat.id, "Manager")
        path = f"/1.2/rtm/conversations/{chat.id}/member-infos"
        await rest.call("DELETE", f"{path}/{stored.id}")
        assert [one.role async for one in rest.roles(chat)] == [Role.MEMBER]
        await rest.call("PUT", f"{path}/{stored.id}", body={"role": "Manager"})
        assert [one.role async for one in rest.roles(chat)] == [Role.MANAGER]
        for client, role in (("Jerry", Role.OWNER), ("Tom", Role.MEMBER), ("Nobody", Role.MANAGER)):
            with pytest.raises(Refused):
                await rest.set_role(chat, client, role)
        with pytest.raises(Refused):
            await rest.call("PUT", f"{path}/{'5' * 24}", body={"role": "Manager"})


async def test_roles_of_a_room(clock):
    async with backend() as (_server, rest):
        room = await rest.create_chat_room()
        await rest.set_role(room.id, "Tom", Role.MANAGER, kind=ConversationKind.CHAT_ROOM)
        assert [one.client_id async for one in rest.roles(room)] == ["Tom"]
