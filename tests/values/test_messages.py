"""Messages: what is constructed, what goes over the wire, what comes back."""

import copy
import json
import pickle
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_realtime._values.files import File, GeoPoint
from trio_realtime._values.local_file import LocalFile
from trio_realtime._values.messages import (
    BaseMessage,
    BinaryMessage,
    Message,
    MessagePriority,
    MessageStatus,
    SendOptions,
    send_options_for,
)
from trio_realtime._values.registry import MessageRegistry
from trio_realtime._values.summaries import SummaryWords
from trio_realtime._values.typed_messages import (
    AudioMessage,
    FileMessage,
    ImageMessage,
    LocationMessage,
    RecalledMessage,
    TextMessage,
    TypedMessage,
    VideoMessage,
    date_field,
    message_field,
    message_type,
)

JULY = datetime(2026, 7, 1, 12, 0, 0, 5000, tzinfo=UTC)


@message_type(1)
@attrs.frozen
class Transfer(TypedMessage):
    """A custom type, as an application writes it."""

    amount: int
    due: datetime | None = date_field(name="dueAt", default=None)  # noqa: RUF009 - describes the field
    notes: tuple[str, ...] = ()

    send_options = SendOptions(receipt=True, priority=MessagePriority.LOW)

    def get_send_options(self):
        return SendOptions(priority=MessagePriority.HIGH if self.amount > 100 else None)


REGISTRY = MessageRegistry([Transfer])
PICTURE = File("http://f/a.png", id="f1", name="a.png", mime_type="image/png", width=2, height=3)


@pytest.mark.parametrize(
    ("message", "body"),
    [
        (Message("42"), "42"),
        (Message(""), ""),
        (TextMessage("hello"), '{"_lctext":"hello","_lctype":-1}'),
        (TextMessage(""), '{"_lctext":"","_lctype":-1}'),
        (
            TextMessage("早", attributes={"a": [1, {"b": None}]}),
            '{"_lctext":"早","_lcattrs":{"a":[1,{"b":null}]},"_lctype":-1}',
        ),
        (
            ImageMessage(PICTURE, text="see"),
            ('{"_lctext":"see","_lcfile":{"objId":"f1","url":"http://f/a.png","metaData":'
            '{"name":"a.png","format":"image/png","width":2,"height":3}},"_lctype":-2}'),
        ),
        (AudioMessage(File("u")), '{"_lcfile":{"url":"u"},"_lctype":-3}'),
        (
            VideoMessage(File("u", duration=1.5, size=9, metadata={"k": [1]})),
            '{"_lcfile":{"url":"u","metaData":{"k":[1],"size":9,"duration":1.5}},"_lctype":-4}',
        ),
        (
            LocationMessage(GeoPoint(31.25, 120)),
            '{"_lcloc":{"longitude":120,"latitude":31.25},"_lctype":-5}',
        ),
        (FileMessage(File("u", name="n")), '{"_lcfile":{"url":"u","metaData":{"name":"n"}},"_lctype":-6}'),
        (RecalledMessage(), '{"_lctype":-127}'),
        (
            Transfer(7, due=JULY, notes=("x",), text="t"),
            '{"_lctext":"t","amount":7,"dueAt":"2026-07-01T12:00:00.005Z","notes":["x"],"_lctype":1}',
        ),
        (Transfer(7), '{"amount":7,"notes":[],"_lctype":1}'),
    ],
)  # fmt: skip
def test_body_and_back(message, body):
    assert message.payload() == body
    assert REGISTRY.parse(body, {}) == message


def test_binary():
    message = BinaryMessage(bytearray(b"\x00\xff"))
    assert message.payload() == b"\x00\xff"
    assert REGISTRY.parse(b"\x00\xff", {"id": "m"}) == attrs.evolve(message, id="m")


@pytest.mark.parametrize(
    "body",
    [
        "42",
        "plain",
        "",
        "{",
        "[1]",
        '{"a":1}',
        '{"_lctype":0}',
        '{"_lctype":2}',
        '{"_lctype":true}',
        '{"_lctype":"-1"}',
        '{"_lctype":[-1]}',
        '{"_lctype":-1,"_lctext":5}',
        '{"_lctype":-1,"_lcattrs":5}',
        '{"_lctype":-2}',
        '{"_lctype":-2,"_lcfile":"u"}',
        '{"_lctype":-5,"_lcloc":{"latitude":1}}',
        '{"_lctype":-5,"_lcloc":{"latitude":"x","longitude":1}}',
        '{"_lctype":-5,"_lcloc":null}',
        '{"_lctype":1}',
        '{"_lctype":1,"amount":7,"dueAt":"tomorrow"}',
        '{"_lctype":-1,"_lcattrs":' + '{"a":' * 900 + "1" + "}" * 901,
        "[" * 100_000,
        '{"_lctype":' + "1" * 5000 + "}",
    ],
)
def test_what_does_not_fit_is_plain_text(body):
    message = REGISTRY.parse(body, {"id": "m", "sender": "Tom"})
    assert message == Message(body, id="m", sender="Tom")


