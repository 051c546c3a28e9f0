"""What an application answers, looked at before anything is done with it.

Applications are programs of others, often at the end of a network. An answer that makes no
sense is a failure of the hook, for which there is a policy, and none of the command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from trio_realtime._values.texts import is_unicode
from trio_realtime.server.rules.bodies import body_size
from trio_realtime.server.rules.json import MAX_DEPTH, json_text, parse_object

from .types import Amend, OfflineDecision, Reject, Rewrite

_KINDS: Mapping[str, tuple[type, ...]] = {
    "message_received": (Reject, Rewrite),
    "message_update": (Reject, Rewrite),
    "conversation_update": (Reject, Amend),
    "receivers_offline": (OfflineDecision,),
}
_ANY = (Reject,)
"""What all other hooks that are asked may answer."""

_CODES = range(-(2**31), 2**31)
_DETAIL_AT_MOST = 1000
"""Characters of a reason that clients are told."""


@attrs.frozen(kw_only=True)
class AnswerBounds:
    """What bounds the words of clients bounds those that an application puts in their place."""

    size: int = 5 * 1024
    """Bytes of a body, of attributes, of a push payload."""
    depth: int = MAX_DEPTH
    """How deep attributes may nest."""


DEFAULT_BOUNDS = AnswerBounds()


def checked(hook: str, said: object, bounds: AnswerBounds = DEFAULT_BOUNDS) -> object:
    """The answer of a hook. Raises `TypeError` or `ValueError` for one that makes no sense, or is
    larger than what clients may send.
    """
    if said is None:
        return None
    kinds = _KINDS.get(hook, _ANY)
    if not isinstance(said, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{hook} answered {type(said).__name__} instead of {names}")
    match said:
        case Reject():
            return _plain(said)
        case Rewrite(body=body, receivers=receivers):
            if not isinstance(body, bytes):
                _check_text(hook, body)
            if body is not None:
                _check_size(hook, body_size(body), bounds)
            _check_names(hook, receivers)
        case Amend(attributes=attributes, mute=mute):
            if attributes is not None:
                text = json_text(dict(attributes))
                _check_size(hook, len(text.encode()), bounds)
                parse_object(text, bounds.depth)
            if not isinstance(mute, bool | None):
                raise TypeError(f"{hook} answered a mute that is no bool")
        case OfflineDecision(skip=skip, receivers=receivers, data=data, force=force):
            _check_flag(hook, skip)
            _check_flag(hook, force)
            _check_text(hook, data)
            _check_size(hook, len((data or "").encode()), bounds)
            _check_names(hook, receivers)
    return said


def _plain(said: Reject) -> Reject:
    """A refusal is one, whatever goes with it: what no client could be told is left out."""
    code, detail = said.code, said.detail
    return attrs.evolve(
        said,
        code=code if type(code) is int and code in _CODES else None,
        detail=detail[:_DETAIL_AT_MOST] if isinstance(detail, str) and is_unicode(detail) else None,
    )


def _check_flag(hook: str, flag: object) -> None:
    if not isinstance(flag, bool):
        raise TypeError(f"{hook} answered {type(flag).__name__} where a bool belongs")


def _check_size(hook: str, size: int, bounds: AnswerBounds) -> None:
    if size > bounds.size:
        raise ValueError(f"{hook} answered {size} bytes, more than the {bounds.size} of a message")


def _check_text(hook: str, text: object) -> None:
    if text is None:
        return
    if not isinstance(text, str):
        raise TypeError(f"{hook} answered {type(text).__name__} where a text belongs")
    if not is_unicode(text):
        raise ValueError(f"{hook} answered a text that is not Unicode")


def _check_names(hook: str, names: object) -> None:
    if names is None:
        return
    # A text is a sequence of texts, too.
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"{hook} answered receivers that are no list")
    for name in names:
        _check_text(hook, name)
        if name is None:
            raise TypeError(f"{hook} answered a receiver that is no client id")
