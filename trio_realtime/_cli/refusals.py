"""What a server has against a request, in a sentence for whoever runs the command."""

from __future__ import annotations


def said(error: Exception, go_on: str) -> str:
    """The sentence; ``go_on`` says what to do where it passes."""
    from trio_realtime.rest import Refused, Unauthorized

    text = str(error).rstrip(".")
    if isinstance(error, Unauthorized):
        return (
            f"The server does not accept the key ({text}). It must be the master key of this "
            "very app; an app key does not do."
        )
    if isinstance(error, Refused):
        return f"The server refuses: {text}. Is it the API of LeanCloud, or one like it?"
    return f"{text}. {go_on}"
