"""Messages with a type: text, media, places, and the base of an application's own types.

The body is a JSON object: ``_lctype`` names the type, ``_lctext`` and ``_lcattrs`` may
accompany any type, other keys belong to the type. Protocol: docs/protocol/messages.md §3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar, cast, dataclass_transform

import attrs

from . import checks
from .field_types import decoder_for, encode
from .files import File, GeoPoint
from .json import EMPTY, dump, dump_text, freeze, load_object
from .local_file import LocalFile
from .messages import BaseMessage, has_text, with_envelope
from .summaries import SummaryWords
from .times import datetime_from_iso

__all__ = [
    "AudioMessage",
    "FileMessage",
    "ImageMessage",
    "LocationMessage",
    "MediaMessage",
    "RecalledMessage",
    "TextMessage",
    "TypedMessage",
    "VideoMessage",
    "date_field",
    "message_field",
    "message_type",
]

M = TypeVar("M", bound="TypedMessage")

_Decoder = tuple[str, str, Callable[[Any], Any]]

_WIRE = "trio_realtime.wire"
RESERVED_KEYS = frozenset({"_lctype", "_lctext", "_lcattrs"})


@attrs.frozen
class _WireField:
    """How one field of a message type is spelled in the body."""

    key: str | None = None
    decode: Callable[[Any], Any] | None = None
    encode: Callable[[Any], Any] | None = None


def _wire(key: str, decode: Callable[[Any], Any], encode: Callable[[Any], Any]) -> dict[str, Any]:
    return {_WIRE: _WireField(key, decode, encode)}


def message_field(
    *,
    name: str | None = None,
    decode: Callable[[Any], Any] | None = None,
    encode: Callable[[Any], Any] | None = None,
    **options: Any,
) -> Any:
    """A field of a message type whose spelling in the body needs to be described.

    Fields that are spelled as they are named need no description: their annotation says what a
    JSON value becomes. Texts, numbers, lists, dicts, tuples, sets, enums, literals, datetimes,
    `File`, `GeoPoint`, attrs classes, dataclasses and whatever else the package ``msgspec`` reads.

    Args:
        name: key in the body, if it differs from the name of the field.
        decode: makes the value from the JSON value; may raise to say that it does not fit.
        encode: makes the JSON value from the value.
        options: for ``attrs.field``: ``default``, ``factory``, ``validator`` and so on.

    Protocol: docs/protocol/messages.md §3.
    """
    metadata = {**options.pop("metadata", {}), _WIRE: _WireField(name, decode, encode)}
    return attrs.field(metadata=metadata, **options)


def date_field(*, name: str | None = None, **options: Any) -> Any:
    """A field that holds a datetime, and an ISO 8601 text in the body."""
    return message_field(name=name, decode=datetime_from_iso, **options)


def _attributes(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if not value:
        return EMPTY
    if not isinstance(value, Mapping):
        raise TypeError(f"attributes are a mapping, not {value!r}")
    frozen: Mapping[str, Any] = freeze(value)
    return frozen


@attrs.frozen(kw_only=True, slots=False)
class TypedMessage(BaseMessage):
    """A message whose body is a JSON object with a type.

    Make your own types with `message_type`. A type that is not registered with the client,
    or a body that does not fit its type, arrives as a plain `Message`.
    """

    lctype: ClassVar[int] = 0
    """The type's number: negative for those of the protocol, positive for yours."""

    # Worked out when it is first asked for, by each class for itself.
    _content: ClassVar[tuple[_ContentField, ...]]
    _decoders: ClassVar[tuple[_Decoder, ...]]

    text: str | None = None
    """A caption, or the text itself."""
    attributes: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_attributes, hash=False)
    """What the application wants to add: a JSON object, deeply immutable."""

    def summarize(self, words: SummaryWords = SummaryWords.CHINESE) -> str:
        """The text, or the word for the type if there is none."""
        text = self.text
        return text if text and has_text(text) else words.of(self.lctype)

    def payload(self) -> str:
        """The body as JSON text, keys in the order of the JavaScript SDK.

        Raises:
            TypeError: something in it cannot be expressed in JSON.
            ValueError: a number is not finite, or a datetime is naive.
        """
        cls = type(self)
        if not cls.lctype:
            raise TypeError(f"{cls.__name__} has no type number: decorate it with @message_type")
        content = _content_fields(cls)
        if not content and not self.attributes and isinstance(self.text, str):
            # What most messages are, at a quarter of the cost.
            return f'{{"_lctext":{dump_text(self.text)},"_lctype":{cls.lctype}}}'
        body: dict[str, Any] = {}
        if self.text is not None:
            body["_lctext"] = self.text
        if self.attributes:
            body["_lcattrs"] = self.attributes
        for field in content:
            value = getattr(self, field.name)
            if value is not None:
                body[field.key] = field.encode(value)
            elif not field.none_by_default:
                body[field.key] = None
        body["_lctype"] = cls.lctype
        return dump(body)

    @classmethod
    def from_body(cls, body: Mapping[str, Any], envelope: Mapping[str, Any]) -> Self:
        """Make a message of this type from its decoded body and its envelope's fields.

        Raises:
            Exception: the body does not fit; which exception depends on the type.
        """
        content: dict[str, Any] = {}
        text = body.get("_lctext")
        if text is not None:
            if not isinstance(text, str):
                raise ValueError(f"_lctext is no text: {text!r}")
            content["text"] = text
        attributes = body.get("_lcattrs")
        plain = text is not None and attributes is None and "mentions" not in envelope
        if plain and cls is TextMessage:
            # What most messages are: there is nothing to check, nor to convert.
            return cast("Self", with_envelope(_NO_TEXT, {**envelope, **content}))
        if attributes is not None:
            # Some documents say that this is JSON text, and some senders believe it.
            if isinstance(attributes, str):
                attributes = load_object(attributes)
            content["attributes"] = attributes
        for key, argument, decode in decoders(cls):
            if key in body:
                content[argument] = decode(body[key])
        return cls(**content, **envelope)

    def as_stored(self, body: str) -> Self:
        """The message as others read it from its body.

        What JSON cannot tell is gone: which list was a tuple, the microseconds of a datetime.
        """
        cls = type(self)
        if not self.attributes and not _content_fields(cls):
            return self
        envelope = {field.name: getattr(self, field.name) for field in ENVELOPE}
        try:
            return cls.from_body(load_object(body) or {}, envelope)
        except Exception:  # noqa: BLE001 - an application's type may refuse in any way
            return self


