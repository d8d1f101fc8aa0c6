"""The evidence archive: segments, checkpoints, keys, kills and damage, with a real PostgreSQL."""

import json
import os
import shutil
import signal
import struct

import shop
from archive import Archive
from cases import case, equal, main, true
from servers import Postgres, wait_until

QUICK = "ledger: {cut_every: 1s, cut_bytes: 64KiB}\n"
SLOW = "ledger: {cut_every: 60s}\n"


def sealed(agent, size=None, seconds=60):
    """Until everything the ledger holds now (or `size` records) is sealed and signed."""
    size = size or agent.wait(lambda s: True)["ledger"]["size"]
    return agent.wait(lambda s: s["archive"]["size"] >= size, seconds, f"{size} sealed records")


def stop(agent):
    agent.send(signal.SIGTERM)
    return agent.exit_code(60)


@case
def segments_hold_the_records_and_the_checkpoint_moves_when_nothing_happens():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 2000, per_tx=100)
            shop.wait_judged(agent, pg)
            sealed(agent)
            archive = Archive(agent.data_dir)
            first = archive.checkpoint()
            wait_until(lambda: archive.checkpoint()[1] >= first[1] + 2, 60,
                       lambda: f"two more checkpoints, {archive.checkpoint()}")
            equal(stop(agent), 0)
            equal(archive.lines(), agent.lines(), "the archive's lines and the ledger's")
            newest = archive.checkpoint()
            equal(newest[1], len(agent.lines()), "size of the checkpoint")
            equal(newest[0], f"dgf/test/{archive.log_id}", "origin")
            equal(newest[2], agent.stats()["root"], "root of the checkpoint")
            true(newest[4] > first[4], "time goes on")
            manifests = archive.manifests()
            equal(sum(m["sources"].get("shop", {}).get("events", 0) for m in manifests), 2000,
                  "events that manifests count")
            policy = os.path.join(agent.policies, "shop.yaml")
            text = archive.read(f"policies/{manifests[-1]['policies'][policy]}.yaml")
            equal(text.decode(), shop.POLICY, "the policy text that was kept")
            keys = json.loads(archive.read("keys.json"))
            equal([key["after"] for key in keys["keys"]], [0])
            true(keys["keys"][0]["vkey"] in agent.log_text(), "the vkey is logged")
            equal(os.stat(os.path.join(agent.data_dir, "keys", "sign")).st_mode & 0o777, 0o600)


@case
def kills_while_sealing_change_no_byte_that_was_signed():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            once, kills = {}, 0
            for i in range(8):
                shop.insert(pg, 1 + 300 * i, 300, per_tx=10)
                n = agent.wait(lambda s: True)["archive"]["size"]
                agent.wait(lambda s, n=n: s["archive"]["size"] > n or s["ledger"]["size"] > n + 50,
                           60, "something new")
                agent.kill9()
                kills += 1
                found = Archive(agent.data_dir).once()
                changed = [name for name, digest in once.items() if found.get(name) != digest]
                equal(changed, [], f"objects that changed by kill {kills}")
                once.update(found)
                agent.start()
            shop.wait_judged(agent, pg)
            equal(stop(agent), 0)
            archive = Archive(agent.data_dir)
            equal(archive.lines(), agent.lines(), "the archive's lines and the ledger's")
            found = archive.once()
            equal([name for name, digest in once.items() if found.get(name) != digest], [],
                  "objects that changed")
            equal(shop.same_rows(pg, [json.loads(line) for line in archive.lines()]), 2400)


CRC = []


def crc32c(data, crc=0):
    if not CRC:
        for n in range(256):
            for _ in range(8):
                n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
            CRC.append(n)
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def forge(agent, old, new):
    """Changes a record in the journal so that every checksum is right: only the root is not."""
    folder = os.path.join(agent.data_dir, "journal")
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            data = bytearray(file.read())
        at = data.find(old)
        if at < 0:
            continue
        data[at:at + len(old)] = new
        pos, chain = 0, 0
        while pos + 9 <= len(data):
            length, kind = struct.unpack_from("<IB", data, pos)
            end = pos + 5 + length
            if not 1 <= kind <= 6 or end + 4 > len(data):
                break
            if kind == 6:
                if pos > at:
                    struct.pack_into("<I", data, pos + 5 + 76, chain)
                chain = 0
            crc = crc32c(bytes(data[pos:end]))
            if kind not in (1, 6):
                chain = crc32c(struct.pack("<I", crc), chain)
            stood = struct.unpack_from("<I", data, end)[0]
            if crc != stood:
                struct.pack_into("<I", data, end, crc)
            if kind == 6 and pos > at:
                break
            pos = end + 4
        with open(path, "r+b") as file:
            file.write(data)
        return
    raise AssertionError("no such record in the journal")


