#!/usr/bin/env python3
"""Archives as an auditor meets them: verified by two programs, proven record by record, checked
by a public tool, larger than memory."""

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile

import archive as sealed_archive
import shop
from cases import case, equal, main, note, true
from servers import BUILD, CACHE, TOP, Postgres, need, wait_until

import archive_vectors as vectors

sys.path.insert(0, os.path.join(TOP, "contrib"))
import verify_ledger                              # noqa: E402  pylint: disable=C0413

DGF = os.path.join(BUILD, "dgf")
TILES = os.path.join(TOP, "tests", "support", "tlog")


class Archive:
    """An archive of the generator in a folder of its own."""

    def __init__(self, seed, **options):
        self.spec = vectors.random_spec(random.Random(seed), **options)
        self.folder = tempfile.mkdtemp(prefix="dgf-archive-")
        self.path = os.path.join(self.folder, "archive")
        self.objects = vectors.seal(self.spec)
        vectors.write(self.objects, self.path)
        self.key = self.spec.vkey()
        self.anchor = self.file("anchor", self.objects["checkpoint"])

    def file(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)


def ledger(*words, stdin=b"", code=0):
    done = subprocess.run([DGF, "ledger", *words], input=stdin, check=False, timeout=300,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    equal(done.returncode, code, f"exit code of {' '.join(words)[:300]}: {done.stderr.decode()}")
    return done.stdout.decode(), done.stderr.decode()


def verdict(*words, code=0):
    """What both verifiers say in their own words is no part of it."""
    said = json.loads(ledger("verify", *words, "--format", "json", code=code)[0])
    equal(bool(said.pop("text")), said["class"] is not None, "a finding has a text")
    return said


@case
def an_archive_is_proven_only_with_a_key_and_an_anchor():
    with Archive(1, rotate=3) as a:
        out, _ = ledger("verify", a.path, code=3)
        true("signatures: not checked" in out and "tail: unverifiable" in out, out)
        out, _ = ledger("verify", a.path, "--key", a.key, code=3)
        true(out.startswith("ok\nsize ") and "tail: unverifiable" in out, out)
        out, _ = ledger("verify", a.path, "--key", a.key, "--anchor", a.anchor)
        true(out.startswith("ok\n") and "tail" not in out, out)
        equal(verdict(a.path, "--key", a.key, "--anchor", a.anchor),
              {"result": "ok", "class": None, "index": None, "size": a.spec.size(),
               "root": vectors.tree_root([vectors.leaf_hash(line) for s in a.spec.segments
                                          for line in s.lines]).hex(),
               "anchored": True, "signed": True, "segments": len(a.spec.segments), "pruned": [],
               "goes_on_from": None})


@case
def one_flipped_byte_is_named_with_its_index():
    with Archive(2, segments=5, idle=set()) as a:
        index = a.spec.firsts()[2] + 3
        lines = list(a.spec.segments[2].lines)
        lines[3] = lines[3].replace(b'"env":"prod"', b'"env":"qrod"')
        a.objects[f"segments/{a.spec.firsts()[2]}.ndjson.zst"] = vectors.pack(lines)
        vectors.write(a.objects, a.path)
        out, _ = ledger("verify", a.path, "--key", a.key, code=1)
        true(out.startswith(f"tampered: leaf at index {index}: record {index} is not the one "
                            "that was signed\n"
                            f"confirmed up to size {a.spec.firsts()[2]}\nroot "), out)
        true("\nnewest checkpoint that is confirmed " in out, out)


@case
def the_second_verifier_is_a_program_of_its_own():
    program = [sys.executable, os.path.join(TOP, "contrib", "verify_ledger.py")]
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if "evidence" in p))
    with Archive(3) as a:
        for words in ([], ["--key", a.key], ["--key", a.key, "--anchor", a.anchor]):
            done = subprocess.run([*program, a.path, *words, "--format", "json"], env=env,
                                  stdout=subprocess.PIPE, check=False, timeout=120)
            code = 0 if "--anchor" in words else 3
            equal(done.returncode, code, "exit code")
            theirs = json.loads(done.stdout)
            equal(theirs.pop("text"), None)
            equal(theirs, verdict(a.path, *words, code=code))
        os.unlink(os.path.join(a.path, "checkpoint"))
        done = subprocess.run([*program, a.path, "--key", a.key], env=env, check=False,
                              stdout=subprocess.PIPE, text=True, timeout=120)
        equal(done.returncode, 2)
        true(done.stdout.startswith("incomplete: missing at index"), done.stdout)
        ledger("verify", a.path, "--key", a.key, code=2)


