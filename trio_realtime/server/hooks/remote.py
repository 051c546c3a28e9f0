"""Hooks as calls with JSON: what is sent and what is made of the answers.

Protocol: docs/protocol/engine-hooks.md §5, docs/protocol/rest.md §10.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

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

Json = dict[str, Any]

NO_TAG = "default"
"""The tag of a session without single sign-on."""


class WebHookError(Exception):
    """The application's server did not answer as a hook should."""


def remote_hooks(
    call: Callable[[str, Mapping[str, Any]], Awaitable[Json]], only: Sequence[str] | None = None
) -> Hooks:
    """Hooks that call functions elsewhere: name and parameters in, the result out.

    ``only`` names those that exist. Raises `ValueError` for names that there are not.
    """
    remote = _Remote(call)
    functions: dict[str, Any] = {
        "_messageReceived": remote.message_received,
        "_messageUpdate": remote.message_update,
        "_messageSent": remote.message_sent,
        "_receiversOffline": remote.receivers_offline,
        "_conversationStart": remote.conversation_start,
        "_conversationStarted": remote.conversation_started,
        "_conversationAdd": remote.conversation_add,
        "_conversationAdded": remote.conversation_added,
        "_conversationRemove": remote.conversation_remove,
        "_conversationRemoved": remote.conversation_removed,
        "_conversationUpdate": remote.conversation_update,
        "_clientOnline": remote.client_online,
        "_clientOffline": remote.client_offline,
        "_rtmClientSign": remote.rtm_client_sign,
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
class _Remote:
    call: Callable[[str, Mapping[str, Any]], Awaitable[Json]]

    # Asked before.

    async def message_received(self, about: IncomingMessage) -> Reject | Rewrite | None:
        parameters = {
            **_message(about),
            "transient": about.transient,
            "receipt": about.receipt,
            "toPeers": list(about.receivers),
        }
        return _verdict(await self.call("_messageReceived", parameters), about.body)

    async def message_update(self, about: MessageUpdate) -> Reject | Rewrite | None:
        parameters = {
            **_message(about),
            "msgId": about.message_id,
            "recall": about.recall,
            "toPeers": list(about.receivers),
        }
        return _verdict(await self.call("_messageUpdate", parameters), about.body)

    async def conversation_start(self, about: ConversationStart) -> Reject | None:
        parameters = {
            "initBy": about.actor,
            "members": list(about.members),
            "attr": dict(about.attributes),
        }
        return _rejection(await self.call("_conversationStart", parameters))

    async def conversation_add(self, about: MemberChange) -> Reject | None:
        return _rejection(await self.call("_conversationAdd", _change(about)))

    async def conversation_remove(self, about: MemberChange) -> Reject | None:
        return _rejection(await self.call("_conversationRemove", _change(about)))

    async def conversation_update(self, about: ConversationUpdate) -> Reject | Amend | None:
        parameters: Json = {"initBy": about.actor, "convId": about.conversation_id}
        if about.attributes is not None:
            parameters["attr"] = dict(about.attributes)
        else:
            parameters["mute"] = about.mute
        answer = await self.call("_conversationUpdate", parameters)
        return _rejection(answer) or Amend(
            attributes=_typed(answer, "attr", dict), mute=_typed(answer, "mute", bool)
        )

    async def rtm_client_sign(self, user: Mapping[str, Any]) -> Reject | None:
        answer = await self.call("_rtmClientSign", user)
        if answer.get("result", True):
            return None
        return Reject(detail=_text(answer, "error"))

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
        answer = await self.call("_receiversOffline", parameters)
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
        await self.call("_messageSent", parameters)

    async def conversation_started(self, about: ConversationStarted) -> None:
        await self.call("_conversationStarted", {"convId": about.conversation_id})

    async def conversation_added(self, about: MemberChange) -> None:
        await self.call("_conversationAdded", _change(about))

    async def conversation_removed(self, about: MemberChange) -> None:
        await self.call("_conversationRemoved", _change(about))

    async def client_online(self, about: ClientOnline) -> None:
        parameters = {
            "peerId": about.client_id,
            "sourceIP": about.address,
            "tag": about.tag or NO_TAG,
            "reconnect": int(about.reconnect),
        }
        await self.call("_clientOnline", parameters)

    async def client_offline(self, about: ClientOffline) -> None:
        parameters = {
            "peerId": about.client_id,
            "closeCode": int(about.reason),
            "closeMsg": about.message,
            "sourceIP": about.address,
            "tag": about.tag or NO_TAG,
            "errorCode": about.error_code,
            "errorMsg": about.error_message,
        }
        known = {key: value for key, value in parameters.items() if value is not None}
        await self.call("_clientOffline", known)


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
    """A refusal is one, whatever goes with it."""
    code = answer.get("code")
    whole = isinstance(code, int) and not isinstance(code, bool)
    return Reject(code if whole else None, _text(answer, "detail"))


def _text(answer: Json, key: str) -> str | None:
    text = answer.get(key)
    return text if isinstance(text, str) else None


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
