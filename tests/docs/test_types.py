"""What type checkers see of the operations: a conversation keeps its class."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.docs

PROGRAM = """
from typing import assert_type
from collections.abc import AsyncIterator
from trio_realtime import *

async def program(tom: IMClient, chat: Conversation, room: ChatRoom, gate: ServiceConversation) -> None:
    assert_type(await tom.update_conversation(chat, name="x"), Conversation)
    assert_type(await tom.update_conversation("id", name="x"), BaseConversation)
    assert_type(await tom.mute(room), ChatRoom)
    assert_type(await tom.unmute("id"), BaseConversation)
    assert_type(await tom.join(room), ChatRoom)
    assert_type(await tom.quit(chat), Conversation)
    assert_type(await tom.subscribe(gate), ServiceConversation)
    change = await tom.add_members(chat, ["Mary"])
    assert_type(change, MemberChange[Conversation])
    assert_type(await tom.remove_members(change, ["Mary"]), MemberChange[Conversation])
    assert_type(await tom.add_members("id", ["Mary"]), MemberChange[BaseConversation])
    assert_type(await tom.send(change, TextMessage("x")), TextMessage)
    tom.history(change)
    tom.unread(change)
    await tom.read(change)
    assert_type(await tom.history_page(chat, type=TextMessage), list[TextMessage])
    assert_type(await tom.history_page(chat, type=-1), list[BaseMessage])
    assert_type(tom.history(chat, type=ImageMessage), AsyncIterator[ImageMessage])
    assert_type(tom.history(chat), AsyncIterator[BaseMessage])
    rooms = tom.query_chat_rooms()
    assert_type(await ConversationQuery.or_(rooms, rooms).find(), list[ChatRoom])
    assert_type(await tom.query(rooms).first(), ChatRoom | None)
    assert_type(await tom.query(ConversationQuery()).find(), list[BaseConversation])
"""  # fmt: skip


def test_operations_keep_the_class_of_what_they_are_given(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
