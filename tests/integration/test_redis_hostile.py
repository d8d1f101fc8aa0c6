"""A server that lies: malformed, nested, huge and senseless answers."""

import orders
from cases import case, equal, main, true
from fake_redis import FakeRedis, array, bulk, entry, facts
from servers import wait_until

GOOD = facts(1, 1, "5-1", "5-1")


def reason(answers, seconds=20):
    """Why the source does not read; the agent must live, stay small and back off."""
    with FakeRedis(answers) as fake:
        with orders.watch(fake, url=fake.url) as agent:
            status = agent.wait(lambda s: s["sources"]["orders"]["state"] == "retrying" and
                                s["sources"]["orders"]["reason"], seconds)
            true(len(fake.asked) < 2000, f"{len(fake.asked)} commands: it is busy for nothing")
            true(agent.memory()[1] < 64 << 20, f"{agent.memory()} bytes of memory")
            agent.stop()
            equal(agent.records("gap") + agent.records("audit"), [])
            return status["sources"]["orders"]["reason"]


@case
def answers_that_are_no_resp_end_the_attempt_with_a_clear_text():
    for bad in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$-7\r\n", b"*1\r\n%1\r\n",
                b"*1\r\n" * 40 + b":1\r\n", b"$99999999999999999999\r\n", b"\0" * 4096):
        for command in ("PING", "INFO", "XINFO", "XRANGE"):
            text = reason({"XINFO": GOOD, "XRANGE": array(), command: bad})
            true("the answer is no answer of Redis" in text, f"{command} {bad[:20]}: {text}")


@case
def answers_of_another_kind_end_the_attempt():
    equal(reason({"INFO": b":5\r\n"}), "the answer to INFO cannot be understood")
    equal(reason({"INFO": bulk("redis_version:6.2.1\r\nmaster_replid:x\r\n")}),
          "Redis 7 or newer is needed; this is 6.2.1")
    true("the answer to XINFO STREAM of 'orders' cannot be understood" in
         reason({"XINFO": array(bulk("length"), bulk("many")), "XRANGE": array()}), "facts")
    equal(reason({"XINFO": GOOD, "XRANGE": array(bulk("no entry"))}),
          "an entry of stream 'orders' cannot be understood")
    equal(reason({"PING": b"+PONG\r\n" * 3}), "the answer to INFO cannot be understood")


@case
def an_answer_that_never_ends_takes_no_memory_and_no_other_stream():
    with FakeRedis({"XINFO": GOOD,
                    "XRANGE": b"*2\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\na\r\n$4000000000\r\n"
                              + b"x" * (50 << 20)}) as fake:
        with orders.watch(fake, url=fake.url, source=", reply_timeout: 2s") as agent:
            agent.wait(lambda s: "no answer" in s["sources"]["orders"]["reason"], 30)
            true(agent.memory()[1] < 64 << 20, f"{agent.memory()} bytes of memory")


@case
def the_same_entries_again_and_again_are_judged_once():
    def again(words):
        del words
        return array(entry("5-1", "id", "1", "n", "1"))
    with FakeRedis({"XINFO": GOOD, "XRANGE": again,
                    "XREAD": lambda words: array(array(bulk("orders"), array(entry("5-1")))) }) \
            as fake:
        with orders.watch(fake, url=fake.url) as agent:
            orders.wait_judged(agent, 1)
            wait_until(lambda: len(fake.asked) > 20, 20, "more reads")
            equal(orders.ids(agent.records()), ["5-1"])


@case
def entries_before_a_broken_one_are_judged_once():
    found = [entry(f"{i}-1", "id", str(i), "n", "1") for i in range(1, 4)]

    def broken_twice(words):
        n = sum(w[0] == "XRANGE" for w in fake.asked)
        first = int(words[2].split("-")[0])
        return array(*found[max(first - 1, 0):2], bulk("no entry") if n < 3 else found[2])
    with FakeRedis({"XINFO": facts(3, 3, "3-1", "1-1"), "XRANGE": broken_twice}) as fake:
        with orders.watch(fake, url=fake.url) as agent:
            orders.wait_judged(agent, 3)
            equal(orders.ids(agent.records()), ["1-1", "2-1", "3-1"])
            true("cannot be understood" in agent.log_text(), "the broken entry was not told")


@case
def a_server_that_wakes_us_for_nothing_does_not_keep_us_busy():
    with FakeRedis({"XINFO": GOOD, "XRANGE": array(entry("5-1", "id", "1", "n", "1")),
                    "XREAD": lambda words: b"*-1\r\n"}) as fake:
        with orders.watch(fake, url=fake.url) as agent:
            orders.wait_judged(agent, 1)
            before = len(fake.asked)
            wait_until(lambda: sum(w[0] == "XINFO" for w in fake.asked[before:]) >= 1, 20,
                       "another look")
            true(len(fake.asked) - before < 1000,
                 f"{len(fake.asked) - before} commands between two looks")


if __name__ == "__main__":
    main(parallel=True)
