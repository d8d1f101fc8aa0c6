"""What happened to a stream behind our back: each loss is one record with exact bounds."""

import random
import threading

import orders
from cases import case, equal, main, note, true
from redis import Redis

MS = 1700000000000


def judged_then_stopped(redis, agent, n=10):
    added = redis.add("orders", range(1, n + 1), ms=MS)
    agent.__enter__()
    orders.wait_judged(agent, n)
    agent.stop()
    return added


def at(i, epoch=1, ms=MS):
    return f"orders@{epoch}:{ms}-{i}"


@case
def entries_trimmed_before_they_were_read_are_one_gap():
    with Redis() as redis:
        agent = orders.watch(redis)
        added = judged_then_stopped(redis, agent)
        try:
            added += redis.add("orders", range(11, 31), ms=MS)
            redis.do("XTRIM", "orders", "MAXLEN", "5")
            agent.start()
            orders.wait_judged(agent, 15)
            equal(orders.gaps(agent), [("stream_trimmed", at(10), at(25))])
            equal(agent.records("gap")[0]["detail"], {"stream": "orders", "entries": "15"})
            equal(orders.ids(agent.records()), added[:10] + added[25:])
            kinds = [r["kind"] for r in agent.records() if r["kind"] in ("gap", "audit")]
            equal(kinds.index("gap"), 10, "records before the gap")
        finally:
            agent.__exit__(None, None, None)


@case
def entries_trimmed_after_they_were_read_are_no_gap():
    with Redis() as redis:
        agent = orders.watch(redis)
        added = judged_then_stopped(redis, agent)
        try:
            redis.do("XTRIM", "orders", "MAXLEN", "0")
            added += redis.add("orders", range(11, 21), ms=MS)
            agent.start()
            orders.wait_judged(agent, 20)
            agent.stop()
            redis.do("XTRIM", "orders", "MAXLEN", "3")
            agent.start()
            added += redis.add("orders", range(21, 31), ms=MS)
            orders.wait_judged(agent, 30)
            orders.same_entries(added, agent.records())
            equal(orders.gaps(agent), [])
        finally:
            agent.__exit__(None, None, None)


@case
def a_stream_trimmed_to_nothing_is_one_gap():
    with Redis() as redis:
        agent = orders.watch(redis)
        judged_then_stopped(redis, agent)
        try:
            redis.add("orders", range(11, 16), ms=MS)
            redis.do("XTRIM", "orders", "MAXLEN", "0")
            agent.start()
            agent.wait_records(1, "gap")
            equal(orders.gaps(agent), [("stream_trimmed", at(10), at(15))])
        finally:
            agent.__exit__(None, None, None)


@case
def entries_deleted_before_they_were_read_are_one_gap():
    with Redis() as redis:
        agent = orders.watch(redis)
        added = judged_then_stopped(redis, agent)
        try:
            more = redis.add("orders", range(11, 21), ms=MS)
            redis.do("XDEL", "orders", more[3], more[4])
            redis.do("XDEL", "orders", added[2], added[9])   # judged: nothing is missing
            agent.start()
            orders.wait_judged(agent, 18)
            agent.wait_records(1, "gap")
            equal(orders.gaps(agent), [("stream_trimmed", at(10), at(15))])
            equal(agent.records("gap")[0]["detail"]["entries"], "2")
            equal(orders.gaps(agent, "divergence"), [])
        finally:
            agent.__exit__(None, None, None)


@case
def a_recreated_stream_is_one_gap_and_read_from_its_beginning():
    with Redis() as redis:
        agent = orders.watch(redis, source=", check: 200ms")
        judged_then_stopped(redis, agent)
        try:
            redis.do("DEL", "orders")
            later = redis.add("orders", range(1, 4), ms=MS + 5)
            agent.start()
            orders.wait_judged(agent, 13)
            first = ("stream_recreated", at(10), at(0, 2, MS + 5))
            equal(orders.gaps(agent), [first])
            # While we read, and with ids that went back.
            redis.do("DEL", "orders")
            again = redis.add("orders", range(1, 6), ms=7)
            orders.wait_judged(agent, 18)
            equal(orders.gaps(agent),
                  [first, ("stream_recreated", at(3, 2, MS + 5), at(0, 3, 7))])
            equal(orders.positions(agent.records())[10:],
                  [f"orders@2:{i}" for i in later] + [f"orders@3:{i}" for i in again])
            equal(len({r["id"] for r in agent.records()}), len(agent.records()), "ids")
        finally:
            agent.__exit__(None, None, None)


@case
def a_recreated_stream_is_one_gap_for_a_group():
    with Redis() as redis:
        agent = orders.watch(redis, source=", mode: group, check: 200ms")
        judged_then_stopped(redis, agent)
        try:
            redis.do("DEL", "orders")
            redis.add("orders", range(1, 4), ms=MS + 5)
            agent.start()
            orders.wait_judged(agent, 13)
            equal(orders.gaps(agent), [("stream_recreated", at(10), at(0, 2, MS + 5))])
            redis.do("FLUSHALL")
            redis.add("orders", range(1, 4), ms=MS + 9)
            orders.wait_judged(agent, 16)
            equal(orders.gaps(agent)[1:],
                  [("stream_recreated", at(3, 2, MS + 5), at(0, 3, MS + 9))])
        finally:
            agent.__exit__(None, None, None)


