#!/usr/bin/env python3
"""The contract of records as JSON Schemas, made from words.def and the table below.

  record_schema.py [--update]

schemas/record-KIND.schema.json must be what this makes (--update writes them), and
every line of tests/data/records.golden must fit its schema.  Schemas are closed: a
field that is not named here is an error, so a new one is put here first.  In tests:

  from record_schema import check_some
  check_some(records)     # raises ValueError with the path and what is wrong there"""

import collections
import glob
import json
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def words(group):
    with open(os.path.join(TOP, "agent/bus/words.def"), encoding="utf-8") as file:
        return re.findall(rf'^WORD\({group}, \w+, "(\w+)"', file.read(), re.M)


# ---- the fields ----

ID = {"type": "string", "pattern": "^[0-9a-hjkmnp-tv-z]{26}$"}
TOKEN = {"type": "string", "pattern": "^h[0-9]+:[0-9a-hjkmnp-tv-z]{26}$"}
TIME = {"type": "string",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?Z$"}
DIGEST = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}
YES = {"const": True}
ANY = {}
TEXTS = {"type": "array", "items": TEXT}


def word(*groups):
    return {"enum": [text for group in groups for text in words(group)]}


def map_of(values):
    return {"type": "object", "additionalProperties": values}


def closed(fields, optional=""):
    """Fields are required unless their names stand in `optional`."""
    maybe = optional.split()
    return {"type": "object", "additionalProperties": False,
            "required": [name for name in fields if name not in maybe], "properties": fields}


EVENT = closed({"id": ID, "source": TEXT, "type": TEXT, "kind": word("KIND"), "object": TEXT,
                "op": word("OP"), "cause": word("CAUSE"), "snapshot": YES, "key": map_of(ANY),
                "tx": TEXT, "position": TEXT},
               "object op cause snapshot key tx position")
POLICY = closed({"id": TEXT, "title": TEXT, "severity": word("SEVERITY"),
                 "frameworks": map_of(TEXTS)}, "title frameworks")
ACTOR = closed({"name": TEXT, "app": TEXT, "address": TEXT, "how": TEXT,
                "sure": {"type": "boolean"}}, "name app address how sure")
EVIDENCE = closed({"field": TEXT, "class": word("CLASS"), "masked": ANY, "shown": ANY,
                   "token": TOKEN, "truncated": YES}, "masked shown truncated")
WAIVER = closed({"reason": TEXT, "approver": TEXT, "ticket": TEXT, "until": TEXT},
                "reason approver ticket until")
PARTS = {"part": COUNT, "parts": COUNT}

# kind -> (fields behind the common ones, in their order; which may be absent)
KINDS = {
    "violation": ({"policy": POLICY, "violation": ID,
                   "verdict": {"enum": ["violation", "review", "waived"]},
                   "status": word("STATUS"), "mode": {"const": "shadow"}, "message": TEXT,
                   "message_hash": TOKEN, "fix": TEXT, "waiver": WAIVER, "event": EVENT,
                   "actor": ACTOR, "evidence": {"type": "array", "items": EVIDENCE},
                   "truncated": YES, "policy_set": DIGEST},
                  "mode message message_hash fix waiver event actor evidence truncated"),
    "rule_error": ({"policy": POLICY, "event": EVENT,
                    "code": {"type": "string", "pattern": "^E[0-9]{4}$"}, "message": TEXT,
                    "policy_set": DIGEST}, "message"),
    "audit": ({"event": EVENT, "policies": COUNT, "verdict": word("VERDICT"),
               "violations": TEXTS, "truncated": YES, "policy_set": DIGEST},
              "violations truncated"),
    "coverage": ({"source": TEXT, "from": TEXT, "to": TEXT, "events": COUNT,
                  "transactions": COUNT, "objects": map_of(map_of(COUNT)),
                  "verdicts": closed({name: COUNT for name in words("VERDICT")}),
                  "counted": map_of(COUNT),
                  "guarantee": word("GUARANTEE"), **PARTS, "policy_set": DIGEST},
                 "from objects counted part parts"),
    "gap": ({"source": TEXT, "reason": word("GAP"), "from": TEXT, "to": TEXT,
             "detail": map_of(ANY), "message": TEXT}, "source from to detail message"),
    "divergence": ({"source": TEXT, "reason": word("GAP"), "from": TEXT, "to": TEXT,
                    "detail": map_of(ANY), "message": TEXT}, "reason from to detail message"),
    "undecodable": ({"source": TEXT, "object": TEXT, "position": TEXT, "size": COUNT,
                     "hash": TOKEN, "what": TEXT, "why": TEXT},
                    "object position size hash what why"),
    "resume": ({"source": TEXT, "since": TEXT, "detail": map_of(ANY), "message": TEXT},
               "source since detail message"),
}
for _kind in ("backpressure", "config", "policy_set", "key", "access", "clock"):
    KINDS[_kind] = ({"source": TEXT, "reason": TEXT, "from": TEXT, "to": TEXT,
                     "detail": map_of(ANY), "message": TEXT, **PARTS},
                    "source reason from to detail message part parts")


