"""A service as its documentation describes it: pages, limits, keys; and what goes wrong with it.

It runs inside a test over memory streams, or as a program of its own would see it, on a port.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime

from tests.rest.endpoint import Broken, Endpoint, Reply

APP, KEY = "shop-production", "secret-of-the-operator"
START = 1_760_000_000_000
LARGEST_PAGE = 1000

UNAUTHORIZED = Reply({"code": 401, "error": "Unauthorized."}, 401)
TOO_MUCH = Reply({"code": 429, "error": "Too many requests."}, 429)
BAD_GATEWAY = Reply(b"<html>Bad Gateway</html>", 502)
MISSING = Reply({"code": 404, "error": "Not found."}, 404)


def iso(ms):
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message(number, at, cid, *, body=None, sender="ann", room=False):
    return {
        "msg-id": f"m{number:08d}",
        "timestamp": at,
        "conv-id": f"{cid}00000000",
        "to": cid,
        "from": sender,
        "data": f"message {number} \u2028 \U0001f600" if body is None else body,
        "bin": False,
        "is-conv": True,
        "is-room": room,
        "from-ip": "198.51.100.7",
    }


def conversation(number, at, **columns):
    return {
        "objectId": f"{0x64B0C0FFEE << 56 | number:024x}",
        "createdAt": iso(at),
        "updatedAt": iso(at),
        "name": f"chat {number}",
        "m": ["ann", "bob"],
        "c": "ann",
        **columns,
    }


class Service(Endpoint):
    """The data, and whoever asks for it."""

    def __init__(self, seed=0):
        super().__init__(self._answer)
        self.random = random.Random(seed)
        self.now = START
        self.messages = []
        self.conversations = []
        self.infos = []
        self.filed = []
        self.silenced = {}
        self.blocked = {}
        self.subscribers = {}
        self.files = {}
        self.largest_page = LARGEST_PAGE
        self.short_pages = 0.0
        """How many of all pages are shorter than they might be."""
        self.faults = []
        """Replies, or `Broken`, in place of the next answers."""
        self.fault_rate = 0.0
        self.unknown = set()
        """Paths, by their ends, that the service does not know."""
        self.before_answer = None

    # Filling it.

    def fill(self, conversations=5, messages=3000, days=9.0):
        """Messages at random times, several of them at one time, of all conversations."""
        for number in range(conversations):
            at = START + number
            kind = {1: {"tr": True, "m": None}, 2: {"sys": True}}.get(number % 5, {})
            self.conversations.append(conversation(number, at, **kind))
        cids = [row["objectId"] for row in self.conversations]
        span = int(days * 86_400_000)
        at = START
        for number in range(messages):
            # Bursts within one millisecond, also across the edges of pages.
            if self.random.random() < 0.7:
                at += self.random.randrange(1, max(2, 3 * span // messages))
            self.messages.append(message(number, at, self.random.choice(cids)))
        self.now = max(self.now, at) + 60_000

    def say(self, count=1, step=1000, **fields):
        """New messages, now."""
        for _ in range(count):
            self.now += step
            cid = self.conversations[len(self.messages) % len(self.conversations)]["objectId"]
            self.messages.append(message(len(self.messages), self.now, cid, **fields))
        self.now += 1

    def edit(self, number, body):
        """An edit shows in the body alone."""
        self.messages[number] = {**self.messages[number], "data": body}

    # Answering.

    def _answer(self, request):
        if self.before_answer is not None:
            self.before_answer(request)
        if request.path.startswith("/file/"):
            return self._file(request)
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            return fault
        if self.random.random() < self.fault_rate:
            fault = self.random.choice([TOO_MUCH, BAD_GATEWAY, None])
            if fault is None:
                raise Broken
            return fault
        if request.path == "/1.1/date":
            return Reply({"__type": "Date", "iso": iso(self.now)})
        headers = request.headers
        if headers.get("x-lc-id") != APP or headers.get("x-lc-key") != f"{KEY},master":
            return UNAUTHORIZED
        if any(request.path.endswith(path) for path in self.unknown):
            return MISSING
        return Reply(self._value(request))

    def _value(self, request):
        query = request.query
        match request.path.strip("/").split("/"):
            case ["1.2", "rtm", "messages"]:
                return self._history(query)
            case ["1.1", "classes", name]:
                return self._rows(name, query)
            case ["1.2", "rtm", _, cid, "permanent-silenceds"]:
                return self._listed(self.silenced.get(cid, []), query)
            case ["1.2", "rtm", _, cid, "blacklists"]:
                return self._listed(self.blocked.get(cid, []), query)
            case ["1.2", "rtm", "service-conversations", cid, "subscribers"]:
                names = self.subscribers.get(cid, [])
                after = names.index(query["client_id"]) + 1 if "client_id" in query else 0
                return [
                    {"timestamp": START, "subscriber": name, "conv_id": cid}
                    for name in names[after : after + min(int(query["limit"]), 50)]
                ]
        raise AssertionError(request.path)

    def _history(self, query):
        newer = query.get("reversed") == "true"
        limit = min(int(query.get("limit", 100)), self.largest_page)
        if self.random.random() < self.short_pages:
            limit = self.random.randrange(1, limit + 1)
        rows = sorted(
            self.messages, key=lambda row: (row["timestamp"], row["msg-id"]), reverse=not newer
        )

        def place(time, mid):
            return int(query[time]), query.get(mid)

        def beyond(row, at, mid):
            """Whether it lies behind a place, on the way down."""
            mine = (row["timestamp"], row["msg-id"])
            return mine < (at, mid) if mid else row["timestamp"] < at

        if int(query.get("timestamp", 0)) and not newer:
            start = place("timestamp", "msgid")
            rows = [row for row in rows if beyond(row, *start)]
        if int(query.get("till_timestamp", 0)) and not newer:
            till = int(query["till_timestamp"])
            rows = [row for row in rows if row["timestamp"] > till]
        return rows[:limit]

    def _rows(self, name, query):
        rows = {
            "_Conversation": self.conversations,
            "_ConversationMemberInfo": self.infos,
            "_SysMessage": self.filed,
        }[name]
        where = json.loads(query["where"])
        after = where.pop("objectId", {}).get("$gt", "")
        # Ids of its own and others are of two types: in one order, but never compared.
        rows = [
            row
            for row in rows
            if (not after or (own_id(after) == own_id(row["objectId"]) and row["objectId"] > after))
            and holds(where, row)
        ]
        keys = {
            "objectId": lambda row: (own_id(row["objectId"]), row["objectId"]),
            "createdAt,objectId": lambda row: (
                row["createdAt"], own_id(row["objectId"]), row["objectId"]
            ),
        }  # fmt: skip
        limit = min(int(query["limit"]), self.largest_page)
        skip = int(query.get("skip", 0))
        return {"results": sorted(rows, key=keys[query["order"]])[skip : skip + limit]}

    def _listed(self, names, query):
        start = int(query.get("next") or 0)
        end = start + 10
        more = {"next": str(end)} if end < len(names) else {}
        return {"client_ids": names[start:end], **more}

    def _file(self, request):
        found = self.files.get(request.path)
        if found is None:
            return Reply(b"gone", 404)
        if isinstance(found, Exception):
            raise found
        return Reply(found)


def own_id(name):
    return len(name) == 24 and all(letter in "0123456789abcdef" for letter in name)


def holds(where, row):
    for key, test in where.items():
        if key == "$or":
            if not any(holds(one, row) for one in test):
                return False
            continue
        value = row.get(key)
        value = value.get("iso") if isinstance(value, dict) else value
        if value is None or value < test["$gte"]["iso"]:
            return False
    return True
