"""Whether an archive is whole: what its manifest says is there, and is what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from .archive import (
    DIGEST,
    blob_path,
    claimed,
    read_manifest,
    rows_of,
    whole_content_of,
    write_durably,
    write_error,
)
from .errors import ArchiveDamaged
from .manifest import NAME, Manifest, Part

SHOWN = 20
"""Problems of one part that are named."""


@attrs.define
class Findings:
    """What a check has found."""

    manifest: Manifest
    problems: list[str] = attrs.field(factory=list)
    """What is wrong, a sentence each."""
    broken: list[Part] = attrs.field(factory=list)
    """Parts that have to be fetched again."""
    unfinished: list[str] = attrs.field(factory=list)
    """What is missing because the last round did not come to its end."""
    bad_blobs: list[str] = attrs.field(factory=list)
    """Digests of files that are missing or damaged."""
    blobs: int = 0
    blob_bytes: int = 0
    failed_files: int = 0
    """Files that could not be had."""

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong, and nothing is missing."""
        return not self.problems and not self.unfinished


def check(path: Path, tell: Callable[[str], None] = lambda _: None) -> Findings:
    """Read everything in an archive. ``tell`` hears what is being read.

    Raises:
        ArchiveDamaged: there is no archive, or its manifest cannot be read.
    """
    findings = Findings(read_manifest(path))
    for part in findings.manifest.parts:
        tell(part.file)
        problems = list(_problems_of(path, part))
        if problems:
            findings.broken.append(part)
            findings.problems += problems[:SHOWN]
    findings.problems += _gaps(findings.manifest)
    tell("blobs")
    findings.problems += _blobs(path, findings)
    _unfinished(findings)
    return findings


def _problems_of(path: Path, part: Part) -> Iterator[str]:
    try:
        for _ in whole_content_of(path, part):
            pass
        yield from _problems_of_rows(path, part)
    except ArchiveDamaged as error:
        yield str(error)


def _problems_of_rows(path: Path, part: Part) -> Iterator[str]:
    file, rows = path / part.file, 0
    seen: set[bytes] = set()
    first = last = None
    for row, place in rows_of(path, part):
        rows += 1
        if part.kind != "messages":
            continue
        where = f"{file}, the row that ends at byte {place:,},"
        at, mark = row.get("timestamp"), _mark(row)
        if not isinstance(at, int) or not isinstance(row.get("msg-id"), str):
            yield f"{where} is no message."
            continue
        if mark in seen:
            yield f"{where} is there twice."
        seen.add(mark)
        if not (part.low or 0) <= at < (part.high or at + 1):
            yield f"{where} is of another time than the part."
        first = at if first is None else min(first, at)
        last = at if last is None else max(last, at)
    if rows != part.rows:
        yield f"{file} has {rows:,} rows; the manifest says {part.rows:,}."
    if part.kind == "messages" and (first, last) != (part.first, part.last):
        yield f"{file} begins or ends at another time than the manifest says."


def _gaps(manifest: Manifest) -> Iterator[str]:
    parts = sorted(manifest.of("messages"), key=lambda part: part.low or 0)
    furthest = parts[0] if parts else None
    for part in parts:
        assert furthest is not None
        if (part.low or 0) > (furthest.high or 0):
            yield (
                f"Nothing was asked for between {furthest.file} and {part.file}: "
                f"from {furthest.high} to {part.low} ms."
            )
        furthest = max(furthest, part, key=lambda one: one.high or 0)


def _blobs(path: Path, findings: Findings) -> Iterator[str]:
    known: set[str] = set()
    failed: set[str] = set()
    for part in findings.manifest.of("files"):
        if part in findings.broken:
            continue
        for row, _ in rows_of(path, part):
            url, sha256 = str(row.get("url")), row.get("sha256")
            if not isinstance(sha256, str) or not DIGEST.match(sha256):
                failed.add(url)
                continue
            failed.discard(url)
            if sha256 in known:
                continue
            known.add(sha256)
            problem = _problem_of_blob(path, sha256, row.get("size"))
            if problem is not None:
                yield problem
                findings.bad_blobs.append(sha256)
            else:
                findings.blobs += 1
                findings.blob_bytes += int(row["size"])
    findings.failed_files = len(failed)


def _problem_of_blob(path: Path, sha256: str, size: Any) -> str | None:
    digest, length = hashlib.sha256(), 0
    try:
        with blob_path(path, sha256).open("rb") as file:
            while data := file.read(1024 * 1024):
                digest.update(data)
                length += len(data)
    except OSError as error:
        return f"The file {sha256} cannot be read: {error.strerror}."
    if digest.hexdigest() != sha256 or length != size:
        return f"The file {sha256} is damaged: its bytes are not those that came."
    return None


def _unfinished(findings: Findings) -> None:
    manifest = findings.manifest
    if not manifest.round:
        findings.unfinished.append("Nothing was fetched yet.")
    elif not manifest.complete:
        missing = [part for part in manifest.parts if not part.complete]
        kinds = ", ".join(dict.fromkeys(part.kind for part in missing)) or "the end"
        findings.unfinished.append(
            f"The last round is not complete: {kinds} ({len(missing)} parts of "
            f"{len(manifest.parts)}). Pull again to go on."
        )


def _mark(row: dict[str, Any]) -> bytes:
    text = repr(sorted(row.items(), key=lambda item: item[0]))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def repair(path: Path) -> Findings:
    """Check, and have the next pull fetch again what is damaged.

    Raises:
        ArchiveInUse: another program has it.
        ArchiveError: there is no archive, or it cannot be written.
    """
    read_manifest(path)
    lock = claimed(path)
    try:
        findings = check(path)
        if not findings.broken and not findings.bad_blobs:
            return findings
        _forget(findings)
        try:
            for sha256 in findings.bad_blobs:
                blob_path(path, sha256).unlink(missing_ok=True)
            write_durably(path / NAME, findings.manifest.to_json().encode())
        except OSError as error:
            raise write_error(path, error) from error
        return findings
    finally:
        lock.close()


def _forget(findings: Findings) -> None:
    manifest = findings.manifest
    kinds = {part.kind for part in findings.broken}
    # What goes by places in the files of others begins with them.
    kinds |= {"lists", "subscribers"} if "conversations" in kinds else set()
    for part in findings.broken:
        if part.kind == "messages":
            part.rows, part.bytes, part.sha256 = 0, 0, ""
            part.first = part.last = part.cursor = None
            part.reading, part.complete, part.again = part.low, False, True
    for kind in kinds - {"messages"}:
        if not manifest.of(kind):
            continue
        manifest.parts = [part for part in manifest.parts if part.kind != kind]
        manifest.new_part(kind)
    for part in manifest.of("files"):
        if isinstance(part.cursor, dict):
            for broken in findings.broken:
                part.cursor.pop(broken.file, None)
        part.complete = False
    manifest.complete, manifest.since = False, None
