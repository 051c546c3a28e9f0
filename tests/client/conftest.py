"""Everything about conversations and messages is tested in every dialect."""

from __future__ import annotations

import conversation_world
import pytest

DIALECTS = ("protobuf", "base64", "json")
IN_ALL = ("test_client_conv_", "test_client_msg_")


def pytest_generate_tests(metafunc):
    if metafunc.module.__name__.startswith(IN_ALL):
        metafunc.fixturenames.append("dialect")
        metafunc.parametrize("dialect", DIALECTS, indirect=True)


@pytest.fixture
def dialect(request, monkeypatch):
    monkeypatch.setattr(conversation_world, "DIALECT", request.param)
