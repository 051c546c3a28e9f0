"""``trio-realtime demo``: two clients talk through a real server over real sockets."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import trio

from trio_realtime import (
    BaseMessage,
    Disconnected,
    Event,
    Gap,
    IMClient,
    MessageReceived,
    Reconnected,
    Subscription,
    TextMessage,
    open_client,
)

TIME_LIMIT = 60.0
"""Seconds after which the demo counts as failed."""

DIALOGUE = (
    ("Tom", "Jerry, are you up? 起床了吗？"),
    ("Jerry", "Out of bed already! 🧀"),
    ("Tom", "Then come out and play."),
    ("Jerry", "Only if you close your eyes and count to ten."),
)
WHILE_AWAY = ("One…", "two…", "three… ready or not, here I come! 🐱")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "demo",
        help="watch two clients talk through a server started for the occasion",
        description="Start a server on a free loopback port in a temporary directory, log in "
        "Tom and Jerry, and let them talk, lose a connection, recover and remember.",
    )
    parser.set_defaults(run=run)


async def run(_args: argparse.Namespace) -> int:
    """Run the demo; 0 if nothing was lost."""
    with trio.move_on_after(TIME_LIMIT), tempfile.TemporaryDirectory() as directory:
        return await _talk(Path(directory))
    print(f"demo failed: not finished after {TIME_LIMIT:g} seconds")
    return 1


async def _talk(directory: Path) -> int:
    from trio_realtime.testing import open_server

    async with open_server(data=directory) as server:
        print(f"server   listening on {server.url}, data in a temporary directory")

        def client(name: str) -> AbstractAsyncContextManager[IMClient]:
            return open_client(
                name, app_id=server.app_id, app_key=server.app_key, server=server.url
            )

        async with client("Tom") as tom, client("Jerry") as jerry:
            print("Tom      logged in")
            print("Jerry    logged in")
            people = {"Tom": tom, "Jerry": jerry}
            inboxes = {name: person.events(MessageReceived) for name, person in people.items()}
            chat = await tom.create_conversation(["Jerry"], name="Tom & Jerry")
            print(f"Tom      created the conversation {chat.name!r} ({chat.id})")

            expected: list[str] = []
            seen: list[str] = []
            for speaker, text in DIALOGUE:
                listener = "Jerry" if speaker == "Tom" else "Tom"
                await people[speaker].send(chat, TextMessage(text))
                print(f"{speaker:8} → {text}")
                expected.append(text)
                seen.append(await _hear(listener, inboxes[listener]))

            line = jerry.events(Disconnected, Reconnected, Gap)
            server.drop_connections("Jerry")
            await _until(line, Disconnected)
            print("Jerry    lost his connection")
            for text in WHILE_AWAY:
                await tom.send(chat, TextMessage(text))
                print(f"Tom      → {text}   (Jerry is away)")
                expected.append(text)
            await _until(line, Reconnected)
            print("Jerry    is back, by himself")
            seen += [await _hear("Jerry", inboxes["Jerry"]) for _ in WHILE_AWAY]

            history = [_text(message) async for message in jerry.history(chat, oldest_first=True)]
            print("history  as Jerry reads it back from the server:")
            for number, text in enumerate(history, 1):
                print(f"         {number}. {text}")

        lost = sum(text not in seen for text in expected)
        lost += sum(text not in history for text in expected)
        if lost or seen != expected or history != expected:
            print(f"demo failed: {len(expected)} messages, {lost} lost")
            return 1
        print(f"demo ok: {len(expected)} messages, 0 lost")
        return 0


async def _hear(name: str, inbox: Subscription[MessageReceived]) -> str:
    event = await anext(inbox)
    text = _text(event.message)
    print(f"{name:8} ← {text}")
    return text


def _text(message: BaseMessage) -> str:
    return message.text if isinstance(message, TextMessage) else message.summary


async def _until(events: Subscription[Any], kind: type[Event]) -> None:
    async for event in events:
        if isinstance(event, kind):
            return
