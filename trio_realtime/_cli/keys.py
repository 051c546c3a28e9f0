"""Which app is meant, and its master key: from the environment, a file or a prompt.

Never from the command line, which everybody on a machine can read; and never written anywhere.
"""

from __future__ import annotations

import getpass
import ipaddress
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from .usage import UsageError

MASTER_KEY = ("TRIO_REALTIME_MASTER_KEY", "LEANCLOUD_APP_MASTER_KEY")
APP_ID = ("TRIO_REALTIME_APP_ID", "LEANCLOUD_APP_ID")
SERVER = ("TRIO_REALTIME_SERVER", "LEANCLOUD_API_SERVER")
LONGEST = 4096


def from_environ(names: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    """The first of these variables that says something."""
    return next((value for name in names if (value := environ.get(name, "").strip())), None)


def master_key(file: Path | None, app_id: str, environ: Mapping[str, str]) -> str:
    """The master key of an app. Raises `UsageError`."""
    if file is not None:
        return _from_file(file)
    key = from_environ(MASTER_KEY, environ)
    if key is None and sys.stdin.isatty():
        key = getpass.getpass(f"Master key of {app_id}: ").strip()
    if not key:
        raise UsageError(
            f"The master key is needed: put it into the variable {MASTER_KEY[0]}, "
            "or into a file that --key-file names."
        )
    return _checked(key)


def _from_file(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            text = opened.read(LONGEST).decode()
    except FileNotFoundError:
        raise UsageError(f"There is no key file {file}.") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError:
        raise UsageError(f"{file} does not hold a key: it is no text.") from None
    lines = text.split()
    if len(lines) != 1:
        raise UsageError(f"{file} does not hold a key: it should hold the master key alone.")
    return _checked(lines[0])


def _checked(key: str) -> str:
    key = key.removesuffix(",master")
    if not key.isascii() or not key.isprintable():
        raise UsageError("The master key has characters that no key has.")
    return key


def warn_of_plain_http(server: str) -> None:
    """Say that the key could be read on the way, where it can."""
    parts = urlsplit(server)
    if parts.scheme != "http" or parts.hostname == "localhost":
        return
    try:
        local = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        local = False
    if not local:
        print(
            f"trio-realtime: {server} is not encrypted: others on the way can read the master "
            "key. Use https:// if the server has it.",
            file=sys.stderr,
        )
