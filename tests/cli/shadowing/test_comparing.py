from __future__ import annotations

import json
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_realtime._cli.recording import Ended, Recorded, RecordingError, from_fields
from trio_realtime._cli.shadowing.comparing import Comparison, shown
from trio_realtime._cli.shadowing.rehearsal import Rehearsal
from trio_realtime._cli.shadowing.report import Report
from trio_realtime._cli.shadowing.translation import Translation, milliseconds
from trio_realtime._engine.dialect import DIALECTS
from trio_realtime.wire import (
    AckCommand,
    CommandType,
    ConvCommand,
    DirectCommand,
    GenericCommand,
    JsonObjectMessage,
    LogItem,
    LogsCommand,
    OpType,
    ReadCommand,
    ReadTuple,
    SessionCommand,
    UnreadCommand,
)

BEGAN = 1_795_000_000_000
HERE = BEGAN + 86_400_000
"""The rehearsal is a day behind the recording."""
TIME = "2026-11-18T11:06:40.000Z"

names = st.text(min_size=1, max_size=5) | st.sampled_from(
    ["cid", "id", "objectId", "convs", "logs", "results", "m", "next", "t", "lm", "mid", "msgId"]
)
bodies = st.text(max_size=20)


def differences(old, ours, **options):
    comparison = Comparison(Translation(BEGAN, HERE), learns=options.pop("learns", True), **options)
    return [d.path for d in comparison.compare(old, ours)]


def test_the_times_of_the_tests_are_those_of_the_rehearsal():
    assert milliseconds(TIME) == BEGAN


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(names, json_values))
def test_what_is_the_same_does_not_differ(said):
    assert differences(said, json.loads(json.dumps(said))) == []


@settings(max_examples=50)
@given(st.dictionaries(names, json_values), st.dictionaries(names, json_values))
def test_what_is_not_the_same_differs_unless_it_is_left_to_the_servers(old, ours):
    chosen = {"s", "st", "n", "t", "id", "cid", "objectId", "next", "lm", "mid", "msgId"}
    found = differences(old, ours)
    if found == []:
        assert all(key in ours for key in old.keys() - chosen)
        for key in old.keys() - chosen:
            # Lists of names have no order, and results may name the same in another one.
            if isinstance(old[key], str | int | bool | None):
                assert json.dumps(old[key]) == json.dumps(ours[key])


@pytest.mark.parametrize(
    ("old", "ours", "paths"),
    [
        ({"m": ["a", "b"]}, {"m": ["b", "a"]}, []),
        ({"m": ["a", "b"]}, {"m": ["a"]}, ["m"]),
        ({"m": ["a", "a"]}, {"m": ["a", "b"]}, ["m"]),
        ({"st": "secret", "stTtl": 1}, {"st": "other", "stTtl": 2}, []),
        ({"st": "secret"}, {}, ["st"]),
        ({"r": True}, {"r": 1}, ["r"]),
        ({"code": 4303}, {"code": 4401}, ["code"]),
        ({"attr": {"id": "x"}}, {"attr": {"id": "y"}}, ["attr"]),
        ({"t": BEGAN + 5}, {"t": HERE + 9}, []),
        ({"t": BEGAN + 5}, {"t": 5}, ["t"]),
        ({"t": BEGAN - 10**9}, {"t": HERE}, ["t"]),
        ({"t": BEGAN - 10**9}, {"t": BEGAN - 10**9}, []),
        ({"udate": TIME}, {"udate": "2026-11-19T11:06:40.000Z"}, []),
        ({"udate": TIME}, {"udate": "2025-11-19T11:06:40.000Z"}, ["udate"]),
        ({"udate": TIME}, {"udate": HERE}, ["udate"]),
        ({"cid": "a", "t": BEGAN}, {"cid": "b", "t": HERE}, []),
        # What is older than the rehearsal was imported.
        (
            {"cid": "a", "createdAt": BEGAN - 10**9},
            {"cid": "b", "createdAt": BEGAN - 10**9},
            ["cid"],
        ),
        ({"results": {"a": True}}, {"results": {"a": False}}, ["results.a"]),
        ({"unknown fields": ["7"]}, {}, ["unknown fields"]),
        (
            {"convs": [{"cid": "a", "unread": 1}, {"cid": "b", "unread": 2}]},
            {"convs": [{"cid": "b", "unread": 2}, {"cid": "a", "unread": 1}]},
            [],
        ),
        ({"convs": [{"cid": "a", "unread": 1}]}, {"convs": []}, ["convs[a]"]),
        ({"convs": []}, {"convs": [{"cid": "a", "unread": 1}]}, ["convs[a]"]),
        ({"logs": [{"data": "1"}, {"data": "2"}]}, {"logs": [{"data": "1"}]}, ["number of logs"]),
        (
            {"failedPids": [{"code": 1, "pids": ["a", "b"]}]},
            {"failedPids": [{"code": 1, "pids": ["b", "a"]}]},
            [],
        ),
    ],
)
def test_each_kind_of_field_has_its_rule(old, ours, paths):
    assert differences(old, ours) == paths


