"""The owner's guide: its commands work in their order, and both languages say the same."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib

import pytest
import trio

from tests.archive.service import APP, KEY, Service
from tests.cli.program import Program
from tests.docs.snippets import ROOT
from trio_realtime import MessageReceived, TextMessage, open_client

PAGE, CHINESE = ROOT / "docs" / "moving.md", ROOT / "docs" / "moving.zh-CN.md"
FENCES = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
APP_ID = "AbCdEfGh-gzGzoHsz"
PATIENCE = 120
INTERRUPTED = 130


def commands():
    """Everything that stands behind a prompt, in the order of the page."""
    found = [text for kind, text in FENCES.findall(PAGE.read_text("utf-8")) if kind == "console"]
    lines = [line.removeprefix("$ ") for text in found for line in text.splitlines()]
    return [line for line in lines if not line.startswith("pip ")]


def outline(page):
    """What does not depend on the language."""
    text = page.read_text("utf-8")
    prose = FENCES.sub("", text)
    return {
        "blocks": FENCES.findall(text),
        "headings": re.findall(r"^(#+)", prose, re.MULTILINE),
        "rows": [
            line.count("|") for line in re.sub(r"`[^`]*`", "", prose).splitlines() if "|" in line
        ],
        "code": sorted(set(re.findall(r"`([^`]+)`", prose))),
        "versions": sorted(re.findall(r"\b\d+\.\d+\.\d+[\w.-]*", prose)),
        "dates": re.findall(r"\d{4}-\d\d-\d\d", prose),
        "links": [
            link
            for link in re.findall(r"\]\(([^)#]*)", prose)
            if not link.startswith("moving") and link
        ],
    }


def test_both_languages_say_the_same():
    english, chinese = outline(PAGE), outline(CHINESE)
    for part, found in english.items():
        if part == "links":
            assert sorted(found) == sorted(chinese[part])
        else:
            assert found == chinese[part], part


def test_the_versions_that_are_called_tested_are_those_of_the_tests():
    packages = (ROOT / "tests" / "interop" / "package.json").read_text("utf-8")
    for line in PAGE.read_text("utf-8").splitlines():
        cells = line.split("|")
        if len(cells) > 2 and "tested:" in cells[2]:
            for version in re.findall(r"\d+\.\d+\.\d+[\w.-]*", cells[2]):
                assert version.rstrip(".") in packages, version


def environ():
    return {**os.environ, "TRIO_REALTIME_MASTER_KEY": KEY, "PYTHONIOENCODING": "utf-8"}


def program(line):
    name, *arguments = shlex.split(line)
    assert name == "trio-realtime"
    return [sys.executable, "-m", "trio_realtime", *arguments]


async def succeeds(line, folder):
    """Run a command to its end."""
    arguments = [*program(line), *(["--per-minute", "1000000"] if "pull" in line else [])]
    if "--check" in line:
        arguments = program(line)
    done = await trio.run_process(
        arguments, cwd=folder, env=environ(), capture_stdout=True, capture_stderr=True, check=False
    )
    assert done.returncode == 0, (line, done.stdout.decode(), done.stderr.decode())
    return done.stdout.decode()


async def until_said(process, text):
    said = b""
    while text not in said:
        chunk = await process.stdout.receive_some()
        assert chunk, said
        said += chunk
    return said.decode()


@pytest.mark.docs
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_the_commands_work_in_their_order(tmp_path):
    lines = commands()
    service = Service()
    service.fill(conversations=4, messages=200, days=2)
    (toml,) = [text for kind, text in FENCES.findall(PAGE.read_text("utf-8")) if kind == "toml"]
    config = tomllib.loads(toml)
    assert {"tls-cert", "tls-key", "upstream", "users", "host", "port"} <= config.keys()

    def places(line, first):
        """The hosts of the page are these here; the first of them moves at the cut-over."""
        for name, url in (("api", first), ("api-old", service.url), ("im-test", own)):
            line = line.replace(f"https://{name}.example.com", url)
        return line.replace(APP_ID, APP)

    def then(start):
        line = lines.pop(0)
        assert line.startswith(f"trio-realtime {start}"), line
        return line

    own = ""
    with trio.fail_after(PATIENCE):
        async with service.listening():
            await succeeds(places(then("pull backup --server"), service.url), tmp_path)
            await succeeds(then("pull backup --check"), tmp_path)
            follow = await trio.lowlevel.open_process(
                program(then("pull backup --follow")),
                cwd=tmp_path,
                env=environ(),
                stdout=subprocess.PIPE,
            )
            await until_said(follow, b"up to date")
            follow.send_signal(signal.SIGINT)
            assert await follow.wait() == INTERRUPTED
            await follow.stdout.aclose()

            assert then("serve --config")
            file = tmp_path / "server.toml"
            written = toml.replace("/var/lib/trio-realtime", str(tmp_path / "data"))
            written = re.sub(r"^(tls-.*|host.*|port.*)\n", "", written, flags=re.MULTILINE)
            written = written.replace("https://api-old.example.com", service.url)
            file.write_text(written.replace(APP_ID, APP).replace("the master key", KEY))
            file.chmod(0o600)
            async with Program("--config", file) as server:
                own = server.url
                await succeeds(places(then("import"), own), tmp_path)
                await succeeds(places(then("verify"), own), tmp_path)
                await rehearse(places(then("tap"), own), tmp_path)
                await succeeds(places(then("shadow"), own), tmp_path)
                service.say(3)
                await succeeds(then("pull backup --again 4400"), tmp_path)
                await succeeds(places(then("import"), own), tmp_path)
                await succeeds(places(then("verify"), own), tmp_path)
                service.say(2)
                await succeeds(places(then("pull backup --server"), own), tmp_path)
                said = await succeeds(places(then("import"), own), tmp_path)
                assert "2 new" in said
                await succeeds(places(then("export"), own), tmp_path)
    assert lines == []


async def rehearse(line, folder):
    """Somebody talks while a tap records."""
    tap = await trio.lowlevel.open_process(
        [*program(line), "--port", "0"], cwd=folder, env=environ(), stdout=subprocess.PIPE
    )
    said = await until_said(tap, b"http://127")
    async with (
        open_client("ann", app_id=APP, app_key="the app key", server=said.split()[-1]) as ann,
        ann.events(MessageReceived),
    ):
        chat = await ann.create_conversation(["eve"], name="rehearsal", unique=False)
        await ann.send(chat, TextMessage("is this thing on?"))
    await until_said(tap, b"closed by the client")
    tap.send_signal(signal.SIGINT)
    await tap.wait()
    await tap.stdout.aclose()
