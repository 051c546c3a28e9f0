from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.oracle import google
from tests.wire.strategies import COMMANDS
from trio_realtime.wire import GenericCommand, WireError, decode_message, encode_message, with_peer


@given(COMMANDS, st.text(max_size=200))
def test_addressing_sets_the_peer_id(command, peer_id):
    addressed = with_peer(encode_message(command), peer_id)
    command.peer_id = peer_id
    assert decode_message(GenericCommand, addressed) == command
    theirs = google("GenericCommand").FromString(addressed)
    assert theirs.SerializeToString(deterministic=True) == encode_message(command)


def test_a_peer_id_that_is_no_text_is_our_error():
    with pytest.raises(WireError):
        with_peer(b"", "Tom\ud800")
