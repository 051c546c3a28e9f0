from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trio_realtime._engine.commands import MAX_SERIAL, PendingCommands, Serials


def command(name="c", i=None):
    return SimpleNamespace(name=name, i=i, cmd=None, ack_message=None)


class Results:
    def __init__(self):
        self.seen = []

    def __call__(self, result):
        self.seen.append(result)


def test_a_reply_settles_the_command_with_its_serial_id_once():
    serials, results = Serials(), Results()
    commands = PendingCommands(serials)
    pending = commands.submit(command(), results, repeat="always")
    sent = serials.stamp(pending, 0.0)
    assert sent.i == 1
    answer = command("reply", i=1)
    serials.reply(answer)
    serials.reply(answer)
    assert results.seen == [answer]
    assert len(commands) == len(serials) == 0


def test_an_unknown_serial_id_is_a_late_reply():
    serials = Serials()
    serials.reply(command(i=99))
    serials.reply(command(i=None))
    assert len(serials) == 0


def test_a_withdrawn_command_leaves_no_trace():
    serials, results = Serials(), Results()
    commands = PendingCommands(serials)
    pending = commands.submit(command(), results, repeat="always")
    serials.stamp(pending, 0.0)
    commands.withdraw(pending)
    commands.withdraw(pending)
    serials.reply(command(i=1))
    assert (results.seen, len(commands), len(serials)) == ([], 0, 0)


def test_a_broken_link_fails_what_may_not_be_retried_and_keeps_the_order_of_the_rest():
    serials = Serials()
    commands = PendingCommands(serials)
    commands.online = True
    results = [Results() for _ in range(4)]
    submitted = [
        commands.submit(command(str(n)), results[n], repeat="never" if n == 1 else "always")
        for n in range(4)
    ]
    for pending in submitted:
        serials.stamp(pending, 0.0)
    error = RuntimeError("gone")
    commands.suspend(error)
    assert not commands.online
    assert len(serials) == 0
    assert [type(r.seen[0]) if r.seen else None for r in results] == [
        None,
        RuntimeError,
        None,
        None,
    ]
    assert [w.command.name for w in commands.untransmitted()] == ["0", "2", "3"]


def test_what_must_not_be_sent_twice_waits_until_it_was_sent_once():
    serials, results = Serials(), Results()
    commands = PendingCommands(serials)
    pending = commands.submit(command(), results, repeat="unsent")
    commands.suspend(RuntimeError("still no link"))
    assert commands.untransmitted() == [pending]
    serials.stamp(pending, 0.0)
    commands.suspend(RuntimeError("gone"))
    assert [str(error) for error in results.seen] == ["gone"]
    assert commands.untransmitted() == []


def test_a_reply_to_the_transmission_before_the_break_is_ignored():
    serials, results = Serials(), Results()
    commands = PendingCommands(serials)
    pending = commands.submit(command(), results, repeat="always")
    serials.stamp(pending, 0.0)
    commands.suspend(RuntimeError())
    serials.stamp(pending, 0.0)
    serials.reply(command(i=1))
    assert results.seen == []
    answer = command(i=2)
    serials.reply(answer)
    assert results.seen == [answer]


def test_the_end_fails_everything_with_the_same_error_also_what_comes_later():
    serials = Serials()
    commands = PendingCommands(serials)
    results = [Results(), Results()]
    for result in results:
        commands.submit(command(), result, repeat="always")
    error = RuntimeError("conflict")
    commands.end(error)
    assert [r.seen[0] for r in results] == [error, error]
    with pytest.raises(RuntimeError) as caught:
        commands.submit(command(), Results(), repeat="always")
    assert caught.value is error


def test_serial_ids_wrap_and_are_never_zero():
    serials = Serials()
    serials._last = MAX_SERIAL
    assert serials.skip() == 1


def test_on_done_is_called_once_when_nobody_waits_any_more():
    serials = Serials()
    commands = PendingCommands(serials)
    pending = commands.submit(command(), Results(), repeat="always")
    calls = []
    pending.when_done(lambda: calls.append(1))
    commands.withdraw(pending)
    commands.withdraw(pending)
    assert calls == [1]


class AnyTraffic(RuleBasedStateMachine):
    """In any order of submissions, breaks and replies each command is settled at most once,
    and what must not happen twice is transmitted at most once."""

    def __init__(self):
        super().__init__()
        self.serials = Serials()
        self.commands = PendingCommands(self.serials)
        self.count = 0
        self.open = {}
        self.settled = []
        self.stamped = set()

    def transmit(self):
        for pending in self.commands.untransmitted():
            self.stamp(pending)

    def stamp(self, pending):
        assert pending.repeat == "always" or pending not in self.stamped
        self.stamped.add(pending)
        self.serials.stamp(pending, 0.0)

    @rule(repeat=st.sampled_from(["always", "unsent", "never"]))
    def submit(self, repeat):
        name = self.count
        self.count += 1
        pending = self.commands.submit(
            command(name), lambda _result: self.settled.append(name), repeat=repeat
        )
        self.open[name] = pending
        if self.commands.online:
            self.stamp(pending)

    @rule()
    def come_online(self):
        self.transmit()
        self.commands.online = True

    @rule()
    def lose_link(self):
        self.commands.suspend(RuntimeError())

    @rule(serial=st.integers(0, 30))
    def reply(self, serial):
        self.serials.reply(command(i=serial))

    @rule(name=st.integers(0, 30))
    def withdraw(self, name):
        pending = self.open.pop(name, None)
        if pending is not None:
            self.commands.withdraw(pending)

    @invariant()
    def nothing_leaks_and_nothing_is_settled_twice(self):
        assert len(self.settled) == len(set(self.settled))
        pending = self.commands.untransmitted()
        assert len(self.commands) == len(pending) + len(self.serials)
        names = [one.command.name for one in pending]
        assert names == sorted(names)
        if self.commands.online:
            assert not pending


TestAnyTraffic = AnyTraffic.TestCase
