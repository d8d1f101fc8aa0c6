"""A lost disk: the ledger goes on from the archive; and another key takes over."""

import base64
import json
import os
import shutil
import signal

import shop
from archive import Archive, frames
from azurite import Azurite
from cases import case, equal, main, true
from servers import Postgres

QUICK = "ledger: {cut_every: 1s, cut_bytes: 64KiB}\n"


def stop(agent):
    agent.send(signal.SIGTERM)
    return agent.exit_code(60)


def lose(agent):
    """The disk is gone: what is left are the archive somewhere else, and the keys."""
    kept = agent.data_dir + ".kept"
    os.makedirs(kept)
    for name in ("archive", "keys"):
        shutil.move(os.path.join(agent.data_dir, name), os.path.join(kept, name))
    shutil.rmtree(agent.data_dir)
    os.makedirs(agent.data_dir, 0o700)
    shutil.move(os.path.join(kept, "keys"), os.path.join(agent.data_dir, "keys"))
    return os.path.join(kept, "archive"), kept


def recover(agent, folder, *more, check=True):
    return agent.run("ledger", "recover", "-c", agent.config, "--from", folder, *more,
                     check=check)


@case
def a_lost_ledger_goes_on_from_the_archive_with_nothing_lost_or_twice():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 700, per_tx=70)
            shop.insert(pg, 701, 20, value="-1")
            shop.wait_judged(agent, pg)
            equal(stop(agent), 0)
            folder, kept = lose(agent)
            shop.insert(pg, 721, 300, per_tx=30)        # while nobody watches
            said = recover(agent, folder).stdout
            old = Archive(kept)
            true(f"goes on from the archive of log {old.log_id}, {old.size()} records" in said,
                 said)
            true(f"lost: whatever the old log held behind record {old.size() - 1}" in said, said)
            true("shop at 1/0/" in said, said)
            agent.start()
            shop.insert(pg, 1021, 50)
            shop.wait_judged(agent, pg)
            first = agent.records()[0]
            equal(first["kind"], "resume")
            equal(first["detail"]["old_log"], old.log_id)
            equal(first["detail"]["old_checkpoint"].encode(), old.read("checkpoint"),
                  "the checkpoint that leaf 0 cites")
            true(first["detail"]["log"] != old.log_id, "a log id of its own")
            both = [json.loads(line) for line in old.lines()] + agent.records()
            equal(shop.same_rows(pg, both), 1070)
            equal(agent.records("gap"), [], "gaps")
            ids = {r["violation"] for r in both if r["kind"] == "violation"}
            equal(len(ids), 20, "violations")
            equal(stop(agent), 0)
            new = Archive(agent.data_dir)
            equal(new.lines(), agent.lines(), "the new archive's lines and the ledger's")
            key = agent.run("ledger", "key", "-c", agent.config).stdout.strip()
            said = agent.run("ledger", "verify", new.folder, "--key", key, "--anchor",
                             old.path("checkpoint")).stdout
            true(f"\ngoes on from log {old.log_id} at size {old.size()}\n" in said, said)


@case
def what_the_archive_did_not_hold_becomes_a_gap():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more="ledger: {cut_every: 60s}\n") as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 100)
            shop.wait_judged(agent, pg)
            agent.write_policy("shop.yaml", shop.POLICY.replace("high", "low"))
            agent.reload()                              # a cut
            agent.wait(lambda s: s["archive"]["size"] > 100, 60, "100 sealed rows")
            shop.insert(pg, 101, 100)
            shop.wait_judged(agent, pg)                 # acknowledged, and not sealed
            agent.kill9()
            folder, kept = lose(agent)
            recover(agent, folder)
            agent.start()
            shop.insert(pg, 201, 100)
            shop.wait_judged(agent, pg)
            old = [json.loads(line) for line in Archive(kept).lines()]
            judged = shop.judged(old + agent.records())
            equal(len(judged), len(set(judged)), "rows judged twice")
            lost = set(range(1, 301)) - set(judged)
            gaps = agent.records("gap")
            true(lost <= set(range(101, 201)), f"lost: {sorted(lost)[:5]}")
            true(len(gaps) == 1 if lost else not gaps, f"gaps {gaps}, lost {len(lost)}")


