"""Every method, option, property and event that LeanCloud's guides describe, by guide.

Names as the page ``docs/coming-from-leancloud.md`` writes them, each line with what its names
are; those of the line ``-`` speak for themselves. Of the two editions of the guide of version 3,
the second inventory has only what the newer one no longer mentions.
"""

from __future__ import annotations

from collections.abc import Iterator

VERSION_3 = """
- new_Realtime Realtime#createIMClient createIMClient createIMClient(user) AV.User.logIn AV.init
- Realtime#on IMClient#on Conversation#on Realtime#retry Realtime#pause Realtime#resume
- IMClient#close IMClient#createConversation IMClient#getConversation IMClient#getQuery
- Conversation#save Conversation#mute Conversation#count Conversation#join Conversation#add
- Conversation#quit Conversation#remove Conversation#send Conversation#read Conversation#recall
- Conversation#update Conversation#queryMessages Conversation#createMessagesIterator
- MessageIterator#next result.value result.done Realtime#register
option appId appKey region noBinary plugins pushOfflineMessages tag
event conflict disconnect offline online schedule retry reconnect
option members name unique transient|of_a_conversation
- location type pinned conversation.type
property id name members creator transient system mutedMembers muted createdAt updatedAt
property lastMessageAt lastMessage unreadMessagesCount lastDeliveredAt lastReadAt
field objectId m c tr sys mu lm
event membersjoined membersleft invited kicked
- payload.members payload.invitedBy payload.kickedBy
- ConversationQuery#find ConversationQuery#limit ConversationQuery#containsMembers
- ConversationQuery#withMembers ConversationQuery#equalTo ConversationQuery#notEqualTo
- ConversationQuery#greaterThan ConversationQuery#greaterThanOrEqualTo
- ConversationQuery#lessThan ConversationQuery#contains ConversationQuery#matches
- ConversationQuery#exists ConversationQuery#doesNotExist ConversationQuery#ascending
- ConversationQuery#addAscending ConversationQuery#descending ConversationQuery#addDescending
- ConversationQuery#compact ConversationQuery#withLastMessagesRefreshed
- equalTo('tr',_true) equalTo('sys',_true)
event message messages
- TypedMessagesPlugin leancloud-realtime-plugin-typed-messages new_AV.File file.save
- AV.File.withURL file.url file.metaData AV.GeoPoint
- TextMessage ImageMessage AudioMessage VideoMessage FileMessage LocationMessage RecalledMessage
type -1 -2 -3 -4 -5 -6
- setText setAttributes getText getAttributes getFile getLocation
- message.type TextMessage.TYPE
option priority transient|of_a_message receipt pushData will
- MessagePriority.HIGH MessagePriority.NORMAL MessagePriority.LOW
- setMentionList mentionAll getMentionList mentionedAll mentioned
property from cid id|of_a_message timestamp deliveredAt status
- MessageStatus.NONE MessageStatus.SENDING MessageStatus.SENT MessageStatus.DELIVERED
- MessageStatus.FAILED
- TypedMessage messageType messageField
event lastdeliveredatupdate lastreadatupdate unreadmessagescountupdate
option limit
event messagerecall messageupdate
option signatureFactory conversationSignatureFactory
- signatureResult.signature signatureResult.timestamp signatureResult.nonce AV.Cloud.rpc
key name messageClasses beforeMessageParse afterMessageParse
key onIMClientCreated onRealtimeCreated onConversationCreated onConversationCreate
- WebRTCPlugin
"""

VERSION_3_FIRST_EDITION = """
option reciept
event receipt unreadmessages
- setTransient payload.count payload.lastMessageId payload.lastMessageTimestamp
- Conversation#markAsRead IMClient#markAllAsRead
"""

README = """
- leancloud-realtime-plugin-groupchat-receipts
property lastReadTimestamps
event lastreadtimestampsupdate
- DEBUG=LC* localStorage.setItem('debug',_'LC*')
"""

VERSION_2 = """
- AV.realtime AV.realtime.version realtime.config tool.encodeHTML
option WebSocket appId clientId authFun auth secure region encodeHTML
- RealtimeObject.open RealtimeObject.close RealtimeObject.on RealtimeObject.once
- RealtimeObject.off RealtimeObject.emit RealtimeObject.ping RealtimeObject.query
- RealtimeObject.conv RealtimeObject.room RealtimeObject.conv(id) RealtimeObject.room(id)
option attr members name unique transient|of_a_conversation
option where sort limit skip compact withLastMessages
- where.m where.roomIds where.convIds
- RoomObject.id RoomObject.name RoomObject.attr
- RoomObject.add RoomObject.remove RoomObject.join RoomObject.leave RoomObject.list
- RoomObject.send RoomObject.receive RoomObject.receipt RoomObject.log RoomObject.count
- RoomObject.update
option receipt transient|of_a_message type|of_a_message
- text image audio video location file
key text attr url metaData _lctype
- name format height width size
option t mid limit
event open close create invited membersjoined kicked membersleft join left message reuse
event receipt error
- data.cid
"""


def _names(listing: str) -> Iterator[str]:
    for line in listing.split("\n"):
        kind, _, names = line.partition(" ")
        for name in names.split():
            # An underscore stands for a space, but at the beginning for itself.
            spelled = name[0] + name[1:].replace("_", " ").replace("|", " ")
            yield spelled if kind == "-" else f"{kind} {spelled}"


INVENTORY = {
    guide: set(_names(listing))
    for guide, listing in {
        "version 3": VERSION_3,
        "version 3, first edition": VERSION_3_FIRST_EDITION,
        "readme": README,
        "version 2": VERSION_2,
    }.items()
}
