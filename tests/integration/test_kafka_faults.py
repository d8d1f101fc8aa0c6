"""What Kafka does to us: absent, refusing, forgetting; the ledger keeps everything."""

import time

import shop
from cases import case, equal, main, note, true
from servers import Kafka, MockKafka, Postgres, distinct, running, wait_until

# Error codes of the Kafka protocol.
OUT_OF_ORDER_SEQUENCE = 45
UNKNOWN_PRODUCER_ID = 59
PRODUCE = 0


def shop_on(pg, bootstrap, options="", policy=shop.POLICY):
    return shop.watch(pg, shop.kafka_sink(bootstrap, options), policy=policy)


def reason_of(agent, text, seconds=60):
    """Waits until the sink says why it does not deliver."""
    status = agent.wait(lambda s: text in s["sinks"]["events"]["reason"], seconds,
                        f"the sink's reason to hold '{text}'")
    equal(status["health"], "degraded", "health")
    return status["sinks"]["events"]


@case
def kafka_down_for_a_minute_under_load_loses_nothing():
    with running(Postgres(), Kafka()) as (pg, kafka):
        shop.prepare(pg)
        kafka.create_dgf_topics("dgf.test")
        with shop_on(pg, kafka.bootstrap) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 1000, per_tx=10)
            shop.wait_delivered(agent)
            kafka.kill9()
            began, at, rss = time.monotonic(), 1001, 0
            while time.monotonic() - began < 60:
                shop.insert(pg, at, 500, per_tx=10)
                at += 500
                rss = max(rss, agent.memory()[0])
                time.sleep(0.1)
            reason_of(agent, "")
            causes = [line["cause"] for line in agent.log_lines(event="sink in trouble")]
            true(causes and "kafka at '" in causes[0], causes)
            true(len(causes) <= 2, f"too much in the log of a minute: {causes}")
            true(rss <= 128 << 20, f"{rss >> 20} MiB resident while the broker was down")
            shop.wait_judged(agent, pg)         # the source was never held back
            kafka.start()
            back = time.monotonic()
            shop.wait_delivered(agent, seconds=120)
            note(f"{at - 1} rows, {rss >> 20} MiB resident, all delivered "
                 f"{time.monotonic() - back:.1f} s after the broker was back")
            lines = agent.lines()
            equal(shop.same_rows(pg, shop.parse(agent)), at - 1)
            shop.same_in_kafka(kafka, lines)
            agent.verify()


@case
def a_producer_that_dies_of_a_fatal_error_is_born_again():
    topics = [f"dgf.test.{name}.v1:3" for name in ("violations", "audit", "control")]
    with running(Postgres(), MockKafka(*topics)) as (pg, mock):
        shop.prepare(pg)
        with shop_on(pg, mock.bootstrap) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 100, per_tx=10)
            shop.wait_delivered(agent)
            equal(agent.log_lines(event="sink in trouble"), [], "a healthy start")
            mock.tell(f"error {PRODUCE} 1 {OUT_OF_ORDER_SEQUENCE}")
            shop.insert(pg, 101, 100, per_tx=10)
            wait_until(lambda: "fatal" in agent.log_text(), 30, "the fatal error in the log")
            shop.insert(pg, 201, 100, per_tx=10)
            shop.wait_delivered(agent)
            ids = [m.json()["event"]["key"]["id"]
                   for m in distinct(mock.read("dgf.test.audit.v1"))
                   if m.headers["ce_type"] == "dgf.audit.v1"]
            equal(sorted(ids), list(range(1, 301)))
            agent.wait(lambda s: s["health"] == "ok")


@case
def a_missing_topic_is_named_and_delivery_resumes_by_itself():
    with running(Postgres(), Kafka()) as (pg, kafka):
        shop.prepare(pg)
        with shop_on(pg, kafka.bootstrap) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 10)
            reason_of(agent, "dgf.test.")
            shop.wait_judged(agent, pg)
            equal(agent.log_lines(event="sink delivering"), [])
            causes = [line["cause"] for line in agent.log_lines(event="sink in trouble")]
            true(any("' does not exist; make it: kafka-topics.sh" in c and
                     c.endswith("--replication-factor 1") for c in causes), causes)
            kafka.create_dgf_topics("dgf.test")
            shop.wait_delivered(agent)
            shop.same_in_kafka(kafka, agent.lines())
            equal(len(agent.log_lines(event="sink delivering")), 1, "said once")


