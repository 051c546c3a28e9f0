"""Commands to values and back: pure functions between `trio_realtime.wire` and the public API."""

from __future__ import annotations

from .attributes import apply_changes, attributes_for_create, attributes_for_update
from .conversations import conversation_from_json, conversations_from_results, member_info_from_json
from .events import events_from_command, events_from_notification
from .messages import (
    message_from_direct,
    message_from_log_item,
    message_from_patch_item,
    message_from_unread_tuple,
)
from .results import error_from_command, part, partial_result

__all__ = [
    "apply_changes",
    "attributes_for_create",
    "attributes_for_update",
    "conversation_from_json",
    "conversations_from_results",
    "error_from_command",
    "events_from_command",
    "events_from_notification",
    "member_info_from_json",
    "message_from_direct",
    "message_from_log_item",
    "message_from_patch_item",
    "message_from_unread_tuple",
    "part",
    "partial_result",
]
