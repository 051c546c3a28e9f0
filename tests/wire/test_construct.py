from __future__ import annotations

import inspect
import pickle

import pytest

from tests.wire.strategies import MESSAGE_CLASSES
from trio_realtime.wire import CommandType, ConvCommand, GenericCommand, SessionCommand


@pytest.mark.parametrize("cls", MESSAGE_CLASSES)
def test_constructors_take_every_field_in_order(cls):
    names = list(cls._betterproto.meta_by_field_name)
    assert list(inspect.signature(cls).parameters) == names
    message = cls()
    for name, meta in cls._betterproto.meta_by_field_name.items():
        assert getattr(message, name) == ([] if meta.repeated else None)
    assert bytes(message) == b""


def test_positions_and_keywords_mean_the_same():
    assert GenericCommand(CommandType.ECHO, None, "app") == GenericCommand(
        app_id="app", cmd=CommandType.ECHO
    )


def test_names_that_are_no_field_are_refused():
    with pytest.raises(TypeError, match="peerId"):
        GenericCommand(peerId="Tom")


def test_lists_are_not_shared():
    first, second = ConvCommand(), ConvCommand()
    first.m.append("Tom")
    assert second.m == []


def test_a_list_is_kept_as_given():
    members = ["Tom"]
    assert ConvCommand(m=members).m is members


def test_fields_can_be_set_and_cleared():
    session = SessionCommand(st="token")
    session.st = None
    session.r = False
    assert session == SessionCommand(r=False)
    assert bytes(session) == b"\x28\x00"


def test_messages_can_be_pickled():
    command = GenericCommand(cmd=CommandType.CONV, conv_message=ConvCommand(m=["Tom"]))
    assert pickle.loads(pickle.dumps(command)) == command
