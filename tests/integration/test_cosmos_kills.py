#!/usr/bin/env python3
"""kill -9 of the agent at random times while documents arrive, partitions split and merge and
the gateway throttles and tears."""

import collections
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from cases import case, equal, main, note, true
from cosmos import seen, wait_seen, watch
from fake_cosmos import FakeCosmos

KILLS = int(os.environ.get("KILLS", "50"))


class Writer(threading.Thread):
    """Writes to two containers; now and then several documents in one transaction."""

    def __init__(self, fake):
        super().__init__(daemon=True)
        self.fake, self.n, self.over = fake, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.005):
            target = self.fake.container(("orders", "other")[self.n % 2])
            size = 4 if self.n % 50 == 7 else 1
            target.transaction(*[{"id": f"i{self.n + k}", "pk": f"p{self.n % 30}",
                                  "n": self.n + k} for k in range(size)])
            self.n += size


def campaign(mode, seed, kills):
    rng = random.Random(seed)
    with FakeCosmos() as fake:
        fake.make("other")
        agent = watch(fake, mode=mode, containers="[orders, other]", source=", max_items: 7")
        writer = Writer(fake)
        behind = 0
        with agent:
            agent.wait(lambda s: len(s["sources"]["shop"]["position"].split()) == 2, 30)
            writer.start()
            for kill in range(kills):
                time.sleep(rng.uniform(0.02, 0.25))
                if kill % 10 == 3:
                    fake.container().split()
                if kill % 10 == 8:
                    ranges = fake.container().ranges
                    fake.container().merge(ranges[0]["id"], ranges[1]["id"])
                fake.fault("docs", 1, pages=True, **rng.choice(
                    [{"torn": True}, {"cut": True}, {"empty": True}, {"drop": True}]))
                fake.throttle(1, 20)
                agent.kill9()
                behind += len(seen(agent)) < writer.n if rng.random() < 0.1 else 0
                agent.start(wait=rng.random() < 0.5)
            writer.over.set()
            writer.join()
            wait_seen(agent, writer.n, 120)
            agent.wait(lambda s: s["health"] == "ok")
            counts = collections.Counter(int(m.split()[-1]) for m in seen(agent))
            equal(sorted(counts), list(range(writer.n)))
            equal([n for n, times in counts.items() if times > 1], [], "judged twice")
            records = agent.records()
            equal(len({r["id"] for r in records}), len(records), "distinct records")
            equal([r for r in records if r["kind"] in ("gap", "undecodable")], [])
            true(behind > 0 or kills < 30, "no kill came while documents waited")
            agent.verify()
            note(f"{kills} kills, {writer.n} documents, each judged once")


@case
def kills_lose_and_repeat_nothing():
    campaign("all_versions", 5, KILLS)


@case
def kills_lose_and_repeat_no_latest_version():
    campaign("latest_version", 6, KILLS // 3)


if __name__ == "__main__":
    main(parallel=True)
