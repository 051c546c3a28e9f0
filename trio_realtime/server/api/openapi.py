"""``/openapi.json``: the table of routes as OpenAPI 3.1 has it.

Methods, paths and summaries are read off the routes; what they take besides stands here, by the
endpoint's name.

Protocol: docs/protocol/rest.md.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import attrs

from trio_realtime._version import __version__
from trio_realtime.server.http import Request, Response, Route, Router

Json = dict[str, Any]

TEXTS: Json = {"type": "array", "items": {"type": "string"}}
SCHEMAS: Mapping[str, Json] = {
    "text": {"type": "string"},
    "int": {"type": "integer"},
    "flag": {"type": "boolean"},
    "object": {"type": "object"},
    "texts": TEXTS,
    "one-or-more": {"oneOf": [{"type": "string"}, TEXTS]},
    "objects": {"type": "array", "items": {"type": "object"}},
    "message": {"type": ["string", "object"]},
    "json": {"type": "string", "contentMediaType": "application/json"},
    "binary": {"type": "string", "format": "binary"},
}
"""The types of values, by the names that they have below."""

NOTHING, APP, MASTER, MEMBER = "nothing", "app", "master", "member"
SECURITY: Mapping[str, list[Json]] = {
    NOTHING: [],
    APP: [{"appId": [], "key": []}, {"appId": [], "sign": []}],
    MASTER: [{"appId": [], "masterKey": []}, {"appId": [], "masterSign": []}],
    MEMBER: [
        {"appId": [], "key": [], "session": []},
        {"appId": [], "sign": [], "session": []},
        {"appId": [], "masterKey": []},
        {"appId": [], "masterSign": []},
    ],
}
"""What a request shows, each line one way."""


def _header(name: str, description: str) -> Json:
    return {"type": "apiKey", "in": "header", "name": name, "description": description}


SCHEMES: Mapping[str, Json] = {
    "appId": _header("X-LC-Id", "The id of the app."),
    "key": _header("X-LC-Key", "The app key."),
    "masterKey": _header("X-LC-Key", "The master key, followed by `,master`."),
    "sign": _header("X-LC-Sign", "`{md5},{ms}` made with the app key."),
    "masterSign": _header("X-LC-Sign", "`{md5},{ms},master` made with the master key."),
    "session": _header("X-LC-IM-Session-Token", "The token of a login."),
}


@attrs.frozen
class Takes:
    """What an endpoint takes: ``name:type`` each, with ``!`` where it must be given.

    A body of ``*`` is an object of any names.
    """

    query: str = ""
    body: str | None = None
    shows: str = MASTER
    status: int = 200


LIST = "limit:int next:text"
PAGE = "limit:int skip:int"
QUERY = f"where:json order:text {PAGE}"
HISTORY = (
    "timestamp:int msgid:text till_timestamp:int till_msgid:text include_start:flag "
    "include_stop:flag reversed:flag limit:int"
)
VIEWER = "nonce:text signature_ts:int signature:text"
SENDING = (
    "message:message! to_clients:one-or-more transient:flag no_sync:flag push_data:message priority:text "
    "mention_all:flag mention_client_ids:one-or-more"
)
WHO = "client_id:text client_ids:one-or-more"
NAMED = "from_client:text! timestamp:int!"
BROADCAST = "conv_id:text! message:message! push:message valid_till:int transient:flag"
INSTALLATION = (
    "deviceType:text deviceToken:text installationId:text registrationId:text channels:texts"
)
FILE = "name:text! mime_type:text metaData:object"

TAKES: Mapping[str, Takes] = {
    "OpenApi.document": Takes(shows=NOTHING),
    "SdkEndpoints.healthz": Takes(shows=NOTHING),
    "SdkEndpoints.metrics": Takes(shows=NOTHING),
    "SdkEndpoints.rtm_route": Takes("appId:text! secure:flag", shows=NOTHING),
    "SdkEndpoints.app_route": Takes("appId:text!", shows=NOTHING),
    "SdkEndpoints.sign": Takes(body="session_token:text!", shows=APP),
    "SdkEndpoints.sign_for_query": Takes("session_token:text!", shows=APP),
    "SdkEndpoints.notifications": Takes(
        "client_id:text! start_ts:int limit:int notification_type:text", shows=MEMBER
    ),
    "SdkEndpoints.date": Takes(shows=NOTHING),
    "Files.announce": Takes(body=f"{FILE} key:text keep_file_name:flag", shows=APP, status=201),
    "Files.upload": Takes(body="binary", shows=NOTHING),
    "Files.callback": Takes(body="token:text! result:flag!", shows=APP),
    "Files.add_external": Takes(body=f"{FILE} url:text!", shows=APP, status=201),
    "Files.describe": Takes(shows=APP),
    "Files.find": Takes(shows=APP),
    "Files.change": Takes(body="*", shows=APP),
    "Files.download": Takes(shows=NOTHING),
    "History.messages": Takes(f"{HISTORY} client_id:text {VIEWER}", shows=MEMBER),
    "History.feed": Takes(HISTORY),
    "History.sent_by": Takes(HISTORY),
    "History.told_to": Takes(HISTORY),
    "History.messages_of_1_1": Takes(
        f"convid:text from:text max_ts:int msgid:text limit:int reversed:flag peerid:text {VIEWER}",
        shows=MEMBER,
    ),
    "Conversations.create": Takes(body="*", status=201),
    "Conversations.find": Takes(QUERY),
    "Conversations.update": Takes(body="*"),
    "Conversations.add": Takes(body="client_ids:one-or-more!"),
    "Conversations.remove": Takes(body="client_ids:one-or-more!"),
    "Conversations.mute": Takes(body="client_ids:one-or-more!"),
    "Conversations.unmute": Takes(body="client_ids:one-or-more!"),
    "Conversations.room_members": Takes("limit:int"),
    "Messages.send": Takes(body=f"from_client:text! {SENDING}"),
    "Messages.edit": Takes(body=f"{NAMED} message:message! to_clients:one-or-more"),
    "Messages.recall": Takes(body=f"{NAMED} to_clients:one-or-more"),
    "Messages.delete": Takes(NAMED),
    "Moderation.block": Takes(WHO, WHO),
    "Moderation.unblock": Takes(WHO, WHO),
    "Moderation.blocked": Takes(LIST),
    "Moderation.silence": Takes(WHO, WHO),
    "Moderation.lift_silence": Takes(WHO, WHO),
    "Moderation.silenced": Takes(LIST),
    "Moderation.silence_for_a_while": Takes(body="client_id:text! ttl:int"),
    "Moderation.set_role": Takes(body="clientId:text! role:text!"),
    "Moderation.change_role": Takes(body="role:text!"),
    "Moderation.roles": Takes(PAGE),
    "Moderation.block_for_client": Takes(body="conv_id:text!"),
    "Moderation.unblock_for_client": Takes("conv_id:text", "conv_id:text"),
    "Moderation.blocked_by_client": Takes(LIST),
    "Clients.check_online": Takes(body="client_ids:one-or-more!"),
    "Clients.check_online_1_1": Takes(body="peers:one-or-more!"),
    "Clients.unread_count": Takes("conv_id:text", shows=APP),
    "Clients.kick": Takes(body="reason:text"),
    "Clients.kick_1_1": Takes(body="client_id:text! reason:text"),
    "Clients.subscriptions": Takes("conv_id:text timestamp:int limit:int direction:text"),
    "ServiceConversations.subscribe": Takes(body="client_id:text!"),
    "ServiceConversations.subscribers": Takes("limit:int client_id:text"),
    "ServiceConversations.delete": Takes(NAMED),
    "ServiceConversations.broadcast": Takes(body="from_client:text! message:message! push:message"),
    "ServiceConversations.broadcast_1_1": Takes(
        body="from_peer:text! conv_id:text! message:message! push:message"
    ),
    "ServiceConversations.subscribe_1_1": Takes(body="conv_id:text! client_id:text!"),
    "ServiceConversations.unsubscribe_1_1": Takes(
        "conv_id:text client_id:text", "conv_id:text client_id:text"
    ),
    "Batch.run": Takes(body="requests:objects!", shows=NOTHING),
    "Batch.save": Takes(body="requests:objects!", shows=NOTHING),
    "Broadcasts.send": Takes(body=f"from_client:text! {BROADCAST}"),
    "Broadcasts.send_1_1": Takes(body=f"from_peer:text! {BROADCAST}"),
    "Broadcasts.valid": Takes(f"conv_id:text {PAGE}"),
    "Broadcasts.withdraw_1_1": Takes("mid:text", "mid:text"),
    "Classes.find": Takes(f"{QUERY} count:text keys:text include:text"),
    "Classes.create": Takes(body="*", status=201),
    "Classes.show": Takes("keys:text"),
    "Classes.update": Takes(body="*"),
    "Classes.member_infos": Takes(f"where:json {PAGE}", shows=MEMBER),
    "Classes.service_messages": Takes("where:json limit:int"),
    "Installations.register": Takes("fetchWhenSave:flag", INSTALLATION, shows=APP, status=201),
    "Installations.show": Takes("keys:text", shows=APP),
    "Installations.update": Takes("fetchWhenSave:flag", INSTALLATION, shows=APP),
    "Installations.find": Takes(f"{QUERY} count:text keys:text"),
    "VersionOne.send": Takes(body=f"from_peer:text! conv_id:text! {SENDING}"),
    "VersionOne.edit": Takes(
        body="to:text! msg-id:text! from:text! timestamp:int! data:text! bin:flag"
    ),
    "VersionOne.patch": Takes(
        body="conv_id:text! msg-id:text! from_client:text! timestamp:int message:message recall:flag"
    ),
    "VersionOne.delete": Takes(
        "convid:text msgid:text from:text timestamp:int",
        "convid:text msgid:text from:text timestamp:int",
    ),
    "VersionOne.room_count": Takes("gid:text!", shows=APP),
    "VersionOne.silence": Takes(body="conv_id:text! client_id:text! ttl:int"),
    "VersionOne.lift_silence": Takes("conv_id:text client_id:text", "conv_id:text client_id:text"),
    "Imports.take": Takes("dry_run:flag", "binary"),
    "ImportedFiles.missing": Takes(body="urls:one-or-more!"),
    "ImportedFiles.take": Takes("url:text! sha256:text! type:text", "binary"),
}
"""By endpoint; one that is not here takes the master key and what its path says."""


@attrs.frozen
class OpenApi:
    """The endpoint; `routes` enters it into a router."""

    router: Router

    def routes(self, router: Router) -> None:
        """Register the endpoint."""
        router.add("GET", "/openapi.json", self.document)

    async def document(self, _request: Request) -> Response:
        """Describe the REST API."""
        return Response(body=_text(self.router.routes))


@lru_cache(1)
def _text(routes: tuple[Route, ...]) -> bytes:
    return json.dumps(described(routes)).encode()


def described(routes: Iterable[Route]) -> Json:
    """The document about these routes."""
    paths: dict[str, Json] = {}
    named: dict[str, str] = {}
    for route in routes:
        # Templates that differ in their names only are one path.
        path = named.setdefault(re.sub(r"{\w+}", "{}", route.path), route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, path)
    return {
        "openapi": "3.1.0",
        "info": {"title": "trio-realtime", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "properties": {"code": {"type": "integer"}, "error": {"type": "string"}},
                    "required": ["code", "error"],
                }
            },
            "securitySchemes": dict(SCHEMES),
        },
    }


def name_of(route: Route) -> str:
    """The endpoint of a route, as `TAKES` names it."""
    return str(getattr(route.endpoint, "__qualname__", ""))


def _operation(route: Route, path: str) -> Json:
    name = name_of(route)
    takes = TAKES.get(name, Takes())
    tag, _, function = name.rpartition(".")
    documented = inspect.getdoc(route.endpoint)
    summary = documented.partition("\n")[0] if documented else function.replace("_", " ")
    parameters: list[Json] = [
        {"name": one, "in": "path", "required": True, "schema": SCHEMAS["text"]}
        for one in re.findall(r"{(\w+)}", path)
    ]
    for one, schema, required in _values(takes.query):
        parameters.append({"name": one, "in": "query", "required": required, "schema": schema})
    operation: Json = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_"),
        "tags": [tag],
        "summary": summary,
        "parameters": parameters,
        "security": SECURITY[takes.shows],
        "responses": {
            str(takes.status): {"description": "Done."},
            "default": {
                "description": "An error.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if takes.body is not None:
        operation["requestBody"] = _body(takes.body)
    return operation


def _body(body: str) -> Json:
    if body == "binary":
        content: Json = {"application/octet-stream": {"schema": SCHEMAS["binary"]}}
        return {"required": True, "content": content}
    schema: Json = {"type": "object"}
    if body != "*":
        values = list(_values(body))
        schema["properties"] = {name: value for name, value, _ in values}
        if required := [name for name, _, needed in values if needed]:
            schema["required"] = required
    return {"required": "required" in schema, "content": {"application/json": {"schema": schema}}}


def _values(text: str) -> Iterable[tuple[str, Json, bool]]:
    for one in text.split():
        name, _, kind = one.partition(":")
        yield name, SCHEMAS[kind.removesuffix("!")], kind.endswith("!")
