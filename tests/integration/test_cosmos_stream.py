#!/usr/bin/env python3
"""What the change feed of Cosmos DB becomes: both modes, keys, values, transactions."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from cases import case, equal, main, true
from cosmos import POLICY, events, seen, streaming, wait_seen, watch
from fake_cosmos import FakeCosmos, Number
from servers import wait_until


@case
def the_latest_version_of_each_document_is_judged():
    with FakeCosmos() as fake, watch(fake) as agent:
        streaming(agent)
        fake.container().upsert({"id": "a", "pk": 7, "n": 1, "deep": {"x": [1, None, True]}},
                                {"id": "b", "pk": 8, "n": -2})
        wait_seen(agent, 2)
        found = {event["key"]["pk"]: event for event in events(agent)}
        equal((found[7]["object"], found[7]["op"]), ("shop.orders", "replace"))
        equal(sorted(found[7]["key"]), ["id", "pk"])
        equal(seen(agent, "NEG-001"), ["-2"])
        true(all(m.endswith(n) for m, n in zip(seen(agent), (" 1", " -2"))), seen(agent))
        equal(agent.status()["sources"]["shop"]["guarantee"], "partial")
        fake.container().delete({"id": "a", "pk": 7})
        fake.container().upsert({"id": "c", "pk": 9, "n": 3})
        wait_seen(agent, 3)
        equal([e["key"]["pk"] for e in events(agent)][2:], [9])     # the delete is not seen
        true(all(r["kind"] != "gap" for r in agent.records()), agent.records("gap"))


@case
def every_version_and_delete_is_judged():
    with FakeCosmos() as fake, watch(fake, mode="all_versions") as agent:
        streaming(agent)
        orders = fake.container()
        orders.upsert({"id": "a", "pk": 7, "n": 1}, {"id": "a", "pk": 7, "n": 2},
                      {"id": "a", "pk": 7, "n": 3})
        orders.delete({"id": "a", "pk": 7})
        orders.upsert({"id": "t", "pk": 8, "n": 1, "ttl": 1})
        orders.expire({"id": "t", "pk": 8})
        equal(wait_seen(agent, 6), ["insert null 1", "replace 1 2", "replace 2 3",
                                    "delete 3 null", "insert null 1", "expire 1 null"])
        found = events(agent)
        equal([e["key"]["pk"] for e in found], [7, 7, 7, 7, 8, 8])
        equal(len({e["key"]["id"] for e in found}), 2)
        equal(len({e["id"] for e in found}), 6)
        equal(agent.status()["sources"]["shop"]["guarantee"], "exactly_once")
        agent.stop()
        agent.verify()


@case
def a_delete_without_a_previous_image_has_an_unknown_before():
    with FakeCosmos() as fake, watch(fake, mode="all_versions") as agent:
        streaming(agent)
        orders = fake.container()
        orders.upsert({"id": "a", "pk": 7, "n": 1})
        wait_seen(agent, 1)

        orders.keep_previous = False
        orders.delete({"id": "a", "pk": 7})
        wait_seen(agent, 2)
        true(seen(agent)[1].startswith("delete ") and "1" not in seen(agent)[1], seen(agent))
        equal(sorted(events(agent)[1]["key"]), ["id", "pk"])


@case
def no_digit_is_lost():
    with FakeCosmos() as fake, watch(fake) as agent:
        streaming(agent)
        fake.container().upsert({"id": "a", "pk": 12345678901234567890, "n": 1,
                                 "int": 9223372036854775807, "more": 18446744073709551615,
                                 "beyond": 98765432109876543210,
                                 "exact": Number("0.1234567890123456789"),
                                 "short": Number("12.50"), "tiny": Number("1e-400")})
        wait_seen(agent, 1)
        record = agent.records("violation")[0]
        values = {e["field"].rpartition(".")[2]: e["shown"] for e in record["evidence"]}
        equal(values, {"int": {"$numberLong": "9223372036854775807"},
                       "more": {"$numberLong": "18446744073709551615"},
                       "beyond": {"$numberDecimal": "98765432109876543210"},
                       "exact": {"$numberDecimal": "0.1234567890123456789"},
                       "short": 12.5, "tiny": {"$numberDecimal": "1e-400"}})
        equal(record["event"]["key"]["pk"], {"$numberLong": "12345678901234567890"})


@case
def what_was_written_together_is_one_transaction():
    with FakeCosmos() as fake, watch(fake, mode="all_versions",
                                     source=", max_items: 2") as agent:
        streaming(agent)
        fake.container().transaction(*[{"id": str(i), "pk": "p", "n": i} for i in range(5)])
        fake.container().upsert({"id": "x", "pk": "p", "n": 9})
        equal(wait_seen(agent, 6), [f"insert null {n}" for n in (0, 1, 2, 3, 4, 9)])
        found = events(agent)
        equal(len({e.get("tx") for e in found[:5]}), 1)
        true(found[0]["tx"] and not found[5].get("tx"), found)


@case
def keys_of_several_levels_are_named_by_their_paths():
    with FakeCosmos() as fake:
        fake.make("nested", paths=("/a/b", "/tenant"))
        with watch(fake, mode="all_versions", containers="[nested]") as agent:
            streaming(agent)
            nested = fake.container("nested")
            nested.upsert({"id": "1", "a": {"b": 5}, "tenant": 6, "n": 1},
                          {"id": "2", "a": {}, "tenant": 7, "n": 1})
            nested.delete({"id": "1", "a": {"b": 5}, "tenant": 6})
            wait_seen(agent, 3)
            equal([{k: v for k, v in e["key"].items() if k != "id"} for e in events(agent)],
                  [{"a.b": 5, "tenant": 6}, {"tenant": 7}, {"a.b": 5, "tenant": 6}])


@case
def a_source_begins_now_at_a_time_or_at_the_beginning():
    with FakeCosmos() as fake:
        fake.container().upsert({"id": "old", "pk": "p", "n": 1})
        for start, wanted in (("now", [2]), ("beginning", [1, 2]),
                              ("2020-01-01T00:00:00Z", [1, 2])):
            with watch(fake, source=f", start: '{start}'") as agent:
                streaming(agent)
                agent.wait(lambda s: s["sources"]["shop"]["position"], 20)
                fake.container().upsert({"id": f"new{start}", "pk": "p", "n": 2})
                found = wait_seen(agent, len(wanted))
                equal([int(m.split()[-1]) for m in found], wanted)
                equal(len(agent.records("resume")), 2)       # the agent's and the source's
            fake.container().delete({"id": f"new{start}", "pk": "p"})
        with watch(fake, source=", start: '2200-01-01T00:00:00Z'") as agent:
            streaming(agent)
            asked = len(fake.seen)
            wait_until(lambda: any(h.get("If-Modified-Since") for *_, h in fake.seen[asked:]), 20,
                       "a request with a time")
            equal([h["If-Modified-Since"] for *_, h in fake.seen[asked:]
                   if h.get("If-Modified-Since")][0], "Wed, 01 Jan 2200 00:00:00 GMT")
            equal(seen(agent), [])


@case
def a_run_until_caught_up_ends_by_itself():
    with FakeCosmos() as fake:
        for n in range(250):
            fake.container().upsert({"id": f"i{n}", "pk": f"p{n % 9}", "n": n})
        fake.container().split("0")
        agent = watch(fake, source=", start: beginning, max_items: 20")
        agent.start("--until-caught-up", wait=False)
        equal(agent.exit_code(60), 0)
        equal(sorted(int(m.split()[-1]) for m in seen(agent)), list(range(250)))
        agent.verify()
        agent.folder.remove()


@case
def several_containers_are_read_at_once_and_large_documents_too():
    with FakeCosmos() as fake:
        for name in ("a", "b", "c"):
            fake.make(name)
        with watch(fake, containers="[a, b, c]", mode="all_versions") as agent:
            streaming(agent)
            for name in ("a", "b", "c"):
                fake.container(name).upsert(
                    {"id": "big", "pk": name, "n": 1, "text": "\u00fc" * 1000000},
                    {"id": "big", "pk": name, "n": 2, "text": "x" * 2000000})
            wait_seen(agent, 6)
            equal(sorted((e["object"], e["op"]) for e in events(agent)),
                  sorted((f"shop.{n}", op) for n in "abc" for op in ("insert", "replace")))
            position = agent.status()["sources"]["shop"]["position"]
            equal(sorted(p.partition(":")[0] for p in position.split()),
                  ["a/-FF", "b/-FF", "c/-FF"])


@case
def a_policy_that_needs_deletes_is_told_that_it_is_blind():
    policy = POLICY.replace("OPS", "insert, replace, delete").replace("SETTINGS", "")
    with FakeCosmos() as fake, watch(fake, policy=policy) as agent:
        streaming(agent)
        fake.container().upsert({"id": "a", "pk": "p", "n": -1})
        wait_until(lambda: seen(agent, "NEG-001") == ["-1"], 20, "the policy that is not blind")
        wait_until(lambda: [r for r in agent.records("violation")
                            if r["policy"]["id"] == "DGF-COV-1"], 20, "DGF-COV-1")
        equal(seen(agent), [])


@case
def settings_are_told_when_seen_first_and_when_they_change():
    with FakeCosmos() as fake, watch(fake, settings=True, source=", inspect: 1s") as agent:
        streaming(agent)
        wait_until(lambda: len(seen(agent, "SET-001")) == 2, 20, "account and container")
        fake.container().set(defaultTtl=60)
        wait_until(lambda: len(seen(agent, "SET-001")) == 3, 20, "a changed setting")
        equal(seen(agent, "SET-001")[2], "alter (absent) 60")
        agent.kill9()
        fake.container().set(defaultTtl=90)
        agent.start()
        streaming(agent)
        wait_until(lambda: len(seen(agent, "SET-001")) == 4, 20, "what changed meanwhile")
        equal(seen(agent, "SET-001")[3], "alter 60 90")
        fake.consistency = "Eventual"
        wait_until(lambda: len(seen(agent, "SET-001")) == 5, 20, "the account's")
        equal({r["event"]["kind"] for r in agent.records("violation")}, {"setting"})


if __name__ == "__main__":
    sys.exit(main())
