# Runs the Python storage SDK through all that it knows of messaging, and says what it saw as one
# line of JSON: storage_client.py APP_ID APP_KEY MASTER_KEY SERVICE, with LC_API_SERVER set.
# Not a line of it is about our server. test_python_sdk.py is the other side.

from __future__ import annotations

import json
import sys
import threading

import leancloud
from leancloud import (
    Conversation,
    File,
    Installation,
    LeanCloudError,
    Message,
    Object,
    Query,
    SysMessage,
    User,
)

app_id, app_key, master_key, service_id = sys.argv[1:]
leancloud.init(app_id, app_key=app_key, master_key=master_key)

seen = {}


def refusal(function, *arguments):
    """The code with which something is refused."""
    try:
        function(*arguments)
    except LeanCloudError as error:
        return error.code
    return None


def texts(messages):
    return [json.loads(message.data)["_lctext"] for message in messages]


def text(said):
    return {"_lctype": -1, "_lctext": said}


seen["time"] = leancloud.client.get_server_time().timestamp()

# Conversations are rows.
chat = Conversation("lunch", is_unique=True)
for name in ("Tom", "Jerry", "Mary"):
    chat.add_member(name)
chat.set("topic", {"dish": "cheese", "guests": 3})
chat.save()
chat.remove("m", "Mary")
chat.set("topic.guests", 2)
chat.save()
again = Conversation.create_without_data(chat.id)
again.fetch()
seen["chat"] = {
    "id": chat.id,
    "name": again.name,
    "members": again.members,
    "muted": again.muted_members,
    "unique": again.is_unique,
    "topic": again.get("topic"),
    "created": again.created_at.timestamp(),
}
room = Conversation("hall", is_transient=True)
room.save()
room.fetch()
seen["room"] = {"id": room.id, "room": room.is_transient, "service": room.is_system}
Object.save_all([Conversation("batch 1"), Conversation("batch 2")])
query = Query("_Conversation").startswith("name", "batch").descending("name")
found = query.find()
seen["found"] = [one.get("name") for one in found]
seen["count"] = query.count()
seen["first"] = Conversation.query.contains_all("m", ["Tom", "Jerry"]).first().id
Object.destroy_all(found)
seen["gone"] = query.count()
seen["missing"] = refusal(Query("_Conversation").get, found[0].id)

# Messages.
for number in range(3):
    chat.send("Tom", text(f"hello {number}"))
chat.send("Tom", text("in passing"), transient=True)
chat.send("Tom", json.dumps(text("with a push")), push_data={"alert": "!"})
room.send("Tom", text("in the hall"))
rows = Message.find_by_conversation(chat.id)
seen["history"] = texts(rows)
row = rows[-1]
seen["row"] = {
    "sender": row.from_client,
    "to": row.to,
    "conversation": row.conversation_id,
    "address": row.from_ip,
    "id": row.message_id,
    "flags": [row.bin, row.is_conversation, row.is_room],
}
seen["upwards"] = texts(Message.find_by_conversation(chat.id, limit=2, reversed=True))
place = {"before_time": rows[1].timestamp, "before_message_id": rows[1].message_id}
seen["page"] = texts(Message.find_by_conversation(chat.id, limit=1, **place))
seen["sent"] = len(Message.find_by_client("Tom"))
seen["everything"] = len(Message.find_all(limit=100))
seen["nowhere"] = refusal(Conversation.create_without_data("0" * 24).send, "Tom", text("x"))

# Services.
service = Conversation("news", is_system=True)
service.save()
service.fetch()
service.send("editor", text("for Jerry alone"), to_clients=["Jerry"])
service.broadcast("editor", text("for everybody"), push_data={"alert": "!"})
seen["service"] = {"id": service.id, "service": service.is_system}
wrote = SysMessage.query.equal_to("conv", Conversation.create_without_data(service_id)).find()[0]
seen["wrote"] = {
    "from": wrote.from_client,
    "data": wrote.data,
    "binary": wrote.is_binary,
    "conversation": wrote.conversation.id,
    "at": wrote.message_created_at.timestamp(),
}

# Files.
file = File("three.bin", b"\x00\x01\x02")
file.save()
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join()
known = File.create_without_data(file.id)
known.fetch()
seen["file"] = {"url": file.url, "same": known.url == file.url, "name": known.name}
external = File.create_with_url("logo.jpg", "https://example.com/logo.jpg", {"width": 3})
external.save()
seen["external"] = {"url": external.url, "id": bool(external.id)}
seen["removed"] = refusal(file.destroy)
seen["unfetched"] = refusal(known.fetch)

# Installations.
device = Installation()
device.set("deviceType", "ios")
device.set("deviceToken", "abc")
device.add("channels", "Jerry")
device.save()
device.add_unique("channels", "news")
device.save()
(same,) = Query("_Installation").equal_to("channels", "news").find()
seen["device"] = {"same": same.id == device.id, "channels": same.get("channels")}

# Users are another service's, at the same address.
user = User()
seen["stranger"] = refusal(user.login, "tom", "wrong")
user.login("tom", "cheese")
seen["user"] = {"id": user.id, "token": user.session_token}
service.send("editor", text("as Tom"), to_clients=["Jerry"])

print(json.dumps(seen))
