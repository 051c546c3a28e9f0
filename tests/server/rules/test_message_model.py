"""Counters, marks and receipts against a model that looks through the whole history."""

from __future__ import annotations

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.server.rules.world import World, bodies
from trio_realtime.server.rules.offline import offline_pushes
from trio_realtime.server.rules.read import unread_push
from trio_realtime.wire import CommandType, PatchItem

USERS = ["tom", "jerry", "mary"]
CONVERSATIONS = [0, 1]

users = st.sampled_from(USERS)
conversations = st.sampled_from(CONVERSATIONS)
flags = st.booleans()
mentioned = st.lists(users, max_size=2)


@attrs.define
class Said:
    id: str
    t: int
    sender: str
    receipt: bool
    body: str
    mentions: list[str]
    everybody: bool
    received_by: set[str] = attrs.field(factory=set)


@attrs.define
class Chat:
    cid: str
    history: list[Said] = attrs.field(factory=list)
    floor: dict[str, int] = attrs.field(factory=dict)
    """Members, and the time before which they have nothing unread."""
    read: dict[str, int] = attrs.field(factory=dict)
    acked: dict[str, int] = attrs.field(factory=dict)

    def unread(self, who: str) -> list[Said]:
        mark = max(self.read.get(who, 0), self.floor[who])
        return [said for said in self.history if said.t > mark and said.sender != who]


