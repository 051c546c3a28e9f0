"""Which of our frames belongs to which of the old service's; no I/O.

An answer bears the serial number of its command, on both sides. Answers tell which names
correspond. Pushes bear no number: a push of ours belongs to the one of the old service, on the
same connection, that says the same in other names. So they wait until the answers have told the
names, but not for ever. What the old service said because of somebody whom ours does not hear, a
client that is not in the recording or a backend, can have no counterpart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import attrs

from trio_realtime._cli.readable import title
from trio_realtime._cli.recording import Ended, Recorded
from trio_realtime.wire import GenericCommand, WireError

from .comparing import Comparison, Difference, flat, ids_in, shown
from .report import Report
from .translation import Translation, milliseconds

CONNECTION = "connection"
"""The row of how connections end."""
HASTE = 1000
"""Milliseconds that the old service may take for a push: who leaves earlier may not have got it."""
LOGOUT = "session/close"
GIVEN_UP = 3
"""So many commands of a name unanswered, and nobody waits for the next ones for long."""

Server = Literal["old", "ours"]


@attrs.define(eq=False)
class Asked:
    """A command that was given to both, and their answers."""

    name: str
    connection: int
    time: str
    client_id: str | None
    ordered: bool
    old: dict[str, Any] | None = None
    ours: dict[str, Any] | None = None
    answered_at: float = 0.0
    """When the old service answered."""


@attrs.frozen(eq=False)
class Push:
    """What one of them said without being asked."""

    said: dict[str, Any]
    time: str
    at: float
    told: int = 0
    """When the client had said the last thing before, in milliseconds of the old service's time."""


