#!/usr/bin/env python3
"""The second half of contrib/quickstart: servers, transactions, violations, proof."""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time

import quickstart_archive
import quickstart_azure
import servers
from agent import DGF, Agent
from mongo import Mongo
from redis import Redis

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCHEMA = """
CREATE SCHEMA shop;
CREATE SCHEMA pay;
CREATE TABLE shop.order_notes (id int PRIMARY KEY, note text);
CREATE TABLE pay.transfers (id int PRIMARY KEY, amount numeric, status text,
                            created_by text, approved_by text);
ALTER TABLE pay.transfers REPLICA IDENTITY FULL;   -- rules may compare before and after
CREATE PUBLICATION dgf FOR TABLE shop.order_notes, pay.transfers;
GRANT USAGE ON SCHEMA shop, pay TO dgf;
"""
CONFIG = """agent: {{name: quickstart, env: demo, data_dir: {{dir}}/data}}
sources:
  orders:
    type: postgres
    url: ${{ORDERS_URL}}
    tables: [shop.*, pay.*]
{sources}policies: [{{dir}}/policies]
{sinks}"""
REDIS_SOURCE = """  chat: {{type: redis, url: "{}", streams: [chat]}}
"""
MONGO_SOURCE = """  support: {{type: mongo, url: "{}", scope: support, insecure: true}}
"""
SERVERS = ("redis", "mongo", "kafka", "azure")
KAFKA_SINK = """  events: {{type: kafka, brokers: ["{}"], topic_prefix: dgf.demo, insecure: true}}
"""
# (what happens, SQL, violations it must give)
TRANSACTIONS = [
    ("a harmless note",
     "INSERT INTO shop.order_notes VALUES (1, 'deliver before noon');", 0),
    ("a card number in a note",
     "INSERT INTO shop.order_notes VALUES (2, 'card is 4111 1111 1111 1111');", 1),
    ("a transfer, approved by a second person",
     "INSERT INTO pay.transfers VALUES (7, 120.50, 'pending', 'ada');\n"
     "UPDATE pay.transfers SET status='approved', approved_by='grace' WHERE id=7;", 0),
    ("a transfer, approved by its creator",
     "INSERT INTO pay.transfers VALUES (8, 99000, 'pending', 'ada');\n"
     "UPDATE pay.transfers SET status='approved', approved_by='ada' WHERE id=8;", 1),
    ("a bad row that is rolled back: nobody is told",
     "INSERT INTO pay.transfers VALUES (9, -1, 'pending', 'ada'); ROLLBACK; BEGIN;", 0),
    ("a transfer backwards",
     "INSERT INTO pay.transfers VALUES (10, -5, 'pending', 'ada');", 1),
]
# (what happens, command, violations it must give)
ENTRIES = [
    ("Redis: a harmless line of a chat", ["XADD", "chat", "*", "note", "where is my order?"], 0),
    ("Redis: a card number in a chat",
     ["XADD", "chat", "*", "note", "take it from 4111 1111 1111 1111"], 1),
]
DOCUMENTS = [
    ("MongoDB: a harmless ticket", {"_id": 1, "note": "the parcel is wet"}, 0),
    ("MongoDB: a card number in a ticket", {"_id": 2, "note": "card 5500 0000 0000 0004"}, 1),
]


def say(text=""):
    print(text, flush=True)


def show(command):
    say(f"\n$ dgf {command}")


class Tail:
    """dgf tail, its lines printed as they come and counted."""

    def __init__(self, agent):
        self.lines = []
        self.child = subprocess.Popen(
            [DGF, "tail", "-c", agent.config, "--kind", "violation", "--format", "json"],
            stdout=subprocess.PIPE, text=True, env=agent.env, cwd=agent.folder.path)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            record = json.loads(line)
            self.lines.append(record)
            policy = record["policy"]
            took = (time.time_ns() - self.committed) / 1e6
            say(f"    VIOLATION {policy['id']} ({policy['severity']}): {record['message']}"
                f"   [{took:.0f} ms after the commit]")
            for item in record.get("evidence", []):
                value = item.get("masked", item.get("shown", "(restricted)"))
                say(f"        {item['field']}: {value}")

    committed = 0

    def wait(self, n):
        servers.wait_until(lambda: len(self.lines) >= n, 20,
                           f"violation {n} in dgf tail")

    def stop(self):
        self.child.terminate()
        self.child.wait(10)


