#!/usr/bin/env python3
"""The public conformance suite of CEL against `dgf eval --batch`.

  cel.py [--verbose] [--update]

Prints passed cases by file.  cases_failing.txt names every case that does not
pass; a difference in either direction is a failure, so that the list stays
true.  In the core files only cases that need protobuf messages may stand
there.  The suite is the npm package @bufbuild/cel-spec, fetched once into
$DGF_CACHE (~/.cache/dgf) and compared with its digest."""

import base64
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import tarfile

VERSION = "0.3.0"
SHA512 = ("98debaf4b1a55e460d728e8dcd24e91685b9d94c066f487950935cb78de790e8"
          "e4f58ae052dcdc067f4f7e3af06f201edce954b5ab2f5c015fd538ecdcd40b3a")
FOLDER = os.path.dirname(os.path.abspath(__file__))
LIST = os.path.join(FOLDER, "cases_failing.txt")
DGF = os.path.join(os.environ.get("DGF_BUILD") or os.getcwd(), "dgf")
CACHE = os.environ.get("DGF_CACHE") or os.path.expanduser("~/.cache/dgf")
CORE = ("basic comparisons conversions fields fp_math integer_math lists logic macros namespace "
        "parse string timestamps").split()
# What makes a case one of protobuf messages or of enums, which come from them.
PROTOBUF = re.compile(r"TestAllTypes|NestedTestAllTypes|NestedEnum|GlobalEnum|messageType|objectValue|"
                      r"google\.protobuf\.(?!Timestamp\b|Duration\b)|google\.type|"
                      r"cel\.expr\.conformance|enumValue|wrapper|wellKnown")


def fetch():
    path = os.path.join(CACHE, f"bufbuild-cel-spec-{VERSION}.tgz")
    if not os.path.exists(path):
        os.makedirs(CACHE, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", "--pack-destination", CACHE,
                        f"@bufbuild/cel-spec@{VERSION}"], check=True, stdout=subprocess.DEVNULL,
                       timeout=120)
    with open(path, "rb") as file:
        digest = hashlib.sha512(file.read()).hexdigest()
    if digest != SHA512:
        os.remove(path)
        sys.exit(f"cel-spec {VERSION} has the digest {digest}, not the one this suite was "
                 "read with: removed; run again")
    return path


def suite():
    with tarfile.open(fetch()) as tar:
        text = tar.extractfile("package/dist/cjs/testdata-json.js").read().decode()
    return json.loads(text[text.index("= [") + 2:text.rindex("]") + 1])


def cases():
    for file in suite():
        for section in file.get("section", []):
            for test in section.get("test", []):
                yield file["name"], f"{file['name']}/{section['name']}/{test['name']}", test


def number(value):
    """What a double is in JSON of protobuf."""
    return float(value) if isinstance(value, (int, float)) else {
        "NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}[value]


def same(got, wanted):
    """Two values in the JSON form of cel.expr.Value; maps have no order."""
    if not isinstance(got, dict) or not isinstance(wanted, dict) or len(got) != 1:
        return False
    kind, = wanted or {"nullValue": None}
    if kind not in got:
        return False
    a, b = got[kind], wanted[kind]
    if kind == "doubleValue":
        a, b = number(a), number(b)
        return a == b or (math.isnan(a) and math.isnan(b))
    if kind in ("int64Value", "uint64Value"):
        return int(a) == int(b)
    if kind == "bytesValue":
        return base64.b64decode(a) == base64.b64decode(b)
    if kind == "listValue":
        a, b = a.get("values", []), b.get("values", [])
        return len(a) == len(b) and all(map(same, a, b))
    if kind == "mapValue":
        a, b = a.get("entries", []), list(b.get("entries", []))
        for entry in a:
            match = next((i for i, other in enumerate(b) if same(entry["key"], other["key"]) and
                          same(entry["value"], other["value"])), None)
            if match is None:
                return False
            del b[match]
        return not b
    if kind == "nullValue":
        return True
    return a == b


def bare_type(value):
    """A deduced type; an empty list's element type may be said in several ways."""
    return json.dumps(value, sort_keys=True)


def passes(test, answer):
    if "typedResult" in test:
        wanted = test["typedResult"]
        if bare_type(answer.get("type")) != bare_type(wanted.get("deducedType")):
            return False
        return "result" not in wanted or same(answer.get("value"), wanted["result"])
    if "evalError" in test or "anyEvalErrors" in test:
        return "error" in answer
    if "unknown" in test or "anyUnknowns" in test:
        return answer.get("unknown") is True
    return same(answer.get("value"), test.get("value", {"boolValue": True}))


def ask(tests):
    keys = ("expr", "bindings", "typeEnv", "container", "disableMacros", "disableCheck",
            "checkOnly")
    lines = [json.dumps({key: test[key] for key in keys if key in test}) for test in tests]
    done = subprocess.run([DGF, "eval", "--batch"], input="\n".join(lines) + "\n", text=True,
                          stdout=subprocess.PIPE, check=True, timeout=120)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(lines):
        sys.exit(f"{len(lines)} expressions, {len(answers)} answers")
    return answers


def main():
    known = set()
    if os.path.exists(LIST):
        with open(LIST, encoding="utf-8") as file:
            known = {line.split("#")[0].strip() for line in file} - {""}
    every = list(cases())
    answers = ask([test for _, _, test in every])
    table, failing, core = {}, [], []
    for (file, name, test), answer in zip(every, answers):
        ok = passes(test, answer)
        row = table.setdefault(file, [0, 0, 0])
        row[0] += ok
        row[1] += 1
        if not ok:
            failing.append(name)
            protobuf = PROTOBUF.search(json.dumps(test))
            row[2] += bool(protobuf)
            if file in CORE and not protobuf:
                core.append(name)
            if "--verbose" in sys.argv and not protobuf:
                print(name, "\n  ", test["expr"], "\n  ",
                      json.dumps({k: v for k, v in test.items()
                                  if k in ("value", "evalError", "typedResult", "bindings")})[:300],
                      "\n  ", json.dumps(answer)[:300])
    for file, (ok, count, protobuf) in sorted(table.items()):
        print(f"{'core ' if file in CORE else '     '}{file:24}{ok:5} of {count:4}"
              f"{f', {protobuf} of protobuf' if protobuf else ''}"
              f"{f', {count - ok - protobuf} others' if count - ok - protobuf else ''}")
    total = sum(row[1] for row in table.values())
    if "--update" in sys.argv:
        with open(LIST, "w", encoding="utf-8") as file:
            file.write("# Cases of @bufbuild/cel-spec that do not pass; written by cel.py --update.\n")
            file.writelines(f"{name}\n" for name in failing)
        known = set(failing)
    bad = sorted(set(failing) - known)
    good = sorted(known - set(failing))
    for name in bad:
        print(f"FAIL: {name} passed before")
    for name in good:
        print(f"FAIL: {name} passes now (or is gone): take it out of cases_failing.txt")
    for name in core:
        print(f"FAIL: {name} is of a core file and needs no protobuf")
    print(f"cel: {total - len(failing)} of {total} cases passed, "
          f"{len(bad) + len(good) + len(core)} surprises")
    return 1 if bad or good or core or total < 2000 else 0


if __name__ == "__main__":
    sys.exit(main())
