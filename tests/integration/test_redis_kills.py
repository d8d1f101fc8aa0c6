"""kill -9 of the agent at random times while entries arrive: 50 kills, each mode."""

import os
import random
import threading
import time

import orders
from cases import case, equal, main, note, true
from redis import Redis
from servers import wait_until

KILLS = int(os.environ.get("KILLS", "50"))
STREAMS = ("s:1", "s:2", "s:3")


class Producer(threading.Thread):
    """Adds entries to three streams until it is told to end."""

    def __init__(self, redis):
        super().__init__(daemon=True)
        self.client, self.ids = redis.client(), {name: [] for name in STREAMS}
        self.ends, self.n = threading.Event(), 0

    def run(self):
        while not self.ends.is_set():
            names = [STREAMS[i % 3] for i in range(60)]
            answers = self.client.many([["XADD", name, "*", "id", self.n + i, "n", 1]
                                        for i, name in enumerate(names)])
            self.n += 60
            for name, answer in zip(names, answers):
                self.ids[name].append(answer)
            time.sleep(0.002)


def campaign(mode, seed):
    rng = random.Random(seed)
    with Redis() as redis:
        agent = orders.watch(redis, streams='["s:*"]', source=f", count: 200{mode}")
        producer = Producer(redis)
        behind = 0
        with agent:
            producer.start()
            for _ in range(KILLS):
                time.sleep(rng.uniform(0.01, 0.12))
                agent.kill9()
                before = sum(len(orders.ids(agent.records(), name)) for name in STREAMS) \
                    if rng.random() < 0.1 else None
                behind += before is not None and before < producer.n
                agent.start(wait=rng.random() < 0.5)
            producer.ends.set()
            producer.join()
            orders.wait_judged(agent, producer.n, 120)
            agent.wait(lambda s: s["health"] == "ok")
            records = agent.records()
            for name in STREAMS:
                orders.same_entries(producer.ids[name], records, name)
            equal(len({r["id"] for r in records}), len(records), "distinct records")
            equal([r for r in records if r["kind"] in ("gap", "divergence", "undecodable")], [])
            if mode:
                for name in STREAMS:
                    wait_until(lambda name=name: redis.do("XPENDING", name, "dgf")[0] == 0, 20,
                               f"the pending entries of {name} to be acknowledged")
            true(behind > 0, "no kill came while entries waited")
            agent.verify()
            note(f"{KILLS} kills, {producer.n} entries, each judged once")


@case
def kills_by_position_lose_and_repeat_nothing():
    campaign("", 3)


@case
def kills_by_group_lose_and_repeat_nothing():
    campaign(", mode: group, max_deliveries: 1000", 4)


if __name__ == "__main__":
    main(parallel=True)
