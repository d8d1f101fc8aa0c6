"""A million rows in one transaction, and the agent killed inside it."""

import time

import shop
from cases import case, equal, main, note, true
from servers import Postgres, wait_until

ROWS = 1_000_000
EVERY = 1000            # each such row breaks the policy
ANON_LIMIT = 56 << 20


@case
def a_million_rows_in_one_transaction_survive_kills_inside_it():
    policy = shop.SUMMARY_POLICY.replace("after.n < 0", f"after.id % {EVERY} == 0")
    with Postgres() as pg:
        shop.prepare(pg)
        agent = shop.watch(pg, policy=policy)
        with agent:
            agent.wait_source("shop", "streaming")
            pg.sql(f"INSERT INTO shop.rows SELECT i, 1, 'note ' || i "
                   f"FROM generate_series(1, {ROWS}) i")
            inside, most = 0, 0
            for n in (50, 250, 500, 750):       # of 1,000 violations
                wait_until(lambda: violations(agent) >= n, 120, f"violation {n}", every=0.02)
                most = max(most, agent.memory()[1])
                agent.kill9()
                got = violations(agent)
                inside += n <= got < ROWS // EVERY
                agent.start()
                agent.wait_source("shop", "streaming")
            began = time.monotonic()
            shop.wait_judged(agent, pg, 180)
            most = max(most, agent.memory()[1])
            true(inside >= 3, f"only {inside} kills fell inside the transaction")
            shop.insert(pg, ROWS + 1, 1)
            shop.wait_judged(agent, pg)
            agent.stop()
            records = shop.parse(agent)
            ids = [r["event"]["key"]["id"] for r in records if r["kind"] == "violation"]
            equal(ids, list(range(EVERY, ROWS + 1, EVERY)), "rows with a violation")
            equal(len({r["id"] for r in records}), len(records), "distinct records")
            equal([r for r in records if r["kind"] == "gap"], [])
            equal(shop.covered(records), ROWS + 1, "rows counted by coverage records")
            agent.verify()
            note(f"{inside} kills inside; anonymous memory at most {most >> 20} MiB; the last "
                 f"part took {time.monotonic() - began:.1f} s")
            true(most <= ANON_LIMIT, f"{most >> 20} MiB of anonymous memory")


def violations(agent):
    """How many stand in the ledger, without parsing all of it."""
    return sum(b'"kind":"violation"' in line[:200] for line in agent.lines())


if __name__ == "__main__":
    main()