@given(st.text() | st.binary())
def test_parsing_never_fails(body):
    assert REGISTRY.parse(body, {}).payload() == body


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from([-1, -2, -3, -4, -5, -6, -127, 1, 1.0]),
    st.sampled_from(["_lctext", "_lcattrs", "_lcfile", "_lcloc", "amount", "dueAt", "notes"]),
)
def test_typed_bodies_never_fail(value, number, key):
    body = json.dumps({"_lctype": number, key: value})
    message = REGISTRY.parse(body, {})
    assert isinstance(message, BaseMessage)
    if isinstance(message, Message):
        assert message.body == body


def test_tolerated_spellings():
    parse = REGISTRY.parse
    assert parse('{"_lctype":-1}', {}) == TextMessage("")
    assert parse(' {"_lctype":-1.0,"_lctext":null}', {}) == TextMessage("")
    as_text = '{"_lctype":-1,"_lctext":"x","_lcattrs":"{\\"a\\":1}"}'
    assert parse(as_text, {}) == TextMessage("x", attributes={"a": 1})
    oldest = '{"_lctype":-6,"_lcfile":{"name":"n","size":3}}'
    assert parse(oldest, {}) == FileMessage(File("", name="n", size=3))
    odd = '{"_lctype":-2,"_lcfile":{"url":"u","metaData":{"width":"2","name":5}}}'
    assert parse(odd, {}) == ImageMessage(File("u", metadata={"width": "2", "name": 5}))


def test_lone_surrogates_can_be_sent():
    body = TextMessage("\ud83d").payload()
    assert body.encode() == b'{"_lctext":"\\ud83d","_lctype":-1}'
    assert REGISTRY.parse(body, {}) == TextMessage("\ud83d")


def test_json_of_plain_text():
    assert Message("42").json == 42
    assert Message('{"a":1}').json == {"a": 1}
    assert Message("hi").json == "hi"
    assert Message("[" * 100_000).json == "[" * 100_000


@pytest.mark.parametrize(
    ("message", "summary"),
    [
        (Message("hi"), "hi"),
        (Message(" "), "[消息]"),
        (BinaryMessage(b"x"), "[消息]"),
        (TextMessage(""), "[消息]"),
        (TextMessage("hi"), "hi"),
        (Transfer(1), "[消息]"),
        (Transfer(1, text="rent"), "rent"),
        (ImageMessage(PICTURE), "[图片]"),
        (AudioMessage(PICTURE), "[语音]"),
        (VideoMessage(PICTURE), "[视频]"),
        (FileMessage(PICTURE), "[文件] a.png"),
        (FileMessage(File("u")), "[文件]"),
        (LocationMessage(GeoPoint(1, 2), text="home"), "[位置] home"),
        (LocationMessage(GeoPoint(1, 2)), "[位置]"),
        (RecalledMessage(), "[该消息已撤回]"),
    ],
)
def test_summary(message, summary):
    assert message.summary == summary


def test_the_language_of_summaries_is_a_choice():
    assert ImageMessage(PICTURE).summarize(SummaryWords.ENGLISH) == "[image]"
    assert FileMessage(PICTURE).summarize(SummaryWords.ENGLISH) == "[file] a.png"
    assert TextMessage("hi").summarize(SummaryWords.ENGLISH) == "hi"
    german = SummaryWords({-2: "[Bild]", 1: "[Überweisung]"}, "[Nachricht]")
    assert ImageMessage(PICTURE).summarize(german) == "[Bild]"
    assert Transfer(1).summarize(german) == "[Überweisung]"
    for message in (BinaryMessage(b""), Message(""), RecalledMessage()):
        assert message.summarize(german) == "[Nachricht]"


def test_a_file_that_nobody_else_can_see_is_not_written_down():
    local = LocalFile.from_bytes("cat.png", b"123")
    message = ImageMessage(local)
    assert message.file.local is local
    assert (message.file.name, message.file.size, message.file.mime_type) == (
        "cat.png",
        3,
        "image/png",
    )
    with pytest.raises(ValueError, match=r"cat\.png has not been uploaded"):
        message.payload()
    with pytest.raises(TypeError, match="expected a File or a LocalFile, not 'cat'"):
        ImageMessage("cat")


