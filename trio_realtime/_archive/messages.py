"""Reading messages into an archive: a window of time after another, several at once.

The feed of an app comes newest first; the next page begins behind the last message of the one
before, named by its time and id. Pages may be shorter than asked for at any time, so that only an
empty one is the end.

Protocol: docs/protocol/rest.md §4, docs/protocol/exports.md §5.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from typing import Any, Literal

import attrs
import trio

from trio_realtime.rest import RestClient

from .archive import LARGEST_PART, Archive, line_of
from .errors import ArchiveDamaged, UnexpectedAnswer
from .manifest import Part
from .progress import Progress
from .windows import EXTENDED, windows

PAGE = 1000
BEGINNING = 1_356_998_400_000
"""Earlier than any message: the first moment of 2013."""

OVERLAP = 15 * 60_000
"""Milliseconds before the end of the last round that are read again: what was stored late, edited
or recalled is found there."""

Row = dict[str, Any]
Key = tuple[str, str]
"""Conversation and message."""

News = Literal["new", "changed", "known"]


class Known:
    """The messages of a while, to tell what is new and what has changed."""

    def __init__(self) -> None:
        self._digests: dict[Key, tuple[int, bytes]] = {}
        self._low: int | None = None

    def forget(self) -> None:
        """Know nothing."""
        self._digests.clear()
        self._low = None

    def load(self, archive: Archive, low: int, high: int) -> None:
        """Know what the archive has between two times. Reads the disk, so far as need be."""
        if self._low is not None and self._low <= low:
            kept = {key: value for key, value in self._digests.items() if value[0] >= low}
            self._digests, self._low = kept, low
            return
        self._digests.clear()
        for part in archive.manifest.of("messages"):
            if part.first is None or part.last is None or part.first > high or part.last < low:
                continue
            for row, _ in archive.rows(part):
                if low <= row["timestamp"] <= high:
                    self.add(row)
        self._low = low

    def add(self, row: Row) -> None:
        """Know a message."""
        self._digests[_key(row)] = (row["timestamp"], _digest(row))

    def tell(self, row: Row) -> News:
        """What an archive with the known messages makes of one."""
        before = self._digests.get(_key(row))
        if before is None:
            return "new"
        return "known" if before[1] == _digest(row) else "changed"


@attrs.define
class MessageReader:
    """Reads the messages of one round."""

    rest: RestClient
    archive: Archive
    progress: Progress
    known: Known

    async def ends(self) -> tuple[int, int] | None:
        """The times of the earliest message that is wanted and behind the latest; None of none.

        Raises:
            UnexpectedAnswer, RestError: the server does not say.
        """
        newest = await self._page(limit=1)
        if not newest:
            return None
        high = newest[0]["timestamp"] + 1
        if self.archive.manifest.until is not None:
            return self.archive.manifest.until, high
        oldest = await self._page(reversed=True, limit=1)
        low = oldest[0]["timestamp"] if oldest else high
        # Not every server may know how to begin at the other end.
        if low >= high or await self._page(timestamp=low, limit=1):
            low = min(BEGINNING, high - 1)
        return low, high

    def plan(self, ends: tuple[int, int] | None, again: int) -> None:
        """Decide what belongs to a round, as parts of the manifest.

        ``again`` milliseconds before the end of the last round are read again.
        """
        if ends is None:
            return
        manifest = self.archive.manifest
        low, high = ends
        if manifest.until is None:
            self._divide(low, high, again=False)
        else:
            low = max(min(low, high) - again, 0)
            tail = max(manifest.of("messages"), key=lambda part: part.high or 0, default=None)
            short = high - low <= EXTENDED + again
            # What is changed has to stand behind what it was: in the same part, or a later one.
            if tail and short and low >= (tail.low or 0) and tail.bytes < LARGEST_PART:
                tail.reading, tail.cursor, tail.complete, tail.again = low, None, False, True
                tail.high = max(high, tail.high or 0)
            else:
                self._divide(low, high, again=True)
        manifest.until = max(high, manifest.until or 0)

    def _divide(self, low: int, high: int, *, again: bool) -> None:
        for window in windows(low, high):
            self.archive.manifest.new_part(
                "messages", low=window.low, high=window.high, reading=window.low, again=again
            )

    async def read(self, at_once: int) -> None:
        """Read what the parts of the round lack, so many at once."""
        unread = deque(part for part in self.archive.manifest.of("messages") if not part.complete)
        self.progress.span = sum(_span(part) for part in unread)
        self.progress.span_before = sum(_span_done(part) for part in unread)
        self.progress.span_done = self.progress.span_before

        repeated = [part for part in unread if part.again]
        if len(repeated) > 1:
            # Each for itself: a long time at once would be too much to know.
            self.known.forget()

        async def work() -> None:
            while unread:
                part = unread.popleft()
                known = self.known if len(repeated) == 1 else Known()
                if part.again:
                    await self.archive.commit()
                    low, high = part.reading or 0, part.high or 0
                    await trio.to_thread.run_sync(known.load, self.archive, low, high)
                await self._read(part, known)

        async with trio.open_nursery() as nursery:
            for _ in range(min(at_once, len(unread))):
                nursery.start_soon(work)

    async def _read(self, part: Part, known: Known) -> None:
        low, high = part.reading or 0, part.high or 0
        cursor = Cursor.of(part)
        while True:
            place = {"timestamp": high} if cursor is None else cursor.place()
            page = await self._page(**place, till_timestamp=max(low - 1, 0), limit=PAGE)
            rows, cursor, more = following(page, cursor, low, high)
            before = _span_done(part)
            fresh = self._fresh(rows, known) if part.again else rows
            times = [row["timestamp"] for row in fresh]
            earlier = [time for time in (part.first, part.last) if time is not None]
            await self.archive.append(
                part,
                fresh,
                cursor=None if cursor is None else cursor.to_json(),
                first=min([*times, *earlier], default=None),
                last=max([*times, *earlier], default=None),
            )
            self.progress.messages += len(fresh)
            self.progress.span_done += _span_done(part) - before
            if not more:
                break
        self.progress.span_done += _span(part) - _span_done(part)
        part.complete, part.cursor, part.reading = True, None, None
        self.archive.changed()

    async def _page(self, **params: Any) -> list[Row]:
        path = "/1.2/rtm/messages"
        page = await self.rest.call("GET", path, params=params)
        if not isinstance(page, list) or not all(map(_is_message, page)):
            raise UnexpectedAnswer(
                f"The server has answered GET {path} with something else than messages."
            )
        return page

    def _fresh(self, rows: Iterable[Row], known: Known) -> list[Row]:
        fresh = []
        for row in rows:
            news = known.tell(row)
            self.progress.changed += news == "changed"
            if news != "known":
                known.add(row)
                fresh.append(row)
        return fresh


@attrs.frozen
class Cursor:
    """The last message that was read, and all that were read of its time."""

    timestamp: int
    id: str
    seen: frozenset[Key]

    @classmethod
    def of(cls, part: Part) -> Cursor | None:
        """Where a part goes on; None at its beginning. Raises `ArchiveDamaged`."""
        given = part.cursor
        if given is None:
            return None
        try:
            seen = frozenset((str(cid), str(mid)) for cid, mid in given["seen"])
            return cls(int(given["timestamp"]), str(given["msgid"]), seen)
        except (KeyError, TypeError, ValueError) as error:
            raise ArchiveDamaged(f"The manifest is damaged: the cursor of {part.file}.") from error

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return {**self.place(), "seen": sorted(map(list, self.seen))}

    def place(self) -> dict[str, Any]:
        """As parameters of a request."""
        return {"timestamp": self.timestamp, "msgid": self.id}


def following(
    page: Iterable[Row], cursor: Cursor | None, low: int, high: int
) -> tuple[list[Row], Cursor | None, bool]:
    """The rows of a page that belong to a window and were not in the pages before.

    Also where to go on, and whether there may be more.

    Raises:
        UnexpectedAnswer: the page does not go on where it was told to.
    """
    rows: list[Row] = []
    more = False
    for row in page:
        at, key = row["timestamp"], _key(row)
        if cursor is not None and key in cursor.seen:
            continue
        if at > (high if cursor is None else cursor.timestamp):
            raise UnexpectedAnswer(
                "The server does not page through its messages: it answers with later ones than "
                "were asked for. No complete copy can be made this way."
            )
        if at < low:
            return rows, cursor, False
        seen = cursor.seen if cursor is not None and cursor.timestamp == at else frozenset()
        cursor, more = Cursor(at, row["msg-id"], seen | {key}), True
        # Some servers answer with the very time at which they are to begin.
        if at < high:
            rows.append(row)
    return rows, cursor, more


def _is_message(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("msg-id"), str)
        and isinstance(row.get("timestamp"), int)
        and not isinstance(row.get("timestamp"), bool)
    )


def _span(part: Part) -> int:
    return max((part.high or 0) - (part.reading or 0), 0)


def _span_done(part: Part) -> int:
    cursor = part.cursor
    if not isinstance(cursor, dict):
        return 0
    return max((part.high or 0) - int(cursor["timestamp"]), 0)


def _key(row: Row) -> Key:
    return str(row.get("to")), row["msg-id"]


def _digest(row: Row) -> bytes:
    return hashlib.blake2b(line_of(row), digest_size=16).digest()
