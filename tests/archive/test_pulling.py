"""Everything that a service has, once, whatever goes wrong."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing

from tests.archive.service import BAD_GATEWAY, START, TOO_MUCH, Service, conversation, iso
from tests.archive.world import by_place, content, pull, puller, rows
from tests.rest.endpoint import Broken, Reply
from trio_realtime._archive.archive import read_manifest
from trio_realtime._archive.check import check
from trio_realtime._archive.errors import UnexpectedAnswer
from trio_realtime._archive.pulling import Scope
from trio_realtime.rest import Unauthorized, Unavailable


@pytest.fixture
def service():
    service = Service()
    service.fill()
    return service


def history_requests(service):
    return [one for one in service.requests if one.path == "/1.2/rtm/messages"]


async def test_everything_is_there_once(service, tmp_path, clock):
    cids = [row["objectId"] for row in service.conversations]
    service.silenced[cids[0]] = [f"c{number}" for number in range(25)]
    service.blocked[cids[2]] = ["eve"]
    service.subscribers[cids[2]] = [f"s{number}" for number in range(120)]
    service.infos = [{"objectId": "1" * 24, "cid": cids[0], "clientId": "bob", "role": "Manager"}]
    service.filed = [{"objectId": "2" * 24, "msgId": "x", "timestamp": START, "data": "hello"}]
    progress = await pull(service, tmp_path)
    assert by_place(rows(tmp_path, "messages")) == by_place(service.messages)
    assert rows(tmp_path, "conversations") == service.conversations
    assert rows(tmp_path, "member-infos") == service.infos
    assert rows(tmp_path, "service-messages") == service.filed
    assert [row["subscriber"] for row in rows(tmp_path, "subscribers")] == [
        f"s{number}" for number in range(120)
    ]
    lists = {row["conv_id"]: row for row in rows(tmp_path, "lists")}
    assert lists[cids[0]]["silenced"] == service.silenced[cids[0]]
    assert lists[cids[2]]["blocked"] == ["eve"]
    assert len(lists) == 2
    assert (progress.messages, progress.conversations) == (3000, 5)
    assert progress.share == 1.0
    assert check(tmp_path).whole


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_messages_of_one_time_across_the_edge_of_a_page(size, tmp_path, clock):
    service = Service()
    service.fill(messages=0)
    for _ in range(12):
        service.say(5, step=0)
    service.largest_page = size
    await pull(service, tmp_path)
    assert by_place(rows(tmp_path, "messages")) == by_place(service.messages)
    assert check(tmp_path).whole


async def test_many_messages_of_one_time_are_more_than_a_page(tmp_path, clock):
    service = Service()
    service.fill(messages=0)
    service.say(2500, step=0)
    await pull(service, tmp_path)
    assert by_place(rows(tmp_path, "messages")) == by_place(service.messages)


async def test_a_short_page_is_not_the_end(service, tmp_path, clock):
    service.short_pages = 0.7
    await pull(service, tmp_path)
    assert by_place(rows(tmp_path, "messages")) == by_place(service.messages)


@pytest.mark.parametrize("seed", range(5))
async def test_faults_of_all_sorts(seed, tmp_path, clock):
    service = Service(seed)
    service.fill(messages=2000)
    service.largest_page = 100
    service.fault_rate = 0.3
    await pull(service, tmp_path, patience=100_000)
    assert by_place(rows(tmp_path, "messages")) == by_place(service.messages)
    assert rows(tmp_path, "conversations") == service.conversations
    assert check(tmp_path).whole


async def test_the_budget_is_kept(service, tmp_path, clock):
    service.largest_page = 20
    await pull(service, tmp_path, requests_per_minute=60)
    for start in service.times:
        assert sum(start <= time < start + 60 for time in service.times) <= 61


async def test_an_app_without_anything(tmp_path, clock):
    service = Service()
    await pull(service, tmp_path)
    assert check(tmp_path).whole
    service.fill(messages=10)
    await pull(service, tmp_path)
    assert by_place(rows(tmp_path, "messages")) == by_place(service.messages)
    assert check(tmp_path).whole


async def test_a_second_run_fetches_what_is_new(service, tmp_path, clock):
    await pull(service, tmp_path)
    first = service.messages[:]
    service.requests.clear()
    service.say(10)
    service.conversations.append(conversation(99, service.now))
    old = service.conversations[0]
    service.conversations[0] = {**old, "name": "renamed", "updatedAt": iso(service.now)}
    progress = await pull(service, tmp_path)
    assert progress.messages == 10
    assert progress.conversations == 2
    assert len(history_requests(service)) <= 4
    found = rows(tmp_path, "messages")
    assert by_place(found) == by_place(service.messages)
    assert len(found) == len(first) + 10
    latest = {row["objectId"]: row for row in rows(tmp_path, "conversations")}
    assert list(latest.values()) == service.conversations
    assert check(tmp_path).whole
    again = await pull(service, tmp_path)
    assert (again.messages, again.conversations, again.changed) == (0, 0, 0)


async def test_what_was_stored_late_or_edited_is_found(service, tmp_path, clock):
    await pull(service, tmp_path)
    last = service.messages[-1]
    late = {**last, "msg-id": "late", "timestamp": last["timestamp"] - 5}
    service.messages.append(late)
    service.edit(len(service.messages) - 2, "edited")
    service.say()
    progress = await pull(service, tmp_path)
    assert (progress.messages, progress.changed) == (3, 1)
    found = rows(tmp_path, "messages")
    assert [row["data"] for row in found if row["msg-id"] == last["msg-id"]] == [
        last["data"],
        "edited",
    ]
    assert sum(row["msg-id"] == "late" for row in found) == 1
    assert check(tmp_path).whole


async def test_more_is_read_again_if_wanted(service, tmp_path, clock):
    await pull(service, tmp_path)
    service.edit(5, '{"_lctype":-127}')
    assert (await pull(service, tmp_path)).changed == 0
    progress = await pull(service, tmp_path, Scope(again=30 * 86_400))
    assert (progress.messages, progress.changed) == (1, 1)
    assert rows(tmp_path, "messages")[-1]["data"] == '{"_lctype":-127}'
    assert check(tmp_path).whole


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_conversations_with_ids_of_two_forms(size, tmp_path, clock):
    """Those that were imported once: the service never compares them with its own."""
    service = Service()
    service.fill(conversations=10, messages=0)
    for number in range(10):
        at = START + number // 2 * 2
        service.conversations.append({**conversation(50 + number, at), "objectId": f"zz{number}"})
    service.largest_page = size
    await pull(service, tmp_path)
    found = {row["objectId"] for row in rows(tmp_path, "conversations")}
    assert found == {row["objectId"] for row in service.conversations}
    assert len(rows(tmp_path, "conversations")) == 20


async def test_many_conversations_of_one_moment(tmp_path, clock):
    service = Service()
    for number in range(35):
        service.conversations.append(conversation(number, START + number // 30))
    service.largest_page = 10
    await pull(service, tmp_path)
    assert rows(tmp_path, "conversations") == service.conversations


async def test_a_server_that_cannot_begin_at_the_other_end(service, tmp_path, clock):
    answer = service.answer_request

    def newest_only(request):
        request.query.pop("reversed", None)
        return answer(request)

    service.answer_request = newest_only
    await pull(service, tmp_path)
    assert by_place(rows(tmp_path, "messages")) == by_place(service.messages)
    assert check(tmp_path).whole


async def test_lists_that_are_refused_are_told(service, tmp_path, clock):
    answer = service.answer_request
    service.answer_request = lambda request: (
        Reply({"code": 107, "error": "not here"}, 400)
        if "silenceds" in request.path
        else answer(request)
    )
    await pull(service, tmp_path)
    assert "of 4 conversations" in read_manifest(tmp_path).unanswered["lists"]


async def test_a_long_time_later(service, tmp_path, clock):
    await pull(service, tmp_path)
    service.now += 40 * 86_400_000
    service.say(200, step=3_600_000)
    await pull(service, tmp_path)
    assert by_place(rows(tmp_path, "messages")) == by_place(service.messages)
    assert check(tmp_path).whole


async def test_a_window_that_is_missing_is_noticed(service, tmp_path, clock):
    await pull(service, tmp_path)
    for _ in range(2):
        service.now += 3 * 86_400_000
        service.say(5)
        await pull(service, tmp_path, Scope(again=86_400))
    assert check(tmp_path).whole
    manifest = tmp_path / "manifest.json"
    fields = json.loads(manifest.read_text())
    lost = sorted((part for part in fields["parts"] if "low" in part), key=lambda one: one["low"])[
        2
    ]
    fields["parts"].remove(lost)
    manifest.write_text(json.dumps(fields))
    assert "Nothing was asked for between" in check(tmp_path).problems[0]


async def test_following(service, tmp_path, clock):
    async with puller(service, tmp_path) as one:
        for number in range(30):
            await one.round(Scope(all_subscribers=False))
            service.say(number % 3)
            service.now += 60_000 if number % 7 else 3 * 86_400_000
            if number % 5 == 0:
                service.edit(len(service.messages) - 1, f"edited {number}")
        await one.round(Scope())
    latest = {(row["to"], row["msg-id"]): row for row in rows(tmp_path, "messages")}
    assert by_place(latest.values()) == by_place(service.messages)
    assert len(rows(tmp_path, "messages")) == len(service.messages) + one.progress.changed
    assert len(read_manifest(tmp_path).parts) < 60
    assert check(tmp_path).whole


async def test_new_subscribers_are_found(service, tmp_path, clock):
    news = service.conversations[2]["objectId"]
    service.subscribers[news] = ["a", "b"]
    await pull(service, tmp_path)
    service.subscribers[news] += ["c"]
    await pull(service, tmp_path)
    assert [row["subscriber"] for row in rows(tmp_path, "subscribers")] == ["a", "b", "c"]


async def test_lists_are_asked_for_again_if_wanted(service, tmp_path, clock):
    cid = service.conversations[0]["objectId"]
    await pull(service, tmp_path)
    service.silenced[cid] = ["eve"]
    await pull(service, tmp_path)
    assert rows(tmp_path, "lists") == []
    await pull(service, tmp_path, Scope(all_lists=True))
    latest = {row["conv_id"]: row for row in rows(tmp_path, "lists")}
    assert latest[cid]["silenced"] == ["eve"]


async def test_what_the_service_does_not_answer_is_said(service, tmp_path, clock):
    service.unknown = {"permanent-silenceds", "_SysMessage", "_ConversationMemberInfo"}
    await pull(service, tmp_path)
    unanswered = read_manifest(tmp_path).unanswered
    assert set(unanswered) == {"lists", "service-messages", "member-infos"}
    assert by_place(rows(tmp_path, "messages")) == by_place(service.messages)
    assert check(tmp_path).whole


async def test_a_conversation_that_was_removed_meanwhile(service, tmp_path, clock):
    gone = Reply({"code": 4303, "error": "CONVERSATION_NOT_FOUND"}, 404)
    cids = [row["objectId"] for row in service.conversations]
    service.silenced = {cid: ["eve"] for cid in cids}
    answer = service.answer_request

    def without_first(request):
        return gone if f"{cids[0]}/" in request.path else answer(request)

    service.answer_request = without_first
    await pull(service, tmp_path)
    assert {row["conv_id"] for row in rows(tmp_path, "lists")} == set(cids[1:]) - {cids[2]}


async def test_a_wrong_key_changes_nothing(service, tmp_path, clock):
    await pull(service, tmp_path)
    before = content(tmp_path)
    service.say()
    with pytest.raises(Unauthorized):
        await pull(service, tmp_path, key="wrong")
    assert content(tmp_path) == before
    await pull(service, tmp_path)
    assert by_place(rows(tmp_path, "messages")) == by_place(service.messages)


async def test_a_server_that_gives_up_half_way(service, tmp_path, clock):
    service.largest_page = 50
    asked = 0

    def give_up(request):
        nonlocal asked
        asked += request.path == "/1.2/rtm/messages"
        if asked > 20:
            raise Broken

    service.before_answer = give_up
    with pytest.raises(Unavailable):
        await pull(service, tmp_path, patience=50)
    service.before_answer = None
    some = len(rows(tmp_path, "messages"))
    assert 0 < some < 3000
    found = check(tmp_path)
    assert found.problems == []
    assert not found.whole
    await pull(service, tmp_path)
    assert by_place(rows(tmp_path, "messages")) == by_place(service.messages)
    assert check(tmp_path).whole


@pytest.mark.parametrize("stop", [0.05, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0])
async def test_cancelled_and_resumed(stop, service, tmp_path, clock):
    service.largest_page = 50
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    await pull(service, whole)
    with trio.move_on_after(stop) as scope:
        await pull(service, parted, requests_per_minute=60)
    assert scope.cancelled_caught
    await pull(service, parted)
    assert content(parted) == content(whole)


async def test_a_server_that_knows_no_times(service, tmp_path, clock):
    """Each window would look empty, or like every other."""
    answer = service.answer_request

    def newest(request):
        if request.path != "/1.2/rtm/messages" or "reversed" in request.query:
            return answer(request)
        return Reply(service.messages[-5:][::-1] if "msgid" not in request.query else [])

    service.answer_request = newest
    with pytest.raises(UnexpectedAnswer, match="does not page"):
        await pull(service, tmp_path)


async def test_a_server_that_does_not_page(service, tmp_path, clock):
    """Better no copy than one that looks whole."""

    async def first_page(request):
        return Reply(service.messages[:-1001:-1])

    answer = service.answer_request
    service.answer_request = lambda request: (
        first_page(request) if request.path == "/1.2/rtm/messages" else answer(request)
    )
    with pytest.raises(UnexpectedAnswer, match="does not page"):
        await pull(service, tmp_path)
    assert not check(tmp_path).whole


@pytest.mark.parametrize(
    "value", [{}, [5], [{"msg-id": "x"}], [{"timestamp": 1}], [{"msg-id": "x", "timestamp": True}]]
)
async def test_answers_that_are_no_messages(value, service, tmp_path, clock):
    answer = service.answer_request
    service.answer_request = lambda request: (
        Reply(value) if request.path == "/1.2/rtm/messages" else answer(request)
    )
    with pytest.raises(UnexpectedAnswer, match="something else"):
        await pull(service, tmp_path)


async def test_rows_are_kept_as_they_came(tmp_path, clock):
    service = Service()
    service.fill(messages=0)
    odd = {
        "msg-id": "odd",
        "timestamp": START,
        "data": "\ud800 half",
        "from": None,
        "to": service.conversations[0]["objectId"],
        "new-column": {"a": [1.5, 2**60, None]},
    }
    service.messages = [odd]
    service.conversations[0]["attr"] = {"deep": [{"\u2028": "\u2029"}]}
    await pull(service, tmp_path)
    assert rows(tmp_path, "messages") == [odd]
    assert rows(tmp_path, "conversations") == service.conversations


async def test_faults_before_the_first_answer(service, tmp_path, clock):
    service.faults = [BAD_GATEWAY, TOO_MUCH, Broken()]
    await pull(service, tmp_path, patience=1000)
    assert check(tmp_path).whole


def test_the_manifest_holds_no_key(service, tmp_path):
    async def go():
        await pull(service, tmp_path)

    trio.run(go, clock=trio.testing.MockClock(autojump_threshold=0))
    text = "".join(path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file())
    assert "secret-of-the-operator" not in text
    assert json.loads((tmp_path / "manifest.json").read_text())["app_id"] == "shop-production"
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*"))
