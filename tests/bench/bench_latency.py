#!/usr/bin/env python3
"""B4: from commit to delivery report at 2,000 transactions a second.

  bench_latency.py [--seconds N] [--pairs N] [--rate N]

pgbench inserts one row a transaction into a table that 100 policies watch or
pass by; dgf, with its ledger on, and bare_path, which only receives and
produces, take turns on slots of the same server, both without linger, both into
librdkafka's mock cluster.  delivery_probe.so, preloaded into both, takes the
time of the delivery report less the commit time that stands in the message."""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time

from bench_stream import CONFIG, DGF, ROW, Server, TABLE, policies

from servers import BUILD, Folder, MockKafka, tail

PROBE = os.path.join(BUILD, "delivery_probe.so")
BARE = os.path.join(BUILD, "bare_path")
COLUMNS = "id, customer, status, amount, qty, created_by, approved_by, note, created"
INSERT = (f"INSERT INTO orders ({COLUMNS}) SELECT {ROW} "
          "FROM (SELECT nextval('ids') AS i) AS next;\n")


def load(pg, script, seconds, rate):
    return subprocess.Popen(
        ["pgbench", "-n", "-h", pg.run, "-p", str(pg.port), "-U", "postgres", "-f", script,
         "-R", str(rate), "-c", "4", "-j", "1", "-T", str(seconds), "postgres"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Turns:
    def __init__(self, pg, seconds, rate):
        self.pg, self.seconds, self.rate, self.n = pg, seconds, rate, 0

    def run(self, command, folder):
        """(count, p50, p90, p99, max) in microseconds; command reads a fresh slot."""
        script, out = folder / "insert.sql", folder / "probe"
        with open(script, "w", encoding="utf-8") as file:
            file.write(INSERT)
        with open(folder / "log", "wb") as log:
            child = subprocess.Popen(command, stdout=log, stderr=log,
                                     env=dict(os.environ, LD_PRELOAD=PROBE, PROBE_FILE=out))
        time.sleep(2)
        load(self.pg, script, self.seconds, self.rate).wait()
        time.sleep(0.5)
        child.send_signal(signal.SIGTERM)
        child.wait(20)
        if not os.path.exists(out):
            raise SystemExit(f"{command[0]} delivered nothing:\n{tail(folder / 'log')}")
        with open(out, encoding="utf-8") as file:
            return [float(word) for word in file.read().split()]

    def turn(self, ours):
        self.n += 1
        slot, folder = f"turn_{self.n}", Folder("latency")
        self.pg.sql(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
        try:
            with MockKafka("dgf.bench.violations.v1:2", "dgf.bench.audit.v1:2",
                           "dgf.bench.control.v1:1", "bare:2") as kafka:
                if ours:
                    os.makedirs(folder / "policies")
                    with open(folder / "policies/bench.yaml", "w", encoding="utf-8") as file:
                        file.write(policies(100))
                    with open(folder / "dgf.yaml", "w", encoding="utf-8") as file:
                        file.write(CONFIG.format(dir=folder.path, url=self.pg.url(False),
                                                 insecure="true", slot=slot, linger="0s",
                                                 brokers=kafka.bootstrap, archive="true"))
                    command = [DGF, "run", "-c", folder / "dgf.yaml"]
                else:
                    command = [BARE, self.pg.url(False) + "&replication=database", slot, "dgf",
                               kafka.bootstrap, "bare"]
                return self.run(command, folder)
        finally:
            folder.remove()
            self.pg.sql(f"SELECT pg_drop_replication_slot('{slot}')")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rate", type=int, default=2000)
    args = parser.parse_args()
    with Server() as pg:
        pg.sql(TABLE + "CREATE SEQUENCE ids CACHE 100;")
        turns = Turns(pg, args.seconds, args.rate)
        got = {True: [], False: []}
        for pair in range(args.pairs):
            for ours in ((False, True) if pair % 2 == 0 else (True, False)):
                got[ours].append(turns.turn(ours))
    wanted = args.seconds * args.rate * 0.9
    for name, at in (("p50", 1), ("p90", 2), ("p99", 3)):
        a, b = (statistics.median(one[at] for one in got[ours]) for ours in (False, True))
        ratios = [b[at] / a[at] for a, b in zip(got[False], got[True])]
        print(json.dumps({"what": f"B4 {name}", "unit": "us", "ours": b, "reference": a,
                          "ratio": round(b / a, 2), "runs": args.pairs,
                          "spread": round(max(ratios) - min(ratios), 2),
                          "void": any(one[0] < wanted for one in got[True] + got[False])}),
              flush=True)


if __name__ == "__main__":
    sys.exit(main())
