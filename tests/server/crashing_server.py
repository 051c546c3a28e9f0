"""``serve``, except that it kills itself at one exact point of handling a message.

Usage: ``python -m tests.server.crashing_server POINT COUNT serve ...``: at the COUNTth passage of the POINT.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys

from trio_realtime.__main__ import main
from trio_realtime.server.gateway.connection import GatewayConnection
from trio_realtime.wire import CommandType


class Fate:
    """Counts the passages of the chosen point."""

    def __init__(self, point, count):
        self._point, self._left = point, count

    def passes(self, point):
        if point == self._point:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


class CrashingConnection(sqlite3.Connection):
    """A database that stops before or after the commit of a message."""

    wrote = False

    def execute(self, sql, *arguments):
        if "INTO messages" in sql:
            self.wrote = True
        commits = sql == "COMMIT" and self.wrote
        if commits:
            self.wrote = False
            FATE.passes("before commit")
        cursor = super().execute(sql, *arguments)
        if commits:
            FATE.passes("after commit")
        return cursor


def crash_in_the_gateway():
    reply, push = GatewayConnection.reply, GatewayConnection.push

    def replying(self, command, answer, *arguments):
        if command.cmd == CommandType.DIRECT:
            FATE.passes("before acknowledgement")
        reply(self, command, answer, *arguments)
        if command.cmd == CommandType.DIRECT:
            # The acknowledgement has left, the message has not.
            self.buffer.flush()
            FATE.passes("after acknowledgement")

    def pushing(self, envelope, *arguments):
        push(self, envelope, *arguments)
        # This receiver has it, those after it do not.
        self.buffer.flush()
        FATE.passes("within fan-out")

    GatewayConnection.reply, GatewayConnection.push = replying, pushing


def crash_in_the_store():
    connect = sqlite3.connect

    def connecting(*arguments, **options):
        return connect(*arguments, factory=CrashingConnection, **options)

    sqlite3.connect = connecting


if __name__ == "__main__":
    FATE = Fate(sys.argv[1], int(sys.argv[2]))
    crash_in_the_gateway()
    crash_in_the_store()
    sys.exit(main(sys.argv[3:]))
