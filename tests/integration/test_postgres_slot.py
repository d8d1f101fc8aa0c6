"""What happens to the slot while nobody looks: each loss is one exact gap record."""

import os
import shutil
import subprocess
import time

import shop
from shop import bound, lsn_of
from cases import case, equal, main, true
from servers import Postgres, wait_until


def stopped_after_ten_rows(pg):
    """An agent that judged rows 1 to 10 and was stopped, and its last position."""
    shop.prepare(pg)
    agent = shop.watch(pg)
    agent.start()
    agent.wait_source("shop", "streaming")
    shop.insert(pg, 1, 10)
    shop.wait_judged(agent, pg)
    agent.stop()
    return agent, agent.stats()["sources"]["shop"]


def one_gap(agent, reason, source_from):
    """After its start: exactly one gap with that reason, bound at what was judged."""
    agent.wait_source("shop", "streaming", 30)
    agent.wait_records(1, "gap")
    found = shop.gaps(agent)
    equal([gap["reason"] for gap in found], [reason])
    equal(found[0].get("from"), source_from, "from")
    return found[0]


def goes_on(agent, pg, first, skipped=()):
    """Later rows are judged, after the gap, and the skipped ones are not."""
    shop.insert(pg, first, 5)
    shop.wait_judged(agent, pg)
    records = shop.parse(agent)
    ids = shop.judged(records)
    equal(ids, list(range(1, 11)) + list(range(first, first + 5)))
    true(not set(skipped) & set(ids), "a skipped row was judged")
    kinds = [(r["kind"], r["event"]["key"]["id"]) if r["kind"] == "audit" else (r["kind"], 0)
             for r in records if r["kind"] in ("gap", "audit")]
    true(kinds.index(("gap", 0)) < kinds.index(("audit", first)), "the gap came after the rows")
    agent.verify()


@case
def a_missing_slot_is_made_again_and_is_one_gap():
    with Postgres() as pg:
        agent, last = stopped_after_ten_rows(pg)
        pg.sql(f"SELECT pg_drop_replication_slot('{shop.SLOT}')")
        shop.insert(pg, 11, 5)
        before = lsn_of(pg.lsn())
        with agent:
            gap = one_gap(agent, "slot_missing", last)
            true(bound(gap["to"]) >= before, f"the gap ends too early: {gap['to']}")
            goes_on(agent, pg, 21, skipped=range(11, 16))
            equal(len(shop.gaps(agent)), 1, "gaps")


@case
def a_recreated_slot_is_one_gap():
    with Postgres() as pg:
        agent, last = stopped_after_ten_rows(pg)
        pg.sql(f"SELECT pg_drop_replication_slot('{shop.SLOT}')")
        shop.insert(pg, 11, 5)
        pg.sql(f"SELECT pg_create_logical_replication_slot('{shop.SLOT}', 'pgoutput')")
        confirmed = pg.slot(shop.SLOT)["confirmed_flush_lsn"]
        with agent:
            gap = one_gap(agent, "slot_recreated", last)
            equal(bound(gap["to"]), lsn_of(confirmed), "end of the gap")
            goes_on(agent, pg, 21, skipped=range(11, 16))
            equal(len(shop.gaps(agent)), 1, "gaps")


@case
def a_lost_slot_is_one_gap():
    with Postgres("max_slot_wal_keep_size = 1MB\nmax_wal_size = 32MB\nmin_wal_size = 32MB") as pg:
        agent, last = stopped_after_ten_rows(pg)
        shop.insert(pg, 11, 5)
        pg.sql("CREATE TABLE filler (t text)")

        def lost():
            pg.sql("INSERT INTO filler SELECT repeat('x', 500) FROM generate_series(1, 20000)")
            pg.sql("SELECT pg_switch_wal()")
            pg.sql("CHECKPOINT")
            return pg.slot(shop.SLOT)["wal_status"] == "lost"
        wait_until(lost, 60, "the slot to be lost")
        with agent:
            one_gap(agent, "slot_lost", last)
            goes_on(agent, pg, 21, skipped=range(11, 16))
            equal(len(shop.gaps(agent)), 1, "gaps")


@case
def a_slot_advanced_by_somebody_else_is_one_gap():
    with Postgres() as pg:
        agent, last = stopped_after_ten_rows(pg)
        shop.insert(pg, 11, 5)
        end = pg.sql(f"SELECT end_lsn FROM pg_replication_slot_advance('{shop.SLOT}', "
                     "pg_current_wal_lsn())")
        with agent:
            gap = one_gap(agent, "slot_ahead", last)
            equal(bound(gap["to"]), lsn_of(end), "end of the gap")
            goes_on(agent, pg, 21, skipped=range(11, 16))
            equal(len(shop.gaps(agent)), 1, "gaps")


@case
def a_slot_in_use_is_waited_for_and_its_holder_is_named():
    with Postgres() as pg:
        agent, _ = stopped_after_ten_rows(pg)
        other = shop.watch(pg)
        with agent, other:
            holder = pg.sql("SELECT active_pid FROM pg_replication_slots")
            status = other.wait_source("shop", "standby")
            if not holder or holder not in status["sources"]["shop"]["reason"]:
                holder = pg.sql("SELECT active_pid FROM pg_replication_slots")
                true(holder in status["sources"]["shop"]["reason"],
                     f"pid {holder} is not named: {status['sources']['shop']['reason']}")
            said = other.log_lines(event="source waits")
            equal(len(said), 1, "lines in the log about the wait")
            true("is in use by pid" in said[0]["cause"], said[0])
            true(said[0]["cause"].endswith("(application_name 'dgf', client 127.0.0.1)"), said[0])
            shop.insert(pg, 11, 5)
            shop.wait_judged(agent, pg)
            agent.kill9()
            other.wait_source("shop", "streaming", 60)
            shop.insert(pg, 21, 5)
            shop.wait_judged(other, pg)
            ids = shop.judged(shop.parse(other))
            equal([i for i in ids if i > 20], list(range(21, 26)))


