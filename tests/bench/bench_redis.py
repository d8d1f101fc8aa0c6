#!/usr/bin/env python3
"""B9: draining a Redis stream, by position and as a group, against a bare loop of hiredis.

  bench_redis.py [--entries N] [--pairs N] [--mode cursor|group]

N entries of six fields stand in the stream before anything is measured.  Each pair
runs reference and dgf in turn (A B B A ...).  dgf judges with 50 policies, of which
five watch the stream, classifies two fields and commits to its ledger with an fsync
a batch; the reference (bare_redis) is XREADGROUP, XACK and nothing else, for both
modes.  One JSON line a figure; only ratios count."""

import argparse
import json
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from agent import DGF                                             # noqa: E402
from bench_stream import measure, policies                        # noqa: E402
from redis import Redis                                           # noqa: E402
from servers import BUILD, Folder                                 # noqa: E402

CONFIG = """
agent: {{name: bench, env: bench, data_dir: {dir}/data}}
sources:
  orders: {{type: redis, url: "{url}", streams: [orders], mode: {mode}, group: {group}}}
policies: [{dir}/policies]
classification:
  - {{match: "**.customer", class: confidential}}
  - {{match: "**.note", class: confidential}}
log: {{level: error}}
"""


# The policies of B1, for fields that are text.
TEXT = {"after.amount >= 100000": "size(after.amount) > 8",
        "after.qty < 0": 'after.qty.startsWith("-")', "public.orders": "orders",
        "    audit: every_event\n": ""}


def watching():
    text = policies()
    for number, words in TEXT.items():
        text = text.replace(number, words)
    return text


def fill(redis, n):
    for first in range(0, n, 1000):
        redis.many([["XADD", "orders", "*", "id", i, "customer", f"customer {i % 5000}",
                     "status", "open", "amount", f"{i % 10000 / 100:.2f}", "qty", i % 10,
                     "note", "left at the door"] for i in range(first, first + 1000)])


class Runs:
    def __init__(self, redis, entries, mode):
        self.redis, self.entries, self.mode, self.n = redis, entries, mode, 0

    def group(self):
        self.n += 1
        return f"{self.mode}-{self.n}"

    def clean(self, group):
        """A group's lists slow nobody down who comes later."""
        self.redis.do("XGROUP", "DESTROY", "orders", group)

    def reference(self):
        group = self.group()
        self.redis.do("XGROUP", "CREATE", "orders", group, "0")
        result = measure([os.path.join(BUILD, "bare_redis"), str(self.redis.port), "orders",
                          group, str(self.entries)])
        self.clean(group)
        return result

    def ours(self):
        group = self.group()
        folder = Folder("bench")
        try:
            os.makedirs(folder / "policies")
            with open(folder / "policies/bench.yaml", "w", encoding="utf-8") as file:
                file.write(watching())
            with open(folder / "dgf.yaml", "w", encoding="utf-8") as file:
                file.write(CONFIG.format(dir=folder.path, url=self.redis.url(), mode=self.mode,
                                         group=group))
            result = measure([DGF, "run", "-c", folder / "dgf.yaml", "--until-caught-up"])
            with open(folder / "data/status.json", encoding="utf-8") as file:
                events = json.load(file)["sources"]["orders"]["events"]
        finally:
            folder.remove()
        if events < self.entries:
            raise SystemExit(f"only {events} events for {self.entries} entries")
        if self.mode == "group":
            # What was on its way at the end is acknowledged at the next start.
            left = self.redis.do("XPENDING", "orders", group)[0]
            if left > self.entries // 100:
                raise SystemExit(f"{left} entries were not acknowledged")
            self.clean(group)
        return result


def bench(mode, n, pairs):
    with Redis() as redis:
        fill(redis, n)
        runs = Runs(redis, n, mode)
        ours, reference = [], []
        for pair in range(pairs):
            for which in ("ab" if pair % 2 == 0 else "ba"):
                (reference if which == "a" else ours).append(
                    runs.reference() if which == "a" else runs.ours())
        again = [runs.reference(), runs.reference()]
    spread = abs(again[0][0] / again[1][0] - 1)
    for what, at, more in (("rate", 0, True), ("cpu", 1, False)):
        a = statistics.median(r[at] for r in reference)
        b = statistics.median(r[at] for r in ours)
        print(json.dumps({"what": f"B9 {mode} {what}",
                          "ours": round(n / b if more else b * 1e6 / n, 3),
                          "reference": round(n / a if more else a * 1e6 / n, 3),
                          "unit": "entries/s" if more else "us CPU an entry",
                          "ratio": round(a / b if more else b / a, 3), "runs": len(ours),
                          "spread": round(spread, 3), "void": spread > 0.2}), flush=True)
    print(json.dumps({"what": f"B9 {mode} anonymous memory", "unit": "MiB",
                      "ours": round(max(r[2] for r in ours) / 2**20, 1)}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--mode", choices=("cursor", "group"), action="append")
    args = parser.parse_args()
    for mode in args.mode or ("group", "cursor"):
        bench(mode, args.entries, args.pairs)


if __name__ == "__main__":
    main()
