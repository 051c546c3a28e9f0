"""Which rule answers which conversation command. ``max_read`` is among the messages."""

from __future__ import annotations

from trio_realtime.wire import CommandType, OpType

from .block import block, check_block, query_blocked, unblock
from .lookups import count, is_member, members, mute, unmute
from .member_info import member_info_update
from .members import add, remove
from .query import query
from .silence import add_shutup, check_shutup, query_shutup, remove_shutup
from .start import start
from .types import Handler
from .update import update

CONVERSATION_HANDLERS: dict[tuple[CommandType, OpType | None], Handler] = {
    (CommandType.CONV, OpType.START): Handler(start),
    (CommandType.CONV, OpType.QUERY): Handler(query, writes=False, slow=True),
    (CommandType.CONV, OpType.UPDATE): Handler(update),
    (CommandType.CONV, OpType.ADD): Handler(add),
    (CommandType.CONV, OpType.REMOVE): Handler(remove),
    (CommandType.CONV, OpType.COUNT): Handler(count, writes=False),
    (CommandType.CONV, OpType.MEMBERS): Handler(members, writes=False),
    (CommandType.CONV, OpType.IS_MEMBER): Handler(is_member, writes=False),
    (CommandType.CONV, OpType.MUTE): Handler(mute),
    (CommandType.CONV, OpType.UNMUTE): Handler(unmute),
    (CommandType.CONV, OpType.MEMBER_INFO_UPDATE): Handler(member_info_update),
    (CommandType.CONV, OpType.ADD_SHUTUP): Handler(add_shutup),
    (CommandType.CONV, OpType.REMOVE_SHUTUP): Handler(remove_shutup),
    (CommandType.CONV, OpType.QUERY_SHUTUP): Handler(query_shutup, writes=False),
    (CommandType.CONV, OpType.CHECK_SHUTUP): Handler(check_shutup, writes=False),
    (CommandType.BLACKLIST, OpType.BLOCK): Handler(block),
    (CommandType.BLACKLIST, OpType.UNBLOCK): Handler(unblock),
    (CommandType.BLACKLIST, OpType.QUERY): Handler(query_blocked, writes=False),
    (CommandType.BLACKLIST, OpType.CHECK_BLOCK): Handler(check_block, writes=False),
}
