"""An agent on the double of Cosmos DB's gateway, and the vendor's own client.

    with FakeCosmos() as fake, watch(fake) as agent:
        streaming(agent); fake.container().upsert({...})
        events(agent)"""

import json
import os
import subprocess

from agent import Agent
from node import node, npm_folder
from servers import Failed, tail, wait_until

PINNED = "@azure/cosmos@4.9.3"
POLICY = """version: 1
info: {title: Shop, owner: test@example.org}
policies:
  - id: SEEN-001
    title: What was seen, in words
    severity: info
    watch: {objects: ["shop.**"], ops: [OPS], kinds: [change]}
    when: "true"
    message: "{{event.op}} {{before.n}} {{after.n}}"
    evidence: [int, more, beyond, exact, short, tiny]
    audit: every_event
  - id: NEG-001
    title: Nothing is negative
    severity: high
    watch: {objects: ["shop.**"], ops: [insert, replace], kinds: [change]}
    when: after.n < 0
    message: "{{after.n}}"
SETTINGS"""
SETTINGS = """  - id: SET-001
    title: Settings do not change
    severity: medium
    watch: {objects: ["**"], kinds: [setting], ops: [observe, alter]}
    when: "true"
    message: "{{event.op}} {{before.defaultTtl}} {{after.defaultTtl}}"
"""


def config(fake, mode="latest_version", source="", more="", url=None, key=None,
           auth="auth: key, key: \"{key}\"", containers="[orders]", insecure=True):
    auth = auth.replace("{key}", key or fake.key)
    poll = "" if "poll:" in source else ", poll: {min: 20ms, max: 100ms}"
    ru = "" if "max_ru:" in source else ", max_ru: 100000"
    return (f"agent: {{name: test, env: test, data_dir: '{{data_dir}}'}}\n"
            f"policies: ['{{dir}}/policies']\n{more}sources:\n"
            f"  shop: {{type: cosmos, url: '{url or fake.url}', database: shop, "
            f"containers: {containers}, mode: {mode}, {auth}"
            f"{', insecure: true' if insecure else ''}{poll}{ru}{source}}}\n")


def watch(fake, policy=None, data_dir=None, env=None, settings=False, **more):
    """An agent on the account that is not started yet; a latest_version source gives no
    deletes, so its policy must not ask for them."""
    if policy is None:
        policy = POLICY.replace("OPS", "insert, replace, delete, expire"
                                if more.get("mode") == "all_versions" else "insert, replace")
        policy = policy.replace("SETTINGS", SETTINGS if settings else "")
    return Agent(config(fake, **more), policies={"shop.yaml": policy}, data_dir=data_dir,
                 env=env)


def events(agent, op=None, kind="change"):
    """Judged events in order, from audit records."""
    found = [record["event"] for record in agent.records("audit")]
    return [event for event in found if event["kind"] == kind and op in (None, event["op"])]


def seen(agent, policy="SEEN-001"):
    """What the policy said of each event: "insert null 1"."""
    return [r["message"] for r in agent.records("violation") if r["policy"]["id"] == policy]


def wait_seen(agent, n, seconds=60):
    """All that was said, once it is as many."""
    wait_until(lambda: len(seen(agent)) >= n, seconds,
               lambda: f"{n} events, there are {len(seen(agent))}\n{tail(agent.log)}", 0.2)
    return seen(agent)


def streaming(agent, seconds=30):
    return agent.wait_source("shop", "streaming", seconds)


def run_node(script, fake, folder, **env):
    """Runs a script that prints one JSON line at its end; that line."""
    path = os.path.join(folder, "script.mjs")
    with open(path, "w", encoding="utf-8") as file:
        file.write(script)
    packages = npm_folder("azure-cosmos-4.9.3", PINNED)
    done = subprocess.run([node(), path], check=False, text=True, timeout=180,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=dict(os.environ, ENDPOINT=fake.url, KEY=fake.key,
                                   SDK=os.path.join(packages, "node_modules", "@azure",
                                                    "cosmos"), **env))
    if done.returncode:
        raise Failed(f"node ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
