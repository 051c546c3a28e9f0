"""Every error code of the protocol, with what to do about it. Protocol: docs/protocol/errors.md."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Self


class Retry(Enum):
    """Whether trying again can help."""

    NEVER = "never"
    """A mistake in the program or a missing permission: the same call fails again."""
    LATER = "later"
    """A passing condition: the same call may succeed in a while."""
    RELOGIN = "relogin"
    """A new session is needed, begun by the user."""
    RECONNECT = "reconnect"
    """The connection ended; the client reconnects on its own."""


class ErrorCode(IntEnum):
    """What a server refuses with, and what ends a connection. Protocol: docs/protocol/errors.md.

    The names are those on the wire, misspellings included.
    """

    retry: Retry
    """Whether trying again can help."""
    advice: str
    """What the code means and what can be done."""

    def __new__(cls, value: int, retry: Retry = Retry.NEVER, advice: str = "") -> Self:
        member = int.__new__(cls, value)
        member._value_ = value
        member.retry = retry
        member.advice = advice
        return member

    @classmethod
    def of(cls, code: int) -> ErrorCode | int:
        """The member for a number, or the number itself if the protocol does not list it."""
        known = cls._value2member_map_.get(code)
        return known if isinstance(known, ErrorCode) else code

    # Session and connection
    CLOSE_NORMAL = 1000, Retry.RECONNECT, "the server ended the connection in good order"
    CLOSE_ABNORMAL = 1006, Retry.RECONNECT, "the connection was lost"
    APP_NOT_AVAILABLE = 4100, Retry.NEVER, "unknown application, or messaging is off for it"
    DUPLICATED_LOGIN = 4101, Retry.NEVER, "this device is logged in to the push service already"
    SIGNATURE_FAILED = (
        4102,
        Retry.NEVER,
        "the login signature is wrong, missing or expired: get a new one",
    )
    INVALID_LOGIN = 4103, Retry.NEVER, "a client id has 1 to 64 characters"
    SESSION_REQUIRED = 4105, Retry.RELOGIN, "there is no session for this client: log in first"
    BLACKLISTED = 4106, Retry.NEVER, "this user is banned from messaging"
    READ_TIMEOUT = 4107, Retry.RECONNECT, "the server heard nothing for too long"
    LOGIN_TIMEOUT = 4108, Retry.RECONNECT, "nobody logged in on the connection"
    FRAME_TOO_LONG = 4109, Retry.NEVER, "a command may have 5 KB: send less, or a file"
    INVALID_ORIGIN = 4110, Retry.NEVER, "the application does not allow this web origin"
    SESSION_CONFLICT = (
        4111,
        Retry.RELOGIN,
        "another device logged in with the same client id and tag",
    )
    SESSION_TOKEN_EXPIRED = 4112, Retry.RELOGIN, "log in without the old session token"
    APP_QUOTA_EXCEEDED = 4113, Retry.NEVER, "the application has no users left for today"
    UNPARSEABLE_RAW_MESSAGE = 4114, Retry.NEVER, "the server could not decode a frame"
    UNPARSEABLE_RAW_MSG = 4114, Retry.NEVER, "the server could not decode a frame"
    KICKED_BY_APP = 4115, Retry.RELOGIN, "the application ended the sessions of this client"
    MESSAGE_SENT_QUOTA_EXCEEDED = 4116, Retry.LATER, "too many messages: slow down"
    UNBIND_INSTALLATION_FAILED = (
        4117,
        Retry.LATER,
        "logged out, but this device may still get push notifications",
    )
    INTERNAL_ERROR = 4200, Retry.LATER, "a fault in the server"
    SEND_MESSAGE_TIMEOUT = 4201, Retry.LATER, "sending through REST took too long"

    # Conversation
    CONVERSATION_INTERNAL_ERROR = 4300, Retry.LATER, "a fault in the server"
    CONVERSATION_API_FAILED = 4301, Retry.LATER, "the storage behind the server failed"
    CONVERSATION_SIGNATURE_FAILED = (
        4302,
        Retry.NEVER,
        "the signature of the operation is wrong, missing or expired: get a new one",
    )
    CONVERSATION_NOT_FOUND = (
        4303,
        Retry.NEVER,
        "no conversation has this id; a temporary one may have expired",
    )
    CONVERSATION_FULL = 4304, Retry.NEVER, "the conversation has as many members as it may have"
    CONVERSATION_REJECTED_BY_APP = 4305, Retry.NEVER, "a hook of the application refused"
    CONVERSATION_UPDATE_FAILED = 4306, Retry.LATER, "the update could not be stored"
    CONVERSATION_READ_ONLY = 4307, Retry.NEVER, "this conversation cannot be changed"
    CONVERSATION_NOT_ALLOWED = 4308, Retry.NEVER, "this client may not send here"
    CONVERSATION_UPDATE_REJECTED = 4309, Retry.NEVER, "only members may change a conversation"
    CONVERSATION_QUERY_FAILED = 4310, Retry.LATER, "the query is too slow or not allowed"
    CONVERSATION_LOG_FAILED = 4311, Retry.LATER, "the history could not be read"
    CONVERSATION_LOG_REJECTED = 4312, Retry.NEVER, "only members may read the history"
    SYSTEM_CONVERSATION_REQUIRED = 4313, Retry.NEVER, "this works in service conversations only"
    NORMAL_CONVERSATION_REQUIRED = 4314, Retry.NEVER, "this works in normal conversations only"
    CONVERSATION_TEMPORARY_BLACKLISTED = (
        4315,
        Retry.LATER,
        "this client is silenced here for some time",
    )
    CONVERSATION_BLACKLISTED = 4315, Retry.LATER, "this client is silenced here for some time"
    TRANSIENT_CONVERSATION_REQUIRED = 4316, Retry.NEVER, "this works in chat rooms only"
    CONVERSATION_MEMBERSHIP_REQUIRED = 4317, Retry.NEVER, "only members may do this: join first"
    CONVERSATION_API_QUOTA_EXCEEDED = 4318, Retry.LATER, "too many requests: slow down"
    CONVERSATION_OPERATION_UNAUTHORIZED = (
        4320,
        Retry.NEVER,
        "this takes a higher role: ask a manager or the owner",
    )
    UNKNOWN_CONVERSATION_ROLE = 4321, Retry.NEVER, "the roles are Owner, Manager and Member"
    CONVERSATION_MEMBER_IN_ROLE_FULL = 4322, Retry.NEVER, "too many members have this role"
    TEMPORARY_CONVERSATION_EXPIRED = 4323, Retry.NEVER, "its time is over: create a new one"
    CONVERSATION_NEED_OWNER = 4324, Retry.NEVER, "a conversation cannot be without its owner"
    CONVERSATION_MEMBER_INFO_FEATURE_DISABLED = (
        4325,
        Retry.NEVER,
        "roles are switched off for this application",
    )

    # Message
    INVALID_MESSAGING_TARGET = (
        4401,
        Retry.NEVER,
        "no such conversation, or this client is not in it: join first",
    )
    MESSAGE_REJECTED_BY_APP = 4402, Retry.NEVER, "a hook of the application refused the message"
    MESSAGE_OWNERSHIP_REQUIRED = 4403, Retry.NEVER, "only its author may change a message"
    MESSAGE_NOT_FOUND = 4404, Retry.NEVER, "no message here has this id and time"
    MESSAGE_UPDATE_REJECTED_BY_APP = 4405, Retry.NEVER, "a hook of the application refused the edit"
    MESSAGE_EDIT_DISABLED = 4406, Retry.NEVER, "edits are switched off for this application"
    MESSAGE_RECALL_DISABLED = 4407, Retry.NEVER, "recalls are switched off for this application"
    MESSAGE_MODIFIED_BY_CENSORSHIP = 4408, Retry.NEVER, "the word filter changed the message"

    # Block and silence lists
    BLACKLIST_FULL = 4543, Retry.NEVER, "the block list is full"
    BLACKLIST_FEATURE_DISABLED = 4544, Retry.NEVER, "block lists are switched off here"
    BLACKLIST_SIGNATURE_FAILED = (
        4546,
        Retry.NEVER,
        "the signature of the operation is wrong, missing or expired: get a new one",
    )
    BLOCKED_BY_CONV = 4548, Retry.NEVER, "the conversation blocks this client"
    SILIENCED_MEMBER_LIST_FULL = 4561, Retry.NEVER, "the silence list is full"
    SILIENCED = 4563, Retry.NEVER, "this client is silenced here"

    # Raised by SDKs themselves
    OWNER_PROMOTION_NOT_ALLOWED = 5130, Retry.NEVER, "ownership cannot be given away"
