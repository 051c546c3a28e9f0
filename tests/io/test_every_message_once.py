"""Every message once, in order, or a gap that is true: whatever a server and its line do."""

from __future__ import annotations

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
    st.just(("restart",)),
)
scenarios = st.lists(STEPS, min_size=3, max_size=25)


def live_through(steps):
    trio.run(Scenario().run, steps, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck))
@given(scenarios)
def test_every_message_once(steps):
    live_through(steps)


@pytest.mark.slow
@settings(max_examples=SCENARIOS, suppress_health_check=list(HealthCheck))
@given(scenarios)
def test_every_message_once_in_many_scenarios(steps):
    live_through(steps)
