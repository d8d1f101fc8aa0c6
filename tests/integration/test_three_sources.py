#!/usr/bin/env python3
"""One agent, one policy file, three databases: PostgreSQL, Redis, MongoDB."""

import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import shop
from agent import Agent
from cases import case, equal, main, note, true
from mongo import Mongo
from redis import Redis
from servers import Postgres, running, wait_until

KILLS = int(os.environ.get("KILLS", "50"))
POLICY = """version: 1
info: {title: Three, owner: test@example.org}
policies:
  - id: NEG-001
    title: Nothing is negative
    severity: high
    watch: {objects: ["**"], ops: [insert]}
    when: int(after.n) < 0
    message: "n is negative"
    audit: every_event
"""


class Traffic(threading.Thread):
    """Calls write(i) for 1, 2, 3 ... until told to end; keeps what it answered."""

    def __init__(self, write):
        super().__init__(daemon=True)
        self.write, self.go_on, self.written, self.error = write, True, [], None

    def run(self):
        try:
            while self.go_on:
                self.written.append(self.write(len(self.written) + 1))
                time.sleep(0.003)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error


def config(pg, redis, mongo):
    return f"""agent: {{name: test, env: test, data_dir: "{{data_dir}}"}}
sources:
  rows: {{type: postgres, url: "{pg.conninfo('dgf', 'dgf-secret')}"}}
  orders: {{type: redis, url: "{redis.url()}", streams: [orders], insecure: true}}
  docs: {{type: mongo, url: "{mongo.url()}", scope: shop, max_await: 100ms, insecure: true}}
policies: [{{dir}}/policies]
"""


def judged(records, source):
    return [r["event"] for r in records
            if r["kind"] == "audit" and r["event"]["source"] == source]


@case
def kills_with_traffic_on_three_databases_lose_and_repeat_nothing():
    random.seed(4)
    with running(Postgres(), Redis(), Mongo(sync=True)) as (pg, redis, mongo):
        shop.prepare(pg)
        redis.do("XADD", "orders", "*", "n", "0")
        agent = Agent(config(pg, redis, mongo), policies={"three.yaml": POLICY})
        client = redis.client()
        docs = mongo.client().shop.docs

        def document(i):
            docs.insert_one({"_id": i, "n": i % 5 - 1})
            return i

        def entry(i):
            return client.do("XADD", "orders", "*", "n", str(i % 5 - 1))

        def row(i):
            shop.insert(pg, i, 1, value=str(i % 5 - 1))
            return i
        with agent:
            for name in ("rows", "orders", "docs"):
                agent.wait_source(name, "streaming")
            threads = [Traffic(write) for write in (row, entry, document)]
            for thread in threads:
                thread.start()
            for _ in range(KILLS):
                time.sleep(random.uniform(0.05, 0.3))
                agent.kill9()
                agent.start(wait=False)
            for thread in threads:
                thread.go_on = False
            for thread in threads:
                thread.join(60)
                true(thread.error is None, f"{thread.error!r}")
            rows, entries, documents = (thread.written for thread in threads)
            n = len(rows) + len(entries) + len(documents)
            wait_until(lambda: len(agent.records("audit")) >= n, 90, f"{n} judged events", 0.5)
            records = shop.parse(agent)
            equal([e["key"]["id"] for e in judged(records, "rows")], rows, "rows")
            equal([e["key"]["_id"] for e in judged(records, "docs")], documents, "documents")
            got = [e["position"].rpartition(":")[2] for e in judged(records, "orders")]
            equal([i for i in got if i in set(entries)], entries, "entries")
            true(len(got) - len(entries) <= 1, "entries: only the first may be another one")
            equal([r for r in records if r["kind"] == "gap"], [], "gaps")
            bad = sum(i % 5 == 0 for w in (rows, entries, documents) for i in range(1, len(w) + 1))
            equal(sum(r["kind"] == "violation" for r in records), bad, "violations")
            note(f"{KILLS} kills, {len(rows)} rows, {len(entries)} entries, "
                 f"{len(documents)} documents")
            agent.stop()
            agent.verify()


if __name__ == "__main__":
    main()
