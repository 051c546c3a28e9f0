"""Every snippet of the documentation runs, and every link leads somewhere."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from tests.docs.snippets import APP, PAGES, ROOT, WRITTEN_URL, anchors, blocks, links
from trio_realtime import MessageReceived, TextMessage, open_client
from trio_realtime.server import App
from trio_realtime.testing import open_server

pytestmark = pytest.mark.docs

BLOCKS = [block for page in PAGES for block in blocks(page)]
PROGRAMS = [block for block in BLOCKS if not block.is_suite()]
SUITES = sorted({block.page for block in BLOCKS if block.is_suite()})
PATIENCE = 60
STOPPED_AFTER = 0.5
PYTEST_INI = "[pytest]\ntrio_mode = true\nfilterwarnings = error\n"

APP_ID = re.compile(r"""(?:\bApp\("|\bapp_?[iI]d(?:: |=)["']|--app (?!ID:)|X-LC-Id: )([\w-]+)""")


@asynccontextmanager
async def demo_server():
    async with open_server(apps=[App(*APP)]) as server:
        yield server


def client(server, name):
    return open_client(name, app_id=server.app_id, app_key=server.app_key, server=server.url)


def run_definitions(block, url, monkeypatch):
    """What the page has defined when the reader has come to the end of this block."""
    # The tests run what a program would run with this.
    monkeypatch.setattr(trio, "run", lambda *_arguments, **_options: None)
    namespace = {"__name__": "snippet"}
    for one in blocks(block.page):
        if one.line <= block.line and not one.is_suite():
            exec(compile(one.tree(url), str(one.page), "exec"), namespace)
    monkeypatch.undo()
    return namespace


async def provide(function, server, stack, tmp_path):
    """The arguments of a function, by the annotations of its parameters."""
    wanted = function.asks_for
    given = {name: server for name, kind in wanted.items() if kind == "LocalServer"}
    given |= {name: tmp_path for name, kind in wanted.items() if kind == "Path"}
    people = [name for name, kind in wanted.items() if kind == "IMClient"]
    for name in people:
        given[name] = await stack.enter_async_context(client(server, name.capitalize()))
    for number, name in enumerate(name for name, kind in wanted.items() if kind == "Conversation"):
        members = {person.capitalize() for person in people} | {"Jerry"}
        given[name] = await given[people[0]].create_conversation(
            members, name=f"Conversation {number}", unique=False
        )
    return given


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
async def test_snippet_runs(block, monkeypatch, tmp_path):
    async with demo_server() as server:
        namespace = run_definitions(block, server.url, monkeypatch)
        for function in block.functions():
            async with AsyncExitStack() as stack:
                given = await provide(function, server, stack, tmp_path)
                limit = trio.move_on_after(STOPPED_AFTER)
                with limit if block.endless else trio.fail_after(PATIENCE):
                    await namespace[function.name](**given)
                assert limit.cancelled_caught == block.endless, "not what the page says"


@pytest.mark.parametrize("page", SUITES, ids=lambda page: page.name)
def test_suite_in_a_page_passes(page, tmp_path):
    """Tests shown as examples are given to pytest as a user would."""
    source = "\n\n".join(block.source for block in blocks(page))
    (tmp_path / "test_page.py").write_text(source, "utf-8")
    (tmp_path / "pytest.ini").write_text(PYTEST_INI, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_helpers_of_a_page_are_used(page):
    """A function that the tests cannot run must at least be called by one they run."""
    mine = [block for block in blocks(page) if not block.is_suite()]
    helpers = {name for block in mine for name in block.helpers()}
    assert helpers <= {name for block in mine for name in block.names()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_is_in_the_index():
    """A folder has an index of its own, which the first one lists."""
    first = ROOT / "docs" / "index.md"
    indexes = [first, *(page for page in PAGES if page.name == "README.md")]
    listed = {(index.parent / link).resolve() for index in indexes for link in links(index)}
    assert set(PAGES) - {ROOT / "README.md", first} <= listed
    assert {page for page in indexes if page.parent.parent == first.parent} <= {
        (first.parent / link).resolve() for link in links(first)
    }


def test_snippets_are_typed(tmp_path):
    """The API as its users meet it passes the strictest check of types."""
    for page in {block.page for block in PROGRAMS}:
        source = "\n\n".join(block.source for block in PROGRAMS if block.page == page)
        (tmp_path / f"{page.stem.lower().replace('-', '_')}_page.py").write_text(source, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_program_of_the_readme_answers(monkeypatch):
    """The twelve lines do what the text around them says."""
    (program,) = [block for block in BLOCKS if block.page.name == "README.md" and block.endless]
    async with demo_server() as server:
        namespace = run_definitions(program, server.url, monkeypatch)
        async with client(server, "Tom") as tom, trio.open_nursery() as nursery:
            nursery.start_soon(namespace["main"])
            inbox = tom.events(MessageReceived)
            chat = await tom.create_conversation(["Jerry"])
            with trio.fail_after(PATIENCE):
                while not await tom.online(["Jerry"]):  # noqa: ASYNC110 - the server knows, no event does
                    await trio.sleep(0.01)
                await tom.send(chat, TextMessage("Jerry, are you up?"))
                event = await anext(inbox)
            assert event.message.sender == "Jerry"
            assert event.message.text == "Out of bed already!"
            nursery.cancel_scope.cancel()


@pytest.fixture
def interruptible():
    """What is started heeds Ctrl-C, also where the tests themselves run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no Ctrl-C to send")
@pytest.mark.usefixtures("interruptible")
async def test_program_of_the_readme_ends_with_one_line(tmp_path):
    """Ctrl-C is how it is meant to end, and no traceback."""
    (program,) = [block for block in BLOCKS if block.page.name == "README.md" and block.endless]
    async with demo_server() as server, client(server, "Tom") as tom:
        path = tmp_path / "bot.py"
        path.write_text(program.source.replace(WRITTEN_URL, server.url), "utf-8")
        with subprocess.Popen(  # noqa: ASYNC220 - it starts at once
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        ) as bot:
            with trio.fail_after(PATIENCE):
                while not await tom.online(["Jerry"]):  # noqa: ASYNC110 - as above
                    await trio.sleep(0.05)
                bot.send_signal(signal.SIGINT)
                said = await trio.to_thread.run_sync(bot.stdout.read)
                status = await trio.to_thread.run_sync(bot.wait)
    assert (status, said) == (0, "Jerry is gone.\n")


def test_apps_have_ids_that_every_sdk_takes():
    named = [
        (page.name, found)
        for page in PAGES
        if "protocol" not in page.parts
        for found in APP_ID.findall(page.read_text("utf-8"))
    ]
    assert len(named) > 20
    # The Java SDK refuses ids of 8 characters and less.
    assert [(page, found) for page, found in named if len(found) <= 8] == []
