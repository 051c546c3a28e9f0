"""The error tree: every code of the protocol, and texts a user can act on."""

import copy
import pickle
from datetime import UTC, datetime

import attrs
import pytest

from trio_realtime._values import errors
from trio_realtime._values.errors import (
    CommandError,
    CommandTimeout,
    ConnectFailed,
    ConnectionLost,
    ErrorCode,
    MessageTooLarge,
    OwnerPromotionNotAllowed,
    PluginError,
    RealtimeError,
    Retry,
    SlowConsumer,
)
from trio_realtime._values.results import Failure, NothingSucceeded, PartialResult
from trio_realtime.wire import CommandType, OpType

CODES = (
    {1000, 1006, 5130}
    | set(range(4100, 4118)) - {4104}
    | {4200, 4201}
    | set(range(4300, 4326)) - {4319}
    | set(range(4401, 4409))
    | {4543, 4544, 4546, 4548, 4561, 4563}
)


def test_every_code_is_listed_and_explained():
    assert {int(code) for code in ErrorCode} == CODES
    for code in ErrorCode:
        assert code.advice, code
        assert isinstance(code.retry, Retry), code


def test_names_are_those_on_the_wire():
    assert ErrorCode(4303) is ErrorCode.CONVERSATION_NOT_FOUND
    assert ErrorCode.SILIENCED == 4563
    assert ErrorCode.CONVERSATION_BLACKLISTED is ErrorCode.CONVERSATION_TEMPORARY_BLACKLISTED
    assert ErrorCode.of(4200) is ErrorCode.INTERNAL_ERROR
    assert ErrorCode.of(-4408) == -4408
    assert not isinstance(ErrorCode.of(9999), ErrorCode)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((4100, 4102, 4103, 4106, 4110, 4113), errors.LoginError),
        ((4111,), errors.SessionConflictError),
        ((4112,), errors.SessionTokenExpired),
        ((4115,), errors.KickedError),
        ((4105,), errors.SessionRequired),
        ((4116, 4318), errors.QuotaExceeded),
        ((4302, 4546), errors.SignatureFailed),
        ((4303,), errors.ConversationNotFound),
        ((4304,), errors.ConversationFull),
        ((4305, 4402, 4405), errors.RejectedByApp),
        ((4307,), errors.ConversationReadOnly),
        ((4320,), errors.OperationUnauthorized),
        ((4309, 4312, 4317), errors.MembershipRequired),
        ((4401,), errors.InvalidMessagingTarget),
        ((4315, 4563), errors.Silenced),
        ((4548,), errors.BlockedError),
        ((4404,), errors.MessageNotFound),
        ((4403,), errors.MessageOwnershipRequired),
        ((4323,), errors.TemporaryConversationExpired),
        ((4200, 4300), errors.ServerError),
        ((4308, 9999, 0), CommandError),
    ],
)
def test_the_code_chooses_the_class(codes, expected):
    for code in codes:
        assert type(CommandError.from_wire(code)) is expected


def test_a_wrong_target_is_a_missing_membership():
    assert issubclass(errors.InvalidMessagingTarget, errors.MembershipRequired)


def test_refusals_say_what_to_do():
    said = CommandError.from_wire(4303, "CONVERSATION_NOT_FOUND", "gone")
    assert str(said) == "CONVERSATION_NOT_FOUND (4303): gone"
    silent = CommandError.from_wire(4303)
    assert silent.reason == "CONVERSATION_NOT_FOUND"
    assert str(silent).startswith("CONVERSATION_NOT_FOUND (4303): no conversation")
    hook = CommandError.from_wire(4402, "MESSAGE_REJECTED_BY_APP", "no", 7, "be nice")
    assert str(hook) == "MESSAGE_REJECTED_BY_APP (4402): no [application: 7 be nice]"
    assert (hook.app_code, hook.app_message, hook.detail) == (7, "be nice", "no")
    assert str(CommandError.from_wire(9999)) == "refused (9999)"


def test_whether_to_try_again():
    assert CommandError.from_wire(4116).retry is Retry.LATER
    assert CommandError.from_wire(4303).retry is Retry.NEVER
    assert CommandError.from_wire(9999).retry is Retry.NEVER


def test_other_errors_say_what_happened():
    assert str(ConnectionLost()) == "connection lost"
    assert str(ConnectionLost(4107, "idle")) == "connection lost (READ_TIMEOUT 4107): idle"
    assert str(ConnectionLost(4999)) == "connection lost (4999)"
    assert str(MessageTooLarge(6000, 5120)).startswith("the command has 6000 bytes, 880 more")
    assert "5130" in str(OwnerPromotionNotAllowed())
    timeout = CommandTimeout(CommandType.CONV, OpType.START, 20.0)
    assert str(timeout) == "no answer to conv/start in 20 seconds"
    assert ConnectFailed("refused", status=404).status == 404
    since = datetime(2026, 7, 1, tzinfo=UTC)
    assert str(SlowConsumer(3, since)) == (
        "subscription too slow: 3 events dropped since 2026-07-01T00:00:00+00:00"
    )


def test_all_are_realtime_errors_with_advice():
    for name in errors.__all__:
        member = getattr(errors, name)
        if isinstance(member, type) and issubclass(member, BaseException):
            assert issubclass(member, RealtimeError)
            assert member.__doc__


@pytest.mark.parametrize(
    "error",
    [
        CommandError.from_wire(4402, "R", "d", 1, "m"),
        ConnectionLost(1006, "x"),
        SlowConsumer(1, None),
        MessageTooLarge(2, 1),
        PluginError("Bot", ValueError("no")),
        NothingSucceeded((Failure(("a",), CommandError.from_wire(4304)),)),
    ],
)
def test_errors_survive_copying(error):
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other).keys() == vars(error).keys()


def test_partial_result():
    full, blocked = CommandError.from_wire(4304), CommandError.from_wire(4548)
    some = PartialResult(("a",), (Failure(("b",), full),))
    assert some.checked() is some
    assert PartialResult().checked() == PartialResult()
    with pytest.raises(errors.ConversationFull):
        attrs.evolve(some, succeeded=()).checked()
    with pytest.raises(NothingSucceeded, match=r"b: CONVERSATION_FULL.*; c, d: BLOCKED_BY_CONV"):
        PartialResult(failures=(Failure(("b",), full), Failure(("c", "d"), blocked))).checked()


def test_failures_are_equal_by_what_they_say():
    assert Failure(("a",), CommandError.from_wire(4304)) == Failure(
        ("a",), CommandError.from_wire(4304)
    )
    assert Failure(("a",), CommandError.from_wire(4304)) != Failure(
        ("a",), CommandError.from_wire(4548)
    )
