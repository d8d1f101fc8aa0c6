"""The whole way into a container: PostgreSQL, the agent with `ack: sinks`, a storage that fails in
every way; and what commands make of the container afterwards."""

import contextlib
import os
import random
import shutil
import signal
import time

import shop
from archive import Archive
from azurite import Azurite
from cases import case, equal, main, note, true
from fault_proxy import FaultProxy
from servers import Postgres

QUICK = "ledger: {cut_every: 1s, cut_bytes: 64KiB}\n"
MIB = 1 << 20


@contextlib.contextmanager
def vault():
    """(PostgreSQL, Azurite, the proxy before it)"""
    with Postgres() as pg, Azurite() as azurite, FaultProxy(azurite.blob_port) as proxy:
        shop.prepare(pg)
        azurite.put_container("evidence")
        yield pg, azurite, proxy


def sink(azurite, proxy, options=""):
    return f"""sinks:
  vault: {{type: blob, url: "{proxy.url(azurite.account, '/evidence')}", prefix: "orders/", auth: key,
          key: "{azurite.key}", insecure: true{options}}}
"""


def log_id(agent):
    return agent.wait(lambda s: True)["ledger"]["log_id"]


def held(azurite, log):
    below = f"orders/{log}/"
    return {path[len(below):]: azurite.get_blob(f"evidence/{path}")
            for path in azurite.list_blobs("evidence", below)}


def local(agent, log):
    found, top = {}, os.path.join(agent.data_dir, "archive", log)
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, top)] = file.read()
    return {name: content for name, content in found.items() if not name.endswith(".tmp")}


def same_as_local(agent, azurite, log):
    there, here = held(azurite, log), local(agent, log)
    equal(sorted(there), sorted(here), "objects of the container and of the folder")
    equal([name for name in here if here[name] != there[name]], [], "objects that differ")


def confirmed(pg):
    return shop.lsn_of(pg.sql("SELECT confirmed_flush_lsn FROM pg_replication_slots"))


def stop(agent, seconds=60):
    agent.send(signal.SIGTERM)
    return agent.exit_code(seconds)


@case
def a_source_is_acknowledged_only_what_the_container_holds():
    with vault() as (pg, azurite, proxy):
        with shop.watch(pg, sink(azurite, proxy), agent=", ack: sinks", more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 500, per_tx=50)
            done = agent.wait(lambda s: s["sinks"]["vault"]["next"] >= 500 and
                              s["sources"]["shop"]["acknowledged"] >= 500, 60, "delivery")
            before = confirmed(pg)
            proxy.fault("status", 503, "ServerBusy", times=-1)
            shop.insert(pg, 501, 500, per_tx=50)
            agent.wait_records(1000, "audit", seconds=60)
            agent.wait(lambda s: s["archive"]["size"] > 1000, 60, "the segment to be sealed")
            held_back = agent.wait(lambda s: s["sinks"]["vault"]["state"] == "retrying", 60)
            true("503 ServerBusy" in held_back["sinks"]["vault"]["reason"], f"{held_back['sinks']}")
            equal(held_back["health"], "degraded", "health")
            equal(held_back["sources"]["shop"]["acknowledged"],
                  done["sources"]["shop"]["acknowledged"], "acknowledged during the outage")
            equal(confirmed(pg), before, "the slot's confirmed position during the outage")
            proxy.clear()
            agent.wait(lambda s: s["sinks"]["vault"]["next"] > 1000 and
                       s["sources"]["shop"]["acknowledged"] >= 1000, 90, "delivery afterwards")
            true(confirmed(pg) > before, "the slot moves on")
            log = log_id(agent)
            equal(stop(agent), 0, "exit code")
            same_as_local(agent, azurite, log)


@case
def an_outage_of_every_kind_under_load_costs_only_disk():
    rng = random.Random(11)
    with vault() as (pg, azurite, proxy):
        with shop.watch(pg, sink(azurite, proxy, ', timeout: 1s'), more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 200, per_tx=20)
            agent.wait(lambda s: s["sinks"]["vault"]["next"] > 200, 60, "the first segments")
            base, peak, rows = agent.memory()[1], 0, 200
            for kind, *args in (("down",), ("hang",), ("status", 500, "InternalError"),
                                ("status", 403, "AuthorizationFailure"), ("cut_after",),
                                ("torn",), ("status", 404, "ContainerNotFound"), ("short",)):
                if kind == "down":
                    proxy.down()
                else:
                    proxy.fault(kind, *args, times=-1)
                n = rng.randrange(200, 600)
                shop.insert(pg, rows + 1, n, per_tx=10)
                rows += n
                agent.wait_records(rows, "audit", seconds=60)     # the pipeline goes on
                agent.wait(lambda s: s["sinks"]["vault"]["state"] == "retrying" or
                           kind == "cut_after", 60, f"trouble by {kind}")
                peak = max(peak, agent.memory()[1])
                proxy.clear()
                proxy.up()
            size = agent.wait(lambda s: s["sources"]["shop"]["caught_up"])["ledger"]["size"]
            agent.wait(lambda s: s["sinks"]["vault"]["next"] >= size, 120, "everything delivered")
            agent.wait(lambda s: s["health"] == "ok", 60, "health")
            log = log_id(agent)
            equal(stop(agent), 0, "exit code")
            same_as_local(agent, azurite, log)
            archive = Archive(agent.data_dir)
            equal(archive.lines(), agent.lines(), "the archive's lines and the ledger's")
            equal(shop.same_rows(pg, agent.records()), rows, "rows judged once")
            note(f"{rows} rows over eight outages; {base / MIB:.1f} MiB anonymous before, "
                 f"{peak / MIB:.1f} at most")
            true(peak < 56 * MIB, f"{peak / MIB:.1f} MiB of anonymous memory")