@case
def pruned_ranges_are_named_and_their_roots_still_checked():
    with Archive(4, segments=6, prune=3) as a:
        last = a.spec.firsts()[3] - 1
        got = verdict(a.path, "--key", a.key, "--anchor", a.anchor)
        equal(got["pruned"], [[0, last]])
        out, _ = ledger("verify", a.path, "--key", a.key, code=3)
        true(f"pruned: records 0 to {last} are not here" in out, out)
        out, _ = ledger("cat", a.path)
        equal(json.loads(out.splitlines()[0])["seq"], last + 1)
        name = next(n for n in sorted(a.objects) if n.startswith("tile/0/"))
        a.file("archive/" + name, bytes(len(a.objects[name])))
        equal(verdict(a.path, "--key", a.key, code=1)["class"], "tile")


@case
def one_record_is_proven_with_nothing_but_line_proof_and_key():
    with Archive(5, segments=7, most=200) as a:
        index = a.spec.size() * 2 // 3
        line = a.spec.line(index)
        proof, _ = ledger("prove", a.path, str(index), "--key", a.key)
        true(proof.startswith(f"c2sp.org/tlog-proof@v1\nindex {index}\n"), proof)
        equal(ledger("prove", a.path, json.loads(line)["id"])[0], proof, "proof by id")
        path = a.file("one.tlog-proof", proof.encode())
        shutil.rmtree(a.path)                     # neither archive nor agent are needed
        out, _ = ledger("check-proof", path, "--key", a.key, stdin=line + b"\n")
        equal(out, f"ok: the record is number {index} of the log at size {a.spec.size()}\n")
        equal(verify_ledger.check_proof(proof.encode(), line, [a.key]), (None, index))
        out, _ = ledger("check-proof", path, "--key", a.key, stdin=line.replace(b"prod", b"test"),
                        code=1)
        true(out.startswith("not proven: root: "), out)
        _, complaint = ledger("check-proof", path, stdin=line, code=64)
        true("needs the log's key" in complaint, complaint)


@case
def a_checkpoint_goes_on_from_an_older_one_or_it_does_not():
    with Archive(6, segments=6) as a, Archive(6, segments=6) as fork:
        ends = a.spec.firsts()[1:] + [a.spec.size()]
        old = os.path.join(a.path, "checkpoints", str(ends[1]))
        out, _ = ledger("consistency", old, a.anchor, a.path, "--key", a.key)
        true(out.startswith(f"ok: size {ends[-1]} goes on from size {ends[1]}"), out)
        lines = fork.spec.segments[0].lines
        lines[1] = lines[1].replace(b"prod", b"test")
        vectors.write(vectors.seal(fork.spec), fork.path)
        theirs = os.path.join(fork.path, "checkpoint")
        out, _ = ledger("consistency", old, theirs, fork.path, code=1)
        true(out.startswith("not proven: root: "), out)
        out, _ = ledger("consistency", a.anchor, theirs, code=1)
        true("two checkpoints of one size have different roots" in out, out)
        _, complaint = ledger("consistency", old, a.anchor, code=64)
        true("needs the archive" in complaint, complaint)


