"""The daemon as its operator meets it: signals, locks, folders, bad files, secrets."""

import base64
import json
import os
import shutil
import signal
import time

import shop
from agent import Agent
from cases import case, equal, main, note, true
from servers import Kafka, Postgres, running, wait_until


@case
def a_second_agent_on_the_same_folder_ends_with_75():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg) as agent:
            agent.wait_source("shop", "streaming")
            second = Agent(shop.config(pg), policies={}, data_dir=agent.data_dir,
                           folder=agent.folder)
            second.start(wait=False)
            equal(second.exit_code(), 75, "exit code")
            true("another agent owns it" in second.log_text(), second.log_text())
            shop.insert(pg, 1, 5)
            shop.wait_judged(agent, pg)
            equal(shop.same_rows(pg, shop.parse(agent)), 5)


@case
def a_killed_agent_leaves_nothing_in_shared_memory():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg) as agent:
            agent.wait_source("shop", "streaming")
            pid = agent.child.pid
            left = [name for name in os.listdir("/dev/shm") if name.endswith(f"-{pid}")]
            equal(left, [])


@case
def a_lost_data_directory_is_a_new_log_and_a_gap():
    with Postgres() as pg:
        shop.prepare(pg)
        agent = shop.watch(pg)
        agent.start()
        agent.wait_source("shop", "streaming")
        shop.insert(pg, 1, 5)
        shop.wait_judged(agent, pg)
        first = agent.stats()["log_id"]
        agent.stop()
        shutil.rmtree(agent.data_dir)
        with agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 6, 5)
            shop.wait_judged(agent, pg)
            true(agent.stats()["log_id"] != first, "the log id is the old one")
            found = shop.gaps(agent)
            equal([gap["reason"] for gap in found], ["state_lost"])
            true("from" not in found[0], f"a start is claimed: {found[0]}")
            equal([i for i in shop.judged(shop.parse(agent)) if i > 5], list(range(6, 11)))
            agent.verify()


@case
def sigterm_drains_and_ends_within_ten_seconds():
    with running(Postgres(), Kafka()) as (pg, kafka):
        shop.prepare(pg)
        kafka.create_dgf_topics("dgf.test")
        with shop.watch(pg, shop.kafka_sink(kafka.bootstrap)) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 20_000, per_tx=100)
            start = time.monotonic()
            agent.send(signal.SIGTERM)
            equal(agent.exit_code(12), 0, "exit code")
            took = time.monotonic() - start
            true(took <= 10, f"took {took:.1f} s")
            note(f"SIGTERM to exit: {took:.2f} s")
            kafka.pause()                       # a broker that hangs does not hold us
            agent.start()
            agent.wait_source("shop", "streaming")
            start = time.monotonic()
            agent.send(signal.SIGTERM)
            equal(agent.exit_code(12), 0, "exit code")
            true(time.monotonic() - start <= 10.5, "a hanging broker held the exit")
            left = agent.log_lines(event="ended before a sink had everything", level="warn")
            equal([line["sink"] for line in left], ["events"], "sinks that lack records")
            size = json.loads(agent.run("ledger", "stats", "-c", agent.config, "--format",
                                        "json").stdout)["size"]
            equal((left[0]["records"] > 0, left[0]["from"] + left[0]["records"],
                   left[0]["required"], left[0]["next"]),
                  (True, size, "true", "they stay in the ledger and the next start delivers them"))
            kafka.resume()


@case
def a_reload_takes_good_policies_and_keeps_the_old_ones_over_bad():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg) as agent:
            agent.wait_source("shop", "streaming")
            before = agent.status()["policy_set"]
            agent.write_policy("shop.yaml", shop.POLICY.replace("after.n < 0", "after.n <"))
            agent.reload()
            status = agent.wait(lambda s: s["reload_error"], 10)
            equal((status["policy_set"], status["health"]), (before, "degraded"))
            os.remove(os.path.join(agent.policies, "shop.yaml"))  # a mount that is not there
            agent.reload()
            status = agent.wait(lambda s: "no policies any more" in s["reload_error"], 10)
            equal((status["policy_set"], status["health"]), (before, "degraded"))
            shown = agent.run("status", "-c", agent.config, check=False)
            equal(shown.returncode, 1, "exit code of status")
            true("reload  refused: there are no policies any more" in shown.stdout, shown.stdout)
            pg.sql("INSERT INTO shop.rows VALUES (1, -1)")
            agent.wait_records(1, "violation")
            agent.write_policy("shop.yaml", shop.POLICY.replace("after.n < 0", "after.n > 100"))
            agent.reload()
            agent.wait(lambda s: s["policy_set"] != before and not s["reload_error"] and
                       s["health"] == "ok", 10)
            pg.sql("INSERT INTO shop.rows VALUES (2, -1), (3, 101)")
            shop.wait_judged(agent, pg)
            equal([r["event"]["key"]["id"] for r in agent.records("violation")], [1, 3])
            true(len(agent.records("policy_set")) >= 1, "no policy_set record")