def cut_back(archive):
    """The archive as it was one segment before; (size then, size before it, the checkpoint)."""
    size, newest = archive.size(), archive.read("checkpoint")
    first = archive.manifests()[-1]["first"]
    for name in archive.names():
        number = os.path.basename(name).split(".")[0]
        if name == f"checkpoints/{size}" or \
                (name.startswith(("segments/", "state/")) and int(number) == first):
            os.remove(archive.path(name))
    shutil.copy(archive.path(f"checkpoints/{first}"), archive.path("checkpoint"))
    return size, first, newest


@case
def an_archive_that_was_rolled_back_is_refused_and_what_is_lost_is_on_record():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 100)
            agent.wait(lambda s: s["archive"]["size"] > 100, 60, "100 sealed rows")
            shop.insert(pg, 101, 50)
            shop.wait_judged(agent, pg)
            equal(stop(agent), 0)
            folder, kept = lose(agent)
            archive = Archive(kept)
            size, here, newest = cut_back(archive)
            lost = f"records {here} to {size - 1}"
            done = recover(agent, folder, check=False)
            equal((done.returncode, done.stdout), (76, ""))
            true(f"{size} records were signed (keys/signed-" in done.stderr, done.stderr)
            true(f"{here} are here: {lost} would be lost" in done.stderr, done.stderr)
            true("--lossy" in done.stderr, done.stderr)
            equal(os.path.exists(os.path.join(agent.data_dir, "journal")), False, "a journal")
            # A memory that nobody can read vouches for nothing.
            memory = os.path.join(agent.data_dir, "keys", f"signed-{archive.log_id}")
            with open(memory, "r+b") as file:
                file.truncate(20)
            done = recover(agent, folder, check=False)
            equal(done.returncode, 76)
            true("which says what was signed last, is damaged" in done.stderr, done.stderr)
            # Without it, the one who kept a checkpoint knows.
            os.remove(memory)
            anchor = os.path.join(agent.folder.path, "anchor")
            with open(anchor, "wb") as file:
                file.write(newest)
            done = recover(agent, folder, "--anchor", anchor, check=False)
            equal(done.returncode, 76)
            true(f"{size} records were signed (--anchor 1), {here} are here" in done.stderr,
                 done.stderr)
            with open(anchor, "wb") as file:
                file.write(newest.replace(archive.log_id.encode(), b"0" * 32))
            done = recover(agent, folder, "--anchor", anchor, check=False)
            equal(done.returncode, 64)
            true("--anchor 1: " in done.stderr, done.stderr)
            older = archive.path(f"checkpoints/{archive.manifests()[0]['last'] + 1}")
            with open(anchor, "wb") as file:
                file.write(newest)
            said = recover(agent, folder, "--anchor", older, "--anchor", anchor, "--lossy").stdout
            true(f"LOST: {size} were signed, {here} are here: {lost} are lost" in said, said)
            agent.start()
            agent.wait_source("shop", "streaming")
            first = agent.records()[0]
            equal((first["detail"]["old_size"], first["detail"]["signed_size"],
                   first["detail"]["lost"]), (here, size, size - here))
            true(f"{lost} of the old one were signed and are lost" in first["message"],
                 first["message"])
            equal(stop(agent), 0)


@case
def an_archive_of_another_history_than_was_signed_is_refused():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 50)
            shop.wait_judged(agent, pg)
            equal(stop(agent), 0)
            folder, kept = lose(agent)
            archive = Archive(kept)
            memory = os.path.join(agent.data_dir, "keys", f"signed-{archive.log_id}")
            with open(memory, "rb") as file:
                lines = file.read().split(b"\n")
            lines[2] = base64.b64encode(bytes(32))
            with open(memory, "wb") as file:
                file.write(b"\n".join(lines))
            done = recover(agent, folder, check=False)
            equal(done.returncode, 76)
            true(f"another history was signed: at size {archive.size()}" in done.stderr,
                 done.stderr)
            said = recover(agent, folder, "--lossy").stdout
            true("LOST: another history of that log was signed" in said, said)
            agent.start()
            agent.wait_source("shop", "streaming")
            true(agent.records()[0]["detail"]["other_history_signed"] is True, "leaf 0")
            equal(stop(agent), 0)


