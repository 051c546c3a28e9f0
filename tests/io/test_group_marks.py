from __future__ import annotations

from tests.io.scripted_server import in_background, push
from trio_realtime import GroupRead, GroupReceipts, open_client


async def test_a_mark_that_comes_with_the_login_is_not_lost(scripted, autojump_clock):
    async def server():
        link = await scripted.accept()
        await link.welcome()
        await link.send(push(mid="m", timestamp=10, text='{"_lctype":-101}', transient=True))
        await link.serve_goodbye()

    plugins = [GroupReceipts().plugin]
    async with (
        in_background(server),
        open_client("Tom", plugins=plugins, **scripted.options) as tom,
    ):
        event = await anext(tom.events(GroupRead))
        assert (event.conversation_id, event.by) == ("c", "Jerry")