ENVELOPE = attrs.fields(BaseMessage)


def files_to_upload(message: BaseMessage) -> dict[str, LocalFile]:
    """The files of a message that nobody else can see yet, by constructor argument."""
    if not isinstance(message, TypedMessage):
        return {}
    return {
        field.argument: value.local
        for field in _content_fields(type(message))
        if isinstance(value := getattr(message, field.name), File) and value.local is not None
    }


@attrs.frozen
class _ContentField:
    """One field of a type, besides those all types have."""

    name: str
    argument: str
    key: str
    encode: Callable[[Any], Any]
    none_by_default: bool
    """Whether None need not be said."""
    described: Callable[[Any], Any] | None
    """What decodes it, if the field says so."""
    attribute: attrs.Attribute[Any]

    def decoder(self, cls: type) -> Callable[[Any], Any]:
        """What makes its value from the JSON value."""
        decode = self.described
        if decode is None:
            return decoder_for(cls, self.attribute)
        return lambda value: None if value is None else decode(value)


_COMMON = frozenset(field.name for field in attrs.fields(TypedMessage))


def _content_fields(cls: type[TypedMessage]) -> tuple[_ContentField, ...]:
    fields: tuple[_ContentField, ...] | None = cls.__dict__.get("_content")
    if fields is None:
        fields = cls._content = tuple(
            _content_field(field)
            for field in attrs.fields(cls)
            if field.init and field.name not in _COMMON
        )
    return fields


def _content_field(field: attrs.Attribute[Any]) -> _ContentField:
    wire: _WireField = field.metadata.get(_WIRE, _WireField())
    return _ContentField(
        name=field.name,
        argument=field.alias or field.name,
        key=wire.key or field.name,
        encode=wire.encode or encode,
        none_by_default=field.default is None,
        described=wire.decode,
        attribute=field,
    )


def decoders(cls: type[TypedMessage]) -> tuple[_Decoder, ...]:
    """Key, argument and decoder of each field of a type, besides those all types have.

    Raises:
        TypeError: the annotation of a field cannot be read from JSON.
    """
    found: tuple[_Decoder, ...] | None = cls.__dict__.get("_decoders")
    if found is None:
        # Not when the class is made: its annotations may name what is defined below it.
        found = cls._decoders = tuple(
            (field.key, field.argument, field.decoder(cls)) for field in _content_fields(cls)
        )
    return found


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field, message_field, date_field))
def message_type(number: int) -> Callable[[type[M]], type[M]]:
    """Make a class a message type of the application.

    The class derives from `TypedMessage`, and its annotated fields become keys of the body.
    What arrives is what the annotations say; a body that does not fit them is a plain `Message`.
    A plain class is made a frozen attrs class; write ``@attrs.frozen`` yourself, below this
    decorator, if your type checker is to know its constructor::

        @message_type(1)
        @attrs.frozen
        class Transfer(TypedMessage):
            amount: int
            due: datetime = date_field(name="dueAt")

    Then pass the class to ``open_client(message_types=[Transfer])``.

    Raises:
        TypeError: the number is no integer or is 0, or the class cannot be a message type.

    Protocol: docs/protocol/messages.md §3, docs/protocol/live-query-and-plugins.md §1.
    """
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"the number of a message type is an integer, not {number!r}")
    if number == 0:
        raise TypeError("0 means that a message has no type; take a positive number")

    def decorate(cls: type[M]) -> type[M]:
        if not issubclass(cls, TypedMessage):
            raise TypeError(f"{cls!r} does not derive from TypedMessage")
        if "__attrs_attrs__" not in cls.__dict__:
            cls = attrs.frozen(slots=False)(cls)
        _check_fields(cls)
        cls.lctype = number
        return cls

    return decorate


