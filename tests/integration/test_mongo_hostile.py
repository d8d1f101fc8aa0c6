#!/usr/bin/env python3
"""Servers that leave things out, spin, lie, or send what cannot be understood."""

import os
import resource
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from cases import case, equal, main, true
from fake_mongo import FakeMongo
from mongo import events, streaming, watch
from servers import wait_until

COLLECTION = ", scope: shop.rows"


def once(*answers):
    """A script that gives these answers to getMore, one after another; then nothing special."""
    left = list(answers)

    def script(_, name):
        if name == "getMore" and left:
            answer = left.pop(0)
            return answer() if callable(answer) else answer
        return None
    return script


def ids(agent):
    return [event["key"]["_id"] for event in events(agent)]


@case
def a_server_without_ns_is_judged_by_the_collection_that_is_watched_and_said():
    with FakeMongo() as fake:
        fake.script = once(fake.batch([fake.event(1, ns=None), fake.event(2, ns=None)]))
        with watch(fake, source=COLLECTION) as agent:
            agent.wait_records(2, "audit")
            equal([(e["object"], e["key"]["_id"]) for e in events(agent)],
                  [("shop.rows", 1), ("shop.rows", 2)])
            agent.wait(lambda s: "leaves out ns" in s["sources"]["shop"]["reason"], 10)


@case
def what_cannot_be_understood_is_a_record_and_the_events_around_it_are_judged():
    with FakeMongo() as fake:
        fake.script = once(fake.batch([
            fake.event(1), fake.event(2, ns=None), fake.event(3, "teleport"),
            fake.event(4, documentKey=None), fake.event(5, operationType=None),
            fake.event(6, "update", fullDocument=None), fake.event(7)]))
        with watch(fake) as agent:
            wait_until(lambda: ids(agent) == [1, 6, 7], 20, lambda: f"1, 6, 7: {ids(agent)}", 0.2)
            equal([r["why"] for r in agent.records("undecodable")],
                  ["the event has no ns", "an operation nobody knows",
                   "the event has no documentKey", "the event has no operationType"])


@case
def a_value_that_is_damaged_or_too_large_is_a_record():
    with FakeMongo() as fake:
        good = fake.bson.encode(fake.event(2))
        bad = good.replace(b"\x10n\0", b"\x08n\0", 1)     # a bool of 4 bytes
        batch = fake.bson.encode(fake.batch([fake.event(1), fake.event(2), fake.event(3)]))
        fake.script = once(batch.replace(good, bad, 1), fake.batch([fake.event(4)]))
        with watch(fake) as agent:
            agent.wait_records(3, "audit")
            equal(ids(agent), [1, 3, 4])
            equal([r["why"] for r in agent.records("undecodable")],
                  ["a value of the document is damaged"])
    with FakeMongo() as fake:
        fake.script = once(fake.batch([
            fake.event(1), fake.event(2, fullDocument={"_id": 2, "big": "x" * 200000}),
            fake.event(3)]))
        with watch(fake, more="limits: {event_bytes: 64KiB}\n") as agent:
            agent.wait_records(2, "audit")
            equal(ids(agent), [1, 3])
            equal([r["why"] for r in agent.records("undecodable")],
                  ["larger than limits.event_bytes"])


@case
def empty_batches_without_waiting_do_not_spin():
    with FakeMongo() as fake:
        def script(_, name):
            return fake.batch([], token=False) if name == "getMore" else None
        fake.script = script
        with watch(fake, source=COLLECTION) as agent:
            streaming(agent)
            time.sleep(2)
            before, cpu = fake.counts["getMore"], agent_cpu(agent)
            time.sleep(4)
            asked = fake.counts["getMore"] - before
            true(asked <= 40, f"asked {asked} times in 4 s")
            true(agent_cpu(agent) - cpu < 1, "more than a second of CPU in 4 s")
            fake.script = once(fake.batch([fake.event(1)], token=False))
            agent.wait_records(1, "audit")


