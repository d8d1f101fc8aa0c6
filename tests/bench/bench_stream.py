#!/usr/bin/env python3
"""B1 and B8: draining a backlog of PostgreSQL, against pg_recvlogical -f /dev/null.

  bench_stream.py [--rows N] [--pairs N] [--load NAME] [--tls] [--no-archive]

Each pair runs reference and dgf on copies of one slot (A B B A ...), so both
read the same WAL over the same transport: TCP on the loopback, plain or (--tls)
verified TLS.  dgf judges with 50 policies, commits to its ledger with an fsync
a batch, and sends one audit record a row to librdkafka's mock cluster in a
process of its own, and seals its archive unless --no-archive; the reference does
none of that.  One JSON line a figure;
only ratios count, and CPU rather than wall time on a machine others use too."""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from agent import DGF                                             # noqa: E402
from servers import Folder, MockKafka, Postgres                   # noqa: E402

CONFIG = """
agent: {{name: bench, env: bench, data_dir: {dir}/data}}
sources:
  orders:
    type: postgres
    url: "{url}"
    insecure: {insecure}
    tables: [public.orders]
    slot: existing
    slot_name: {slot}
policies: [{dir}/policies]
classification:
  - {{match: "**.customer", class: confidential}}
  - {{match: "**.note", class: confidential}}
sinks:
  events: {{type: kafka, brokers: ["{brokers}"], topic_prefix: dgf.bench, linger: {linger},
            insecure: true}}
ledger: {{archive: {archive}}}
log: {{level: error}}
"""
HEAD = """version: 1
info: {title: Bench, owner: bench@example.org}
policies:
"""
# Five watch the table that changes, the others do not: as in a real set.
WATCHING = ['after != null && after.amount >= 100000',
            'after != null && after.status == "approved" && after.created_by == after.approved_by',
            'after != null && after.qty < 0',
            'after != null && missing(after.customer)',
            'after != null && after.note != null && after.note.contains("password")']


def policies(n=50):
    text = HEAD
    for i in range(n):
        table = "public.orders" if i < 5 else f"public.other_{i}"
        text += (f"  - id: BENCH-{i:03}\n    title: Policy {i}\n    severity: low\n"
                 f"    watch: {{objects: [{table}]}}\n    when: >-\n      {WATCHING[i % 5]}\n"
                 f"    message: \"order {{{{event.key}}}}\"\n"
                 + ("    audit: every_event\n" if i == 0 else ""))
    return text


TABLE = """
CREATE TABLE orders (id bigint PRIMARY KEY, customer text NOT NULL, status text NOT NULL,
  amount numeric(12,2) NOT NULL, qty int NOT NULL, created_by text, approved_by text,
  note text, created timestamptz NOT NULL DEFAULT now());
CREATE PUBLICATION dgf FOR TABLE orders;
"""
ROW = ("i, 'customer ' || i % 5000, 'open', (i % 10000) / 100.0, i % 10, 'user_a', 'user_b', "
       "'left at the door', now()")
LOADS = {
    "ten_rows": """DO $$ BEGIN FOR t IN 0..{n}/10-1 LOOP
        INSERT INTO orders SELECT {row} FROM generate_series(t*10+1, t*10+10) i; COMMIT;
        END LOOP; END $$;""",
    "full_updates": """DO $$ BEGIN FOR t IN 0..{n}/10-1 LOOP
        UPDATE orders SET qty = qty + 1 WHERE id BETWEEN t*10+1 AND t*10+10; COMMIT;
        END LOOP; END $$;""",
    "one_row": """DO $$ BEGIN FOR t IN 1..{n} LOOP
        INSERT INTO orders SELECT {row} FROM generate_series(t, t) i; COMMIT;
        END LOOP; END $$;""",
}


def prepare(pg, load, n):
    pg.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots; "
           "DROP PUBLICATION IF EXISTS dgf; DROP TABLE IF EXISTS orders;" + TABLE)
    if load == "full_updates":
        pg.sql("ALTER TABLE orders REPLICA IDENTITY FULL; INSERT INTO orders SELECT "
               f"{ROW} FROM generate_series(1, {n}) i; VACUUM orders")
    pg.sql("SELECT pg_create_logical_replication_slot('base', 'pgoutput')")
    pg.sql(LOADS[load].format(n=n, row=ROW))
    return pg.lsn()


