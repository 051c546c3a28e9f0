"""The table of the session, and what happens to commands along any path through it."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trio_realtime._engine.commands import PendingCommands, Serials
from trio_realtime._engine.session_state import (
    FINAL,
    TRANSITIONS,
    SessionMachine,
    SessionState,
    SessionTrigger,
)
from trio_realtime.wire import CommandType, GenericCommand


def test_every_state_has_a_row_can_be_reached_and_final_ones_lead_nowhere():
    assert set(TRANSITIONS) == set(SessionState)
    assert {state for state, row in TRANSITIONS.items() if not row} == FINAL
    reached, latest = set(), {SessionState.NEW}
    while latest:
        reached |= latest
        latest = {to for state in latest for to in TRANSITIONS[state].values()} - reached
    assert reached == set(SessionState)


def test_every_state_can_be_left_by_the_user_and_by_an_error():
    for state in set(SessionState) - FINAL:
        assert TRANSITIONS[state][SessionTrigger.CLOSE] is SessionState.CLOSED
        assert TRANSITIONS[state][SessionTrigger.END] is SessionState.ENDED


@pytest.mark.parametrize("state", sorted(FINAL, key=lambda state: state.name))
@pytest.mark.parametrize("event", SessionTrigger)
def test_nothing_happens_after_the_end(state, event):
    machine = SessionMachine(state)
    assert not machine.handle(event)
    assert machine.state is state


def test_an_impossible_fact_is_a_bug():
    with pytest.raises(AssertionError):
        SessionMachine(SessionState.ONLINE).handle(SessionTrigger.RESUME)


class CommandsOfASession(RuleBasedStateMachine):
    """Commands are settled once, leave in their order on every link, and leave no trace."""

    def __init__(self):
        super().__init__()
        self.machine = SessionMachine()
        self.serials = Serials()
        self.commands = PendingCommands(self.serials)
        self.live = {}
        self.results = {}
        self.link = []
        """Numbers of the commands transmitted on the present link, in order."""
        self.count = 0

    def move(self, event):
        self.machine.handle(event)
        self.commands.online = self.machine.state is SessionState.ONLINE

    def transmit(self, waiting):
        self.serials.stamp(waiting, 0.0)
        self.link.append(next(n for n, one in self.live.items() if one is waiting))

    @rule(repeat=st.sampled_from(["always", "unsent", "never"]))
    def submit(self, repeat):
        waits = repeat != "never"
        if self.machine.state in FINAL or not (waits or self.commands.online):
            return
        self.count += 1
        number = self.count
        self.results[number] = []

        def settle(result):
            self.results[number].append(result)
            del self.live[number]

        command = GenericCommand(cmd=CommandType.DIRECT)
        self.live[number] = self.commands.submit(command, settle, repeat=repeat)
        if self.commands.online:
            self.transmit(self.live[number])

    @precondition(lambda self: self.machine.state is SessionState.ONLINE)
    @rule(data=st.data())
    def reply(self, data):
        serial = data.draw(st.integers(0, self.count + 3))
        self.serials.reply(GenericCommand(i=serial))

    @rule(data=st.data())
    def give_up(self, data):
        if self.live:
            number = data.draw(st.sampled_from(sorted(self.live)))
            self.commands.withdraw(self.live.pop(number))

    @precondition(lambda self: self.machine.state is SessionState.NEW)
    @rule()
    def log_in(self):
        self.move(SessionTrigger.OPEN)
        for waiting in self.commands.untransmitted():
            self.transmit(waiting)
        self.move(SessionTrigger.READY)

    @precondition(lambda self: self.machine.state is SessionState.SUSPENDED)
    @rule(ready=st.booleans())
    def come_back(self, ready):
        self.move(SessionTrigger.RESUME)
        if ready:
            for waiting in self.commands.untransmitted():
                self.transmit(waiting)
            self.move(SessionTrigger.READY)

    @rule()
    def lose(self):
        self.move(SessionTrigger.LOST)
        self.commands.suspend(ConnectionError("lost"))
        self.link.clear()

    @precondition(lambda self: self.count > 5)
    @rule(event=st.sampled_from([SessionTrigger.CLOSE, SessionTrigger.END]))
    def finish(self, event):
        self.move(event)
        self.commands.end(ConnectionError("over"))

    @invariant()
    def nothing_is_settled_twice(self):
        assert all(len(results) <= 1 for results in self.results.values())

    @invariant()
    def every_link_sees_the_order_of_submission(self):
        assert self.link == sorted(self.link)

    @invariant()
    def online_means_that_nothing_waits_untransmitted(self):
        if self.machine.state is SessionState.ONLINE:
            assert self.commands.untransmitted() == []

    @invariant()
    def only_the_living_are_remembered(self):
        assert len(self.commands) == len(self.live)
        assert len(self.serials) <= len(self.live)
        if self.machine.state in FINAL:
            assert not self.live


TestCommandsOfASession = CommandsOfASession.TestCase
