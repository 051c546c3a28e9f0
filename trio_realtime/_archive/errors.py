"""What can go wrong with an archive. Each text is one or two sentences for whoever runs the command."""

from __future__ import annotations

from trio_realtime._values.errors import RealtimeError


class ArchiveError(RealtimeError):
    """The archive cannot be used, or what came cannot be put into it."""


class ArchiveInUse(ArchiveError):
    """Another program uses the archive."""


class ArchiveDamaged(ArchiveError):
    """What is there is no archive, or not what its manifest says."""


class NoRoom(ArchiveError):
    """The disk is full, or does not take what is written."""


class UnexpectedAnswer(ArchiveError):
    """The server answers in a way that makes a complete copy impossible."""
