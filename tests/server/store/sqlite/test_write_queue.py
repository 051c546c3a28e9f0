from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_realtime.server.store.sqlite.runner import Job
from trio_realtime.server.store.sqlite.write_queue import (
    DEAR_SECONDS,
    DEAR_SHARE,
    REMEMBERED,
    Transaction,
    WriteQueue,
)

CHEAP = DEAR_SECONDS / 10
DEAR = DEAR_SECONDS * 5


class Writer:
    """A writer whose rules take as long as their names say, and time with it."""

    def __init__(self, seconds=1.0):
        self.now = 0.0
        self.queue = WriteQueue(seconds, clock=self.time, processor=self.time)

    def time(self):
        return self.now

    def put(self, owner, *names, takes=CHEAP):
        for name in names:
            self.queue.put(owner, Job(name, takes, None))

    def transaction(self, meanwhile=None):
        """The names of the rules of one transaction, whose commit takes no time."""
        transaction = Transaction(self.queue)
        for job in transaction:
            self.now += job.rule
            if meanwhile is not None:
                meanwhile(job.app_id)
        transaction.committed()
        return "".join(job.app_id for job in transaction.jobs)


def test_owners_take_turns_and_newcomers_come_first():
    writer = Writer()
    writer.put("crowd", "a", "b", "c")
    writer.put("other", "d", "e")
    writer.put("single", "f")
    assert writer.transaction() == "adfbec"
    assert len(writer.queue) == 0


def test_a_rule_that_comes_meanwhile_is_still_taken_and_does_not_wait_for_the_crowd():
    writer = Writer()
    writer.put("crowd", "a", "b", "c")
    assert writer.transaction(lambda at: at == "a" and writer.put("single", "x")) == "axbc"


def test_who_keeps_coming_is_no_newcomer():
    writer = Writer()
    writer.put("crowd", "a", "b", "c")

    def again(at):
        if at in "xyz"[:2]:
            writer.put("busy", chr(ord(at) + 1))

    writer.put("busy", "x")
    assert writer.transaction(again) == "axbycz"


def test_a_transaction_is_bounded_in_time_and_does_something():
    writer = Writer(seconds=CHEAP * 3.5)
    writer.put("crowd", *"abcdefg")
    assert [writer.transaction(), writer.transaction()] == ["abcd", "efg"]
    writer = Writer(seconds=0.0)
    writer.put("crowd", *"ab")
    assert [writer.transaction(), writer.transaction()] == ["a", "b"]


def test_who_is_dear_has_transactions_apart():
    writer = Writer()
    writer.put("single", "w")
    writer.transaction()
    writer.put("dear", *"ABC", takes=DEAR)
    assert writer.transaction() == "ABC"  # it was not known
    writer.put("dear", *"DE", takes=DEAR)
    writer.put("single", "x")
    assert writer.transaction() == "x"
    writer.now += REMEMBERED / 2
    writer.put("single", "y")
    assert [writer.transaction() for _ in range(3)] == ["D", "y", ""]
    writer.now += REMEMBERED / 2
    assert writer.transaction() == "E"


def test_dear_rules_have_a_share_of_the_time_where_others_write():
    writer = Writer()
    writer.put("dear", "A", takes=DEAR)
    writer.transaction()
    writer.put("dear", *"B" * 50, takes=DEAR)
    began, spent = writer.now, 0.0
    while len(writer.queue):
        writer.put("single", "x")
        spent += DEAR * writer.transaction().count("B")
        writer.now += writer.queue.delay() or CHEAP
    assert 0.8 * DEAR_SHARE < spent / (writer.now - began) <= DEAR_SHARE * 1.1


def test_who_is_alone_may_be_as_dear_as_he_likes():
    writer = Writer()
    writer.put("dear", "A", takes=DEAR)
    writer.transaction()
    writer.now += 2 * REMEMBERED
    writer.put("dear", "B", takes=DEAR)
    writer.transaction()
    writer.put("dear", "C", takes=DEAR)
    assert writer.queue.delay() == 0


def test_who_was_dear_is_forgiven():
    writer = Writer()
    writer.put("once", "A", takes=DEAR)
    writer.transaction()
    writer.now += 2 * REMEMBERED
    writer.put("once", *"bc")
    writer.put("single", "x")
    assert writer.transaction() == "bxc"


def test_at_the_end_nobody_waits_for_his_share():
    writer = Writer()
    writer.put("single", "x")
    writer.put("dear", *"AB", takes=DEAR)
    writer.transaction()
    writer.put("dear", "C", takes=DEAR)
    assert writer.queue.delay() > 0
    writer.queue.hurry()
    assert writer.queue.delay() == 0
    assert writer.transaction() == "C"


def test_a_successor_comes_behind():
    writer = Writer()
    writer.put("old", *"abc")
    writer.put("new", "l")
    writer.queue.succeed("old", "new")
    writer.put("new", "d")
    assert writer.transaction() == "labcd"
    writer.queue.succeed("nobody", "new")
    assert writer.queue.delay() is None


def test_what_is_drained_is_gone():
    writer = Writer()
    writer.put("dear", "A", takes=DEAR)
    writer.transaction()
    writer.put("dear", "B")
    writer.put("a", *"cd")
    assert sorted(job.app_id for job in writer.queue.drain()) == ["B", "c", "d"]
    assert len(writer.queue) == 0
    assert writer.queue.delay() is None


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([CHEAP, DEAR]), st.booleans()), max_size=60
    )
)
def test_nothing_is_lost_and_the_order_of_each_is_kept(steps):
    writer = Writer(seconds=CHEAP * 4)
    came = {owner: [] for owner in range(5)}
    done = {owner: [] for owner in range(5)}

    def run():
        transaction = Transaction(writer.queue)
        for job in transaction:
            writer.now += job.rule
            owner, number = job.app_id
            done[owner].append(number)
        transaction.committed()

    for number, (owner, takes, now) in enumerate(steps):
        came[owner].append(number)
        writer.queue.put(owner, Job((owner, number), takes, None))
        if now:
            run()
    while (delay := writer.queue.delay()) is not None:
        writer.now += delay
        run()
    assert done == came
    assert len(writer.queue) == 0


def test_a_rule_that_only_waited_is_not_dear():
    writer = Writer()
    writer.queue.processor = lambda: 0.0  # somebody else has the processor
    writer.put("slow", "a", "b", takes=DEAR)
    assert writer.transaction() == "ab"
    writer.put("slow", "c", "d")
    assert writer.transaction() == "cd"


def test_what_small_rules_took_is_not_laid_on_one_that_waits():
    writer = Writer()
    busy = 0.0
    writer.queue.processor = lambda: busy
    writer.put("small", *"sssssssss")
    writer.put("waits", "s", "w", takes=CHEAP)
    transaction = Transaction(writer.queue)
    for job in transaction:
        if job.app_id == "s":
            writer.now += CHEAP
            busy += CHEAP
        else:
            writer.now += DEAR
    transaction.committed()
    writer.put("waits", "x", "y")
    assert writer.transaction() == "xy"
