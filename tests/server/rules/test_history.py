from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.rules.world import MISSING, World, refusal
from trio_realtime.server.store.interface import Kind, NewMessage
from trio_realtime.wire import CommandType, GenericCommand, PatchItem, QueryDirection


@pytest.fixture
def chat(world):
    return world.conversation("tom", "jerry")


def texts(items):
    return [item.data for item in items]


def fill(world, cid, count):
    tom = world.device("tom")
    return [world.send(tom, cid, str(number)) for number in range(count)]


# Every query over five messages against the definition of a page: docs/protocol/messages.md §7.

WORLD = World()
CHAT = WORLD.conversation("tom", "jerry")
SENT = fill(WORLD, CHAT, 5)
TOM = WORLD.devices[0]

times = st.one_of(
    st.none(),
    st.sampled_from([sent.t for sent in SENT]),
    st.sampled_from([SENT[0].t - 1, SENT[2].t + 1, SENT[-1].t + 1, 2**63 - 1]),
)
mids = st.one_of(st.none(), st.sampled_from([sent.uid for sent in SENT] + ["", "z", "A"]))
flags = st.sampled_from([None, False, True])


def past(point, bound, *, included, older):
    """Whether a message lies beyond a bound, as seen walking towards it."""
    timestamp, mid = bound
    mine, limit = ((point[0],), (timestamp,)) if not mid else (point, (timestamp, mid))
    if mine == limit:
        return included
    return mine < limit if older else mine > limit


@settings(max_examples=300, deadline=None)
@given(
    t=times,
    mid=mids,
    tt=times,
    tmid=mids,
    t_included=flags,
    tt_included=flags,
    direction=st.sampled_from([None, QueryDirection.OLD, QueryDirection.NEW]),
    limit=st.integers(0, 6),
)
def test_pages_are_what_the_protocol_says(
    t, mid, tt, tmid, t_included, tt_included, direction, limit
):
    older = direction is not QueryDirection.NEW
    points = [(sent.t, sent.uid) for sent in SENT]
    if t is not None:
        points = [
            point
            for point in points
            if past(point, (t, mid), included=bool(t_included), older=older)
        ]
    if tt is not None:
        points = [
            point
            for point in points
            if past(point, (tt, tmid), included=bool(tt_included), older=not older)
        ]
    expected = points[len(points) - min(limit, len(points)) :] if older else points[:limit]
    found = WORLD.logs(
        TOM,
        CHAT,
        l=limit,
        t=t,
        mid=mid,
        tt=tt,
        tmid=tmid,
        t_included=t_included,
        tt_included=tt_included,
        direction=direction,
    )
    assert [(item.timestamp, item.msg_id) for item in found] == expected


def test_page_sizes(world, chat):
    tom = world.device("tom")
    for _ in range(1002):
        world.tx(lambda tx: tx.append(chat, NewMessage("tom", "x")))
    assert len(world.logs(tom, chat)) == 20
    assert len(world.logs(tom, chat, limit=30)) == 30
    assert len(world.logs(tom, chat, l=7, limit=30)) == 7
    assert world.logs(tom, chat, l=0) == world.logs(tom, chat, limit=0) == []
    assert len(world.logs(tom, chat, l=5000)) == 1000
    assert refusal(world.logs, tom, chat, l=-1) == (4311, "CONVERSATION_LOG_FAILED")


def test_zeros_mean_nothing_said(world, chat):
    fill(world, chat, 2)
    tom = world.device("tom")
    for direction in (None, QueryDirection.OLD, QueryDirection.NEW):
        found = world.logs(tom, chat, t=0, tt=0, mid="", lctype=0, direction=direction)
        assert texts(found) == ["0", "1"]


def test_paging_back_meets_every_message_once(world, chat):
    fill(world, chat, 23)
    tom = world.device("tom")
    found, start = [], {}
    while page := world.logs(tom, chat, l=10, **start):
        found = texts(page) + found
        start = {"t": page[0].timestamp, "mid": page[0].msg_id}
    assert found == [str(number) for number in range(23)]


def test_one_type_only(world, chat):
    tom = world.device("tom")
    for body in ('{"_lctype":-1}', "plain", '{"_lctype":-2}', '{"_lctype":-1,"_lctext":"2"}'):
        world.send(tom, chat, body)
    assert texts(world.logs(tom, chat, lctype=-1)) == [
        '{"_lctype":-1}',
        '{"_lctype":-1,"_lctext":"2"}',
    ]
    assert texts(world.logs(tom, chat, lctype=-1, l=1)) == ['{"_lctype":-1,"_lctext":"2"}']
    assert world.logs(tom, chat, lctype=5) == []


