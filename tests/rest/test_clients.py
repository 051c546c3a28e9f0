"""Clients over REST."""

from __future__ import annotations

import pytest

from tests.rest.world import backend, client_of
from trio_realtime import KickedError
from trio_realtime.rest import Refused


async def test_who_is_online(clock):
    async with backend() as (server, rest), client_of(server, "Tom"):
        asked = ["Tom", *(f"c{number}" for number in range(50))]
        assert await rest.online(asked) == ["Tom"]
        with pytest.raises(Refused):
            await rest.call("POST", "/1.2/rtm/clients/check-online", body={"client_ids": asked})


async def test_statistics(clock):
    async with backend() as (server, rest):
        async with client_of(server, "Tom"), client_of(server, "Jerry"):
            assert (await rest.statistics()).online == 2
        found = await rest.statistics()
        assert (found.online, found.today) == (0, 2)


async def test_a_kick(clock):
    async def stay(server, rest):
        async with client_of(server, "Tom") as tom:
            with tom.events() as events:
                await rest.kick("Tom", "a long word for a reason")
                async for _ in events:
                    pass

    async with backend() as (server, rest):
        with pytest.raises(KickedError):
            await stay(server, rest)


async def test_a_login_of_a_storage_user_is_signed(clock):
    async def lookup(app, token):
        return "Tom" if token == "good" else None

    async with backend(user_lookup=lookup) as (_server, rest):
        client, signature = await rest.sign("good")
        assert (client, len(signature.signature)) == ("Tom", 40)
