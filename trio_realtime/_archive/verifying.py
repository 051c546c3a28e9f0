"""Comparing an archive with a server: every message, and every conversation with its members.

Both sides are read once and summed up by conversation; only where the sums differ are the messages
themselves compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from trio_realtime._values.json import decode_date
from trio_realtime._values.protocol import TEMPORARY_PREFIX
from trio_realtime.rest import NotFound, RestClient

from .archive import read_manifest, rows_of, whole_rows_of
from .manifest import Manifest

Row = Mapping[str, Any]
Key = tuple[str, str]

COMPARED = 100
"""Conversations whose messages are compared one by one; of the others it is said that they differ."""

COLUMNS = ("name", "c", "tr", "sys", "createdAt", "lm")


@attrs.define
class Sum:
    """The messages of a conversation, whatever their order."""

    count: int = 0
    digest: int = 0

    def add(self, row: Row) -> None:
        """Count a message."""
        self.count += 1
        self.digest ^= int.from_bytes(_digest(row))

    def remove(self, row: Row) -> None:
        """Count a message no longer."""
        self.count -= 1
        self.digest ^= int.from_bytes(_digest(row))


@attrs.define
class Comparison:
    """What was compared, and what differs."""

    messages: int = 0
    conversations: int = 0
    newer: int = 0
    """Messages that the server has taken since the archive was made."""
    differences: list[str] = attrs.field(factory=list)
    stage: str = ""


async def verify(
    path: Path, rest: RestClient, comparison: Comparison, tell: Callable[[str], None]
) -> None:
    """Compare; ``tell`` hears of each difference at once.

    Raises:
        ArchiveDamaged, RestError: one of the two cannot be read.
    """

    def differ(text: str) -> None:
        comparison.differences.append(text)
        tell(text)

    manifest = await trio.to_thread.run_sync(read_manifest, path)
    comparison.stage = "reading the archive"
    ours = await trio.to_thread.run_sync(sums_of, path, manifest)
    comparison.stage = "reading the server"
    theirs: dict[str, Sum] = {}
    until = manifest.until or 0
    async for row in _history(rest):
        if row["timestamp"] >= until:
            comparison.newer += 1
            continue
        theirs.setdefault(str(row.get("to")), Sum()).add(row)
    # Those live for a while only, and are not imported.
    for sums in (ours, theirs):
        for cid in [cid for cid in sums if cid.startswith(TEMPORARY_PREFIX)]:
            del sums[cid]
    comparison.messages = sum(one.count for one in ours.values())
    differing = sorted(
        cid for cid in {*ours, *theirs} if ours.get(cid, Sum()) != theirs.get(cid, Sum())
    )
    comparison.stage = "comparing messages"
    wanted = set(differing[:COMPARED])
    rows = await trio.to_thread.run_sync(_messages_of, path, manifest, wanted) if wanted else {}
    for cid in differing[:COMPARED]:
        there = {}
        try:
            async for stored in rest.history(cid):
                if stored.timestamp_ms < until:
                    there[stored.id] = stored.row
        except NotFound:
            there = {}
        for text in _message_differences(cid, rows.get(cid, {}), there):
            differ(text)
    for cid in differing[COMPARED:]:
        here, at = ours.get(cid, Sum()), theirs.get(cid, Sum())
        differ(f"conversation {cid}: {here.count:,} messages in the archive, {at.count:,} there")
    comparison.stage = "comparing conversations"
    kept = await trio.to_thread.run_sync(_conversations_of, path, manifest)
    comparison.conversations = len(kept)
    async for found in rest.rows("_Conversation"):
        row = kept.pop(found["objectId"], None)
        if row is not None:
            for text in _conversation_differences(row, found):
                differ(text)
    for cid in kept:
        differ(f"conversation {cid}: it is not on the server")


def sums_of(path: Path, manifest: Manifest) -> dict[str, Sum]:
    """The messages of an archive by conversation, each as it was last. Reads the disk."""
    sums: dict[str, Sum] = {}
    # Only what was read a second time can have changed.
    again: dict[Key, Row] = {}
    for part in manifest.of("messages"):
        for row in whole_rows_of(path, part):
            one = sums.setdefault(str(row.get("to")), Sum())
            key = (str(row.get("to")), str(row.get("msg-id")))
            if part.again and (before := again.get(key)) is not None:
                one.remove(before)
            if part.again:
                again[key] = row
            one.add(row)
    if again:
        _without_superseded(path, manifest, sums, again)
    return sums


def _without_superseded(
    path: Path, manifest: Manifest, sums: dict[str, Sum], again: Mapping[Key, Row]
) -> None:
    """Count no message in a part that a later part has once more."""
    for part in manifest.of("messages"):
        if part.again:
            continue
        for row, _ in rows_of(path, part):
            if (str(row.get("to")), str(row.get("msg-id"))) in again:
                sums[str(row.get("to"))].remove(row)


async def _history(rest: RestClient) -> Any:
    last: Row | None = None
    while True:
        place = {} if last is None else {"timestamp": last["timestamp"], "msgid": last["msg-id"]}
        page = await rest.call("GET", "/1.2/rtm/messages", params={"limit": 1000, **place})
        if not page:
            return
        for row in page:
            yield row
        last = page[-1]


def _messages_of(path: Path, manifest: Manifest, cids: set[str]) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for part in manifest.of("messages"):
        for row, _ in rows_of(path, part):
            if row.get("to") in cids:
                found.setdefault(row["to"], {})[str(row.get("msg-id"))] = row
    return found


def _conversations_of(path: Path, manifest: Manifest) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for part in manifest.of("conversations"):
        for row in whole_rows_of(path, part):
            found[str(row.get("objectId"))] = row
    return found


def _message_differences(
    cid: str, here: Mapping[str, Row], there: Mapping[str, Row]
) -> Iterator[str]:
    where = f"conversation {cid}, message"
    for mid in here.keys() - there.keys():
        yield f"{where} {mid}: it is not on the server"
    for mid in there.keys() - here.keys():
        yield f"{where} {mid}: it is not in the archive"
    for mid in here.keys() & there.keys():
        for name, (ours, theirs) in _fields_differing(here[mid], there[mid]):
            yield f"{where} {mid}: {name} is {ours!r:.60} in the archive, {theirs!r:.60} there"


def _fields_differing(here: Row, there: Row) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name, ours, theirs in zip(_FIELDS, _compared(here), _compared(there), strict=True):
        if ours != theirs:
            yield name, (ours, theirs)


def _conversation_differences(here: Row, there: Row) -> Iterator[str]:
    where = f"conversation {here['objectId']}"
    for name in COLUMNS:
        ours, theirs = _column(here.get(name)), _column(there.get(name))
        if ours != theirs and (ours or theirs) and not (name == "lm" and _later(theirs, ours)):
            yield f"{where}: {name} is {ours!r:.60} in the archive, {theirs!r:.60} there"
    if here.get("sys") is True or here.get("tr") is True:
        return
    ours, theirs = _names(here.get("m")), _names(there.get("m"))
    if missing := [one for one in ours if one not in theirs]:
        yield f"{where}: not members there: {', '.join(missing)[:200]}"
    if added := [one for one in theirs if one not in ours]:
        yield f"{where}: members only there: {', '.join(added)[:200]}"
    if set(ours) == set(theirs) and ours != theirs:
        yield f"{where}: its members are in another order there"


def _names(value: Any) -> list[str]:
    names: Iterable[Any] = value if isinstance(value, list) else []
    return list(dict.fromkeys(str(name) for name in names))


def _column(value: Any) -> Any:
    if isinstance(value, Mapping) or (isinstance(value, str) and value[10:11] == "T"):
        return decode_date(value) or value
    return value


def _later(theirs: Any, ours: Any) -> bool:
    """What was said there since shows in the time of the last message."""
    return ours is None or (theirs is not None and theirs >= ours)


_FIELDS = ("timestamp", "from", "data", "bin")


def _compared(row: Row) -> list[Any]:
    return [row.get("timestamp"), row.get("from"), row.get("data"), row.get("bin") is True]


def _digest(row: Row) -> bytes:
    text = json.dumps([row.get("to"), row.get("msg-id"), *_compared(row)])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
