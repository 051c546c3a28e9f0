"""One process per database file."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from trio_realtime._io.durable_files import claim, private
from trio_realtime.server.store.interface import StoreError


def lock(path: Path) -> IO[bytes]:
    """Claim a database file; closing the result (or dying) gives it up.

    The claim is on a file beside the database, because SQLite's own locks come and go with
    its transactions. Both files are their owner's alone. Raises `StoreError` if another
    process has it.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = open(path.with_name(path.name + ".lock"), "ab", opener=private)  # noqa: SIM115
        # SQLite gives the files beside a database the mode that this one has.
        path.touch(mode=0o600)
    except OSError as exc:
        raise StoreError(f"cannot use {path}: {exc.strerror}") from exc
    try:
        claim(file)
    except OSError as exc:
        file.close()
        raise StoreError(f"{path} is in use by another server process") from exc
    return file
