"""What is wrong with a call, in one sentence."""

from __future__ import annotations


class UsageError(Exception):
    """Something that whoever runs the command can put right; one sentence."""
