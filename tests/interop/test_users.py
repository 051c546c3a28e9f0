"""``createIMClient(user)`` against the server as a program that asks a storage service."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.cli.program import APP, Program
from tests.interop.js_peer import JsError, open_js
from tests.interop.storage_service import storage

pytestmark = pytest.mark.interop

USER = """(() => {
    const user = new AV.User();
    user.id = '%s';
    user._sessionToken = '%s';
    return user;
})()"""


async def test_a_storage_user_logs_in(tmp_path):
    with storage() as url:
        options = ["--users", url, "--enforce", "login"]
        async with Program("--data", tmp_path, "--app", APP, *options) as program:
            place = SimpleNamespace(url=program.url, app_id="demo", app_key="demo-key")
            async with open_js(place) as js:
                client = await js.log_in({"$js": USER % ("tom-id", "token-of-tom")})
                assert await client.get("id") == "tom-id"
                with pytest.raises(JsError):
                    await js.log_in({"$js": USER % ("spike-id", "token-of-nobody")})


async def test_one_host_name_serves_storage_and_messages(tmp_path):
    with storage() as url:
        upstream = url.removesuffix("/1.1")
        options = ["--users", url, "--upstream", upstream, "--enforce", "login"]
        async with Program("--data", tmp_path, "--app", APP, *options) as program:
            place = SimpleNamespace(url=program.url, app_id="demo", app_key="demo-key")
            async with open_js(place) as js:
                keys = {"appId": "demo", "appKey": "demo-key", "serverURL": program.url}
                await js.call("AV", "init", keys)
                log_in = "(password) => AV.User.logIn('tom', password)"
                await js.command("set", target="AV", name="enter", value={"$js": log_in})
                with pytest.raises(JsError) as caught:
                    await js.call("AV", "enter", "wrong")
                assert "mismatch" in str(caught.value)
                user = await js.call("AV", "enter", "cheese")
                client = await js.log_in(user)
                assert await client.get("id") == "tom-id"
