#!/usr/bin/env python3
"""Cosmos DB and Blob Storage together, read by one agent: kill -9 while both change, and an
archive that lies in the account that is watched."""

import collections
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import cosmos
import media
from agent import Agent
from azurite import Azurite
from cases import case, equal, main, note, true
from changefeed import ChangeFeed, change, notice
from fake_cosmos import FakeCosmos
from fault_proxy import FaultProxy
from servers import wait_until
from test_blob_kills import Producer, hour
from test_cosmos_kills import Writer

KILLS = int(os.environ.get("KILLS", "12"))
POLICY = """version: 1
info: {title: Azure, owner: test@example.org}
policies:
  - id: SEEN-001
    title: Every document, in words
    severity: info
    watch: {objects: ["shop.**"], ops: [insert, replace, delete, expire]}
    when: "true"
    message: "{{event.op}} {{after.n}}"
    audit: every_event
  - id: CSV-001
    title: No tables
    severity: high
    watch: {objects: ["media/**"], kinds: [notice]}
    when: event.op == "create" && after.content_type == "text/csv"
    message: "{{after.path}}"
    audit: every_event
"""


def config(fake, azurite):
    return f"""agent: {{name: test, env: test, data_dir: "{{data_dir}}"}}
sources:
  shop: {{type: cosmos, url: "{fake.url}", database: shop, containers: [orders, other],
         mode: all_versions, max_items: 7, max_ru: 100000, poll: {{min: 20ms, max: 100ms}},
         auth: key, key: "{fake.key}", insecure: true}}
  files: {{type: blob, url: "{azurite.url()}", queue: "{azurite.url("queue")}/events", poll: 50ms,
          feed: true, feed_poll: 100ms, start: beginning, visibility: 2s, max_dequeues: 100,
          inspect: 1h, auth: key, key: "{azurite.key}", insecure: true}}
policies: [{{dir}}/policies]
"""


def of_source(records, name):
    return [r for r in records if r["kind"] == "audit" and r["event"]["source"] == name]


def disturb(fake, rng, kill):
    """Partitions split and merge, and the gateway tears and throttles."""
    orders = fake.container()
    if kill % 6 == 3:
        orders.split()
    if kill % 6 == 5:
        orders.merge(orders.ranges[0]["id"], orders.ranges[1]["id"])
    fake.fault("docs", 1, pages=True, **rng.choice(
        [{"torn": True}, {"cut": True}, {"empty": True}, {"drop": True}]))
    fake.throttle(1, 20)


def at_end(status, fake):
    """Each container is covered from "" to FF without a hole or an overlap, and every range
    of it stands at the container's end.  How many ranges there are depends on which splits
    the agent saw: those that were merged again stay apart in its position."""
    ranges = collections.defaultdict(list)
    for part in status["sources"]["shop"]["position"].split():
        name, _, rest = part.partition("/")
        bounds, _, etag = rest.rpartition(":")
        low, _, high = bounds.partition("-")
        ranges[name].append((low, high, etag))
    if sorted(ranges) != ["orders", "other"]:
        return False
    for name, found in ranges.items():
        reached = ""
        for low, high, etag in sorted(found):
            if low != reached or etag != str(fake.container(name).lsn):
                return False
            reached = high
        if reached != "FF":
            return False
    return True


def whole(agent, fake, azurite, writer, producer):
    """Every change was judged once, nothing waits, and both cursors stand at the end."""
    cosmos.wait_seen(agent, writer.n, 180)
    media.wait_empty(azurite, seconds=180)
    media.wait_read_to(agent, hour(producer.hour - 1), 180)
    agent.wait_records(writer.n + producer.n, "audit", 180)
    agent.wait(lambda s: s["health"] == "ok" and
               all(x["caught_up"] for x in s["sources"].values()), 60)
    records = agent.records()
    counts = collections.Counter(int(m.split()[-1]) for m in cosmos.seen(agent))
    equal(sorted(counts), list(range(writer.n)), "documents")
    equal([n for n, times in counts.items() if times > 1], [], "documents judged twice")
    equal(len(of_source(records, "shop")), writer.n, "judged events of documents")
    media.once_each(producer.paths, of_source(records, "files"))
    equal(sum(r["kind"] == "violation" and r["policy"]["id"] == "CSV-001" for r in records),
          producer.n, "violations by blobs")
    equal(len({r["id"] for r in records}), len(records), "distinct records")
    equal([r for r in records if r["kind"] in ("gap", "divergence", "undecodable")], [])
    agent.wait(lambda s: at_end(s, fake), 60, "the cursors of both containers at their ends")
    return len(records)


