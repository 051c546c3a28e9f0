"""An app in a browser, whose one host name leads to us: the npm packages' builds for browsers."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import urlsplit

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.cli.program import Program
from tests.interop import browser
from tests.interop.js_peer import HERE
from tests.interop.storage_service import storage

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(browser.found() is None, reason="there is no Chromium on this machine"),
]

HOST = "api.shop.example"
APP = "shop-production:shop-key:shop-master"


def pin(certificate):
    """By what a browser knows a certificate that nobody else vouches for."""
    key = x509.load_pem_x509_certificate(certificate).public_key()
    data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def written(tmp_path):
    """The options for a certificate of the host name, and its pin."""
    issued = trustme.CA().issue_cert(HOST)
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    certificate.write_bytes(chain)
    key.write_bytes(issued.private_key_pem.bytes())
    return ["--tls-cert", certificate, "--tls-key", key], pin(chain)


async def test_a_user_sends_a_picture_and_reads_it_back(tmp_path):
    tls, known = written(tmp_path)
    with storage(app_key="shop-key", app_id="shop-production", files=HERE) as url:
        upstream = url.removesuffix("/1.1")
        options = ["--users", url, "--upstream", upstream, "--enforce", "login", *tls]
        async with Program("--data", tmp_path / "data", "--app", APP, *options) as program:
            port = urlsplit(program.url).port
            page_options = (
                f"--host-resolver-rules=MAP {HOST} 127.0.0.1:{port}",
                f"--ignore-certificate-errors-spki-list={known}",
            )
            async with browser.open_page(
                f"https://{HOST}/app/page.html", tmp_path / "profile", *page_options
            ) as page:
                seen = await page.run("talk('shop-production', 'shop-key')")
                asked = page.seen
    assert seen["id"] == "tom-id"
    assert (seen["text"], seen["type"]) == ("from a browser", -2)
    assert seen["size"] == [3, 2]
    assert seen["bytes"] == seen["sentBytes"] > 0
    assert seen["url"].startswith(f"https://{HOST}/files/")
    # What is not ours was answered behind us, under the same name.
    assert seen["saved"] == "post-id"
    hosts = {urlsplit(where).netloc for _, where in asked if not where.startswith("data:")}
    assert hosts == {HOST}
    paths = {(method, urlsplit(where).path) for method, where in asked}
    assert {("POST", "/1.1/login"), ("POST", "/1.1/classes/Post")} <= paths
    assert {("POST", "/1.1/fileTokens"), ("GET", "/v1/route")} <= paths
