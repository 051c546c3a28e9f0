"""schemathesis, unmodified, asks everything that /openapi.json permits: no server error.

SCHEMA_EXAMPLES in the environment says how many examples each operation gets.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
import trio

from tests.cli.program import Program
from trio_realtime.rest import open_rest

pytestmark = pytest.mark.interop

EXAMPLES = os.environ.get("SCHEMA_EXAMPLES", "1")
PATIENCE = 60 + 60 * int(EXAMPLES)


async def known(url):
    """What it may ask about besides what it makes up: conversations of each kind, by their path."""
    async with open_rest(app_id="demo", master_key="demo-master", server=url) as rest:
        return {
            "conversations": (await rest.create_conversation(["Tom", "Jerry"])).id,
            "chatrooms": (await rest.create_chat_room()).id,
            "service-conversations": (await rest.create_service_conversation()).id,
        }


def configuration(ids):
    lines = []
    for path, cid in ids.items():
        lines += [
            "[[operations]]",
            f'include-path-regex = "/rtm/{path}/"',
            # Nobody is asked about what he has just deleted.
            'exclude-method = "DELETE"',
            f'parameters = {{ "path.id" = "{cid}", "path.client" = "Tom" }}',
        ]
    return "\n".join(lines)


async def test_no_server_error(tmp_path):
    program = shutil.which("schemathesis", path=Path(sys.executable).parent)
    assert program, "schemathesis is missing; `nox -s interop` installs it"
    app = ["--data", tmp_path / "data", "--app", "demo:demo-key:demo-master"]
    async with Program(*app) as server:
        file = tmp_path / "schemathesis.toml"
        file.write_text(configuration(await known(server.url)))
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(
                [
                    *(program, "--config-file", file, "run", f"{server.url}/openapi.json"),
                    *("--checks", "not_a_server_error", "--no-color", "--seed", "1"),
                    *("--max-examples", EXAMPLES, "--phases", "coverage,fuzzing"),
                    *("-H", "X-LC-Id: demo", "-H", "X-LC-Key: demo-master,master"),
                    *("--generation-database", "none"),
                ],
                capture_stdout=True,
                check=False,
            )
        said = done.stdout.decode()
        assert done.returncode == 0, said
        assert "Test cases:" in said
