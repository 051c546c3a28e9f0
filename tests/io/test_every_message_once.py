"""Every message once, in order, or a gap that is true: whatever a server and its line do."""

from __future__ import annotations

import contextlib
import os

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.io.scenario import Scenario
from tests.io.scenario.mutants import mutants
from tests.io.scenario.steps import lives

SCENARIOS = int(os.environ.get("SCENARIOS", "10000"))


def live_through(life):
    options, steps = life
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(Scenario(**options).run, steps, clock=clock)


@settings(max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck))
@given(lives())
def test_every_message_once(life):
    live_through(life)


PUSH = {"push": True}
NEXT = {"push": True, "rest": True, "ack": "next"}


WENT_WRONG_ONCE = [
    # A conversation is ahead of the clock, and its history is not to be had.
    (
        {},
        "break 0.005, say b Tom 1, say b Jerry 1, set silent 1, wait 100, say b Tom 1, restart",
    ),
    # The program is killed before what the server pushes after the very first login has come.
    (PUSH, "past b 130, set delay 0.02, crash"),
    (PUSH, "past a 130, break 15, say a Jerry 130, restart, hang 15"),
    (PUSH, "past news 130, hang 15, restart, restart"),
    (NEXT, "past news 1, say news Jerry 130, break 15, set silent 1, wait 0.005, restart"),
    # It is killed before it has noted anything at all.
    ({}, "say _tmp:t Jerry 3, set delay 0.02, crash"),
    # News that are pushed while older ones are still to be fetched.
    ({"rest": True}, "rest down, restart, invite new, restart"),
    # The session is lost while histories are read.
    ({}, "restart, set quota 0, say news Jerry 3, wait 0.05, lose, wait 15"),
    # Kicked, and killed before it is told what was missed until then.
    (
        NEXT,
        "past a 1, break 0.5, set quota 0, late a, remove a, hang 100, lose, wait 15, crash",
    ),
    # All that the first login brings has come when the program is killed.
    (PUSH, "wait 15, say _tmp:t Jerry 130, crash"),
    # More was missed than is pushed, and the history has it.
    (PUSH, "wait 15, say a Jerry 1, wait 2, break 0, say a Jerry 130, wait 15"),
    # Kicked before all that a first login brings has come.
    (PUSH, "past a 1, past a 1, break 0, say _tmp:t Jerry 1, remove a"),
    # A run that was given nothing, between two others.
    (
        NEXT,
        "past _tmp:t 1, past _tmp:t 1, say _tmp:t Jerry 1, set delay 0.02, restart, restart",
    ),
    (NEXT, "past _tmp:t 1, say _tmp:t Jerry 1, set delay 0.3, restart, restart, wait 0.05"),
    # The line breaks between two pages of a history that does not reach back.
    (
        {},
        (
            "say a Jerry 1, wait 2, cut, say a Jerry 1, forget a, say a Jerry 130, wait 100, mend,"
            "wait 0.025, break 0, wait 15"
        ),
    ),
    # The program is killed when it has been given what followed a gap, and not yet the gap.
    (
        {"ack": "next"},
        (
            "say a Jerry 1, wait 2, cut, say a Jerry 1, forget a, say a Jerry 3, wait 100, lazy 5,"
            "mend, wait 13, crash"
        ),
    ),
    # A history does not show yet what was said in a conversation not heard of before.
    (
        {},
        (
            "past _tmp:t 1, set lag 2, stop, say _tmp:t Jerry 130, start, wait 15,"
            "say _tmp:t Jerry 1, wait 2"
        ),
    ),
    # What a counter names was said before the client became a member.
    ({}, "say new Jerry 3, wait 2, stop, invite new, wait 2, start, wait 15"),
    # A whole history is given up, of a conversation that does not say when it spoke last.
    ({}, "say news Jerry 1, wait 2, cut, say news Jerry 1, forget news, wait 100, mend"),
    # What was said in the millisecond of the first login shows late, and what follows is no part
    # of the history.
    (
        {},
        "past _tmp:t 1, set lag 2, cut, say _tmp:t Jerry 1, mend, wait 0.005, will _tmp:t, quit a",
    ),
    # A gap up to a time to come is told, and what is said then is missed as well.
    (
        PUSH,
        (
            "say news Jerry 1, forget news, restart, wait 15, say news Jerry 1, wait 2,"
            "say news Jerry 130, forget news"
        ),
    ),
    # The history is gone before the server pushes the latest of what was said.
    (PUSH, "past b 130, set blind 1, stop, say b Jerry 130, forget b, start, wait 15"),
]


def written(life):
    """A life whose steps are written in a line."""
    kind, steps = life
    return kind, [tuple(map(value, step.split())) for step in steps.split(",")]


def value(word):
    with contextlib.suppress(ValueError):
        return float(word) if "." in word else int(word)
    return word


@pytest.mark.parametrize("life", WENT_WRONG_ONCE)
def test_what_went_wrong_once(life):
    live_through(written(life))


@pytest.mark.slow
@settings(max_examples=SCENARIOS, suppress_health_check=list(HealthCheck))
@given(lives())
def test_every_message_once_in_many_scenarios(life):
    live_through(life)


@pytest.mark.slow
@pytest.mark.parametrize("name", mutants())
def test_a_fault_of_the_client_does_not_survive(name):
    @seed(1)
    @settings(
        max_examples=300,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(lives())
    def survives(life):
        live_through(life)

    try:
        with mutants()[name]:
            for life in WENT_WRONG_ONCE:
                live_through(written(life))
            survives()
    except (Exception, BaseExceptionGroup):  # noqa: BLE001 - the audit tells, or the client fails
        return
    pytest.fail("nobody has noticed")
