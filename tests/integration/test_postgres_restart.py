"""The server goes away and comes back, under load."""

import random
import signal
import threading
import time

import shop
from cases import case, equal, main, true
from servers import Failed, Postgres, wait_until

BATCH = 50


class Load:
    """Commits batches of rows until told to stop; a failed commit is tried again later
    under other ids, so that the table itself is the truth."""

    def __init__(self, pg):
        self.pg, self.going, self.next, self.errors = pg, True, 1, 0
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        while self.going:
            try:
                shop.insert(self.pg, self.next, BATCH, per_tx=10)
            except (Failed, OSError):
                self.errors += 1
                time.sleep(0.05)
            self.next += BATCH

    def stop(self):
        self.going = False
        self.thread.join(60)


@case
def restarts_of_every_kind_lose_and_repeat_nothing():
    rng = random.Random(7)
    with Postgres(sync=True) as pg:
        shop.prepare(pg)
        with shop.watch(pg) as agent:
            agent.wait_source("shop", "streaming")
            load = Load(pg)
            for how in ("fast", "immediate", "kill9", "kill9", "fast"):
                time.sleep(0.3 + rng.random() * 0.5)
                if how == "kill9":
                    pg.kill9()
                else:
                    pg.stop(signal.SIGINT if how == "fast" else signal.SIGQUIT)
                agent.wait(lambda s: s["sources"]["shop"]["state"] != "streaming", 20,
                           f"the source to notice a {how} stop")
                pg.start()
                agent.wait_source("shop", "streaming", 60)
            wait_until(lambda: int(pg.sql("SELECT count(*) FROM shop.rows")) > 10 * BATCH, 60,
                       "the load to get on", every=0.2)
            load.stop()
            shop.wait_judged(agent, pg)
            records = shop.parse(agent)
            true(shop.same_rows(pg, records) > 10 * BATCH, "no load")
            equal([r for r in records if r["kind"] == "gap"], [])
            equal(agent.wait(lambda s: s["health"] == "ok")["health"], "ok")
            agent.verify()


@case
def a_rolled_back_transaction_reaches_nobody():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg) as agent:
            agent.wait_source("shop", "streaming")
            pg.sql("BEGIN; INSERT INTO shop.rows VALUES (1, -1); ROLLBACK;"
                   "BEGIN; INSERT INTO shop.rows VALUES (2, -2); SAVEPOINT a;"
                   "INSERT INTO shop.rows VALUES (3, -3); ROLLBACK TO a; COMMIT;")
            shop.wait_judged(agent, pg)
            equal(shop.judged(shop.parse(agent)), [2])
            equal([r["event"]["key"] for r in agent.records("violation")], [{"id": 2}])


@case
def a_connection_that_says_nothing_is_noticed_by_the_kernel():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg) as agent:
            agent.wait_source("shop", "streaming")
            with open("/proc/net/tcp", encoding="ascii") as file:
                rows = [line.split() for line in file.readlines()[1:]]
            timers = [row[5].split(":") for row in rows
                      if row[2].endswith(f":{pg.port:04X}") and row[3] == "01"]
            equal(len(timers), 2, "connections of the agent")
            for kind, left in timers:       # 2: keepalive, or 1: waits for an answer
                true(kind in ("01", "02"), f"no timer: {kind}")
                true(int(left, 16) <= 3000, f"{int(left, 16) / 100} s")


if __name__ == "__main__":
    main(parallel=True)
