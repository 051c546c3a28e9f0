"""Plugins: extensions of a client that travel together.

Protocol: docs/protocol/live-query-and-plugins.md §1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from trio_realtime._engine.message_hooks import MessageHooks
from trio_realtime._values.errors import PluginError

from .im_client import IMClient


@attrs.frozen(kw_only=True)
class Plugin(MessageHooks):
    """A set of message classes and hooks, given to ``open_client(plugins=[...])``.

    Hooks are plain functions: they run where messages are received, which never waits. One
    that raises is reported as a `PluginFailed` event with the plugin's name, and what it was
    given is used as it was.

    A plugin has the client by `on_client_create`; it tells what it finds out as events of its
    own with `IMClient.publish`.
    """

    on_client_create: Callable[[IMClient], None] | None = None
    """Called once with the logged-in client; `PluginError` if it raises."""


def show_client(plugins: Iterable[Plugin], client: IMClient) -> None:
    """Show the new client to every plugin.

    Raises:
        PluginError: one of them failed.
    """
    for plugin in plugins:
        if plugin.on_client_create is not None:
            try:
                plugin.on_client_create(client)
            except Exception as error:
                raise PluginError(plugin.name, error) from error
