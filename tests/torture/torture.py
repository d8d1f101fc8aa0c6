#!/usr/bin/env python3
"""The n-th allocation fails, for a sample of n, over whole runs of dgf.

  torture.py [--every] [--samples N]      $DGF_BUILD: configured with --enable-torture,
                                          --enable-asan and --enable-ubsan

Whatever n: no crash, no leak, no hang, and an exit code that means something.
A run that failed is followed by one that does not, and then the ledger holds
what it holds without any failure: nothing lost, nothing twice."""

import argparse
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

DGF = os.path.join(os.environ.get("DGF_BUILD") or os.getcwd(), "dgf")
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SANITIZER = 99
CODES = {0, 1, 2, 70, 71, 78}
EVENTS = 60
LIMIT = 1 << 30

CONFIG = """
agent: {{name: torture, env: test, data_dir: {dir}/data}}
sources: {{rows: {{type: replay, path: {dir}/rows.dgr}}}}
policies: [{dir}/policies]
sinks: {{lines: {{type: file, path: {dir}/lines.ndjson}}}}
log: {{level: error}}
"""
POLICY = """version: 1
info: {title: Torture, owner: torture@example.org}
lists: {words: [red, green]}
let: {small: "after.n < 10"}
policies:
  - id: T-001
    title: Small and red
    severity: high
    watch: {objects: [shop.rows]}
    when: >-
      small && after.note in lists.words
    message: "row {{after.id}} is {{after.note}}"
    evidence: [note]
    audit: every_event
  - id: T-002
    title: Personal data
    severity: low
    watch: {objects: ["shop.*"]}
    when: >-
      pii.any(after.note) || after.note.matches("^x+$") || [1, 2].exists(i, i == after.n)
    message: "{{event.object}}"
    exceptions:
      fields: [after.id]
      allow: [{values: [7], reason: known, approver: a@example.org, until: 2099-01-01T00:00:00Z}]
"""


