"""The REST API for backends: send as anybody, read history, manage conversations and clients."""

from __future__ import annotations

from ._client import RequestCount, RestClient, open_rest
from ._conversations import CreationCursor
from ._errors import NotFound, RateLimited, Refused, RestError, Unauthorized, Unavailable
from ._values import SentMessage, Statistics, StoredMessage, StoredRole, Subscription

__all__ = [
    "CreationCursor",
    "NotFound",
    "RateLimited",
    "Refused",
    "RequestCount",
    "RestClient",
    "RestError",
    "SentMessage",
    "Statistics",
    "StoredMessage",
    "StoredRole",
    "Subscription",
    "Unauthorized",
    "Unavailable",
    "open_rest",
]