def plain(agent, *args):
    show(" ".join(args).replace(agent.config, "dgf.yaml"))
    done = agent.run(*args, check=False)
    for line in (done.stdout + done.stderr).rstrip().splitlines():
        say(f"    {line}")
    return done


def steps_of(held):
    """(what happens, how it is written, what does it, violations it must give)"""
    pg, redis, mongo = held["pg"], held.get("redis"), held.get("mongo")
    found = [(what, sql, lambda sql=sql: pg.sql(f"BEGIN;\n{sql}\nCOMMIT;"), n)
             for what, sql, n in TRANSACTIONS]
    if redis:
        found += [(what, " ".join(f'"{w}"' if " " in w else w for w in words),
                   lambda words=words: redis.do(*words), n) for what, words, n in ENTRIES]
    if mongo:
        tickets = mongo.client().support.tickets
        found += [(what, f"db.tickets.insertOne({json.dumps(document)})",
                   lambda document=document: tickets.insert_one(document), n)
                  for what, document, n in DOCUMENTS]
    if "azure" in held:
        found += quickstart_azure.steps(held["cosmos"], held["azure"])
    return found


def commit_all(steps, tail):
    wanted = 0
    for what, text, commit, n in steps:
        say(f"\n  {what}")
        for line in text.splitlines():
            say(f"    {line}")
        tail.committed = time.time_ns()
        commit()
        wanted += n
        tail.wait(wanted)
    return wanted


def wait_streaming(agent):
    for name in agent.status()["sources"]:
        agent.wait_source(name, "streaming")


def restart(agent, wanted):
    say("\n== kill -9, and start again: nothing is lost, nothing comes twice")
    agent.kill9()
    agent.start()
    wait_streaming(agent)
    found = agent.records("violation")
    if len(found) != wanted:
        raise servers.Failed(f"{len(found)} violations in the ledger after kill -9, not {wanted}")
    say(f"    {len(found)} violations in the ledger, as before")


def read_topic(kafka, wanted):
    say("\n== what Kafka got")
    topic = "dgf.demo.violations.v1"
    say(f"$ kcat -b {kafka.bootstrap} -t {topic} -C -e")
    servers.wait_until(lambda: len(servers.distinct(kafka.read(topic))) >= wanted, 30,
                       "the violations in Kafka", every=0.3)
    for message in servers.distinct(kafka.read(topic)):
        say(f"    {message.headers['ce_type']} {message.id}: {message.json()['message']}")


NEEDS = (           # what dgf check answers with, of each that can be started
    ("pg", "PostgreSQL: SQL"), ("redis", "Redis: ACL and CONFIG commands"),
    ("mongo", "MongoDB: what to run in mongosh"), ("cosmos", "Cosmos DB and Blob Storage: az commands"),
    ("kafka", "Kafka: kafka-topics and kafka-acls commands"))
DRIVE = (           # how to go on with what runs, once its env is read
    ("pg", 'psql -c "INSERT INTO shop.order_notes VALUES (99, \'card 4111 1111 1111 1111\')"'),
    ("redis", 'redis-cli -u "$REDIS" XADD chat "*" note "card 4111 1111 1111 1111"'),
    ("mongo", 'mongosh "$MONGO" --eval \'db.getSiblingDB("support").tickets.insertOne('
              '{note: "card 4111 1111 1111 1111"})\'   # MongoDB\'s shell is not in Debian'),
    ("cosmos", 'python3 "$DRIVE" review "card 4111 1111 1111 1111"'),
    ("azure", 'python3 "$DRIVE" upload friday.csv "ada;4111 1111 1111 1111"'),
    ("kafka", 'kcat -b "$KAFKA" -t dgf.demo.violations.v1 -C -e'))