@case
def cat_ls_stats_and_csv_read_an_archive():
    with Archive(7, segments=6, idle=set()) as a:
        lines = [line.decode() for s in a.spec.segments for line in s.lines]
        equal(ledger("cat", a.path)[0].splitlines(), lines)
        equal(ledger("cat", a.path, "--since", "17", "--until", "90")[0].splitlines(),
              lines[17:90])
        wanted = [line for line in lines if json.loads(line)["kind"] in ("gap", "coverage")]
        equal(ledger("cat", a.path, "--kind", "gap,coverage")[0].splitlines(), wanted)
        wanted = [line for line in lines
                  if json.loads(line).get("policy", {}).get("id") == "CARD-003"]
        equal(ledger("cat", a.path, "--policy", "CARD-003")[0].splitlines(), wanted)
        since = json.loads(lines[60])["time"]
        wanted = [line for line in lines if json.loads(line)["time"] >= since]
        true(0 < len(ledger("cat", a.path, "--since", since)[0].splitlines()) <= len(wanted) + 60,
             "a time chooses")
        listed = json.loads(ledger("ls", a.path, "--format", "json")[0])
        equal([part["first"] for part in listed], a.spec.firsts())
        stats = json.loads(ledger("stats", a.path, "--format", "json")[0])
        equal((stats["log_id"], stats["size"], stats["origin"]),
              (a.spec.log, len(lines), a.spec.origin))
        table = list(csv.reader(io.StringIO(ledger("export", a.path, "--csv")[0])))
        equal(len(table), len(lines) + 1)
        equal([row[0] for row in table[1:]], [str(i) for i in range(len(lines))])


def lines_of(a, begin=0, end=None):
    return [a.spec.line(i).decode() for i in range(begin, a.spec.size() if end is None else end)]


@case
def readers_go_on_behind_a_hole_name_it_and_do_not_end_well():
    with Archive(21, segments=8, idle=set(), most=120) as a:
        firsts, size = a.spec.firsts(), a.spec.size()
        first, end = firsts[3], firsts[4]
        os.unlink(os.path.join(a.path, f"segments/{first}.ndjson.zst"))
        hole = (f"dgf ledger: records {first} to {end - 1} are missing: there is no "
                f"'segments/{first}.ndjson.zst'\n")
        out, said = ledger("cat", a.path, code=2)
        equal(out.splitlines(), lines_of(a, 0, first) + lines_of(a, end))
        equal(said, hole)
        out, said = ledger("cat", a.path, "--since", str(first - 2), "--until", str(end + 2),
                           code=2)
        equal(out.splitlines(), lines_of(a, first - 2, first) + lines_of(a, end, end + 2))
        equal(said, hole)
        # only what was asked for counts
        _, said = ledger("cat", a.path, "--since", str(first + 1), "--until", str(end - 1), code=2)
        equal(said, hole.replace(f"records {first} to {end - 1}",
                                 f"records {first + 1} to {end - 2}"))
        equal(ledger("cat", a.path, "--until", str(first)),
              ("".join(line + "\n" for line in lines_of(a, 0, first)), ""))
        equal(ledger("cat", a.path, "--since", str(end))[1], "")
        equal(ledger("export", a.path, "--csv", code=2)[1], hole)
        for what in ("ls", "stats"):
            out, said = ledger(what, a.path, code=2)
            equal(said, hole, what)
            ledger(what, a.path, "--format", "json", code=2)
        # another one, and its manifest too; and the end
        for name in (f"{firsts[4]}.ndjson.zst", f"{firsts[4]}.json", f"{firsts[7]}.ndjson.zst"):
            os.unlink(os.path.join(a.path, "segments", name))
        tail = (f"dgf ledger: records {firsts[7]} to {size - 1} are missing: there is no "
                f"'segments/{firsts[7]}.ndjson.zst'\n")
        hole = hole.replace(f"to {end - 1}", f"to {firsts[5] - 1}")
        for what in ("cat", "ls", "stats"):
            equal(ledger(what, a.path, code=2)[1], hole + tail, what)
        equal(ledger("cat", a.path, "--since", str(firsts[5]), code=2)[1], tail)
        equal(ledger("cat", a.path, "--since", str(firsts[5]), "--until", str(firsts[7]))[1], "")


