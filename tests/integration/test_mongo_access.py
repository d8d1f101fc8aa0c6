#!/usr/bin/env python3
"""TLS, logins, rights, and what `dgf check` says of a MongoDB server."""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from cases import case, equal, main, true
from mongo import Mongo, config, streaming, watch
from servers import free_port, wait_until


def guarded(**more):
    """A server over TLS with users: admin, dgf (may read), poor (may nothing), by certificate."""
    mongo = Mongo(auth=True, **more)
    mongo.__enter__()
    admin = mongo.client().admin
    admin.command("createUser", "admin", pwd="admin-pw", roles=["root"])
    admin.command("createUser", "dgf", pwd="dgf-pw", roles=["readAnyDatabase", "clusterMonitor"])
    admin.command("createUser", "poor", pwd="poor-pw", roles=[])
    mongo.client()["$external"].command("createUser", "CN=agent", mechanisms=["MONGODB-X509"],
                                        roles=[{"role": "readAnyDatabase", "db": "admin"}])
    mongo.guard()
    return mongo


def sees_a_document(agent, mongo, i):
    streaming(agent)
    mongo.client("admin:admin-pw").shop.rows.insert_one({"_id": i})
    agent.wait_records(1, "audit")


def reason(agent, seconds=20):
    status = agent.wait(lambda s: s["sources"]["shop"]["state"] == "retrying", seconds)
    return status["sources"]["shop"]["reason"]


@case
def scram_over_tls_and_a_certificate_are_ways_in():
    mongo = guarded()
    try:
        with watch(mongo, url=mongo.url("dgf"), source=", password: dgf-pw") as agent:
            sees_a_document(agent, mongo, 1)
        pem = mongo.certs.issue("agent")[2]
        url = mongo.url(more=f"&tlsCertificateKeyFile={pem}&authMechanism=MONGODB-X509"
                        ).replace("authSource=admin", "authSource=$external")
        with watch(mongo, url=url) as agent:
            sees_a_document(agent, mongo, 2)
    finally:
        mongo.__exit__()


@case
def a_wrong_password_is_said_and_asked_again_only_once_in_a_while():
    mongo = guarded()
    try:
        with watch(mongo, url=mongo.url("dgf:canary-pw")) as agent:
            equal(reason(agent), f"'127.0.0.1:{mongo.port}' refuses user 'dgf': wrong name, "
                                 "password, authSource or authMechanism")
            time.sleep(3)
            failures = agent.log_lines(event="source failed")
            equal(len(failures), 1, "attempts in three seconds")
            true(failures[0]["retry_ms"] >= 10000, f"{failures}")
            true("canary" not in agent.log_text(), "the password stands in the log")
    finally:
        mongo.__exit__()


@case
def a_missing_right_is_said_and_check_prints_the_command_that_mends_it():
    mongo = guarded()
    try:
        with watch(mongo, url=mongo.url("poor:poor-pw")) as agent:
            equal(reason(agent), "cannot open a change stream on the deployment: user 'poor' has "
                                 "no right to (13); see `dgf check`")
            found = check(agent)
            text, fix = found["E0613"][0]
            equal(text, "sources.shop (mongo): user 'poor' may not open a change stream on the "
                        "deployment")
            equal(fix, "db.getSiblingDB('admin').grantRolesToUser('poor', [{role: "
                       "'readAnyDatabase', db: 'admin'}])")
    finally:
        mongo.__exit__()


@case
def a_certificate_for_another_host_or_of_another_authority_is_refused():
    mongo = guarded(san="DNS:elsewhere.example.org")
    try:
        with watch(mongo, url=mongo.url("dgf:dgf-pw")) as agent:
            text = reason(agent)
            true(text.startswith(f"cannot connect to '127.0.0.1:{mongo.port}': TLS: "), text)
    finally:
        mongo.__exit__()
    mongo = guarded()
    try:
        other = mongo.folder / "other.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
                        "/dev/null", "-out", other, "-subj", "/CN=other", "-batch"], check=True,
                       stderr=subprocess.DEVNULL, timeout=60)
        with watch(mongo, url=mongo.url("dgf:dgf-pw").replace(mongo.certs.ca, other)) as agent:
            text = reason(agent)
            true(text.startswith(f"cannot connect to '127.0.0.1:{mongo.port}': TLS: "), text)
        # One that speaks TLS, asked without.
        plain = f"mongodb://dgf:dgf-pw@127.0.0.1:{mongo.port}/?directConnection=true"
        with watch(mongo, url=plain, source=", insecure: true, connect_timeout: 1s") as agent:
            true("cannot connect" in reason(agent), reason(agent))
    finally:
        mongo.__exit__()


def check(agent):
    """Findings of `dgf check`: code -> [(text, fix)]"""
    done = agent.run("check", "-c", agent.config, "--format", "json", check=False)
    found = {}
    for line in json.loads(done.stdout)["findings"]:
        found.setdefault(line["code"], []).append((line["text"], line.get("fix")))
    return found


@case
def check_says_which_collections_keep_no_images_and_how_long_the_oplog_is():
    with Mongo() as mongo:
        shop = mongo.client().shop
        shop.create_collection("kept", changeStreamPreAndPostImages={"enabled": True})
        shop.create_collection("plain")
        agent = watch(mongo, source=", scope: shop")
        try:
            found = check(agent)
            texts = [text for text, _ in found["W0614"]]
            true(any("collection 'shop.plain' keeps no pre-images" in text for text in texts),
                 f"{texts}")
            true(not any("shop.kept" in text for text in texts), f"{texts}")
            fixes = [fix for _, fix in found["W0614"] if fix]
            true("db.getSiblingDB('shop').runCommand({collMod: 'plain', "
                 "changeStreamPreAndPostImages: {enabled: true}})" in fixes, f"{fixes}")
            true(any("the oplog reaches back" in text for text in texts), f"{texts}")
            true("E0612" not in found and "E0613" not in found, f"{found}")
        finally:
            agent.folder.remove()


