"""Every message once, in order, or a gap that is true: whatever a server and its line do."""

from __future__ import annotations

import contextlib
import os

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.io.scenario import KINDS, ME, Scenario

SCENARIOS = int(os.environ.get("SCENARIOS", "10000"))

cids = st.sampled_from(sorted(KINDS))
seconds = st.sampled_from([0, 0.005, 0.05, 0.5, 2, 15, 100])
STEPS = st.one_of(
    st.tuples(
        st.just("say"),
        cids,
        st.sampled_from(["Jerry", "Jerry", ME]),
        st.sampled_from([1, 1, 3, 130]),
    ),
    st.tuples(st.just("break"), seconds),
    st.tuples(st.just("wait"), seconds),
    st.tuples(st.sampled_from(["twins", "late", "will", "send", "send"]), cids),
    st.tuples(st.sampled_from(["invite", "remove", "quit"]), st.sampled_from(["a", "new"])),
    st.tuples(st.just("forget"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("set"), st.just("quota"), st.sampled_from([0, 1, 3, None])),
    st.tuples(st.just("set"), st.sampled_from(["blind", "silent", "deaf", "names"]), st.booleans()),
    st.tuples(st.just("set"), st.just("delay"), st.sampled_from([0, 0.02, 0.3])),
    st.tuples(st.just("set"), st.just("lag"), st.sampled_from([0, 0.5, 2, 20])),
    st.tuples(st.just("set"), st.just("lazy"), st.sampled_from([0, 0.01, 5])),
    st.tuples(st.just("set"), st.just("resting"), st.sampled_from(["well", "silent", "down"])),
    st.tuples(st.sampled_from(["edit", "recall"]), cids),
    st.tuples(st.sampled_from(["hang", "pause"]), seconds),
    st.tuples(st.just("fault"), st.sampled_from([1, 3, 10])),
    st.sampled_from([("restart",), ("restart",), ("crash",), ("lose",), ("goaway",)]),
)
PAST = st.tuples(st.just("past"), cids, st.sampled_from([1, 130]))
KINDS_OF_LIFE = st.fixed_dictionaries(
    {"push": st.booleans(), "rest": st.booleans(), "ack": st.sampled_from(["delivery", "next"])}
)
scenarios = st.tuples(
    KINDS_OF_LIFE,
    st.builds(list.__add__, st.lists(PAST, max_size=2), st.lists(STEPS, min_size=3, max_size=25)),
)


def live_through(scenario):
    options, steps = scenario
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(Scenario(**options).run, steps, clock=clock)


@settings(max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck))
@given(scenarios)
def test_every_message_once(scenario):
    live_through(scenario)


PUSH = {"push": True}
NEXT = {"push": True, "rest": True, "ack": "next"}


@pytest.mark.parametrize(
    "scenario",
    [
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
        ({"rest": True}, "set resting down, restart, invite new, restart"),
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
    ],
)
def test_what_went_wrong_once(scenario):
    options, steps = scenario
    live_through((options, [tuple(map(value, step.split())) for step in steps.split(",")]))


def value(word):
    with contextlib.suppress(ValueError):
        return float(word) if "." in word else int(word)
    return word


@pytest.mark.slow
@settings(max_examples=SCENARIOS, suppress_health_check=list(HealthCheck))
@given(scenarios)
def test_every_message_once_in_many_scenarios(scenario):
    live_through(scenario)
