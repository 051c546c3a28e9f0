"""The server's log, and the numbers it counts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import attrs

log: logging.Logger = logging.getLogger("trio_realtime.server")


@attrs.define
class Metrics:
    """Counters since the start. Only the event loop writes them."""

    connections: int = 0
    """WebSocket connections open now."""
    connections_total: int = 0
    sessions: int = 0
    """Clients logged in now, each session counted."""
    logins_total: int = 0
    commands_total: int = 0
    messages_total: int = 0
    """Messages accepted from clients."""
    pushes_total: int = 0
    """Commands handed to receivers."""
    shed_total: int = 0
    """Chat room messages dropped for overloaded receivers."""
    http_requests_total: int = 0
    internal_errors_total: int = 0
    store_failures_total: int = 0
    """Commands that the database could not carry out, for instance because the disk is full."""
    limits: Counter[str] = attrs.field(factory=Counter)
    """How often each of the `Limits` was reached, by its name."""
    refusals: Counter[int] = attrs.field(factory=Counter)
    """Refused commands by code."""
    closes: Counter[int] = attrs.field(factory=Counter)
    """Connections closed by code; 1006 for those that were lost, 0 for codes nobody knows."""

    def exposition(self, *, queue_bytes: int) -> str:
        """The text format of Prometheus."""
        return "\n".join([*self._lines(queue_bytes), ""])

    def _lines(self, queue_bytes: int) -> Iterator[str]:
        for name in ("connections", "sessions"):
            yield from _metric(name, "gauge", [("", getattr(self, name))])
        yield from _metric("queue_bytes", "gauge", [("", queue_bytes)])
        for name in (
            "connections_total",
            "logins_total",
            "commands_total",
            "messages_total",
            "pushes_total",
            "shed_total",
            "http_requests_total",
            "internal_errors_total",
            "store_failures_total",
        ):
            yield from _metric(name, "counter", [("", getattr(self, name))])
        for name, counts in (("refusals_total", self.refusals), ("closes_total", self.closes)):
            labelled = [(f'{{code="{code or "other"}"}}', n) for code, n in sorted(counts.items())]
            yield from _metric(name, "counter", labelled)
        reached = [(f'{{limit="{limit}"}}', self.limits[limit]) for limit in sorted(self.limits)]
        yield from _metric("limits_total", "counter", reached)


def _metric(name: str, kind: str, samples: list[tuple[str, int]]) -> Iterator[str]:
    yield f"# TYPE trio_realtime_{name} {kind}"
    for labels, value in samples:
        yield f"trio_realtime_{name}{labels} {value}"