def container_lines(azurite, log):
    """The records of one log in the container, in order, up to its newest checkpoint: what lies
    behind that is an upload that a kill ended."""
    below, found = f"orders/{log}/segments/", {}
    size = int(azurite.get_blob(f"evidence/orders/{log}/checkpoint").split(b"\n")[1])
    for path in azurite.list_blobs("evidence", below):
        first = int(path[len(below):].split(".")[0])
        if path.endswith(".zst") and first < size:
            plain = b"".join(frames(azurite.get_blob(f"evidence/{path}")))
            found[first] = plain.splitlines()
    return [json.loads(line) for first in sorted(found) for line in found[first]]


@case
def with_the_container_as_required_sink_a_lost_disk_loses_nothing():
    with Postgres() as pg, Azurite() as azurite:
        shop.prepare(pg)
        azurite.put_container("evidence")
        url = f"http://127.0.0.1:{azurite.blob_port}/{azurite.account}/evidence"
        sink = (f'sinks:\n  vault: {{type: blob, url: "{url}", prefix: "orders/", auth: key,\n'
                f'          key: "{azurite.key}", insecure: true}}\n')
        with shop.watch(pg, sink, agent=", ack: sinks", more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 400, per_tx=40)
            agent.wait(lambda s: s["sinks"]["vault"]["next"] >= 200, 60, "some of it to arrive")
            shop.insert(pg, 401, 100, per_tx=10)
            old = agent.status()["ledger"]["log_id"]
            agent.kill9()
            keys = os.path.join(agent.data_dir, "keys")
            for name in os.listdir(agent.data_dir):     # all but the keys is gone
                if name != "keys":
                    path = os.path.join(agent.data_dir, name)
                    shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
            for name in os.listdir(keys):
                if name.startswith("signed-"):
                    os.remove(os.path.join(keys, name))
            shop.insert(pg, 501, 100, per_tx=10)
            done = recover(agent, "vault", "--log", "0" * 32, check=False)
            true(done.returncode in (2, 78), f"another log: {done.returncode} {done.stderr}")
            said = recover(agent, "vault", "--log", old).stdout
            true(f"archive of log {old}" in said, said)
            agent.start()
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 601, 50)
            shop.wait_judged(agent, pg, 90)
            new = agent.status()["ledger"]["log_id"]
            equal(agent.records("gap"), [], "gaps")
            equal(stop(agent), 0)
            both = container_lines(azurite, old) + container_lines(azurite, new)
            equal(shop.same_rows(pg, both, "rows in the container"), 650)