@case
def a_segment_that_ends_early_is_a_hole_too():
    with Archive(22, segments=5, idle=set(), most=120) as a:
        first, end = a.spec.firsts()[2:4]
        lines = a.spec.segments[2].lines
        a.file(f"archive/segments/{first}.ndjson.zst", vectors.pack(lines[:-3]))
        out, said = ledger("cat", a.path, code=2)
        equal(out.splitlines(), lines_of(a, 0, end - 3) + lines_of(a, end))
        equal(said, f"dgf ledger: records {end - 3} to {end - 1} are missing: "
                    f"'segments/{first}.ndjson.zst' ends before them\n")


@case
def what_was_pruned_is_named_and_what_is_missing_besides_it_is_not_excused():
    with Archive(23, segments=7, idle=set(), prune=3) as a:
        firsts = a.spec.firsts()
        gone = f"dgf ledger: records 0 to {firsts[3] - 1} were pruned\n"
        for words in (["cat"], ["ls"], ["stats"], ["export", "--csv"]):
            equal(ledger(*words, a.path)[1], gone, words[0])
        equal(ledger("cat", a.path, "--since", "1", "--until", "3"),
              ("", "dgf ledger: records 1 to 2 were pruned\n"))
        equal(ledger("cat", a.path, "--since", str(firsts[3]))[1], "")
        os.unlink(os.path.join(a.path, f"segments/{firsts[3]}.ndjson.zst"))
        gone += (f"dgf ledger: records {firsts[3]} to {firsts[4] - 1} are missing: there is no "
                 f"'segments/{firsts[3]}.ndjson.zst'\n")
        for words in (["cat"], ["ls"], ["stats"], ["export", "--csv"]):
            equal(ledger(*words, a.path, code=2)[1], gone, words[0])
        # no record that says it: nothing was pruned
        forged = [line.replace(b'"archive_pruned_before"', b'"archive_pruned_befare"')
                  for line in a.spec.segments[6].lines]
        a.file(f"archive/segments/{firsts[6]}.ndjson.zst", vectors.pack(forged))
        _, said = ledger("ls", a.path, code=2)
        true(said.startswith(f"dgf ledger: records 0 to {firsts[4] - 1} are missing"), said)


@case
def a_changed_record_is_not_handed_out():
    for seed, number, at in ((24, 1, 2), (25, 6, 0), (26, 9, -1)):
        with Archive(seed, segments=10, idle=set(), most=160) as a:
            first = a.spec.firsts()[number]
            lines = list(a.spec.segments[number].lines)
            at %= len(lines)
            index = first + at
            lines[at] = lines[at][:-9] + bytes([lines[at][-9] ^ 1]) + lines[at][-8:]
            true(lines[at] != a.spec.line(index), "it is another line")
            a.file(f"archive/segments/{first}.ndjson.zst", vectors.pack(lines))
            begin = f"dgf ledger: record {index} is not the one that was sealed: "
            for since in (0, index, max(index - 1, 0)):
                out, said = ledger("cat", a.path, "--since", str(since), code=1)
                equal(out.splitlines(), lines_of(a, since, index))
                true(said.startswith(begin) and f"'segments/{first}.ndjson.zst'" in said and
                     "'dgf ledger verify'" in said and said.count("\n") == 1, said)
            equal(ledger("cat", a.path, "--until", str(index))[1], "")
            equal(ledger("cat", a.path, "--since", str(index + 1))[1], "")
            out, said = ledger("export", a.path, "--csv", code=1)
            equal(len(out.splitlines()), index + 1)
            true(said.startswith(begin), said)
            tiles = os.path.join(a.folder, "tiles")
            _, said = ledger("export", a.path, "--tlog-tiles", tiles, code=1)
            true(said.startswith(begin), said)
            true(not os.path.exists(os.path.join(tiles, "checkpoint")), "no log came of it")


