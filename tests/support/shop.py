"""The small shop most integration tests watch: one table, one policy, one agent.

A row breaks the policy when n is negative.  `audit: every_event` makes one audit
record of every judged row, so that the judged set can be compared with the table."""

import collections
import json

from agent import Agent
from cases import equal, true
from record_schema import check_some
from servers import distinct, wait_until

SCHEMA = """
CREATE SCHEMA shop;
CREATE TABLE shop.rows (id bigint PRIMARY KEY, n int, note text);
CREATE PUBLICATION dgf FOR TABLE shop.rows;
GRANT USAGE ON SCHEMA shop TO dgf;
"""
POLICY = """version: 1
info: {title: Shop, owner: test@example.org}
policies:
  - id: NEG-001
    title: Nothing is negative
    severity: high
    watch: {objects: [shop.rows], ops: [insert, update]}
    when: after.n < 0
    message: "row {{after.id}} has {{after.n}}"
    evidence: [note]
    audit: every_event
"""
SUMMARY_POLICY = POLICY.replace("audit: every_event", "audit: summary")
SLOT = "dgf_shop"


def config(pg, sinks="", source="", agent="", user="dgf", password="dgf-secret", more="",
           host="127.0.0.1"):
    """Configuration text; source and agent are further options as YAML flow text."""
    url = pg.conninfo(user, password, host=host)
    return f"""agent: {{name: test, env: test, data_dir: "{{data_dir}}"{agent}}}
sources:
  shop: {{type: postgres, url: "{url}", tables: [shop.*]{source}}}
policies: [{{dir}}/policies]
{sinks}{more}"""


def kafka_sink(bootstrap, options=""):
    if "tls:" not in options:
        options += ", insecure: true"
    return f"""sinks:
  events: {{type: kafka, brokers: ["{bootstrap}"], topic_prefix: dgf.test{options}}}
"""


def prepare(pg):
    pg.role()
    pg.sql(SCHEMA)


def watch(pg, sinks="", policy=POLICY, data_dir=None, **more):
    """An agent on pg's shop that is not started yet."""
    return Agent(config(pg, sinks, **more), policies={"shop.yaml": policy}, data_dir=data_dir)


def insert(pg, first, n, value="1", per_tx=None):
    """Rows first..first+n-1, in one transaction or in transactions of per_tx rows."""
    per_tx = per_tx or n
    pg.sql("\n".join(
        f"INSERT INTO shop.rows SELECT i, {value}, 'note ' || i "
        f"FROM generate_series({at}, {min(at + per_tx, first + n) - 1}) i;"
        for at in range(first, first + n, per_tx)))


def judged(records):
    """ids in the order they were judged, from audit records of inserts."""
    return [record["event"]["key"]["id"] for record in records
            if record["kind"] == "audit" and record["event"]["op"] == "insert"]


def covered(records, op="insert", table="shop.rows"):
    """Rows that coverage records count."""
    return sum(record.get("objects", {}).get(table, {}).get(op, 0) for record in records
               if record["kind"] == "coverage")


def parse(agent):
    return check_some([json.loads(line) for line in agent.lines()])


def same_rows(pg, records, what="judged rows"):
    """Judged exactly what was committed: nothing missing, twice, or out of order."""
    got = judged(records)
    twice = [i for i, n in collections.Counter(got).items() if n > 1]
    true(not twice, f"{what}: twice: {twice[:10]}")
    wanted = {int(row[0]) for row in pg.rows("SELECT id FROM shop.rows")}
    missing, more = wanted - set(got), set(got) - wanted
    true(not missing, f"{what}: {len(missing)} missing, first {sorted(missing)[:10]}")
    true(not more, f"{what}: {len(more)} never committed, first {sorted(more)[:10]}")
    return len(got)


def wait_judged(agent, pg, seconds=60):
    """Until the source is acknowledged beyond everything written so far."""
    end = pg.lsn()
    wait_until(lambda: pg.sql(f"SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots "
                              f"WHERE slot_name = '{SLOT}'") == "t", seconds,
               lambda: f"the slot to pass {end}; status {agent.status()}", every=0.05)


def wait_delivered(agent, sink="events", seconds=60):
    """Until that sink has every record of the ledger."""
    agent.wait(lambda s: s["sinks"][sink]["next"] >= s["ledger"]["size"] > 0 and
               s["sinks"][sink]["state"] == "ok", seconds, f"sink {sink} to have everything")


def same_in_kafka(server, lines, prefix="dgf.test"):
    """Kafka, repeats dropped by ce_id, holds the ledger's records byte for byte and in order;
    ce_previous of each names the record before it on its partition."""
    topics = {"violation": "violations", "rule_error": "violations", "audit": "audit",
              "coverage": "audit", "undecodable": "audit", "gap": "violations audit",
              "divergence": "violations audit"}
    wanted = collections.defaultdict(dict)
    for line in lines:
        record = json.loads(line)
        for topic in topics.get(record["kind"], "control").split():
            wanted[topic][record["id"]] = line.decode()
    n_repeats = 0
    for topic in ("violations", "audit", "control"):
        # What was appended after `lines` were read is nobody's question here.
        messages = [m for m in server.read(f"{prefix}.{topic}.v1", 300)
                    if int(m.headers["ce_sequence"]) < len(lines)]
        first = distinct(messages)
        n_repeats += len(messages) - len(first)
        got = {message.id: message.value for message in first}
        equal(len(got), len(wanted[topic]), f"records in topic {topic}")
        true(got == wanted[topic], f"topic {topic}: other bytes than the ledger")
        last = {}
        for message in first:
            previous = message.headers.get("ce_previous")
            equal(previous, last.get(message.partition),
                  f"ce_previous of {message.headers['ce_sequence']} in {topic}")
            last[message.partition] = message.headers["ce_sequence"]
    return n_repeats


def gaps(agent):
    return agent.records("gap")


def lsn_of(text):
    """16/B374D848 as a number."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def bound(position):
    """The LSN of a position text such as 1/0/16B3748.0"""
    return lsn_of(position.partition("/")[2].rpartition(".")[0])