SEEN = """version: 1
info: {title: Seen, owner: test@example.org}
policies:
  - id: SEE-001
    title: Nobody is root
    severity: high
    watch: {kinds: [schema, access, setting], objects: ["**"], ops: [observe]}
    when: event.kind == "access" && after.roles.exists(r, r.role == "root")
    message: "a root user"
    audit: every_event
"""


@case
def inspection_tells_collections_and_users_once_and_again_when_they_change():
    with Mongo() as mongo:
        shop = mongo.client().shop
        shop.create_collection("rows", validator={"n": {"$gte": 0}})
        shop.rows.create_index("x")
        mongo.client().admin.command("createUser", "boss", pwd="pw", roles=["root"])
        with watch(mongo, policy=SEEN, source=", inspect: 1s") as agent:
            agent.wait_records(1, "violation")
            equal([(e["kind"], e["object"]) for e in seen(agent) if e["kind"] != "setting"],
                  [("schema", "shop.rows"), ("access", "admin.boss")])
            agent.stop()
            agent.start()
            streaming(agent)
            time.sleep(2.5)
            before = len(seen(agent))
            equal(len([e for e in seen(agent) if e["kind"] == "access"]), 1, "users told")
            shop.rows.create_index("y")
            agent.wait_records(before + 1, "audit")
            equal((seen(agent)[-1]["kind"], seen(agent)[-1]["object"]), ("schema", "shop.rows"))
            equal(len(agent.records("violation")), 1, "violations")


GONE = """version: 1
info: {title: Gone, owner: test@example.org}
policies:
  - id: GONE-001
    title: Nothing goes away
    severity: high
    watch: {kinds: [schema, access], objects: ["**"], ops: [observe, drop]}
    when: event.op == "drop" && before != null && after == null
    message: "gone"
    audit: every_event
  - id: GONE-002
    title: Indexes stay
    severity: high
    watch: {kinds: [schema], objects: ["shop.rows"], ops: [observe, drop]}
    when: >-
      (event.op == "drop" && "index" in event.key && before.key.x == 1) ||
      (event.op == "observe" && before.indexes.size() > after.indexes.size())
    message: "fewer indexes"
    audit: every_event
"""


@case
def what_is_gone_is_told_once_with_what_was_there():
    with Mongo() as mongo:
        shop, admin = mongo.client().shop, mongo.client().admin
        shop.create_collection("rows")
        shop.create_collection("old")
        shop.rows.create_index("x", name="by_x")
        admin.command("createUser", "boss", pwd="pw", roles=["root"])
        with watch(mongo, policy=GONE, source=", inspect: 1s, scope: shop") as agent:
            streaming(agent)
            wait_until(lambda: "admin.boss" in [e["object"] for e in seen(agent)], 30, "a look")
            time.sleep(2.5)
            agent.stop()
            admin.command("dropUser", "boss")
            shop.old.drop()
            shop.rows.drop_index("by_x")
            agent.start()

            def gone():
                rows = [r["event"] for r in agent.records("violation")
                        if r["verdict"] == "violation"]
                return sorted((e["kind"], e["object"], e["op"]) for e in rows)
            wanted = [("access", "admin.boss", "drop"), ("schema", "shop.old", "drop"),
                      ("schema", "shop.rows", "drop"), ("schema", "shop.rows", "drop"),
                      ("schema", "shop.rows", "observe")]
            wait_until(lambda: gone() == wanted, 30, lambda: f"what is gone: {gone()}")
            agent.stop()
            agent.start()
            streaming(agent)
            time.sleep(2.5)
            equal(gone(), wanted)


def seen(agent):
    return [r["event"] for r in agent.records("audit")]


@case
def check_of_a_dead_server_says_so_in_our_words():
    class Nobody:
        secure, port = False, free_port()

        def url(self):
            return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"
    agent = watch(Nobody())
    try:
        equal(check(agent)["E0612"], [(f"sources.shop (mongo): cannot connect to "
                                       f"'127.0.0.1:{Nobody.port}': connection refused", None)])
    finally:
        agent.folder.remove()


@case
def a_configuration_that_cannot_be_is_said_before_anything_starts():
    class Nobody:
        secure, port = True, 1

        def url(self):
            return "mongodb://127.0.0.1:1/"
    wanted = {
        'mongodb://u:canary@h/?tls=false': "url turns TLS off; write insecure: true to allow it",
        'mongodb://h/?tlsInsecure=true': "tlsInsecure in url does not verify the server; write "
                                         "insecure: true to allow it",
        'http://canary': "url is not an address of MongoDB; example: "
                         "mongodb://dgf@db-1,db-2/?replicaSet=rs0",
    }
    agent = watch(Nobody())
    try:
        for url, text in wanted.items():
            agent.write_config(config(Nobody(), url=url))
            done = agent.run("check", "-c", agent.config, check=False)
            equal(done.returncode, 78, f"{url}: {done.stderr}{done.stdout}")
            true(f"E0611]: sources.shop (mongo): {text}" in done.stdout + done.stderr,
                 done.stdout + done.stderr)
        agent.write_config(config(Nobody(), source=", scope: .rows, exclude: [rows]"))
        text = agent.run("check", "-c", agent.config, check=False)
        text = text.stdout + text.stderr
        true("'.rows' in scope is neither a database nor database.collection" in text, text)
        true("'rows' in exclude has no database; write 'shop.rows'" in text, text)
    finally:
        agent.folder.remove()


if __name__ == "__main__":
    main(parallel=True)
