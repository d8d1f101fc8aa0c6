"""Test cases in Python: functions whose names are sentences about behaviour.

    from cases import case, main

    @case
    def a_bad_row_is_a_violation():
        ...

    if __name__ == "__main__":
        main()

Each case ends in one line; the program ends with 1 when one failed, with 77
when all were skipped.  Arguments choose cases by name; --list prints them."""

import sys
import time
import traceback

from servers import SKIPPED, Skip

_cases = []


def case(function):
    if function.__module__ == "__main__":      # not those of a test file that was imported
        _cases.append(function)
    return function


def equal(got, wanted, what="value"):
    if got != wanted:
        raise AssertionError(f"{what}: got {short(got)}, wanted {short(wanted)}")


def short(value, most=2000):
    text = repr(value)
    return text if len(text) <= most else text[:most] + f"... ({len(text)} characters)"


def true(condition, text):
    if not condition:
        raise AssertionError(text)


def note(text):
    """A figure worth keeping: stands in the summary beside the test."""
    print(f"     {text}", flush=True)


def run_one(function):
    start = time.monotonic()
    try:
        function()
        word, why = "ok", ""
    except Skip as skip:
        word, why = "skip", f": {skip}"
    except Exception:  # pylint: disable=broad-except
        word, why = "FAIL", "\n" + traceback.format_exc()
    print(f"{word:4} {function.__name__} ({time.monotonic() - start:.1f} s){why}", flush=True)
    return word


def main(parallel=False):
    """parallel: run.py may start every case in a process of its own."""
    del parallel
    args = sys.argv[1:]
    if "--list" in args:
        print("\n".join(f.__name__ for f in _cases))
        sys.exit(0)
    chosen = [f for f in _cases if not args or f.__name__ in args]
    if not chosen or (args and len(chosen) < len(args)):
        print(f"no such case: {' '.join(args)}", file=sys.stderr)
        sys.exit(64)
    words = [run_one(function) for function in chosen]
    if "FAIL" in words:
        sys.exit(1)
    sys.exit(SKIPPED if words.count("skip") == len(words) else 0)