@case
def what_cannot_be_compared_is_said_once():
    with Archive(27, segments=10, idle=set(), most=160) as a:
        size = a.spec.size()
        true(size > 512, f"{size} records")
        for index in (0, 1):
            os.unlink(os.path.join(a.path, vectors.tile_name(0, index)))
        out, said = ledger("cat", a.path, code=2)
        equal(out.splitlines(), lines_of(a))
        equal(said, "dgf ledger: records 0 to 255 cannot be compared with what was sealed: there "
                    "is no 'tile/0/000'; further tiles may be missing\n")
        equal(ledger("cat", a.path, "--since", "512")[1], "")
        a.file("archive/" + vectors.tile_name(0, 0), bytes(3))
        _, said = ledger("cat", a.path, code=1)
        true("'tile/0/000' is of another length" in said, said)
    with Archive(28, segments=4, idle=set()) as a:        # the newest checkpoint
        os.unlink(os.path.join(a.path, "checkpoint"))
        equal(ledger("cat", a.path, code=2)[1], "dgf ledger: there is no 'checkpoint'\n")
        line = a.spec.segments[1].lines[0]
        a.file(f"archive/segments/{a.spec.firsts()[1]}.ndjson.zst",
               vectors.pack([line.replace(b"{", b"[", 1), *a.spec.segments[1].lines[1:]]))
        _, said = ledger("cat", a.path, code=1)
        true(f"record {a.spec.firsts()[1]} is not the one that was sealed" in said, said)
        shutil.rmtree(os.path.join(a.path, "tile"))
        _, said = ledger("export", a.path, "--csv", code=1)
        true(f"record {a.spec.firsts()[1]} in 'segments/{a.spec.firsts()[1]}.ndjson.zst': " in said,
             said)


@case
def exported_tiles_are_accepted_by_a_public_tool():
    need(shutil.which("go"), "'go' is not installed: the public tool for tiled logs is a Go module")
    env = dict(os.environ, GOFLAGS="-mod=mod", GOCACHE=os.path.join(CACHE, "go-build"),
               GOMODCACHE=os.path.join(CACHE, "go-mod"))
    with Archive(8, segments=9, most=300) as a:
        tiles = os.path.join(a.folder, "tiles")
        ledger("export", a.path, "--tlog-tiles", tiles)
        module = os.path.join(a.folder, "tlog")
        shutil.copytree(TILES, module)
        program = os.path.join(a.folder, "fsck")
        made = subprocess.run(["go", "build", "-o", program, "."], cwd=module, env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              timeout=600)
        need(made.returncode == 0 or "dial tcp" not in made.stdout,
             f"the Go module cannot be fetched: {made.stdout[-300:]}")
        equal(made.returncode, 0, made.stdout)

        def check():
            return subprocess.run([program, tiles, a.key], text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, check=False, timeout=120)
        done = check()
        equal((done.returncode, done.stdout), (0, f"ok {a.spec.size()}\n"))
        path = os.path.join(tiles, "tile/entries/001")
        with open(path, "rb") as file:
            data = bytearray(file.read())
        data[100] ^= 1
        with open(path, "wb") as file:
            file.write(data)
        true(check().returncode != 0, "the tool looks at the entries")


@case
def an_archive_larger_than_memory_is_verified_in_32_mib():
    """A cap on its memory, far below what the records take."""
    bench = os.path.join(BUILD, "bench_archive")
    need(os.path.exists(bench), "bench_archive is not built")
    with tempfile.TemporaryDirectory(prefix="dgf-archive-") as folder:
        made = subprocess.run([bench, "--make", folder, "400000"], check=True, text=True,
                              stdout=subprocess.PIPE, timeout=300)
        key = made.stdout.strip()
        done = subprocess.run(["/usr/bin/env", "bash", "-c",
                               f"'{DGF}' ledger verify '{folder}' --key '{key}' --format json & "
                               "pid=$!; most=0; while kill -0 $pid 2>/dev/null; do "
                               "rss=$(awk '/VmHWM/ {print $2}' /proc/$pid/status 2>/dev/null); "
                               "[ -n \"$rss\" ] && most=$rss; sleep 0.01; done; wait $pid; "
                               "echo $most $?"],
                              stdout=subprocess.PIPE, check=False, text=True, timeout=300)
        said, figures = done.stdout.strip().split("\n")
        equal(json.loads(said)["size"], 400000)
        peak, code = (int(word) for word in figures.split())
        equal(code, 3)
        note(f"{peak / 1024:.1f} MiB for 400,000 records")
        true(0 < peak < 32 * 1024, f"{peak} KiB")


