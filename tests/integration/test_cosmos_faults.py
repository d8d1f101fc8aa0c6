#!/usr/bin/env python3
"""Splits, merges, throttling, broken answers, lost positions, regions, clocks and rights of
a Cosmos DB account."""

import collections
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from cases import case, equal, main, true
from cosmos import seen, streaming, wait_seen, watch
from fake_cosmos import FakeCosmos, epk
from servers import wait_until

KEYS = 40


class Writer(threading.Thread):
    """Writes numbered documents until it is stopped; numbers says how many."""

    def __init__(self, fake, pause=0.004, name="orders"):
        super().__init__(daemon=True)
        self.fake, self.pause, self.name_of = fake, pause, name
        self.numbers, self.over = 0, threading.Event()

    def run(self):
        while not self.over.wait(self.pause):
            self.write()

    def write(self):
        self.numbers += 1
        self.fake.container(self.name_of).upsert(
            {"id": f"i{self.numbers}", "pk": f"p{self.numbers % KEYS}", "n": self.numbers})

    def stop(self):
        self.over.set()
        self.join()
        return self.numbers


def numbers(agent):
    return [int(message.split()[-1]) for message in seen(agent)]


def all_once(agent, n, seconds=60):
    wait_seen(agent, n, seconds)
    counts = collections.Counter(numbers(agent))
    equal(sorted(counts), list(range(1, n + 1)))
    equal([k for k, v in counts.items() if v > 1], [], "judged twice")
    equal(agent.records("gap"), [])


def splits_and_merges(mode):
    with FakeCosmos() as fake, watch(fake, mode=mode, source=", max_items: 5") as agent:
        streaming(agent)
        orders, writer = fake.container(), Writer(fake)
        writer.start()
        for step in (lambda: orders.split("0"), lambda: orders.split("1"),
                     lambda: fake.fault("docs", 2, status=410, substatus=1007),
                     lambda: orders.merge("3", "4"), lambda: orders.split("2"),
                     lambda: orders.merge("5", "6"),
                     lambda: fake.fault("docs", 2, status=410, substatus=1008)):
            before = writer.numbers
            wait_until(lambda b=before: writer.numbers > b + 30, 20, "traffic")
            step()
        all_once(agent, writer.stop())
        agent.wait(lambda s: len(s["sources"]["shop"]["position"].split()) >= 4, 20)
        agent.stop()
        agent.start()                       # from a position with parts of a merged range
        streaming(agent)
        for _ in range(20):
            writer.write()
        all_once(agent, writer.numbers)
        true(any(h.get("x-ms-read-key-type") for *_, h in fake.seen), "parts were asked for")


@case
def splits_and_merges_lose_nothing_of_every_version():
    splits_and_merges("all_versions")


@case
def splits_and_merges_lose_nothing_of_latest_versions():
    splits_and_merges("latest_version")


@case
def a_split_while_nobody_reads_is_found_at_the_start():
    with FakeCosmos() as fake, watch(fake, mode="all_versions") as agent:
        writer = Writer(fake)
        streaming(agent)
        for _ in range(10):
            writer.write()
        all_once(agent, 10)
        agent.stop()
        fake.container().split("0")
        fake.container().split("2")
        for _ in range(10):
            writer.write()
        agent.start()
        all_once(agent, 20)


@case
def throttling_is_waited_out_and_said():
    with FakeCosmos() as fake, watch(fake, mode="all_versions") as agent:
        streaming(agent)
        writer = Writer(fake)
        fake.throttle(25, 60)
        writer.start()
        wait_until(lambda: not fake.faults, 30, "25 refusals")
        all_once(agent, writer.stop())
        equal(agent.status()["sources"]["shop"]["state"], "streaming")
        seen_at = [t for t, _, _, path, _ in fake.seen if path.endswith("/docs")]
        waits = [b - a for a, b in zip(seen_at, seen_at[1:])]
        true(sum(1 for w in waits if w >= 0.055) >= 20, "the waits the server asked for")


@case
def a_storm_of_throttling_uses_no_more_than_the_budget():
    with FakeCosmos() as fake, watch(fake, mode="all_versions",
                                     source=", max_ru: 100, poll: {min: 10ms, max: 10ms}") as agent:
        fake.charge = 20
        streaming(agent)
        asked = len(fake.seen)
        begin = fake.seen[-1][0]
        wait_until(lambda: fake.seen[-1][0] - begin > 4, 20, "four seconds")
        docs = [t for t, _, _, path, _ in fake.seen[asked:] if path.endswith("/docs")]
        true(10 <= len(docs) <= 30, f"{len(docs)} requests of 20 units in 4 s of 100 units")