def schema(kind):
    fields, optional = KINDS[kind]
    common = {"v": {"const": 1}, "seq": COUNT, "id": ID, "kind": {"const": kind}, "time": TIME,
              "logged": TIME, "agent": TEXT, "env": TEXT}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": f"dgf record: {kind}", **closed({**common, **fields}, optional)}


# ---- what of JSON Schema is used above ----

TYPES = {"string": str, "object": dict, "array": list, "boolean": bool, "integer": int}


def wrong(value, rule, at="record"):
    """The first thing that does not fit, or None."""
    kind = rule.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or
                 (kind == "integer" and isinstance(value, bool))):
        return f"{at} is {json.dumps(value)[:80]}, no {kind}"
    if "const" in rule and (value != rule["const"] or type(value) is not type(rule["const"])):
        return f"{at} is {json.dumps(value)[:80]}, not {json.dumps(rule['const'])}"
    if "enum" in rule and value not in rule["enum"]:
        return f"{at} is {json.dumps(value)[:80]}, none of {rule['enum']}"
    if "pattern" in rule and not re.search(rule["pattern"], value):
        return f"{at} is {json.dumps(value)[:80]}, not like {rule['pattern']}"
    if len(value) < rule.get("minLength", 0) if isinstance(value, str) else False:
        return f"{at} is empty"
    if "minimum" in rule and value < rule["minimum"]:
        return f"{at} is {value}, less than {rule['minimum']}"
    for i, item in enumerate(value if kind == "array" else []):
        found = wrong(item, rule["items"], f"{at}[{i}]")
        if found:
            return found
    return wrong_fields(value, rule, at) if kind == "object" else None


def wrong_fields(value, rule, at):
    for name in rule.get("required", []):
        if name not in value:
            return f"{at}.{name} is missing"
    for name, item in value.items():
        inner = rule.get("properties", {}).get(name, rule["additionalProperties"])
        found = f"{at}.{name} is unknown" if inner is False else wrong(item, inner, f"{at}.{name}")
        if found:
            return found
    return None


SCHEMAS = {kind: schema(kind) for kind in KINDS}


def check(record):
    rules = SCHEMAS.get(record.get("kind"))
    found = wrong(record, rules) if rules else f"unknown kind {record.get('kind')}"
    if found:
        raise ValueError(f"{found} in {json.dumps(record)[:2000]}")


def check_some(records, most=200):
    """So many of each kind: a million lines take their time."""
    seen = collections.Counter()
    for record in records:
        seen[record["kind"]] += 1
        if seen[record["kind"]] <= most:
            check(record)
    return records


# ---- the files ----

def path_of(kind):
    return os.path.join(TOP, f"schemas/record-{kind}.schema.json")


def text_of(kind):
    return json.dumps(SCHEMAS[kind], separators=(",", ":")) + "\n"


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def errors_of_files():
    if sorted(KINDS) != sorted(words("RECORD")):
        yield f"kinds of words.def and of record_schema.py differ: {set(KINDS) ^ set(words('RECORD'))}"
    for kind in KINDS:
        if not os.path.exists(path_of(kind)) or read(path_of(kind)) != text_of(kind):
            yield f"{path_of(kind)}: not what record_schema.py makes; run it with --update"
    for path in set(glob.glob(path_of("*"))) - {path_of(kind) for kind in KINDS}:
        yield f"{path}: no such kind"


def errors_of_lines():
    lines = [json.loads(line) for line in read(os.path.join(TOP, "tests/data/records.golden"))
             .splitlines() if line.startswith("{")]
    for record in lines:
        fields = list(SCHEMAS[record["kind"]]["properties"])
        if [name for name in fields if name in record] != list(record):
            yield f"the order of fields of {record['kind']} is {list(record)}"
        for bad in (record, {**record, "more": 1}, {**record, "seq": "1"}, {**record, "v": 2},
                    {k: v for k, v in record.items() if k != "logged"}):
            found = wrong(bad, SCHEMAS[record["kind"]])
            if (bad is record) == bool(found):
                yield f"{record['kind']}: {found or 'a wrong record fits'}"
    for kind in set(KINDS) - {record["kind"] for record in lines}:
        yield f"no line of kind '{kind}' in records.golden"


def main():
    if sys.argv[1:] == ["--update"]:
        for kind in KINDS:
            with open(path_of(kind), "w", encoding="utf-8") as file:
                file.write(text_of(kind))
    errors = [*errors_of_files(), *errors_of_lines()]
    print("".join(f"{error}\n" for error in errors) +
          f"record_schema: {len(KINDS)} kinds, {len(errors)} errors")
    sys.exit(bool(errors))


if __name__ == "__main__":
    main()
