"""The whole way into a container: PostgreSQL, the agent with `ack: sinks`, a storage that fails in
every way; and what commands make of the container afterwards."""

import contextlib
import json
import os
import random
import shutil
import signal
import time

import archive_vectors as vectors
import shop
from archive import Archive
from azurite import Azurite
from cases import case, equal, main, note, true
from fault_proxy import FaultProxy
from servers import Postgres, wait_until

QUICK = "ledger: {cut_every: 1s, cut_bytes: 64KiB}\n"
MIB = 1 << 20
OUTAGE = float(os.environ.get("OUTAGE", "10"))     # seconds


@contextlib.contextmanager
def vault():
    """(PostgreSQL, Azurite, the proxy before it)"""
    with Postgres() as pg, Azurite() as azurite, FaultProxy(azurite.blob_port) as proxy:
        shop.prepare(pg)
        azurite.put_container("evidence")
        yield pg, azurite, proxy


def sink(azurite, proxy, options=""):
    return f"""sinks:
  vault: {{type: blob, url: "{proxy.url(azurite.account, '/evidence')}", prefix: "orders/",
          auth: key, key: "{azurite.key}", insecure: true{options}}}
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
    equal(sorted(set(here) - set(there)), [], "objects only the folder has")
    equal(sorted(set(there) - set(here)), [], "objects only the container has")
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
                              s["sources"]["shop"]["acknowledged"] ==
                              s["sources"]["shop"]["events"] >= 500, 60, "delivery")
            proxy.fault("status", 503, "ServerBusy", times=-1)
            # What is before the new rows may be confirmed at any time, they may not.
            before = shop.lsn_of(pg.sql("SELECT pg_current_wal_insert_lsn()"))
            shop.insert(pg, 501, 500, per_tx=50)
            agent.wait_records(1000, "audit", seconds=60)
            agent.wait(lambda s: s["archive"]["size"] > 1000, 60, "the segment to be sealed")
            held_back = agent.wait(lambda s: s["sinks"]["vault"]["state"] == "retrying", 60)
            true("503 ServerBusy" in held_back["sinks"]["vault"]["reason"], f"{held_back['sinks']}")
            equal(held_back["health"], "degraded", "health")
            equal(held_back["sources"]["shop"]["acknowledged"],
                  done["sources"]["shop"]["acknowledged"], "acknowledged during the outage")
            true(confirmed(pg) <= before, "rows of the outage were confirmed to the server")
            proxy.clear()
            agent.wait(lambda s: s["sinks"]["vault"]["next"] > 1000 and
                       s["sources"]["shop"]["acknowledged"] >= 1000, 90, "delivery afterwards")
            wait_until(lambda: confirmed(pg) > before, 30, "the slot to move on")
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
def a_long_outage_under_load_costs_only_disk():
    with vault() as (pg, azurite, proxy):
        with shop.watch(pg, sink(azurite, proxy), more="ledger: {cut_every: 2s}\n") as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 1000, per_tx=10)
            agent.wait(lambda s: s["sinks"]["vault"]["next"] > 1000, 60, "the first segments")
            base, peak, rows = agent.memory()[1], 0, 1000
            proxy.down()
            began = time.monotonic()
            while time.monotonic() - began < OUTAGE:
                shop.insert(pg, rows + 1, 500, per_tx=10)
                rows += 500
                peak = max(peak, agent.memory()[1])
                time.sleep(0.3)
            # Judged, durable and acknowledged all the same; only the container waits.
            behind = agent.wait(lambda s: s["ledger"]["size"] > rows and
                                s["sources"]["shop"]["caught_up"] and
                                s["sources"]["shop"]["acknowledged"] ==
                                s["sources"]["shop"]["events"], 60 + OUTAGE / 4,
                                "the pipeline to go on")
            equal([behind["sinks"]["vault"]["state"], behind["health"]], ["retrying", "degraded"])
            waiting = behind["ledger"]["size"] - behind["sinks"]["vault"]["next"]
            true(waiting > (rows - 1000) / 2, f"only {waiting} records wait")
            proxy.up()
            agent.wait(lambda s: s["sinks"]["vault"]["next"] >= behind["ledger"]["size"],
                       120 + OUTAGE / 2, "everything delivered")
            # A checkpoint every two seconds came meanwhile: stopping waits ten seconds only.
            agent.wait(lambda s: s["sinks"]["vault"]["next"] + 3 >= s["ledger"]["size"],
                       60 + OUTAGE / 2, "what came meanwhile delivered")
            peak = max(peak, agent.memory()[1])
            agent.wait(lambda s: s["health"] == "ok", 60, "health")
            log = log_id(agent)
            equal(stop(agent), 0, "exit code")
            same_as_local(agent, azurite, log)
            note(f"{OUTAGE:.0f} s, {rows} rows, {waiting} records waited; "
                 f"{base / MIB:.1f} MiB anonymous before, {peak / MIB:.1f} at most")
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
            agent.wait_records(n + 50, "audit", seconds=60)    # judged and committed all the same
            equal(len(agent.log_lines(event="ALARM: sink stopped")), 1, "lines in the log")
            equal(stop(agent), 76, "exit code")
            equal(held(azurite, log), before, "the container was written to")


def vkey(agent):
    return agent.log_lines(event="archive")[0]["vkey"]


def of_container(agent, what, url, *more, code=0, key=None):
    """`dgf ledger WHAT URL` with the rights the environment gives."""
    agent.env = dict(os.environ, **({"AZURE_STORAGE_KEY": key} if key else {}))
    done = agent.run("ledger", what, url, *more, check=False)
    equal(done.returncode, code, f"exit code of {what}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout + done.stderr


@case
def commands_read_a_container_like_a_folder():
    with vault() as (pg, azurite, proxy):
        with shop.watch(pg, sink(azurite, proxy), more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 800, per_tx=40)
            shop.insert(pg, 801, 3, value="-1")
            shop.wait_judged(agent, pg)
            size = agent.wait(lambda s: s["sources"]["shop"]["caught_up"])["ledger"]["size"]
            agent.wait(lambda s: s["sinks"]["vault"]["next"] >= size, 60, "delivery")
            log, key = log_id(agent), vkey(agent)
            equal(stop(agent), 0, "exit code")
            lines = agent.lines()
            url = f"{azurite.url()}/evidence/orders"
            anchor = agent.folder / "anchor"
            with open(anchor, "wb") as file:
                file.write(azurite.get_blob(f"evidence/orders/{log}/checkpoint"))
            # by the sink of the configuration, by address, by address and log
            said = agent.run("ledger", "verify", "-c", agent.config, "--sink", "vault", "--key",
                             key, "--anchor", anchor).stdout
            true(said.startswith("ok\n"), said)
            said = of_container(agent, "verify", url, "--key", key, "--anchor", anchor,
                                key=azurite.key)
            true(said.startswith("ok\n"), said)
            said = of_container(agent, "verify", f"{url}/{log}", code=3, key=azurite.key)
            true("tail: unverifiable" in said, said)
            agent.env = dict(os.environ, AZURE_STORAGE_CONNECTION_STRING=
                             f"AccountName={azurite.account};AccountKey={azurite.key}")
            found = agent.run("ledger", "cat", "--container", url, "--log", log, text=False).stdout
            equal(found.splitlines(), lines, "lines of the container")
            found = agent.run("ledger", "cat", "--container", url, "--kind", "violation",
                              text=False).stdout.splitlines()
            equal(len(found), 3, "violations")
            stats = agent.run("ledger", "stats", "--container", url).stdout
            true(str(len(lines)) in stats, stats)
            true("0" in agent.run("ledger", "ls", "--container", url).stdout.split(), "segments")
            index = lines.index(found[0])
            proof = agent.run("ledger", "prove", url, str(index)).stdout
            path = agent.folder / "proof"
            with open(path, "w", encoding="utf-8") as file:
                file.write(proof)
            agent.env = dict(os.environ)                  # line, proof and key: nothing else
            agent.run("ledger", "check-proof", path, "--key", key, stdin=found[0].decode())
            done = agent.run("ledger", "check-proof", path, "--key", key, check=False,
                             stdin=found[1].decode())
            equal(done.returncode, 1, "a proof of another record")
            # One byte of one record changes.
            name = f"evidence/orders/{log}/segments/0.ndjson.zst"
            whole = azurite.get_blob(name)
            azurite.put_blob(name, whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
            said = of_container(agent, "verify", url, "--key", key, code=1, key=azurite.key)
            true(said.startswith("tampered: ") and " at index 0:" in said, said)
            said = of_container(agent, "cat", url, code=1, key=azurite.key)
            true("is damaged at record 0: " in said or "is not the one that was sealed" in said,
                 said[-500:])
            azurite.put_blob(name, whole)
            # One record is another, in a frame that is whole.
            last = sorted(part["last"] for part in json.loads(of_container(
                agent, "ls", url, "--format", "json", key=azurite.key)))
            n = last[0]
            changed = [*lines[:n], lines[n][:-9] + bytes([lines[n][-9] ^ 1]) + lines[n][-8:]]
            azurite.put_blob(name, vectors.pack(changed))
            for words in (["cat"], ["export", "--csv"]):
                said = of_container(agent, words[0], url, *words[1:], code=1, key=azurite.key)
                true(f"dgf ledger: record {n} is not the one that was sealed: "
                     "'segments/0.ndjson.zst' and" in said, said[-500:])
            azurite.delete_blob(name)
            said = of_container(agent, "verify", url, "--key", key, code=2, key=azurite.key)
            true(said.startswith("incomplete: missing at index 0"), said)
            hole = (f"dgf ledger: records 0 to {n} are missing: there is no "
                    "'segments/0.ndjson.zst'\n")
            for words in (["cat", "--until", str(n + 1)], ["ls"], ["stats"], ["export", "--csv"]):
                said = of_container(agent, words[0], url, *words[1:], code=2, key=azurite.key)
                true(hole in said, said[-500:])
            said = of_container(agent, "cat", url, "--since", str(n + 1), key=azurite.key)
            equal(said.encode().splitlines(), lines[n + 1:], "what lies behind the hole")
            nowhere = azurite.url() + "/nothere"
            said = of_container(agent, "verify", nowhere, code=2, key=azurite.key)
            true(f"container '{nowhere}' does not exist" in said, said)
            said = of_container(agent, "verify", url, code=2, key="A" * 86 + "==")
            true("we may not read" in said and "403" in said, said)
            said = of_container(agent, "verify", f"{url}/{log}", code=2, key="A" * 86 + "==")
            true("with AZURE_STORAGE_KEY: 403" in said, said)
            said = agent.run("ledger", "verify", "-c", agent.config, "--sink", "vualt",
                             check=False).stderr
            true("the configuration has no sink 'vualt'" in said, said)


@case
def a_lost_disk_goes_on_from_the_container_with_nothing_lost_or_twice():
    with vault() as (pg, azurite, proxy):
        with shop.watch(pg, sink(azurite, proxy), agent=", ack: sinks", more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 600, per_tx=30)
            agent.wait(lambda s: s["sinks"]["vault"]["next"] > 600, 60, "delivery")
            # The container fails: what comes now is judged, and acknowledged to nobody.
            proxy.fault("status", 503, "ServerBusy", times=-1)
            shop.insert(pg, 601, 400, per_tx=20)
            agent.wait_records(1000, "audit", seconds=60)
            first = log_id(agent)
            agent.kill9()
            for name in os.listdir(agent.data_dir):
                if name != "keys":
                    path = os.path.join(agent.data_dir, name)
                    shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            for name in os.listdir(os.path.join(agent.data_dir, "keys")):
                if name.startswith("signed-"):
                    os.unlink(os.path.join(agent.data_dir, "keys", name))
            shop.insert(pg, 1001, 100, per_tx=10)         # while nobody watches
            proxy.clear()
            said = agent.run("ledger", "recover", "-c", agent.config, "--from", "vault").stdout
            true(f"goes on from the archive of log {first}" in said, said)
            agent.start()
            shop.insert(pg, 1101, 50)
            agent.wait_source("shop", "streaming")
            wanted = int(pg.sql("SELECT count(*) FROM shop.rows"))
            equal(wanted, 1150, "rows")
            second = log_id(agent)
            true(first != second, "a log id of its own")

            def all_judged():
                size = agent.wait(lambda s: s["sources"]["shop"]["caught_up"])["ledger"]["size"]
                agent.wait(lambda s: s["sinks"]["vault"]["next"] >= size, 60, "delivery")
                return cat(agent, azurite, first) + cat(agent, azurite, second)
            found = wait_until(lambda: (lambda r: r if len(shop.judged(r)) >= wanted else None)(
                all_judged()), 60, "all rows in the container")
            equal(shop.same_rows(pg, found), wanted, "rows in both logs of the container, once")
            equal([r for r in found if r["kind"] == "gap"], [], "gaps")
            equal(stop(agent), 0, "exit code")
            done = agent.run("ledger", "verify", "-c", agent.config, "--sink", "vault", check=False)
            true(f"holds 2 logs; name one of them: {min(first, second)}, {max(first, second)}"
                 in done.stderr, done.stderr)
            said = agent.run("ledger", "verify", "-c", agent.config, "--sink", "vault", "--log",
                             second, "--key", agent.log_lines(event="archive")[-1]["vkey"],
                             check=False).stdout
            true("tail: unverifiable" in said and "tampered" not in said, said)


def cat(agent, azurite, log):
    agent.env = dict(os.environ, AZURE_STORAGE_KEY=azurite.key)
    out = agent.run("ledger", "cat", f"{azurite.url()}/evidence/orders/{log}").stdout
    return [json.loads(line) for line in out.splitlines()]


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
