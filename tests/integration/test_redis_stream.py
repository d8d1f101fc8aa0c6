"""Redis streams by our own position."""

import orders
from cases import case, equal, main, true
from redis import Redis


@case
def entries_become_events_and_bad_ones_violations():
    with Redis() as redis:
        before = redis.add("orders", range(1, 4))
        with orders.watch(redis) as agent:
            orders.wait_streaming(agent)
            after = redis.add("orders", [4], n="-1")
            found = agent.wait_records(1, "violation")
            equal(found[0]["event"]["object"], "orders")
            equal(found[0]["policy"]["id"], "NEG-001")
            orders.wait_judged(agent, 4)
            orders.same_entries(before + after, agent.records())
            equal(orders.positions(agent.records())[0], f"orders@1:{before[0]}")
            audit = agent.records("audit")[0]["event"]
            equal(list(audit["key"]), ["id"])
            equal(audit["op"], "insert")
            resume = [r for r in agent.records("resume") if r.get("source") == "orders"]
            equal([r["since"] for r in resume], ["orders@1:0-0"])
            equal(orders.gaps(agent), [])
            agent.verify()


@case
def a_restart_goes_on_where_the_ledger_ends():
    with Redis() as redis:
        added = redis.add("orders", range(1, 2001))
        agent = orders.watch(redis)
        with agent:
            orders.wait_judged(agent, 2000)
            agent.stop()
            added += redis.add("orders", range(2001, 4001))
            agent.start()
            orders.wait_judged(agent, 4000)
            orders.same_entries(added, agent.records())
            equal(orders.gaps(agent), [])


@case
def start_now_leaves_out_what_was_there():
    with Redis() as redis:
        before = redis.add("orders", range(1, 4))
        with orders.watch(redis, source=", start: now") as agent:
            orders.wait_streaming(agent)
            agent.wait_records(2, "resume")
            added = redis.add("orders", range(4, 8))
            redis.do("XADD", "later", "*", "id", "1", "n", "1")
            orders.wait_judged(agent, 4)
            orders.same_entries(added, agent.records())
            resume = [r["since"] for r in agent.records("resume") if r.get("source")]
            equal(resume, [f"orders@1:{before[-1]}"])


@case
def patterns_find_streams_that_are_made_later():
    with Redis() as redis:
        first = redis.add("orders:eu", range(1, 11))
        redis.do("SET", "orders:count", "10")
        with orders.watch(redis, streams='["orders:*"]', source=", discover: 200ms") as agent:
            orders.wait_streaming(agent)
            second = redis.add("orders:us", range(1, 11))
            redis.add("others", range(1, 11))
            orders.wait_judged(agent, 20)
            first += redis.add("orders:eu", range(11, 21))
            orders.wait_judged(agent, 30)
            records = agent.records()
            orders.same_entries(first, records, "orders:eu")
            orders.same_entries(second, records, "orders:us")
            equal(len(orders.ids(records)), 30)
            true(all("others" not in p for p in orders.positions(records)), "read too much")


@case
def many_busy_streams_are_all_read():
    with Redis() as redis:
        with orders.watch(redis, streams='["s:*"]', source=", discover: 100ms, count: 100") \
                as agent:
            orders.wait_streaming(agent)
            added = {f"s:{i}": redis.add(f"s:{i}", range(1, 301)) for i in range(20)}
            orders.wait_judged(agent, 6000, 60)
            for i in range(20):
                added[f"s:{i}"] += redis.add(f"s:{i}", range(301, 311))
            orders.wait_judged(agent, 6200, 60)
            records = agent.records()
            for stream, wanted in added.items():
                orders.same_entries(wanted, records, stream)
            equal(orders.gaps(agent), [])


if __name__ == "__main__":
    main(parallel=True)