def end(agent):
    agent.send(signal.SIGTERM)
    equal(agent.exit_code(60), 0, "exit code of the agent")


def both_say(folder, keys, anchors, index_of=None):
    """Both verifiers' verdict on what an agent sealed."""
    words = []
    for key in keys:
        words += ["--key", key]
    for anchor in anchors:
        words += ["--anchor", anchor]
    texts = []
    for anchor in anchors:
        with open(anchor, "rb") as file:
            texts.append(file.read())
    theirs = verify_ledger.verify(folder, keys, texts)
    code, text = theirs.pop("exit"), theirs.pop("text")
    ours = verdict(folder, *words, code=code)
    equal(ours, theirs, f"the two verifiers ({text})")
    if index_of is not None:
        equal((ours["class"], ours["index"]), index_of)
    return ours


@case
def what_an_agent_sealed_is_proven_by_both_verifiers():
    """With a real PostgreSQL: kill -9 under load, another key, one flipped byte, pruning."""
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more="ledger: {cut_every: 1s, cut_bytes: 64KiB}\n") as agent:
            agent.wait_source("shop", "streaming")
            for i in range(3):
                shop.insert(pg, 1 + 300 * i, 300, per_tx=10)
                agent.kill9()
                agent.start()
            shop.wait_judged(agent, pg)
            size = agent.wait(lambda s: True)["ledger"]["size"]
            agent.wait(lambda s: s["archive"]["size"] >= size, 60, "everything to be sealed")
            archive = sealed_archive.Archive(agent.data_dir)
            key = agent.run("ledger", "key", "-c", agent.config).stdout.strip()
            ledger("verify", agent.data_dir, "--key", key, code=3)   # while it runs
            anchor = os.path.join(agent.data_dir, "kept")
            shutil.copy(archive.path("checkpoint"), anchor)
            wait_until(lambda: archive.checkpoint()[1] > size, 60, lambda: "another checkpoint")
            end(agent)
            said = both_say(archive.folder, [key], [anchor])
            equal((said["result"], said["anchored"], said["size"]),
                  ("ok", True, archive.checkpoint()[1]))
            agent.run("ledger", "rotate-key", "-c", agent.config)
            agent.start()
            shop.insert(pg, 901, 100)
            shop.wait_judged(agent, pg)
            end(agent)
            newest = os.path.join(agent.data_dir, "newest")
            shutil.copy(archive.path("checkpoint"), newest)
            said = both_say(archive.folder, [key], [anchor, newest])
            equal((said["result"], said["anchored"]), ("ok", True), "after another key took over")
            true(len(json.loads(archive.read("keys.json"))["keys"]) == 2, "two keys")
            audit = next(line for line in archive.lines() if b'"kind":"audit"' in line)
            seq = str(json.loads(audit)["seq"])
            key_now = agent.run("ledger", "key", "-c", agent.config).stdout.strip()
            proof, _ = ledger("prove", archive.folder, seq, "--key", key_now)
            path = os.path.join(agent.data_dir, "proof")
            with open(path, "w", encoding="utf-8") as file:
                file.write(proof)
            ledger("check-proof", path, "--key", key_now, stdin=audit)
            copy = os.path.join(agent.data_dir, "copy")
            shutil.copytree(archive.folder, copy)
            first = archive.manifests()[1]["first"]
            lines = list(sealed_archive.frames(archive.read(f"segments/{first}.ndjson.zst")))
            lines = b"".join(lines).split(b"\n")[:-1]
            lines[0] = lines[0].replace(b'"env":"', b'"env":"x')
            with open(os.path.join(copy, f"segments/{first}.ndjson.zst"), "wb") as file:
                file.write(vectors.pack(lines))
            both_say(copy, [key], [anchor], ("leaf", first))
            agent.write_config(shop.config(pg, more="ledger: {cut_every: 1s, keep: 0s}\n"))
            agent.start()
            wait_until(lambda: not os.path.exists(archive.path(f"segments/{first}.ndjson.zst")), 60,
                       lambda: "old segments to go")
            size = archive.checkpoint()[1]
            wait_until(lambda: archive.checkpoint()[1] > size, 60, lambda: "another checkpoint")
            end(agent)
            # The record that one key took over from the other may be pruned too.
            said = both_say(archive.folder, [key, key_now], [anchor])
            true(said["result"] == "ok" and said["pruned"][0][0] == 0, said)