@case
def status_does_not_believe_an_agent_that_hangs_or_is_gone():
    def shown(*more):
        done = agent.run("status", "-d", agent.data_dir, *more, check=False)
        return done.returncode, done.stdout

    def age():
        os.utime(path, (time.time() - 60, time.time() - 60))
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg) as agent:
            path = os.path.join(agent.data_dir, "status.json")
            agent.wait(lambda s: s["health"] == "ok" and
                       s["sources"]["shop"]["state"] == "streaming")
            code, out = shown()
            true(code == 0 and out.startswith("ok  test (test)  written "), out)
            age()                               # one that works writes it again by itself
            wait_until(lambda: os.stat(path).st_mtime > time.time() - 30, 30,
                       lambda: "an old status.json to be written again")
            agent.send(signal.SIGSTOP)
            age()
            code, out = shown()
            true(code == 1 and out.startswith("silent  test (test)  since "), out)
            true(f"process {agent.child.pid} has data_dir, but writes no status.json" in out and
                 "streaming" not in out, out)
            code, out = shown("--format", "json")
            equal((code, json.loads(out)["health"], json.loads(out)["sources"]["shop"]["state"]),
                  (1, "silent", "unknown"))
            agent.send(signal.SIGCONT)
            agent.kill9()
            with open(path, encoding="utf-8") as file:
                status = json.load(file)
            with open(path, "w", encoding="utf-8") as file:  # its number is somebody else's now
                json.dump({**status, "pid": os.getpid()}, file)
            code, out = shown()
            true(code == 1 and out.startswith("not running  test (test)  written ") and
                 "streaming" not in out, out)
            code, out = shown("--format", "json")
            equal((code, json.loads(out)["health"], json.loads(out)["sources"]["shop"]["state"]),
                  (1, "not running", "not running"))
            for name in ("status.json", "state.db", "lock"):
                equal(os.stat(os.path.join(agent.data_dir, name)).st_mode & 0o077, 0, f"mode of {name}")


@case
def keys_are_made_once_and_a_lost_one_is_not_made_again():
    with Postgres() as pg:
        shop.prepare(pg)
        agent = shop.watch(pg)
        agent.start("--until-caught-up", wait=False)
        equal(agent.exit_code(60), 0, agent.log_text())
        equal([(r["message"], r["detail"]) for r in agent.records("key")],
              [("generated", {"key": "tenant", "version": 1}),
               ("generated", {"key": "token", "version": 1})])
        for name, why in (("tenant", "every violation would get another id"),
                          ("token", "the same value would get another token")):
            key = os.path.join(agent.data_dir, "keys", name)
            os.rename(key, key + ".away")
            agent.start("--until-caught-up", wait=False)
            equal(agent.exit_code(60), 78, f"exit code without the {name} key")
            true(f"keys/{name}' is missing, and this ledger has records; with another key {why}: "
                 "put its copy back" in agent.log_text(), agent.log_text())
            true(not os.path.exists(key), f"a {name} key was made")
            os.rename(key + ".away", key)
        agent.start("--until-caught-up", wait=False)
        equal(agent.exit_code(60), 0, agent.log_text())
        equal(len(agent.records("key")), 2, "key records")
        agent.folder.remove()


@case
def stopping_is_said_once_however_often_it_is_asked_for():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg) as agent:
            agent.wait_source("shop", "streaming")
            agent.send(signal.SIGSTOP)          # both are there when it goes on
            agent.send(signal.SIGTERM)
            agent.send(signal.SIGINT)
            agent.send(signal.SIGCONT)
            equal(agent.exit_code(30), 0, agent.log_text())
            equal(len(agent.log_lines(event="stopping")), 1, "lines that say stopping")


