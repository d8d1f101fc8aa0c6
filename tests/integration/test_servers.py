"""The servers the other tests stand on."""

import os
import signal
import socket
import subprocess

from cases import case, equal, main, true
from servers import (Disk, Failed, Kafka, MockKafka, Postgres, children_of, distinct, free_port,
                     is_free, kernel_ports, produce, read_topic)


@case
def a_free_port_is_none_that_a_connection_can_take():
    first, _ = kernel_ports()
    ports = [free_port(beside=10000 * (i % 2)) for i in range(200)]
    equal(len(set(ports)), 200, "different ports")
    if first >= 22000:
        true(all(port + 10000 * (i % 2) < first for i, port in enumerate(ports)),
             f"{max(ports)}: the kernel gives ports from {first} on to others")
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        true(not is_free(taken.getsockname()[1]), "a port somebody listens on is not free")


@case
def postgres_speaks_tls_and_scram_and_comes_back_after_kill_9():
    with Postgres() as pg:
        pg.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
        pg.role()
        url = pg.conninfo("dgf", "dgf-secret")
        done = subprocess.run(["psql", "-X", "-A", "-t", url, "-c",
                               "SELECT ssl, version FROM pg_stat_ssl WHERE pid=pg_backend_pid()"],
                              text=True, capture_output=True, check=True)
        equal(done.stdout.strip(), "t|TLSv1.3")
        wrong = subprocess.run(["psql", "-X", pg.conninfo("dgf", "wrong"), "-c", "SELECT 1"],
                               text=True, capture_output=True, check=False)
        true("password authentication failed" in wrong.stderr, wrong.stderr)
        plain = subprocess.run(["psql", "-X", pg.conninfo("dgf", "dgf-secret", sslmode="disable"),
                                "-c", "SELECT 1"], text=True, capture_output=True, check=False)
        true("rejects connection" in plain.stderr, plain.stderr)
        equal(pg.sql("SHOW wal_level"), "logical")
        before = children_of(pg.child.pid)
        pg.kill9()
        true(before, "no child processes were seen")
        pg.start()
        equal(pg.rows("SELECT id FROM t"), [["1"]])
        pg.stop(signal.SIGQUIT)
        pg.start()
        equal(pg.sql("SELECT count(*) FROM t"), "1")


@case
def kafka_keeps_what_was_produced_through_kill_9():
    with Kafka() as kafka:
        kafka.create_topic("t", 2, max_message_bytes=2000)
        kafka.produce("t", "one", "two")
        kafka.kill9()
        kafka.start()
        equal(sorted(m.value for m in kafka.read("t")), ["one", "two"])
        try:
            kafka.create_topic("t")
        except Failed as error:
            true("already exists" in str(error), str(error))
        else:
            raise AssertionError("the topic was created twice")
        kafka.delete_topic("t")


def read_secure(kafka, **options):
    args = [x for name, value in options.items()
            for x in ("-X", f"{name.replace('_', '.')}={value}")]
    port = kafka.sasl_bootstrap if "sasl_mechanism" in options else kafka.ssl_bootstrap
    return subprocess.run(["kcat", "-b", port, "-L", "-m", "5", *args], text=True,
                          capture_output=True, check=False)


@case
def an_older_kafka_takes_tls_plain_and_scram():
    with Kafka("3.9.1", secure=True) as kafka:
        kafka.create_topic("t", 1)
        ok = read_secure(kafka, security_protocol="ssl", ssl_ca_location=kafka.ca)
        true('topic "t"' in ok.stdout, ok.stderr)
        for mechanism, user in (("PLAIN", "bob"), ("SCRAM-SHA-512", "alice")):
            ok = read_secure(kafka, security_protocol="sasl_ssl", ssl_ca_location=kafka.ca,
                             sasl_mechanism=mechanism, sasl_username=user,
                             sasl_password=f"{user}-secret")
            true('topic "t"' in ok.stdout, f"{mechanism}: {ok.stderr}")
        wrong = read_secure(kafka, security_protocol="sasl_ssl", ssl_ca_location=kafka.ca,
                            sasl_mechanism="PLAIN", sasl_username="bob", sasl_password="no")
        true(wrong.returncode != 0, "a wrong password was accepted")


@case
def the_mock_cluster_refuses_when_told():
    with MockKafka("t:1", brokers=1) as mock:
        produce(mock.bootstrap, "t", "one")
        mock.tell("error 0 1 10")      # Produce answers MSG_SIZE_TOO_LARGE once
        done = subprocess.run(["kcat", "-b", mock.bootstrap, "-t", "t", "-P"], input="two\n",
                              text=True, capture_output=True, check=False)
        true("Message size too large" in done.stderr, done.stderr)
        produce(mock.bootstrap, "t", "three")
        equal([m.value for m in read_topic(mock.bootstrap, "t")], ["one", "three"])


@case
def a_reader_sees_keys_headers_and_drops_repeats():
    with MockKafka("t:1") as mock:
        for value in ("a", "b"):
            subprocess.run(["kcat", "-b", mock.bootstrap, "-t", "t", "-P", "-k", "key",
                            "-H", "ce_id=1", "-H", "ce_time=x=y,z"], input=value + "\n",
                           text=True, check=True)
        messages = mock.read("t")
        equal([m.key for m in messages], ["key", "key"])
        equal(messages[0].headers, {"ce_id": "1", "ce_time": "x=y,z"})
        equal([m.value for m in distinct(messages)], ["a"])


@case
def a_small_disk_is_full_and_has_room_again():
    with Disk("4m") as disk:
        disk.fill()
        try:
            with open(os.path.join(disk.path, "x"), "wb") as file:
                file.write(b"x" * 65536)
        except OSError as error:
            equal(error.errno, 28)
        else:
            raise AssertionError("a full disk took a file")
        disk.empty()
        true(disk.free() > 3 << 20, "no room after emptying")


if __name__ == "__main__":
    main()
