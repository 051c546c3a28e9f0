"""What is asked about clients over HTTP."""

from __future__ import annotations

import pytest

from tests.server.api.caller import Caller
from tests.server.gateway.world import conversation_of, direct, peer_of, world


@pytest.mark.parametrize(
    "path",
    [
        "/1.2/rtm/clients/Jerry/unread-count",
        "/1.2/rtm/clients/Jerry/unread-count?conv_id={cid}",
        "/1.1/rtm/messages/unread/Jerry",
        "/1.1/rtm/messages/unread/Jerry/{cid}",
    ],
)
async def test_unread_messages_are_counted_among_the_queries(path, clock, monkeypatch):
    """Not among the quick reads, for which history and logins of others wait."""
    async with world() as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Jerry")
        for _ in range(3):
            await tom.call(direct(cid, "x"))
        store = server.server.gateway.store
        modes, submit = [], store.submit

        def noted(*args, mode="write", **kwargs):
            modes.append(mode)
            submit(*args, mode=mode, **kwargs)

        monkeypatch.setattr(store, "submit", noted)
        answer = await Caller(server)("GET", path.format(cid=cid), master=False)
        assert answer.value == {"count": 3}
        assert modes == ["query"]
