"""Files and places that messages carry. Protocol: docs/protocol/messages.md §3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs

from .checks import text
from .json import EMPTY, freeze, thaw
from .local_file import LocalFile

__all__ = ["File", "GeoPoint"]

_METADATA = {
    "name": "name",
    "mime_type": "format",
    "size": "size",
    "width": "width",
    "height": "height",
    "duration": "duration",
}


@attrs.frozen
class File:
    """A file that a message refers to: where it is and what is known of it."""

    url: str = attrs.field(validator=text)
    """Where it can be downloaded; empty in some messages of very old clients."""
    id: str | None = attrs.field(default=None, kw_only=True)
    """Its id in the file storage; None for a file that lives elsewhere."""
    name: str | None = attrs.field(default=None, kw_only=True)
    """File name."""
    mime_type: str | None = attrs.field(default=None, kw_only=True)
    """MIME type (some clients put a file extension here)."""
    size: int | None = attrs.field(default=None, kw_only=True)
    """Bytes."""
    width: int | float | None = attrs.field(default=None, kw_only=True)
    """Pixels, of an image or a video."""
    height: int | float | None = attrs.field(default=None, kw_only=True)
    """Pixels, of an image or a video."""
    duration: float | None = attrs.field(default=None, kw_only=True)
    """Seconds, of a recording or a video."""
    metadata: Mapping[str, Any] = attrs.field(
        default=EMPTY, converter=freeze, kw_only=True, hash=False
    )
    """What else its sender wanted to say of it."""
    local: LocalFile | None = attrs.field(default=None, kw_only=True, repr=False)
    """What has to be uploaded before others can see it; None: it is where its URL says."""

    @staticmethod
    def from_path(
        path: str | Path, *, name: str | None = None, mime_type: str | None = None
    ) -> LocalFile:
        """A file on disk, to be uploaded: `LocalFile.from_path`."""
        return LocalFile.from_path(path, name=name, mime_type=mime_type)

    @staticmethod
    def from_bytes(name: str, data: bytes, *, mime_type: str | None = None) -> LocalFile:
        """Bytes to be uploaded under a name: `LocalFile.from_bytes`."""
        return LocalFile.from_bytes(name, data, mime_type=mime_type)

    @classmethod
    def from_url(cls, url: str, *, name: str | None = None, mime_type: str | None = None) -> Self:
        """A file that lies elsewhere and needs no upload."""
        return cls(url, name=name, mime_type=mime_type)

    def to_json(self) -> dict[str, Any]:
        """The ``_lcfile`` object of a message body.

        Raises:
            ValueError: it has not been uploaded.
        """
        if self.local is not None:
            raise ValueError(
                f"{self.name} has not been uploaded: send the message, or IMClient.upload"
            )
        known = {key: getattr(self, name) for name, key in _METADATA.items()}
        metadata = thaw(self.metadata) | {k: v for k, v in known.items() if v is not None}
        result: dict[str, Any] = {"objId": self.id, "url": self.url or None}
        result = {key: value for key, value in result.items() if value is not None}
        if metadata:
            result["metaData"] = metadata
        return result

    @classmethod
    def from_json(cls, data: Any) -> File:
        """Read an ``_lcfile`` object, of any SDK.

        Raises:
            ValueError: it is no object.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"not a file: {data!r}")  # noqa: TRY004 - the value came from outside
        metadata = data.get("metaData")
        rest = dict(metadata) if isinstance(metadata, Mapping) else {}

        # REST examples and the oldest clients put name and size next to the URL.
        def known(key: str, kinds: tuple[type, ...]) -> Any:
            for source in (rest, data):
                value = source.get(key)
                if isinstance(value, kinds) and not isinstance(value, bool):
                    rest.pop(key, None)
                    return value
            return None

        text, number = (str,), (int, float)
        return cls(
            _text(data.get("url")) or "",
            id=_text(data.get("objId")),
            name=known("name", text),
            mime_type=known("format", text),
            size=known("size", number),
            width=known("width", number),
            height=known("height", number),
            duration=known("duration", number),
            metadata=rest,
        )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _degrees(value: float, limit: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"degrees are a number, not {value!r}")
    # NaN lies nowhere.
    if not -limit <= value <= limit:
        raise ValueError(f"degrees lie between -{limit} and {limit}, not at {value}")
    return value


def _latitude(value: float) -> float:
    return _degrees(value, 90)


def _longitude(value: float) -> float:
    return _degrees(value, 180)


@attrs.frozen
class GeoPoint:
    """A place on the earth.

    Raises:
        ValueError: there is no such place.
    """

    latitude: float = attrs.field(converter=_latitude)
    """Degrees north, -90 to 90."""
    longitude: float = attrs.field(converter=_longitude)
    """Degrees east, -180 to 180."""

    def to_json(self) -> dict[str, float]:
        """The ``_lcloc`` object of a message body."""
        return {"longitude": self.longitude, "latitude": self.latitude}

    @classmethod
    def from_json(cls, data: Any) -> GeoPoint:
        """Read an ``_lcloc`` object.

        Raises:
            ValueError: it is no object, or has no coordinates on the earth.
        """
        try:
            return cls(data["latitude"], data["longitude"])
        except (LookupError, TypeError) as error:
            raise ValueError(f"not a place: {data!r}") from error
