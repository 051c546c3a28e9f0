"""The public surface: complete, documented, and cheap to import."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import trio_realtime

PACKAGES = (
    "trio_realtime",
    "trio_realtime.awesome",
    "trio_realtime.rest",
    "trio_realtime.server",
    "trio_realtime.testing",
    "trio_realtime.transport",
    "trio_realtime.wire",
)
EXPORTS = [
    (package, name) for package in PACKAGES for name in importlib.import_module(package).__all__
]


def load(package, name):
    return getattr(importlib.import_module(package), name)


def own_members(kind):
    """Public members a class defines, or inherits from a class that is not public itself."""
    public = {load(*export) for export in EXPORTS if inspect.isclass(load(*export))}
    for base in kind.__mro__:
        ours = base.__module__.partition(".")[0] == "trio_realtime"
        if not ours or (base in public and base is not kind):
            continue
        for name, value in vars(base).items():
            if not name.startswith("_"):
                yield name, value


@pytest.mark.parametrize("package", PACKAGES)
def test_exports_are_sorted_and_unique(package):
    names = importlib.import_module(package).__all__
    assert list(names) == sorted(set(names))


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_public_is_left_out(package):
    """What a package binds without an underscore is exported, or a module of its own."""
    module = importlib.import_module(package)
    bound = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert bound == set(module.__all__)


@pytest.mark.parametrize(("package", "name"), EXPORTS)
def test_every_name_is_documented(package, name):
    value = load(package, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        assert inspect.getdoc(value), f"{name} has no docstring"
        assert not value.__doc__.startswith(f"{name}("), f"{name} has a made-up docstring"


@pytest.mark.parametrize(("package", "name"), EXPORTS)
def test_every_operation_is_documented(package, name):
    value = load(package, name)
    if not inspect.isclass(value):
        return
    missing = [
        member
        for member, found in own_members(value)
        if (inspect.isroutine(found) or isinstance(found, property | classmethod | staticmethod))
        and not inspect.getdoc(getattr(value, member, found))
    ]
    assert missing == []


@pytest.mark.parametrize(("package", "name"), EXPORTS)
def test_every_parameter_is_typed(package, name):
    value = load(package, name)
    if not inspect.isfunction(value):
        return
    signature = inspect.signature(value)
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, parameter


def test_errors_are_one_tree():
    """Whatever the package exports as an exception can be caught as `RealtimeError`."""
    exceptions = [
        value
        for package, name in EXPORTS
        if package == "trio_realtime"
        and inspect.isclass(value := load(package, name))
        and issubclass(value, BaseException)
    ]
    assert exceptions
    assert all(issubclass(one, trio_realtime.RealtimeError) for one in exceptions)


def test_events_are_one_hierarchy():
    events = importlib.import_module("trio_realtime._values.events")
    classes = [getattr(events, name) for name in events.__all__ if name != "PatchReason"]
    assert all(issubclass(one, trio_realtime.Event) for one in classes)
    assert set(events.__all__) <= set(trio_realtime.__all__)


def test_a_client_names_every_family_of_its_operations():
    """Where an operation of `IMClient` comes from can be read off its class."""
    operations = importlib.import_module("trio_realtime._client.operations.base").Operations
    client = trio_realtime.IMClient
    families = {one for one in client.__mro__ if issubclass(one, operations)}
    assert families - {client, operations} == set(client.__bases__)


def test_types_are_declared_to_checkers():
    assert Path(trio_realtime.__file__).with_name("py.typed").exists()


def test_the_client_needs_no_extras():
    """A program that only talks to a server imports neither the server nor an extra."""
    program = "import sys, trio_realtime; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "trio_realtime._client.im_client" in loaded
    unwanted = {"websockets", "sqlite3", "trio_realtime.server", "trio_realtime.testing"}
    assert loaded & unwanted == set()
