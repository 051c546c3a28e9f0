"""What the old service calls things, and what ours calls them.

Ids, times and session tokens are invented by whoever answers first. Both servers have been told
the same, so what they invent corresponds one to one: what a client says later in the names of the
old service is given to ours in ours. What is older than the rehearsal was imported, and is the
same on both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from secrets import token_bytes
from typing import Any

import attrs
import betterproto2

from trio_realtime._cli.unknown_fields import MASK
from trio_realtime.wire import (
    BlacklistCommand,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    RoomCommand,
    SessionCommand,
)

MARGIN = 60_000
"""Milliseconds by which clocks may differ."""
MOST = 200_000
"""Names that are remembered; the oldest are forgotten."""

ID_FIELDS = frozenset(
    {
        "blocked_cids",
        "cid",
        "cids",
        "id",
        "ids",
        "info_id",
        "mid",
        "msg_id",
        "src_cid",
        "temp_conv_ids",
        "tmid",
        "to_cids",
        "uid",
    }
)
TIME_FIELDS = frozenset(
    {
        "fromts",
        "last_patch_time",
        "last_unread_notif_time",
        "patch_timestamp",
        "t",
        "timestamp",
        "tots",
        "tt",
    }
)
MOMENTS = frozenset({"t", "timestamp", "tt"})
"""Those that go with the id of a message."""
SIGNED = (SessionCommand, ConvCommand, RoomCommand, BlacklistCommand)
"""Their ``t`` is the time of a signature."""


def milliseconds(value: Any) -> int | None:
    """The time that a value is, in any of the protocol's forms."""
    if isinstance(value, dict) and value.get("__type") == "Date":
        value = value.get("iso")
    if isinstance(value, str):
        try:
            return int(datetime.fromisoformat(value).timestamp() * 1000)
        except ValueError:
            return None
    # Others are no times: zeros, and counts.
    likely = isinstance(value, int) and not isinstance(value, bool) and value >= 10**11
    return value if likely else None


@attrs.define
class Translation:
    """Everything learned so far."""

    began: int
    """When the old service was first heard, in milliseconds."""
    began_here: int
    """When ours was first told something."""
    ids: dict[str, str] = attrs.field(factory=dict)
    times: dict[int, int] = attrs.field(factory=dict)
    moments: dict[str, int] = attrs.field(factory=dict)
    """When ours has taken a message: several may bear the same time on the old service."""
    cursors: dict[str, str] = attrs.field(factory=dict)
    tokens: dict[str, str] = attrs.field(factory=dict)
    """By the token of the old service, or by the client where that is masked."""
    outside: dict[str, None] = attrs.field(factory=dict)
    """Conversations in which somebody has a part whom ours does not hear."""
    _back: dict[str, str] = attrs.field(factory=dict)
    _run: bytes = attrs.field(factory=lambda: token_bytes(16))

    def is_new(self, time: int) -> bool:
        """Whether this time of the old service lies within the rehearsal."""
        return time >= self.began - MARGIN

    def is_new_here(self, time: int) -> bool:
        """Whether this time of ours does."""
        return time >= self.began_here - MARGIN

    def old_name(self, ours: str) -> str | None:
        """What the old service calls what ours calls this."""
        return self._back.get(ours)

    def learn(
        self,
        ids: dict[str, str],
        times: dict[int, int],
        moments: dict[str, int],
        cursors: dict[str, str],
    ) -> None:
        """Remember what corresponds."""
        self.ids.update(ids)
        self._back.update({ours: old for old, ours in ids.items()})
        self.times.update(times)
        self.moments.update(moments)
        self.cursors.update(cursors)
        forgetful = (self.ids, self._back, self.times, self.moments, self.cursors, self.outside)
        for known in forgetful:
            _forget(known)

    def command(
        self, command: GenericCommand, said_at: int, now: int
    ) -> tuple[GenericCommand, set[str]]:
        """What to tell ours, and the ids in it that are not known."""
        unknown: set[str] = set()
        translated: GenericCommand = self._message(command, said_at, now, unknown)
        session = translated.session_message
        if session is not None:
            if session.st is not None:
                session.st = self.token(session.st, translated.peer_id)
            if session.device_token == MASK:
                session.device_token = None
        for signed in (session, translated.conv_message, translated.blacklist_message):
            if signed is not None and signed.s == MASK:
                signed.s = signed.n = signed.t = None
        return translated, unknown

    def token(self, old: str, client_id: str | None) -> str | None:
        """The session token of ours that stands for this one."""
        return self.tokens.get(old if client_id is None or old in self.tokens else client_id)

    def learn_token(self, old: Any, ours: Any, client_id: str | None) -> None:
        """Remember a session token, which nobody else ever sees."""
        if isinstance(old, str) and isinstance(ours, str):
            for name in (old, client_id):
                if name is not None and name != MASK:
                    self.tokens[name] = ours
            _forget(self.tokens)

    def time(self, old: int, said_at: int, now: int) -> int:
        """A time that a client names: one that a server told it, or one of its own."""
        known = self.times.get(old)
        if known is not None or old < self.began:
            return old if known is None else known
        return old + now - said_at

    def _message(self, value: Any, said_at: int, now: int, unknown: set[str]) -> Any:
        if isinstance(value, list):
            return [self._message(item, said_at, now, unknown) for item in value]
        if not isinstance(value, betterproto2.Message):
            return value
        copy = type(value)()
        for name, part in vars(value).items():
            new: Any
            if name in ID_FIELDS:
                new = self._names(part, unknown)
            elif name == "next" and part is not None:
                new = self.cursors.get(part, part)
            elif name in TIME_FIELDS and isinstance(part, int):
                signed = name == "t" and isinstance(value, SIGNED)
                of = getattr(value, "tmid" if name == "tt" else "mid", None)
                moment = self.moments.get(of or "") if name in MOMENTS else None
                new = part if signed else moment or self.time(part, said_at, now)
            elif name == "dt" and part is not None:
                # Ours may know it from an earlier rehearsal, and would keep the message of then.
                new = blake2b(part.encode(), digest_size=16, key=self._run).hexdigest()
            elif name == "where" and isinstance(part, JsonObjectMessage):
                new = self._conditions(part)
            else:
                new = self._message(part, said_at, now, unknown)
            vars(copy)[name] = new
        return copy

    def _names(self, part: Any, unknown: set[str]) -> Any:
        for name in [part] if isinstance(part, str) else part or ():
            if name not in self.ids:
                unknown.add(name)
        if isinstance(part, str):
            return self.ids.get(part, part)
        return part and [self.ids.get(name, name) for name in part]

    def _conditions(self, where: JsonObjectMessage) -> JsonObjectMessage:
        """Ids may stand anywhere in conditions."""
        try:
            value = json.loads(where.data or "")
            renamed = self._renamed(value)
        except (ValueError, RecursionError):
            return where
        if renamed == value:
            return where
        return JsonObjectMessage(data=json.dumps(renamed, ensure_ascii=False))

    def _renamed(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.ids.get(value, value)
        if isinstance(value, list):
            return [self._renamed(item) for item in value]
        if isinstance(value, dict):
            return {key: self._renamed(item) for key, item in value.items()}
        return value


def _forget(known: dict[Any, Any]) -> None:
    """Let go of the oldest."""
    excess: Iterable[Any] = list(known)[: len(known) // 10] if len(known) > MOST else ()
    for name in excess:
        del known[name]
