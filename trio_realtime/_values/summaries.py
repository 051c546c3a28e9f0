"""The words that stand for what is no text, where a list of chats has one line for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs

from .json import freeze

__all__ = ["SummaryWords"]


@attrs.frozen
class SummaryWords:
    """In which words `BaseMessage.summarize` says what is no text.

    ``SummaryWords.CHINESE`` are those of the other SDKs, and of `BaseMessage.summary`;
    ``SummaryWords.ENGLISH`` are there too. Make your own for other languages, and for your own
    types.
    """

    by_type: Mapping[int, str] = attrs.field(converter=freeze, hash=False)
    """A word for each number of a message type."""
    other: str
    """The word for everything else without a text: bytes, and types that are not listed."""

    CHINESE: ClassVar[SummaryWords]
    ENGLISH: ClassVar[SummaryWords]

    def of(self, number: int) -> str:
        """The word for messages of the type with this number."""
        word: str = self.by_type.get(number, self.other)
        return word


SummaryWords.CHINESE = SummaryWords(
    {
        -2: "[图片]",
        -3: "[语音]",
        -4: "[视频]",
        -5: "[位置]",
        -6: "[文件]",
        -127: "[该消息已撤回]",
    },
    "[消息]",
)
SummaryWords.ENGLISH = SummaryWords(
    {
        -2: "[image]",
        -3: "[recording]",
        -4: "[video]",
        -5: "[place]",
        -6: "[file]",
        -127: "[message recalled]",
    },
    "[message]",
)
