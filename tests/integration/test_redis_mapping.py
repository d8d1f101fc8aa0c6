"""What an entry becomes: decoded fields, outbox entries, entries that are none."""

import orders
from cases import case, equal, main, true
from redis import Redis

POLICY = """version: 1
info: {title: Outbox, owner: test@example.org}
policies:
  - id: SEEN-001
    title: Everything is seen
    severity: low
    watch: {objects: ["**"], ops: [insert, update, delete]}
    when: "%s"
    message: "seen"
    audit: every_event
"""
OUTBOX = (", decode: {new: json, old: json}, map: {object: table, op: action, "
          "ops: {c: insert, u: update, d: delete}, key: [id], before: old, after: new}")


def events(agent):
    return [(r["event"]["object"], r["event"]["op"], r["event"]["key"])
            for r in agent.records("audit")]


@case
def an_outbox_carries_changes_of_many_tables():
    with Redis() as redis:
        redis.do("XADD", "orders", "*", "table", "shop.orders", "action", "c", "id", "1",
                 "new", '{"id": 1, "total": 12.5, "tags": ["a", {"b": null}]}')
        redis.do("XADD", "orders", "*", "table", "shop.items", "action", "u", "id", "7",
                 "old", '{"id": 7, "n": 1}', "new", '{"id": 7, "n": -2}')
        redis.do("XADD", "orders", "*", "table", "shop.orders", "action", "d", "id", "1",
                 "old", '{"id": 1, "total": 12.5}')
        redis.do("XADD", "orders", "*", "table", "shop.items", "action", "update", "id", "8",
                 "new", '{"id": 8, "n": -5}')
        rule = "event.op == 'update' && before.n > 0 && after.n < 0"
        with orders.watch(redis, source=OUTBOX, policy=POLICY % rule) as agent:
            orders.wait_judged(agent, 4)
            seen = events(agent)
            equal([e[:2] for e in seen], [("shop.orders", "insert"), ("shop.items", "update"),
                                          ("shop.orders", "delete"), ("shop.items", "update")])
            equal([list(e[2]) for e in seen], [["id"]] * 4)
            equal(seen[0][2], seen[2][2], "the key of the same row")
            true(seen[1][2] != seen[3][2], "two rows have one key")
            found = agent.records("violation")
            equal([(r["verdict"], r["event"]["key"]) for r in found],
                  [("violation", seen[1][2]), ("review", seen[3][2])])  # no old row of 8
            equal(agent.records("undecodable"), [])


@case
def json_and_msgpack_fields_are_values():
    with Redis() as redis:
        # {"n": -5, "b": bytes, "t": true}
        packed = b"\x83\xa1n\xfb\xa1b\xc4\x02\x00\xff\xa1t\xc3"
        redis.do("XADD", "orders", "*", "p", packed, "j", '{"deep": {"list": [1, 2.5, "x"]}}',
                 "raw", b"\xff\xfe", "text", "12")
        rule = ("after.p.n == -5 && after.p.t && after.p.b == b'\\\\x00\\\\xff' && "
                "after.j.deep.list[1] == 2.5 && after.raw == b'\\\\xff\\\\xfe' && "
                "after.text == '12'")
        with orders.watch(redis, source=", decode: {p: msgpack, j: json}",
                          policy=(POLICY % rule).replace(", update, delete", "")) as agent:
            orders.wait_judged(agent, 1)
            equal(agent.records("rule_error"), [])
            equal(len(agent.records("violation")), 1)


@case
def entries_that_do_not_fit_are_records_and_the_others_are_judged():
    with Redis() as redis:
        good = ["table", "t", "action", "c", "id", "1", "new", "{}"]
        bad = [
            (["table", "t", "action", "c", "id", "1", "new", "{no json"],
             "a field that decode calls json is none"),
            (["table", "t", "action", "c", "id", "1", "new", "[1]"],
             "a field that is mapped to before or after is no map"),
            (["action", "c", "id", "1"],
             "the field that names the object is missing, or is no name"),
            (["table", "t" * 600, "action", "c", "id", "1"],
             "the field that names the object is missing, or is no name"),
            (["table", "t", "id", "1"], "the field that names the operation is missing"),
            (["table", "t", "action", "explode", "id", "1"],
             "the operation has no word of ours; see 'map.ops'"),
            (["table", "t", "action", "c"], "a field of the key is missing"),
            (["table", "t", "action", "c", "id", "1", "id", "2"], "a field stands twice"),
            (["table", "t", "action", "c", "id", "1", b"\xff", "2"],
             "the name of a field is not UTF-8"),
            (["table", "t", "action", "c", "id", "1", "new", "[" * 10000],
             "a field that decode calls json is none"),
        ]
        wanted, judged = [], []
        for words, why in bad:
            wanted.append((redis.do("XADD", "orders", "*", *words), why))
            judged.append(redis.do("XADD", "orders", "*", *good))
        with orders.watch(redis, source=OUTBOX, policy=POLICY % "false") as agent:
            orders.wait_judged(agent, len(judged))
            orders.same_entries(judged, agent.records())
            found = agent.records("undecodable")
            equal([(r["position"], r["why"]) for r in found],
                  [(f"orders@1:{i}", why) for i, why in wanted])
            true(all(r["size"] > 20 and r["what"] == "entry" and r["hash"].startswith("h1:")
                     for r in found), found)
            equal(agent.status()["sources"]["orders"]["state"], "streaming")


@case
def an_entry_beyond_the_limit_is_a_record_and_not_a_stop():
    with Redis() as redis:
        first = redis.add("orders", [1])
        large = redis.do("XADD", "orders", "*", "id", "2", "n", "1", "blob", "x" * (3 << 20))
        last = redis.add("orders", [3])
        with orders.watch(redis, more="limits: {event_bytes: 1MiB}\n") as agent:
            orders.wait_judged(agent, 2)
            orders.same_entries(first + last, agent.records())
            found = agent.records("undecodable")
            equal([(r["position"], r["why"]) for r in found],
                  [(f"orders@1:{large}", "the entry is larger than limits.event_bytes")])
            true(found[0]["size"] > 3 << 20, found[0])
            agent.stop()
            redis.do("XTRIM", "orders", "MINID", large)      # it is the first entry now
            last += redis.add("orders", [4])
            agent.start()
            orders.wait_judged(agent, 3)
            orders.same_entries(first + last, agent.records())
            equal(orders.gaps(agent) + orders.gaps(agent, "divergence"), [])


@case
def thousands_of_fields_and_odd_names_are_read():
    with Redis() as redis:
        many = [x for i in range(5000) for x in (f"f{i}", i)]
        ids = [redis.do("XADD", "a b:\"'\n", "*", "id", "1", "n", "1", *many),
               redis.do("XADD", "a b:\"'\n", "*", "id", "", "n", "1", "", "")]
        redis.do("XADD", "x" * 600, "*", "n", "1")
        redis.do("XADD", b"\xff\xfe", "*", "n", "1")
        with orders.watch(redis, streams='["*"]') as agent:
            orders.wait_judged(agent, 2)
            equal(orders.ids(agent.records()), ids)
            orders.wait_streaming(agent, "streams are left out: a name beyond 512 bytes")


if __name__ == "__main__":
    main(parallel=True)