def next_steps(held):
    needs = [text for name, text in NEEDS if name in held]
    say(f"""
What next
    your own databases  dgf init                  writes a commented dgf.yaml and a policy
                        dgf check -c dgf.yaml     says what they still need:
                                                  """ + ("""
                                                  """).join(needs) + f"""
    your own policies   contrib/doc/POLICIES.md; try them without any database:
                        dgf rules test contrib/examples
    what comes out      contrib/doc/RECORDS.md
    (dgf is {DGF})""")


def leave_running(agent, held):
    """Writes what a shell needs to go on, and a script that ends it all."""
    demo = os.path.join(servers.BUILD, "quickstart")
    os.makedirs(demo, exist_ok=True)
    pg, redis, mongo, kafka, cosmos, azure = (held.get(name) for name in (
        "pg", "redis", "mongo", "kafka", "cosmos", "azure"))
    pid_file = agent.folder / "dgf.pid"
    with open(pid_file, "w", encoding="utf-8") as file:
        file.write(f"{agent.child.pid}\n")
    values = {"DEMO": agent.folder.path, "PATH": f"{servers.BUILD}:{servers.PG_BIN}:$PATH",
              "PGHOST": pg.run, "PGPORT": pg.port, "PGUSER": "postgres", "PGDATABASE": "postgres",
              "ORDERS_URL": agent.env["ORDERS_URL"],
              "KAFKA": kafka.bootstrap if kafka else "",
              "REDIS": redis.url() if redis else "", "MONGO": mongo.url() if mongo else "",
              "COSMOS": cosmos.url() if cosmos else "", "BLOB": azure.url() if azure else "",
              "QUEUE": azure.url("queue") if azure else "",
              "BLOB_KEY": azure.key if azure else "",
              "COSMOS_KEY": quickstart_azure.KEY if cosmos else "",
              "DRIVE": os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                    "quickstart_drive.py") if azure else ""}
    env, stop = os.path.join(demo, "env"), os.path.join(demo, "stop")
    with open(env, "w", encoding="utf-8") as file:
        file.write("".join(f'export {name}="{value}"\n' for name, value in values.items()))
    os.chmod(env, 0o600)
    pids = " ".join(str(server.child.pid) for server in held.values() if server is not agent)
    folders = " ".join(server.folder.path for server in held.values())
    with open(stop, "w", encoding="utf-8") as file:
        file.write(f"""#!/bin/sh
# Ends what contrib/quickstart --keep left running, and removes its folders.
kill -TERM "$(cat {pid_file} 2>/dev/null)" 2>/dev/null
kill -TERM {pids} 2>/dev/null
for pid in {pids}; do
    n=0
    while kill -0 "$pid" 2>/dev/null && [ $n -lt 150 ]; do sleep 0.2; n=$((n + 1)); done
done
rm -rf {folders}
""")
    os.chmod(stop, 0o755)
    drive = "\n".join(f"    {text}" for name, text in DRIVE if name in held)
    say(f"""
Everything is still running.
    . {env}     sets {", ".join(name for name in values if values[name] and name != "PATH")}
    dgf tail -c $DEMO/dgf.yaml
{drive}
    {stop}    ends it all""")


