#!/usr/bin/env python3
"""MongoDB: agents that are killed, positions that are lost, servers that fail."""

import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from cases import case, equal, main, note, true
from mongo import Mongo, config, events, streaming, watch
from servers import wait_until

KILLS = int(os.environ.get("KILLS", "50"))


class Writer(threading.Thread):
    """Inserts documents 1, 2, 3 ...; every tenth time three of them in a transaction."""

    def __init__(self, mongo):
        super().__init__(daemon=True)
        self.client = mongo.client()
        self.go_on = True
        self.last = 0
        self.error = None

    def run(self):
        rows = self.client.shop.rows
        try:
            while self.go_on:
                if self.last % 10 == 0:
                    with self.client.start_session() as session, session.start_transaction():
                        for i in range(1, 4):
                            rows.insert_one({"_id": self.last + i, "n": i}, session=session)
                    self.last += 3
                else:
                    rows.insert_one({"_id": self.last + 1, "n": 1})
                    self.last += 1
                time.sleep(0.002)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def end(self):
        self.go_on = False
        self.join(60)
        true(self.error is None, f"the writer failed: {self.error}")


def inserted(agent):
    return [event["key"]["_id"] for event in events(agent, "insert")]


def same_documents(agent, n):
    """Judged exactly documents 1 to n, each once, in order."""
    equal(inserted(agent), list(range(1, n + 1)), "judged documents")


@case
def fifty_kills_under_load_judge_every_document_once():
    random.seed(20)
    with Mongo(sync=True) as mongo, watch(mongo, source=", batch_size: 50") as agent:
        streaming(agent)
        writer = Writer(mongo)
        writer.start()
        for _ in range(KILLS):
            time.sleep(random.uniform(0.02, 0.3))
            agent.kill9()
            agent.start(wait=False)
        streaming(agent, 60)
        writer.end()
        wait_until(lambda: len(agent.records("audit")) >= writer.last, 60, "all documents", 0.5)
        same_documents(agent, writer.last)
        equal(agent.records("gap"), [], "gaps")
        note(f"{KILLS} kills, {writer.last} documents")
        agent.stop()
        agent.verify()


@case
def a_server_killed_and_restarted_costs_nothing():
    with Mongo(sync=True) as mongo, watch(mongo) as agent:
        streaming(agent)
        rows = mongo.client().shop.rows
        for i in range(1, 21):
            rows.insert_one({"_id": i})
        agent.wait_records(20, "audit")
        mongo.kill9()
        agent.wait(lambda s: "refused" in s["sources"]["shop"]["reason"], 20)
        reason = agent.status()["sources"]["shop"]["reason"]
        equal(reason, f"cannot connect to '127.0.0.1:{mongo.port}': connection refused")
        mongo.start()
        rows = mongo.client().shop.rows
        for i in range(21, 41):
            rows.insert_one({"_id": i})
        agent.wait_records(40, "audit", 60)
        same_documents(agent, 40)
        equal(agent.records("gap"), [], "gaps")


@case
def a_server_that_hangs_is_named_and_waited_for():
    source = ", answer_timeout: 1s, connect_timeout: 1s"
    with Mongo() as mongo, watch(mongo, source=source) as agent:
        streaming(agent)
        mongo.pause()
        status = agent.wait(lambda s: s["sources"]["shop"]["state"] == "retrying", 40)
        true("no answer" in status["sources"]["shop"]["reason"], status["sources"]["shop"])
        mongo.resume()
        mongo.client().shop.rows.insert_one({"_id": 1})
        agent.wait_records(1, "audit", 60)
        mongo.pause()
        agent.stop(seconds=15)          # a thread in a call that hangs is not waited for
        mongo.resume()


def lose_position(mongo, agent):
    """The agent stops behind document 1; the oplog then forgets where it was."""
    streaming(agent)
    rows = mongo.client().shop.rows
    rows.insert_one({"_id": 1})
    agent.wait_records(1, "audit")
    agent.stop()
    for _ in range(13):
        mongo.client().other.noise.insert_many([{"x": 1} for _ in range(200)])
    rows.insert_one({"_id": 2})
    return rows


