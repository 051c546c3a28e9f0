"""How far a pull is: numbers that whoever watches may look at whenever they like."""

from __future__ import annotations

import attrs


@attrs.define
class Progress:
    """What was done in this run, and what is left of the round."""

    stage: str = ""
    """What is being fetched, in a word or two."""
    rounds: int = 0
    """Rounds that came to their end."""
    messages: int = 0
    conversations: int = 0
    other_rows: int = 0
    """Rows of other kinds."""
    files: int = 0
    file_bytes: int = 0
    files_failed: int = 0
    changed: int = 0
    """Messages that were here already and have been edited or recalled since."""
    span: int = 0
    """Milliseconds of history that the round is about."""
    span_before: int = 0
    """Of these those that were here when this run began."""
    span_done: int = 0
    """Of these those that are here."""
    looked_at: int = 0
    """Of `to_look_at`, how many conversations were asked about."""
    to_look_at: int = 0

    @property
    def share(self) -> float:
        """How much of the history is here, from 0 to 1."""
        return min(self.span_done / self.span, 1.0) if self.span else 1.0

    def seconds_left(self, elapsed: float) -> float | None:
        """For the history, by what was done in so many seconds; None if nobody can tell yet."""
        done, left = self.span_done - self.span_before, self.span - self.span_done
        if done <= 0 or elapsed <= 0:
            return None
        return elapsed * max(left, 0) / done