def test_what_a_message_looks_like_in_history(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    sent = world.send(tom, chat, "hi", mention_pids=["jerry"], mention_all=True)
    world.send(jerry, chat, binary_msg=b"\0\xff")
    first, second = world.logs(jerry, chat)
    assert (first.msg_id, first.timestamp, first.from_) == (sent.uid, sent.t, "tom")
    assert (first.data, first.bin, first.conv_type) == ("hi", None, 1)
    assert (first.mention_pids, first.mention_all) == (["jerry"], True)
    assert first.patch_timestamp is first.ack_at is first.read_at is None
    assert second.bin is True
    assert base64.b64decode(second.data) == b"\0\xff"
    assert second.mention_all is None


def test_times_of_receipt_are_of_conversations_of_two(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    sent = world.send(tom, chat, "hi")
    world.ack(jerry, chat, mid=sent.uid)
    received = world.now
    world.read(jerry, chat)
    read = world.now
    (item,) = world.logs(tom, chat)
    assert (item.ack_at, item.read_at) == (received, read)
    world.tx(lambda tx: tx.add_members(chat, ["mary"]))
    (item,) = world.logs(tom, chat)
    assert item.ack_at is item.read_at is None


def test_edits_and_recalls_show(world, chat):
    tom = world.device("tom")
    one, two = (world.send(tom, chat, text) for text in "12")
    edited = world.patch(tom, PatchItem(cid=chat, mid=one.uid, data="one"))
    recalled = world.patch(tom, PatchItem(cid=chat, mid=two.uid, recall=True))
    first, second = world.logs(tom, chat)
    assert (first.data, first.patch_timestamp, first.timestamp) == ("one", edited, one.t)
    assert (second.data, second.patch_timestamp) == ('{"_lctype":-127}', recalled)
    assert texts(world.logs(tom, chat, lctype=-127)) == ['{"_lctype":-127}']


# Who may read.


def test_members_subscribers_and_anybody(world, chat):
    jerry, spike = world.device("jerry"), world.device("spike")
    rejected = (4312, "CONVERSATION_LOG_REJECTED")
    room = world.conversation(kind=Kind.ROOM)
    service = world.conversation("jerry", kind=Kind.SERVICE)
    temporary = world.conversation("jerry", kind=Kind.TEMPORARY, ttl=10**6)
    world.send(spike, room, "hi")
    world.tx(lambda tx: tx.append(service, NewMessage("admin", "news")))
    assert texts(world.logs(world.device("mary"), room)) == ["hi"]
    assert texts(world.logs(jerry, service)) == ["news"]
    assert world.logs(jerry, temporary) == []
    for cid in (chat, service, temporary):
        assert refusal(world.logs, spike, cid) == rejected
    world.tx(lambda tx: tx.remove_members(chat, ["jerry"]))
    assert refusal(world.logs, jerry, chat) == rejected
    for cid in (MISSING, None, ""):
        assert refusal(world.logs, jerry, cid) == (4303, "CONVERSATION_NOT_FOUND")
    assert refusal(world.do, jerry, GenericCommand(cmd=CommandType.LOGS, i=1))[0] == 4303


@pytest.mark.parametrize("newer", [False, True])
def test_a_page_is_bounded_in_bytes(world, chat, newer):
    body = "é" * 2000
    sent = [world.tx(lambda tx: tx.append(chat, NewMessage("tom", body))[0].id) for _ in range(300)]
    tom, seen = world.device("tom"), []
    direction = QueryDirection.NEW if newer else QueryDirection.OLD
    point = {}
    sizes = []
    while page := world.logs(tom, chat, l=1000, direction=direction, **point):
        sizes.append(len(page))
        edge = page[-1] if newer else page[0]
        point = {"t": edge.timestamp, "mid": edge.msg_id}
        ids = [item.msg_id for item in page]
        seen = [*seen, *ids] if newer else [*ids, *seen]
    assert seen == sent
    assert sizes == [131, 131, 38]


def test_a_page_of_a_hundred_is_complete_whatever_its_size(world, chat):
    for _ in range(120):
        world.tx(lambda tx: tx.append(chat, NewMessage("tom", "x" * 30_000)))
    assert len(world.logs(world.device("tom"), chat, l=100)) == 100
    assert len(world.logs(world.device("tom"), chat, l=1000)) == 100
