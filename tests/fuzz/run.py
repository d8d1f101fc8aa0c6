#!/usr/bin/env python3
"""Runs libFuzzer targets for a bounded time and prints what they reached.

A target that crashes, leaks, hangs, or executes fewer than 10,000 inputs fails.
What it found new stays in fuzz-corpus/<target>/, a crash in fuzz-found/."""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys

MIN_EXECUTIONS = 10_000


def run(target, seconds, corpus):
    name = os.path.basename(target)
    seeds = os.path.join(corpus, name.removeprefix("fuzz_"))
    grown = os.path.join("fuzz-corpus", name)
    os.makedirs(grown, exist_ok=True)
    os.makedirs("fuzz-found", exist_ok=True)
    if not os.path.isdir(seeds) or not os.listdir(seeds):
        return name, False, f"no corpus in {seeds}"
    command = [os.path.join(".", target), "-print_final_stats=1", "-timeout=10",
               "-rss_limit_mb=1024", f"-artifact_prefix=fuzz-found/{name}-"]
    n_units, more = 0, f"-max_total_time={seconds}"
    while more:
        try:
            done = subprocess.run([*command, more, grown, seeds], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=seconds + 240, check=False)
        except subprocess.TimeoutExpired:
            return name, False, "did not end by itself"
        text = done.stdout.decode(errors="replace")
        units = re.findall(r"stat::number_of_executed_units:\s*(\d+)", text)
        edges = re.findall(r"\bcov: (\d+)", text)
        n_units += int(units[-1]) if units else 0
        # A slow target on a busy machine gets the time that it needs, once.
        short = not done.returncode and n_units < MIN_EXECUTIONS
        more = f"-runs={MIN_EXECUTIONS - n_units}" if short and "time" in more else None
    line = f"{n_units} executions, {edges[-1] if edges else 0} edges"
    if done.returncode:
        with open(f"fuzz-found/{name}.log", "w", encoding="utf-8") as log:
            log.write(text)
        last = [row for row in text.splitlines() if "ERROR" in row or "runtime" in row]
        return name, False, f"{line}; {last[0] if last else 'failed'} (fuzz-found/{name}.log)"
    if n_units < MIN_EXECUTIONS:
        return name, False, f"{line}; fewer than {MIN_EXECUTIONS}"
    return name, True, line


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("targets", nargs="*")
    args = parser.parse_args()
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for name, ok, line in pool.map(lambda t: run(t, args.seconds, args.corpus),
                                       args.targets):
            print(f"{'ok  ' if ok else 'FAIL'} {name}: {line}", flush=True)
            failed += not ok
    print(f"fuzz: {len(args.targets)} targets, {failed} failed")
    return 1 if failed or not args.targets else 0


if __name__ == "__main__":
    sys.exit(main())
