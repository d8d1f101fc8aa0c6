"""Who we talk to, what we may do: TLS, ACL users, wrong keys, servers that are away."""

import os
import signal

import orders
from cases import case, equal, main, true
from redis import Client, Redis
from servers import wait_until

USERS = "user dgf on >dgf-secret ~orders -@all +@connection +info +scan +xinfo +xrange +xread"
GROUP_RIGHTS = " +xreadgroup +xack +xpending +xautoclaim +xgroup"


def refused(redis, **more):
    """The reason the source gives for not reading."""
    with orders.watch(redis, **more) as agent:
        status = agent.wait(lambda s: s["sources"]["orders"]["state"] == "retrying" and
                            s["sources"]["orders"]["reason"], 30)
        true("secret" not in agent.log_text(), "a password stands in the log")
        equal(status["health"], "degraded")
        return status["sources"]["orders"]["reason"]


@case
def an_acl_user_over_tls_reads_in_both_modes():
    with Redis(users=USERS + GROUP_RIGHTS, tls=True) as redis:
        added = redis.add("orders", range(1, 2001))
        for mode in ("", ", mode: group"):
            more = f', tls: {{ca: "{redis.certs.ca}"}}{mode}'
            with orders.watch(redis, url=redis.url("dgf", "dgf-secret", tls=True),
                              source=more) as agent:
                orders.wait_judged(agent, 2000)
                orders.same_entries(added, agent.records())
                true("dgf-secret" not in agent.log_text(), "a password stands in the log")


@case
def a_client_certificate_is_shown_when_asked_for():
    with Redis(tls=True, client_certificates="yes") as redis:
        added = redis.add("orders", range(1, 4))
        crt, key, _ = redis.certs.issue("client")
        tls = f', tls: {{ca: "{redis.certs.ca}", cert: "{crt}", key: "{key}"}}'
        with orders.watch(redis, url=redis.url(tls=True), source=tls) as agent:
            orders.wait_judged(agent, 3)
            orders.same_entries(added, agent.records())


@case
def a_redis_certificate_for_another_host_is_refused():
    with Redis(tls=True, san="DNS:redis.example.org") as redis:
        tls = f', tls: {{ca: "{redis.certs.ca}"}}'
        reason = refused(redis, url=redis.url(tls=True), source=tls)
        equal(reason, f"cannot connect to 'localhost:{redis.tls_port}': "
                      "the server's certificate is not for 'localhost'")
        reason = refused(redis, url=redis.url(tls=True, host="127.0.0.1"), source=tls)
        true("the server's certificate is not for '127.0.0.1'" in reason, reason)


@case
def an_unknown_authority_is_refused():
    with Redis(tls=True) as redis:
        reason = refused(redis, url=redis.url(tls=True))
        true("the server's certificate is refused: " in reason, reason)


@case
def a_wrong_redis_password_backs_off_and_a_mended_one_goes_on():
    with Redis(users=USERS) as redis:
        added = redis.add("orders", range(1, 4))
        with orders.watch(redis, url=redis.url("dgf", "wrong-secret")) as agent:
            status = agent.wait(lambda s: s["sources"]["orders"]["state"] == "retrying", 30)
            reason = status["sources"]["orders"]["reason"]
            true(reason.startswith("cannot log in as 'dgf': WRONGPASS"), reason)
            redis.do("ACL", "SETUSER", "dgf", ">wrong-secret")
            orders.wait_judged(agent, 3, 60)
            orders.same_entries(added, agent.records())
            log = redis.do("ACL", "LOG")
            tries = sum(dict(zip(row[::2], row[1::2]))["count"] for row in log)
            true(tries <= 3, f"{tries} attempts with a wrong password")


@case
def a_missing_right_is_named_and_check_has_the_line_that_mends_it():
    with Redis(users=USERS.replace(" +xrange", "").replace(" ~orders", " ~other")) as redis:
        redis.add("orders", range(1, 4))
        url = redis.url("dgf", "dgf-secret")
        reason = refused(redis, url=url)
        true("NOPERM" in reason and "orders" in reason, reason)
        agent = orders.watch(redis, url=url, source=", mode: group")
        done = agent.run("check", "-c", agent.config, check=False)
        equal(done.returncode, 1)
        true("E0633" in done.stdout and "user 'dgf' may not run XINFO on 'orders'"
             in done.stdout, done.stdout)
        script = agent.run("check", "-c", agent.config, "--fix-script", check=False).stdout
        for line in script.splitlines():
            if line.startswith(("ACL", "CONFIG")):
                redis.do(*line.split())
        done = agent.run("check", "-c", agent.config, check=False)
        equal(done.returncode, 0, done.stdout + done.stderr)
        with agent:
            orders.wait_judged(agent, 3)