def recovered(old, seed, checkpoint, key=None):
    """An archive whose record 0 goes on from that checkpoint of another one, as recover makes it;
    signed by the same key, or by another one."""
    new = Archive(seed, segments=3)
    spec = new.spec
    line = json.loads(spec.segments[0].lines[0])
    record = {name: line[name] for name in ("v", "seq", "id", "time", "logged")}
    record.update(kind="resume", detail={
        "new": True, "old_log": old.spec.log, "old_size": int(checkpoint.split(b"\n")[1]),
        "old_checkpoint": checkpoint.decode()})
    spec.segments[0].lines[0] = json.dumps(record, separators=(",", ":")).encode()
    spec.first_key = key or old.spec.first_key
    spec.keys = [(spec.first_key, 0)]
    for segment in spec.segments:
        segment.key = spec.first_key
    new.objects = vectors.seal(spec)
    shutil.rmtree(new.path)
    vectors.write(new.objects, new.path)
    new.key = spec.vkey()
    return new


def second(*words, code):
    """The other verifier as a program; what it said."""
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if "evidence" in p))
    script = os.path.join(TOP, "contrib", "verify_ledger.py")
    done = subprocess.run([sys.executable, script, *words], env=env, check=False, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120)
    equal(done.returncode, code, f"exit code of the second with {words}: {done.stderr}")
    return done.stdout + done.stderr


@case
def a_log_says_what_it_goes_on_from_and_old_anchors_are_held_against_that():
    with Archive(20, segments=5, rotate=None) as old:
        sizes = sorted(int(n.split("/")[1]) for n in old.objects if n.startswith("checkpoints/"))
        cited, newest = sizes[-2], sizes[-1]
        at = {n: old.file(f"at-{n}", old.objects[f"checkpoints/{n}"]) for n in sizes}
        with recovered(old, 21, old.objects[f"checkpoints/{cited}"]) as new:
            said = both_say(new.path, [new.key], [])
            equal((said["result"], said["anchored"], said["goes_on_from"]),
                  ("ok", False, {"log": old.spec.log, "size": cited}))
            line = f"\ngoes on from log {old.spec.log} at size {cited}\n"
            out, _ = ledger("verify", new.path, "--key", new.key, code=3)
            true(line in out, out)
            true(line in second(new.path, "--key", new.key, code=3), "the second verifier")
            # The anchor that is cited fits; a smaller one says nothing here.
            equal(both_say(new.path, [new.key], [at[cited]])["anchored"], True)
            equal(both_say(new.path, [new.key], [at[sizes[0]]])["anchored"], False)
            out, _ = ledger("verify", new.path, "--key", new.key, "--anchor", at[sizes[0]], code=3)
            true(f"an anchor of that log has size {sizes[0]}" in out, out)
            # A larger one: records were dropped.
            said = both_say(new.path, [new.key], [at[newest]], ("anchor", 0))
            equal((said["result"], said["anchored"]), ("tampered", False))
            out, _ = ledger("verify", new.path, "--key", new.key, "--anchor", at[newest], code=1)
            true(f"records {cited} to {newest - 1} of that log were signed" in out, out)
            # Another tree of that size.
            body = old.objects[f"checkpoints/{cited}"].decode().split("\n")
            other = vectors.sign_note(vectors.note_body(body[0], cited, bytes(32), b"x"), body[0],
                                      old.spec.first_key, vectors.START)
            both_say(new.path, [new.key], [old.file("other", other)], ("anchor", 0))
            # Nobody vouches for an anchor that is signed by nobody who is known.
            thief = vectors.Key(random.Random(5))
            forged = vectors.sign_note(vectors.note_body(body[0], cited, bytes(32), b"x"), body[0],
                                       thief, vectors.START)
            words = (new.path, "--key", new.key, "--anchor", old.file("thief", forged))
            _, complaint = ledger("verify", *words, code=64)
            true("signed with no key that was given" in complaint, complaint)
            second(*words, code=64)


