"""What plugins do with messages.

Protocol: docs/protocol/live-query-and-plugins.md §1.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from trio_realtime._values.events import MessageReceived, PluginFailed
from trio_realtime._values.messages import BaseMessage
from trio_realtime._values.registry import MessageRegistry
from trio_realtime._values.typed_messages import TypedMessage

logger = logging.getLogger("trio_realtime")


@attrs.frozen(kw_only=True)
class MessageHooks:
    """The part of a `Plugin` that has to do with messages."""

    name: str
    """Who to blame in errors."""
    message_types: Sequence[type[TypedMessage]] = ()
    """Classes made with `message_type`; of the same number, later plugins win."""
    before_message_parse: Callable[[str | bytes], str | bytes] | None = None
    """May change the body of every message before it is parsed."""
    after_message_parse: Callable[[BaseMessage], BaseMessage] | None = None
    """May replace every parsed message."""
    before_message_dispatch: Callable[[BaseMessage], bool] | None = None
    """May keep a received message from the subscriptions by returning False."""


class HookedRegistry(MessageRegistry):
    """Parses messages with the hooks of all plugins, in their order."""

    def __init__(
        self,
        types: Iterable[type[TypedMessage]],
        plugins: Sequence[MessageHooks],
        report: Callable[[PluginFailed], None],
    ) -> None:
        super().__init__([*(cls for p in plugins for cls in p.message_types), *types])
        self._plugins = plugins
        self._report = report
        if not plugins:
            # The usual case costs nothing.
            self.parse = super().parse  # type: ignore[method-assign]

    def parse(self, body: str | bytes, envelope: Mapping[str, Any]) -> BaseMessage:
        """The message, after all hooks had their say. Never fails."""
        for plugin in self._plugins:
            if plugin.before_message_parse is not None:
                body = self._ask(plugin, plugin.before_message_parse, body, (str, bytes))
        message = super().parse(body, envelope)
        for plugin in self._plugins:
            if plugin.after_message_parse is not None:
                message = self._ask(plugin, plugin.after_message_parse, message, (BaseMessage,))
        return message

    def lets_through(self, event: MessageReceived) -> bool:
        """Whether every plugin agrees that the message is dispatched."""
        return not self._plugins or all(
            self._ask(plugin, plugin.before_message_dispatch, event.message, None) is not False
            for plugin in self._plugins
            if plugin.before_message_dispatch is not None
        )

    def _ask(
        self,
        plugin: MessageHooks,
        hook: Callable[[Any], Any],
        value: Any,
        kinds: tuple[type, ...] | None,
    ) -> Any:
        try:
            answer = hook(value)
        except Exception as error:
            logger.exception("plugin %s failed", plugin.name)
            self._report(PluginFailed(plugin.name, error))
            return value
        if kinds is not None and not isinstance(answer, kinds):
            self._report(PluginFailed(plugin.name, TypeError(f"a hook returned {answer!r}")))
            return value
        return answer
