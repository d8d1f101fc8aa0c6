"""The Kafka sink alone, against real brokers: what a topic holds is what was offered.

tests/support/kafka_sink_driver.c offers records 0 .. N-1, the same in every run."""

import os
import signal
import subprocess
import tempfile
import time

from cases import case, equal, main, note, true
from servers import BUILD, Kafka, MockKafka, distinct, need, running, wait_until

TOPICS = [f"dgf.test.{name}.v1" for name in ("violations", "audit", "control")]
PRODUCE = 0
OUT_OF_ORDER_SEQUENCE = 45
MECHANISMS = {"PLAIN": 0, "SCRAM-SHA-512": 2}


class Driver:
    """One run of the sink; lines holds what it said."""

    def __init__(self, bootstrap, *options, count=1000, seconds=60, plain=True):
        tool = os.path.join(BUILD, "kafka_sink_driver")
        need(os.access(tool, os.X_OK), f"'{tool}' is not built")
        self.log = tempfile.TemporaryFile("w+")  # pylint: disable=consider-using-with
        self.child = subprocess.Popen(
            [tool, "-b", bootstrap, "-p", "dgf.test", "-n", str(count), "-t", str(seconds),
             *(["-i"] if plain else []), *map(str, options)],
            stdout=self.log, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self.log.close()

    def lines(self):
        self.log.flush()
        here = os.fstat(self.log.fileno()).st_size
        return os.pread(self.log.fileno(), here, 0).decode().splitlines()

    def has(self, *parts):
        return next((line for line in self.lines() if all(part in line for part in parts)),
                    None)

    def wait(self, *parts, seconds=30):
        return wait_until(lambda: self.has(*parts), seconds, f"{parts} in {self.lines()[-5:]}")

    def durable(self):
        return max([int(line.split()[1]) for line in self.lines()
                    if line.startswith("durable ")] or [0])

    def end(self, code=0):
        self.child.wait(timeout=150)
        equal(self.child.returncode, code, f"exit code after {self.lines()[-5:]}")
        return self.lines()[-1]

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()


def kind_of(seq):
    if seq % 1000 == 999:
        return "gap"
    if seq % 500 == 499:
        return "resume"
    return "violation" if seq % 50 == 49 else "audit"


def wanted(topic, count):
    kinds = {"dgf.test.violations.v1": ("violation", "gap"),
             "dgf.test.audit.v1": ("audit", "gap"),
             "dgf.test.control.v1": ("resume",)}[topic]
    return [seq for seq in range(count) if kind_of(seq) in kinds]


def look_through(server, count):
    """Every record is there, byte for byte of its index, and no chain has a hole."""
    repeats = 0
    for topic in TOPICS:
        messages = server.read(topic)
        kept = distinct(messages)
        repeats += len(messages) - len(kept)
        equal(sorted(m.json()["seq"] for m in kept), wanted(topic, count), topic)
        previous = {}
        for m in kept:
            seq = m.json()["seq"]
            equal(int(m.headers["ce_sequence"]), seq)
            equal(len(m.headers["ce_sequence"]), 20)
            equal(m.headers["ce_type"], f"dgf.{kind_of(seq)}.v1")
            equal(m.json()["id"], m.id)
            before = m.headers.get("ce_previous")
            equal(before and int(before), previous.get(m.partition),
                  f"ce_previous of {seq} on {topic} [{m.partition}]")
            previous[m.partition] = seq
        first = {m.id: m.headers.get("ce_previous") for m in kept}
        for m in messages:
            equal(m.headers.get("ce_previous"), first[m.id], "ce_previous of a repeat")
        partitions = {}
        for m in kept:
            equal(partitions.setdefault(m.key, m.partition), m.partition, "a key's partition")
    return repeats


def codecs(kafka, topic):
    """Compression of every batch of a topic as it stands on the broker's disk."""
    found = set()
    for partition in range(3):
        path = kafka.folder / f"data/{topic}-{partition}/{0:020}.log"
        with open(path, "rb") as file:
            data = file.read()
        at = 0
        while at + 61 <= len(data):
            size = int.from_bytes(data[at + 8:at + 12], "big")
            if size == 0:
                break
            found.add(int.from_bytes(data[at + 21:at + 23], "big") & 7)
            at += 12 + size
    return found


@case
def records_arrive_once_in_zstd_batches_with_chains_that_have_no_hole():
    with running(Kafka()) as (kafka,):
        kafka.create_dgf_topics("dgf.test")
        with Driver(kafka.bootstrap, count=50000) as driver:
            done = driver.end()
        note(done)
        equal(look_through(kafka, 50000), 0, "repeats")
        equal(codecs(kafka, TOPICS[1]), {4}, "compression on disk (4 is zstd)")


@case
def a_broker_killed_under_load_costs_nothing():
    with running(Kafka()) as (kafka,):
        kafka.create_dgf_topics("dgf.test")
        with Driver(kafka.bootstrap, "-r", 10000, count=200000, seconds=120) as driver:
            wait_until(lambda: driver.durable() > 20000, 30, "records under way")
            kafka.kill9()
            driver.wait("state bad", "cannot reach kafka", "refused", seconds=20)
            time.sleep(8)
            began = time.monotonic()
            kafka.start()
            driver.wait("state ok", seconds=30)
            done = driver.end()
            note(f"{done}; {time.monotonic() - began:.1f} s after the broker's start")
            true(int(done.split()[5]) < 48 << 10, f"anonymous memory: {done}")
        note(f"{look_through(kafka, 200000)} repeats")


@case
def a_sink_killed_at_any_time_goes_on_from_its_cursor():
    with running(Kafka()) as (kafka,), tempfile.TemporaryDirectory() as folder:
        kafka.create_dgf_topics("dgf.test")
        cursor = os.path.join(folder, "cursor")
        for i in range(4):
            with Driver(kafka.bootstrap, "-c", cursor, "-r", 20000, count=60000) as driver:
                wait_until(lambda d=driver, i=i: d.durable() > 8000 * (i + 1), 30, "progress")
                driver.kill()
        with Driver(kafka.bootstrap, "-c", cursor, count=60000) as driver:
            driver.wait("open")
            true(int(driver.has("open").split()[1]) > 0, "the cursor was not used")
            driver.end()
        repeats = look_through(kafka, 60000)
        note(f"{repeats} repeats after 4 kills")
        true(repeats > 0, "no kill hit a record under way")


@case
def a_missing_topic_is_named_and_delivery_begins_once_it_is_there():
    with running(Kafka()) as (kafka,):
        kafka.create_topic(TOPICS[0], 3)
        kafka.create_topic(TOPICS[2], 3)
        with Driver(kafka.bootstrap, count=2000) as driver:
            line = driver.wait("state bad", "does not exist")
            true("kafka-topics.sh" in line and f"--create --topic {TOPICS[1]}" in line, line)
            kafka.create_topic(TOPICS[1], 3)
            driver.end()
            true(driver.lines()[-2].startswith(("state ok", "durable")), driver.lines()[-2])
        equal(look_through(kafka, 2000), 0)


@case
def a_topic_deleted_and_made_again_is_waited_for():
    with running(Kafka()) as (kafka,):
        kafka.create_dgf_topics("dgf.test")
        with Driver(kafka.bootstrap, "-r", 2000, count=30000, seconds=100) as driver:
            wait_until(lambda: driver.durable() > 2000, 30, "records under way")
            kafka.delete_topic(TOPICS[2])
            driver.wait("state bad", TOPICS[2], seconds=90)
            kafka.create_topic(TOPICS[2], 3)
            driver.end()
        for topic in TOPICS[:2]:
            kept = distinct(kafka.read(topic))
            equal(sorted(m.json()["seq"] for m in kept), wanted(topic, 30000), topic)


@case
def a_broker_that_hangs_is_named_and_waited_for():
    with running(Kafka()) as (kafka,):
        kafka.create_dgf_topics("dgf.test")
        with Driver(kafka.bootstrap, "-r", 2000, count=60000, seconds=100) as driver:
            wait_until(lambda: driver.durable() > 2000, 30, "records under way")
            kafka.pause()
            driver.wait("state bad", "acknowledges nothing", seconds=20)
            kafka.resume()
            driver.wait("state ok", seconds=40)
            driver.end()
        look_through(kafka, 60000)


@case
def a_record_the_topic_refuses_stops_the_sink_and_is_named():
    with running(Kafka()) as (kafka,):
        kafka.create_topic(TOPICS[0], 3)
        kafka.create_topic(TOPICS[1], 3, max_message_bytes=20000)
        kafka.create_topic(TOPICS[2], 3)
        with Driver(kafka.bootstrap, "-L", "1234:65000", "-z", 0, count=3000) as driver:
            driver.end(3)
            line = driver.has("fail bad data")
            true(line and "record 1234 is refused by topic 'dgf.test.audit.v1'" in line
                 and "max.message.bytes" in line, line)
            true(driver.has("fail retry", "smaller ones"), "batches were not made smaller")
        seqs = [m.json()["seq"] for topic in TOPICS for m in kafka.read(topic)]
        true(1234 not in seqs, "the record was delivered")
        kafka.admin("alter", TOPICS[1], "max.message.bytes=1048588")
        with Driver(kafka.bootstrap, "-L", "1234:65000", "-z", 0, count=3000) as driver:
            driver.end()


@case
def batches_larger_than_the_topic_takes_are_made_smaller():
    with running(Kafka()) as (kafka,):
        kafka.create_topic(TOPICS[0], 3)
        kafka.create_topic(TOPICS[1], 3, max_message_bytes=20000)
        kafka.create_topic(TOPICS[2], 3)
        with Driver(kafka.bootstrap, "-z", 0, count=20000) as driver:
            driver.end()
            true(driver.has("fail retry", "smaller ones"), "no batch was refused")
            true(not driver.has("fail bad data"), "a record was refused")
        look_through(kafka, 20000)


@case
def a_fatal_error_gives_birth_to_a_new_producer():
    with running(MockKafka(*(f"{topic}:3" for topic in TOPICS))) as (mock,):
        with Driver(mock.bootstrap, "-r", 5000, count=30000) as driver:
            for i in range(3):
                wait_until(lambda i=i: driver.durable() > 4000 * (i + 1), 30, "progress")
                n = len([line for line in driver.lines() if line.startswith("open")])
                mock.tell(f"error {PRODUCE} 1 {OUT_OF_ORDER_SEQUENCE}")
                wait_until(lambda n=n: len([line for line in driver.lines()
                                            if line.startswith("open")]) > n, 30, "a birth")
            true(driver.has("fail retry", "fatal error", "sequence desynchronization"),
                 driver.lines())
            driver.end()
        note(f"{look_through(mock, 30000)} repeats after 3 fatal errors")


@case
def only_the_certified_host_gets_records():
    for san, delivered in (("DNS:broker.example.org", False), ("DNS:localhost", True)):
        with running(Kafka(secure=True, san=san)) as (kafka,):
            kafka.create_dgf_topics("dgf.test")
            with Driver(kafka.ssl_bootstrap, "-a", kafka.ca, count=100, plain=False) as driver:
                if delivered:
                    driver.end()
                    continue
                line = driver.wait("fail retry", "TLS connection")
                true("certificate verify failed" in line, line)
                equal(driver.durable(), 0)


@case
def plain_works_and_scram_does_or_says_why():
    for version in ("3.9.1", "4.1.1"):
        with running(Kafka(version, secure=True)) as (kafka,):
            kafka.create_dgf_topics("dgf.test")

            def driver_of(mechanism, user, password, kafka=kafka):
                return Driver(kafka.sasl_bootstrap, "-a", kafka.ca, "-u", user, "-w",
                              password, "-m", MECHANISMS[mechanism], count=100, plain=False)
            with driver_of("PLAIN", "bob", "bob-secret") as driver:
                driver.end()
            with driver_of("PLAIN", "bob", "wrong-secret") as driver:
                line = driver.wait("fail retry", "refuses the login of 'bob'")
                true("wrong-secret" not in "".join(driver.lines()), "the secret is shown")
                true("2.6.1" not in line, line)
            with driver_of("SCRAM-SHA-512", "alice", "alice-secret") as driver:
                wait_until(lambda d=driver: d.has("done") or d.has("fail"), 30, "an answer")
                line = driver.has("fail")
                note(f"SCRAM with {version}: {line or 'delivered'}")
                if version.startswith("3."):
                    true(not line, line)
                else:       # works with a newer librdkafka
                    true(not line or ("invalid credentials" in line and "librdkafka before "
                                      "2.6.1" in line), line)


@case
def plain_text_and_tls_meet_with_a_hint():
    with running(Kafka(secure=True)) as (kafka,):
        with Driver(kafka.bootstrap, "-a", kafka.ca, count=10, plain=False) as driver:
            driver.wait("fail retry", "needs 'insecure: true'")


@case
def the_check_says_what_topics_lack_and_how_to_mend_it():
    with running(Kafka()) as (kafka,):
        kafka.create_topic(TOPICS[0], 3, max_message_bytes=20000)
        kafka.create_topic(TOPICS[1], 3, cleanup_policy="compact")
        with Driver(kafka.bootstrap, "-C") as driver:
            driver.child.wait(30)
            driver.wait("finding error", f"topic '{TOPICS[2]}' does not exist",
                        "--create --topic", seconds=1)
            driver.wait("finding error", "batches of at most 20000 bytes",
                        "--add-config max.message.bytes=1048588", seconds=1)
            driver.wait("finding warning", "is compacted",
                        "--add-config cleanup.policy=delete", seconds=1)
            driver.wait("finding warning", "has one replica", seconds=1)
            driver.wait("finding note", "3 partitions, 1 replicas, min.insync.replicas 1",
                        "keeps records 7d", seconds=1)
        kafka.stop()
        with Driver(kafka.bootstrap, "-C") as driver:
            driver.child.wait(30)
            driver.wait("fail retry", "cannot reach kafka", "refused", seconds=1)


if __name__ == "__main__":
    main()