@attrs.define
class Rehearsal:
    """Two servers that are told the same.

    Times named ``now`` are in seconds, of a clock that only goes forward.
    """

    report: Report
    patience: float = 5.0
    """Seconds that ours may answer later than the old service."""
    _known: Translation | None = None
    _asked: dict[tuple[int, int], deque[Asked]] = attrs.field(factory=dict)
    _open: dict[Asked, None] = attrs.field(factory=dict)
    """Answered by the old service alone."""
    _pushes: dict[tuple[int, str], dict[Server, list[Push]]] = attrs.field(factory=dict)
    _clients: set[str] = attrs.field(factory=set)
    """Who speaks to both servers."""
    _on: dict[int, str | None] = attrs.field(factory=dict)
    """Who logged in last, by connection."""
    _expected: dict[str, float] = attrs.field(factory=dict)
    """Ids that pushes of the old service name, and that answers will explain."""
    _told: dict[int, int] = attrs.field(factory=dict)
    """When something was said last on a connection, in milliseconds of the old service's time."""
    _left: dict[int, int] = attrs.field(factory=dict)
    """When clients have left, likewise."""
    _overdue: float = -1.0
    _ended: dict[int, str] = attrs.field(factory=dict)
    """Why connections of ours are no more, or never were."""

    # What is said.

    def begins(self, time: str, here: int) -> None:
        """The first thing happened at this time; it is ``here`` now, in milliseconds."""
        if self._known is None:
            self._known = Translation(_milliseconds(time, here), here)

    def command(self, frame: Recorded, here: int) -> GenericCommand:
        """A client says this; what ours is to be told. Raises `WireError`."""
        command = frame.command()
        name, session = title(command), command.session_message
        said_at = _milliseconds(frame.time, here)
        if name == LOGOUT:
            self._left[frame.connection] = said_at
        else:
            self._left.pop(frame.connection, None)
            self._told[frame.connection] = said_at
        if name == "session/open" and command.peer_id:
            self._clients.add(command.peer_id)
            self._on[frame.connection] = command.peer_id
        if command.i is not None:
            conv = command.conv_message
            asked = Asked(
                name,
                frame.connection,
                frame.time,
                command.peer_id or self._on.get(frame.connection),
                ordered=conv is not None and bool(conv.sort),
            )
            self._asked.setdefault((frame.connection, command.i), deque()).append(asked)
        translated, _ = self._translated(frame, here)
        if session is not None and translated.session_message is not None:
            # Where the client need not name itself again, its connection does.
            token = session.st
            if token is not None and translated.session_message.st is None:
                on = self._on.get(frame.connection)
                translated.session_message.st = self.known.token(token, on)
        return translated

    def old_says(self, frame: Recorded, now: float) -> None:
        """The old service says this."""
        self._says("old", frame, now)

    def ours_says(self, frame: Recorded, now: float) -> None:
        """Our server says this."""
        self._says("ours", frame, now)

    def old_ended(self, ended: Ended) -> None:
        """A connection to the old service has ended, and ours has had time to end likewise."""
        row = self.report.row(CONNECTION)
        self._left.setdefault(ended.connection, _milliseconds(ended.time, 0))
        why = self._ended.pop(ended.connection, None)
        self._on.pop(ended.connection, None)
        for key in [key for key in self._asked if key[0] == ended.connection]:
            del self._asked[key]
        expected = f"closed with {ended.code}" if ended.by == "server" else "open"
        found = why or "open"
        if expected == found:
            row.equal += 1
        else:
            row.different += 1
            row.example(ended.time, ended.connection, [Difference("is", expected, found)])

    def ours_failed(self, connection: int, why: str) -> None:
        """Ours is not connected, or no more."""
        self._ended.setdefault(connection, why)

    # What is known.

    @property
    def known(self) -> Translation:
        """What corresponds to what."""
        assert self._known is not None, "nothing has happened yet"
        return self._known

    def waits_for(self, frame: Recorded) -> bool:
        """Whether ours still has to say something before it can be told this."""
        if any(asked.connection not in self._ended for asked in self._open):
            return True
        try:
            command, (_, unknown) = frame.command(), self._translated(frame, 0)
        except WireError:
            return False
        if not unknown.isdisjoint(self._expected):
            return True
        return title(command) == LOGOUT and self.waits_for_end(frame.connection)

    def owes(self) -> bool:
        """Whether there are pushes that ours should send by now.

        They tell that it has carried out what has no answer, such as read marks.
        """
        return any(
            push.at > self._overdue and not self._is_outside(push.said)
            for sides in self._pushes.values()
            for push in sides["old"]
        )

    def overdue(self, now: float) -> None:
        """Ours has had a moment to send them: they are not waited for again."""
        self._overdue = now

    def waits_for_end(self, connection: int) -> bool:
        """Whether ours still has to say something on this connection before it may end."""
        return any(asked.connection not in self._ended for asked in self._open) or (
            connection not in self._ended and any(self._awaited(connection))
        )

    def _awaited(self, connection: int) -> Iterator[str]:
        """The names of the pushes that ours should still send on a connection."""
        for (on, name), sides in self._pushes.items():
            if on == connection and not all(self._is_outside(push.said) for push in sides["old"]):
                yield name

    def given_up(self, connection: int) -> bool:
        """Whether the like of what ours has not said was often left out."""
        names = [asked.name for asked in self._open]
        names += [f"← {name}" for name in self._awaited(connection)]
        rows = self.report.rows
        return bool(names) and all(
            name in rows and rows[name].unanswered >= GIVEN_UP for name in names
        )

    @property
    def unfinished(self) -> bool:
        """Whether anything has no counterpart yet."""
        return bool(self._open) or any(
            push for sides in self._pushes.values() for push in (*sides["old"], *sides["ours"])
        )

    def give_up(self) -> None:
        """Ours has had its time: what it has not answered is not waited for again."""
        for asked in list(self._open):
            self._unanswered(asked)
        self._open.clear()
        self._expected.clear()
        for (connection, name), sides in self._pushes.items():
            self._match(name, sides)
            self._decide_old(connection, name, sides, float("inf"))

    def settle(self, now: float) -> None:
        """Come to a decision about what has waited for too long."""
        late = now - self.patience
        for asked in [
            a for a in self._open if a.answered_at <= late or a.connection in self._ended
        ]:
            del self._open[asked]
            self._unanswered(asked)
        for (connection, name), sides in list(self._pushes.items()):
            self._match(name, sides)
            self._decide_old(connection, name, sides, late)
            self._decide_ours(connection, name, sides, late)
            if not sides["old"] and not sides["ours"]:
                del self._pushes[connection, name]
        for name in [n for n, at in self._expected.items() if at <= late or n in self.known.ids]:
            del self._expected[name]

    def finish(self) -> None:
        """Nobody says anything more."""
        if self._known is not None:
            self.settle(float("inf"))
        self._asked.clear()

    # Answers.

    def _says(self, server: Server, frame: Recorded, now: float) -> None:
        try:
            command, said = frame.command(), flat(frame)
        except WireError:
            self.report.unreadable += 1
            return
        queue = self._asked.get((frame.connection, command.i)) if command.i is not None else None
        asked = next((a for a in queue or () if getattr(a, server) is None), None)
        if asked is not None:
            setattr(asked, server, said)
            if server == "old":
                asked.answered_at = now
                self._open[asked] = None
            if asked.old is not None and asked.ours is not None:
                self._compare(asked)
                assert queue is not None
                assert command.i is not None
                queue.remove(asked)
                if not queue:
                    del self._asked[frame.connection, command.i]
            return
        sides = self._pushes.setdefault((frame.connection, title(command)), {"old": [], "ours": []})
        sides[server].append(Push(said, frame.time, now, self._told.get(frame.connection, 0)))
        if server == "old" and not self._is_of_stranger(said):
            new = {i for i in ids_in(said) if i not in self.known.ids}
            self._expected.update(dict.fromkeys(new, now))
        self._match(title(command), sides)

    def _compare(self, asked: Asked) -> None:
        assert asked.old is not None
        assert asked.ours is not None
        waiting = self._open.pop(asked, asked) is None
        if not waiting:
            return  # too late: it has been counted
        comparison = Comparison(self.known, learns=True, ordered=asked.ordered)
        differences = comparison.compare(asked.old, asked.ours)
        row = self.report.row(asked.name)
        if differences:
            row.different += 1
            row.example(asked.time, asked.connection, differences)
        else:
            row.equal += 1
        if asked.old.get("op") == asked.ours.get("op") and asked.old["cmd"] == asked.ours["cmd"]:
            self.known.learn(
                comparison.ids, comparison.times, comparison.moments, comparison.cursors
            )
            self.known.learn_token(asked.old.get("st"), asked.ours.get("st"), asked.client_id)
            if not self._expected.keys().isdisjoint(comparison.ids):
                for (_, name), sides in self._pushes.items():
                    self._match(name, sides)

    def _unanswered(self, asked: Asked) -> None:
        row = self.report.row(asked.name)
        row.unanswered += 1
        assert asked.old is not None
        why = self._ended.get(asked.connection, "nothing")
        row.example(asked.time, asked.connection, [Difference("said", shown(asked.old), why)])

    # Pushes.

    def _match(self, name: str, sides: dict[Server, list[Push]]) -> None:
        """Pair what is equal."""
        for push in list(sides["old"]):
            for other in sides["ours"]:
                comparison = Comparison(self.known, learns=False)
                if not comparison.compare(push.said, other.said):
                    sides["old"].remove(push)
                    sides["ours"].remove(other)
                    self.report.row(f"← {name}").equal += 1
                    for known in ids_in(push.said):
                        self._expected.pop(known, None)
                    break

    def _decide_old(
        self, connection: int, name: str, sides: dict[Server, list[Push]], late: float
    ) -> None:
        """Say what is wrong with what ours has not said."""
        row = self.report.row(f"← {name}")
        for push in [p for p in sides["old"] if p.at <= late]:
            sides["old"].remove(push)
            if self._is_outside(push.said):
                row.outside += 1
                if isinstance(push.said.get("cid"), str):
                    self.known.outside[push.said["cid"]] = None
                continue
            best = min(
                ((self._differences(push, p), p) for p in sides["ours"]),
                key=lambda found: len(found[0]),
                default=None,
            )
            if best is not None and not any(d.path == "cid" for d in best[0]):
                sides["ours"].remove(best[1])
                row.different += 1
                row.example(push.time, connection, best[0])
            else:
                row.unanswered += 1
                row.example(
                    push.time, connection, [Difference("said", shown(push.said), "nothing")]
                )

    def _decide_ours(
        self, connection: int, name: str, sides: dict[Server, list[Push]], late: float
    ) -> None:
        """Say what ours alone has said."""
        row = self.report.row(f"← {name}")
        for push in [p for p in sides["ours"] if p.at <= late]:
            sides["ours"].remove(push)
            if self._left.get(connection, push.told + HASTE) - push.told < HASTE:
                row.outside += 1
                continue
            row.different += 1
            row.example(push.time, connection, [Difference("said", "nothing", shown(push.said))])

    def _differences(self, push: Push, other: Push) -> list[Difference]:
        return Comparison(self.known, learns=False).compare(push.said, other.said)

    def _is_outside(self, said: dict[str, Any]) -> bool:
        """Whether ours cannot have been told what this push is about."""
        time = milliseconds(said.get("timestamp"))
        new = said["cmd"] == "direct" and time is not None and self.known.is_new(time)
        return self._is_of_stranger(said) or (new and said.get("id") not in self.known.ids)

    def _is_of_stranger(self, said: dict[str, Any]) -> bool:
        who = said.get("initBy") or said.get("fromPeerId") or said.get("from")
        return isinstance(who, str) and who not in self._clients

    def _translated(self, frame: Recorded, here: int) -> tuple[GenericCommand, set[str]]:
        said_at = _milliseconds(frame.time, here)
        return self.known.command(frame.command(), said_at, here)


def _milliseconds(time: str, otherwise: int) -> int:
    try:
        return int(datetime.fromisoformat(time).timestamp() * 1000)
    except ValueError:
        return otherwise
