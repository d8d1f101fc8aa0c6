"""Options whose effect only a running agent shows."""

import shop
from cases import case, equal, main, true
from servers import Kafka, MockKafka, Postgres, running, wait_until

TOPICS = [f"dgf.test.{name}.v1:1" for name in ("violations", "audit", "control")]


@case
def ack_sinks_acknowledges_nothing_that_a_required_sink_lacks():
    with Postgres() as pg, MockKafka(*TOPICS) as kafka:
        shop.prepare(pg)
        with shop.watch(pg, shop.kafka_sink(kafka.bootstrap, ", required: true"),
                        agent=", ack: sinks") as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 10)
            shop.wait_judged(agent, pg)
            kafka.tell("down 1")
            before = pg.slot(shop.SLOT)["confirmed_flush_lsn"]
            shop.insert(pg, 11, 10)
            end = pg.lsn()
            wait_until(lambda: len(shop.judged(shop.parse(agent))) == 20, 30,
                       "20 rows in the ledger", every=0.2)
            slot = pg.slot(shop.SLOT)["confirmed_flush_lsn"]
            true(shop.lsn_of(slot) < shop.lsn_of(end),
                 f"acknowledged {slot} of {end} while Kafka has nothing (before: {before})")
            kafka.tell("up 1")
            shop.wait_judged(agent, pg)
            shop.wait_delivered(agent)
            equal(shop.same_rows(pg, shop.parse(agent)), 20)
            shop.same_in_kafka(kafka, agent.lines())


@case
def run_until_a_position_reads_no_transaction_behind_it():
    with Postgres() as pg:
        shop.prepare(pg)
        agent = shop.watch(pg)
        run = lambda *until, **more: agent.run("run", "-c", agent.config, *until, **more)
        run("--until-caught-up")                                # makes the slot
        shop.insert(pg, 1, 10)
        here = "1/" + pg.sql("SELECT pg_current_wal_insert_lsn()") + ".0"
        shop.insert(pg, 11, 10)
        pg.sql("SELECT pg_switch_wal()")
        shop.insert(pg, 21, 10)
        run("--until", here)
        equal(shop.judged(shop.parse(agent)), list(range(1, 11)), "rows up to the position")
        run("--until", f"shop={here}")                          # is behind us already
        equal(shop.judged(shop.parse(agent)), list(range(1, 11)), "rows after a second run")
        run("--until-caught-up")
        equal(shop.judged(shop.parse(agent)), list(range(1, 31)), "rows in the end")
        equal([r for r in shop.parse(agent) if r["kind"] == "gap"], [])
        agent.verify()
        for until, code, words in (("soon", 78, "no position"), ("1/0/16.3", 78, "inside a tr"),
                                   ("other=1/0/16.0", 64, "no source 'other'")):
            done = run("--until", until, check=False)
            equal((done.returncode, words in done.stderr), (code, True), done.stderr)
        agent.folder.remove()


@case
def labels_of_a_source_are_seen_by_policies():
    policy = shop.POLICY.replace("after.n < 0", 'event.labels.service == "orders" && after.n < 0')
    for service, wanted in (("orders", 1), ("other", 0)):
        with Postgres() as pg:
            shop.prepare(pg)
            with shop.watch(pg, policy=policy,
                            source=f", labels: {{service: {service}, env: prod}}") as agent:
                agent.wait_source("shop", "streaming")
                pg.sql("INSERT INTO shop.rows VALUES (1, -1)")
                shop.wait_judged(agent, pg)
                equal(len(agent.records("violation")), wanted, f"violations with {service}")
                equal(shop.judged(shop.parse(agent)), [1])


@case
def an_event_beyond_limits_event_bytes_is_one_undecodable_record():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more="limits: {event_bytes: 64KiB}\n") as agent:
            agent.wait_source("shop", "streaming")
            pg.sql("INSERT INTO shop.rows VALUES (1, -1, 'small')")
            pg.sql("INSERT INTO shop.rows VALUES (2, -1, repeat('x', 100000))")
            pg.sql("INSERT INTO shop.rows VALUES (3, -1, 'small')")
            shop.wait_judged(agent, pg)
            records = shop.parse(agent)
            equal(len([r for r in records if r["kind"] == "undecodable"]), 1, "undecodable")
            equal([r["event"]["key"]["id"] for r in records if r["kind"] == "violation"], [1, 3])
            agent.verify()


@case
def another_publication_and_connect_timeout_are_taken():
    with Postgres() as pg:
        shop.prepare(pg)
        pg.sql("CREATE TABLE shop.other (id int PRIMARY KEY, n int);"
               "CREATE PUBLICATION mine FOR TABLE shop.other")
        policy = shop.POLICY.replace("shop.rows", "shop.other").replace("evidence: [note]", "")
        with shop.watch(pg, policy=policy,
                        source=", publication: mine, connect_timeout: 5s") as agent:
            agent.wait_source("shop", "streaming")
            pg.sql("INSERT INTO shop.rows VALUES (1, -1); INSERT INTO shop.other VALUES (2, -2)")
            shop.wait_judged(agent, pg)
            equal([r["event"]["key"]["id"] for r in agent.wait_records(1, "violation")], [2])


@case
def a_client_certificate_and_another_compression_reach_kafka():
    strict = Kafka(secure=True, extra="listener.name.ssl.ssl.client.auth=required")
    with running(Postgres(), strict) as (pg, kafka):
        shop.prepare(pg)
        kafka.create_dgf_topics("dgf.test", 1)
        crt, key, _ = kafka.certs.issue("client")
        lacking = f", tls: {{ca: {kafka.ca}}}, compression: gzip"
        whole = f", tls: {{ca: {kafka.ca}, cert: {crt}, key: {key}}}, compression: gzip"
        with shop.watch(pg, shop.kafka_sink(kafka.ssl_bootstrap, lacking)) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 50)
            shop.wait_judged(agent, pg)
            agent.wait(lambda s: s["sinks"]["events"]["state"] != "ok" and
                       s["sinks"]["events"]["next"] == 0, 30, "a sink without a certificate")
            agent.stop()
            agent.write_config(shop.config(pg, shop.kafka_sink(kafka.ssl_bootstrap, whole)))
            agent.start()
            shop.wait_delivered(agent)
            shop.same_in_kafka(kafka, agent.lines())
        with open(kafka.folder / "data/dgf.test.audit.v1-0/00000000000000000000.log", "rb") as file:
            equal(file.read(23)[22] & 7, 1, "compression of the first batch: 1 is gzip")


@case
def naming_and_classification_are_taken_and_shown():
    with Postgres() as pg:
        shop.prepare(pg)
        more = ('naming: {modules: [shop, pay]}\n'
                'classification: [{match: "**.note", class: restricted}]\n')
        with shop.watch(pg, more=more) as agent:
            agent.wait_source("shop", "streaming")
            pg.sql("INSERT INTO shop.rows VALUES (1, -1, 'for your eyes only')")
            shop.wait_judged(agent, pg)
            evidence = agent.wait_records(1, "violation")[0]["evidence"]
            true("shown" not in evidence[0] and "masked" not in evidence[0] and
                 evidence[0]["token"].startswith("h1:"), f"restricted, but: {evidence}")


if __name__ == "__main__":
    main()
