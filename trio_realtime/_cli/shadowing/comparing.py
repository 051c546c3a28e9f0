"""Whether two servers say the same.

Frames are compared as flat JSON, field by field. Each kind of field has a rule: what a server
invents has to correspond one to one, what it merely chooses only has to be there, lists that have
no order are compared as sets, and everything else has to be equal. What came about through
somebody whom ours does not hear is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from trio_realtime._cli.readable import printable
from trio_realtime._cli.recording import Recorded
from trio_realtime._cli.unknown_fields import KNOWN_KEYS, unknown_numbers
from trio_realtime.wire import encode_json

from .translation import Translation, milliseconds

UNKNOWN = "unknown fields"
ABSENT = "absent"
LONGEST_VALUE = 160

IDS = frozenset(
    {
        "cid",
        "id",
        "infoId",
        "mid",
        "msgId",
        "msg_mid",
        "objectId",
        "srcCid",
        "tmid",
        "uid",
        "uniqueId",
    }
)
LISTS_OF_IDS = frozenset({"blockedCids", "cids", "ids", "tempConvIds", "toCids"})
TIMES = frozenset(
    {
        "ackAt",
        "cdate",
        "createdAt",
        "lastPatchTime",
        "lm",
        "maxAckTimestamp",
        "maxReadTimestamp",
        "msg_timestamp",
        "notifTime",
        "patchTimestamp",
        "patch_timestamp",
        "readAt",
        "serverTs",
        "t",
        "timestamp",
        "udate",
        "updatedAt",
    }
)
CHOSEN = frozenset({"detail", "deviceToken", "n", "s", "st", "stTtl"})
"""What each server may choose as it likes, or nobody should see."""
CONTENT = frozenset({"attr", "attrModified", "binaryMsg", "data", "msg"})
"""What applications have put there; a field named ``id`` in it is none of the protocol's."""
CREATED = ("cdate", "createdAt", "timestamp", "t")
"""Fields that tell how old the thing is that an object is about."""
MESSAGE_IDS = ("uid", "msgId", "msg_mid")
MOMENTS = ("timestamp", "t", "msg_timestamp")
"""Fields with the time of a message, which clients repeat; likewise its id."""
KEYS: Mapping[str, str] = {
    "convs": "cid",
    "failedPids": "code",
    "maxReadTuples": "pid",
    "results": "objectId",
}
"""Lists of objects without an order, and what tells their objects apart."""
LAST = frozenset({"lm", "updatedAt", "udate", "unread", "mentioned"})
"""What changes in a conversation with each message; likewise what begins with ``msg``."""
LATE = frozenset({"ackAt", "readAt", "maxAckTimestamp", "maxReadTimestamp"})
"""What is not there until somebody else has been heard, which may be a moment later on one of them."""
MESSAGES: Mapping[str, tuple[str, str]] = {
    "logs": ("msgId", "timestamp"),
    "convs": ("mid", "timestamp"),
    "patches": ("mid", "timestamp"),
    "results": ("msg_mid", "msg_timestamp"),
}
"""Lists whose objects name a message, and its time."""


@attrs.frozen
class Difference:
    """One field that is not the same."""

    path: str
    old: str
    ours: str

    def __str__(self) -> str:
        return f"{self.path}: {self.old}, ours {self.ours}"


def flat(frame: Recorded) -> dict[str, Any]:
    """What a frame says but for its serial number. Raises `WireError`."""
    command = frame.command()
    fields: dict[str, Any] = json.loads(encode_json(command))
    fields.pop("i", None)
    if frame.dialect == "json":
        given = json.loads(frame.payload)
        unknown = sorted(given.keys() - KNOWN_KEYS)
    else:
        unknown = unknown_numbers(command)
    if unknown:
        fields[UNKNOWN] = unknown
    return fields


