from __future__ import annotations

from trio_realtime.server.store.conditions import parse_condition, parse_row_field, parse_sort
from trio_realtime.server.store.interface import Query


def query(where=None, sort=(("createdAt", False),), **more):
    condition = parse_condition(where or {}, parse_row_field)
    return Query(condition, parse_sort(sort, parse_row_field), **more)


def put(world, row_id="", **attributes):
    return world.do(lambda tx: tx.put_installation(attributes, row_id))


def found(world, *arguments, app="app", **more):
    rows = world.see(lambda tx: tx.find_installations(query(*arguments, **more)), app)
    return [row.attributes["n"] for row in rows]


def test_it_is_kept_with_what_is_said_of_it(world):
    row = put(world, deviceToken="t", channels=["Tom"])
    assert row.created_at == row.updated_at == world.now
    assert world.see(lambda tx: tx.installation(row.id)) == row
    assert world.see(lambda tx: tx.installation(row.id), "another app") is None
    world.now += 5
    changed = put(world, row.id, deviceToken="u")
    assert (changed.created_at, changed.updated_at) == (row.created_at, world.now)
    assert world.see(lambda tx: tx.installation(row.id)) == changed
    assert changed.attributes == {"deviceToken": "u"}


def test_it_may_bring_its_id(world):
    row = put(world, "of another server", n=1)
    assert row.id == "of another server"
    world.now += 1
    again = put(world, row.id, n=2)
    assert (again.created_at, again.attributes) == (row.created_at, {"n": 2})
    assert world.see(lambda tx: tx.installation_count()) == 1
    assert world.see(lambda tx: tx.installation(row.id)) == again


def test_it_is_found_by_its_names(world):
    phone = put(world, deviceToken="t")
    world.now += 1
    tablet = put(world, installationId="i")

    def of(device_token=None, installation_id=None):
        return world.see(
            lambda tx: tx.installations_of(
                device_token=device_token, installation_id=installation_id
            )
        )

    assert of("t") == [phone]
    assert of(None, "i") == [tablet]
    assert of("t", "i") == [tablet, phone]
    assert of() == of("i", "t") == []
    put(world, phone.id, deviceToken="new")
    assert of("t") == []


def test_they_are_counted_and_deleted(world):
    rows = [put(world, n=n) for n in range(3)]
    assert world.see(lambda tx: tx.installation_count()) == 3
    assert world.see(lambda tx: tx.installation_count(), "another app") == 0
    put(world, rows[0].id, n=7)
    assert world.do(lambda tx: tx.delete_installation(rows[1].id))
    assert not world.do(lambda tx: tx.delete_installation(rows[1].id))
    assert world.see(lambda tx: tx.installation_count()) == 2
    assert found(world) == [7, 2]


def test_the_untouched_are_forgotten(world):
    put(world, n=0)
    touched = put(world, n=1)
    world.now += 10
    put(world, touched.id, n=2)
    world.do(lambda tx: tx.forget_installations(world.now))
    assert found(world) == [2]
    assert world.see(lambda tx: tx.installation_count()) == 1


def test_queries(world):
    for n in range(5):
        channels = ["all", "even"] if n % 2 == 0 else ["all"]
        put(world, n=n, channels=channels, name=f"x{n}", m="member", deep={"a": n})
        world.now += 1
    assert found(world) == [0, 1, 2, 3, 4]
    assert found(world, {"channels": "even"}) == [0, 2, 4]
    assert found(world, {"channels": {"$in": ["even", "odd"]}, "n": {"$gt": 0}}) == [2, 4]
    # Names that mean something else in conversations are columns like any other.
    assert found(world, {"name": "x1", "m": "member"}) == [1]
    assert found(world, {"$or": [{"deep.a": 0}, {"name": {"$regex": "3$"}}]}) == [0, 3]
    assert found(world, {}, [("n", True)], limit=2, skip=1) == [3, 2]
    late = {"__type": "Date", "iso": "1970-01-01T00:16:40.003Z"}
    assert found(world, {"createdAt": {"$gte": late}}) == [3, 4]
    assert found(world, {"updatedAt": {"$lt": late}}, [("name", True)]) == [2, 1, 0]
    assert found(world, app="another app") == []
    everything = query({"channels": "all"}, limit=1)
    assert world.see(lambda tx: tx.count_installations(everything)) == 5
