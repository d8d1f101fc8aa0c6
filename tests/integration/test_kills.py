"""kill -9 at random times under load: 50 kills here, KILLS=1000 for a campaign.

A kill counts when at least 1,000 committed rows were not acknowledged yet."""

import os
import random
import statistics
import threading
import time

import shop
from shop import bound, lsn_of
from cases import case, equal, main, note, true
from servers import Kafka, Postgres, running, wait_until

KILLS = int(os.environ.get("KILLS", "50"))
BURST = 6000
MIN_UNACKNOWLEDGED = 1000

MARKS = """
CREATE SCHEMA bench;        -- not shop: the publication lacks this table, and that would be said
CREATE TABLE bench.marks (rows int, lsn pg_lsn, at timestamptz);
CREATE PROCEDURE shop.burst(first bigint, n int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 0 .. n / 10 - 1 LOOP
    INSERT INTO shop.rows SELECT first + i * 10 + j, 1, 'note' FROM generate_series(0, 9) j;
    INSERT INTO bench.marks VALUES (10, pg_current_wal_insert_lsn(), clock_timestamp());
    COMMIT;
  END LOOP;
END $$;
"""


def unacknowledged(pg, when):
    """Rows committed before `when` whose transaction began beyond the slot's position."""
    return int(pg.sql(f"SELECT coalesce(sum(rows), 0) FROM bench.marks, pg_replication_slots s "
                      f"WHERE s.slot_name = '{shop.SLOT}' AND lsn > confirmed_flush_lsn "
                      f"AND at < to_timestamp({when})"))


def acknowledged_is_durable(pg, agent):
    """The server was never told more than the ledger holds."""
    flush = lsn_of(pg.slot(shop.SLOT)["confirmed_flush_lsn"])
    held = bound(agent.stats()["sources"]["shop"])
    true(flush <= held, f"acknowledged {flush:x}, the ledger holds {held:x}")


def first_new_event(pg, start, before, seconds=10):
    """Seconds until the slot moves on from where it stood when the agent was killed."""
    wait_until(lambda: lsn_of(pg.slot(shop.SLOT)["confirmed_flush_lsn"]) > before, seconds,
               "the first new event after a restart", every=0.01)
    return time.monotonic() - start


@case
def fifty_kills_under_load_lose_and_repeat_nothing():
    rng = random.Random(11)
    with running(Postgres("synchronous_commit = off"), Kafka()) as (pg, kafka):
        shop.prepare(pg)
        pg.sql(MARKS)
        kafka.create_dgf_topics("dgf.test")
        with shop.watch(pg, shop.kafka_sink(kafka.bootstrap)) as agent:
            agent.wait_source("shop", "streaming")
            descriptors, threads = agent.n_descriptors(), agent.n_threads()
            at, counts, times, tries = 1, [], [], 0
            while len(counts) < KILLS:
                tries += 1
                true(tries < 4 * KILLS + 20, f"only {len(counts)} of {tries} kills counted")
                burst = threading.Thread(target=pg.sql, args=(f"CALL shop.burst({at}, {BURST})",))
                burst.start()
                at += BURST
                time.sleep(rng.uniform(0.05, 0.25))
                agent.kill9()
                when = time.time()
                burst.join()
                n = unacknowledged(pg, when)
                acknowledged_is_durable(pg, agent)
                before = lsn_of(pg.slot(shop.SLOT)["confirmed_flush_lsn"])
                start = time.monotonic()
                agent.start()
                if n:               # else there is no new event to wait for
                    times.append(first_new_event(pg, start, before))
                if n >= MIN_UNACKNOWLEDGED:
                    counts.append(n)
            shop.wait_judged(agent, pg, 120)
            shop.wait_delivered(agent, seconds=120)
            agent.wait(lambda s: s["health"] == "ok")
            true(agent.n_descriptors() <= descriptors + 2, "descriptors leak")
            true(agent.n_threads() <= threads + 2, "threads leak")
            agent.stop()
            records = shop.parse(agent)
            rows = shop.same_rows(pg, records)
            equal(len({r["id"] for r in records}), len(records), "distinct records")
            equal([r for r in records if r["kind"] == "gap"], [])
            repeats = shop.same_in_kafka(kafka, agent.lines())
            agent.verify()
            note(f"{tries} kills, {len(counts)} with at least {MIN_UNACKNOWLEDGED} rows "
                 f"unacknowledged (least {min(counts)}, median "
                 f"{int(statistics.median(counts))}); {rows} rows; {repeats} repeats in Kafka; "
                 f"first new event after {statistics.median(times):.2f} s, at most "
                 f"{max(times):.2f} s")
            true(sorted(times)[int(len(times) * 0.99)] <= 3.0, "restart took more than 3 s")


if __name__ == "__main__":
    main()
