"""What catching up asks the server, no faster than it is allowed to."""

from __future__ import annotations

import trio

from trio_realtime._engine.budget import Budget
from trio_realtime._values.errors import CommandError, QuotaExceeded, Retry
from trio_realtime.wire import GenericCommand

from .command_channel import CommandChannel

AGAIN_AFTER = (1.0, 2.0, 4.0, 8.0)
"""Seconds after which a history is asked for again that a fault in the server withheld."""


class PacedQuestions:
    """Asks on behalf of one client.

    Args:
        commands: the way to the server.
        budget: how many histories may be asked for.
    """

    def __init__(self, commands: CommandChannel, budget: Budget) -> None:
        self._commands = commands
        self._budget = budget

    async def ask_history(self, command: GenericCommand) -> GenericCommand:
        """Ask for a history, and again after a fault that may pass."""
        for delay in AGAIN_AFTER:
            try:
                return await self.ask(command, counted=True)
            except CommandError as error:
                if error.retry is not Retry.LATER:
                    raise
            await trio.sleep(delay)
        return await self.ask(command, counted=True)

    async def ask(self, command: GenericCommand, *, counted: bool = False) -> GenericCommand:
        """Ask when there is a right to, and again for as long as it is only too much at once."""
        while True:
            now = trio.current_time()
            await trio.sleep_until(self._budget.take(now) if counted else self._budget.resumes(now))
            try:
                reply = await self._commands.request(command, repeat="never", internal=True)
            except QuotaExceeded:
                self._budget.refused(trio.current_time())
            else:
                self._budget.granted()
                return reply