@case
def what_passes_is_tried_again_and_nothing_is_skipped():
    with FakeCosmos() as fake, watch(fake, mode="all_versions", source=", max_items: 3") as agent:
        streaming(agent)
        writer = Writer(fake)
        for status, substatus in ((449, 0), (408, 0), (500, 0), (503, 0), (404, 1002), (410, 1000)):
            fake.fault("docs", 1, status=status, substatus=substatus)
            for _ in range(10):
                writer.write()
            all_once(agent, writer.numbers)
        for fault in ({"torn": True}, {"empty": True}, {"cut": True}, {"drop": True},
                      {"slow": 0.4}, {"delay": 0.3}, {"body": "no json"},
                      {"body": '{"Documents":[],"_count":3}'}, {"body": '{"Documents":7}'}):
            for _ in range(10):
                writer.write()
            fake.fault("docs", 2, pages=True, **fault)
            all_once(agent, writer.numbers)
        equal(agent.records("undecodable"), [])


@case
def a_start_through_broken_answers_gets_there():
    with FakeCosmos() as fake:
        for kind in ("account", "colls", "pkranges"):
            for fault in ({"torn": True}, {"empty": True}, {"status": 503}, {"body": "[]"}):
                fake.fault(kind, 1, **fault)
        fake.fault("pkranges", 1, body='{"PartitionKeyRanges":[{"id":"7","minInclusive":"",'
                   '"maxExclusive":"20"}]}')
        with watch(fake, mode="all_versions") as agent:
            streaming(agent, 60)
            Writer(fake).write()
            wait_until(lambda: numbers(agent) == [1], 40, "what was written")


@case
def a_container_that_stays_stale_is_given_back_at_a_pace():
    with FakeCosmos() as fake, watch(fake, mode="all_versions") as agent:
        streaming(agent)
        fake.fault("docs", 10000, status=410, substatus=1000)
        asked = len(fake.seen)
        agent.wait(lambda s: s["sources"]["shop"]["state"] == "retrying" and
                   "410/1000" in s["sources"]["shop"]["reason"], 60)
        true(len(fake.seen) - asked < 200, f"{len(fake.seen) - asked} requests")
        fake.faults.clear()
        Writer(fake).write()
        all_once(agent, 1)


@case
def an_empty_answer_never_moves_the_position():
    with FakeCosmos() as fake, watch(fake, mode="all_versions") as agent:
        streaming(agent)
        fake.fault("docs", 60, empty=True, pages=True)
        Writer(fake).write()
        fake.container().upsert({"id": "i2", "pk": "p", "n": 2})
        agent.wait(lambda s: s["sources"]["shop"]["state"] == "retrying", 40)
        true("it is empty" in agent.status()["sources"]["shop"]["reason"] or
             "it is empty" in open(agent.log, encoding="utf-8").read(), "the cause is said")
        equal(seen(agent), [])
        fake.faults.clear()
        all_once(agent, 2)


@case
def a_page_that_is_never_understood_is_a_record_and_the_rest_goes_on():
    with FakeCosmos() as fake:
        fake.make("other")
        with watch(fake, mode="all_versions", containers="[orders, other]") as agent:
            streaming(agent)
            fake.fault("docs", 3, pages=True, container="orders", body='{"Documents":[{"id":"a",]}')
            fake.container().upsert({"id": "lost", "pk": "p", "n": 1})
            record = agent.wait_records(1, "undecodable", seconds=40)[0]
            equal((record["what"], record["size"]), ("page", 26))
            fake.container().upsert({"id": "b", "pk": "p", "n": 2})
            fake.container("other").upsert({"id": "c", "pk": "p", "n": 3})
            wait_until(lambda: {2, 3} <= set(numbers(agent)), 30, "what came after it")


def write_to(fake, ident, n):
    """A document whose key is in that range; number n."""
    orders = fake.container()
    bounds = next((r["minInclusive"], r["maxExclusive"]) for r in orders.ranges
                  if r["id"] == ident)
    key = next(k for k in (f"k{i}" for i in range(1000)) if orders.in_range(epk([k]), *bounds))
    orders.upsert({"id": f"n{n}", "pk": key, "n": n})


