"""The apps that ``trio-realtime serve`` serves: from options, from the file, or made at first."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from .configuration import AppTable
from .usage import UsageError

if TYPE_CHECKING:
    from trio_realtime.server import App, Enforcement

ENFORCEABLE = ("login", "conversations", "history", "block_list")
LONGEST_KEY = 256
KEYS = ("appId", "appKey", "masterKey")
KEYS_FILE_BYTES = 16 * 1024


def app_of(text: str) -> App:
    """The app of ``--app``."""
    from trio_realtime.server import App

    parts = text.split(":")
    if len(parts) != 3 or not all(parts):
        # The text holds keys: it is not repeated.
        raise UsageError("--app takes ID:KEY:MASTERKEY, three parts separated by colons.")
    return _checked(App(parts[0], parts[1], parts[2]), "--app")


def app_of_table(table: AppTable) -> App:
    """The app of an ``[[apps]]``."""
    from trio_realtime.server import App

    app = App(
        table.id,
        table.key,
        table.master_key,
        enforce=_enforcement(table.enforce),
        origins=None if table.origins is None else frozenset(table.origins),
    )
    return _checked(app, "[[apps]]")


def _checked(app: App, source: str) -> App:
    """What cannot stand in a header, or lets everybody be the operator, is a mistake.

    Nothing of it is repeated: it holds keys.
    """
    for text in (app.id, app.key, app.master_key):
        plain = text.isascii() and text.isprintable() and text == text.strip()
        if not plain or not 0 < len(text) <= LONGEST_KEY:
            raise UsageError(
                f"{source}: The id and the keys of an app are printable ASCII, "
                f"at most {LONGEST_KEY} characters."
            )
    if app.key == app.master_key:
        raise UsageError(
            f"{source}: The app key and the master key of {app.id} are the same, "
            "so that every client could do what the operator can."
        )
    return app


def _enforcement(names: Sequence[str]) -> Enforcement:
    from trio_realtime.server import Enforcement

    for name in names:
        if name not in {"all", *ENFORCEABLE}:
            raise UsageError(f"enforce takes all or {', '.join(ENFORCEABLE)}, not {name!r}.")
    chosen = ENFORCEABLE if "all" in names else names
    return Enforcement(**dict.fromkeys(chosen, True))


def guarded(app: App, args: argparse.Namespace) -> App:
    """What is said for all apps is added to what an app says for itself."""
    theirs = [name for name in ENFORCEABLE if getattr(app.enforce, name)]
    origins = app.origins
    if args.origin:
        origins = frozenset(args.origin) | (origins or frozenset())
    return attrs.evolve(
        app,
        enforce=_enforcement([*theirs, *args.enforce]),
        origins=origins,
        members_only=app.members_only or args.members_only,
    )


def own_app(path: Path) -> tuple[App, bool]:
    """The app made at the first start, the same ever after; and whether it was made now."""
    from trio_realtime.server import App

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is no file.")
        with path.open("rb") as file:
            kept = json.loads(file.read(KEYS_FILE_BYTES))
        app_id, key, master_key = (_text(kept[name]) for name in KEYS)
    except FileNotFoundError:
        return _made_app(path), True
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is damaged: it should hold the keys of an app.") from error
    return _checked(App(app_id, key, master_key), str(path)), False


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a key is a text")
    return value


def _made_app(path: Path) -> App:
    from trio_realtime.server import App

    app = App("app" + secrets.token_hex(8), secrets.token_hex(12), secrets.token_hex(12))
    kept = {"appId": app.id, "appKey": app.key, "masterKey": app.master_key}
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(kept, file, indent=2)
        except OSError:
            path.unlink(missing_ok=True)  # half of it would be in the way of the next start
            raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}.") from error
    return app
