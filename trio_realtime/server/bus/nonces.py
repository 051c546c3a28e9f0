"""Which login signatures were used already."""

from __future__ import annotations

from collections import OrderedDict

import attrs


@attrs.frozen
class Nonce:
    """What a signature is told apart by: docs/protocol/signatures.md §1."""

    client_id: str
    timestamp: int
    text: str


@attrs.define
class NonceMemory:
    """Remembers the nonces that were claimed, bounded: the oldest are forgotten first."""

    capacity: int = 100_000
    _seen: OrderedDict[Nonce, None] = attrs.field(factory=OrderedDict, repr=False)

    def claim(self, nonce: Nonce) -> bool:
        """True the first time this nonce of this client is shown."""
        if nonce in self._seen:
            return False
        self._seen[nonce] = None
        if len(self._seen) > self.capacity:
            self._seen.popitem(last=False)
        return True
