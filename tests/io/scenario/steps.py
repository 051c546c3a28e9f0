"""Lives at random."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from .rooms import KINDS, ME

SECONDS = [0, 0.005, 0.05, 0.5, 2, 15, 100]
SWITCHES = ["blind", "silent", "deaf", "names"]
MOODS = [
    (),
    (("set", "lag", 2),),
    (("set", "quota", 0),),
    (("set", "silent", True),),
    # Nothing tells what has changed.
    (("set", "blind", True), ("set", "names", False)),
]
"""How the server receives somebody who returns."""


def said(rng: Random, cids):
    """What may happen whether or not the client is there."""
    cid = rng.choice(cids)
    return rng.choice(
        [
            ("say", cid, rng.choice(["Jerry", "Jerry", ME]), rng.choice([1, 1, 3, 130])),
            (rng.choice(["twins", "late", "edit", "recall"]), cid),
            (rng.choice(["invite", "remove"]), rng.choice(["a", "new"])),
            ("forget", cid),
            ("wait", rng.choice(SECONDS)),
        ]
    )


def present(rng: Random, cids):
    """What happens only where the client is."""
    here = rng.choice(cids)
    return rng.choice([("will", here), ("send", here), ("quit", rng.choice(["a", "new"]))])


def behaviour(rng: Random):
    """How the server and the program are from now on."""
    return rng.choice(
        [
            ("set", "quota", rng.choice([0, 1, 3, None])),
            ("set", rng.choice(SWITCHES), rng.choice([True, False])),
            ("set", "delay", rng.choice([0, 0.02, 0.3])),
            ("set", "lag", rng.choice([0, 0.5, 2, 20])),
            ("lazy", rng.choice([0, 0.01, 5])),
            ("rest", rng.choice(["well", "silent", "down"])),
            ("fault", rng.choice([1, 3, 10])),
        ]
    )


def line(rng: Random):
    """What becomes of the line and of the program."""
    broken = rng.choice(["break", "hang", "pause"]), rng.choice(SECONDS)
    return rng.choice([broken, broken, ("restart",), ("crash",), ("lose",), ("goaway",)])


def absence(rng: Random, cids):
    """Somebody is heard; what is said while the client is away is followed by more of it."""
    cid = rng.choice(cids)
    leave, return_ = rng.choice([("cut", "mend"), ("stop", "start"), ("kill", "start")])
    more, edit = ("say", cid, "Jerry", 1), ("edit", cid)
    return [
        ("kind",),
        *rng.choice([(), (more, ("wait", 2)), (("send", cid), ("wait", 15))]),
        *rng.choice(MOODS),
        (leave,),
        ("say", cid, "Jerry", rng.choice([1, 1, 130])),
        *rng.choice([(), (), (("forget", cid),), (edit,), (("late", cid),)]),
        ("wait", rng.choice([0.05, 2, 100, 100])),
        (return_,),
        ("wait", rng.choice([0.005, 0.5, 15, 15])),
        *rng.choice([(), (more,), (edit, ("crash",))]),
        *rng.choice([(), (line(rng),)]),
    ]


def life(rng: Random):
    """What kind of life, and its steps. Most are about few conversations: there more happens."""
    kind = {
        "push": rng.random() < 0.3,
        "rest": rng.random() < 0.5,
        "ack": rng.choice(["delivery", "next"]),
    }
    cids = rng.sample(sorted(KINDS), rng.randint(1, len(KINDS)))
    steps = [("past", rng.choice(cids), rng.choice([1, 130])) for _ in range(rng.randint(0, 2))]
    for _ in range(rng.randint(2, 12)):
        step = rng.randint(0, 7)
        if step == 0:
            steps.append(present(rng, cids))
        elif step == 1:
            steps.append(behaviour(rng))
        elif step == 2:
            steps.append(line(rng))
        elif step <= 4:
            steps.append(said(rng, cids))
        else:
            steps += absence(rng, cids)
    return kind, steps


@st.composite
def lives(draw):
    """Some that hypothesis chooses step by step, and can make shorter; most are any."""
    return life(draw(st.randoms(use_true_random=draw(st.sampled_from([False, True, True])))))
