"""What a plugin may do with the client it is given."""

from __future__ import annotations

import attrs
import pytest
import trio

from tests.client.world import world
from trio_realtime import (
    ConversationEvent,
    IMClient,
    MessageReceived,
    Plugin,
    TextMessage,
)


@attrs.frozen
class Shouted(ConversationEvent):
    """Somebody raised his voice."""

    text: str


class Ears:
    """Turns loud messages into events of its own."""

    def __init__(self):
        self.client: IMClient | None = None
        self.plugin = Plugin(
            name="ears", on_client_create=self.attach, before_message_dispatch=self.listen
        )

    def attach(self, client: IMClient) -> None:
        self.client = client

    def listen(self, message):
        if message.text.isupper():
            self.client.publish(Shouted(message.conversation_id, message.text))
            return False
        return True


async def test_a_plugin_publishes_events_of_its_own(autojump_clock):
    ears = Ears()
    async with world("Tom") as (w, tom):
        jerry = await w.client("Jerry", plugins=[ears.plugin])
        chat = await tom.create_conversation(["Jerry"])
        heard = jerry.events(Shouted, conversation=chat)
        other = jerry.events(Shouted, conversation="elsewhere")
        everything = jerry.events(Shouted, MessageReceived)
        for text in ("hello", "JERRY!"):
            await tom.send(chat, TextMessage(text))
        assert await anext(heard) == Shouted(chat.id, "JERRY!")
        first, second = [await anext(everything) for _ in range(2)]
        assert first.message.text == "hello"
        assert second == Shouted(chat.id, "JERRY!")
        with pytest.raises(trio.WouldBlock):
            other.receive_nowait()


async def test_what_a_plugin_publishes_at_once_waits_for_the_first_loop(autojump_clock):
    plugin = Plugin(
        name="eager", on_client_create=lambda client: client.publish(Shouted("c", "FIRST"))
    )
    async with world() as (w,), w.open("Tom", plugins=[plugin]) as tom:
        assert await anext(tom.events(Shouted)) == Shouted("c", "FIRST")


@pytest.mark.parametrize("wrong", ["Shouted", Shouted, None])
async def test_only_events_can_be_published(wrong, autojump_clock):
    async with world("Tom") as (_w, tom):
        with pytest.raises(TypeError, match="an event"):
            tom.publish(wrong)