def test_results_have_an_order_if_one_was_asked_for():
    rows = [{"objectId": "a", "name": "x"}, {"objectId": "b", "name": "y"}]
    both = {"results": rows}, {"results": rows[::-1]}
    assert differences(*both) == []
    assert len(differences(*both, ordered=True)) >= 2


@given(st.permutations(range(5)))
def test_inventions_correspond_one_to_one(order):
    """What an id of the old service stands for does not change, and no two stand for the same."""
    known = Translation(BEGAN, HERE)
    for number in range(5):
        comparison = Comparison(known, learns=True)
        assert comparison.compare({"id": f"old{number}"}, {"id": f"ours{number}"}) == []
        known.learn(comparison.ids, {}, {}, {})
    for number, other in enumerate(order):
        found = Comparison(known, learns=True).compare(
            {"id": f"old{number}"}, {"id": f"ours{other}"}
        )
        assert bool(found) == (number != other)
    assert Comparison(known, learns=True).compare({"id": "new"}, {"id": "ours1"})
    assert Comparison(known, learns=True).compare({"id": "old1"}, {"id": "new"})


@given(st.text(), st.text())
def test_no_token_is_shown(old, ours):
    for value in ({"st": old + "S3cr3t"}, {"deviceToken": ours + "S3cr3t"}):
        assert "S3cr3t" not in shown(value)
        comparison = Comparison(Translation(BEGAN, HERE), learns=True)
        assert "S3cr3t" not in str(comparison.compare({"a": 1, **value}, {}))
        assert "S3cr3t" not in str(
            comparison.compare({"convs": [{"cid": "x", **value}]}, {"convs": []})
        )


# Commands, in the names of ours.


def frame(command, direction="to-server", dialect="protobuf", connection=1):
    return Recorded(TIME, connection, direction, dialect, DIALECTS[dialect].encode(command))


def rehearsal():
    made = Rehearsal(Report())
    made.begins(TIME, HERE)
    return made


def said(made, old, ours):
    """Both answer."""
    made.old_says(frame(old, "to-client"), 0)
    made.ours_says(frame(ours, "to-client"), 0)


START = GenericCommand(
    cmd=CommandType.CONV, op=OpType.START, i=1, conv_message=ConvCommand(m=["Tom"])
)


def started(cid):
    return GenericCommand(
        cmd=CommandType.CONV, op=OpType.STARTED, i=1, conv_message=ConvCommand(cid=cid, cdate=None)
    )


@pytest.mark.parametrize("dialect", ["protobuf", "base64", "json"])
def test_commands_are_told_in_the_names_of_ours(dialect):
    made = rehearsal()
    made.command(frame(START), HERE)
    said(made, started("old"), started("ours"))
    sent = GenericCommand(
        cmd=CommandType.DIRECT, i=2, direct_message=DirectCommand(cid="old", msg="old", dt="x")
    )
    told = made.command(frame(sent, dialect=dialect), HERE)
    assert (told.direct_message.cid, told.direct_message.msg) == ("ours", "old")
    ack = GenericCommand(cmd=CommandType.ACK, i=2, ack_message=AckCommand(uid="m1", t=BEGAN + 7))
    here = GenericCommand(cmd=CommandType.ACK, i=2, ack_message=AckCommand(uid="n1", t=HERE + 9))
    said(made, ack, here)
    asked = LogsCommand(cid="old", mid="m1", t=BEGAN + 7, tt=BEGAN + 1000, tmid="m0")
    told = made.command(
        frame(GenericCommand(cmd=CommandType.LOGS, i=3, logs_message=asked), dialect=dialect), HERE
    ).logs_message
    assert (told.cid, told.mid, told.t, told.tmid) == ("ours", "n1", HERE + 9, "m0")
    # A time of the client's own keeps its distance from when it was said.
    assert told.tt == HERE + 1000
    where = JsonObjectMessage(data='{"objectId":{"$in":["old","imported"]}}')
    query = GenericCommand(
        cmd=CommandType.CONV, op=OpType.QUERY, i=4, conv_message=ConvCommand(where=where)
    )
    told = made.command(frame(query, dialect=dialect), HERE)
    assert json.loads(told.conv_message.where.data) == {"objectId": {"$in": ["ours", "imported"]}}


