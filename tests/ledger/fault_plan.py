"""What befalls the connections of a test: everything that can go wrong on a line, from a seed.

A `Fate` says how one connection fares: a sequence of stretches of `Weather`, each with its
latency, bandwidth and slicing, and how it ends. The fate of the n-th connection depends on
the seed and on n alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import Enum

import attrs


class End(Enum):
    """How a connection ends."""

    RESET = "reset"
    """Both ends are told at once, what was under way is lost (RST)."""
    CLOSE = "close"
    """Both streams end abruptly in the middle of whatever was being said (FIN)."""
    HALF_CLOSE = "half-close"
    """The server hears that the client is done; the other direction goes on for a while."""
    BLACK_HOLE = "black hole"
    """Everything is accepted and nothing arrives; after a while it is reset."""
    STALE = "stale"
    """The client is told, the server is not: it talks on to nobody beside the client's next
    connection."""
    LATE = "late"
    """As stale, and what the client had said last reaches the server when the client is back
    on its next connection."""


@attrs.frozen
class Weather:
    """How bytes travel for a while. Times in seconds."""

    lasts: float
    latency: float = 0.0
    bandwidth: float = float("inf")
    """Bytes per second."""
    slice: int | None = None
    """Bytes that travel at once; None: as many as there are."""


CALM = Weather(float("inf"))


@attrs.frozen
class Climate:
    """How bad it may become."""

    lifetime: float
    """Mean life of a connection in seconds."""
    linger: float
    """Longest time in seconds for which black holes, half-closed and stale lines remain."""
    latency: float
    """Largest latency in seconds."""
    bandwidth: float = 20_000.0
    """Smallest bandwidth in bytes per second."""
    slices: tuple[int, ...] = (1, 2, 3, 7, 100)
    """Bytes that travel at once where they travel in slices, one of these."""
    ends: tuple[End, ...] = tuple(End)


@attrs.define
class Fate:
    """What befalls one connection."""

    number: int
    lives: float
    """Seconds until it ends."""
    end: End
    lingers: float
    """Seconds for which the end drags on."""
    weathers: Iterator[Weather]


def fate(seed: int, number: int, climate: Climate) -> Fate:
    """The fate of the connection with this number."""
    rng = random.Random(f"{seed}:{number}")
    return Fate(
        number,
        lives=rng.expovariate(1 / climate.lifetime),
        end=rng.choice(climate.ends),
        lingers=rng.uniform(0, climate.linger),
        weathers=_weathers(rng, climate),
    )


def _weathers(rng: random.Random, climate: Climate) -> Iterator[Weather]:
    while True:
        lasts = rng.expovariate(4 / climate.lifetime)
        match rng.randrange(6):
            case 0:
                yield Weather(lasts, latency=rng.uniform(0, climate.latency))
            case 1:
                yield Weather(lasts, bandwidth=climate.bandwidth * rng.uniform(1, 50))
            case 2:
                yield Weather(lasts, slice=rng.choice(climate.slices))
            case _:
                yield Weather(lasts)
