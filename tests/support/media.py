"""The container most Blob tests watch, one policy, one agent.

A blob breaks the policy when its content type is text/csv and it was created; every judged
change is an audit record."""

import collections

from agent import Agent
from cases import equal, true
from servers import wait_until

POLICY = """version: 1
info: {title: Media, owner: test@example.org}
policies:
  - id: CSV-001
    title: No tables
    severity: high
    watch: {objects: ["**"], kinds: [notice]}
    when: event.op == "create" && after.content_type == "text/csv"
    message: "{{after.path}}"
    audit: every_event
"""


def config(azurite, queue="events", feed=False, feed_poll="100ms", source="", key=None,
           more=""):
    way = f', queue: "{azurite.url("queue")}/{queue}"' if queue else ""
    way += f", feed: true, start: beginning, feed_poll: {feed_poll}" if feed else ""
    auth = "" if key is False else f', auth: key, key: "{key or azurite.key}"'
    return f"""agent: {{name: test, env: test, data_dir: "{{data_dir}}"}}
sources:
  files: {{type: blob, url: "{azurite.url()}"{way}, poll: 50ms, insecure: true{auth}{source}}}
policies: [{{dir}}/policies]
{more}"""


def watch(azurite, policy=POLICY, data_dir=None, **more):
    return Agent(config(azurite, **more), policies={"media.yaml": policy}, data_dir=data_dir)


def judged(records):
    """(object, op) of judged changes, in order."""
    return [(r["event"]["object"], r["event"]["op"]) for r in records if r["kind"] == "audit"]


def paths(records):
    return [name for name, _ in judged(records)]


def wait_judged(agent, n, seconds=60):
    return agent.wait_records(n, "audit", seconds)


def once_each(wanted, records, what="judged changes"):
    """Exactly these objects, once each, in any order."""
    got = paths(records)
    twice = [name for name, n in collections.Counter(got).items() if n > 1]
    true(not twice, f"{what}: twice: {twice[:10]}")
    missing, more = set(wanted) - set(got), set(got) - set(wanted)
    true(not missing, f"{what}: {len(missing)} missing, first {sorted(missing)[:10]}")
    true(not more, f"{what}: {len(more)} nobody made, first {sorted(more)[:10]}")


def wait_empty(azurite, queue="events", seconds=60):
    """Until every message was deleted."""
    wait_until(lambda: azurite.count(queue) == 0, seconds,
               lambda: f"the queue to be empty; it has {azurite.count(queue)}", every=0.1)


def wait_streaming(agent, reason="", seconds=60):
    return agent.wait(lambda s: s["sources"]["files"]["state"] == "streaming" and
                      reason in s["sources"]["files"]["reason"], seconds,
                      f"the source to stream '{reason}'")


def wait_read_to(agent, hour, seconds=60):
    """Until the change feed was read to an hour, "2026-01-10T10:00"."""
    return wait_streaming(agent, f"change feed to {hour}", seconds)


def whys(agent):
    return [(r["what"], r["why"]) for r in agent.records("undecodable")]


def gaps(agent):
    return [(r["reason"], r.get("from"), r["to"]) for r in agent.records("gap")]


def counted(agent):
    """What the coverage records counted beside events; the agent has stopped."""
    total = collections.Counter()
    for record in agent.records("coverage"):
        total.update(record.get("counted", {}))
    return dict(total)


__all__ = ["Agent", "config", "counted", "equal", "gaps", "judged", "once_each", "paths",
           "wait_empty", "wait_judged", "wait_read_to", "wait_streaming", "watch", "whys"]