def test_messages_of_the_same_millisecond_keep_their_own_times():
    made = rehearsal()
    for i, here in ((1, HERE + 3), (2, HERE + 8)):
        sent = GenericCommand(cmd=CommandType.DIRECT, i=i, direct_message=DirectCommand(cid="c"))
        made.command(frame(sent), HERE)
        said(
            made,
            GenericCommand(cmd=CommandType.ACK, i=i, ack_message=AckCommand(uid=f"m{i}", t=BEGAN)),
            GenericCommand(cmd=CommandType.ACK, i=i, ack_message=AckCommand(uid=f"n{i}", t=here)),
        )
    marks = [ReadTuple(cid="c", mid=f"m{i}", timestamp=BEGAN) for i in (1, 2)]
    read = GenericCommand(cmd=CommandType.READ, read_message=ReadCommand(convs=marks))
    told = made.command(frame(read), HERE).read_message.convs
    assert [(mark.mid, mark.timestamp) for mark in told] == [("n1", HERE + 3), ("n2", HERE + 8)]
    logs = LogsCommand(cid="c", mid="m2", t=BEGAN, tmid="m1", tt=BEGAN)
    told = made.command(frame(GenericCommand(cmd=CommandType.LOGS, i=3, logs_message=logs)), HERE)
    assert (told.logs_message.t, told.logs_message.tt) == (HERE + 8, HERE + 3)


def test_the_time_of_a_signature_stays():
    signed = SessionCommand(t=BEGAN + 5, n="n", s="signature", ua="x")
    command = GenericCommand(cmd=CommandType.SESSION, op=OpType.OPEN, i=1, session_message=signed)
    told = rehearsal().command(frame(command), HERE).session_message
    assert (told.t, told.s) == (BEGAN + 5, "signature")
    # But what was masked is no signature.
    masked = frame(command).masked()
    told = rehearsal().command(masked, HERE).session_message
    assert (told.t, told.n, told.s) == (None, None, None)


def test_a_push_waits_until_an_answer_has_told_what_it_is_about():
    made = rehearsal()
    login = GenericCommand(
        cmd=CommandType.SESSION,
        op=OpType.OPEN,
        peer_id="Tom",
        i=1,
        session_message=SessionCommand(),
    )
    made.command(frame(login, connection=1), HERE)

    def push(message, time):
        return GenericCommand(
            cmd=CommandType.DIRECT,
            direct_message=DirectCommand(
                cid="c", id=message, from_peer_id="Tom", msg="hi", timestamp=time
            ),
        )

    made.old_says(frame(push("m1", BEGAN + 1), "to-client", connection=2), 0)
    made.ours_says(frame(push("n1", HERE + 1), "to-client", connection=2), 0)
    read = GenericCommand(cmd=CommandType.ACK, ack_message=AckCommand(cid="c", mid="m1"))
    assert made.waits_for(frame(read, connection=2))
    assert made.report.rows == {}
    sent = GenericCommand(cmd=CommandType.DIRECT, i=2, direct_message=DirectCommand(cid="c"))
    made.command(frame(sent), HERE)
    said(
        made,
        GenericCommand(cmd=CommandType.ACK, i=2, ack_message=AckCommand(uid="m1", t=BEGAN + 1)),
        GenericCommand(cmd=CommandType.ACK, i=2, ack_message=AckCommand(uid="n1", t=HERE + 1)),
    )
    assert not made.waits_for(frame(read, connection=2))
    assert made.command(frame(read, connection=2), HERE).ack_message.mid == "n1"
    made.settle(1)
    assert made.report.rows["← direct"].equal == 1


