#!/usr/bin/env python3
"""B12, an archive: `dgf ledger verify` against Tessera's fsck over the same records.

  bench_verify.py [--records N] [--rounds N]

Makes an archive of records of 500 bytes, exports it as a tiled log, and lets both verify it in
turn, each as a process of its own: Tessera's with one and with two workers, of which the faster
is the reference.  It has the records as they are; ours are packed, and are checked as JSON, in
their times and against the manifests as well."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from agent import DGF                                             # noqa: E402
from servers import CACHE, Folder                                 # noqa: E402

BAR = 2
LIMIT_MIB = 32


def tessera(folder):
    """The path of its fsck, built."""
    module, program = folder / "module", folder / "fsck"
    shutil.copytree(os.path.join(HERE, "tessera"), module)
    env = dict(os.environ, GOFLAGS="-mod=mod", GOCACHE=os.path.join(CACHE, "go-build"),
               GOMODCACHE=os.path.join(CACHE, "go-mod"))
    subprocess.run(["go", "build", "-o", program, "."], cwd=module, env=env, check=True,
                   timeout=600)
    return program


def run(command):
    """(seconds, CPU seconds, peak MiB)."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command[0]} ended with {child.returncode}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if not shutil.which("go"):
        print("B12 verify an archive: not measured, the reference needs 'go' 1.24", file=sys.stderr)
        return
    folder = Folder("verify")
    try:
        archive, tiles, fsck = folder / "archive", folder / "tiles", tessera(folder)
        os.mkdir(archive)
        key = subprocess.run(["./bench_archive", "--make", archive, str(args.records)],
                             cwd=os.path.dirname(DGF), check=True, text=True,
                             stdout=subprocess.PIPE).stdout.strip()
        subprocess.run([DGF, "ledger", "export", archive, "--tlog-tiles", tiles], check=True,
                       stdout=subprocess.DEVNULL)
        anchor = os.path.join(archive, "checkpoint")
        commands = {"dgf": [DGF, "ledger", "verify", archive, "--key", key, "--anchor", anchor],
                    "one worker": [fsck, tiles, key, "1"], "two workers": [fsck, tiles, key, "2"]}
        runs = {name: [] for name in commands}
        for round_ in range(args.rounds):
            for name in list(commands) if round_ % 2 == 0 else reversed(list(commands)):
                runs[name].append(run(commands[name]))
    finally:
        folder.remove()
    median = {name: [statistics.median(r[i] for r in all_) for i in range(3)]
              for name, all_ in runs.items()}
    best = min(("one worker", "two workers"), key=lambda name: median[name][0])
    ours, reference = (args.records / median[name][0] for name in ("dgf", best))
    print(json.dumps({
        "what": "B12 verify an archive, 500-byte records", "unit": "records/s",
        "ours": round(ours), "reference": round(reference), "reference_is": f"Tessera, {best}",
        "ratio": round(ours / reference, 2), "bar": BAR,
        "cpu_ratio": round(median[best][1] / median["dgf"][1], 2),
        "rss_mib": round(max(r[2] for r in runs["dgf"]), 1), "rss_bar": LIMIT_MIB,
        "reference_rss_mib": round(max(r[2] for r in runs[best]), 1), "runs": args.rounds,
        "spread": round((max(r[0] for r in runs["dgf"]) - min(r[0] for r in runs["dgf"])) /
                        median["dgf"][0], 3)}), flush=True)


if __name__ == "__main__":
    main()
