"""Chromium without a window, driven through its DevTools protocol."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from trio_websocket import open_websocket_url

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60
LARGEST = 64 * 1024 * 1024


def found():
    """The program, None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Page:
    """One page, on a connection to the browser."""

    def __init__(self, socket):
        self._socket = socket
        self._session = None
        self._number = 0
        self.seen = []
        """What the page asked for: method and URL."""

    async def call(self, method, **parameters):
        """Ask for something, and wait for the answer; what else is told is looked at."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        await self._socket.send_message(json.dumps(command))
        while True:
            told = json.loads(await self._socket.get_message())
            if told.get("method") == "Network.requestWillBeSent":
                request = told["params"]["request"]
                self.seen.append((request["method"], request["url"]))
            if told.get("id") == self._number:
                assert "error" not in told, told
                return told["result"]

    async def open(self, url):
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        await self.call("Network.enable")
        await self.call("Page.enable")
        went = await self.call("Page.navigate", url=url)
        assert "errorText" not in went, went
        await self.run(
            "document.readyState === 'complete' || new Promise((r) => addEventListener('load', r))"
        )

    async def run(self, expression):
        """The value of an expression, waited for where it is a promise."""
        told = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")


@asynccontextmanager
async def open_page(url, profile, *options):
    """A browser with a profile of its own, at this page."""
    arguments = [
        *(found(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--no-first-run", "--disable-background-networking", f"--user-data-dir={profile}"),
        *("--remote-debugging-port=0", *options, "about:blank"),
    ]
    async with trio.open_nursery() as nursery:
        running = partial(
            trio.run_process, arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        process = await nursery.start(running)
        with trio.fail_after(PATIENCE):
            address = await _address(Path(profile) / "DevToolsActivePort")
            async with open_websocket_url(address, max_message_size=LARGEST) as socket:
                page = Page(socket)
                await page.open(url)
                yield page
        nursery.cancel_scope.cancel()
        process.kill()


async def _address(file):
    """Where the browser says that it listens."""
    while True:
        lines = file.read_text().split() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        await trio.sleep(0.05)