def packed(value):
    """msgpack of what a recording needs."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, bytes):
        return b"\xc4" + bytes([len(value)]) + value
    if isinstance(value, str):
        text = value.encode()
        return b"\xda" + struct.pack(">H", len(text)) + text
    if isinstance(value, list):
        return b"\xdc" + struct.pack(">H", len(value)) + b"".join(map(packed, value))
    return b"\xde" + struct.pack(">H", len(value)) + b"".join(
        packed(k) + packed(v) for k, v in value.items())


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82f63b78 & -(crc & 1))
    return crc ^ 0xffffffff


def recording():
    columns = [["id", "int", True], ["n", "int", False], ["note", "text", False]]
    notes = ["red", "call 4111 1111 1111 1111", None, "xxx", "plain"]
    out = b"dgf-recording 1\n"
    for i in range(EVENTS):
        row = {"id": i, "n": i % 12, "note": notes[i % len(notes)]}
        body = {"after": row} if i % 3 else {"before": row, "after": row}
        frame = packed(["change", "update" if i % 3 == 0 else "insert",
                        struct.pack(">QQ", 1, i), 1772442000000000000 + i, str(i // 5), i % 5,
                        "db", "shop", "rows" if i < 50 else "others", columns])
        frame = b"\xdc" + struct.pack(">H", 11) + frame[3:] + packed(body)
        out += struct.pack("<I", len(frame)) + frame + struct.pack("<I", crc32c(frame))
    return out


class Place:
    """A folder of its own with configuration, policies and recording."""

    def __init__(self, content):
        self.path = tempfile.mkdtemp(prefix="dgf-torture-")
        os.mkdir(os.path.join(self.path, "policies"))
        self.write("dgf.yaml", CONFIG.format(dir=self.path).encode())
        self.write("policies/torture.yaml", POLICY.encode())
        self.write("rows.dgr", content)

    def write(self, name, data):
        with open(os.path.join(self.path, name), "wb") as file:
            file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    def run(self, args, n=0, **more):
        """(exit code, output); n: the allocation that fails, 0 for none."""
        env = dict(os.environ, **more, DGF_TORTURE=str(n) if n else "-1",
                   ASAN_OPTIONS=f"exitcode={SANITIZER}:detect_leaks=1:abort_on_error=0",
                   UBSAN_OPTIONS=f"exitcode={SANITIZER}:halt_on_error=1:print_stacktrace=1")
        try:
            done = subprocess.run([DGF, *(arg.format(dir=self.path) for arg in args)], env=env,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                                  check=False)
        except subprocess.TimeoutExpired as slow:
            return "hang", (slow.stdout or b"").decode(errors="replace")
        return done.returncode, done.stdout.decode(errors="replace")

    def records(self):
        """What the ledger holds of the rows: the same however often it was started."""
        code, text = self.run(["ledger", "cat", "{dir}/data"])
        if code:
            raise AssertionError(f"ledger cat ended with {code}: {text[-500:]}")
        return [(r["kind"], r["id"]) for r in map(json.loads, text.splitlines())
                if r["kind"] in ("violation", "audit", "waiver", "rule_error", "gap")]


RUN = ["run", "-c", "{dir}/dgf.yaml", "--until-caught-up"]
SCENARIOS = {
    "run": RUN,
    "rules check": ["rules", "check", "{dir}/policies"],
    "rules test": ["rules", "test", os.path.join(TOP, "contrib", "examples")],
    "config show": ["config", "show", "-c", "{dir}/dgf.yaml"],
    "eval": ["eval", "--policy", "[1, 2, 3].map(i, i * 2).filter(i, i > 2).size() == 2 && "
             "\"abc\".matches(\"a.c\") && decimal(\"1.5\") > 1"],
}


def allocations(args, content):
    """How many a run makes."""
    with Place(content) as place:
        left = os.path.join(place.path, "left")
        code, text = place.run(args, LIMIT, DGF_TORTURE_LEFT=left)
        if code not in (0, 1) or not os.path.exists(left):
            sys.exit(f"'{DGF}' is not built with --enable-torture, or {args} ended with {code}: "
                     f"{text[-500:]}")
        with open(left, encoding="utf-8") as file:
            return LIMIT - int(file.read())


def attempt(name, args, n, content, wanted):
    with Place(content) as place:
        code, text = place.run(args, n)
        said = "".join(f"     | {line}\n" for line in text.splitlines()[-40:])
        if code not in CODES:
            return f"FAIL {name}, allocation {n}: exit {code}\n{said}"
        if name != "run":
            return None
        again, text = place.run(args)
        if again != 0:
            return f"FAIL {name}, after allocation {n} failed: exit {again}\n{text[-1500:]}"
        got = place.records()
        if got != wanted:
            return (f"FAIL {name}, after allocation {n} failed ({code}): {len(got)} records, "
                    f"wanted {len(wanted)}; more: {[r for r in got if r not in wanted][:3]}, less: "
                    f"{[r for r in wanted if r not in got][:3]}\n{said}")
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", action="store_true")
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--show", type=int, default=3)
    parser.add_argument("--only", choices=list(SCENARIOS))
    options = parser.parse_args()
    content = recording()
    with Place(content) as place:
        code, text = place.run(RUN)
        wanted = [] if code else place.records()
        if code or len(wanted) < EVENTS or "violation" not in {kind for kind, _ in wanted}:
            sys.exit(f"without failures: exit {code}, {len(wanted)} records\n{text}")
    rng = random.Random(5)
    tried = failed = 0
    for name, args in SCENARIOS.items():
        if options.only and name != options.only:
            continue
        count = allocations(args, content)
        chosen = range(1, count + 1)
        if not options.every and count > options.samples:
            chosen = sorted({*range(1, 9), *rng.sample(chosen, options.samples)})
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(lambda n, name=name, args=args:
                                    attempt(name, args, n, content, wanted), chosen))
        bad = [result for result in results if result]
        tried += len(results)
        failed += len(bad)
        print(f"{'FAIL' if bad else 'ok  '} {name}: {len(results)} of {count} allocations "
              "failed", flush=True)
        print("".join(bad[:options.show]), end="")
    print(f"torture: {tried} failures made, {failed} badly taken")
    return 1 if failed or tried < 8 else 0


if __name__ == "__main__":
    sys.exit(main())
