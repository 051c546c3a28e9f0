from __future__ import annotations

from trio_realtime._values.protocol import TOKEN_GRACE_MS
from trio_realtime.server.store.interface import NOTIFICATIONS_KEPT as KEPT
from trio_realtime.server.store.interface import TOKENS_KEPT, TokenRow


def put(world, token, client="tom", ttl=100, **more):
    row = TokenRow(client, world.now + ttl, **more)
    world.do(lambda tx: tx.put_token(token, row))
    return row


def test_a_token_is_known_until_its_grace_ends(world):
    row = put(world, "secret", tag="phone", device_id="d")
    assert world.see(lambda tx: tx.token("secret")) == row
    assert world.see(lambda tx: tx.token("other")) is None
    assert world.see(lambda tx: tx.token("secret"), "another app") is None
    world.now = row.expires_at + TOKEN_GRACE_MS - 1
    assert world.see(lambda tx: tx.token("secret")) == row
    world.now += 1
    assert world.see(lambda tx: tx.token("secret")) is None


def test_the_newest_login(world):
    assert world.see(lambda tx: tx.recent_login("tom", 0)) is None
    long = put(world, "1", ttl=1000, tag="first")
    short = put(world, "2", ttl=10, tag="second")
    put(world, "3", client="jerry")
    assert world.see(lambda tx: tx.recent_login("tom", world.now)) == short
    assert world.see(lambda tx: tx.recent_login("tom", short.expires_at)) == short
    assert world.see(lambda tx: tx.recent_login("tom", short.expires_at + 1)) == long
    assert world.see(lambda tx: tx.recent_login("tom", long.expires_at + 1)) is None
    renewed = put(world, "1", ttl=2000)
    assert world.see(lambda tx: tx.recent_login("tom", world.now)) == renewed


def test_tokens_of_one_client_are_forgotten(world):
    put(world, "phone")
    put(world, "tablet")
    jerry = put(world, "jerry's", client="jerry")
    elsewhere = TokenRow("tom", world.now + 100)
    world.do(lambda tx: tx.put_token("elsewhere", elsewhere), "another app")
    world.do(lambda tx: tx.forget_tokens("tom"))
    assert world.see(lambda tx: tx.token("phone")) is None
    assert world.see(lambda tx: tx.token("tablet")) is None
    assert world.see(lambda tx: tx.recent_login("tom", 0)) is None
    assert world.see(lambda tx: tx.token("jerry's")) == jerry
    assert world.see(lambda tx: tx.token("elsewhere"), "another app") == elsewhere


def test_the_newest_tokens_of_a_client_are_kept(world):
    jerry = put(world, "jerry's", client="jerry")
    rows = [put(world, f"{n}", tag=f"{n}") for n in range(TOKENS_KEPT + 1)]
    known = [world.see(lambda tx, n=n: tx.token(f"{n}")) for n in range(len(rows))]
    assert known == [None, *rows[1:]]
    assert world.see(lambda tx: tx.token("jerry's")) == jerry


def test_a_new_token_leaves_those_of_others_that_live(world):
    expired = put(world, "expired", ttl=0)
    world.now += TOKEN_GRACE_MS - 1
    put(world, "new", client="jerry")
    assert world.see(lambda tx: tx.token("expired")) == expired


def test_notifications_are_paged_by_time(world):
    for n in range(5):
        world.do(lambda tx, n=n: tx.keep_notification(["tom", "jerry", "tom"], {"n": n}))
    world.do(lambda tx: tx.keep_notification([], {"n": 9}))
    after, seen = world.now - 1, []
    while page := world.see(lambda tx, a=after: tx.notifications("tom", a, limit=2)):
        seen += [row.item["n"] for row in page]
        after = page[-1].timestamp
    assert seen == [0, 1, 2, 3, 4]
    assert len(world.see(lambda tx: tx.notifications("jerry", 0, limit=9))) == 5
    assert world.see(lambda tx: tx.notifications("eve", 0, limit=9)) == []


def test_old_notifications_make_room(world):
    def keep(tx):
        for n in range(KEPT + 3):
            tx.keep_notification(["tom"], {"n": n})
        tx.keep_notification(["jerry"], {"n": "kept"})

    world.do(keep)
    rows = world.see(lambda tx: tx.notifications("tom", 0, limit=5000))
    assert [row.item["n"] for row in rows] == list(range(3, KEPT + 3))


def test_a_shared_notice_stays_while_somebody_needs_it(world):
    def keep(tx):
        tx.keep_notification(["tom", "jerry"], {"n": "shared"})
        for n in range(KEPT):
            tx.keep_notification(["tom"], {"n": n})

    world.do(keep)
    assert world.see(lambda tx: tx.notifications("tom", 0, limit=1))[0].item == {"n": 0}
    (row,) = world.see(lambda tx: tx.notifications("jerry", 0, limit=9))
    assert row.item == {"n": "shared"}


def test_documents(world):
    keys = ["a", "a/1", "a/2", "a/3", "b/1", "a0"]
    for key in keys:
        world.do(lambda tx, key=key: tx.put_document("files", key, {"key": key}))
    world.do(lambda tx: tx.put_document("other", "a/9", {}))
    world.do(lambda tx: tx.put_document("files", "b/1", {"key": "changed"}))
    assert world.see(lambda tx: tx.document("files", "b/1")) == {"key": "changed"}
    assert world.see(lambda tx: tx.document("files", "c")) is None

    def found(**more):
        return [key for key, _ in world.see(lambda tx: tx.documents("files", **more))]

    assert found() == sorted(keys)
    assert found(prefix="a/") == ["a/1", "a/2", "a/3"]
    assert found(prefix="a/", limit=2) == ["a/1", "a/2"]
    assert found(prefix="a/", after="a/2") == ["a/3"]
    assert found(after="a/3") == ["a0", "b/1"]
    assert found(prefix="a/", after="b") == []
    assert found(prefix="c") == []
    assert world.do(lambda tx: tx.delete_document("files", "a/2"))
    assert not world.do(lambda tx: tx.delete_document("files", "a/2"))
    assert found(prefix="a/") == ["a/1", "a/3"]


def test_documents_belong_to_their_app_and_table(world):
    world.do(lambda tx: tx.put_document("t", "k", {"of": "app"}))
    world.do(lambda tx: tx.put_document("t", "k", {"of": "other"}), "other")
    world.do(lambda tx: tx.put_document("u", "k", {"of": "u"}))
    assert world.see(lambda tx: tx.document("t", "k")) == {"of": "app"}
    assert world.see(lambda tx: tx.documents("t")) == [("k", {"of": "app"})]
    assert world.do(lambda tx: tx.delete_document("t", "k"))
    assert world.see(lambda tx: tx.which_documents("t", ["k"])) == set()
    assert world.see(lambda tx: tx.which_documents("t", ["k"]), "other") == {"k"}
    assert world.see(lambda tx: tx.document("t", "k"), "other") == {"of": "other"}
    assert world.see(lambda tx: tx.documents("u")) == [("k", {"of": "u"})]


def test_which_documents_exist(world):
    world.do(lambda tx: tx.put_document("t", "a", {}))
    world.do(lambda tx: tx.put_document("u", "b", {}))
    assert world.see(lambda tx: tx.which_documents("t", ["b", "a", "a", ""])) == {"a"}