@case
def a_range_that_fails_does_not_stop_the_others():
    with FakeCosmos() as fake:
        fake.container().split("0")
        with watch(fake, mode="all_versions") as agent:
            streaming(agent)
            for n, ident in ((1, "1"), (2, "2")):
                write_to(fake, ident, n)
            all_once(agent, 2)
            fake.fault("docs", 1000000, pages=True, range="1", empty=True)
            write_to(fake, "1", 3)
            reason = agent.wait(lambda s: s["health"] == "degraded" and "cannot read range" in
                                s["sources"]["shop"]["reason"], 60)["sources"]["shop"]["reason"]
            true("it is empty" in reason and "range '-2000" in reason, reason)
            for n in range(4, 10):                  # long after the sixth attempt
                write_to(fake, "2", n)
                wait_until(lambda n=n: n in numbers(agent), 20, "the other range to be read")
                equal(agent.status()["sources"]["shop"]["state"], "streaming")
            true(3 not in numbers(agent), "the page that never came")
            fake.faults.clear()
            all_once(agent, 9)
            agent.wait(lambda s: s["health"] == "ok", 20)
            equal(agent.records("undecodable"), [])
            agent.verify()


@case
def a_container_without_a_feed_does_not_stop_the_others():
    with FakeCosmos() as fake:
        fake.make("plain", changeFeedPolicy=None)
        with watch(fake, mode="all_versions", containers="[plain, orders]") as agent:
            agent.wait(lambda s: s["sources"]["shop"]["state"] == "streaming" and
                       "'plain' gives no all_versions feed" in s["sources"]["shop"]["reason"], 60)
            fake.container().upsert({"id": "a", "pk": "p", "n": 1})
            wait_until(lambda: numbers(agent) == [1], 20, "the other container to be read")
            fake.container("plain").set(changeFeedPolicy={"retentionDuration": 10080})
            agent.wait(lambda s: s["health"] == "ok", 60)
            fake.container("plain").upsert({"id": "b", "pk": "p", "n": 2})
            all_once(agent, 2)
            agent.stop()
            agent.start()                           # from a position with both
            fake.container("plain").upsert({"id": "c", "pk": "p", "n": 3})
            all_once(agent, 3)


@case
def ranges_are_read_side_by_side():
    with FakeCosmos() as fake:
        for ident in ("0", "1", "2"):
            fake.container().split(ident)
        with watch(fake, mode="all_versions") as agent:
            streaming(agent)
            fake.fault("docs", 1000, delay=1)
            asked = len(fake.seen)

            def together():
                """Four ranges asked within less than an answer takes."""
                found = [(t, h["x-ms-documentdb-partitionkeyrangeid"])
                         for t, _, _, path, h in fake.seen[asked:] if path.endswith("/docs")]
                return any(len({r for t, r in found[i:i + 4]}) == 4 and
                           found[i + 3][0] - found[i][0] < 0.9 for i in range(len(found) - 3))
            wait_until(together, 60, "four ranges to be asked at once")
            fake.faults.clear()


@case
def a_document_that_cannot_be_taken_is_a_record():
    with FakeCosmos() as fake, watch(fake, mode="all_versions",
                                     more="limits: {event_bytes: 64KiB}\n") as agent:
        streaming(agent)
        orders = fake.container()
        deep = 1
        for _ in range(120):
            deep = [deep]
        orders.upsert({"id": "a", "pk": "p", "n": 1}, {"id": "b", "pk": "p", "big": "x" * 99999},
                      {"id": "c", "pk": "p", "deep": deep}, {"id": "d", "pk": "p", "n": 4})
        wait_until(lambda: numbers(agent) == [1, 4], 30, "what is around them")
        equal([(r["what"], r["why"]) for r in agent.records("undecodable")],
              [("document", "larger than limits.event_bytes"), ("document", "nested too deeply")])
        agent.wait(lambda s: s["sources"]["shop"]["undecodable"] == 2 and
                   s["sources"]["shop"]["gaps"] == 0, 20, "status.json to say so")


@case
def a_position_beyond_the_retention_is_a_gap_with_bounds():
    with FakeCosmos() as fake, watch(fake, mode="all_versions") as agent:
        streaming(agent)
        orders, writer = fake.container(), Writer(fake)
        writer.write()
        wait_seen(agent, 1)
        agent.wait(lambda s: s["sources"]["shop"]["position"].startswith("-FF:"), 20)
        agent.stop()
        writer.write()
        orders.forget()
        agent.start()
        gap = agent.wait_records(1, "gap")[0]
        equal(gap["reason"], "retention_exceeded")
        equal((gap["from"], gap["to"]), ("-FF:11", f"-FF:{orders.lsn}"))
        agent.wait(lambda s: s["sources"]["shop"]["gaps"] == 1, 20, "status.json to say so")
        writer.write()
        wait_until(lambda: numbers(agent) == [1, 3], 20, "what comes after the gap")
        equal(len(agent.records("gap")), 1)