@attrs.define
class Comparison:
    """What one server said and what the other did."""

    known: Translation
    learns: bool
    """Whether the two are sure to answer the same, so that their inventions correspond."""
    ordered: bool = False
    """Whether the client has asked for an order of results."""
    differences: list[Difference] = attrs.field(factory=list)
    ids: dict[str, str] = attrs.field(factory=dict)
    times: dict[int, int] = attrs.field(factory=dict)
    moments: dict[str, int] = attrs.field(factory=dict)
    cursors: dict[str, str] = attrs.field(factory=dict)

    def compare(self, old: dict[str, Any], ours: dict[str, Any]) -> list[Difference]:
        """The differences between two frames."""
        self._objects("", old, ours, new=True)
        return self.differences

    def _differ(self, path: str, old: Any, ours: Any) -> None:
        self.differences.append(Difference(path or "all of it", shown(old), shown(ours)))

    def _objects(
        self, path: str, old: dict[str, Any], ours: dict[str, Any], *, new: bool, last: bool = True
    ) -> None:
        times = [time for key in CREATED if (time := milliseconds(old.get(key))) is not None]
        new = self.known.is_new(times[0]) if times else new
        conversation = old.get("cid")
        if isinstance(conversation, str) and conversation in self.known.outside:
            last = False
        for key in {**old, **ours}:
            if not last and (key in LAST or key.startswith("msg_")):
                continue
            at = f"{path}.{key}" if path else key
            if key in LATE and (key not in old or key not in ours):
                continue
            if key not in old or key not in ours:
                there = {k: _hidden(k, v) for k, v in (old if key in old else ours).items()}
                self._differ(at, *(there[key] if key in s else _Absent() for s in (old, ours)))
            else:
                self._values(at, key, old[key], ours[key], new=new)
        if self.learns:
            moment = next((time for key in MOMENTS if (time := milliseconds(ours.get(key)))), None)
            name = next((old[key] for key in MESSAGE_IDS if key in old), None)
            if moment is not None and isinstance(name, str):
                self.moments[name] = moment

    def _values(self, path: str, key: str, old: Any, ours: Any, *, new: bool) -> None:
        if key in CHOSEN:
            return
        if key == "next" and isinstance(old, str) and isinstance(ours, str):
            self.cursors[old] = ours
        elif key in IDS and isinstance(old, str) and isinstance(ours, str):
            self._ids(path, old, ours, new=new)
        elif key in TIMES and type(old) is type(ours) and milliseconds(old) is not None:
            self._times(path, old, ours)
        elif key in CONTENT:
            if not _equal(old, ours):
                self._differ(path, old, ours)
        elif isinstance(old, dict) and isinstance(ours, dict):
            if key == "results":  # of each conversation whether one is a member
                old = {self.known.ids.get(name, name): part for name, part in old.items()}
            self._objects(path, old, ours, new=new)
        elif isinstance(old, list) and isinstance(ours, list):
            self._lists(path, key, old, ours, new=new)
        elif not _equal(old, ours):
            self._differ(path, old, ours)

    def _ids(self, path: str, old: str, ours: str, *, new: bool) -> None:
        if not self._corresponds(old, ours) and not (
            self.learns and new and self._untaken(old, ours)
        ):
            self._differ(path, old, ours)
        elif self.learns:
            self.ids[old] = ours

    def _corresponds(self, old: str, ours: str) -> bool:
        known = self.ids.get(old, self.known.ids.get(old))
        return (ours == old and self._untaken(old, ours)) if known is None else known == ours

    def _untaken(self, old: str, ours: str) -> bool:
        """Whether neither of the two stands for another one."""
        free = old not in self.known.ids and old not in self.ids
        return free and self.known.old_name(ours) is None and ours not in self.ids.values()

    def _times(self, path: str, old: Any, ours: Any) -> None:
        before, now = milliseconds(old), milliseconds(ours)
        assert before is not None
        new = self.known.is_new(before)
        if before != now and not (new and now is not None and self.known.is_new_here(now)):
            self._differ(path, old, ours)
        elif self.learns and path.rpartition(".")[2] in MOMENTS:
            self.times[before] = now

    def _lists(self, path: str, key: str, old: list[Any], ours: list[Any], *, new: bool) -> None:
        if all(isinstance(item, dict) for item in [*old, *ours]):
            named = KEYS.get(key)
            if named is None or (key == "results" and self.ordered):
                self._in_order(path, key, old, ours, new=new)
            else:
                self._by_name(path, key, named, old, ours, new=new)
        elif all(isinstance(item, str) for item in [*old, *ours]):
            renamed = old
            if key in LISTS_OF_IDS:
                renamed = [self.known.ids.get(item, item) for item in old]
            if sorted(renamed) != sorted(ours):
                self._differ(path, old, ours)
        elif not _equal(old, ours):
            self._differ(path, old, ours)

    def _in_order(self, path: str, key: str, old: list[Any], ours: list[Any], *, new: bool) -> None:
        inside = [item for item in old if not self._is_outside(key, item)]
        spare = len(old) - len(inside)
        # Where messages of outsiders were left out of a page, ours had room for others.
        while spare and len(ours) > len(inside):
            spare -= 1
            self._trim(key, inside, ours := list(ours))
        if len(inside) != len(ours):
            self._differ(f"number of {path}", len(inside), len(ours))
            return
        for number, (one, other) in enumerate(zip(inside, ours, strict=True)):
            self._objects(f"{path}[{number}]", one, other, new=new)

    def _trim(self, key: str, inside: list[Any], ours: list[Any]) -> None:
        """Leave out the end of a page at which it goes on: the first, unless it begins the same."""
        named = MESSAGES.get(key, ("", ""))[0]
        same = inside and self._corresponds(str(inside[0].get(named)), str(ours[0].get(named)))
        del ours[-1 if same else 0]

    def _by_name(
        self, path: str, key: str, named: str, old: list[Any], ours: list[Any], *, new: bool
    ) -> None:
        rest = list(ours)
        for item in old:
            name = item.get(named)
            other = next((o for o in rest if self._same_name(named, name, o.get(named))), None)
            if other is None and self.learns and key != "results" and len(rest) == len(old) == 1:
                other = rest[0]
            outside = self._is_outside(key, item)
            at = f"{path}[{name}]"
            if other is not None:
                rest.remove(other)
                if not outside or key == "results":
                    self._objects(at, item, other, new=new, last=not outside)
            elif not outside or key == "results":
                self._differ(at, item, _Absent())
        for item in rest:
            self._differ(f"{path}[{item.get(named)}]", _Absent(), item)

    def _same_name(self, named: str, old: Any, ours: Any) -> bool:
        if named in IDS and isinstance(old, str) and isinstance(ours, str):
            return self._corresponds(old, ours)
        return _equal(old, ours)

    def _is_outside(self, key: str, item: dict[str, Any]) -> bool:
        """Whether an object is about a message that ours was never told."""
        if key not in MESSAGES:
            return False
        id_key, time_key = MESSAGES[key]
        time, name = milliseconds(item.get(time_key)), item.get(id_key)
        new = time is not None and self.known.is_new(time)
        return new and isinstance(name, str) and name not in self.known.ids


class _Absent:
    """Where a field is not there."""


def _hidden(key: str, value: Any) -> Any:
    return "***" if key in CHOSEN else value


def _equal(old: Any, ours: Any) -> bool:
    """Likewise where 1 is not True."""
    return json.dumps(old, sort_keys=True) == json.dumps(ours, sort_keys=True)


def shown(value: Any) -> str:
    """A value for people: on one line, and without secrets."""
    if isinstance(value, _Absent):
        return ABSENT
    if isinstance(value, dict):
        value = {key: _hidden(key, part) for key, part in value.items()}
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def ids_in(value: Any) -> Iterator[str]:
    """Every id of the protocol's in what a server says."""
    if isinstance(value, list):
        for item in value:
            yield from ids_in(item)
    if isinstance(value, dict):
        for key, part in value.items():
            if key in IDS and isinstance(part, str):
                yield part
            elif key not in CONTENT:
                yield from ids_in(part)
