from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.io.scripted_server import described, iso_ms
from trio_realtime import ConversationKind, MalformedReply
from trio_realtime._engine import changes
from trio_realtime._engine.changes import (
    PAGE,
    Last,
    MembersQuery,
    about_ids,
    about_temporary,
    changed,
    last_messages,
)
from trio_realtime._engine.command_size import check_size
from trio_realtime._engine.delivery import Track
from trio_realtime.wire import ConvCommand, GenericCommand, JsonObjectMessage

NORMAL = ConversationKind.NORMAL


def reply(*rows):
    return GenericCommand(
        conv_message=ConvCommand(results=JsonObjectMessage(data=json.dumps(rows)))
    )


@given(st.lists(st.integers(1000, 1010), max_size=700), st.data())
def test_the_pages_show_every_conversation_that_spoke(times, data):
    now = {str(number): at for number, at in enumerate(times)}
    query, found = MembersQuery("Tom", 1000), set()
    while not query.finished:
        conv = query.command().conv_message
        since = iso_ms(json.loads(conv.where.data)["lm"]["$gte"])
        rows = sorted((at, cid) for cid, at in now.items() if at >= since)
        page = rows[conv.skip or 0 :][: conv.limit]
        query.take(last_messages(reply(*(described(cid, at, "m") for at, cid in page))))
        found |= {cid for _, cid in page}
        # Somebody speaks before the next page is asked for, and is sorted behind the others.
        if now and data.draw(st.booleans()):
            now[data.draw(st.sampled_from(sorted(now)))] = 2000 + len(found)
    assert found == set(now)


def test_a_server_that_repeats_itself_is_not_asked_for_ever():
    query = MembersQuery("Tom", 0)
    page = [Last(str(n), NORMAL, 5, "m", 5) for n in range(PAGE)]
    for _ in range(3):
        query.take(page)
    assert query.finished


def test_ids_are_asked_for_in_commands_that_are_small_enough():
    ids = [f"{number:024x}" for number in range(500)] + ["_tmp:" + "x" * 40] * 100 + ["\u4e2d" * 64]
    for questions in (about_ids(ids, 1), about_ids(ids, None), about_temporary(ids)):
        asked = []
        for some, command in questions:
            check_size(command)
            assert command.conv_message.limit == len(some)
            asked += some
        temporary = questions.__name__ == "about_temporary"
        assert asked == [cid for cid in ids if cid.startswith("_tmp:") is temporary]


@pytest.mark.parametrize("text", ["x", "{}", "[1]", "[{}]", '[{"objectId": ""}]', "[" * 10**5])
def test_answers_that_say_nothing_are_malformed(text):
    command = GenericCommand(conv_message=ConvCommand(results=JsonObjectMessage(data=text)))
    with pytest.raises(MalformedReply):
        last_messages(command)


def test_an_answer_may_know_the_time_alone():
    (last,) = last_messages(reply(described("c", 5)))
    assert last == Last("c", NORMAL, 5, None, 5)
    assert last_messages(reply(described("c"))) == [Last("c", NORMAL, None)]
    assert last_messages(GenericCommand()) == []


def test_what_counts_as_changed():
    track = Track((5, "b"), seen={"b": 5, "mine": 9})
    service = ConversationKind.SERVICE
    for last, expected in [
        (Last("c", NORMAL, 5, "b"), False),
        (Last("c", NORMAL, 4, "x"), False),
        (Last("c", NORMAL, 6, "c"), True),
        (Last("c", NORMAL, 5, "a"), True),  # of the same time
        (Last("c", NORMAL, 5, "c"), True),
        (Last("c", NORMAL, 5, None), True),
        (Last("c", NORMAL, 9, "mine"), True),  # something may have been said before
        (Last("c", NORMAL, None), False),
        (Last("c", service, None), True),  # it does not say
    ]:
        assert changed(track, last) is expected, last
    assert changed(None, Last("c", NORMAL, 1, "a"))
    assert not changed(None, Last("c", NORMAL, None))
    assert changes.PAGE == 100
