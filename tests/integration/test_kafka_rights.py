"""A broker that lets nobody do anything without a right: which ones we need, and no more."""

import shop
from cases import case, equal, main, true
from servers import Kafka, Postgres, running

CLOSED = """authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=false
"""
BOB = "User:bob"


def closed_kafka():
    """Whoever comes without a name may do everything: that is the test itself."""
    return Kafka(secure=True, extra=CLOSED)


def sink(kafka, bootstrap, options):
    return shop.kafka_sink(bootstrap, f', tls: {{ca: "{kafka.ca}"{options}')


def as_bob(kafka):
    return sink(kafka, kafka.sasl_bootstrap,
                "}, sasl: {mechanism: PLAIN, user: bob, password: bob-secret}")


def reason_of(agent, text):
    status = agent.wait(lambda s: text in s["sinks"]["events"]["reason"], 60, text)
    equal((status["health"], status["sinks"]["events"]["next"]), ("degraded", 0))


@case
def write_and_describe_on_the_topics_are_all_the_rights_it_takes():
    with running(Postgres(), closed_kafka()) as (pg, kafka):
        shop.prepare(pg)
        kafka.create_dgf_topics("dgf.test")
        for operation in ("WRITE", "DESCRIBE"):
            kafka.admin("allow", "dgf.test.", BOB, operation)
        with shop.watch(pg, as_bob(kafka)) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 50)
            shop.wait_delivered(agent)
            equal(shop.same_in_kafka(kafka, agent.lines()), 0, "repeats")
            said = agent.run("check", "-c", agent.config, check=False).stdout
            true("the settings of topic 'dgf.test.audit.v1' are not visible to us" in said, said)
            kafka.admin("allow", "dgf.test.", BOB, "DESCRIBE_CONFIGS")
            said = agent.run("check", "-c", agent.config, check=False).stdout
            true("topic 'dgf.test.audit.v1' has 3 partitions" in said and
                 "not visible" not in said, said)


@case
def a_right_that_is_missing_is_named_and_delivery_begins_once_it_is_given():
    with running(Postgres(), closed_kafka()) as (pg, kafka):
        shop.prepare(pg)
        kafka.create_dgf_topics("dgf.test")
        kafka.admin("allow", "dgf.test.", BOB, "DESCRIBE")
        with shop.watch(pg, as_bob(kafka)) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 10)
            reason_of(agent, "Cluster authorization failed; the user needs the Write and "
                             "Describe operations on the topics")
            kafka.admin("allow", "dgf.test.violations", BOB, "WRITE")
            reason_of(agent, "cannot write to topic 'dgf.test.control.v1': Broker: Topic "
                             "authorization failed; the user needs the Write and Describe")
            kafka.admin("allow", "dgf.test.", BOB, "WRITE")
            shop.wait_delivered(agent)
            shop.same_in_kafka(kafka, agent.lines())


@case
def a_client_certificate_is_a_way_in():
    with running(Postgres(), closed_kafka()) as (pg, kafka):
        shop.prepare(pg)
        kafka.create_dgf_topics("dgf.test")
        cert, key, _ = kafka.certs.issue("dgf-agent")
        for operation in ("WRITE", "DESCRIBE"):
            kafka.admin("allow", "dgf.test.", "User:CN=dgf-agent", operation)
        with shop.watch(pg, sink(kafka, kafka.ssl_bootstrap,
                                 f', cert: "{cert}", key: "{key}"}}')) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 10)
            shop.wait_delivered(agent)
            shop.same_in_kafka(kafka, agent.lines())


if __name__ == "__main__":
    main()
