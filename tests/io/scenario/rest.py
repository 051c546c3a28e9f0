"""A REST API that knows which memberships were missed, if it answers."""

from __future__ import annotations

import contextlib
import json
from urllib.parse import parse_qs, urlsplit

import h11
import trio

from trio_realtime.testing import memory_streams

from .rooms import ME

HOST = "rest.test"


class UnkindRest:
    """What the client asks for missed memberships."""

    def __init__(self, world):
        self.world = world
        self.mood = "well"
        """Or "silent", or "down"."""

    def connect(self, nursery):
        ours, theirs = memory_streams()
        if self.mood == "down":
            raise ConnectionRefusedError("refused by the script")
        nursery.start_soon(self.serve, theirs)
        return ours

    async def serve(self, stream):
        with contextlib.suppress(trio.BrokenResourceError, h11.RemoteProtocolError):
            await self.answer(stream)
        await stream.aclose()

    async def answer(self, stream):
        connection = h11.Connection(h11.SERVER)
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some())
        if not isinstance(event, h11.Request):
            return
        if self.mood == "silent":
            await trio.sleep(60)
        body = json.dumps(self.replay(event.target.decode())).encode()
        headers = [("Content-Length", str(len(body))), ("Connection", "close")]
        for part in (
            h11.Response(status_code=200, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            await stream.send_all(connection.send(part) or b"")

    def replay(self, target):
        """What was missed of memberships."""
        since = int(parse_qs(urlsplit(target).query)["start_ts"][0])
        items = [
            {
                "cmd": "conv",
                "op": op.name.lower(),
                "cid": cid,
                "initBy": "Jerry",
                "m": [ME],
                "serverTs": at,
                "notificationType": 1,
            }
            for op, cid, at in self.world.notices
            if at > since
        ]
        return {"notifications": items, "hasMore": False}
