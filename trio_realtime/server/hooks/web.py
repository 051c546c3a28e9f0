"""Hooks over HTTP: each call is a POST of the JSON of docs/protocol/rest.md §10."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from .types import (
    Amend,
    Body,
    ClientOffline,
    ClientOnline,
    ConversationStart,
    ConversationStarted,
    ConversationUpdate,
    Hooks,
    IncomingMessage,
    MemberChange,
    MessageUpdate,
    OfflineDecision,
    ReceiversOffline,
    Reject,
    Rewrite,
    SentMessage,
)

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]


class WebHookError(Exception):
    """The application's server did not answer as a hook should."""


def web_hooks(
    url: str,
    client: httpx.AsyncClient,
    *,
    headers: Mapping[str, str] | None = None,
    only: Sequence[str] | None = None,
) -> Hooks:
    """Hooks that POST to ``{url}/{name}``, such as ``https://example.com/_messageReceived``.

    The answer is the result as a JSON object, bare or as ``{"result": {...}}``; an empty
    body means no objection. ``headers`` go with every request, for instance
    ``{"X-LC-Hook-Key": "..."}``. ``only`` names the hooks that exist (``_messageReceived``,
    …); every call costs a request, so leave out what the application does not answer. The
    caller owns ``client``; time-outs are those of whoever calls the hooks.

    Protocol: docs/protocol/rest.md §10.
    """
    web = _Web(url.rstrip("/"), client, dict(headers or {}))
    functions: dict[str, Any] = {
        "_messageReceived": web.message_received,
        "_messageUpdate": web.message_update,
        "_messageSent": web.message_sent,
        "_receiversOffline": web.receivers_offline,
        "_conversationStart": web.conversation_start,
        "_conversationStarted": web.conversation_started,
        "_conversationAdd": web.conversation_add,
        "_conversationAdded": web.conversation_added,
        "_conversationRemove": web.conversation_remove,
        "_conversationRemoved": web.conversation_removed,
        "_conversationUpdate": web.conversation_update,
        "_clientOnline": web.client_online,
        "_clientOffline": web.client_offline,
        "_rtmClientSign": web.rtm_client_sign,
    }
    unknown = set(only or ()) - functions.keys()
    if unknown:
        raise ValueError(f"no such hooks: {', '.join(sorted(unknown))}")
    return Hooks(
        **{
            function.__name__: function
            for name, function in functions.items()
            if only is None or name in only
        }
    )