@case
def a_key_of_another_log_is_a_mistake_and_one_checkpoint_of_another_log_an_attack():
    with Archive(9) as a, Archive(10) as b:
        _, complaint = ledger("verify", a.path, "--key", b.key, code=64)
        true("--key is of another log" in complaint, complaint)
        true("the key is of another log" in second(a.path, "--key", b.key, code=64), "the second")
        a.file("archive/checkpoint", b.objects["checkpoint"])
        equal(both_say(a.path, [a.key], [])["class"], "origin")


@case
def what_cannot_be_read_ends_both_verifiers_alike():
    with Archive(9) as a:
        empty = os.path.join(a.folder, "empty")
        os.mkdir(empty)
        for folder in (empty, os.path.join(a.folder, "none"), "/etc"):
            ledger("verify", folder, "--key", a.key, code=2)
            second(folder, "--key", a.key, code=2)
        none = os.path.join(a.folder, "no-proof")
        ledger("check-proof", none, "--key", a.key, code=2)
        second("--check-proof", none, "--key", a.key, code=2)
        ledger("verify", a.path, "--anchor", none, code=64)
        second(a.path, "--anchor", none, code=64)
        # Without its modules the second says so, and not that something was tampered with.
        script = os.path.join(TOP, "contrib", "verify_ledger.py")
        code = ("import sys; sys.modules['zstandard'] = None; import runpy; "
                f"runpy.run_path({script!r}, run_name='__main__')")
        done = subprocess.run([sys.executable, "-I", "-c", code], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        equal(done.returncode, 64)
        true("pip install" in done.stderr, done.stderr)
        # A copy that was made while the agent wrote.
        os.unlink(os.path.join(a.path, f"checkpoints/{a.spec.size()}"))
        out, _ = ledger("verify", a.path, "--key", a.key, code=2)
        true("of an archive that was being written; copy `checkpoint`" in out, out)


@case
def hostile_names_and_folders_are_said():
    with Archive(9) as a, Archive(10) as b:
        _, complaint = ledger("verify", a.path, "--key", "nonsense", code=64)
        true("--key: not a vkey" in complaint, complaint)
        _, complaint = ledger("verify", a.path, "--key", a.key, "--anchor", b.anchor, code=64)
        true("is of another log" in complaint, complaint)
        bad = a.file("bad", b"nothing")
        _, complaint = ledger("verify", a.path, "--key", a.key, "--anchor", bad, code=64)
        true("is not a checkpoint" in complaint, complaint)
        both = os.path.join(a.folder, "both")
        shutil.copytree(a.path, os.path.join(both, a.spec.log))
        ledger("verify", both, "--key", a.key, code=3)
        shutil.copytree(b.path, os.path.join(both, b.spec.log))
        _, complaint = ledger("verify", both, code=2)
        true("holds 2 logs" in complaint, complaint)
        _, complaint = ledger("verify", a.folder + "/none", code=2)
        true(complaint.startswith("dgf ledger: "), complaint)


if __name__ == "__main__":
    main(parallel=True)
