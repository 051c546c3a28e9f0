"""Pace and patience: what is repeated, how often, and what is said in the end."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
import trio.testing

from tests.rest.endpoint import Broken, Endpoint, Reply
from trio_realtime.rest import NotFound, RateLimited, Refused, Unauthorized, Unavailable, open_rest

DATE = "/1.1/date"
TOO_MUCH = Reply({"code": 429, "error": "Too many requests."}, 429)
FAILURE = Reply(b"<html>Bad Gateway</html>", 502)
GOOD = Reply({"iso": "now"})


@asynccontextmanager
async def asking(*replies, **options):
    """The replies in turn; the last one again and again."""
    left = list(replies)

    def answer(_request):
        reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    async with (
        Endpoint(answer).running() as endpoint,
        open_rest(
            app_id="app",
            master_key="key",
            server=endpoint.url,
            open_stream=endpoint.open_stream,
            **options,
        ) as rest,
    ):
        yield endpoint, rest


@pytest.mark.parametrize("passing", [TOO_MUCH, FAILURE, Reply({}, 503), Broken()])
@pytest.mark.parametrize("times", [1, 4])
async def test_what_passes_is_waited_for(passing, times, clock):
    async with asking(*[passing] * times, GOOD) as (endpoint, rest):
        assert await rest.call("GET", DATE) == {"iso": "now"}
        assert len(endpoint.requests) == times + 1
        found = rest.statistics_of_requests()
        assert (found.made, found.retried) == (times + 1, times)
        delays = [second - first for first, second in pairwise(endpoint.times)]
        assert all(delay > 0 for delay in delays)
        assert sum(delays) < 60


async def test_nobody_waits_for_a_full_disk(clock):
    full = Reply({"code": 507, "error": "The server cannot store anything now."}, 507)
    async with asking(full, GOOD) as (endpoint, rest):
        with pytest.raises(Unavailable, match="cannot store anything"):
            await rest.call("PUT", DATE)
        assert len(endpoint.requests) == 1


async def test_the_server_says_how_long_to_wait(clock):
    busy = Reply({"code": 429}, 429, (("retry-after", "47"),))
    async with asking(busy, GOOD) as (endpoint, rest):
        await rest.call("GET", DATE)
        first, second = endpoint.times
        assert 47 <= second - first < 60


@pytest.mark.parametrize("stamp", ["soon", "-5", "nan", "Wed, 21 Oct 2015 07:28:00 GMT", "1e400"])
async def test_nonsense_about_the_time_to_wait_is_passed_over(stamp, clock):
    async with asking(Reply({}, 503, (("retry-after", stamp),)), GOOD) as (endpoint, rest):
        await rest.call("GET", DATE)
        assert len(endpoint.requests) == 2


async def test_patience_ends(clock):
    for reply, kind in ((TOO_MUCH, RateLimited), (FAILURE, Unavailable), (Broken(), Unavailable)):
        async with asking(reply, patience=100) as (_endpoint, rest):
            start = trio.current_time()
            with pytest.raises(kind):
                await rest.call("GET", DATE)
            assert 30 < trio.current_time() - start <= 100


async def test_a_message_is_not_sent_twice(clock):
    for reply in (FAILURE, Broken()):
        async with asking(reply, Reply({"msg-id": "m", "timestamp": 1})) as (endpoint, rest):
            with pytest.raises(Unavailable):
                await rest.send("cid", "hello", sender="Tom")
            assert len(endpoint.requests) == 1
    for reply in (TOO_MUCH, Reply({}, 503)):
        async with asking(reply, Reply({"msg-id": "m", "timestamp": 1})) as (endpoint, rest):
            assert (await rest.send("cid", "hello", sender="Tom")).id == "m"
            assert len(endpoint.requests) == 2


async def test_what_does_no_harm_is_repeated(clock):
    async with asking(Broken(), Reply({"results": ["Tom"]})) as (endpoint, rest):
        assert await rest.online(["Tom"]) == ["Tom"]
        assert len(endpoint.requests) == 2


async def test_no_server_is_there(clock):
    async def refuse(_host, _port):
        raise ConnectionRefusedError("nobody listens")

    async with open_rest(
        app_id="app", master_key="key", server="http://x", open_stream=refuse, patience=0
    ) as rest:
        with pytest.raises(Unavailable, match="nobody listens"):
            await rest.send("cid", "hello", sender="Tom")


async def test_a_server_that_never_answers(clock):
    async def hang(_request):
        await trio.sleep_forever()

    async with (
        Endpoint(hang).running() as endpoint,
        open_rest(
            app_id="app", master_key="key", server=endpoint.url,
            open_stream=endpoint.open_stream, timeout=10, patience=25,
        ) as rest,
    ):  # fmt: skip
        before = trio.current_time()
        with pytest.raises(Unavailable, match="10 seconds"):
            await rest.call("GET", DATE)
        assert len(endpoint.requests) == 3
        assert trio.current_time() - before < 25 + 10 + 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply({"code": 401, "error": "Unauthorized."}, 401), Unauthorized),
        (Reply(b"no", 401), Unauthorized),
        (Reply(b"no", 403), Unauthorized),
        (Reply({"code": 4303, "error": "CONVERSATION_NOT_FOUND"}, 404), NotFound),
        (Reply(b"<html>", 404), NotFound),
        (Reply({"code": 1, "error": "no"}, 400), Refused),
    ],
)
async def test_a_refusal_is_said_at_once(reply, kind, clock):
    async with asking(reply) as (endpoint, rest):
        with pytest.raises(kind) as refused:
            await rest.call("GET", DATE)
        assert type(refused.value) is kind
        assert refused.value.status == reply.status
        assert len(endpoint.requests) == 1


async def test_the_pace_is_kept_by_all_together(clock):
    async with asking(GOOD, requests_per_minute=60) as (endpoint, rest):
        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(rest.call, "GET", DATE)
        for start in endpoint.times:
            assert sum(start <= time < start + 60 for time in endpoint.times) <= 61
        assert endpoint.times[-1] < 600


async def test_after_a_refusal_nobody_asks_for_a_while(clock):
    async with asking(TOO_MUCH, GOOD) as (endpoint, rest):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rest.call, "GET", DATE)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(10):
                nursery.start_soon(rest.call, "GET", DATE)
        assert all(time >= endpoint.times[0] + 2 for time in endpoint.times[1:])


async def test_an_answer_without_end_is_not_taken(clock, monkeypatch):
    monkeypatch.setattr("trio_realtime.rest._requests.LARGEST_ANSWER", 1000)
    async with asking(Reply([1] * 1000), patience=0) as (_endpoint, rest):
        with pytest.raises(Unavailable, match="more than"):
            await rest.call("GET", DATE)


@pytest.mark.parametrize(
    "value", [None, 5, "x", {}, {"results": None}, [5], [{"msg-id": 1}], [{}], b"\xff", b"["]
)
async def test_answers_of_another_form_are_errors_of_ours(value, clock):
    async with asking(Reply(value), patience=0) as (_endpoint, rest):
        calls = (
            lambda: rest.send("cid", "x", sender="Tom"),
            rest.history_page,
            rest.conversation_page,
            lambda: rest.rows_page("_Conversation"),
            rest.count,
            rest.statistics,
            lambda: rest.subscriber_page("cid"),
            lambda: rest.sign("token"),
            lambda: rest.unread_count("Tom"),
            lambda: rest.conversation("cid"),
        )
        for call in calls:
            with pytest.raises(Unavailable):
                await call()


async def test_rows_in_another_order_are_no_pages(clock):
    """Otherwise some would be missed, or come for ever."""
    async with asking(Reply({"results": [{"objectId": "b"}, {"objectId": "a"}]})) as (_, rest):
        with pytest.raises(Unavailable, match="order"):
            [row async for row in rest.rows("_Conversation")]
    async with asking(Reply({"results": [{"objectId": "b"}]})) as (_, rest):
        with pytest.raises(Unavailable, match="order"):
            [row async for row in rest.rows("_Conversation")]
    async with asking(GOOD) as (_, rest):
        with pytest.raises(ValueError, match="objectId"):
            await rest.rows_page("_Conversation", {"objectId": "x"})
