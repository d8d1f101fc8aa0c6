#!/usr/bin/env python3
"""Attacks on archives, against both verifiers: class, first bad index and exit code must be the
expected ones, and the same.  And archives nobody touched: no false alarm.

  run.py [--instances 20] [--clean 200] [--seed N] [--rows T1,T7] [--jobs 2]

Each instance has a seed of its own, which a failure prints.  Ends with 1 when one was missed."""

import argparse
import concurrent.futures
import json
import os
import random
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(TOP, "tests", "support"), os.path.join(TOP, "contrib"), HERE]

from servers import Skip                          # noqa: E402  pylint: disable=C0413
try:
    import archive_vectors                        # noqa: E402  pylint: disable=C0413
    import attacks                                # noqa: E402  pylint: disable=C0413
    import verify_ledger                          # noqa: E402  pylint: disable=C0413
except Skip as skip:
    print(f"skip: {skip}")
    sys.exit(77)

# Many small files, for a moment each.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
DGF = os.path.join(os.environ.get("DGF_BUILD") or os.getcwd(), "dgf")


def ours(words, stdin=b""):
    """(class, index, exit code) of the agent's verifier."""
    done = subprocess.run([DGF, "ledger", *words, "--format", "json"], input=stdin, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    try:
        verdict = json.loads(done.stdout)
    except ValueError:
        return f"no verdict: {done.stderr.decode()[-300:]}", None, done.returncode
    return verdict["class"], verdict["index"], done.returncode


def verdicts(instance, folder):
    """What both say of an archive."""
    archive = os.path.join(folder, "archive")
    archive_vectors.write(instance.objects, archive)
    words = ["verify", archive]
    for key in instance.keys:
        words += ["--key", key]
    for number, anchor in enumerate(instance.anchors):
        path = os.path.join(folder, f"anchor-{number}")
        with open(path, "wb") as file:
            file.write(anchor)
        words += ["--anchor", path]
    try:
        other = verify_ledger.verify(archive, instance.keys, instance.anchors)
        theirs = other["class"], other["index"], other["exit"]
    except verify_ledger.Usage as error:
        theirs = f"usage: {error}", None, 64
    return ours(words), theirs


def proof_verdicts(instance, folder):
    path = os.path.join(folder, "proof")
    with open(path, "wb") as file:
        file.write(instance.proof)
    kind, _ = verify_ledger.check_proof(instance.proof, instance.line, instance.keys)
    words = ["check-proof", path, "--key", instance.keys[0]]
    got = ours(words, instance.line)
    return (got[0], got[2]), (kind, 1 if kind else 0)


def judge(row, seed, instance):
    """None, or what went wrong."""
    with tempfile.TemporaryDirectory(prefix="dgf-attack-", dir=MEMORY) as folder:
        if isinstance(instance, attacks.Proof):
            got, theirs = proof_verdicts(instance, folder)
            wanted = instance.kind, 1 if instance.kind else 0
        else:
            got, theirs = verdicts(instance, folder)
            wanted = instance.kind, instance.index, instance.exit_code
    if got == wanted and theirs == wanted:
        return None
    return f"{row} seed {seed} ({instance.what}): wanted {wanted}, dgf {got}, Python {theirs}"


def clean(seed):
    rng = random.Random(seed)
    number = rng.randrange(4)
    spec = archive_vectors.random_spec(
        rng, rotate=rng.randrange(1, 4) if number == 1 else None,
        prune=rng.randrange(1, 4) if number == 2 else None,
        most=rng.choice([10, 90, 400]))
    objects = archive_vectors.seal(spec)
    sizes = [name for name in objects if name.startswith("checkpoints/")]
    anchors = [objects[name] for name in rng.sample(sizes, rng.randrange(len(sizes)))]
    return attacks.Instance(spec, objects, None, None, anchors, exit_code=0 if anchors else 3,
                            what="nobody touched it")


def work(job):
    """One share of the instances; [(row, text or None)]."""
    row, base, numbers = job
    out, pool = [], None
    for number in numbers:
        seed = f"{base}/{row}/{number}"
        if row == "clean":
            instance = clean(seed)
        else:
            pool = pool or attacks.Pool(random.Random(f"{base}/{row}/{numbers[0]}/pool"))
            instance = attacks.ROWS[row](random.Random(seed), pool)
        out.append((row, judge(row, seed, instance)))
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--instances", type=int, default=20)
    parser.add_argument("--clean", type=int, default=200)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--rows", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    rows = args.rows.split(",") if args.rows else list(attacks.ROWS) + ["clean"]
    jobs, step = [], 20
    for row in rows:
        n = args.clean if row == "clean" else args.instances
        jobs += [(row, args.seed, range(at, min(at + step, n))) for at in range(0, n, step)]
    start, bad, counts = time.monotonic(), [], dict.fromkeys(rows, 0)
    with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
        for done in pool.map(work, jobs):
            for row, text in done:
                counts[row] += 1
                if text:
                    bad.append(text)
                    print(text, flush=True)
    wrong = {row: sum(text.startswith(row + " ") for text in bad) for row in rows}
    for row in rows:
        word = "without a false alarm" if row == "clean" else "found"
        print(f"{row:5} {counts[row] - wrong[row]:5} of {counts[row]} {word}")
    print(f"attacks: {sum(counts.values())} instances, {len(bad)} wrong, seed {args.seed}, "
          f"{time.monotonic() - start:.0f} s")
    return 1 if bad or not counts else 0


if __name__ == "__main__":
    sys.exit(main())
