"""Random commands of random clients, against a model in a few lines; and plain nonsense."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.server.rules.world import JS, MISSING, World, failures, refusal
from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.rules.conversation_table import CONVERSATION_HANDLERS
from trio_realtime.server.rules.start import unique_id
from trio_realtime.server.rules.types import Feature, Refusal
from trio_realtime.server.store.interface import Listing
from trio_realtime.wire import (
    BlacklistCommand,
    ConvCommand,
    ConvMemberInfo,
    GenericCommand,
    JsonObjectMessage,
    OpType,
)

OWNER = "a"
CLIENTS = [OWNER, "b", "c", "d"]
who = st.sampled_from(CLIENTS)
some = st.lists(who, min_size=1, max_size=3, unique=True)


class Membership(RuleBasedStateMachine):
    """One conversation. The model: who is in (in order), who is blocked, who has a role."""

    @initialize(others=st.lists(who, unique=True))
    def start(self, others):
        self.world = World()
        self.inside = sorted({OWNER, *others})
        self.blocked: set[str] = set()
        self.roles: dict[str, str] = {}
        self.owned = True
        self.cid = self.world.start(OWNER, *others, unique=True)

    def teardown(self):
        if hasattr(self, "world"):
            self.world.close()

    def code(self, actor, *, authority):
        """What keeps the actor from touching others."""
        if actor not in self.inside:
            return 4317
        managers = [one for one in self.inside if self.roles.get(one) == "Manager"]
        rulers = [*managers, OWNER] if self.owned else managers or self.inside[:1]
        return 4320 if authority and actor not in rulers else None

    def attempt(self, code, call, *args, **kwargs):
        if code is None:
            return call(*args, **kwargs)
        assert refusal(call, *args, **kwargs)[0] == code
        assert self.world.told() == []
        return None

    def forget(self, gone):
        self.inside = [one for one in self.inside if one not in gone]
        self.roles = {one: role for one, role in self.roles.items() if one not in gone}
        self.owned &= OWNER not in gone

    @rule(actor=who, ids=some)
    def add(self, actor, ids):
        code = None if ids == [actor] else self.code(actor, authority=False)
        reply = self.attempt(code, self.world.add, actor, self.cid, *ids)
        if reply is None:
            return
        denied = [one for one in ids if one in self.blocked]
        new = [one for one in ids if one not in self.inside and one not in self.blocked]
        self.inside += new
        assert reply.allowed_pids == [one for one in ids if one not in denied]
        assert failures(reply) == [(4548, "BLOCKED_BY_CONV", denied)] * bool(denied)
        told = [("JOINED", new, []), ("MEMBERS_JOINED", self.inside, new)]
        assert self.world.told() == told * bool(new)

    @rule(actor=who, ids=some)
    def remove(self, actor, ids):
        code = None if ids == [actor] else self.code(actor, authority=True)
        reply = self.attempt(code, self.world.remove, actor, self.cid, *ids)
        if reply is None:
            return
        stays = [one for one in ids if one == OWNER and self.owned and self.roles]
        gone = [one for one in ids if one in self.inside and one not in stays]
        self.forget(gone)
        assert reply.allowed_pids == [one for one in ids if one not in stays]
        assert failures(reply) == [(4324, "CONVERSATION_NEED_OWNER", stays)] * bool(stays)
        told = [("LEFT", gone, []), ("MEMBERS_LEFT", self.inside, gone)][: 1 + bool(self.inside)]
        assert self.world.told() == told * bool(gone)

    @rule(actor=who)
    def join(self, actor):
        self.add(actor, [actor])

    @rule(actor=who)
    def leave(self, actor):
        self.remove(actor, [actor])

    @rule(actor=who, ids=some)
    def block(self, actor, ids):
        code = self.code(actor, authority=True)
        fields = {"src_cid": self.cid, "to_pids": ids}
        reply = self.attempt(code, self.world.block_list, actor, OpType.BLOCK, **fields)
        if reply is None:
            return
        allowed = [one for one in ids if one != OWNER or not self.owned]
        new = [one for one in allowed if one not in self.blocked]
        gone = [one for one in new if one in self.inside]
        self.blocked |= set(new)
        self.forget(gone)
        assert reply.allowed_pids == allowed
        told = [
            ("BLOCKED", new, []),
            ("LEFT", gone, []),
            ("MEMBERS_BLOCKED", self.inside, new),
            ("MEMBERS_LEFT", self.inside, gone),
        ]
        about = [new, gone, new, gone]
        audiences = [new, gone, self.inside, self.inside]
        expected = [t for t, a, to in zip(told, about, audiences, strict=True) if a and to]
        assert self.world.told() == expected

    @rule(actor=who, ids=some)
    def unblock(self, actor, ids):
        code = self.code(actor, authority=True)
        fields = {"src_cid": self.cid, "to_pids": ids}
        reply = self.attempt(code, self.world.block_list, actor, OpType.UNBLOCK, **fields)
        if reply is None:
            return
        freed = [one for one in ids if one in self.blocked]
        self.blocked -= set(freed)
        assert reply.allowed_pids == ids
        told = [("UNBLOCKED", freed, []), ("MEMBERS_UNBLOCKED", self.inside, freed)]
        assert self.world.told() == told * bool(freed)

    @rule(actor=who, member=who, role=st.sampled_from(["Manager", "Member"]))
    def give_role(self, actor, member, role):
        code = self.code(actor, authority=True)
        if code is None and member not in self.inside:
            code = 4317
        elif code is None and member == OWNER and self.owned:
            code = 4324
        reply = self.attempt(code, self.world.role, actor, self.cid, member, role)
        if reply is None:
            return
        self.roles[member] = role
        assert self.world.told() == [("MEMBER_INFO_CHANGED", self.inside, [])]

    @invariant()
    def the_server_agrees(self):
        if not hasattr(self, "world"):
            return

        def state(tx):
            row = tx.conversation(self.cid)
            infos = {one.client_id: one.role for one in tx.member_infos(self.cid)}
            blocked = tx.which_listed(Listing.BLOCKED, self.cid, CLIENTS)
            return tx.members(self.cid), blocked, infos, row.unique_id

        mark = unique_id(self.inside if OWNER in self.inside else [self.cid])
        expected = (self.inside, self.blocked, self.roles, mark)
        assert self.world.tx(state, writes=False) == expected


Membership.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, derandomize=True
)
TestMembership = Membership.TestCase


@pytest.fixture(scope="module")
def nonsense_world():
    world = World()
    world.cids = [
        world.start("a", "b", unique=True),
        world.room("a"),
        world.service("a"),
        world.start("a", "b", temp_conv=True),
        MISSING,
        "",
        "\x00",
    ]
    world.add("a", world.cids[2], "a")
    yield world
    world.close()


ids = st.sampled_from(["a", "b", "c", "", "x" * 65, "\x00", "é"]) | st.text(max_size=3)
texts = st.none() | st.sampled_from(["", "\x00", "-", "-lm", "lm,-a"]) | st.text(max_size=8)
numbers = st.none() | st.sampled_from([0, 1, -1, 3, 2**31 - 1, -(2**31)])
json_texts = st.sampled_from(
    [
        "{}",
        "[]",
        "null",
        "{",
        '{"name":1}',
        '{"a.b":1}',
        '{"m":"a"}',
        '{"$or":[]}',
        '{"a":{"$in":1}}',
    ]
) | st.text('{}[]":,1a$', max_size=8)
documents = st.none() | st.builds(JsonObjectMessage, data=json_texts)


@st.composite
def commands(draw):
    cmd, op = draw(st.sampled_from(sorted(CONVERSATION_HANDLERS)))
    index = draw(st.integers(0, 7))
    members = draw(st.lists(ids, max_size=3))
    conv = st.builds(
        ConvCommand,
        m=st.just(members),
        transient=st.none() | st.booleans(),
        unique=st.none() | st.booleans(),
        temp_conv=st.none() | st.booleans(),
        temp_conv_ttl=numbers,
        sort=texts,
        limit=numbers,
        skip=numbers,
        flag=numbers,
        t=numbers,
        n=texts,
        s=texts,
        next=texts,
        target_client_id=st.none() | ids,
        info=st.none() | st.builds(ConvMemberInfo, pid=st.none() | ids, role=texts),
        cids=st.lists(ids, max_size=2),
        temp_conv_ids=st.lists(ids, max_size=1),
        attr=documents,
        where=documents,
    )
    blocks = st.builds(
        BlacklistCommand,
        to_pids=st.just(members),
        src_pid=st.none() | ids,
        to_cids=st.lists(ids, max_size=2),
        limit=numbers,
        next=texts,
        t=numbers,
        n=texts,
        s=texts,
    )
    conv_message, blacklist_message = draw(st.none() | conv), draw(st.none() | blocks)
    command = GenericCommand(cmd=cmd, op=op, conv_message=conv_message)
    command.blacklist_message = blacklist_message
    return index, command


@given(commands(), st.sampled_from(["a", "b", "c"]), st.sampled_from([JS, Feature(0)]))
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nonsense_is_answered_or_refused_with_a_code(nonsense_world, indexed, actor, features):
    index, command = indexed
    cid = (*nonsense_world.cids, None)[index]
    if command.conv_message is not None:
        command.conv_message.cid = cid
    if command.blacklist_message is not None:
        command.blacklist_message.src_cid = cid
    try:
        reply = nonsense_world.do(actor, command, features=features)
    except Refusal as refused:
        code, reason = refused.code, refused.reason
    else:
        assert (reply.cmd, reply.i) == (command.cmd, None)
        assert reply.op is not None
        return
    assert 4301 <= code <= 4563
    assert reason == ErrorCode(code).name
