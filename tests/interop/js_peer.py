"""A node process that runs the npm SDK, and its objects as seen from a test.

::

    async with open_js(server) as js:
        tom = await js.log_in("Tom")
        chat = await tom.call("createConversation", {"members": ["Jerry"]})
        await chat.call("send", await js.new("TextMessage", "Jerry, are you up?"))
        [message, conversation] = await tom.next_event("message")

Any method of any object of the SDK can be called by its name. What a method returns comes
back as plain data, dates as `datetime`, bytes as `bytes`, and objects of the SDK as
`JsObject`, which shows its most important properties as they were at that moment. The SDK
allows one ``Realtime`` for an app in a process: several clients of one process share its
socket, for separate sockets there can be several processes.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections import defaultdict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import trio

from trio_realtime.testing import LocalServer

HERE = Path(__file__).parent
PATIENCE = 30
"""Seconds after which something that should have happened counts as missing."""


class JsError(Exception):
    """What a method of the SDK threw."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(f"{fields.get('name')}: {fields.get('message')}")
        self.fields = fields
        self.name = fields.get("name")
        self.message = fields.get("message")
        self.code = fields.get("code")


class Js:
    """JavaScript source as an argument: ``Js("(id) => 42")``."""

    def __init__(self, source: str) -> None:
        self.source = source


class JsObject:
    """An object that lives in the node process."""

    def __init__(self, peer: JsPeer, handle: int, kind: str, fields: dict[str, Any]) -> None:
        self.peer = peer
        self.handle = handle
        self.kind = kind
        """Name of its class."""
        self.fields = fields
        """Properties as they were when it was mentioned."""

    def __repr__(self) -> str:
        return f"<{self.kind} {self.fields}>"

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    async def call(self, method: str, *args: Any) -> Any:
        """Call a method and await its result. Raises `JsError`."""
        return await self.peer.command("call", target=self.handle, method=method, args=list(args))

    async def get(self, name: str) -> Any:
        """A property as it is now."""
        return await self.peer.command("get", target=self.handle, name=name)

    async def set(self, name: str, value: Any) -> None:
        """Assign to a property."""
        await self.peer.command("set", target=self.handle, name=name, value=value)

    async def listen(self) -> None:
        """Collect the events of this object from now on."""
        await self.peer.command("listen", target=self.handle)

    async def next_event(self, name: str) -> list[Any]:
        """The arguments of the next event of this name, which is then forgotten."""
        return await self.peer.next_event(self.handle, name)

    def seen(self, name: str) -> list[list[Any]]:
        """The events of this name that have come so far and were not asked for."""
        return list(self.peer.events[self.handle, name])


