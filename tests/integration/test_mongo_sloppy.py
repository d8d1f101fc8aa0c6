#!/usr/bin/env python3
"""mongo-java-server: a real server that leaves things out and answers without waiting."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from cases import case, equal, main, true
from mongo import SloppyMongo, events, streaming, watch
from servers import wait_until

COLLECTION = ", scope: shop.rows"


def insert(mongo, *ids):
    mongo.do(insert="rows", documents=[{"_id": i, "n": 1} for i in ids])


def cpu_seconds(agent):
    with open(f"/proc/{agent.child.pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@case
def what_the_sloppy_server_leaves_out_is_said_and_no_change_is_left_out():
    with SloppyMongo() as mongo, watch(mongo, source=COLLECTION) as agent:
        streaming(agent)
        mongo.do(insert="rows", documents=[{"_id": 1, "n": 5}, {"_id": 2, "n": -5}])
        mongo.do(update="rows", updates=[{"q": {"_id": 1}, "u": {"$set": {"n": -1}}}])
        mongo.do(delete="rows", deletes=[{"q": {"_id": 2}, "limit": 1}])
        agent.wait_records(4, "audit")
        equal([(r["event"]["op"], r["event"]["object"], r["verdict"])
               for r in agent.records("audit")],
              [("insert", "shop.rows", "pass"), ("insert", "shop.rows", "violation"),
               ("update", "shop.rows", "review"), ("delete", "shop.rows", "pass")])
        status = agent.wait(lambda s: "leaves out ns" in s["sources"]["shop"]["reason"])
        equal(status["sources"]["shop"]["reason"],
              "collection 'shop.rows' of a single server; the server leaves out ns or "
              "updateDescription: less can be judged")


@case
def a_server_that_never_waits_costs_no_busy_loop():
    with SloppyMongo() as mongo, watch(mongo, source=COLLECTION) as agent:
        streaming(agent)
        time.sleep(1)
        before = cpu_seconds(agent)
        time.sleep(4)
        true(cpu_seconds(agent) - before < 0.6, "more than 0.6 s of CPU in 4 s")
        insert(mongo, 1)
        agent.wait_records(1, "audit")


@case
def kills_and_a_sloppy_server_lose_and_repeat_nothing():
    with SloppyMongo() as mongo, watch(mongo, source=COLLECTION) as agent:
        streaming(agent)
        insert(mongo, 0)
        agent.wait_records(1, "audit")
        for n in range(5):
            insert(mongo, *range(20 * n or 1, 20 * n + 10))
            agent.kill9()
            insert(mongo, *range(20 * n + 10, 20 * n + 20))
            agent.start(wait=False)
        wait_until(lambda: len(events(agent)) >= 100, 60, "100 judged documents", 0.2)
        equal([e["key"]["_id"] for e in events(agent)], list(range(100)))
        equal(agent.records("gap"), [])


@case
def a_server_that_gave_no_position_before_a_restart_is_a_gap():
    with SloppyMongo() as mongo, \
            watch(mongo, source=COLLECTION + ", on_lost: from_now") as agent:
        streaming(agent)
        agent.kill9()
        insert(mongo, 1)
        agent.start()
        streaming(agent)
        equal([(r["reason"], r["message"]) for r in agent.wait_records(1, "gap")],
              [("history_lost", "the server had given no position to go on from; what came "
                                "meanwhile is unknown")])
        insert(mongo, 2)
        agent.wait_records(1, "audit")
        equal([e["key"]["_id"] for e in events(agent)], [2])


@case
def a_sloppy_server_that_was_killed_is_gone_on_from():
    with SloppyMongo() as mongo, watch(mongo, source=COLLECTION) as agent:
        streaming(agent)
        insert(mongo, 1, 2)
        agent.wait_records(2, "audit")
        mongo.kill9()
        os.truncate(mongo.log, 0)
        mongo.start()
        insert(mongo, 3, 4)
        wait_until(lambda: [e["key"]["_id"] for e in events(agent)] == [1, 2, 3, 4], 60,
                   lambda: f"documents 3 and 4: {events(agent)} {agent.status()}", 0.2)


if __name__ == "__main__":
    main(parallel=True)