@case
def entries_trimmed_before_a_group_read_them_are_one_gap():
    with Redis() as redis:
        agent = orders.watch(redis, source=", mode: group")
        judged_then_stopped(redis, agent)
        try:
            redis.add("orders", range(11, 31), ms=MS)
            redis.do("XTRIM", "orders", "MAXLEN", "5")
            agent.start()
            orders.wait_judged(agent, 15)
            equal(orders.gaps(agent), [("stream_trimmed", at(10), at(25))])
        finally:
            agent.__exit__(None, None, None)


@case
def a_server_that_forgot_everything_is_one_gap():
    with Redis() as redis:
        agent = orders.watch(redis)
        judged_then_stopped(redis, agent)
        try:
            agent.start()
            orders.wait_streaming(agent)
            redis.kill9()
            redis.start()
            added = redis.add("orders", range(1, 4))
            orders.wait_judged(agent, 13)
            ms = added[0].partition("-")[0]
            equal(orders.gaps(agent)[0][:2], ("stream_recreated", at(10)))
            equal(len(orders.gaps(agent)), 1)
            equal(orders.ids(agent.records())[10:], added)
            true(orders.gaps(agent)[0][2].startswith("orders@2:"), orders.gaps(agent))
            true(int(orders.gaps(agent)[0][2].partition(":")[2].partition("-")[0]) <= int(ms),
                 orders.gaps(agent))
        finally:
            agent.__exit__(None, None, None)


def failover(mode):
    with Redis() as primary, Redis() as replica:
        replica.do("REPLICAOF", "127.0.0.1", primary.port)
        added = primary.add("orders", range(1, 101), ms=MS)
        equal(primary.do("WAIT", "1", "10000"), 1)
        agent = orders.watch(primary, source=mode)
        with agent:
            orders.wait_judged(agent, 100)
            equal(primary.do("WAIT", "1", "10000"), 1)
            replica.do("REPLICAOF", "NO", "ONE")        # the link is cut: it has 100
            primary.add("orders", range(101, 131), ms=MS)
            orders.wait_judged(agent, 130)
            agent.stop()
            instead = replica.add("orders", range(111, 121), ms=MS)
            agent.write_config(orders.config(replica, source=mode))
            agent.start()
            orders.wait_judged(agent, 140)
            equal(orders.gaps(agent, "divergence"), [(None, at(100), at(130))])
            equal(orders.gaps(agent), [])
            equal(orders.positions(agent.records())[130:], [f"orders@2:{i}" for i in instead])
            replica.add("orders", range(121, 141), ms=MS)
            orders.wait_judged(agent, 160)
            equal(len(orders.gaps(agent, "divergence")), 1)
            agent.verify()
    return added


@case
def a_failover_that_lost_entries_is_a_divergence():
    failover("")


@case
def a_failover_that_lost_entries_is_a_divergence_for_a_group():
    failover(", mode: group")


@case
def a_failover_that_lost_nothing_is_nothing():
    with Redis() as primary, Redis() as replica:
        replica.do("REPLICAOF", "127.0.0.1", primary.port)
        added = primary.add("orders", range(1, 101))
        agent = orders.watch(primary)
        with agent:
            orders.wait_judged(agent, 100)
            added += primary.add("orders", range(101, 151))
            equal(primary.do("WAIT", "1", "10000"), 1)
            agent.stop()
            replica.do("REPLICAOF", "NO", "ONE")
            added += replica.add("orders", range(151, 201))
            agent.write_config(orders.config(replica))
            agent.start()
            orders.wait_judged(agent, 200)
            orders.same_entries(added, agent.records())
            equal(orders.gaps(agent) + orders.gaps(agent, "divergence"), [])


@case
def a_stream_trimmed_under_load_is_accounted_for_to_the_entry():
    rng = random.Random(5)
    with Redis() as redis:
        n = 60000
        agent = orders.watch(redis, source=", count: 100")

        def produce():
            client = redis.client()
            for first in range(1, n + 1, 500):
                client.many([["XADD", "orders", "MAXLEN", "~", "300", f"{MS}-{i}", "id", i,
                              "n", 1] for i in range(first, first + 500)])

        with agent:
            orders.wait_streaming(agent)
            producer = threading.Thread(target=produce)
            producer.start()
            while producer.is_alive():
                agent.pause()
                producer.join(rng.uniform(0.01, 0.05))
                agent.resume()
                producer.join(rng.uniform(0.001, 0.01))
            agent.wait(lambda s: s["sources"]["orders"]["position"] == at(n), 60)
            got = orders.ids(agent.records())
            gaps = agent.records("gap")
            lost = sum(int(gap["detail"]["entries"]) for gap in gaps)
            true(gaps, "nothing was trimmed: the test shows nothing")
            equal(len(got) + lost, n, "entries judged or lost")
            equal(len(set(got)), len(got), "distinct entries")
            inside = set()
            for gap in gaps:
                low, high = (int(gap[k].rpartition("-")[2]) for k in ("from", "to"))
                equal(high - low, int(gap["detail"]["entries"]), "entries of a gap")
                inside.update(range(low + 1, high + 1))
            equal(inside & {int(i.rpartition("-")[2]) for i in got}, set())
            note(f"{len(gaps)} gaps, {lost} of {n} entries lost")


if __name__ == "__main__":
    main(parallel=True)
