"""Who we talk to: certificates, host names, passwords."""

import shop
from cases import case, equal, main, true
from servers import Postgres


def refused(pg, **more):
    """The reason a source stays down for, and what the server saw of us."""
    agent = shop.watch(pg, **more)
    with agent:
        status = agent.wait(lambda s: s["sources"]["shop"]["state"] == "retrying" and
                            s["sources"]["shop"]["reason"], 30)
        reason = status["sources"]["shop"]["reason"]
        true("dgf-secret" not in agent.log_text() and "wrong-secret" not in agent.log_text(),
             "a password stands in the log")
    return reason


@case
def a_server_without_tls_is_named_and_how_a_test_does_without():
    with Postgres("ssl = off") as pg:
        agent = shop.watch(pg)
        done = agent.run("check", "-c", agent.config, check=False)
        equal(done.returncode, 1, done.stdout + done.stderr)
        true("server does not support SSL, but SSL was required; turn on 'ssl' of the server; a "
             "test server without it needs sslmode=disable in 'url' and insecure: true"
             in done.stdout, done.stdout)
        true("dgf-secret" not in done.stdout, "the password is shown")
        agent.folder.remove()


@case
def a_certificate_for_another_host_is_refused():
    with Postgres(san="DNS:db.example.org,IP:127.0.0.1") as pg:
        shop.prepare(pg)
        reason = refused(pg, host="localhost")
        true('does not match host name "localhost"' in reason, reason)
        equal(pg.sql("SELECT count(*) FROM pg_replication_slots"), "0")
        with shop.watch(pg) as agent:       # its address stands in the certificate
            agent.wait_source("shop", "streaming")


@case
def scram_over_tls_is_the_way_in():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg) as agent:
            agent.wait_source("shop", "streaming")
            equal(pg.sql("SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                         "WHERE usename = 'dgf'"), "t")
            equal(pg.sql("SELECT rolpassword LIKE 'SCRAM-SHA-256%' FROM pg_authid "
                         "WHERE rolname = 'dgf'"), "t")
            shop.insert(pg, 1, 3)
            shop.wait_judged(agent, pg)
            equal(shop.judged(shop.parse(agent)), [1, 2, 3])


@case
def a_wrong_password_backs_off_and_a_mended_one_goes_on():
    with Postgres("log_connections = on") as pg:
        shop.prepare(pg)
        agent = shop.watch(pg, password="wrong-secret")
        with agent:
            status = agent.wait(lambda s: s["sources"]["shop"]["state"] == "retrying" and
                                s["sources"]["shop"]["reason"], 30)
            reason = status["sources"]["shop"]["reason"]
            true("password authentication failed" in reason, reason)
            equal(status["health"], "degraded")
            pg.sql("ALTER ROLE dgf PASSWORD 'wrong-secret'")
            agent.wait_source("shop", "streaming", 60)
            with open(pg.log, encoding="utf-8", errors="replace") as file:
                tries = file.read().count("password authentication failed")
            true(tries <= 20, f"{tries} attempts: a lockout storm")


@case
def an_unknown_authority_is_refused():
    with Postgres() as pg, Postgres() as stranger:
        shop.prepare(pg)
        pg.ca = stranger.ca
        reason = refused(pg)
        true("certificate verify failed" in reason, reason)


if __name__ == "__main__":
    main(parallel=True)
