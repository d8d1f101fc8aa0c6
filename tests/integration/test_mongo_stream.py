#!/usr/bin/env python3
"""Changes of collections become judged events."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from cases import case, equal, main, true
from mongo import Mongo, events, streaming, watch
from servers import wait_until


@case
def a_bad_document_is_a_violation():
    with Mongo() as mongo, watch(mongo, source=", scope: shop.rows") as agent:
        streaming(agent)
        rows = mongo.client().shop.rows
        rows.insert_one({"_id": 1, "n": 5})
        rows.insert_one({"_id": 2, "n": -7, "note": "bad"})
        rows.replace_one({"_id": 1}, {"n": -1})
        rows.delete_one({"_id": 2})
        agent.wait_records(4, "audit")
        got = [(e["op"], e["key"]["_id"], e["object"]) for e in events(agent)]
        equal(got, [("insert", 1, "shop.rows"), ("insert", 2, "shop.rows"),
                    ("replace", 1, "shop.rows"), ("delete", 2, "shop.rows")])
        found = agent.records("violation")
        equal([(r["verdict"], r["event"]["key"]["_id"]) for r in found],
              [("violation", 2), ("violation", 1)], "violations")
        true(all(r["event"]["source"] == "shop" for r in found), f"sources of {found}")
        agent.stop()
        agent.verify()


IMAGES = {"changeStreamPreAndPostImages": {"enabled": True}}
UPDATES = """version: 1
info: {title: Shop, owner: test@example.org}
policies:
  - id: UPD-001
    title: Totals stay
    severity: high
    watch: {objects: ["shop.**"], ops: [update]}
    when: after.total < 0
    message: "total {{after.total}}"
    audit: every_event
"""


def verdicts(**options):
    """What UPD-001 says of updates with and without images: id -> verdict."""
    source = "".join(f", {k}: {v}" for k, v in options.items())
    with Mongo() as mongo, watch(mongo, policy=UPDATES, source=source) as agent:
        shop = mongo.client().shop
        shop.create_collection("images", **IMAGES)
        for rows in (shop.images, shop.plain):
            rows.insert_many([{"_id": 1, "total": 5, "in": {"x": 1}},
                              {"_id": 2, "total": -5, "in": {"x": 1}}])
        streaming(agent)
        for rows in (shop.images, shop.plain):
            rows.update_one({"_id": 1}, {"$set": {"total": -1}})
            rows.update_one({"_id": 2}, {"$set": {"in.x": 2}})
        agent.wait_records(4, "audit")
        return {(r["event"]["object"], r["event"]["key"]["_id"]): r["verdict"]
                for r in agent.records("audit")}


@case
def an_update_is_judged_exactly_with_a_pre_image_and_for_review_without():
    equal(verdicts(), {("shop.images", 1): "violation", ("shop.images", 2): "violation",
                       ("shop.plain", 1): "review", ("shop.plain", 2): "review"})


@case
def a_lookup_is_never_judged_as_the_new_document():
    equal(verdicts(full_document="updateLookup", before="off"),
          {("shop.images", 1): "review", ("shop.images", 2): "review",
           ("shop.plain", 1): "review", ("shop.plain", 2): "review"})


@case
def transactions_are_whole_and_an_aborted_one_reaches_nobody():
    with Mongo() as mongo, watch(mongo) as agent:
        client = mongo.client()
        client.shop.rows.insert_one({"_id": 0})
        agent.wait_records(0, "audit")
        streaming(agent)
        with client.start_session() as session:
            with session.start_transaction():
                for i in (1, 2, 3):
                    client.shop.rows.insert_one({"_id": i}, session=session)
            session.start_transaction()
            client.shop.rows.insert_one({"_id": 4}, session=session)
            session.abort_transaction()
        client.shop.rows.insert_one({"_id": 5})
        wait_until(lambda: [e["key"]["_id"] for e in events(agent)][-4:] == [1, 2, 3, 5], 20,
                   "documents 1, 2, 3 and 5", 0.2)
        tx = [e.get("tx") for e in events(agent)][-4:]
        true(tx[0] and tx[0] == tx[1] == tx[2] and tx[3] is None, f"transactions {tx}")


@case
def schema_changes_are_events_and_indexes_among_them():
    policy = UPDATES.replace("ops: [update]", "ops: [create, alter, drop, rename], kinds: [schema]"
                             ).replace("after.total < 0", "true").replace("{{after.total}}", "")
    with Mongo() as mongo, watch(mongo, policy=policy) as agent:
        streaming(agent)
        shop = mongo.client().shop
        shop.create_collection("made")
        shop.made.create_index("x", unique=True)
        shop.made.rename("other")
        shop.other.drop()
        agent.wait_records(4, "audit")
        equal([(e["op"], e["object"]) for e in events(agent)],
              [("create", "shop.made"), ("alter", "shop.made"), ("rename", "shop.made"),
               ("drop", "shop.other")])


@case
def only_the_collections_that_are_wanted_are_judged():
    with Mongo() as mongo, \
            watch(mongo, source=', include: ["shop.*"], exclude: ["shop.no*"]') as agent:
        streaming(agent)
        client = mongo.client()
        for database, name in (("shop", "rows"), ("shop", "nothing"), ("pay", "rows"),
                               ("shop", "last")):
            client[database][name].insert_one({"_id": name})
        agent.wait_records(2, "audit")
        equal([e["object"] for e in events(agent)], ["shop.rows", "shop.last"])


if __name__ == "__main__":
    main(parallel=True)