class JsPeer:
    """A node process. `open_js` makes one."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._last_id = 0
        self._replies: dict[int, dict[str, Any]] = {}
        self._changed = trio.Condition()
        self._ended = False
        self.events: defaultdict[tuple[int | None, str], deque[list[Any]]] = defaultdict(deque)
        """What has happened and was not asked for yet, by object and name."""
        self.realtime: JsObject

    async def command(self, op: str, **fields: Any) -> Any:
        """Have the driver do something; see driver.js."""
        self._last_id += 1
        mine = self._last_id
        line = json.dumps({"id": mine, "op": op, **{k: _encode(v) for k, v in fields.items()}})
        assert self._process.stdin is not None
        await self._process.stdin.send_all(line.encode() + b"\n")
        await self._until(lambda: mine in self._replies, f"a reply to {line}")
        reply = self._replies.pop(mine)
        if "error" in reply:
            error = self._decode(reply["error"])
            assert isinstance(error, JsError)
            raise error
        return self._decode(reply["ok"])

    async def new(self, kind: str, *args: Any) -> JsObject:
        """Construct an object of a class of the SDK, of its plugin, or of AV."""
        made = await self.command("new", **{"class": kind, "args": list(args)})
        assert isinstance(made, JsObject)
        return made

    async def call(self, kind: str, method: str, *args: Any) -> Any:
        """Call a static method of a class."""
        return await self.command("call", target=kind, method=method, args=list(args))

    async def text(self, text: str) -> JsObject:
        """A text message."""
        return await self.new("TextMessage", text)

    async def log_in(
        self, client_id: str | None, options: dict[str, Any] | None = None
    ) -> JsObject:
        """Log a client in, and listen to its events from the first one."""
        client = await self.command(
            "call",
            target=self.realtime.handle,
            method="createIMClient",
            args=[client_id, options or {}],
            listen=True,
        )
        assert isinstance(client, JsObject)
        return client

    async def drop(self) -> int:
        """Break the sockets of this process as a network does; returns how many."""
        dropped = await self.command("drop")
        assert isinstance(dropped, int)
        return dropped

    async def next_event(self, handle: int | None, name: str) -> list[Any]:
        """The next event of an object, which is then forgotten."""
        waiting = self.events[handle, name]
        await self._until(lambda: bool(waiting), f"the event {name}")
        return waiting.popleft()

    async def _until(self, arrived: Any, what: str) -> None:
        with trio.move_on_after(PATIENCE) as patience:
            async with self._changed:
                while not arrived():
                    if self._ended:
                        raise AssertionError(f"node ended while a test waited for {what}")
                    await self._changed.wait()
        if patience.cancelled_caught:
            waiting = {name: len(queue) for (_, name), queue in self.events.items() if queue}
            raise AssertionError(f"waited in vain for {what}; other events: {waiting}")

    async def read(self) -> None:
        """Take what the process says, until it ends."""
        assert self._process.stdout is not None
        rest = b""
        async for data in self._process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            async with self._changed:
                for line in lines:
                    self._take(json.loads(line))
                self._changed.notify_all()
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self, said: dict[str, Any]) -> None:
        if "id" in said:
            self._replies[said["id"]] = said
        else:
            args = [self._decode(one) for one in said["args"]]
            self.events[said["source"], said["event"]].append(args)

    def _decode(self, value: Any) -> Any:
        match value:
            case list():
                return [self._decode(one) for one in value]
            case {"$ref": handle}:
                fields = {key: self._decode(one) for key, one in value["fields"].items()}
                return JsObject(self, handle, value["class"], fields)
            case {"$date": text}:
                return datetime.fromisoformat(text)
            case {"$bytes": text}:
                return base64.b64decode(text)
            case {"$error": fields}:
                return JsError({key: self._decode(one) for key, one in fields.items()})
            case dict():
                return {key: self._decode(one) for key, one in value.items()}
        return value


def _encode(value: Any) -> Any:
    match value:
        case list() | tuple():
            return [_encode(one) for one in value]
        case dict():
            return {key: _encode(one) for key, one in value.items()}
        case JsObject():
            return {"$ref": value.handle}
        case Js():
            return {"$js": value.source}
        case datetime():
            return {"$date": value.isoformat()}
        case bytes():
            return {"$bytes": base64.b64encode(value).decode()}
    return value


@asynccontextmanager
async def open_js(
    server: LocalServer, *, sdk: str | None = None, **options: Any
) -> AsyncGenerator[JsPeer]:
    """Start a node process with a ``Realtime`` for the server's first app.

    ``sdk`` is the package of another version. ``options`` are further options of ``Realtime``. What node writes to stderr is shown by
    pytest when the test fails.
    """
    process = await trio.lowlevel.open_process(
        ["node", "-r", str(HERE / "redirect.js"), str(HERE / "driver.js")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={
            **os.environ,
            "REDIRECT_TO": server.url,
            **({} if sdk is None else {"REALTIME_SDK": sdk}),
        },
    )
    peer = JsPeer(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.read)
            settings = {"appId": server.app_id, "appKey": server.app_key}
            if sdk is None:
                # Earlier versions are led there: redirect.js.
                settings["server"] = server.url
            peer.realtime = await peer.new("Realtime", {**settings, **options})
            await peer.realtime.listen()
            yield peer
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            # The nursery is ours, so its wrapping is as well.
            raise group.exceptions[0] from group.exceptions[0].__cause__
        raise
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            assert process.stdin is not None
            assert process.stdout is not None
            await process.stdin.aclose()
            await process.stdout.aclose()