def test_times():
    fresh = TextMessage("hi", timestamp_ms=1_000)
    assert fresh.timestamp == fresh.updated_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert (fresh.delivered_at, fresh.read_at) == (None, None)
    edited = attrs.evolve(fresh, updated_at_ms=2_000, delivered_at_ms=3_000, read_at_ms=4_000)
    assert edited.timestamp.second == 1
    assert edited.updated_at.second == 2
    assert edited.delivered_at.second == 3
    assert edited.read_at.second == 4
    assert TextMessage("", timestamp_ms=2**63 - 1).timestamp.year == 9999
    assert TextMessage("", timestamp_ms=-(2**63)).timestamp.year == 1


def test_values_are_immutable_and_equal():
    message = TextMessage("hi", attributes={"a": [1]}, mentions=["Tom"])
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        message.text = "x"
    with pytest.raises(TypeError):
        message.attributes["b"] = 1
    assert message.attributes["a"] == (1,)
    assert message == TextMessage("hi", attributes={"a": [1]}, mentions=("Tom",), dt="other")
    assert hash(message) == hash(attrs.evolve(message, dt="other"))
    assert message != attrs.evolve(message, text="ho")
    assert copy.deepcopy(message) == pickle.loads(pickle.dumps(message)) == message
    assert TextMessage("x", mentions="Tom").mentions == ("Tom",)


def test_matching():
    match TextMessage("hi", sender="Tom"):
        case TextMessage(text=text, sender=sender):
            assert (text, sender) == ("hi", "Tom")
        case _:
            pytest.fail("no match")
    match REGISTRY.parse("hi", {}):
        case TypedMessage():
            pytest.fail("plain text is not typed")
        case Message(body):
            assert body == "hi"


@pytest.mark.parametrize(
    "message",
    [
        Message("x"),
        BinaryMessage(b"\x00", id="m"),
        Transfer(7, due=JULY, dt="token", mention_all=True, mentioned=True),
        ImageMessage(
            PICTURE,
            attributes={"a": {"b": [1]}},
            id="m",
            conversation_id="c",
            sender="Tom",
            timestamp_ms=1,
            updated_at_ms=2,
            delivered_at_ms=3,
            read_at_ms=4,
            status=MessageStatus.DELIVERED,
            mentions=("a", "b"),
            receipt=True,
            transient=True,
        ),
    ],
)
def test_json_round_trip(message):
    text = json.dumps(message.to_json())
    restored = REGISTRY.from_json(json.loads(text))
    assert restored == message
    assert restored.dt == message.dt


def test_json_of_the_javascript_sdk():
    full = {
        "data": {"_lctext": "hi", "_lctype": -1},
        "id": "m",
        "cid": "c",
        "from": "Tom",
        "timestamp": 5,
        "deliveredAt": None,
        "updatedAt": None,
        "mentionList": [],
        "mentionedAll": False,
    }
    assert REGISTRY.from_json(full) == TextMessage(
        "hi", id="m", conversation_id="c", sender="Tom", timestamp_ms=5
    )


@pytest.mark.parametrize(
    "data", [{"data": "x", "status": "lost"}, {"data": "!", "bin": True}, {"data": {1}}]
)
def test_json_that_is_no_message(data):
    with pytest.raises(ValueError, match="not a message"):
        REGISTRY.from_json(data)


def test_send_options():
    assert send_options_for(TextMessage("x")) == SendOptions()
    assert send_options_for(Transfer(1)) == SendOptions(receipt=True, priority=MessagePriority.LOW)
    assert send_options_for(Transfer(101)).priority is MessagePriority.HIGH
    call = SendOptions(receipt=False, push_data={"alert": {"title": "x"}})
    assert send_options_for(Transfer(101), call) == attrs.evolve(
        call, priority=MessagePriority.HIGH
    )
    with pytest.raises(TypeError):
        SendOptions(push_data="x")


def test_the_type_registered_last_is_tried_first():
    @message_type(1)
    class Gift(TypedMessage):
        present: str

    registry = MessageRegistry([Transfer, Gift])
    assert registry.parse('{"_lctype":1,"present":"p"}', {}) == Gift("p")
    assert registry.parse('{"_lctype":1,"amount":2}', {}) == Transfer(2)
    assert isinstance(MessageRegistry().parse('{"_lctype":1,"amount":2}', {}), Message)

    @message_type(-1)
    @attrs.frozen
    class OwnText(TextMessage):
        pass

    registry.register(OwnText)
    assert registry.parse('{"_lctype":-1,"_lctext":"x"}', {}) == OwnText("x")
    registry.register(TextMessage)
    assert registry.parse('{"_lctype":-1,"_lctext":"x"}', {}) == TextMessage("x")