@case
def a_slot_dropped_while_we_stream_is_one_gap():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 10)
            shop.wait_judged(agent, pg)
            last = pg.slot(shop.SLOT)["confirmed_flush_lsn"]
            pg.sql(f"""
                DO $$ BEGIN
                  FOR i IN 1..1000 LOOP
                    PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots
                      WHERE active_pid IS NOT NULL;
                    BEGIN
                      PERFORM pg_drop_replication_slot('{shop.SLOT}');
                      EXIT;
                    EXCEPTION WHEN object_in_use THEN PERFORM pg_sleep(0.005);
                    END;
                  END LOOP;
                END $$""")
            gap = agent.wait_records(1, "gap")[0]
            equal(gap["reason"], "slot_missing")
            true(bound(gap["from"]) >= lsn_of(last), f"the gap begins at {gap['from']}, "
                 f"but {last} was acknowledged")
            agent.wait_source("shop", "streaming")
            goes_on(agent, pg, 21)
            equal(len(shop.gaps(agent)), 1, "gaps")


@case
def another_system_at_the_same_address_is_one_gap_and_begins_anew():
    with Postgres() as pg, Postgres() as other:
        agent, last = stopped_after_ten_rows(pg)
        shop.prepare(other)
        agent.write_config(shop.config(other))
        with agent:
            gap = one_gap(agent, "system_changed", last)
            system = other.sql("SELECT system_identifier FROM pg_control_system()")
            equal(gap["message"],
                  f"another database system answers (system identifier {system})")
            since = [r["since"] for r in agent.records("resume") if r.get("source") == "shop"]
            equal(len(since), 2, "resume records")
            shop.insert(other, 21, 5)
            shop.wait_judged(agent, other)
            equal(shop.judged(shop.parse(agent)), list(range(1, 11)) + list(range(21, 26)))
            equal(len(shop.gaps(agent)), 1, "gaps")


def put_back(pg, agent):
    """The server is put back to before rows 11 to 15, which the agent has judged."""
    pg.stop()
    saved = os.path.join(pg.run, "saved")
    subprocess.run(["cp", "-a", pg.data, saved], check=True)
    pg.start()
    agent.start()
    shop.insert(pg, 11, 5)
    shop.wait_judged(agent, pg)
    agent.stop()
    pg.stop()
    shutil.rmtree(pg.data)
    os.rename(saved, pg.data)
    return agent.stats()["sources"]["shop"]


@case
def a_server_put_back_to_an_older_state_is_one_gap():
    with Postgres() as pg:
        agent, _ = stopped_after_ten_rows(pg)
        last = put_back(pg, agent)
        pg.start()
        with agent:
            one_gap(agent, "history_lost", last)
            shop.insert(pg, 11, 3, value="-1")      # the same LSNs, other rows
            shop.wait_judged(agent, pg)
            equal([r["event"]["key"]["id"] for r in agent.records("violation")], [11, 12, 13])
            equal(len({r["id"] for r in agent.records("audit")}), 18, "distinct ids")
            equal(len(shop.gaps(agent)), 1, "gaps")


@case
def a_timeline_that_left_before_our_position_is_one_gap():
    with Postgres() as pg:
        agent, _ = stopped_after_ten_rows(pg)
        last = put_back(pg, agent)
        signal = os.path.join(pg.data, "recovery.signal")
        with open(signal, "w", encoding="ascii"), \
                open(os.path.join(pg.data, "postgresql.conf"), "a", encoding="ascii") as conf:
            conf.write("restore_command = '/bin/false'\n")
        shutil.copystat(os.path.join(pg.data, "PG_VERSION"), signal)
        owner = os.stat(pg.data)
        os.chown(signal, owner.st_uid, owner.st_gid)
        pg.start()
        equal(pg.sql("SELECT timeline_id FROM pg_control_checkpoint()"), "2")
        with agent:
            gap = one_gap(agent, "timeline_switched", last)
            equal(gap["message"], "the server left timeline 1 before our position; "
                  "it is on timeline 2")
            shop.insert(pg, 11, 3, value="-1")
            shop.wait_judged(agent, pg)
            equal([r["event"]["key"]["id"] for r in agent.records("violation")], [11, 12, 13])
            true(agent.records("violation")[0]["event"]["position"].startswith("2/"), "timeline")
            equal(len(shop.gaps(agent)), 1, "gaps")


@case
def no_event_is_lost_or_twice_when_the_slot_only_moved_by_us():
    with Postgres() as pg:
        agent, _ = stopped_after_ten_rows(pg)
        for first in (11, 21, 31):
            shop.insert(pg, first, 10, per_tx=3)
            with_start = time.monotonic()
            agent.start()
            shop.wait_judged(agent, pg)
            agent.stop()
            true(time.monotonic() - with_start < 20, "a restart took more than 20 s")
        equal(shop.same_rows(pg, shop.parse(agent)), 40)
        equal(shop.gaps(agent), [])
        agent.folder.remove()


if __name__ == "__main__":
    main(parallel=True)
