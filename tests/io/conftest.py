from __future__ import annotations

import pytest

from tests.io.scripted_server import ScriptedServer


@pytest.fixture
def scripted():
    return ScriptedServer()