@case
def what_was_changed_before_it_was_sealed_is_never_signed():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=SLOW) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 20, value="-1")
            shop.wait_judged(agent, pg)
            archive = Archive(agent.data_dir)
            size = archive.size()
            forge(agent, b'row 7 has -1', b'row 7 has +1')
            agent.write_policy("shop.yaml", shop.POLICY.replace("high", "low"))
            agent.reload()              # another set: a segment ends, and is sealed
            agent.wait(lambda s: s["archive"]["state"] == "stopped", 60, "the archive to stop")
            true("is not what was committed: its records do not give the root" in
                 agent.status()["archive"]["reason"], agent.status()["archive"])
            equal(agent.status()["health"], "degraded")
            equal(archive.size(), size, "size of the newest checkpoint")
            shop.insert(pg, 101, 20)
            shop.wait_judged(agent, pg)     # the pipeline goes on
            equal(stop(agent), 76)
            true(agent.log_lines(event="ALARM: archive stopped; records are still committed"),
                 "it is in the log")
            agent.start(wait=False)         # nor does a start believe such a journal
            equal(agent.exit_code(), 71)
            equal(archive.size(), size, "size of the newest checkpoint")


@case
def a_damaged_archive_stands_still_and_the_agent_goes_on():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 100)
            shop.wait_judged(agent, pg)
            equal(stop(agent), 0)
            archive = Archive(agent.data_dir)
            last = archive.manifests()[-1]
            path = archive.path(f"segments/{last['first']}.json")
            with open(path, "r+b") as file:
                file.seek(60)
                byte = file.read(1)
                file.seek(60)
                file.write(b"1" if byte != b"1" else b"2")
            agent.start()
            agent.wait(lambda s: s["archive"]["state"] == "stopped", 30, "the archive to stop")
            true("the newest manifest is not the one that was signed" in
                 agent.status()["archive"]["reason"] or "not a manifest" in
                 agent.status()["archive"]["reason"], agent.status()["archive"])
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 101, 100)
            shop.wait_judged(agent, pg)


@case
def keys_that_others_may_read_or_that_are_not_the_logs_are_refused():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            sealed(agent)
            equal(stop(agent), 0)
            key = os.path.join(agent.data_dir, "keys", "sign")
            os.chmod(key, 0o644)
            agent.start(wait=False)
            equal(agent.exit_code(), 78)
            true("may be read by others (mode 644): run chmod 600" in agent.log_text(),
                 agent.log_text()[-500:])
            os.chmod(key, 0o600)
            with open(key, encoding="ascii") as file:
                right = file.read()
            with open(key, "w", encoding="ascii") as file:
                file.write("ab" * 32 + "\n")
            agent.start(wait=False)
            equal(agent.exit_code(), 78)
            true("the signing key is not the one of this log" in agent.log_text(),
                 agent.log_text()[-500:])
            with open(key, "w", encoding="ascii") as file:
                file.write(right)
            agent.start()
            sealed(agent)


@case
def an_older_copy_of_the_ledger_is_not_signed_again():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 50)
            shop.wait_judged(agent, pg)
            equal(stop(agent), 0)
            copy = agent.data_dir + ".copy"
            shutil.copytree(agent.data_dir, copy)
            agent.start()
            shop.insert(pg, 51, 50)
            shop.wait_judged(agent, pg)
            equal(stop(agent), 0)
            shutil.rmtree(os.path.join(copy, "keys"))
            shutil.move(os.path.join(agent.data_dir, "keys"), os.path.join(copy, "keys"))
            shutil.rmtree(agent.data_dir)
            shutil.move(copy, agent.data_dir)
            agent.start(wait=False)
            equal(agent.exit_code(), 76)
            true("an older copy was put back" in agent.log_text(), agent.log_text()[-500:])