def start_servers(chosen, held):
    """What was asked for beside PostgreSQL; (sources, sinks) for the configuration."""
    say("== a private " + ", ".join(name for name, wanted in (
        ("PostgreSQL", True), ("Redis", "redis" in chosen), ("MongoDB-wire server (SecantusDB)",
                                                            "mongo" in chosen),
        ("Kafka", "kafka" in chosen), ("Azurite and a double of Cosmos DB", "azure" in chosen))
                                     if wanted))
    held["pg"] = servers.Postgres().__enter__()
    held["pg"].role()
    held["pg"].sql(SCHEMA)
    sources = sinks = ""
    if "redis" in chosen:
        held["redis"] = Redis().__enter__()
        sources += REDIS_SOURCE.format(held["redis"].url())
    if "mongo" in chosen:
        held["mongo"] = Mongo().__enter__()
        sources += MONGO_SOURCE.format(held["mongo"].url())
    if "kafka" in chosen:
        held["kafka"] = servers.Kafka().__enter__()
        held["kafka"].create_dgf_topics("dgf.demo")
        sinks += KAFKA_SINK.format(held["kafka"].bootstrap)
    if "azure" in chosen:
        quickstart_azure.start(held)
        sources += quickstart_azure.sources(held["cosmos"], held["azure"])
        sinks += quickstart_archive.SINK.format(url=held["azure"].url(), key=held["azure"].key)
    sinks = f"sinks:\n{sinks}" if sinks else ""
    return sources, sinks + (quickstart_archive.LEDGER if "azure" in chosen else "")


def must_be_free():
    """A second one would take the only script that ends the first."""
    demo = os.path.join(servers.BUILD, "quickstart")
    with contextlib.suppress(OSError, AttributeError):
        with open(os.path.join(demo, "env"), encoding="utf-8") as file:
            folder = re.search('^export DEMO="(.+)"$', file.read(), re.M).group(1)
        if os.path.isdir(folder):
            raise servers.Failed(f"the one that was kept is still in {folder}; "
                                 f"end it first: {demo}/stop")


def run(keep, chosen):
    held = {}
    if keep:
        must_be_free()
    try:
        sources, sinks = start_servers(chosen, held)
        agent = Agent(CONFIG.format(sources=sources, sinks=sinks),
                      env={"ORDERS_URL": held["pg"].conninfo("dgf", "dgf-secret")})
        for name in ("shop.yaml", "shop_test.yaml"):
            shutil.copy(os.path.join(TOP, "contrib", "examples", name), agent.policies)
        say(f"    configuration {agent.config}, policies {agent.policies}/shop.yaml")
        plain(agent, "rules", "test", agent.policies)
        if "***" in plain(agent, "check", "-c", agent.config).stdout:
            say("    (stars: keys and passwords of the file are never shown, not even those of a demo)")
        show("run -c dgf.yaml &")
        agent.start()
        held["agent"] = agent
        wait_streaming(agent)
        show("tail -c dgf.yaml --kind violation")
        tail = Tail(agent)
        steps = steps_of(held)
        wanted = commit_all(steps, tail)
        restart(agent, wanted)
        tail.stop()
        if plain(agent, "ledger", "verify", "-c", agent.config).returncode:
            raise servers.Failed("the ledger does not verify")
        plain(agent, "status", "-c", agent.config)
        if "kafka" in chosen:
            read_topic(held["kafka"], wanted)
        if "azure" in chosen:
            quickstart_archive.show_archive(agent, held["azure"], held["pg"], wanted,
                                            (say, show, plain))
        next_steps(held)
        n_databases = sum(name in held for name in ("pg", "redis", "mongo", "cosmos", "azure"))
        if keep:
            leave_running(agent, held)
            held = {}
        summary = (f"\nquickstart: {len(steps)} transactions"
            + (f" in {n_databases} databases" if n_databases > 1 else "")
            + f", {wanted} violations, the ledger verifies")
    finally:
        for server in reversed(list(held.values())):
            server.__exit__()
    say(summary)
    if not keep:
        say(f"    its servers are stopped and its folder {agent.folder.path} is gone; the same with "
            "--keep leaves both")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true")
    for name in SERVERS:
        parser.add_argument(f"--{name}", action="store_true")
    args = parser.parse_args()
    try:
        run(args.keep, [name for name in SERVERS if getattr(args, name)])
    except (servers.Failed, servers.Skip) as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