def agent_cpu(agent):
    with open(f"/proc/{agent.child.pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@case
def fragments_of_a_split_event_are_one_and_a_crash_between_them_loses_nothing():
    with FakeMongo() as fake:
        def part(n, **more):
            return {"_id": {"_data": f"part {n}"}, "splitEvent": {"fragment": n, "of": 3}, **more}
        ns = {"db": "shop", "coll": "rows"}
        first = part(1, operationType="insert", clusterTime=fake.stamp(1002), ns=ns)
        second, third = part(2, documentKey={"_id": 2}), part(3, fullDocument={"_id": 2, "n": -1})
        fake.script = once(fake.batch([fake.event(1), first]), fake.batch([second]),
                           fake.batch([third, fake.event(3)]))
        with watch(fake) as agent:
            agent.wait_records(3, "audit")
            equal(ids(agent), [1, 2, 3])
            equal(len(agent.records("violation")), 1, "violations")
    with FakeMongo() as fake:
        fake.script = once(fake.batch([fake.event(1), first, second]),
                           lambda: fake.error(13436, "not primary"),
                           fake.batch([first, second, third]))
        with watch(fake) as agent:
            agent.wait_records(2, "audit")
            equal(ids(agent), [1, 2])
            starts = [c["pipeline"][0]["$changeStream"] for c in fake.seen
                      if next(iter(c)) == "aggregate"]
            equal(starts[-1].get("resumeAfter"), {"_data": "token 1"}, "resumed after")


@case
def a_split_event_that_lacks_a_fragment_is_never_half_judged():
    with FakeMongo() as fake:
        odd = {"_id": {"_data": "odd"}, "splitEvent": {"fragment": 2, "of": 3}}
        fake.script = once(fake.batch([fake.event(1), odd]))
        with watch(fake) as agent:
            agent.wait(lambda s: "out of order" in s["sources"]["shop"]["reason"], 20)
            equal(ids(agent), [1])


@case
def an_event_without_a_token_ends_the_attempt_and_its_text_says_why():
    with FakeMongo() as fake:
        fake.script = once(fake.batch([fake.event(1), fake.event(2, _id=None)]))
        with watch(fake) as agent:
            agent.wait(lambda s: s["sources"]["shop"]["reason"] ==
                       "the server sent an event that cannot be used: the event has no resume "
                       "token", 20)
            equal(ids(agent), [1])


@case
def events_from_before_the_position_are_not_judged_again():
    with FakeMongo() as fake:
        fake.script = once(fake.batch([fake.event(5), fake.event(6)]),
                           fake.batch([fake.event(3), fake.event(7)]))
        with watch(fake) as agent:
            agent.wait_records(3, "audit")
            equal(ids(agent), [5, 6, 7])


@case
def an_invalidate_is_gone_on_from_behind_it():
    with FakeMongo() as fake:
        gone = {"_id": {"_data": "invalid"}, "operationType": "invalidate",
                "clusterTime": fake.stamp(1003)}
        fake.script = once(fake.batch([fake.event(1), gone], cursor=0), fake.batch([fake.event(9)]))
        with watch(fake, source=COLLECTION) as agent:
            agent.wait_records(2, "audit")
            equal(ids(agent), [1, 9])
            starts = [c["pipeline"][0]["$changeStream"] for c in fake.seen
                      if next(iter(c)) == "aggregate"]
            equal(starts[-1].get("startAfter"), {"_data": "invalid"}, "started after")
            true("resumeAfter" not in starts[-1], f"{starts[-1]}")


@case
def the_server_being_behind_our_position_is_a_gap():
    with FakeMongo() as fake:
        fake.script = once(fake.batch([fake.event(1, t=5000)]))
        with watch(fake) as agent:
            agent.wait_records(1, "audit")
            agent.stop()
            fake.now = 4000
            agent.start()
            gap = agent.wait_records(1, "gap")[0]
            equal(gap["reason"], "history_lost")
            true("put back to an older state" in gap["message"], gap["message"])


@case
def an_oplog_that_becomes_too_short_is_warned_of_before_anything_is_lost():
    with FakeMongo() as fake:
        fake.behind, n = True, [0]

        def script(command, name):
            if name == "find" and command["find"] == "oplog.rs":
                return {"ok": 1, "cursor": {"id": fake.bson.Int64(0), "ns": "local.oplog.rs",
                                            "firstBatch": [{"ts": fake.stamp(1000)}]}}
            if name != "getMore" or not fake.behind:
                return None
            time.sleep(0.1)
            n[0] += 1                       # ever more of them
            return fake.batch([fake.event(n[0], t=1001)])
        fake.script = script
        with watch(fake, source=", inspect: 1s") as agent:
            agent.wait_records(1, "audit")
            fake.now = 1601                 # 600 s later, by the server's clock
            agent.wait(lambda s: s["sources"]["shop"]["reason"] ==
                       "600 s behind, and the server's oplog reaches back only 601 s: changes may "
                       "be lost; make the oplog larger", 30)
            fake.behind = False
            agent.wait(lambda s: "oplog" not in s["sources"]["shop"]["reason"], 30)
            equal(agent.records("gap"), [])


@case
def positions_lost_again_and_again_stop_the_source():
    with FakeMongo() as fake:
        def script(command, name):
            stage = command["pipeline"][0]["$changeStream"] if name == "aggregate" else {}
            if "startAtOperationTime" in stage and fake.lost:
                return fake.error(286, "history lost")
            return None
        fake.lost = False
        fake.script = script
        with watch(fake, source=", on_lost: from_now") as agent:
            streaming(agent)
            agent.stop()
            fake.lost = True
            agent.start()
            agent.wait(lambda s: "were lost 3 times" in s["sources"]["shop"]["reason"] and
                       s["sources"]["shop"]["state"] == "retrying", 30)
            true(len(agent.records("gap")) <= 4, "gaps")


@case
def garbage_in_place_of_answers_is_survived():
    # Not among them: an OP_MSG section whose length lies, which ends libmongoc 1.23 itself.
    garbage = [b"\x05\0\0\0\0", struct.pack("<i", 13) + b"\x03cursor\0\0",
               struct.pack("<i", 21) + b"\x01ok\0" + struct.pack("<d", 1) + b"\x99\0\0\0\0"]
    for answer in garbage:
        with FakeMongo() as fake:
            fake.script = once(answer, fake.batch([fake.event(1)]))
            with watch(fake, source=", answer_timeout: 1s") as agent:
                agent.wait_records(1, "audit", 40)
                equal(ids(agent), [1])
                true(agent.running(), "the agent runs")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main(parallel=True)
