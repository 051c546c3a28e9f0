"""Everything about conversations and messages is tested in every dialect."""

from __future__ import annotations

import pytest

from tests.client import world

DIALECTS = ("protobuf", "base64", "json")


def pytest_generate_tests(metafunc):
    metafunc.fixturenames.append("dialect")
    metafunc.parametrize("dialect", DIALECTS, indirect=True)


@pytest.fixture
def dialect(request, monkeypatch):
    monkeypatch.setattr(world, "DIALECT", request.param)
