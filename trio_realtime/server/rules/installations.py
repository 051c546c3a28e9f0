"""Installations of an app on devices: kept for push notifications.

A device is known by its ``installationId`` (Android) or its ``deviceToken`` (Apple). SDKs save
their whole row at each start, often without knowing its id: what is known is found again by these.

Protocol: docs/protocol/push.md §1 and §2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from trio_realtime.server.store.interface import InstallationRow, Tx

from .json import BadJson, changed, iso, json_text
from .types import Refusal

NOT_FOUND = 101
BAD_VALUE = 1
FULL = 507

UNTOUCHED = 90 * 86_400_000
"""Milliseconds after which a row that nobody touches is forgotten."""

_TEXTS = ("deviceType", "deviceToken", "installationId", "registrationId", "deviceProfile")
_IDENTITIES = ("installationId", "deviceToken", "registrationId")
_TEXT_AT_MOST = 1024
_CHANNELS_AT_MOST = 1000
_BYTES_AT_MOST = 16 * 1024
_DEPTH = 16

_NOT_KEPT = frozenset(
    {"objectId", "createdAt", "updatedAt", "className", "__type", "__internalId", "ACL"}
)
"""What rows are told with and saved with, but is the server's, or about the request."""


@attrs.frozen
class Saved:
    """A row as it is now, and whether it is new."""

    row: InstallationRow
    new: bool


def register(tx: Tx, given: Mapping[str, Any], most: int, known_as: str = "") -> Saved:
    """Save a row whose id the device may not know; of the app there are at most so many.

    With ``known_as`` it is saved by this id, which another server has given it. Refuses what is no
    installation.
    """
    tx.forget_installations(tx.now - UNTOUCHED)
    attributes = _attributes({}, given)
    if not any(attributes.get(name) for name in _IDENTITIES):
        names = " or ".join(_IDENTITIES)
        raise Refusal(BAD_VALUE, "INVALID_INSTALLATION", f"an installation needs {names}")
    same = (tx.installation(known_as) if known_as else None) or _same(tx, attributes)
    if same is None:
        if tx.installation_count() >= most:
            raise Refusal(FULL, "TOO_MANY_INSTALLATIONS", limit="installations")
        return Saved(tx.put_installation(attributes, known_as), new=True)
    # Once more from what is there: what is added is added to that.
    attributes = _attributes(same.attributes, given)
    return Saved(_put(tx, known_as or same.id, attributes), new=False)


def change(tx: Tx, object_id: str, given: Mapping[str, Any], most: int) -> InstallationRow:
    """Change the columns that are named, whole or by an operation.

    A device may know its row by an id that another server gave it; then it is saved by this id.
    Refuses what is unknown and says of no device (101).
    """
    row = tx.installation(object_id)
    if row is None and 0 < len(object_id) <= _TEXT_AT_MOST:
        try:
            return register(tx, given, most, object_id).row
        except Refusal as refusal:
            if refusal.code != BAD_VALUE:
                raise
    row = existing(tx, object_id)
    return _put(tx, row.id, _attributes(row.attributes, given))


def existing(tx: Tx, object_id: str) -> InstallationRow:
    """The row of this id, or 101."""
    row = tx.installation(object_id)
    if row is None:
        raise Refusal(NOT_FOUND, "OBJECT_NOT_FOUND", "Could not find object.")
    return row


def row_json(row: InstallationRow) -> dict[str, Any]:
    """A row as it is told."""
    own = {"objectId": row.id, "createdAt": iso(row.created_at), "updatedAt": iso(row.updated_at)}
    return {**row.attributes, **own}


def _put(tx: Tx, row_id: str, attributes: Mapping[str, Any]) -> InstallationRow:
    """Store what is now said of a row; others with its names are of the same device, and go."""
    for other in _of(tx, attributes):
        if other.id != row_id:
            tx.delete_installation(other.id)
    return tx.put_installation(attributes, row_id)


def _same(tx: Tx, attributes: Mapping[str, Any]) -> InstallationRow | None:
    """The row of the same device: the name that a device gives itself says more than its token."""
    found = _of(tx, attributes)
    name = attributes.get("installationId")
    named = (row for row in found if name and row.attributes.get("installationId") == name)
    return next(named, found[0] if found else None)


def _of(tx: Tx, attributes: Mapping[str, Any]) -> list[InstallationRow]:
    return tx.installations_of(
        device_token=attributes.get("deviceToken"),
        installation_id=attributes.get("installationId"),
    )


def _attributes(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a row after a change. Refuses what is no installation."""
    changes = {
        path: value for path, value in given.items() if path.partition(".")[0] not in _NOT_KEPT
    }
    try:
        attributes = changed(before, changes, _DEPTH)
        _check(attributes)
    except BadJson as error:
        raise Refusal(BAD_VALUE, "INVALID_INSTALLATION", str(error), limit=error.limit) from error
    # An absent column and one without a value are the same to every SDK.
    return {name: value for name, value in attributes.items() if value is not None}


def _check(attributes: Mapping[str, Any]) -> None:
    for name in _TEXTS:
        value = attributes.get(name)
        if value is not None and (not isinstance(value, str) or len(value) > _TEXT_AT_MOST):
            raise BadJson(f"{name} is a text of at most {_TEXT_AT_MOST} characters")
    channels = attributes.get("channels")
    if channels is not None:
        if not isinstance(channels, list) or not all(isinstance(one, str) for one in channels):
            raise BadJson("channels is an array of texts")
        if len(channels) > _CHANNELS_AT_MOST:
            raise BadJson(f"channels has at most {_CHANNELS_AT_MOST} entries")
    if len(json_text(attributes).encode()) > _BYTES_AT_MOST:
        raise BadJson(f"a row has at most {_BYTES_AT_MOST} bytes")
