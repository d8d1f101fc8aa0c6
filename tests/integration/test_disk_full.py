"""No room in data_dir: sources wait, say so, and go on when there is room."""

import json

import shop
from cases import case, equal, main, true
from servers import Disk, Postgres, wait_until


SMALL = "ledger: {segment_bytes: 8MiB}\n"


@case
def a_full_disk_pauses_the_sources_and_room_lets_them_go_on():
    with Postgres() as pg, Disk("96m") as disk:
        shop.prepare(pg)
        with shop.watch(pg, data_dir=disk.path + "/data", more=SMALL) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 1000, per_tx=10)
            shop.wait_judged(agent, pg)
            disk.fill()
            shop.insert(pg, 1001, 60_000, per_tx=1000)
            paused = said(agent)
            true("space" in json.dumps(paused), f"no word about space: {paused}")
            true(agent.running(), "the agent ended")
            flush = pg.slot(shop.SLOT)["confirmed_flush_lsn"]
            true(flush != pg.lsn(), "acknowledged beyond what could be written")
            disk.empty()
            shop.wait_judged(agent, pg, 120)
            agent.wait(lambda s: s["health"] == "ok", 60)
            records = shop.parse(agent)
            equal(shop.same_rows(pg, records), 61_000)
            equal([r for r in records if r["kind"] == "gap"], [])
            true([r for r in records if r["kind"] == "backpressure"], "no backpressure record")
            agent.verify()


def said(agent):
    """What the log says about the lack of room; status.json itself may not fit the disk."""
    def look():
        return [row for row in agent.log_lines() if "space" in json.dumps(row)]
    return wait_until(look, 60, lambda: "a word about space in the log\n"
                                        f"{agent.log_text()[-2000:]}", every=0.1)


@case
def a_kill_while_the_disk_is_full_loses_nothing():
    with Postgres() as pg, Disk("96m") as disk:
        shop.prepare(pg)
        with shop.watch(pg, data_dir=disk.path + "/data", more=SMALL) as agent:
            agent.wait_source("shop", "streaming")
            disk.fill()
            shop.insert(pg, 1, 60_000, per_tx=1000)
            said(agent)
            agent.kill9()
            agent.start(wait=False)         # may need room for its own state: then it says so
            if agent.wait_gone(3):
                equal(agent.child.returncode, 2, "exit code of a start without room")
                true("disk is full" in agent.log_text() or "space" in agent.log_text(),
                     agent.log_text())
            disk.empty()
            if not agent.running():
                agent.start()
            agent.wait_source("shop", "streaming", 60)
            shop.wait_judged(agent, pg, 120)
            equal(shop.same_rows(pg, shop.parse(agent)), 60_000)
            agent.verify()


@case
def a_start_on_a_full_disk_waits_for_room():
    with Postgres() as pg, Disk("96m") as disk:
        shop.prepare(pg)
        agent = shop.watch(pg, data_dir=disk.path + "/data", more=SMALL)
        disk.fill()
        agent.start(wait=False)
        try:
            with_cause = wait_until(lambda: agent.log_lines(event="cannot start yet"), 30,
                                    lambda: f"no word about the start\n{agent.log_text()}")
            true("space" in with_cause[0]["cause"], with_cause)
            disk.empty()
            agent.wait_source("shop", "streaming", 60)
            shop.insert(pg, 1, 100)
            shop.wait_judged(agent, pg)
            equal(shop.same_rows(pg, shop.parse(agent)), 100)
            agent.verify()
        finally:
            agent.stop()


if __name__ == "__main__":
    main()
