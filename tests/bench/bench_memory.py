#!/usr/bin/env python3
"""B8: anonymous memory, idle and while one transaction of a million rows passes.

  bench_memory.py [--rows N]

RssAnon of dgf with 50 policies, ledger and Kafka sink, sampled every 20 ms.
Memory under B1 is printed by bench_stream.py."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time

from bench_stream import CONFIG, DGF, ROW, Server, TABLE, policies

from servers import Folder, MockKafka, tail, wait_until


def anonymous(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return int(re.search(r"RssAnon:\s+(\d+)", file.read()).group(1)) / 1024


def size(folder, child):
    """Records that are durable, as status.json says after it was asked for."""
    child.send_signal(signal.SIGUSR1)
    try:
        with open(folder / "data/status.json", encoding="utf-8") as file:
            return json.load(file)["sinks"]["events"]["next"]
    except (OSError, ValueError, KeyError):
        return 0


def show(what, mib, bar=None):
    print(json.dumps({"what": f"B8 {what}", "unit": "MiB anonymous", "ours": round(mib, 1),
                      **({"bar": bar} if bar else {})}), flush=True)


def watch(pg, folder, child, n):
    wait_until(lambda: os.path.exists(folder / "data/status.json"), 20, "status.json")
    time.sleep(0.5)
    wait_until(lambda: size(folder, child) > 0, 20, "the first records", every=0.2)
    time.sleep(5)
    show("idle", anonymous(child.pid), 8)
    most, last = 0.0, [0.0]
    writer = pg.background(f"INSERT INTO orders SELECT {ROW} FROM generate_series(1, {n}) i;")

    def through():
        nonlocal most
        most = max(most, anonymous(child.pid))
        if time.monotonic() - last[0] < 0.5:
            return False
        last[0] = time.monotonic()
        return size(folder, child) > n
    wait_until(through, 300, lambda: f"{n} rows: {size(folder, child)}\n{tail(folder / 'log')}")
    writer.wait(60)
    show("one transaction of 1,000,000 rows" if n == 1_000_000 else f"one transaction of {n}",
         most, 56)
    time.sleep(5)
    show("idle after that", anonymous(child.pid))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    args = parser.parse_args()
    folder = Folder("memory")
    with Server() as pg, MockKafka("dgf.bench.violations.v1:2", "dgf.bench.audit.v1:2",
                                   "dgf.bench.control.v1:1") as kafka:
        pg.sql(TABLE + "SELECT pg_create_logical_replication_slot('memory', 'pgoutput');")
        os.makedirs(folder / "policies")
        with open(folder / "policies/bench.yaml", "w", encoding="utf-8") as file:
            file.write(policies())
        with open(folder / "dgf.yaml", "w", encoding="utf-8") as file:
            file.write(CONFIG.format(dir=folder.path, url=pg.url(False), insecure="true",
                                     slot="memory", linger="5ms", brokers=kafka.bootstrap,
                                     archive="true"))
        with open(folder / "log", "wb") as log:
            child = subprocess.Popen([DGF, "run", "-c", folder / "dgf.yaml"], stdout=log,
                                     stderr=log)
        try:
            watch(pg, folder, child, args.rows)
        finally:
            child.terminate()
            child.wait(20)
            folder.remove()


if __name__ == "__main__":
    sys.exit(main())
