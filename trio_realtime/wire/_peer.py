from __future__ import annotations

from functools import lru_cache

from ._errors import WireError
from ._varint import dump_varint

_PEER_ID_TAG = b"\x22"


def with_peer(payload: bytes, peer_id: str) -> bytes:
    """Address an encoded command to one client: set its ``peerId``.

    A push to many is encoded once, without ``peerId``, and finished for each receiver by
    this. It works because fields may come in any order, and the last value of a scalar
    counts. Raises WireError for a client id with lone surrogates, which no decoded
    command can contain.

    Protocol: docs/protocol/schema.md, "Rules for a codec" (field order).
    """
    return payload + _peer_field(peer_id)


@lru_cache(maxsize=4096)
def _peer_field(peer_id: str) -> bytes:
    try:
        encoded = peer_id.encode()
    except UnicodeEncodeError as exc:
        raise WireError(f"a client id that is not Unicode text: {exc.reason}") from exc
    return _PEER_ID_TAG + dump_varint(len(encoded)) + encoded
