from __future__ import annotations

from trio_realtime.server.bus.nonces import Nonce, NonceMemory


def test_it_is_bounded_and_refuses_repeats():
    memory = NonceMemory(capacity=2)
    assert memory.claim(Nonce("Tom", 1, "1"))
    assert not memory.claim(Nonce("Tom", 1, "1"))
    assert memory.claim(Nonce("Jerry", 1, "1"))
    assert memory.claim(Nonce("Tom", 1, "2"))
    assert memory.claim(Nonce("Tom", 1, "1"))  # forgotten: the oldest gave way