@case
def a_token_the_server_refuses_is_a_gap_of_latest_versions():
    with FakeCosmos() as fake, watch(fake) as agent:
        streaming(agent)
        Writer(fake).write()
        wait_seen(agent, 1)
        fake.fault("docs", 1, status=400, message="Invalid continuation")
        equal(agent.wait_records(1, "gap")[0]["reason"], "token_invalid")
        fake.container().upsert({"id": "b", "pk": "p", "n": 2})
        wait_until(lambda: numbers(agent) == [1, 2], 20, "what comes after the gap")


def recreated(mode, wanted, while_running):
    with FakeCosmos() as fake:
        fake.make("other")
        with watch(fake, mode=mode, containers="[orders, other]") as agent:
            streaming(agent)
            fake.container().upsert({"id": "a", "pk": "p", "n": 1})
            wait_seen(agent, 1)
            if not while_running:
                agent.stop()
            with fake.lock:
                fake.recreate()
                fake.container().upsert({"id": "b", "pk": "p", "n": 2})
            if not while_running:
                agent.start()
            gap = agent.wait_records(1, "gap")[0]
            equal(gap["reason"], "container_recreated")
            true("orders/-FF:" in gap["from"] and "orders/-FF:" in gap["to"], gap)
            fake.container().upsert({"id": "c", "pk": "p", "n": 3})
            fake.container("other").upsert({"id": "d", "pk": "p", "n": 4})
            wait_until(lambda: sorted(numbers(agent)) == wanted, 30, lambda: f"{seen(agent)}")
            equal(len(agent.records("gap")), 1)


@case
def a_recreated_container_is_a_gap_and_read_from_its_beginning():
    recreated("latest_version", [1, 2, 3, 4], True)
    recreated("latest_version", [1, 2, 3, 4], False)


@case
def with_every_version_a_recreated_container_goes_on_from_now():
    recreated("all_versions", [1, 3, 4], True)


@case
def a_container_that_is_gone_is_said_and_the_others_go_on():
    with FakeCosmos() as fake:
        fake.make("other")
        with watch(fake, mode="all_versions", containers="[orders, other, never]") as agent:
            streaming(agent)
            agent.wait(lambda s: "'never' does not exist" in s["sources"]["shop"]["reason"], 20)
            fake.remove()
            agent.wait(lambda s: "'orders' does not exist" in s["sources"]["shop"]["reason"], 20)
            fake.container("other").upsert({"id": "a", "pk": "p", "n": 1})
            wait_seen(agent, 1)
            equal(agent.status()["sources"]["shop"]["state"], "streaming")


@case
def another_account_at_the_same_address_is_a_gap():
    with FakeCosmos() as fake, watch(fake, mode="all_versions") as agent:
        streaming(agent)
        agent.wait(lambda s: s["sources"]["shop"]["position"], 20)
        agent.stop()
        fake.account = "somebody"
        agent.start()
        equal(agent.wait_records(1, "gap")[0]["reason"], "system_changed")


@case
def another_mode_is_a_gap():
    with FakeCosmos() as fake, watch(fake) as agent:
        streaming(agent)
        agent.wait(lambda s: s["sources"]["shop"]["position"], 20)
        agent.stop()
        with open(agent.config, encoding="utf-8") as file:
            text = file.read()
        agent.write_config(text.replace("latest_version", "all_versions"))
        agent.start()
        equal(agent.wait_records(1, "gap")[0]["reason"], "token_invalid")


@case
def another_region_is_read_when_one_is_down():
    with FakeCosmos(regions=("West Europe", "North Europe")) as fake:
        with watch(fake, mode="all_versions",
                   source=", regions: [North Europe, West Europe]") as agent:
            streaming(agent)
            writer = Writer(fake)
            writer.write()
            all_once(agent, 1)
            true(fake.seen[-1][1] == "North Europe", fake.seen[-1][1])
            fake.down = {"North Europe"}
            writer.write()
            all_once(agent, 2)
            true(fake.seen[-1][1] == "West Europe", fake.seen[-1][1])
            fake.down = {"North Europe", "West Europe"}
            writer.write()
            all_once(agent, 3)
            fake.down = set()
            fake.fault("docs", 1, status=403, substatus=3)
            writer.write()
            all_once(agent, 4)


@case
def a_clock_that_is_wrong_is_corrected_and_said():
    with FakeCosmos(skew=-3600) as fake, watch(fake, mode="all_versions") as agent:
        streaming(agent)
        agent.wait(lambda s: "clock of this machine is" in s["sources"]["shop"]["reason"] and
                   "ahead of" in s["sources"]["shop"]["reason"], 20)
        Writer(fake).write()
        all_once(agent, 1)


if __name__ == "__main__":
    sys.exit(main())