def measure(command):
    """(seconds, CPU seconds, peak anonymous bytes) of a command."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    anonymous = 0
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        try:
            with open(f"/proc/{child.pid}/status", encoding="utf-8") as file:
                found = re.search(r"RssAnon:\s+(\d+)", file.read())
            anonymous = max(anonymous, int(found.group(1)) * 1024 if found else 0)
        except OSError:
            pass
        time.sleep(0.02)
    seconds = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command[0]} ended with {child.returncode}: "
                         f"{child.stderr.read().decode(errors='replace')[-2000:]}")
    return seconds, usage.ru_utime + usage.ru_stime, anonymous


class Server(Postgres):
    """Room for the backlog, and TCP without TLS on the loopback."""

    def __init__(self):
        super().__init__(extra="max_wal_size = 8GB\nshared_buffers = 256MB\n"
                               "logical_decoding_work_mem = 64MB\nmax_replication_slots = 20")

    def hba(self, method):
        super().hba(method)
        path = os.path.join(self.data, "pg_hba.conf")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write("hostnossl all all 127.0.0.1/32 trust\n" + text)

    def url(self, tls):
        return self.conninfo() if tls else \
            f"postgresql://postgres@127.0.0.1:{self.port}/postgres?sslmode=disable"


class Runs:
    def __init__(self, pg, end, tls, archive):
        self.pg, self.end, self.tls, self.archive, self.n = pg, end, tls, archive, 0

    def slot(self):
        self.n += 1
        name = f"run_{self.n}"
        self.pg.sql(f"SELECT pg_copy_logical_replication_slot('base', '{name}')")
        return name

    def reference(self):
        slot = self.slot()
        result = measure(["pg_recvlogical", "-d", self.pg.url(self.tls), "-S", slot, "--start",
                          "-o", "proto_version=1", "-o", "publication_names=dgf",
                          "-f", "/dev/null", "--no-loop", f"--endpos={self.end}"])
        self.pg.sql(f"SELECT pg_drop_replication_slot('{slot}')")
        return result

    def ours(self):
        slot = self.slot()
        folder = Folder("bench")
        try:
            os.makedirs(folder / "policies")
            with open(folder / "policies/bench.yaml", "w", encoding="utf-8") as file:
                file.write(policies())
            with MockKafka("dgf.bench.violations.v1:2", "dgf.bench.audit.v1:2",
                           "dgf.bench.control.v1:1") as kafka:
                with open(folder / "dgf.yaml", "w", encoding="utf-8") as file:
                    file.write(CONFIG.format(dir=folder.path, url=self.pg.url(self.tls),
                                             insecure="false" if self.tls else "true",
                                             slot=slot, linger="5ms", brokers=kafka.bootstrap,
                                             archive="true" if self.archive else "false"))
                result = measure([DGF, "run", "-c", folder / "dgf.yaml", "--until-caught-up"])
                with open(folder / "data/status.json", encoding="utf-8") as file:
                    status = json.load(file)
        finally:
            folder.remove()
        self.pg.sql(f"SELECT pg_drop_replication_slot('{slot}')")
        return result + (status["ledger"]["size"],)


def bench(load, n, pairs, tls, archive):
    with Server() as pg:
        runs = Runs(pg, prepare(pg, load, n), tls, archive)
        ours, reference = [], []
        for pair in range(pairs):
            for which in ("ab" if pair % 2 == 0 else "ba"):
                (reference if which == "a" else ours).append(
                    runs.reference() if which == "a" else runs.ours())
        again = [runs.reference(), runs.reference()]
    records = min(r[3] for r in ours)
    if records < n:
        raise SystemExit(f"only {records} records for {n} rows")
    spread = abs(again[0][0] / again[1][0] - 1)
    for what, at, more in (("rate", 0, True), ("cpu", 1, False)):
        a = statistics.median(r[at] for r in reference)
        b = statistics.median(r[at] for r in ours)
        print(json.dumps({"what": f"B1 {load}{' tls' if tls else ''} {what}", "archive": archive,
                          "ours": round(n / b if more else b * 1e6 / n, 3),
                          "reference": round(n / a if more else a * 1e6 / n, 3),
                          "unit": "rows/s" if more else "us CPU a row",
                          "ratio": round(a / b if more else b / a, 3), "runs": len(ours),
                          "spread": round(spread, 3), "void": spread > 0.2}), flush=True)
    print(json.dumps({"what": f"B8 {load} anonymous memory", "unit": "MiB",
                      "ours": round(max(r[2] for r in ours) / 2**20, 1)}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--load", choices=list(LOADS), action="append")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--no-archive", action="store_true")
    args = parser.parse_args()
    for load in args.load or LOADS:
        bench(load, args.rows, args.pairs, args.tls, not args.no_archive)


if __name__ == "__main__":
    main()
