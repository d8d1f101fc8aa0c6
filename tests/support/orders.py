"""The stream most Redis tests watch: entries {id, n, note}, one policy, one agent.

An entry breaks the policy when n is negative; every judged one is an audit record."""

import collections

from agent import Agent
from cases import equal, true
from servers import wait_until

POLICY = """version: 1
info: {title: Orders, owner: test@example.org}
policies:
  - id: NEG-001
    title: Nothing is negative
    severity: high
    watch: {objects: ["**"], ops: [insert, update]}
    when: int(after.n) < 0
    message: "order {{after.id}}"
    audit: every_event
"""


def config(redis, source="", streams="[orders]", url=None, agent="", more=""):
    return f"""agent: {{name: test, env: test, data_dir: "{{data_dir}}"{agent}}}
sources:
  orders: {{type: redis, url: "{url or redis.url()}", streams: {streams}{source}}}
policies: [{{dir}}/policies]
{more}"""


def watch(redis, policy=POLICY, data_dir=None, **more):
    return Agent(config(redis, **more), policies={"orders.yaml": policy}, data_dir=data_dir)


def positions(records, stream=None):
    """Positions of judged entries in the order they were judged."""
    found = [r["event"]["position"] for r in records if r["kind"] == "audit"]
    return [p for p in found if stream is None or p.startswith(stream + "@")]


def ids(records, stream=None):
    return [p.rpartition(":")[2] for p in positions(records, stream)]


def wait_judged(agent, n, seconds=30, kind="audit"):
    return agent.wait_records(n, kind, seconds)


def same_entries(wanted, records, stream=None, what="judged entries"):
    """Exactly these entries, once each, in order."""
    got = ids(records, stream)
    twice = [i for i, n in collections.Counter(got).items() if n > 1]
    true(not twice, f"{what}: twice: {twice[:10]}")
    missing, more = set(wanted) - set(got), set(got) - set(wanted)
    true(not missing, f"{what}: {len(missing)} missing, first {sorted(missing)[:10]}")
    true(not more, f"{what}: {len(more)} nobody added, first {sorted(more)[:10]}")
    equal(got, list(wanted), what)


def gaps(agent, kind="gap"):
    return [(r.get("reason"), r.get("from"), r.get("to")) for r in agent.records(kind)]


def wait_streaming(agent, reason=None, seconds=30):
    return agent.wait(lambda s: s["sources"]["orders"]["state"] == "streaming" and
                      (reason is None or reason in s["sources"]["orders"]["reason"]), seconds,
                      "the source to stream")


__all__ = ["Agent", "config", "gaps", "ids", "positions", "same_entries", "wait_judged",
           "wait_streaming", "wait_until", "watch"]
