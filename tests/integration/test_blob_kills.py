"""kill -9 of the agent at random times while blobs change, by both ways: 50 kills.

Azurite is never killed: it would lose what it was given."""

import os
import random
import threading
import time

import media
from azurite import Azurite
from cases import case, equal, main, note, true
from changefeed import ChangeFeed, change, notice

KILLS = int(os.environ.get("KILLS", "50"))
HOURS = 8


def hour(n):
    return f"2035-01-10T{n:02}:00"      # after the agent began: what only the feed has is late


class Producer(threading.Thread):
    """Sends notices, one in five of them twice, and closes hours of the feed that hold
    each of them, and some that the queue never brings."""

    def __init__(self, azurite, feed):
        super().__init__(daemon=True)
        self.azurite, self.feed = azurite, feed
        self.ends, self.n, self.error = threading.Event(), 0, None
        self.paths = []
        self.hour = 0

    def run(self):
        try:
            pending = []
            while not self.ends.is_set():
                for _ in range(20):
                    self.n += 1
                    self.paths.append(f"media/out/{self.n}.csv")
                    at = hour(self.hour) + ":30Z"
                    pending.append(change(self.n, time=at))
                    if self.n % 7:                      # each seventh only the feed has
                        for _ in range(2 if self.n % 5 == 0 else 1):
                            self.azurite.put_message("events", notice(self.n, time=at))
                if len(pending) >= 100 and self.hour < HOURS:
                    self.close(pending)
                    pending = []
            self.close(pending)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def close(self, changes):
        self.feed.hour(hour(self.hour), [changes[::2], changes[1::2]])
        self.feed.consumable(hour(self.hour))
        self.hour += 1


@case
def kills_with_traffic_on_both_ways_lose_and_repeat_nothing():
    rng = random.Random(5)
    with Azurite() as azurite:
        azurite.put_container("media")
        azurite.put_queue("events")
        feed = ChangeFeed(azurite)
        feed.consumable("2026-01-09T00:00")
        producer = Producer(azurite, feed)
        agent = media.watch(azurite, feed=True, source=", visibility: 2s, max_dequeues: 100, "
                            "inspect: 1h")
        with agent:
            producer.start()
            behind = 0
            for _ in range(KILLS):
                time.sleep(rng.uniform(0.05, 0.4))
                agent.kill9()
                behind += azurite.count("events") > 0
                agent.start(wait=rng.random() < 0.5)
            producer.ends.set()
            producer.join(120)
            equal(producer.error, None)
            media.wait_judged(agent, producer.n, 180)
            media.wait_empty(azurite, seconds=120)
            media.wait_read_to(agent, hour(producer.hour - 1), 120)
            agent.wait(lambda s: s["health"] == "ok")
            records = agent.records()
            media.once_each(producer.paths, records)
            equal(len({r["id"] for r in records}), len(records), "distinct records")
            equal([r for r in records if r["kind"] in ("gap", "divergence", "undecodable")], [])
            true(behind > 0, "no kill came while messages waited")
            agent.verify()
            agent.stop()
            counts = media.counted(agent)
            true(counts.get("late", 0) >= producer.n // 7, f"late ones: {counts}")
            equal(counts.get("only_queue", 0), 0)
            note(f"{KILLS} kills, {producer.n} changes, each judged once, {counts['late']} by "
                 f"the feed alone; {behind} kills while messages waited")


if __name__ == "__main__":
    main()