@case
def all_errors_of_a_configuration_are_said_at_once_and_nothing_starts():
    with Postgres() as pg:
        shop.prepare(pg)
        text = shop.config(pg, source=", slot_nane: x, status_interval: 90s",
                           sinks="sinks:\n  k: {type: kafka}\n")
        agent = Agent(text, policies={"shop.yaml": shop.POLICY.replace("after.n", "after.")})
        done = agent.run("run", "-c", agent.config, check=False)
        equal(done.returncode, 78, "exit code")
        for words in ("unknown option 'slot_nane'; did you mean 'slot_name'?", "'status_interval'",
                      "'brokers' is missing", "shop.yaml:", "nothing was started"):
            true(words in done.stderr, f"'{words}' is not in:\n{done.stderr}")
        true("dgf-secret" not in done.stderr, "the password is shown")
        true(not os.path.exists(os.path.join(agent.data_dir, "journal")), "a journal was made")
        equal(pg.sql("SELECT count(*) FROM pg_replication_slots"), "0")
        agent.folder.remove()


@case
def the_effective_configuration_hides_secrets():
    with Postgres() as pg:
        agent = shop.watch(pg)
        text = agent.run("config", "show", "-c", agent.config).stdout
        true("dgf-secret" not in text, text)
        true(f'url: "postgresql://dgf:***@127.0.0.1:{pg.port}/postgres?sslmode=verify-full'
             in text, text)
        agent.folder.remove()


@case
def check_names_what_the_server_lacks_and_how_to_mend_it():
    with Postgres("max_replication_slots = 4\nmax_slot_wal_keep_size = 1GB") as pg:
        pg.role(rights="LOGIN")
        pg.sql("CREATE SCHEMA shop; CREATE TABLE shop.rows (id int, n int, note text)")
        agent = shop.watch(pg)
        done = agent.run("check", "-c", agent.config, check=False)
        equal(done.returncode, 1, "exit code")
        for words in ("REPLICATION", "CREATE PUBLICATION"):
            true(words in done.stdout + done.stderr, f"'{words}' is not in:\n{done.stdout}"
                                                     f"{done.stderr}")
        equal(pg.sql("SELECT count(*) FROM pg_publication"), "0", "publications made by check")
        pg.sql("ALTER ROLE dgf REPLICATION; CREATE PUBLICATION dgf FOR TABLE shop.rows;"
               "ALTER TABLE shop.rows ADD PRIMARY KEY (id); GRANT USAGE ON SCHEMA shop TO dgf")
        equal(agent.run("check", "-c", agent.config, check=False).returncode, 0, "exit code")
        agent.folder.remove()


CANARIES = ["4111111111111111", "kanarienvogel@example.org", "GB82WEST12345698765432",
            "zwitscher-geheim-731"]


def encodings(text):
    """The value as it is, in hex, and in the middle of base64 at each of three offsets."""
    raw = text.encode()
    return {raw, raw.hex().encode(), raw.hex().upper().encode(),
            *(base64.b64encode(b"x" * k + raw)[4:-4] for k in range(3))}


@case
def personal_values_and_secrets_appear_nowhere():
    with running(Postgres(), Kafka()) as (pg, kafka):
        pg.role(password=CANARIES[3])
        pg.sql(shop.SCHEMA)
        kafka.create_dgf_topics("dgf.test")
        with shop.watch(pg, shop.kafka_sink(kafka.bootstrap), password=CANARIES[3],
                        more="log: {level: debug}\n") as agent:
            agent.wait_source("shop", "streaming")
            for i, canary in enumerate(CANARIES[:3]):
                pg.sql(f"INSERT INTO shop.rows VALUES ({i}, -1, 'see {canary} there')")
                pg.sql(f"UPDATE shop.rows SET note = '{canary}' WHERE id = {i}")
            pg.sql(f"SELECT pg_logical_emit_message(true, 'dgf.actor', '{{\"name\":\"ada\"}}')")
            shop.wait_judged(agent, pg)
            shop.wait_delivered(agent)
            true(len(agent.records("violation")) >= 6, "no violations: nothing was tested")
            places = {"log": agent.log_text().encode(),
                      "status": json.dumps(agent.status()).encode(),
                      "dgf status": agent.run("status", "-c", agent.config).stdout.encode(),
                      "dgf tail": agent.run("tail", "-c", agent.config, "--from", "start",
                                            "--no-follow").stdout.encode(),
                      "command line": open(f"/proc/{agent.child.pid}/cmdline", "rb").read()}
            for topic in ("violations", "audit", "control"):
                for message in kafka.read(f"dgf.test.{topic}.v1"):
                    places[f"topic {topic} {message.offset}"] = repr(message).encode()
            agent.stop()
            for root, _, names in os.walk(agent.data_dir):
                for name in names:
                    with open(os.path.join(root, name), "rb") as file:
                        places[os.path.join(root, name)] = file.read()
            for place, content in places.items():
                for canary in CANARIES:
                    for form in encodings(canary):
                        true(form not in content, f"'{canary}' stands in {place}")


if __name__ == "__main__":
    main()
