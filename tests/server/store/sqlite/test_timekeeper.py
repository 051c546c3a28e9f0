"""The clock of the machine is set back, while the store is open and while it is not."""

from __future__ import annotations

import pytest

from trio_realtime.server.rules.notifications import notifications_json
from trio_realtime.server.rules.read import unread_push
from trio_realtime.server.rules.session import LoginRequest, note_kick, open_session
from trio_realtime.server.rules.signatures import login_string, sign
from trio_realtime.server.rules.types import App, Enforcement, Refusal
from trio_realtime.server.store.interface import Kind, NewMessage
from trio_realtime.server.store.sqlite.store import open_store
from trio_realtime.wire import SessionCommand

HOUR = 3_600_000
APP = App("app", "key", "master", Enforcement(login=True))


class Machine:
    """A machine whose clock anybody may set, and the store on it."""

    def __init__(self, path, restarts):
        self.path = path
        self.restarts = restarts
        self.time = 1_700_000_000_000
        self._open = None
        self.store = None

    async def set_clock(self, time):
        self.time = time
        if self.restarts:
            await self.stop()
            await self.start()

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *error):
        await self._open.__aexit__(*error)

    async def start(self):
        self._open = open_store(self.path, inline=True, clock=lambda: self.time)
        self.store = await self._open.__aenter__()

    async def stop(self):
        await self._open.__aexit__(None, None, None)

    async def do(self, rule):
        return await self.store.write("app", rule)


@pytest.fixture(params=[False, True], ids=["running", "restarted"])
def a_machine(request, tmp_path):
    return Machine(tmp_path / "db", request.param)


def said(cid):
    return lambda tx: tx.append(cid, NewMessage("Tom", "x"))[0].timestamp


def created(tx):
    return tx.create_conversation(kind=Kind.NORMAL, creator="Tom", members=["Tom", "Jerry"]).id


async def test_a_mark_of_before_hides_nothing_when_it_is_that_time_again(a_machine):
    async with a_machine as machine:
        first, second = await machine.do(created), await machine.do(created)
        right = machine.time
        await machine.set_clock(right + HOUR)
        await machine.do(said(first))
        mark = await machine.do(lambda tx: tx.now)
        await machine.set_clock(right)
        assert await machine.do(lambda tx: tx.now) <= right + HOUR
        machine.time = right + HOUR // 2
        await machine.do(said(second))
        machine.time = right + 2 * HOUR
        news = await machine.do(lambda tx: unread_push(tx, "Jerry", mark))
        assert {counter.cid for counter in news.unread_message.convs} == {first, second}
        # Marks of later are what they say.
        assert await machine.do(lambda tx: unread_push(tx, "Jerry", tx.now)) is None
        assert await machine.do(lambda tx: tx.earliest(right)) == right
        late = right + HOUR + 120_000
        assert await machine.do(lambda tx: tx.earliest(late)) == late


async def test_messages_of_a_conversation_go_on_in_their_order(a_machine):
    async with a_machine as machine:
        cid = await machine.do(created)
        right = machine.time
        times = []
        for time in (
            right + HOUR,
            right,
            right + 1,
            right + HOUR // 2,
            right + 2 * HOUR,
            right + HOUR,
        ):
            await machine.set_clock(time)
            times += [await machine.do(said(cid)) for _ in range(3)]
        assert times == sorted(set(times))


async def test_time_goes_on_from_where_the_clock_was_set_to(a_machine):
    async with a_machine as machine:
        right = machine.time
        await machine.set_clock(right + HOUR)
        await machine.do(created)
        await machine.set_clock(right)
        await machine.do(created)
        assert await machine.do(lambda tx: tx.now) == right
        machine.time += 5000
        assert await machine.do(lambda tx: tx.now) == right + 5000


async def test_time_stands_still_where_it_is_soon_that_late_again(a_machine):
    async with a_machine as machine:
        right = machine.time
        latest = await machine.do(lambda tx: tx.now)
        await machine.set_clock(right - 30_000)
        times = [latest] + [await machine.do(lambda tx: tx.now) for _ in range(3)]
        assert times == sorted(set(times))
        assert await machine.do(lambda tx: tx.earliest(right - 1)) == right - 1


async def test_steps_within_steps(a_machine):
    async with a_machine as machine:
        right = machine.time
        for hours in (2, 0, 3, 1):
            await machine.set_clock(right + hours * HOUR)
            await machine.do(created)
            await machine.do(created)
        assert await machine.do(lambda tx: tx.earliest(right + 3 * HOUR)) == right
        assert await machine.do(lambda tx: tx.earliest(right + 4 * HOUR)) == right + 4 * HOUR


async def test_a_kick_by_a_fast_clock_does_not_lock_anybody_out(a_machine):
    async with a_machine as machine:

        def login(at):
            text = login_string("app", "Tom", at, "n")
            message = SessionCommand(t=at, n="n", s=sign("master", text))
            return lambda tx: open_session(tx, LoginRequest(APP, "Tom", message, 3, 60))

        right = machine.time
        await machine.set_clock(right + HOUR)
        await machine.do(lambda tx: note_kick(tx, "Tom"))
        await machine.set_clock(right)
        await machine.do(created)
        machine.time += 10
        # What was signed before stays void.
        with pytest.raises(Refusal):
            await machine.do(login(right - 1))
        assert (await machine.do(login(right + 5))).token


async def test_what_a_client_was_told_is_paged_to_its_end(a_machine):
    async with a_machine as machine:
        right = machine.time
        await machine.set_clock(right + HOUR)
        for number in range(3):
            await machine.do(
                lambda tx, n=number: tx.keep_notification(["Tom"], {"op": "joined", "n": n})
            )
        machine.time += 500
        mark = await machine.do(lambda tx: tx.now)
        await machine.set_clock(right)
        for number in range(3, 6):
            await machine.do(
                lambda tx, n=number: tx.keep_notification(["Tom"], {"op": "left", "n": n})
            )
        machine.time = right + 2 * HOUR
        after, seen = mark, []
        for _ in range(10):
            page = await machine.do(
                lambda tx, t=after: notifications_json(tx, "Tom", t, 2, "permanent")
            )
            seen += [item["n"] for item in page["notifications"]]
            if not page["hasMore"]:
                break
            after = page["notifications"][-1]["serverTs"]
        assert seen == [0, 1, 2, 3, 4, 5]