@case
def a_lost_position_is_one_gap_and_reading_goes_on_from_now():
    with Mongo(oplog=200) as mongo, watch(mongo, source=", on_lost: from_now") as agent:
        rows = lose_position(mongo, agent)
        agent.start()
        gap = agent.wait_records(1, "gap")[0]
        streaming(agent)
        rows.insert_one({"_id": 3})
        agent.wait_records(2, "audit")
        equal(inserted(agent), [1, 3], "judged documents")
        equal(gap["reason"], "history_lost")
        first = events(agent, "insert")[0]
        true(float(gap["from"].partition(":")[0]) >= float(first["position"].partition(":")[0]),
             f"{gap} begins before {first}")
        true(gap["to"].endswith(":-"), f"{gap}")
        equal(len(agent.records("gap")), 1, "gaps")
        agent.kill9()
        agent.start()
        streaming(agent)
        rows.insert_one({"_id": 4})
        agent.wait_records(3, "audit")
        equal(inserted(agent), [1, 3, 4], "judged documents")
        equal(len(agent.records("gap")), 1, "gaps")


@case
def a_lost_position_with_at_time_goes_on_as_early_as_the_server_can():
    with Mongo(oplog=200) as mongo, watch(mongo, source=", on_lost: at_time") as agent:
        lose_position(mongo, agent)
        agent.start()
        agent.wait_records(2, "audit")
        equal(inserted(agent), [1, 2], "judged documents")
        equal([gap["reason"] for gap in agent.records("gap")], ["history_lost"])


@case
def a_lost_position_with_stop_reads_nothing_until_a_person_decides():
    with Mongo(oplog=200) as mongo, watch(mongo) as agent:
        rows = lose_position(mongo, agent)
        agent.start()
        agent.wait(lambda s: "on_lost: stop" in s["sources"]["shop"]["reason"], 20)
        first = agent.wait_records(1, "gap")
        agent.stop()
        agent.start()
        agent.wait(lambda s: "nothing is read" in s["sources"]["shop"]["reason"], 20)
        rows.insert_one({"_id": 3})
        equal(len(agent.records("gap")), 1, "gaps")
        agent.stop()
        with open(agent.config, encoding="utf-8") as file:
            text = file.read()
        agent.write_config(text.replace("max_await:", "on_lost: from_now, max_await:"))
        agent.start()
        agent.wait_records(2, "audit")
        equal(inserted(agent), [1, 3], "judged documents: 3 came after the gap's end")
        equal(agent.records("gap"), first, "gaps")


@case
def a_first_start_begins_where_it_is_told_to_and_only_the_first():
    with Mongo() as mongo:
        mongo.client().other.noise.insert_one({"x": 1})     # the oplog's oldest entry
        rows = mongo.client().shop.rows
        rows.insert_many([{"_id": 1}, {"_id": 2}])
        there = [1, 2]
        for start in ("beginning", "now", "2020-01-31T00:00:00Z"):
            wanted = [] if start == "now" else list(there)
            with watch(mongo, source=f", start: '{start}', scope: shop, on_lost: at_time") as agent:
                agent.wait_records(len(wanted), "audit")
                streaming(agent)
                equal(inserted(agent), wanted, f"judged with start: {start}")
                agent.kill9()
                agent.start()
                streaming(agent)
                there.append(there[-1] + 1)
                rows.insert_one({"_id": there[-1]})
                agent.wait_records(len(wanted) + 1, "audit")
                equal(inserted(agent), [*wanted, there[-1]], f"judged with start: {start}")
        with watch(mongo) as agent:
            agent.stop()
            with open(agent.config, encoding="utf-8") as file:
                agent.write_config(file.read().replace("max_await:", "start: soon, max_await:"))
            done = agent.run("check", "-c", agent.config, check=False)
            true("'soon' in start is none of now, beginning" in done.stdout + done.stderr,
                 done.stdout + done.stderr)