@case
def old_segments_go_with_a_record_and_their_manifests_stay():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            for i in range(3):
                shop.insert(pg, 1 + 10 * i, 10)
                shop.wait_judged(agent, pg)
                sealed(agent)
            equal(stop(agent), 0)
            archive = Archive(agent.data_dir)
            before = archive.manifests()
            agent.write_config(shop.config(pg, more="ledger: {cut_every: 1s, keep: 0s}\n"))
            agent.start()
            wait_until(lambda: not os.path.exists(archive.path("segments/0.ndjson.zst")), 60,
                       lambda: f"the oldest segment to go: {archive.names()[:20]}")
            equal(stop(agent), 0)
            said = [record for record in agent.records("config")
                    if "archive_pruned_before" in record.get("detail", {})]
            true(said and said[0]["detail"]["archive_pruned_before"] > 0, "a record says so")
            equal(archive.manifests()[:len(before)], before, "manifests")
            names = archive.names()
            for manifest in before:
                true(f"checkpoints/{manifest['last'] + 1}" in names, "checkpoints stay")
            true(not os.path.exists(archive.path("state/0.enc")), "its state went too")


@case
def without_an_archive_nothing_is_sealed():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more="ledger: {archive: false}\n") as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 10)
            shop.wait_judged(agent, pg)
            true("archive" not in agent.status(), agent.status())
            equal(stop(agent), 0)
            true(not os.path.exists(os.path.join(agent.data_dir, "archive")), "no folder")
            true(not os.path.exists(os.path.join(agent.data_dir, "keys", "sign")), "no key")


@case
def an_object_that_is_gone_at_the_start_is_named_and_the_archive_goes_on():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            for i, folder in enumerate(("state/{}.enc", "segments/{}.ndjson.zst")):
                shop.insert(pg, 1 + i, 1)
                shop.wait_judged(agent, pg)
                equal(stop(agent), 0)
                true("is gone" not in agent.log_text() or i > 0, agent.log_text()[-500:])
                archive = Archive(agent.data_dir)
                size, name = archive.size(), folder.format(archive.manifests()[-1]["first"])
                os.remove(archive.path(name))
                agent.start()
                true("an object of the newest archive segment is gone" in agent.log_text() and
                     name in agent.log_text(), agent.log_text()[-900:])
                agent.wait(lambda s, n=size: s["archive"]["size"] > n, 60, "another segment")
            equal(stop(agent), 0)


@case
def an_archive_does_not_begin_in_the_middle_of_a_log():
    without = "ledger: {archive: false, segment_bytes: 1MiB, keep: 0s}\n"
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=without) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 5000, per_tx=500)
            shop.wait_judged(agent, pg)
            first = agent.wait(lambda s: s["ledger"]["first"] > 0, 60,
                               "the journal to be pruned")["ledger"]["first"]
            equal(stop(agent), 0)
            agent.write_config(shop.config(pg, more=QUICK))
            agent.start(wait=False)
            equal(agent.exit_code(), 78)
            text = agent.log_text()
            true(f"cannot begin an archive: the journal begins at record {first}, " in text and
                 "set ledger.archive: false, or let a new data_dir begin a new log" in text,
                 text[-700:])
            true(not os.path.exists(os.path.join(agent.data_dir, "archive")), "no folder")
            agent.write_config(shop.config(pg, more=without))    # nothing was changed
            agent.start()
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 6000, 1)
            shop.wait_judged(agent, pg)
            equal(stop(agent), 0)


@case
def an_archive_does_not_go_on_behind_records_that_are_gone():
    without = "ledger: {archive: false, segment_bytes: 1MiB, keep: 0s}\n"
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more=QUICK) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 10)
            shop.wait_judged(agent, pg)
            equal(stop(agent), 0)
            end = Archive(agent.data_dir).size()
            agent.write_config(shop.config(pg, more=without))
            agent.start()
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 11, 5000, per_tx=500)
            shop.wait_judged(agent, pg)
            first = agent.wait(lambda s: s["ledger"]["first"] > end, 60,
                               "the journal to be pruned")["ledger"]["first"]
            equal(stop(agent), 0)
            agent.write_config(shop.config(pg, more=QUICK))
            agent.start(wait=False)
            equal(agent.exit_code(), 78)
            text = agent.log_text()
            true(f"cannot go on with the archive: it ends before record {end}, the journal begins "
                 f"at record {first}, " in text and "set ledger.archive: false" in text,
                 text[-700:])
            equal(Archive(agent.data_dir).size(), end, "the archive is what it was")
            agent.write_config(shop.config(pg, more=without))
            agent.start()
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 6000, 1)
            shop.wait_judged(agent, pg)
            equal(stop(agent), 0)


if __name__ == "__main__":
    main()