@attrs.frozen
class _Web:
    url: str
    client: httpx.AsyncClient
    headers: Mapping[str, str]

    async def _post(self, name: str, parameters: Mapping[str, Any]) -> Json:
        response = await self.client.post(
            f"{self.url}/{name}",
            content=json.dumps(parameters).encode(),
            headers={"Content-Type": "application/json", **self.headers},
        )
        if not response.is_success:
            raise WebHookError(f"{name}: status {response.status_code}")
        if not response.content:
            return {}
        try:
            answer = response.json()
        except (ValueError, RecursionError) as error:
            raise WebHookError(f"{name}: the answer is not JSON") from error
        if (
            isinstance(answer, dict)
            and "result" in answer
            and not isinstance(answer["result"], bool)
        ):
            answer = answer["result"]
        if answer is None:
            return {}
        if not isinstance(answer, dict):
            raise WebHookError(f"{name}: the answer is not an object")
        return answer

    # Asked before.

    async def message_received(self, about: IncomingMessage) -> Reject | Rewrite | None:
        parameters = {
            **_message(about),
            "transient": about.transient,
            "receipt": about.receipt,
            "toPeers": list(about.receivers),
        }
        return _verdict(await self._post("_messageReceived", parameters), about.body)

    async def message_update(self, about: MessageUpdate) -> Reject | Rewrite | None:
        parameters = {
            **_message(about),
            "msgId": about.message_id,
            "recall": about.recall,
            "toPeers": list(about.receivers),
        }
        return _verdict(await self._post("_messageUpdate", parameters), about.body)

    async def conversation_start(self, about: ConversationStart) -> Reject | None:
        parameters = {
            "initBy": about.actor,
            "members": list(about.members),
            "attr": dict(about.attributes),
        }
        return _rejection(await self._post("_conversationStart", parameters))

    async def conversation_add(self, about: MemberChange) -> Reject | None:
        return _rejection(await self._post("_conversationAdd", _change(about)))

    async def conversation_remove(self, about: MemberChange) -> Reject | None:
        return _rejection(await self._post("_conversationRemove", _change(about)))

    async def conversation_update(self, about: ConversationUpdate) -> Reject | Amend | None:
        parameters: Json = {"initBy": about.actor, "convId": about.conversation_id}
        if about.attributes is not None:
            parameters["attr"] = dict(about.attributes)
        else:
            parameters["mute"] = about.mute
        answer = await self._post("_conversationUpdate", parameters)
        return _rejection(answer) or Amend(
            attributes=_typed(answer, "attr", dict), mute=_typed(answer, "mute", bool)
        )

    async def rtm_client_sign(self, user: Mapping[str, Any]) -> Reject | None:
        answer = await self._post("_rtmClientSign", user)
        if answer.get("result", True) is True:
            return None
        return Reject(detail=_typed(answer, "error", str))

    # Told after.

    async def receivers_offline(self, about: ReceiversOffline) -> OfflineDecision | None:
        content, _ = _content(about.body)
        parameters = {
            "fromPeer": about.sender,
            "convId": about.conversation_id,
            "offlinePeers": list(about.offline),
            "content": content,
            "timestamp": about.timestamp,
            "mentionAll": about.mention_all,
            "mentionOfflinePeers": list(about.mentioned),
        }
        answer = await self._post("_receiversOffline", parameters)
        data = answer.get("pushMessage")
        return OfflineDecision(
            skip=bool(answer.get("skip")),
            receivers=_names(answer, "offlinePeers"),
            data=data if data is None or isinstance(data, str) else json.dumps(data),
            force=bool(answer.get("force")),
        )

    async def message_sent(self, about: SentMessage) -> None:
        parameters = {
            **_message(about),
            "msgId": about.message_id,
            "onlinePeers": list(about.online),
            "offlinePeers": list(about.offline),
            "transient": about.transient,
            "receipt": about.receipt,
        }
        await self._post("_messageSent", parameters)

    async def conversation_started(self, about: ConversationStarted) -> None:
        await self._post("_conversationStarted", {"convId": about.conversation_id})

    async def conversation_added(self, about: MemberChange) -> None:
        await self._post("_conversationAdded", _change(about))

    async def conversation_removed(self, about: MemberChange) -> None:
        await self._post("_conversationRemoved", _change(about))

    async def client_online(self, about: ClientOnline) -> None:
        parameters = {
            "peerId": about.client_id,
            "sourceIP": about.address,
            "tag": about.tag,
            "reconnect": int(about.reconnect),
        }
        await self._post("_clientOnline", parameters)

    async def client_offline(self, about: ClientOffline) -> None:
        parameters = {
            "peerId": about.client_id,
            "closeCode": int(about.reason),
            "closeMsg": about.message,
            "sourceIP": about.address,
            "tag": about.tag,
            "errorCode": about.error_code,
            "errorMsg": about.error_message,
        }
        known = {key: value for key, value in parameters.items() if value is not None}
        await self._post("_clientOffline", known)


def _message(about: IncomingMessage | MessageUpdate | SentMessage) -> Json:
    content, binary = _content(about.body)
    return {
        "fromPeer": about.sender,
        "convId": about.conversation_id,
        "bin": binary,
        "content": content,
        "timestamp": about.timestamp,
        "system": about.service,
        "sourceIP": about.address,
    }


def _change(about: MemberChange) -> Json:
    return {
        "initBy": about.actor,
        "convId": about.conversation_id,
        "members": list(about.members),
    }


def _content(body: Body) -> tuple[str, bool]:
    if isinstance(body, bytes):
        return base64.b64encode(body).decode(), True
    return body, False


def _verdict(answer: Json, body: Body) -> Reject | Rewrite | None:
    if answer.get("drop"):
        return _reject(answer)
    content = answer.get("content")
    if content is None:
        new: Body | None = None
    elif answer.get("bin", isinstance(body, bytes)):
        try:
            new = base64.b64decode(content, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise WebHookError("the new content is not base64") from error
    else:
        # Some answer with the object of a typed message instead of its text.
        new = content if isinstance(content, str) else json.dumps(content)
    return Rewrite(body=new, receivers=_names(answer, "toPeers"))


def _rejection(answer: Json) -> Reject | None:
    return _reject(answer) if answer.get("reject") else None


def _reject(answer: Json) -> Reject:
    return Reject(_typed(answer, "code", int), _typed(answer, "detail", str))


def _typed(answer: Json, key: str, type_: type[Any]) -> Any:
    value = answer.get(key)
    if value is not None and not isinstance(value, type_):
        raise WebHookError(f"{key} is not of type {type_.__name__}")
    return value


def _names(answer: Json, key: str) -> list[str] | None:
    names = answer.get(key)
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise WebHookError(f"{key} is not a list of client ids")
    return names
