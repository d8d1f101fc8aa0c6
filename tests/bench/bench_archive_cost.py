#!/usr/bin/env python3
"""B10: what the archive and its tree cost, and how well records are packed.

  bench_archive_cost.py [--events N] [--pairs N]

Replays a recording: 50 policies, one audit record an event, ledger with an fsync a
batch, all of it to librdkafka's mock cluster in a process of its own.  Runs with and
without `ledger.archive` take turns (A B B A ...); CPU seconds of the whole process
are compared, because wall time says little on a machine that others use too."""

import argparse
import json
import os
import statistics
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
sys.path.insert(0, os.path.join(HERE, "..", "torture"))
from agent import DGF                                             # noqa: E402
from archive import Archive                                       # noqa: E402
from bench_stream import measure, policies                        # noqa: E402
from servers import Folder, MockKafka                             # noqa: E402
from torture import packed                                        # noqa: E402

CONFIG = """
agent: {{name: bench, env: bench, data_dir: {dir}/data}}
sources: {{orders: {{type: replay, path: {tape}}}}}
policies: [{dir}/policies]
sinks:
  events: {{type: kafka, brokers: ["{brokers}"], topic_prefix: dgf.bench, insecure: true}}
ledger: {{archive: {archive}}}
log: {{level: error}}
"""
COLUMNS = [["id", "int8", True], ["customer", "text", False], ["status", "text", False],
           ["amount", "int8", False], ["qty", "int8", False], ["created_by", "text", False],
           ["approved_by", "text", False], ["note", "text", False]]


def crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


def write_tape(path, n):
    table = crc_table()
    with open(path, "wb") as file:
        file.write(b"dgf-recording 1\n")
        for i in range(n):
            row = {"id": i, "customer": f"customer {i % 5000}", "status": "open",
                   "amount": i % 10000, "qty": i % 10, "created_by": "user_a",
                   "approved_by": "user_b", "note": "left at the door"}
            frame = packed(["change", "insert", struct.pack(">QQ", 1, i),
                            1772442000000000000 + i * 1000, str(i // 10), i % 10, "db", "public",
                            "orders", COLUMNS])
            frame = b"\xdc" + struct.pack(">H", 11) + frame[3:] + packed({"after": row})
            crc = 0xFFFFFFFF
            for byte in frame:
                crc = crc >> 8 ^ table[(crc ^ byte) & 255]
            file.write(struct.pack("<I", len(frame)) + frame +
                       struct.pack("<I", crc ^ 0xFFFFFFFF))


def run(above, archive, ret):
    """In a folder that stays until all is measured: ext4 without a journal looks long for an
    inode where some were freed in the last minutes, and a tile is a file."""
    folder = os.path.join(above, f"run-{len(os.listdir(above))}")
    os.makedirs(os.path.join(folder, "policies"))
    with open(os.path.join(folder, "policies/bench.yaml"), "w", encoding="utf-8") as file:
        file.write(policies())
    config = os.path.join(folder, "dgf.yaml")
    with MockKafka("dgf.bench.violations.v1:2", "dgf.bench.audit.v1:2",
                   "dgf.bench.control.v1:1") as kafka:
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(dir=folder, tape=os.path.join(above, "rows.dgr"),
                                     brokers=kafka.bootstrap,
                                     archive="true" if archive else "false"))
        result = measure([DGF, "run", "-c", config, "--until-caught-up"])
    if archive:
        found = Archive(os.path.join(folder, "data"))
        lines = found.lines()
        ret["records"] = len(lines)
        ret["plain"] = sum(map(len, lines)) + len(lines)
        ret["packed"] = sum(os.path.getsize(found.path(name)) for name in found.names()
                            if name.endswith(".ndjson.zst"))
        ret["segments"] = len(found.manifests())
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    folder, on, off, found = Folder("tape"), [], [], {}
    try:
        write_tape(folder / "rows.dgr", args.events)
        for pair in range(args.pairs):
            for archive in ((False, True) if pair % 2 == 0 else (True, False)):
                (on if archive else off).append(run(folder.path, archive, found))
        again = [run(folder.path, False, {}) for _ in range(2)]
    finally:
        folder.remove()
    if found["records"] < args.events:
        raise SystemExit(f"only {found['records']} records for {args.events} events")
    cpu = [statistics.median(r[1] for r in runs) for runs in (on, off)]
    spread = abs(again[0][1] / again[1][1] - 1)
    print(json.dumps({"what": "B10 archive on against off, CPU", "unit": "us CPU an event",
                      "ours": round(cpu[0] * 1e6 / args.events, 3),
                      "reference": round(cpu[1] * 1e6 / args.events, 3),
                      "ratio": round(cpu[0] / cpu[1], 3), "bar": 1.35, "runs": len(on),
                      "spread": round(spread, 3), "void": spread > 0.2}), flush=True)
    print(json.dumps({"what": "B10 zstd, audit records", "unit": "times smaller",
                      "ours": round(found["plain"] / found["packed"], 2), "bar": 6,
                      "bytes_a_record": round(found["plain"] / found["records"], 1),
                      "segments": found["segments"]}), flush=True)
    print(json.dumps({"what": "B8 archive on, anonymous memory", "unit": "MiB",
                      "ours": round(max(r[2] for r in on) / 2**20, 1),
                      "reference": round(max(r[2] for r in off) / 2**20, 1)}), flush=True)


if __name__ == "__main__":
    main()