class Counting(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.world = World()
        self.devices = {who: [self.world.device(who), self.world.device(who)] for who in USERS}
        self.chats = []
        for members in (USERS, USERS[:2]):
            cid = self.world.conversation(*members)
            self.chats.append(Chat(cid, floor=dict.fromkeys(members, 0)))

    def teardown(self):
        if hasattr(self, "world"):
            self.world.close()

    def member(self, chat, who):
        """This user if he may act here, otherwise somebody who may."""
        chat = self.chats[chat]
        return chat, who if who in chat.floor else next(iter(chat.floor))

    def collect(self, cmd):
        """{user: pushes}, after making sure that all devices of a user got the same.

        The acting device may have been left out; it comes first.
        """
        found = {}
        for who, (acting, other) in self.devices.items():
            pushes = other.take()
            assert all(push.cmd in cmd for push in pushes)
            mine = acting.take()
            assert mine in ([], pushes)
            found[who] = (mine, pushes)
        return found

    @rule(
        chat=conversations,
        who=users,
        receipt=st.sampled_from([True, True, False]),
        transient=flags,
        mentions=mentioned,
        everybody=flags,
        same_instant=flags,
    )
    def send(self, chat, who, receipt, transient, mentions, everybody, same_instant):
        chat, who = self.member(chat, who)
        if same_instant:
            self.world.now -= 1000
        ack = self.world.send(
            self.devices[who][0],
            chat.cid,
            body := f"{len(chat.history)}",
            r=receipt,
            transient=transient,
            mention_pids=mentions,
            mention_all=everybody,
        )
        if not transient:
            chat.history.append(Said(ack.uid, ack.t, who, receipt, body, mentions, everybody))
        for receiver, (first, second) in self.collect({CommandType.DIRECT}).items():
            assert bodies(second) == ([body] if receiver in chat.floor else [])
            assert first == ([] if receiver == who else second)

    @rule(chat=conversations, who=users, data=st.data(), by_id=flags)
    def acknowledge(self, chat, who, data, by_id):
        chat, who = self.member(chat, who)
        if not chat.history:
            return
        picks = st.integers(0, len(chat.history) - 1)
        low, high = sorted((data.draw(picks), data.draw(picks)))
        if by_id:
            low = high
            self.world.ack(self.devices[who][0], chat.cid, mid=chat.history[high].id)
        else:
            self.world.ack(
                self.devices[who][0],
                chat.cid,
                fromts=chat.history[low].t,
                tots=chat.history[high].t,
            )
        chat.acked[who] = max(chat.acked.get(who, 0), chat.history[high].t)
        expected = {one: [] for one in USERS}
        for said in chat.history[low : high + 1]:
            if said.receipt and said.sender != who and who not in said.received_by:
                said.received_by.add(who)
                expected[said.sender].append((said.id, who, None))
        for sender, (first, second) in self.collect({CommandType.RCP}).items():
            assert first == second
            assert [self.receipt(push) for push in first] == expected[sender]

    @rule(chat=conversations, who=users, data=st.data(), form=st.sampled_from(["all", "t", "mid"]))
    def read(self, chat, who, data, form):
        chat, who = self.member(chat, who)
        if form == "all" or not chat.history:
            upto, fields = 2**62, {}
        else:
            said = chat.history[data.draw(st.integers(0, len(chat.history) - 1))]
            upto, fields = said.t, {"timestamp": said.t} if form == "t" else {"mid": said.id}
        newest = {
            said.sender: said.id for said in chat.unread(who) if said.receipt and said.t <= upto
        }
        self.world.read(self.devices[who][0], chat.cid, **fields)
        reached = max((said.t for said in chat.history if said.t <= upto), default=0)
        chat.read[who] = max(chat.read.get(who, 0), reached)
        for one, (first, second) in self.collect({CommandType.RCP, CommandType.UNREAD}).items():
            assert first == second
            if one == who:
                push = first.pop(0)
                (counter,) = push.unread_message.convs
                self.check_counter(chat, who, counter)
            expected = [(newest[one], who, True)] if one in newest else []
            assert [self.receipt(push) for push in first] == expected

    @rule(chat=conversations, data=st.data(), recall=flags, mentions=mentioned, everybody=flags)
    def edit(self, chat, data, recall, mentions, everybody):
        chat = self.chats[chat]
        mine = [said for said in chat.history if said.sender in chat.floor]
        mine = [said for said in mine if said.body != "recalled"]
        if not mine:
            return
        said = data.draw(st.sampled_from(mine))
        item = PatchItem(
            cid=chat.cid,
            mid=said.id,
            recall=recall,
            data=None if recall else "edited",
            mention_pids=mentions,
            mention_all=everybody,
        )
        self.world.patch(self.devices[said.sender][0], item)
        said.body = "recalled" if recall else "edited"
        said.mentions, said.everybody = ([], False) if recall else (mentions, everybody)
        for receiver, (first, second) in self.collect({CommandType.PATCH}).items():
            assert len(second) == (receiver in chat.floor)
            assert first == ([] if receiver == said.sender else second)

    @rule(chat=conversations, who=users)
    def join(self, chat, who):
        chat = self.chats[chat]
        if who not in chat.floor:
            self.world.tx(lambda tx: tx.add_members(chat.cid, [who]))
            chat.floor[who] = chat.history[-1].t if chat.history else 0

    @rule(chat=conversations, who=users)
    def leave(self, chat, who):
        chat, who = self.member(chat, who)
        if len(chat.floor) > 1:
            self.world.tx(lambda tx: tx.remove_members(chat.cid, [who]))
            for marks in (chat.floor, chat.read, chat.acked):
                marks.pop(who, None)

    @staticmethod
    def receipt(push):
        assert push.cmd == CommandType.RCP
        return push.rcp_message.id, push.rcp_message.from_, push.rcp_message.read

    @staticmethod
    def check_counter(chat, who, counter):
        unread = chat.unread(who)
        assert counter.cid == chat.cid
        assert counter.unread == len(unread)
        assert counter.mentioned == any(said.everybody or who in said.mentions for said in unread)
        assert counter.mid == (chat.history[-1].id if chat.history else None)

    @invariant()
    def a_login_finds_every_counter(self):
        if not hasattr(self, "world"):
            return
        for who in USERS:
            push = self.world.tx(lambda tx, who=who: unread_push(tx, who, None))
            counters = {one.cid: one for one in push.unread_message.convs} if push else {}
            news = {chat.cid: chat for chat in self.chats if who in chat.floor and chat.unread(who)}
            assert counters.keys() == news.keys()
            for cid, chat in news.items():
                self.check_counter(chat, who, counters[cid])

    @invariant()
    def a_login_in_mode_one_finds_what_was_never_received(self):
        if not hasattr(self, "world"):
            return
        for who in USERS:
            pushes = self.world.tx(lambda tx, who=who: offline_pushes(tx, who))
            for chat in self.chats:
                if who not in chat.floor:
                    continue
                marks = [chat.acked.get(who, 0), chat.read.get(who, 0), chat.floor[who]]
                expected = [
                    said.id for said in chat.history if said.t > max(marks) and said.sender != who
                ]
                found = [
                    push.direct_message.id for push in pushes if push.direct_message.cid == chat.cid
                ]
                assert found == expected[-20:]

    @invariant()
    def members_see_how_far_the_others_are(self):
        if not hasattr(self, "world"):
            return
        for chat in self.chats:
            who = next(iter(chat.floor))
            marks = self.world.max_read(
                self.devices[who][0], chat.cid, query_all_members=True
            ).max_read_tuples
            found = {item.pid: (item.max_ack_timestamp, item.max_read_timestamp) for item in marks}
            # A mark may also stand behind transient messages.
            for other in chat.floor.keys() - {who}:
                acked, read = found.get(other, (None, None))
                mine = max(chat.acked.get(other, 0), chat.read.get(other, 0))
                assert self.last_at(chat, acked) == mine
                assert self.last_at(chat, read) == chat.read.get(other, 0)

    @staticmethod
    def last_at(chat, mark):
        return max((said.t for said in chat.history if said.t <= (mark or 0)), default=0)


Counting.TestCase.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)
TestCounting = Counting.TestCase