@case
def resumable_errors_are_resumed_without_a_word():
    with Mongo() as mongo, watch(mongo) as agent:
        streaming(agent)
        rows = mongo.client().shop.rows
        for i, more in enumerate(({"errorCode": 136, "errorLabels": ["ResumableChangeStreamError"]},
                                  {"errorCode": 43}, {"closeConnection": True}), 1):
            rows.insert_one({"_id": 2 * i - 1})
            agent.wait_records(2 * i - 1, "audit")
            mongo.fail_point({"times": 1}, failCommands=["getMore"], **more)
            rows.insert_one({"_id": 2 * i})
            agent.wait_records(2 * i, "audit")
        same_documents(agent, 6)
        equal(agent.records("gap"), [], "gaps")


@case
def a_stream_that_cannot_get_past_a_position_is_a_gap_after_three_attempts():
    with Mongo() as mongo, watch(mongo, source=", on_lost: from_now") as agent:
        streaming(agent)
        rows = mongo.client().shop.rows
        rows.insert_one({"_id": 1})
        agent.wait_records(1, "audit")
        mongo.fail_point("alwaysOn", failCommands=["getMore"], errorCode=10334)
        gap = agent.wait_records(1, "gap", 60)[0]
        equal(gap["reason"], "source_poison")
        mongo.fail_point("off")
        streaming(agent, 60)


@case
def collections_dropped_and_made_again_under_load_are_gone_on_from():
    with Mongo() as mongo, \
            watch(mongo, source=", scope: shop.rows") as agent:
        streaming(agent)
        shop = mongo.client().shop
        for i in range(1, 31):
            shop.rows.insert_one({"_id": i})
            if i % 10 == 0:
                shop.rows.drop()
        wait_until(lambda: len(inserted(agent)) >= 30, 60, "30 documents", 0.5)
        same_documents(agent, 30)
        equal(agent.records("gap"), [], "gaps")


@case
def a_stream_of_another_scope_goes_on_without_a_hole_and_says_since_when():
    with Mongo() as mongo:
        shop = mongo.client().shop
        one, two = ", scope: shop.rows", ", scope: shop"
        shapes = [(two, "scope is another one"),
                  (two + ", exclude: [shop.late]", "include or exclude are other ones"),
                  (two + ", exclude: [shop.late], full_document: updateLookup",
                   "full_document, before or expanded_events is another one"),
                  (one, "scope is another one")]
        with watch(mongo, source=one) as agent:
            streaming(agent)

            def judged():
                return sorted((e["object"], e["key"]["_id"]) for e in events(agent))

            def said():
                return [r["message"] for r in agent.records("resume")
                        if "covered since" in r["message"]]
            shop.other.insert_one({"_id": 0})  # before its time
            shop.rows.insert_one({"_id": 0})
            wanted = [("shop.rows", 0)]
            wait_until(lambda: judged() == wanted, 30, lambda: f"judged {judged()}")
            for n, (source, why) in enumerate(shapes, 1):
                agent.stop()
                shop.rows.insert_one({"_id": n})
                shop.other.insert_one({"_id": n})
                agent.write_config(config(mongo, source=source))
                agent.start()
                wanted = sorted(wanted + [("shop.rows", n)] +
                                ([("shop.other", n)] if source != one else []))
                wait_until(lambda: judged() == wanted, 30, lambda: f"judged {judged()}")
                wait_until(lambda: len(said()) == n + 1, 20, lambda: f"records {said()}")
                true(why in said()[-1], said())
            agent.stop()
            agent.start()
            streaming(agent)
            equal(len(said()), len(shapes) + 1, "of the same shape nothing is said")
            equal(judged(), wanted)
            equal(agent.records("gap"), [])


if __name__ == "__main__":
    main(parallel=True)