@case
def a_record_the_broker_refuses_stops_the_sink_and_nothing_else():
    with running(Postgres(), Kafka()) as (pg, kafka):
        shop.prepare(pg)
        kafka.create_topic("dgf.test.violations.v1", 1)
        kafka.create_topic("dgf.test.control.v1", 1)
        kafka.create_topic("dgf.test.audit.v1", 1, max_message_bytes=300)
        with shop_on(pg, kafka.bootstrap) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 10)
            sink = reason_of(agent, "too large")    # after batches of one record were tried
            true("dgf.test.audit.v1" in sink["reason"], sink["reason"])
            shop.insert(pg, 11, 10)
            shop.wait_judged(agent, pg)
            equal(shop.same_rows(pg, shop.parse(agent)), 20)
            kafka.admin("alter", "dgf.test.audit.v1", "max.message.bytes=1048588")
            if sink["state"] == "stopped":
                agent.restart()
            shop.wait_delivered(agent, seconds=90)
            shop.same_in_kafka(kafka, agent.lines())


@case
def a_broker_that_is_absent_at_the_start_is_waited_for():
    with running(Postgres(), Kafka()) as (pg, kafka):
        shop.prepare(pg)
        kafka.create_dgf_topics("dgf.test")
        kafka.stop()
        with shop_on(pg, kafka.bootstrap) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 10)
            shop.wait_judged(agent, pg)
            kafka.start()
            shop.wait_delivered(agent)
            shop.same_in_kafka(kafka, agent.lines())


@case
def scram_and_plain_over_tls_reach_an_older_kafka_and_new_ones_are_explained():
    for version in ("3.9.1", "4.1.1"):
        with running(Postgres(), Kafka(version, secure=True)) as (pg, kafka):
            shop.prepare(pg)
            kafka.create_dgf_topics("dgf.test")

            def options(mechanism, user, password, ca=kafka.ca):
                return (f', tls: {{ca: "{ca}"}}, sasl: {{mechanism: {mechanism}, user: {user}, '
                        f'password: {password}}}')
            scram = options("SCRAM-SHA-512", "alice", "alice-secret")
            with shop_on(pg, kafka.sasl_bootstrap, scram) as agent:
                agent.wait_source("shop", "streaming")
                shop.insert(pg, 1, 10)
                if version.startswith("3."):
                    shop.wait_delivered(agent)
                else:       # librdkafka 2.0.2 cannot; a newer one may
                    status = agent.wait(lambda s: s["sinks"]["events"]["reason"] or
                                        s["sinks"]["events"]["next"] >= s["ledger"]["size"], 60)
                    reason = status["sinks"]["events"]["reason"]
                    true(not reason or ("librdkafka" in reason and "SCRAM" in reason), reason)
            plain = options("PLAIN", "bob", "bob-secret")
            with shop_on(pg, kafka.sasl_bootstrap, plain) as agent:
                shop.wait_delivered(agent)
            wrong = options("PLAIN", "bob", "not-the-secret")
            with shop_on(pg, kafka.sasl_bootstrap, wrong) as agent:
                sink = reason_of(agent, "uthentication")
                agent.wait(lambda status: len(agent.log_lines(event="sink failed")) > 2)
                equal(agent.log_lines(event="sink delivering"), [], "hopes in the log")
                true("not-the-secret" not in sink["reason"] + agent.log_text(), "a secret leaks")


@case
def a_broker_whose_certificate_names_another_host_is_refused():
    with running(Postgres(), Kafka("3.9.1", secure=True, san="DNS:broker.example.org")) as \
            (pg, kafka):
        shop.prepare(pg)
        kafka.create_dgf_topics("dgf.test")
        with shop_on(pg, kafka.ssl_bootstrap, f', tls: {{ca: "{kafka.ca}"}}') as agent:
            agent.wait_source("shop", "streaming")
            sink = reason_of(agent, "ertificate")
            equal(sink["next"], 0, "records delivered to a stranger")


if __name__ == "__main__":
    main()