def test_a_type_may_code_its_fields_itself():
    @message_type(3)
    @attrs.frozen
    class Colour(TypedMessage):
        rgb: tuple[int, ...] = message_field(
            name="c",
            decode=lambda text: tuple(bytes.fromhex(text)),
            encode=lambda rgb: bytes(rgb).hex(),
            validator=attrs.validators.max_len(3),
        )

    registry = MessageRegistry([Colour])
    message = Colour((1, 2, 255))
    assert message.payload() == '{"c":"0102ff","_lctype":3}'
    assert registry.parse(message.payload(), {}) == message
    for misfit in ('{"c":"red","_lctype":3}', '{"c":"01020304","_lctype":3}'):
        assert registry.parse(misfit, {}) == Message(misfit)


def test_mistakes_in_message_types():
    with pytest.raises(TypeError, match="integer"):
        message_type("1")
    with pytest.raises(TypeError, match="positive"):
        message_type(0)
    with pytest.raises(TypeError, match="derive"):
        message_type(1)(object)
    with pytest.raises(TypeError, match="would hide"):

        @message_type(1)
        class Hides(TypedMessage):
            sender: str

    with pytest.raises(TypeError, match="_lctype"):

        @message_type(1)
        class Takes(TypedMessage):
            number: int = message_field(name="_lctype")

    with pytest.raises(TypeError, match="decorate it"):
        MessageRegistry([TypedMessage])
    with pytest.raises(TypeError, match="decorate it"):
        TypedMessage().payload()
    with pytest.raises(NotImplementedError):
        BaseMessage().payload()


def test_mistakes_in_content():
    with pytest.raises(TypeError):
        TextMessage(5)
    with pytest.raises(TypeError):
        Message(b"x")
    with pytest.raises(TypeError):
        BinaryMessage("x")
    with pytest.raises(TypeError):
        ImageMessage("http://f")
    with pytest.raises(TypeError):
        LocationMessage((1, 2))
    with pytest.raises(TypeError):
        GeoPoint("1", 2)
    with pytest.raises(TypeError):
        TextMessage("x", attributes=[1])
    with pytest.raises(TypeError):
        TextMessage("x", attributes={"a": object()}).payload()
    with pytest.raises(ValueError, match=r"[Oo]ut of range"):
        TextMessage("x", attributes={"a": float("nan")}).payload()


def test_attributes_are_json():
    message = TextMessage("hi", attributes={"a": [1, {"b": None}]})
    assert json.dumps(message.attributes) == '{"a": [1, {"b": null}]}'
    assert dict(message.attributes) == {"a": (1, {"b": None})}
    for change in (
        lambda value: value.update(b=1),
        lambda value: value.pop("a"),
        lambda value: value.clear(),
        lambda value: value.setdefault("c", 1),
        lambda value: value.__delitem__("a"),
        lambda value: value.__ior__({"b": 1}),
    ):
        with pytest.raises(TypeError, match="immutable"):
            change(message.attributes)
    assert message.attributes == {"a": (1, {"b": None})}


def test_deep_attributes_can_be_shown():
    attributes = {"end": 1}
    for _ in range(300):
        attributes = {"a": attributes}
    shown = repr(TextMessage("hi", attributes=attributes))
    assert shown.count("{'a': ") == 50
    assert "..." in shown
    assert repr(TextMessage("", attributes={"a": [(1,), ()], "b": {}}).attributes) == (
        "{'a': ((1,), ()), 'b': {}}"
    )


def test_a_message_is_the_same_to_its_sender_and_its_readers():
    sent = TextMessage("hi", id="m", sender="Tom", receipt=True, status=MessageStatus.SENT)
    kept = TextMessage(
        "hi",
        id="m",
        sender="Tom",
        mentioned=True,
        delivered_at_ms=5,
        status=MessageStatus.DELIVERED,
    )
    assert sent == kept
    assert hash(sent) == hash(kept)
    assert sent != attrs.evolve(sent, id="n")


@pytest.mark.parametrize(
    ("latitude", "longitude"), [(999, 999), (90.1, 0), (0, -180.5), (float("nan"), 0)]
)
def test_a_place_is_on_the_earth(latitude, longitude):
    with pytest.raises(ValueError, match="degrees lie between"):
        GeoPoint(latitude, longitude)
    body = json.dumps({"_lctype": -5, "_lcloc": {"latitude": latitude, "longitude": longitude}})
    assert REGISTRY.parse(body, {}) == Message(body)
