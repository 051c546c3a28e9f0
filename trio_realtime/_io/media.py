"""What images, recordings and videos say of themselves; needs the extra ``[media]``."""

from __future__ import annotations

import logging
from typing import Any

from trio_realtime._values.local_file import LocalFile

logger = logging.getLogger("trio_realtime")


def measure(file: LocalFile) -> dict[str, Any]:
    """Width and height of an image, duration of a recording or video, as far as known.

    Blocks. Never fails: a file may be anything.
    """
    kind = file.mime_type.partition("/")[0]
    try:
        if kind == "image":
            return _image(file)
        if kind in {"audio", "video"}:
            return _recording(file)
    except ImportError:
        logger.debug("the extra [media] is not installed: %s is not measured", file.name)
    except Exception as error:  # noqa: BLE001 - damaged media fail in every way
        logger.debug("%s cannot be measured: %s", file.name, error)
    return {}


def _image(file: LocalFile) -> dict[str, Any]:
    from PIL import Image

    with file.open() as source, Image.open(source) as image:
        return {"width": image.width, "height": image.height}


def _recording(file: LocalFile) -> dict[str, Any]:
    import mutagen

    with file.open() as source:
        recording = mutagen.File(source, filename=file.name)
    if recording is None or not getattr(recording.info, "length", 0):
        return {}
    return {"duration": float(recording.info.length)}
