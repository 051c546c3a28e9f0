"""What is signed, and how a signature is checked. Protocol: docs/protocol/signatures.md.

A signature is HMAC-SHA1 keyed with the app's master key over the parts of the operation
joined with ``:``. The timestamp enters the text exactly as it was sent, in milliseconds
or in seconds; only its age is judged after conversion.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Literal

from .types import App

VALIDITY_MS = 6 * 3600 * 1000
"""How old a signature may be, and how far in the future."""

SECONDS_BELOW = 10**11
"""Smaller timestamps are seconds."""

_READINGS = re.compile(r"(?=::-?[0-9]+:)")
"""Where the text of a login may be divided into client id, time and nonce."""

ConversationAction = Literal["create", "invite", "kick"]
BlockAction = Literal[
    "conversation-block-clients",
    "conversation-unblock-clients",
    "client-block-conversations",
    "client-unblock-conversations",
]


def login_string(app_id: str, client_id: str, timestamp: int, nonce: str) -> str:
    """The text signed for ``session/open`` and ``session/refresh``."""
    return f"{app_id}:{client_id}::{timestamp}:{nonce}"


def conversation_string(
    app_id: str,
    client_id: str,
    conversation_id: str | None,
    members: Iterable[str],
    timestamp: int,
    nonce: str,
    action: str | None,
) -> str:
    """The text signed for creating (no id, no action), inviting, kicking and block lists."""
    parts = [app_id, client_id]
    if conversation_id is not None:
        parts.append(conversation_id)
    parts += [":".join(sorted(members)), str(timestamp), nonce]
    if action is not None:
        parts.append(action)
    return ":".join(parts)


def history_string(
    app_id: str, client_id: str, conversation_id: str, nonce: str, timestamp: int
) -> str:
    """The text signed for reading history over REST; here the nonce comes first."""
    return f"{app_id}:{client_id}:{conversation_id}:{nonce}:{timestamp}"


def sign(master_key: str, text: str) -> str:
    """HMAC-SHA1 in lower-case hexadecimal."""
    return hmac.new(master_key.encode(), text.encode(), hashlib.sha1).hexdigest()


def verify(master_key: str, text: str, signature: str) -> bool:
    """Compare in constant time; upper-case digits count as lower-case ones."""
    expected = sign(master_key, text).encode()
    return hmac.compare_digest(expected, signature.lower().encode("utf-8", "replace"))


def in_milliseconds(timestamp: int) -> int:
    """A signature's timestamp in milliseconds, whatever unit the signer used."""
    return timestamp * 1000 if abs(timestamp) < SECONDS_BELOW else timestamp


def is_current(timestamp: int, now: int, *, not_before: int | None = None) -> bool:
    """Whether a signature of this time counts at ``now`` (milliseconds).

    ``not_before`` is the time of the client's last forced logout, which voids what was
    signed earlier.
    """
    signed_at = in_milliseconds(timestamp)
    if not_before is not None and signed_at <= not_before:
        return False
    return abs(now - signed_at) <= VALIDITY_MS


def signs_login(app: App, client_id: str, t: int | None, n: str | None, s: str | None) -> bool:
    """Whether ``s`` signs a login of this client, and of nobody else, however old it is."""
    if t is None or n is None or s is None:
        return False
    # The login of "Tom::5" at 6 is signed by the same text as that of "Tom" at 5.
    if len(_READINGS.findall(f"{client_id}::{t}:{n}")) > 1:
        return False
    return verify(app.master_key, login_string(app.id, client_id, t, n), s)


def verify_login(
    app: App,
    client_id: str,
    t: int | None,
    n: str | None,
    s: str | None,
    now: int,
    *,
    not_before: int | None = None,
) -> bool:
    """Whether ``s`` signs a login of this client: failure is 4102."""
    if t is None or not is_current(t, now, not_before=not_before):
        return False
    return signs_login(app, client_id, t, n, s)


def verify_conversation(
    app: App,
    client_id: str,
    cid: str | None,
    members: Sequence[str],
    action: ConversationAction,
    t: int | None,
    n: str | None,
    s: str | None,
    now: int,
) -> bool:
    """Whether ``s`` signs creating, inviting or kicking: failure is 4302.

    Signers disagree about the creator's place in the member list of a new conversation,
    so a list with the creator added or left out counts as well.
    """
    if t is None or n is None or s is None or not is_current(t, now):
        return False
    if action != "create":
        text = conversation_string(app.id, client_id, cid, members, t, n, action)
        return verify(app.master_key, text, s)
    given = set(members)
    variants = [list(members), list(given | {client_id}), list(given - {client_id})]
    texts = [
        conversation_string(app.id, client_id, None, variant, t, n, None) for variant in variants
    ]
    return any(verify(app.master_key, text, s) for text in texts)


def verify_block_list(
    app: App,
    client_id: str,
    cid: str,
    members: Sequence[str],
    action: BlockAction,
    t: int | None,
    n: str | None,
    s: str | None,
    now: int,
) -> bool:
    """Whether ``s`` signs a change of a block list: failure is 4546.

    The two actions in which a client blocks conversations sign an empty member part.
    """
    if t is None or n is None or s is None or not is_current(t, now):
        return False
    listed = members if action.startswith("conversation-") else ()
    text = conversation_string(app.id, client_id, cid, listed, t, n, action)
    return verify(app.master_key, text, s)


def verify_history(
    app: App, client_id: str, cid: str, t: int | None, n: str | None, s: str | None, now: int
) -> bool:
    """Whether ``s`` signs reading this conversation's history over REST."""
    if t is None or n is None or s is None or not is_current(t, now):
        return False
    return verify(app.master_key, history_string(app.id, client_id, cid, n, t), s)


def rest_key_is(presented: str, key: str) -> bool:
    """Compare ``X-LC-Key`` in constant time."""
    return hmac.compare_digest(presented.encode("utf-8", "replace"), key.encode())


def rest_sign_is(
    presented: str, key: str, now: int | None = None, validity: float | None = None
) -> bool:
    """Check ``X-LC-Sign`` without its mark of the master key: ``{md5},{ms}`` made with this key.

    With ``validity`` (seconds) its time is at most that far from ``now`` (milliseconds). Signs
    with the app key have no such bound: SDKs make them by clocks that may be wrong, and they
    show nothing but that the key is known.

    Protocol: docs/protocol/rest.md §1.
    """
    digest, _, stamp = presented.partition(",")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 17):
        return False
    expected = hashlib.md5(f"{stamp}{key}".encode(), usedforsecurity=False).hexdigest()
    genuine = hmac.compare_digest(digest.encode("utf-8", "replace"), expected.encode())
    if validity is None or now is None:
        return genuine
    return genuine and abs(now - int(stamp)) <= validity * 1000
