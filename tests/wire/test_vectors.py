"""Frames of the published JavaScript SDK, byte by byte."""

from __future__ import annotations

import pytest

from tests.wire.oracle import google_proto2
from trio_realtime.wire import (
    AckCommand,
    BlacklistCommand,
    CommandType,
    ConvCommand,
    ConvMemberInfo,
    DirectCommand,
    GenericCommand,
    JsonObjectMessage,
    LogsCommand,
    OpType,
    PatchCommand,
    PatchItem,
    QueryDirection,
    ReadCommand,
    ReadTuple,
    SessionCommand,
    decode,
    encode,
)

CID = "5f0000000000000000000001"

VECTORS = [
    pytest.param("080e2807", GenericCommand(cmd=CommandType.ECHO, i=7), id="echo"),
    pytest.param(
        "080010011a08616263646566676822026e622801b20643220d6a732f352e302e302d72632e3828003a2466383437393335302d383332362d346237352d383033322d3936656563383731613761339001cfc296d49f349801bb01",
        GenericCommand(
            cmd=CommandType.SESSION,
            op=OpType.OPEN,
            app_id="abcdefgh",
            peer_id="nb",
            i=1,
            session_message=SessionCommand(
                ua="js/5.0.0-rc.8",
                r=False,
                device_id="f8479350-8326-4b75-8032-96eec871a7a3",
                last_patch_time=1795204424015,
                config_bitmap=187,
            ),
        ),
        id="session-open",
    ),
    pytest.param(
        "080010011a0861626364656667682801b20643220d6a732f352e302e302d72632e3828003a2466383437393335302d383332362d346237352d383033322d3936656563383731613761339001cfc296d49f349801bb01",
        GenericCommand(
            cmd=CommandType.SESSION,
            op=OpType.OPEN,
            app_id="abcdefgh",
            i=1,
            session_message=SessionCommand(
                ua="js/5.0.0-rc.8",
                r=False,
                device_id="f8479350-8326-4b75-8032-96eec871a7a3",
                last_patch_time=1795204424015,
                config_bitmap=187,
            ),
        ),
        id="session-open-without-client-id",
    ),
    pytest.param(
        "0800100422066c6565796568282a",
        GenericCommand(cmd=CommandType.SESSION, op=OpType.CLOSE, peer_id="leeyeh", i=42),
        id="session-close",
    ),
    pytest.param(
        "080010072821b20606420161420162",
        GenericCommand(
            cmd=CommandType.SESSION,
            op=OpType.QUERY,
            i=33,
            session_message=SessionCommand(session_peer_ids=["a", "b"]),
        ),
        id="session-query",
    ),
    pytest.param(
        "0800100c2204666f7572282db20621220d6a732f352e302e302d72632e385210746f6b31373935323034323532393139",
        GenericCommand(
            cmd=CommandType.SESSION,
            op=OpType.REFRESH,
            peer_id="four",
            i=45,
            session_message=SessionCommand(ua="js/5.0.0-rc.8", st="tok1795204252919"),
        ),
        id="session-refresh",
    ),
    pytest.param(
        "0801101e2802f2062a0a066c65657965680a05776368656e1801ba06160a147b22666f6f223a312c226e616d65223a226e227d",
        GenericCommand(
            cmd=CommandType.CONV,
            op=OpType.START,
            i=2,
            conv_message=ConvCommand(
                m=["leeyeh", "wchen"],
                unique=True,
                attr=JsonObjectMessage(data='{"foo":1,"name":"n"}'),
            ),
        ),
        id="start-unique",
    ),
    pytest.param(
        "0801101e2803f206230a066c656579656810011800d80100ba06110a0f7b226e616d65223a22726f6f6d227d",
        GenericCommand(
            cmd=CommandType.CONV,
            op=OpType.START,
            i=3,
            conv_message=ConvCommand(
                m=["leeyeh"],
                transient=True,
                unique=False,
                temp_conv=False,
                attr=JsonObjectMessage(data='{"name":"room"}'),
            ),
        ),
        id="start-chat-room",
    ),
    pytest.param(
        "0801101e2804f2061f0a066c65657965680a05776368656e1801d80101e001901cba06040a027b7d",
        GenericCommand(
            cmd=CommandType.CONV,
            op=OpType.START,
            i=4,
            conv_message=ConvCommand(
                m=["leeyeh", "wchen"],
                unique=True,
                temp_conv=True,
                temp_conv_ttl=3600,
                attr=JsonObjectMessage(data="{}"),
            ),
        ),
        id="start-temporary",
    ),
    pytest.param(
        "080110072805f206095000aa06040a027b7d",
        GenericCommand(
            cmd=CommandType.CONV,
            op=OpType.QUERY,
            i=5,
            conv_message=ConvCommand(flag=0, where=JsonObjectMessage(data="{}")),
        ),
        id="conv-query",
    ),
    pytest.param(
        "080110022811f206200a01620a01612218356630303030303030303030303030303030303030303031",
        GenericCommand(
            cmd=CommandType.CONV,
            op=OpType.ADD,
            i=17,
            conv_message=ConvCommand(m=["b", "a"], cid=CID),
        ),
        id="conv-add",
    ),
    pytest.param(
        "080228083801c206770a207b225f6c6374657874223a2268656c6c6f222c225f6c6374797065223a2d317d50015a18356630303030303030303030303030303030303030303031722436666162346631302d393935662d346238612d613932642d38323236643932383733613782010d7b22616c657274223a2278227da80100",
        GenericCommand(
            cmd=CommandType.DIRECT,
            i=8,
            priority=1,
            direct_message=DirectCommand(
                msg='{"_lctext":"hello","_lctype":-1}',
                r=True,
                cid=CID,
                dt="6fab4f10-995f-4b8a-a92d-8226d92873a7",
                push_data='{"alert":"x"}',
                mention_all=False,
            ),
        ),
        id="direct-text",
    ),
    pytest.param(
        "0802280bc206495a18356630303030303030303030303030303030303030303031722434363734363565302d643964312d346532352d396135392d3763303866333332363331339a0103010203a80100",
        GenericCommand(
            cmd=CommandType.DIRECT,
            i=11,
            direct_message=DirectCommand(
                cid=CID,
                dt="467465e0-d9d1-4e25-9a59-7c08f3326313",
                binary_msg=b"\x01\x02\x03",
                mention_all=False,
            ),
        ),
        id="direct-binary",
    ),
    pytest.param(
        "0806280fea06370a18356630303030303030303030303030303030303030303031100a20e80728d00f32016e3a016d5002580168ffffffffffffffffff01",
        GenericCommand(
            cmd=CommandType.LOGS,
            i=15,
            logs_message=LogsCommand(
                cid=CID,
                l=10,
                t=1000,
                tt=2000,
                tmid="n",
                mid="m",
                direction=QueryDirection.NEW,
                t_included=True,
                lctype=-1,
            ),
        ),
        id="logs",
    ),
    pytest.param(
        "0812109601280e92073f0a3d0a1835663030303030303030303030303030303030303030303112164141414141414141414141414141414141414141414118bebe8bd49f3420014800",
        GenericCommand(
            cmd=CommandType.PATCH,
            op=OpType.MODIFY,
            i=14,
            patch_message=PatchCommand(
                patches=[
                    PatchItem(
                        cid=CID,
                        mid="AAAAAAAAAAAAAAAAAAAAAA",
                        timestamp=1795204243262,
                        recall=True,
                        mention_all=False,
                    )
                ]
            ),
        ),
        id="recall",
    ),
    pytest.param(
        "0803ca0628221835663030303030303030303030303030303030303030303138e1be8bd49f3440e1be8bd49f34",
        GenericCommand(
            cmd=CommandType.ACK,
            ack_message=AckCommand(cid=CID, fromts=1795204243297, tots=1795204243297),
        ),
        id="ack-range",
    ),
    pytest.param(
        "080bda063b1a390a1835663030303030303030303030303030303030303030303110e1be8bd49f341a1642424242424242424242424242424242424242424242",
        GenericCommand(
            cmd=CommandType.READ,
            read_message=ReadCommand(
                convs=[ReadTuple(cid=CID, timestamp=1795204243297, mid="BBBBBBBBBBBBBBBBBBBBBB")]
            ),
        ),
        id="read",
    ),
    pytest.param(
        "081410aa012819a2071d0a18356630303030303030303030303030303030303030303031120162",
        GenericCommand(
            cmd=CommandType.BLACKLIST,
            op=OpType.BLOCK,
            i=25,
            blacklist_message=BlacklistCommand(src_cid=CID, to_pids=["b"]),
        ),
        id="block",
    ),
    pytest.param(
        "080110b401281cf2061d0a01622218356630303030303030303030303030303030303030303031",
        GenericCommand(
            cmd=CommandType.CONV,
            op=OpType.ADD_SHUTUP,
            i=28,
            conv_message=ConvCommand(m=["b"], cid=CID),
        ),
        id="add-shutup",
    ),
    pytest.param(
        "08011035281ff206352218356630303030303030303030303030303030303030303031a20105776368656ed201100a05776368656e12074d616e61676572",
        GenericCommand(
            cmd=CommandType.CONV,
            op=OpType.MEMBER_INFO_UPDATE,
            i=31,
            conv_message=ConvCommand(
                cid=CID, target_client_id="wchen", info=ConvMemberInfo(pid="wchen", role="Manager")
            ),
        ),
        id="member-info-update",
    ),
]


@pytest.mark.parametrize(("frame", "command"), VECTORS)
def test_encode(frame, command):
    assert encode(command).hex() == frame


@pytest.mark.parametrize(("frame", "command"), VECTORS)
def test_decode(frame, command):
    assert decode(bytes.fromhex(frame)) == command


@pytest.mark.parametrize(("frame", "command"), VECTORS)
def test_vectors_are_frames_of_the_proto2_original(frame, command):
    theirs = google_proto2("GenericCommand").FromString(bytes.fromhex(frame))
    assert theirs.SerializeToString().hex() == frame
    assert theirs.cmd == command.cmd


@pytest.mark.parametrize(("frame", "command"), VECTORS)
def test_fields_may_come_in_any_order(frame, command):
    pieces = list(google_pieces(bytes.fromhex(frame)))
    assert decode(b"".join(reversed(pieces))) == command


def google_pieces(frame):
    """The frame cut into one piece for each top-level field."""
    whole = google_proto2("GenericCommand").FromString(frame)
    for field, _ in whole.ListFields():
        piece = google_proto2("GenericCommand").FromString(frame)
        for other, _ in whole.ListFields():
            if other.name != field.name:
                piece.ClearField(other.name)
        yield piece.SerializePartialToString()
