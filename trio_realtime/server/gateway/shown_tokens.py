"""Which expired tokens were shown just now: who shows one again and again is trying something."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import attrs
import trio

REMEMBERED = 10_000
AGAIN_WITHIN = 60.0
"""Seconds. A client that returns shows its expired token once, and is told to come without."""


@attrs.define
class ShownTokens:
    """Remembers what an address has shown, bounded: the oldest are forgotten first."""

    _shown: OrderedDict[bytes, float] = attrs.field(factory=OrderedDict, repr=False)

    def again(self, network: str, token: str) -> bool:
        """Whether this address has shown this token in the last minute; it has now."""
        name = f"{network}\n{token}".encode("utf-8", "surrogatepass")
        key = hashlib.blake2b(name, digest_size=16).digest()
        now = trio.current_time()
        before = self._shown.pop(key, None)
        self._shown[key] = now
        if len(self._shown) > REMEMBERED:
            self._shown.popitem(last=False)
        return before is not None and now - before < AGAIN_WITHIN