@case
def kills_while_the_container_fails_lose_and_repeat_nothing():
    rng = random.Random(12)
    with vault() as (pg, azurite, proxy):
        agent = shop.watch(pg, sink(azurite, proxy), agent=", ack: sinks", more=QUICK)
        with agent:
            agent.wait_source("shop", "streaming")
            rows = 0
            for kill in range(6):
                for kind, *args in (("status", 503, "ServerBusy"), ("cut_after",), ("torn",)):
                    proxy.fault(kind, *args, times=2, skip=rng.randrange(1, 12))
                shop.insert(pg, rows + 1, 300, per_tx=10)
                rows += 300
                time.sleep(rng.uniform(0.2, 1.5))
                agent.kill9()
                agent.start()
                note(f"kill {kill + 1}")
            proxy.clear()
            shop.wait_judged(agent, pg)
            size = agent.wait(lambda s: True)["ledger"]["size"]
            agent.wait(lambda s: s["sinks"]["vault"]["next"] >= size, 120, "everything delivered")
            log = log_id(agent)
            equal(stop(agent), 0, "exit code")
            same_as_local(agent, azurite, log)
            equal(Archive(agent.data_dir).lines(), agent.lines(), "archive and ledger")
            equal(shop.same_rows(pg, agent.records()), rows, "rows judged once")


@case
def an_old_copy_of_the_data_directory_is_a_fork_and_the_pipeline_goes_on():
    with vault() as (pg, azurite, proxy):
        with shop.watch(pg, sink(azurite, proxy), more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 100)
            agent.wait(lambda s: s["sinks"]["vault"]["next"] > 100, 60, "delivery")
            equal(stop(agent), 0, "exit code")
            shutil.copytree(agent.data_dir, agent.data_dir + ".old")
            agent.start()
            shop.insert(pg, 101, 100)
            agent.wait(lambda s: s["sinks"]["vault"]["next"] > 200, 60, "delivery")
            log = log_id(agent)
            equal(stop(agent), 0, "exit code")
            before = held(azurite, log)
            shutil.rmtree(agent.data_dir)
            os.rename(agent.data_dir + ".old", agent.data_dir)
            agent.start()
            found = agent.wait(lambda s: s["sinks"]["vault"]["state"] == "stopped", 60, "the fork")
            equal(found["sinks"]["vault"]["alarm"], "fork", "alarm")
            true(found["sinks"]["vault"]["reason"].startswith("FORK: 'segments/"),
                 found["sinks"]["vault"]["reason"])
            equal(found["health"], "degraded", "health")
            n = len(agent.records("audit"))
            shop.insert(pg, 201, 50)
            agent.wait_records(n + 50, "audit", seconds=60)       # judged and committed all the same
            equal(len(agent.log_lines(event="ALARM: sink stopped")), 1, "lines in the log")
            equal(stop(agent), 76, "exit code")
            equal(held(azurite, log), before, "the container was written to")


@case
def another_container_gets_all_that_is_kept_and_what_was_pruned_without_its_records():
    with vault() as (pg, azurite, proxy):
        azurite.put_container("other")
        text = sink(azurite, proxy)
        with shop.watch(pg, text, more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            for at in (1, 101, 201):
                shop.insert(pg, at, 100)
                agent.wait(lambda s, at=at: s["sinks"]["vault"]["next"] > at + 99, 60, "delivery")
            log = log_id(agent)
            equal(stop(agent), 0, "exit code")
            gone = os.path.join(agent.data_dir, "archive", log)
            for name in ("segments/0.ndjson.zst", "state/0.enc"):
                os.unlink(os.path.join(gone, name))       # as pruning does
            agent.write_config(shop.config(pg, text.replace("/evidence", "/other"), more=QUICK))
            agent.start()
            size = agent.wait(lambda s: s["sources"]["shop"]["caught_up"])["ledger"]["size"]
            agent.wait(lambda s: s["sinks"]["vault"]["next"] >= size, 60, "all of it")
            equal(stop(agent), 0, "exit code")
            here = local(agent, log)
            equal(sorted(azurite.list_blobs("other")),
                  sorted(f"orders/{log}/{name}" for name in here), "objects")


@case
def other_bytes_on_reading_back_stop_the_sink_and_nothing_else():
    with vault() as (pg, azurite, proxy):
        with shop.watch(pg, sink(azurite, proxy), more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            fault = proxy.fault("alter", method="GET", path=r"segments/\d+.ndjson", times=-1)
            shop.insert(pg, 1, 100)
            found = agent.wait(lambda s: s["sinks"]["vault"]["state"] == "stopped", 60, "the alarm")
            true(fault.hits > 0, "it was read back")
            equal(found["sinks"]["vault"]["alarm"], "altered", "alarm")
            shop.insert(pg, 101, 100)
            agent.wait_records(200, "audit", seconds=60)
            equal(stop(agent), 76, "exit code")


if __name__ == "__main__":
    main(parallel=True)
