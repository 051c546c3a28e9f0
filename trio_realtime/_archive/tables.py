"""Reading rows into an archive: conversations and what belongs to each of them.

Classes of the storage service are read in the order of their ids. What has to be asked for each
conversation, its lists and subscribers, follows the rows of conversations in the archive: where it
has come to is a place in those files, so that later rounds go on with the rows that they add.

Protocol: docs/protocol/rest.md §6, §7 and §8, docs/protocol/exports.md §4.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import quote

import attrs
import trio

from trio_realtime._values.conversations import ConversationKind
from trio_realtime.rest import CreationCursor, NotFound, Refused, RestClient

from .archive import LARGEST_PART, Archive, line_of
from .manifest import Kind
from .progress import Progress

PAGE = 1000
CLASSES: Mapping[Kind, str] = {
    "conversations": "_Conversation",
    "member-infos": "_ConversationMemberInfo",
    "service-messages": "_SysMessage",
}
FOLLOWING: tuple[Kind, ...] = ("lists", "subscribers")
"""What is asked for each conversation."""

GONE = frozenset({101, 4303, 4401})
"""Codes for a conversation that was removed meanwhile."""

Row = dict[str, Any]
Ask = Callable[[Row], Awaitable[list[Row]]]


@attrs.define
class TableReader:
    """Reads the rows of one round."""

    rest: RestClient
    archive: Archive
    progress: Progress
    at_once: int
    last_subscribers: dict[str, str] = attrs.field(factory=dict)
    """Of each service conversation the subscriber behind whom to go on."""
    refused: list[str] = attrs.field(factory=list)
    """Conversations about which the server has not answered, and what it said."""

    def plan(self, *, all_lists: bool, all_subscribers: bool) -> None:
        """Have every part go on, or begin it.

        Lists and subscribers are asked for of conversations that were added or changed, or of all.
        """
        manifest = self.archive.manifest
        manifest.unanswered.clear()
        for kind in (*CLASSES, *FOLLOWING):
            parts = manifest.of(kind)
            if not parts or parts[-1].bytes >= LARGEST_PART:
                cursor = parts[-1].cursor if parts and kind in FOLLOWING else None
                part = manifest.new_part(kind, cursor=cursor)
            else:
                part = parts[-1]
                part.complete = False
            if (kind == "lists" and all_lists) or (kind == "subscribers" and all_subscribers):
                part.cursor = None

    async def read_class(self, kind: Kind) -> None:
        """Read the rows of a class that were changed since the last round."""
        part = self.archive.manifest.of(kind)[-1]
        if part.complete or kind in self.archive.manifest.unanswered:
            return
        where = self._changed_since(kind)
        await self.archive.commit()
        known = await trio.to_thread.run_sync(self._known, kind)
        try:
            while True:
                rows, cursor = await self._page(kind, where, part.cursor)
                if not rows:
                    break
                fresh = [row for row in rows if known.get(row["objectId"]) != _digest(row)]
                await self.archive.append(part, fresh, cursor=cursor)
                if kind == "conversations":
                    self.progress.conversations += len(fresh)
                else:
                    self.progress.other_rows += len(fresh)
        except Refused as error:
            if kind == "conversations" or part.rows:
                raise
            # A class comes into being with its first row.
            self._unanswered(kind, error)
        part.complete, part.cursor = True, None
        self.archive.changed()

    async def _page(
        self, kind: Kind, where: Mapping[str, Any] | None, cursor: Any
    ) -> tuple[list[Row], Any]:
        """A page of rows, and the cursor behind it.

        Conversations have ids of several forms, which the service keeps apart: they go by their
        creation. The ids of other classes are the service's own.
        """
        name = CLASSES[kind]
        if kind != "conversations":
            rows = await self.rest.rows_page(name, where, after=cursor or "", limit=PAGE)
            return rows, rows[-1]["objectId"] if rows else cursor
        place = None
        if isinstance(cursor, dict):
            place = CreationCursor(str(cursor["createdAt"]), frozenset(cursor["seen"]))
        rows, place = await self.rest.created_page(name, where, place, limit=PAGE)
        if place is None:
            return rows, None
        return rows, {"createdAt": place.created_at, "seen": sorted(place.seen)}

    def _changed_since(self, kind: Kind) -> Mapping[str, Any] | None:
        since = self.archive.manifest.since
        if since is None or kind == "member-infos":
            # Roles are few, and not every server says when they were changed.
            return None
        date = {"__type": "Date", "iso": since}
        if kind == "conversations":
            return {"$or": [{"updatedAt": {"$gte": date}}, {"lm": {"$gte": date}}]}
        return {"createdAt": {"$gte": date}}

    def _known(self, kind: Kind) -> dict[str, bytes]:
        """The rows that may come again, by id. Reads the disk."""
        since = self.archive.manifest.since
        if since is None:
            return {}
        return {
            row["objectId"]: _digest(row)
            for part in self.archive.manifest.of(kind)
            for row, _ in self.archive.rows(part)
            if kind == "member-infos" or _latest(row) >= since
        }

    async def read_lists(self) -> None:
        """Ask for silence and block lists of the conversations that were added."""
        await self._follow("lists", self._lists)

    async def read_subscribers(self) -> None:
        """Ask for the subscribers of service conversations, those behind the last one known."""
        await self.archive.commit()
        await trio.to_thread.run_sync(self._load_last_subscribers)
        await self._follow("subscribers", self._subscribers)

    async def _follow(self, kind: Kind, ask: Ask) -> None:
        """Ask something about each row of a conversation behind the cursor of a part."""
        part = self.archive.manifest.of(kind)[-1]
        if part.complete or kind in self.archive.manifest.unanswered:
            return
        await self.archive.commit()
        places = dict(part.cursor or {})
        rows = self._conversations(places, kind)
        conversations = self.archive.manifest.of("conversations")
        if kind == "lists":
            size = sum(one.bytes for one in conversations)
            behind = sum(places.values()) / size if size else 1.0
            self.progress.to_look_at = sum(one.rows for one in conversations)
            self.progress.looked_at = round(behind * self.progress.to_look_at)
        while taken := await trio.to_thread.run_sync(lambda: list(islice(rows, self.at_once))):
            try:
                answers = await self._ask_all(ask, [row for row, _ in taken])
            except NotFound as error:
                self._unanswered(kind, error)
                break
            found = [one for answer in answers for one in answer]
            await self.archive.append(part, found, cursor=taken[-1][1])
            self.progress.other_rows += len(found)
            if kind == "lists":
                self.progress.looked_at += len(taken)
        if self.refused:
            self.archive.manifest.unanswered[kind] = (
                f"of {len(self.refused)} conversations, such as {self.refused[0]}"
            )
            self.refused.clear()
        part.complete = True
        self.archive.changed()

    def _conversations(
        self, places: Mapping[str, int], kind: Kind
    ) -> Iterator[tuple[Row, dict[str, int]]]:
        """Rows of conversations behind these places, each with the places behind it."""
        places = dict(places)
        for part in self.archive.manifest.of("conversations"):
            for row, place in self.archive.rows(part, places.get(part.file, 0)):
                places[part.file] = place
                if kind == "lists" or row.get("sys") is True:
                    yield row, dict(places)

    async def _ask_all(self, ask: Ask, rows: list[Row]) -> list[list[Row]]:
        answers: list[list[Row]] = [[] for _ in rows]
        missing: list[NotFound] = []

        async def one(number: int, row: Row) -> None:
            try:
                answers[number] = await ask(row)
            except Refused as error:
                if int(error.code) in GONE:
                    # What was removed meanwhile has none any more.
                    return
                if isinstance(error, NotFound):
                    missing.append(error)
                else:
                    self.refused.append(f"{row['objectId']}: {error}")

        async with trio.open_nursery() as nursery:
            for number, row in enumerate(rows):
                nursery.start_soon(one, number, row)
        if missing:
            raise missing[0]
        return answers

    async def _lists(self, row: Row) -> list[Row]:
        cid, kind = row["objectId"], kind_of(row)
        silenced: list[str] = []
        if kind is not ConversationKind.SERVICE:
            silenced = await _all(self.rest.silenced(cid, kind=kind))
        blocked = await _all(self.rest.blocked(cid, kind=kind))
        if not silenced and not blocked and self.archive.manifest.since is None:
            return []
        return [{"conv_id": cid, "silenced": silenced, "blocked": blocked}]

    async def _subscribers(self, row: Row) -> list[Row]:
        cid = row["objectId"]
        path = f"/1.2/rtm/service-conversations/{quote(cid, safe='')}/subscribers"
        found: list[Row] = []
        while True:
            after = self.last_subscribers.get(cid)
            page = await self.rest.call("GET", path, params={"limit": 50, "client_id": after})
            rows = [one for one in page if isinstance(one, dict)] if isinstance(page, list) else []
            if not rows or rows[-1].get("subscriber") == after:
                return found
            found += rows
            self.last_subscribers[cid] = str(rows[-1].get("subscriber"))

    def _load_last_subscribers(self) -> None:
        for part in self.archive.manifest.of("subscribers"):
            for row, _ in self.archive.rows(part):
                self.last_subscribers[str(row.get("conv_id"))] = str(row.get("subscriber"))

    def _unanswered(self, kind: Kind, error: Refused) -> None:
        self.archive.manifest.unanswered[kind] = f"{error.status}: {error}"


def kind_of(row: Mapping[str, Any]) -> ConversationKind:
    """The kind of the conversation that a row describes."""
    if row.get("sys") is True:
        return ConversationKind.SERVICE
    return ConversationKind.CHAT_ROOM if row.get("tr") is True else ConversationKind.NORMAL


def _latest(row: Mapping[str, Any]) -> str:
    """When a row was last changed, as a text that can be compared."""
    times = [row.get(name) for name in ("createdAt", "updatedAt", "lm")]
    texts = [time.get("iso") if isinstance(time, Mapping) else time for time in times]
    return max((text for text in texts if isinstance(text, str)), default="")


def _digest(row: Mapping[str, Any]) -> bytes:
    return hashlib.blake2b(line_of(row), digest_size=16).digest()


async def _all(items: AsyncIterator[str]) -> list[str]:
    return [item async for item in items]