@case
def half_a_ledger_a_running_agent_and_a_changed_archive_are_refused():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 50)
            shop.wait_judged(agent, pg)
            folder = os.path.join(agent.data_dir, "archive")
            done = recover(agent, folder, check=False)
            equal(done.returncode, 78)
            true("is there: a ledger, or a part of one, is never written over" in done.stderr,
                 done.stderr)
            equal(stop(agent), 0)
            shutil.rmtree(os.path.join(agent.data_dir, "journal"))   # half of it
            done = recover(agent, folder, check=False)
            equal(done.returncode, 78)
            true("state.db' is there" in done.stderr, done.stderr)
            folder, kept = lose(agent)
            archive = Archive(kept)
            last = archive.manifests()[-1]
            state = archive.path(f"state/{last['first']}.enc")
            with open(state, "rb") as file:
                right = file.read()
            with open(state, "wb") as file:
                file.write(right[:-1] + bytes([right[-1] ^ 1]))
            done = recover(agent, folder, check=False)
            equal(done.returncode, 1)
            true("is not the state that its manifest names" in done.stderr, done.stderr)
            os.remove(state)
            done = recover(agent, folder, check=False)
            equal(done.returncode, 2)
            true("the archive has no object 'state/" in done.stderr, done.stderr)
            with open(state, "wb") as file:
                file.write(right)
            keys = os.path.join(agent.data_dir, "keys")
            os.rename(os.path.join(keys, "tenant"), os.path.join(keys, "away"))
            done = recover(agent, folder, check=False)
            equal(done.returncode, 78)
            true("without the tenant's key sealed state cannot be read" in done.stderr, done.stderr)
            with open(os.path.join(keys, "tenant"), "w", encoding="ascii") as file:
                file.write("cd" * 32)
            os.chmod(os.path.join(keys, "tenant"), 0o600)
            done = recover(agent, folder, check=False)
            equal(done.returncode, 1)
            true("it was sealed with another tenant key" in done.stderr, done.stderr)
            os.replace(os.path.join(keys, "away"), os.path.join(keys, "tenant"))
            equal(os.path.exists(os.path.join(agent.data_dir, "journal")), False, "a journal")
            wrong = "dgf/test/" + "0" * 32
            done = recover(agent, folder, "--key", wrong, check=False)
            equal(done.returncode, 1)
            true("--key: not a vkey" in done.stderr, done.stderr)
            recover(agent, folder)
            agent.start()
            agent.wait_source("shop", "streaming")


@case
def another_key_takes_over_with_a_record_signed_by_both():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 50)
            shop.wait_judged(agent, pg)
            done = agent.run("ledger", "rotate-key", "-c", agent.config, check=False)
            equal(done.returncode, 75)
            equal(stop(agent), 0)
            before = agent.run("ledger", "key", "-c", agent.config).stdout.strip()
            said = agent.run("ledger", "rotate-key", "-c", agent.config).stdout
            after = agent.run("ledger", "key", "-c", agent.config).stdout.strip()
            true(before != after and after in said, said)
            archive = Archive(agent.data_dir)
            size = archive.size()
            agent.start()
            shop.insert(pg, 51, 50)
            shop.wait_judged(agent, pg)
            equal(stop(agent), 0)
            # Two records say at the start which keys were made.
            record = [r for r in agent.records("key") if r["detail"].get("op") == "rotate"][0]
            equal(record["seq"], size, "index of the record, and all before it is signed")
            detail = record["detail"]
            equal((detail["op"], detail["old"], detail["new"], detail["from"]),
                  ("rotate", before, after, size))
            keys = json.loads(archive.read("keys.json"))["keys"]
            equal(keys, [{"vkey": before, "after": 0, "to": size}, {"vkey": after, "after": size}])
            equal(archive.lines(), agent.lines(), "the archive's lines and the ledger's")
            kept = os.path.join(agent.data_dir, "keys", f"sign.until-{size}")
            true(os.path.exists(kept), "the old key is kept")
            # Ended between the record and the new key's name.
            keys = os.path.join(agent.data_dir, "keys")
            os.replace(os.path.join(keys, "sign"), os.path.join(keys, "sign.new"))
            shutil.copy(kept, os.path.join(keys, "sign"))
            agent.start()
            equal(stop(agent), 0)
            # A file of the operator's own is never moved.
            other = os.path.join(agent.folder.path, "next-key")
            said = agent.run("ledger", "rotate-key", "-c", agent.config, "--new-key", other).stdout
            true(f"say keys.sign: {other} before the agent starts again" in said, said)
            agent.write_config(shop.config(pg, more=QUICK + f'keys: {{sign: "{other}"}}\n'))
            agent.start()
            equal(stop(agent), 0)
            equal(archive.lines(), agent.lines(), "the archive's lines and the ledger's")
            agent.write_config(shop.config(pg, more=QUICK))
            # Back to the old key: not without a record.
            shutil.copy(kept, os.path.join(keys, "sign"))
            agent.start(wait=False)
            equal(agent.exit_code(), 78)


if __name__ == "__main__":
    main()
