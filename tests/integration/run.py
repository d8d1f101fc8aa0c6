#!/usr/bin/env python3
"""Runs the integration tests: every test_*.py here, four at a time, in bounded time.

  run.py [--jobs N] [--timeout SECONDS] [test_x.py[:case]]...

Prints one line a test and one at the end; the same lines stand in
integration-summary.txt in the build folder.  Ends with 1 when anything failed,
also when nothing ran at all in CI."""

import argparse
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SUPPORT = os.path.join(os.path.dirname(HERE), "support")
BUILD = os.environ.get("DGF_BUILD") or os.getcwd()
LINE = re.compile(r"^(ok|skip|FAIL)\s+(\w+) \(([\d.]+) s\)")


def run(spec, timeout):
    """(file, text, seconds); the whole process group is ended when time is up."""
    file, _, case = spec.partition(":")
    env = dict(os.environ, DGF_BUILD=BUILD, PYTHONPATH=SUPPORT, PYTHONDONTWRITEBYTECODE="1",
               PYTHONUNBUFFERED="1")
    start = time.monotonic()
    child = subprocess.Popen([sys.executable, os.path.join(HERE, file)] + ([case] if case else []),
                             cwd=BUILD, env=env, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, errors="replace")
    try:
        text, _ = child.communicate(timeout=timeout)
        code = child.returncode
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGINT)    # lets context managers stop their servers
        try:
            text, _ = child.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            child.kill()
            text, _ = child.communicate()
        text += f"\nFAIL time_is_up ({timeout:.1f} s): {file} did not end\n"
        code = 1
    if code not in (0, 77) and "FAIL " not in text:
        text += f"\nFAIL {os.path.splitext(file)[0]} (0.0 s): ended with {code}\n"
    return file, text, time.monotonic() - start


def cases_of(file):
    """Each case by itself, where a file says that they may run side by side."""
    path = os.path.join(HERE, file)
    with open(path, encoding="utf-8") as source:
        if "main(parallel=True)" not in source.read():
            return [file]
    env = dict(os.environ, DGF_BUILD=BUILD, PYTHONPATH=SUPPORT, PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run([sys.executable, path, "--list"], env=env, text=True, check=True,
                          stdout=subprocess.PIPE, timeout=60)
    return [f"{file}:{case}" for case in done.stdout.split()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("tests", nargs="*")
    args = parser.parse_args()
    files = args.tests or sorted(n for n in os.listdir(HERE)
                                 if n.startswith("test_") and n.endswith(".py"))
    specs = [spec for file in files for spec in ([file] if ":" in file else cases_of(file))]
    counts = {"ok": 0, "skip": 0, "FAIL": 0}
    lines, failures = [], []
    start = time.monotonic()
    # Whole files are the heavy ones: half of the jobs at most.
    pool_of = concurrent.futures.ThreadPoolExecutor
    with pool_of((args.jobs + 1) // 2) as heavy, pool_of(max(args.jobs // 2, 1)) as light:
        futures = [(light if ":" in spec else heavy).submit(run, spec, args.timeout)
                   for spec in specs]
        for future in concurrent.futures.as_completed(futures):
            file, text, _ = future.result()
            failure = None
            for line in text.splitlines():
                match = LINE.match(line)
                if match:
                    counts[match.group(1)] += 1
                    line = f"{match.group(1):4} {file}: {line[5:]}"
                    failure = [] if match.group(1) == "FAIL" else None
                    if failure is not None:
                        failures.append(failure)
                else:
                    line = f"       {line}"
                if failure is not None:
                    failure.append(line)
                print(line, flush=True)
                lines.append(line)
    # Once more, where somebody who sees only the end of the output finds it.
    for failure in failures:
        print("\n".join(failure[:1] + failure[1:][-14:]))
    last = (f"integration: {counts['ok']} passed, {counts['FAIL']} failed, "
            f"{counts['skip']} skipped in {time.monotonic() - start:.0f} s")
    print(last)
    with open(os.path.join(BUILD, "integration-summary.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines + [last]) + "\n")
    nothing = counts["ok"] == 0 and os.environ.get("CI") == "true"
    return 1 if counts["FAIL"] or nothing else 0


if __name__ == "__main__":
    sys.exit(main())
