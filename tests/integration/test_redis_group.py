"""Redis streams as a consumer group: pending entries, taking over, poison."""

import orders
from cases import case, equal, main, true
from redis import Redis
from servers import wait_until

GROUP = ", mode: group"
SWEEP = ", mode: group, claim_idle: 300ms, claim_interval: 200ms"


def pending(redis, stream="orders"):
    return redis.do("XPENDING", stream, "dgf")[0]


def wait_acked(redis, stream="orders"):
    wait_until(lambda: pending(redis, stream) == 0, 20,
               lambda: f"no pending entries; there are {pending(redis, stream)}")


@case
def a_group_reads_judges_and_acknowledges():
    with Redis() as redis:
        added = redis.add("orders", range(1, 1501))
        with orders.watch(redis, source=GROUP) as agent:
            orders.wait_judged(agent, 1500)
            added += redis.add("orders", range(1501, 2001), n="1")
            orders.wait_judged(agent, 2000)
            wait_acked(redis)
            orders.same_entries(added, agent.records())
            agent.stop()
            added += redis.add("orders", range(2001, 2101))
            agent.start()
            orders.wait_judged(agent, 2100)
            wait_acked(redis)
            orders.same_entries(added, agent.records())
            equal(orders.gaps(agent), [])


@case
def kills_leave_nothing_pending_and_nothing_judged_twice():
    with Redis() as redis:
        agent = orders.watch(redis, source=GROUP + ", max_deliveries: 1000")
        added, at = [], 1
        with agent:
            for _ in range(10):
                added += redis.add("orders", range(at, at + 3000))
                at += 3000
                agent.kill9()
                agent.start()
            orders.wait_judged(agent, len(added), 60)
            wait_acked(redis)
            orders.same_entries(added, agent.records())
            equal(orders.gaps(agent), [])


@case
def entries_of_a_dead_consumer_are_taken_over():
    with Redis() as redis:
        redis.do("XGROUP", "CREATE", "orders", "dgf", "0", "MKSTREAM")
        with orders.watch(redis, source=SWEEP) as agent:
            orders.wait_streaming(agent)
            mine = redis.add("orders", range(1, 11))
            orders.wait_judged(agent, 10)
            agent.stop()
            theirs = redis.add("orders", range(11, 21))
            redis.do("XREADGROUP", "GROUP", "dgf", "dead", "COUNT", "100", "STREAMS",
                     "orders", ">")
            agent.start()
            more = redis.add("orders", range(21, 31))
            orders.wait_judged(agent, 30)
            wait_acked(redis)
            equal(sorted(orders.ids(agent.records())), sorted(mine + theirs + more))
            agent.kill9()
            agent.start()
            orders.wait_streaming(agent)
            more += redis.add("orders", [31])
            orders.wait_judged(agent, 31)
            equal(sorted(orders.ids(agent.records())), sorted(mine + theirs + more))
            equal(orders.gaps(agent), [])


@case
def an_entry_delivered_too_often_is_recorded_and_acknowledged():
    with Redis() as redis:
        redis.do("XGROUP", "CREATE", "orders", "dgf", "0", "MKSTREAM")
        added = redis.add("orders", range(1, 4))
        redis.do("XREADGROUP", "GROUP", "dgf", "dead", "COUNT", "1", "STREAMS", "orders", ">")
        redis.do("XCLAIM", "orders", "dgf", "dead", "0", added[0], "RETRYCOUNT", "9")
        with orders.watch(redis, source=SWEEP + ", max_deliveries: 5") as agent:
            found = agent.wait_records(1, "undecodable")
            equal(found[0]["position"], f"orders@1:{added[0]}")
            equal(found[0]["why"], "it was delivered as often as max_deliveries")
            orders.wait_judged(agent, 2)
            wait_acked(redis)
            equal(orders.ids(agent.records()), added[1:])


@case
def pending_entries_that_were_deleted_are_a_gap():
    with Redis() as redis:
        redis.do("XGROUP", "CREATE", "orders", "dgf", "0", "MKSTREAM")
        added = redis.add("orders", range(1, 6), ms=1700000000000)
        redis.do("XREADGROUP", "GROUP", "dgf", "dead", "COUNT", "3", "STREAMS", "orders", ">")
        redis.do("XDEL", "orders", added[1])
        with orders.watch(redis, source=SWEEP) as agent:
            orders.wait_judged(agent, 4)
            agent.wait_records(2, "gap")
            wait_acked(redis)
            true(("pending_deleted", "orders@1:1700000000000-1", "orders@1:1700000000000-2")
                 in orders.gaps(agent), orders.gaps(agent))
            equal(sorted(orders.ids(agent.records())), [added[i] for i in (0, 2, 3, 4)])


@case
def a_group_somebody_moved_or_removed_leaves_nothing_out():
    with Redis() as redis:
        agent = orders.watch(redis, source=GROUP)
        with agent:
            added = redis.add("orders", range(1, 11))
            orders.wait_judged(agent, 10)
            agent.stop()
            added += redis.add("orders", range(11, 21))
            redis.do("XGROUP", "SETID", "orders", "dgf", "$")
            agent.start()
            orders.wait_judged(agent, 20)
            redis.do("XGROUP", "DESTROY", "orders", "dgf")
            added += redis.add("orders", range(21, 31))
            orders.wait_judged(agent, 30)
            wait_acked(redis)
            orders.same_entries(added, agent.records())
            equal(orders.gaps(agent), [])


@case
def a_group_nobody_remembers_is_a_gap():
    with Redis() as redis:
        added = redis.add("orders", range(1, 4))
        redis.do("XGROUP", "CREATE", "orders", "dgf", added[1])
        with orders.watch(redis, source=GROUP + ", consumer: one") as agent:
            orders.wait_judged(agent, 1)
            equal(orders.gaps(agent), [("state_lost", None, f"orders@1:{added[1]}")])
            equal(orders.ids(agent.records()), added[2:])


if __name__ == "__main__":
    main(parallel=True)