@given(
    st.lists(st.tuples(st.integers(1, 3), bodies), max_size=12),
    st.data(),
)
def test_answers_belong_to_their_commands_in_whatever_order_they_come(sent, data):
    """Every answer is compared exactly once, on any connections and with any delays."""
    made = rehearsal()
    told = []
    for number, (connection, body) in enumerate(sent):
        command = GenericCommand(
            cmd=CommandType.DIRECT, i=number, direct_message=DirectCommand(cid="c", msg=body)
        )
        made.command(frame(command, connection=connection), HERE)
        told += [(side, number, connection) for side in ("old", "ours")]
    wrong = data.draw(st.sets(st.sampled_from(range(len(sent))))) if sent else set()
    lost = data.draw(st.sets(st.sampled_from(range(len(sent))))) if sent else set()
    for side, number, connection in data.draw(st.permutations(told)):
        code = 4401 if side == "ours" and number in wrong else None
        ack = AckCommand(uid=f"{side}{number}", t=BEGAN if side == "old" else HERE, code=code)
        command = GenericCommand(cmd=CommandType.ACK, i=number, ack_message=ack)
        answer = frame(command, "to-client", connection=connection)
        if side == "old":
            made.old_says(answer, 0)
        elif number not in lost:
            made.ours_says(answer, 0)
    made.finish()
    row = made.report.rows.get("direct")
    counted = (row.equal, row.different, row.unanswered) if row else (0, 0, 0)
    assert counted == (
        len(sent) - len(wrong | lost),
        len(wrong - lost),
        len(lost),
    )


@given(st.permutations(["a", "b", "b", "c"]), st.sampled_from(["", "a", "x"]))
def test_pushes_belong_to_those_that_say_the_same(order, spoiled):
    made = rehearsal()

    def push(body):
        return GenericCommand(
            cmd=CommandType.DIRECT,
            direct_message=DirectCommand(
                cid="c", id=f"m{body}", msg=body, timestamp=1_700_000_000_000
            ),
        )

    for body in ["a", "b", "b", "c"]:
        made.old_says(frame(push(body), "to-client"), 0)
    for body in order:
        if body != spoiled:
            made.ours_says(frame(push(body), "to-client"), 0)
    if spoiled == "x":
        made.ours_says(frame(push("x"), "to-client"), 0)
    made.finish()
    row = made.report.rows["← direct"]
    assert (row.equal, row.different, row.unanswered) == {
        "": (4, 0, 0),
        "a": (3, 0, 1),
        "x": (4, 1, 0),
    }[spoiled]


@pytest.mark.parametrize(("stayed", "counted"), [(0.9, (0, 1)), (1.5, (1, 0))])
def test_who_leaves_at_once_may_have_missed_a_push(stayed, counted):
    made = rehearsal()
    login = GenericCommand(cmd=CommandType.SESSION, op=OpType.OPEN, i=1, peer_id="Tom")
    made.command(frame(login), HERE)
    unread = GenericCommand(cmd=CommandType.UNREAD, unread_message=UnreadCommand(notif_time=HERE))
    made.ours_says(frame(unread, "to-client"), 0)
    logout = GenericCommand(cmd=CommandType.SESSION, op=OpType.CLOSE, i=2)
    later = datetime.fromtimestamp(BEGAN / 1000 + stayed, UTC).isoformat()
    made.command(attrs.evolve(frame(logout), time=later), HERE)
    made.finish()
    row = made.report.rows["← unread"]
    assert (row.different, row.outside) == counted


def test_messages_of_others_leave_room_in_a_page_for_older_ones():
    """Of a page of three the old service filled one with what ours was never told."""
    made = rehearsal()
    logs = GenericCommand(cmd=CommandType.LOGS, i=1, logs_message=LogsCommand(cid="c", limit=3))
    made.command(frame(logs), HERE)

    def page(*items):
        found = [LogItem(msg_id=i, timestamp=t, data=i[:2]) for i, t in items]
        return GenericCommand(
            cmd=CommandType.LOGS, i=1, logs_message=LogsCommand(cid="c", logs=found)
        )

    old = 1_700_000_000_000
    said(
        made,
        page(("m1", old + 1), ("m2", old + 2), ("stranger", BEGAN + 3)),
        page(("m0", old), ("m1", old + 1), ("m2", old + 2)),
    )
    assert made.report.rows["logs"].equal == 1


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        (
            {"time": "t", "connection": 1, "closed": 1000, "by": "client"},
            Ended("t", 1, "client", 1000),
        ),
        ({"time": "t", "connection": 1, "closed": 1000, "by": "me"}, None),
        ({"time": "t", "connection": 1, "closed": "1000", "by": "client"}, None),
        ({"time": "t", "connection": "1", "opened": ""}, None),
        ({"time": "t", "connection": 1, "opened": 1}, None),
    ],
)
def test_edges_of_recordings(fields, read):
    if read is None:
        with pytest.raises(RecordingError):
            from_fields(fields)
    else:
        assert from_fields(fields) == read
        assert from_fields(json.loads(read.line())) == read
