from __future__ import annotations

import logging

import trio

from trio_realtime.server.troubles import TroubleLog


def failed():
    """An error with a traceback, as one that was raised has."""
    try:
        int("first line\nsecond line")
    except ValueError as error:
        return error


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_line_a_minute_and_kind(autojump_clock, nursery, caplog):
    caplog.set_level(logging.INFO)
    troubles = TroubleLog(logging.getLogger("trio_realtime.server"))
    nursery.start_soon(troubles.run)
    for _ in range(500):
        troubles.note("the hook a failed", failed())
    troubles.note("the hook b failed", failed())
    await trio.sleep(30)
    assert lines(caplog) == [
        "the hook a failed once: ValueError: invalid literal for int() with base 10: 'first line\\nsecond line'",
        "the hook b failed once: ValueError: invalid literal for int() with base 10: 'first line\\nsecond line'",
    ]
    troubles.note("the hook a failed", OSError("down"))
    await trio.sleep(40)
    assert lines(caplog)[2:] == ["the hook a failed 500 times: OSError: down"]
    assert troubles.total == 502
    await trio.sleep(600)
    assert len(lines(caplog)) == 3
    troubles.note("the hook a failed", OSError("again"))
    assert lines(caplog)[3:] == ["the hook a failed once: OSError: again"]
    assert "Traceback" not in caplog.text


async def test_tracebacks_are_there_for_who_asks(caplog):
    caplog.set_level(logging.DEBUG)
    TroubleLog(logging.getLogger("trio_realtime.server")).note("the hook a failed", failed())
    await trio.lowlevel.checkpoint()
    assert "Traceback" in caplog.text


async def test_words_of_strangers_forge_no_lines(caplog):
    troubles = TroubleLog(logging.getLogger("trio_realtime.server"))
    troubles.note("the hook a failed", ValueError("\x1b[2J起床\r2026 all is well\u2028x\ny"))
    (line,) = lines(caplog)
    assert line == "the hook a failed once: ValueError: \\x1b[2J起床\\r2026 all is well\\u2028x"