def _check_fields(cls: type[TypedMessage]) -> None:
    envelope = {field.name for field in attrs.fields(BaseMessage)}
    for field in attrs.fields(cls):
        if field.name in envelope and not field.inherited:
            raise TypeError(
                f"{cls.__name__}.{field.name} would hide what every message has;"
                f" choose another name, and message_field(name={field.name!r})"
            )
    keys = [field.key for field in _content_fields(cls)]
    for key in keys:
        if key in RESERVED_KEYS or keys.count(key) > 1:
            raise TypeError(f"{cls.__name__} uses the key {key!r} twice, or it is not free")


@attrs.frozen(kw_only=True, slots=False)
class TextMessage(TypedMessage):
    """A text, with attributes if wanted: the usual message."""

    lctype: ClassVar[int] = -1

    text: str = attrs.field(default="", kw_only=False, validator=checks.text)
    """The text."""


_NO_TEXT = TextMessage()


def _file(value: File | LocalFile) -> File:
    if isinstance(value, LocalFile):
        return File("", name=value.name, mime_type=value.mime_type, size=value.size, local=value)
    if not isinstance(value, File):
        raise TypeError(f"expected a File or a LocalFile, not {value!r}")
    return value


@attrs.frozen(kw_only=True, slots=False)
class MediaMessage(TypedMessage):
    """What messages that refer to a file have in common.

    The file may be one that is still to be uploaded, ``ImageMessage(File.from_path("cat.jpg"))``:
    sending uploads it.
    """

    file: File = attrs.field(
        kw_only=False,
        converter=_file,
        metadata=_wire("_lcfile", File.from_json, File.to_json),
    )
    """The file; its `File.local` is what is still to be uploaded."""

    def summarize(self, words: SummaryWords = SummaryWords.CHINESE) -> str:
        """What kind of file it is, in brackets."""
        return words.of(self.lctype)


@attrs.frozen(kw_only=True, slots=False)
class ImageMessage(MediaMessage):
    """An image."""

    lctype: ClassVar[int] = -2


@attrs.frozen(kw_only=True, slots=False)
class AudioMessage(MediaMessage):
    """A recording."""

    lctype: ClassVar[int] = -3


@attrs.frozen(kw_only=True, slots=False)
class VideoMessage(MediaMessage):
    """A video."""

    lctype: ClassVar[int] = -4


@attrs.frozen(kw_only=True, slots=False)
class FileMessage(MediaMessage):
    """Any file."""

    lctype: ClassVar[int] = -6

    def summarize(self, words: SummaryWords = SummaryWords.CHINESE) -> str:
        """``[文件]`` and the name of the file."""
        return f"{words.of(self.lctype)} {self.file.name or ''}".strip()


def _place(_: Any, __: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, GeoPoint):
        raise TypeError(f"the location of a message is a GeoPoint, not {value!r}")


@attrs.frozen(kw_only=True, slots=False)
class LocationMessage(TypedMessage):
    """A place."""

    lctype: ClassVar[int] = -5

    location: GeoPoint = attrs.field(
        kw_only=False,
        validator=_place,
        metadata=_wire("_lcloc", GeoPoint.from_json, GeoPoint.to_json),
    )
    """The place."""

    def summarize(self, words: SummaryWords = SummaryWords.CHINESE) -> str:
        """``[位置]`` and the text."""
        return f"{words.of(self.lctype)} {self.text or ''}".strip()


@attrs.frozen(kw_only=True, slots=False)
class RecalledMessage(TypedMessage):
    """What is left of a message that its author took back.

    Protocol: docs/protocol/messages.md §8.
    """

    lctype: ClassVar[int] = -127

    def summarize(self, words: SummaryWords = SummaryWords.CHINESE) -> str:
        """A notice that the message was taken back."""
        return words.of(self.lctype)
