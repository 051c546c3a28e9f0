from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trio_realtime._engine.backoff import JITTER, Backoff
from trio_realtime._engine.link_state import (
    FINAL,
    TRANSITIONS,
    WISHES,
    LinkMachine,
    LinkState,
    LinkTrigger,
)


def test_every_state_has_a_row_and_final_ones_lead_nowhere():
    assert set(TRANSITIONS) == set(LinkState)
    assert {state for state, row in TRANSITIONS.items() if not row} == FINAL


def test_every_state_can_be_reached_and_left_for_closed():
    reached = {LinkState.INITIALIZED}
    while True:
        more = {target for state in reached for target in TRANSITIONS[state].values()} - reached
        if not more:
            break
        reached |= more
    assert reached == set(LinkState)
    for state in set(LinkState) - FINAL:
        assert TRANSITIONS[state][LinkTrigger.CLOSE] is LinkState.CLOSED


def test_a_wish_without_meaning_changes_nothing():
    machine = LinkMachine(state=LinkState.CONNECTED)
    assert not machine.handle(LinkTrigger.RESUME)
    assert machine.state is LinkState.CONNECTED


def test_an_impossible_fact_is_a_bug():
    with pytest.raises(AssertionError):
        LinkMachine(state=LinkState.OFFLINE).handle(LinkTrigger.LOST)


def test_facts_after_the_end_are_ignored():
    machine = LinkMachine(state=LinkState.CLOSED)
    assert not machine.handle(LinkTrigger.LOST)
    assert machine.state is LinkState.CLOSED


def test_resume_means_no_delay_and_numbering_from_zero():
    machine = LinkMachine(Backoff(attempt=7), LinkState.OFFLINE)
    machine.handle(LinkTrigger.RESUME)
    assert machine.backoff.next_delay() == 0
    assert machine.backoff.attempt == 0


def test_delays_double_from_one_second_to_three_hundred():
    backoff = Backoff(random=lambda: 0.0)
    delays = []
    for _ in range(12):
        delays.append(backoff.next_delay())
        backoff.attempted()
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_jitter_only_shortens(attempt, luck):
    exact = Backoff(attempt=attempt, random=lambda: 0.0).next_delay()
    delay = Backoff(attempt=attempt, random=lambda: luck).next_delay()
    assert exact * (1 - JITTER) <= delay <= exact <= 300


class AnyLife(RuleBasedStateMachine):
    """Whatever happens, only possible facts are reported, and the machine follows them."""

    def __init__(self):
        super().__init__()
        self.machine = LinkMachine()

    @rule(event=st.sampled_from(sorted(WISHES, key=lambda event: event.name)))
    def wish(self, event):
        before = self.machine.state
        moved = self.machine.handle(event)
        assert moved == (event in TRANSITIONS[before])

    @precondition(lambda self: set(TRANSITIONS[self.machine.state]) - WISHES)
    @rule(data=st.data())
    def fact(self, data):
        facts = sorted(set(TRANSITIONS[self.machine.state]) - WISHES, key=lambda e: e.name)
        event = data.draw(st.sampled_from(facts))
        expected = TRANSITIONS[self.machine.state][event]
        assert self.machine.handle(event)
        assert self.machine.state is expected

    @invariant()
    def delay_is_bounded(self):
        assert 0 <= self.machine.backoff.next_delay() <= 300


TestAnyLife = AnyLife.TestCase
