"""The wire layer: the messages of the protocol, and their bytes.

Every message class is generated from ``protos/realtime.proto``. Fields are in snake case
(``from`` is ``from_``), None means absent, which is different from zero, and repeated fields
are lists. Construct them with keywords: constructing is cheap, and a command whose fields
are set in the order of the schema is the fastest to encode.

Protocol: docs/protocol/schema.md.
"""

from __future__ import annotations

from betterproto2 import Message as _Message

from ._codec import decode, decode_message, encode, encode_message
from ._construct import make_construction_cheap as _make_construction_cheap
from ._errors import WireError
from ._flat_json import decode_json, encode_json
from ._generated import realtime as _realtime
from ._generated.realtime import (
    AckCommand,
    AndroidVersion,
    BlacklistCommand,
    CommandType,
    ConvCommand,
    ConvMemberInfo,
    DataCommand,
    DirectCommand,
    ErrorCommand,
    GenericCommand,
    JsonObjectMessage,
    LoggedinCommand,
    LoginCommand,
    LogItem,
    LogsCommand,
    MaxReadTuple,
    OpType,
    PatchCommand,
    PatchItem,
    PresenceCommand,
    PubsubCommand,
    RcpCommand,
    ReadCommand,
    ReadTuple,
    ReportCommand,
    RoomCommand,
    SemanticVersion,
    SessionCommand,
    StatusType,
    SystemInfo,
    UnreadCommand,
    UnreadTuple,
)
from ._generated.realtime import (
    LogsCommandQueryDirection as QueryDirection,
)
from ._generated.realtime import (
    SystemInfoDeviceType as DeviceType,
)
from ._peer import with_peer

__all__ = [
    "AckCommand",
    "AndroidVersion",
    "BlacklistCommand",
    "CommandType",
    "ConvCommand",
    "ConvMemberInfo",
    "DataCommand",
    "DeviceType",
    "DirectCommand",
    "ErrorCommand",
    "GenericCommand",
    "JsonObjectMessage",
    "LogItem",
    "LoggedinCommand",
    "LoginCommand",
    "LogsCommand",
    "MaxReadTuple",
    "OpType",
    "PatchCommand",
    "PatchItem",
    "PresenceCommand",
    "PubsubCommand",
    "QueryDirection",
    "RcpCommand",
    "ReadCommand",
    "ReadTuple",
    "ReportCommand",
    "RoomCommand",
    "SemanticVersion",
    "SessionCommand",
    "StatusType",
    "SystemInfo",
    "UnreadCommand",
    "UnreadTuple",
    "WireError",
    "decode",
    "decode_json",
    "decode_message",
    "encode",
    "encode_json",
    "encode_message",
    "with_peer",
]

for _name in _realtime.__all__:
    if issubclass(_class := getattr(_realtime, _name), _Message):
        _make_construction_cheap(_class)