@case
def check_names_what_is_wrong_with_the_streams():
    with Redis() as redis:
        redis.do("SET", "orders", "no stream")
        redis.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        agent = orders.watch(redis, streams="[orders, missing, \"none:*\"]")
        out = agent.run("check", "-c", agent.config, check=False).stdout
        for text in ("E0634", "key 'orders' is no stream: it holds another type of value",
                     "W0632", "there is no stream 'missing'",
                     "the server keeps no append-only file", "maxmemory-policy is allkeys-lru"):
            true(text in out, f"'{text}' is not in {out}")
        redis.stop()
        done = agent.run("check", "-c", agent.config, check=False)
        true("E0632" in done.stdout and "Connection refused" in done.stdout, done.stdout)


@case
def a_key_of_another_type_is_said_and_waited_for():
    with Redis() as redis:
        redis.do("SET", "orders", "no stream")
        with orders.watch(redis, streams="[orders, others]", source=", check: 200ms") as agent:
            orders.wait_streaming(agent, "key 'orders' is no stream")
            equal(agent.wait(lambda s: s["health"] != "ok")["health"], "degraded")
            cause = "key 'orders' is no stream: it holds another type of value, and nothing of it " \
                    "is judged"
            equal(len(agent.log_lines(event="source impaired", cause=cause)), 1, "told once")
            added = redis.add("others", range(1, 4))
            orders.wait_judged(agent, 3)
            redis.do("DEL", "orders")
            added += redis.add("orders", range(1, 4))
            orders.wait_judged(agent, 6)
            orders.wait_streaming(agent, "2 streams")
            agent.wait(lambda s: s["health"] == "ok")
            equal(sorted(orders.ids(agent.records())), sorted(added))


@case
def a_server_that_is_away_hangs_or_is_killed_is_waited_for():
    with Redis(keep=True) as redis:
        added = redis.add("orders", range(1, 101))
        with orders.watch(redis, source=", reply_timeout: 1s") as agent:
            orders.wait_judged(agent, 100)
            redis.kill9()
            status = agent.wait_source("orders", "retrying")
            true("127.0.0.1" in status["sources"]["orders"]["reason"], status)
            redis.start()
            added += redis.add("orders", range(101, 201))
            orders.wait_judged(agent, 200)
            os.kill(redis.child.pid, signal.SIGSTOP)
            agent.wait(lambda s: "no answer" in s["sources"]["orders"]["reason"], 30)
            os.kill(redis.child.pid, signal.SIGCONT)
            added += redis.add("orders", range(201, 301))
            orders.wait_judged(agent, 300)
            orders.same_entries(added, agent.records())
            equal(orders.gaps(agent), [])
            equal(orders.gaps(agent, "divergence"), [])


@case
def an_address_without_tls_beyond_this_machine_is_refused():
    with Redis() as redis:
        agent = orders.watch(redis, url="redis://dgf:dgf-secret@192.0.2.1:6379/0")
        done = agent.run("check", "-c", agent.config, check=False)
        equal(done.returncode, 78)
        true("E0631" in done.stderr + done.stdout and
             "'url' is without TLS: use rediss://, or write insecure: true"
             in done.stderr + done.stdout, done.stderr + done.stdout)
        true("dgf-secret" not in done.stderr + done.stdout, "a password is shown")


@case
def a_quiet_source_does_not_keep_the_server_busy():
    with Redis() as redis:
        redis.add("orders", range(1, 4))
        with orders.watch(redis) as agent:
            orders.wait_judged(agent, 3)
            before = redis.do("INFO", "stats")
            wait_until(lambda: commands(redis.do("INFO", "stats")) - commands(before) > 3, 20,
                       "the source to look again")
            client = Client(redis.port)
            start = commands(client.do("INFO", "stats"))
            wait_until(lambda: uptime(client) >= 2, 10, "two seconds")
            true(commands(client.do("INFO", "stats")) - start < 200, "it is busy for nothing")
            client.close()


def commands(text):
    return int(text.split("total_commands_processed:")[1].split()[0])


def uptime(client):
    return int(client.do("INFO", "server").split("uptime_in_seconds:")[1].split()[0])


if __name__ == "__main__":
    main(parallel=True)
