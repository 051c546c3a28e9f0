"""Every method, option, property and event that LeanCloud's guides describe, by guide.

Names as the page ``docs/coming-from-leancloud.md`` writes them; of the two editions of the
guide of version 3, the second inventory has only what the newer one no longer mentions.
"""

from __future__ import annotations

VERSION_3 = """
Realtime#createIMClient new Realtime createIMClient createIMClient(user) AV.User.logIn
appId appKey AV.init region noBinary plugins pushOfflineMessages tag
IMClient#close conflict
Realtime#on IMClient#on Conversation#on
disconnect offline online schedule retry reconnect
Realtime#retry Realtime#pause Realtime#resume
IMClient#createConversation members name unique transient location type pinned
IMClient#getConversation Conversation#save Conversation#mute Conversation#count
Conversation#join Conversation#add Conversation#quit Conversation#remove
id objectId m creator c tr system sys mutedMembers mu muted createdAt updatedAt
lastMessageAt lm lastMessage unreadMessagesCount lastDeliveredAt lastReadAt conversation.type
membersjoined membersleft invited kicked payload.members payload.invitedBy payload.kickedBy
IMClient#getQuery ConversationQuery#find ConversationQuery#limit
ConversationQuery#containsMembers ConversationQuery#withMembers ConversationQuery#equalTo
ConversationQuery#notEqualTo ConversationQuery#greaterThan
ConversationQuery#greaterThanOrEqualTo ConversationQuery#lessThan ConversationQuery#contains
ConversationQuery#matches ConversationQuery#exists ConversationQuery#doesNotExist
ConversationQuery#ascending ConversationQuery#addAscending ConversationQuery#descending
ConversationQuery#addDescending ConversationQuery#compact
ConversationQuery#withLastMessagesRefreshed equalTo('tr',true) equalTo('sys',true)
Conversation#send message messages TextMessage TypedMessagesPlugin
leancloud-realtime-plugin-typed-messages
new AV.File file.save AV.File.withURL file.url file.metaData
ImageMessage AudioMessage VideoMessage FileMessage LocationMessage AV.GeoPoint
-1 -2 -3 -4 -5 -6
setText setAttributes getText getAttributes getFile getLocation message.type TextMessage.TYPE
priority MessagePriority.HIGH MessagePriority.NORMAL MessagePriority.LOW
receipt pushData will
setMentionList mentionAll getMentionList mentionedAll mentioned
from cid timestamp deliveredAt status
MessageStatus.NONE MessageStatus.SENDING MessageStatus.SENT MessageStatus.DELIVERED
MessageStatus.FAILED
TypedMessage messageType messageField Realtime#register
lastdeliveredatupdate lastreadatupdate Conversation#read unreadmessagescountupdate
Conversation#queryMessages limit Conversation#createMessagesIterator MessageIterator#next
result.value result.done Conversation#recall Conversation#update RecalledMessage
messagerecall messageupdate
signatureFactory conversationSignatureFactory signatureResult.signature
signatureResult.timestamp signatureResult.nonce AV.Cloud.rpc
messageClasses beforeMessageParse afterMessageParse onIMClientCreated onRealtimeCreated
onConversationCreated onConversationCreate WebRTCPlugin
"""

VERSION_3_FIRST_EDITION = """
reciept setTransient unreadmessages payload.count payload.lastMessageId
payload.lastMessageTimestamp Conversation#markAsRead IMClient#markAllAsRead
"""

README = """
leancloud-realtime-plugin-groupchat-receipts DEBUG=LC* localStorage.setItem('debug','LC*')
"""

VERSION_2 = """
AV.realtime AV.realtime.version realtime.config WebSocket tool.encodeHTML
appId clientId authFun auth secure region encodeHTML
RealtimeObject.open RealtimeObject.close RealtimeObject.on RealtimeObject.once
RealtimeObject.off RealtimeObject.emit
RealtimeObject.conv RealtimeObject.room RealtimeObject.conv(id) RealtimeObject.room(id)
attr members name unique transient
RealtimeObject.query where sort limit skip compact withLastMessages
where.m where.roomIds where.convIds
RealtimeObject.ping
RoomObject.id RoomObject.name RoomObject.attr
RoomObject.add RoomObject.remove RoomObject.join RoomObject.leave RoomObject.list
RoomObject.send RoomObject.receive RoomObject.receipt RoomObject.log RoomObject.count
RoomObject.update
receipt type text image audio video location file url metaData format height width size _lctype
t mid
open close create invited membersjoined kicked membersleft join left message reuse error
data.cid
"""


def _names(listing: str) -> list[str]:
    # Two names have a space after `new`, which is no separator.
    return listing.replace("new ", "new_").split()


def _spelled(name: str) -> str:
    return name.replace("new_", "new ").replace("',true", "', true").replace("','", "', '")


INVENTORY = {
    guide: [_spelled(name) for name in _names(listing)]
    for guide, listing in {
        "version 3": VERSION_3,
        "version 3, first edition": VERSION_3_FIRST_EDITION,
        "readme": README,
        "version 2": VERSION_2,
    }.items()
}