@case
def kills_with_traffic_on_documents_and_blobs_lose_and_repeat_nothing():
    rng = random.Random(15)
    with FakeCosmos() as fake, Azurite() as azurite:
        fake.make("other")
        azurite.put_container("media")
        azurite.put_queue("events")
        feed = ChangeFeed(azurite)
        feed.consumable("2026-01-09T00:00")
        writer, producer = Writer(fake), Producer(azurite, feed)
        behind = 0
        with Agent(config(fake, azurite), policies={"azure.yaml": POLICY}) as agent:
            agent.wait(lambda s: len(s["sources"]["shop"]["position"].split()) == 2, 30)
            for thread in (writer, producer):
                thread.start()
            for kill in range(KILLS):
                time.sleep(rng.uniform(0.05, 0.3))
                disturb(fake, rng, kill)
                agent.kill9()
                behind += azurite.count("events") > 0
                agent.start(wait=rng.random() < 0.5)
            writer.over.set()
            producer.ends.set()
            for thread in (writer, producer):
                thread.join(120)
            equal(producer.error, None)
            n = whole(agent, fake, azurite, writer, producer)
            true(behind > 0, "no kill came while messages waited")
            agent.kill9()                   # once more, with nothing left to read
            agent.start()
            agent.wait(lambda s: all(x["caught_up"] for x in s["sources"].values()), 60)
            again = [r for r in agent.records()[n:] if r["kind"] in ("audit", "violation", "gap")]
            equal(again, [], "judged after the end")
            agent.verify()
            note(f"{KILLS} kills, {writer.n} documents and {producer.n} blobs, each judged once; "
                 f"{behind} kills while messages waited")


class Mirror(threading.Thread):
    """Tells of every object somebody writes through the proxy, as Event Grid does; keeps what
    the change feed must say of it."""

    def __init__(self, azurite, proxy, container, at):
        super().__init__(daemon=True)
        self.azurite, self.proxy, self.at = azurite, proxy, at
        self.above = f"/{azurite.account}/{container}/"
        self.container, self.ends = container, threading.Event()
        self.changes, self.error, self.n_told = [], None, 0

    def tell(self, n, path, client, container, times=1):
        more = {"path": path, "container": container, "clientRequestId": client,
                "time": self.at + ":30Z"}
        self.changes.append(change(n, **more))
        for _ in range(times):
            self.azurite.put_message("events", notice(n, **more))
            self.n_told += 1

    def run(self):
        done = 0
        try:
            while not self.ends.wait(0.02):
                log = self.proxy.log[done:]
                for i, (_, method, path, query, status, client) in enumerate(log, done):
                    if method == "PUT" and status == 201 and path.startswith(self.above) and \
                            "comp=block&" not in query + "&":
                        self.tell(1000 + i, path[len(self.above):], client, self.container,
                                  times=2 if i % 5 == 0 else 1)
                done += len(log)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error


@case
def our_own_archive_in_the_watched_account_is_told_of_both_ways_and_never_judged():
    at = hour(1)
    with Azurite() as azurite, FaultProxy(azurite.blob_port) as proxy:
        for name in ("media", "evidence"):
            azurite.put_container(name)
        azurite.put_queue("events")
        feed = ChangeFeed(azurite)
        feed.consumable("2026-01-09T00:00")
        mirror = Mirror(azurite, proxy, "evidence", at)
        url = proxy.url(azurite.account)
        sinks = (f'ledger: {{cut_every: 1s}}\nsinks: {{vault: {{type: blob, url: "{url}/evidence", '
                 f'auth: key, key: "{azurite.key}", insecure: true}}}}\n')
        agent = media.watch(azurite, feed=True, source=", inspect: 1h", more=sinks)
        agent.write_config(media.config(azurite, feed=True, source=", inspect: 1h", more=sinks)
                           .replace(f'url: "{azurite.url()}"', f'url: "{url}"'))
        with agent:
            mirror.start()
            wanted = []
            for n in range(5):
                mirror.tell(n, f"out/{n}.csv", "somebody", "media")
                mirror.tell(100 + n, f"theirs/{n}", "somebody", "evidence")
                wanted += [f"media/out/{n}.csv", f"evidence/theirs/{n}"]
                seals = proxy.count("PUT", "/evidence/.*checkpoint", 201)
                wait_until(lambda n=seals: proxy.count("PUT", "/evidence/.*checkpoint", 201) > n,
                           60, "the archive to be written to")
            media.wait_judged(agent, len(wanted))
            mirror.ends.set()
            mirror.join(60)
            equal(mirror.error, None)
            feed.hour(at, [mirror.changes[::2], mirror.changes[1::2]])
            feed.consumable(at)
            media.wait_read_to(agent, at)
            media.wait_empty(azurite)
            agent.stop()
            media.once_each(wanted, agent.records())
            equal([r for r in agent.records() if r["kind"] in ("gap", "undecodable")], [])
            counts, own = media.counted(agent), len(mirror.changes) - len(wanted)
            true(own >= 10, f"only {own} objects of our own were told of")
            true(counts["own_archive"] >= mirror.n_told - len(wanted) + own,
                 f"{counts}, {own} objects of our own, told of {mirror.n_told} times")
            equal((counts.get("late", 0), counts.get("only_queue", 0)), (0, 0))
            note(f"{own} objects of our own archive, told of {counts['own_archive']} times")


if __name__ == "__main__":
    main()
