from __future__ import annotations

import pytest

from trio_realtime.server.rules import signatures as sig
from trio_realtime.server.rules.types import App

APP = App("FFnN2hso42Wego3pWq4X5qlu", "UtOCzqb67d3sN12Kts4URwy8", "DyJegPlemooo4X1tg94gQkw1")
V = "5789a33a1b8694ad267d8040"
T = 1453014943466
N = "9d8f3a"


def conversation(cid, members, action, client="Tom"):
    return sig.conversation_string(APP.id, client, cid, members, T, N, action)


VECTORS = [
    (sig.login_string(APP.id, "Tom", T, N), "7fa9afc90bd5d54ae8a87ef7297095a4f768a290"),
    (sig.login_string(APP.id, "Tom", T // 1000, N), "c83d37ca5807958f1bdeebd1b589e24addcd5c0d"),
    (conversation(None, ["Tom", "Jerry"], None), "da06e152c72d496e26cc4e71ecfc38d7a5400220"),
    (conversation(None, ["Tom"], None), "e600f56c366a586c67113e3205585a5113af055b"),
    (conversation(None, [], None), "7fa9afc90bd5d54ae8a87ef7297095a4f768a290"),
    (conversation(V, ["Mary", "Jerry"], "invite"), "18d77ee6aa0beb36588670d4f8e6da0c8da44412"),
    (conversation(V, ["Tom"], "invite"), "fe829ec27b84d4dd39c1d9e621986a928bf84354"),
    (conversation(V, ["Mary", "Jerry"], "kick"), "6908bc9e27c642a659ea16bfee7eed237945276c"),
    (
        conversation(V, ["Mary", "Jerry"], "conversation-block-clients"),
        "c64217bdf00edd3f03e2e798974bd8b3197bdabd",
    ),
    (
        conversation(V, ["Mary", "Jerry"], "conversation-unblock-clients"),
        "fc13796b63d84880a889fdad68989582f5bfc967",
    ),
    (
        conversation(V, [], "client-block-conversations"),
        "20894ee16e4dbf3dc538614a6ed80d43b4e7b6a5",
    ),
    (
        conversation(V, [], "client-unblock-conversations"),
        "136d7b556121e958ee3ee8e161dcfe5476b552e7",
    ),
    (sig.history_string(APP.id, "Tom", V, N, T), "57350478b11010cc99878f747f762d6a1d627c72"),
    (
        conversation(None, ["张三", "小明"], None, client="小明"),
        "4110c129ce811dc49a6b1390309759e2392f652a",
    ),
]


@pytest.mark.parametrize(("text", "signature"), VECTORS)
def test_vectors(text, signature):
    assert sig.sign(APP.master_key, text) == signature
    assert sig.verify(APP.master_key, text, signature)
    assert sig.verify(APP.master_key, text, signature.upper())
    assert not sig.verify(APP.master_key, text + "x", signature)
    assert not sig.verify("other", text, signature)
    assert not sig.verify(APP.master_key, text, "")
    assert not sig.verify(APP.master_key, text, "\udcff非")


def test_login_window_is_six_hours_both_ways():
    s = sig.sign(APP.master_key, sig.login_string(APP.id, "Tom", T, N))
    assert sig.verify_login(APP, "Tom", T, N, s, T + sig.VALIDITY_MS)
    assert not sig.verify_login(APP, "Tom", T, N, s, T + sig.VALIDITY_MS + 1)
    assert sig.verify_login(APP, "Tom", T, N, s, T - sig.VALIDITY_MS)
    assert not sig.verify_login(APP, "Tom", T, N, s, T - sig.VALIDITY_MS - 1)
    assert not sig.verify_login(APP, "Jerry", T, N, s, T)


def test_a_timestamp_in_seconds_is_signed_literally_and_judged_in_milliseconds():
    seconds = T // 1000
    s = sig.sign(APP.master_key, sig.login_string(APP.id, "Tom", seconds, N))
    assert sig.verify_login(APP, "Tom", seconds, N, s, T)
    assert not sig.verify_login(APP, "Tom", T, N, s, T)
    assert not sig.verify_login(APP, "Tom", seconds, N, s, T + 2 * sig.VALIDITY_MS)


def test_a_forced_logout_voids_earlier_signatures():
    s = sig.sign(APP.master_key, sig.login_string(APP.id, "Tom", T, N))
    assert not sig.verify_login(APP, "Tom", T, N, s, T + 5, not_before=T)
    assert sig.verify_login(APP, "Tom", T, N, s, T + 5, not_before=T - 1)


@pytest.mark.parametrize("missing", ["t", "n", "s"])
def test_missing_fields_fail(missing):
    s = sig.sign(APP.master_key, sig.login_string(APP.id, "Tom", T, N))
    fields = {"t": T, "n": N, "s": s, missing: None}
    assert not sig.verify_login(APP, "Tom", **fields, now=T)
    assert not sig.verify_conversation(APP, "Tom", V, ["a"], "kick", **fields, now=T)
    assert not sig.verify_block_list(
        APP, "Tom", V, ["a"], "conversation-block-clients", **fields, now=T
    )
    assert not sig.verify_history(APP, "Tom", V, **fields, now=T)


def test_create_accepts_the_creator_in_or_out_of_the_list():
    for signed in (["Jerry"], ["Jerry", "Tom"]):
        s = sig.sign(APP.master_key, conversation(None, signed, None))
        for sent in (["Tom", "Jerry"], ["Jerry"]):
            assert sig.verify_conversation(APP, "Tom", None, sent, "create", T, N, s, T)
        assert not sig.verify_conversation(APP, "Tom", None, ["Mary"], "create", T, N, s, T)


def test_actions_are_not_interchangeable():
    s = sig.sign(APP.master_key, conversation(V, ["a"], "invite"))
    assert sig.verify_conversation(APP, "Tom", V, ["a"], "invite", T, N, s, T)
    assert not sig.verify_conversation(APP, "Tom", V, ["a"], "kick", T, N, s, T)
    s = sig.sign(APP.master_key, conversation(V, ["a"], "conversation-block-clients"))
    assert sig.verify_block_list(APP, "Tom", V, ["a"], "conversation-block-clients", T, N, s, T)
    assert not sig.verify_block_list(
        APP, "Tom", V, ["a"], "conversation-unblock-clients", T, N, s, T
    )


def test_rest_digests():
    assert sig.rest_sign_is("d5bcbb897e19b2f6633c716dfdfaf9be,1453014943466", APP.key)
    assert sig.rest_sign_is("e074720658078c898aa0d4b1b82bdf4b,1453014943466", APP.master_key)
    assert not sig.rest_sign_is("D5BCBB897E19B2F6633C716DFDFAF9BE,1453014943466", APP.key)
    assert not sig.rest_sign_is("d5bcbb897e19b2f6633c716dfdfaf9be,x", APP.key)
    assert not sig.rest_sign_is("", APP.key)
    assert sig.rest_key_is(APP.key, APP.key)
    assert not sig.rest_key_is("é", APP.key)


@pytest.mark.parametrize("nonce", ["n", ":n", "a:b", "2026-11-21T22:00:05.5"])
def test_a_login_has_any_nonce(nonce):
    s = sig.sign(APP.master_key, sig.login_string(APP.id, "Tom", T, nonce))
    assert sig.signs_login(APP, "Tom", T, nonce, s)


def test_what_also_signs_the_login_of_another_client_lets_in_neither():
    strange = f"Tom::{T}:x"
    s = sig.sign(APP.master_key, sig.login_string(APP.id, strange, T + 1, N))
    assert sig.login_string(APP.id, "Tom", T, f"x::{T + 1}:{N}") == sig.login_string(
        APP.id, strange, T + 1, N
    )
    assert not sig.signs_login(APP, "Tom", T, f"x::{T + 1}:{N}", s)
    assert not sig.signs_login(APP, strange, T + 1, N, s)
    s = sig.sign(APP.master_key, sig.login_string(APP.id, f"Tom::{T}", T, N))
    assert not sig.signs_login(APP, "Tom", T, f":{T}:{N}", s)
