"""A cluster of three primaries: streams on every node, slots that move, nodes that die."""

import orders
from cases import case, equal, main, true
from redis import Cluster

NAMES = [f"s:{i}" for i in range(12)]


def add(cluster, name, first, n):
    return [cluster.do("XADD", name, "*", "id", i, "n", 1) for i in range(first, first + n)]


@case
def streams_of_every_node_are_read():
    with Cluster() as cluster:
        added = {name: add(cluster, name, 1, 20) for name in NAMES}
        used = {id(node) for node in cluster.nodes for name in NAMES
                if name in node.do("KEYS", "s:*")}
        equal(len(used), 3, "nodes with streams")
        for mode in ("", ", mode: group"):
            with orders.watch(cluster.nodes[0], streams='["s:*", "s:0"]',
                              source=f", discover: 300ms{mode}") as agent:
                orders.wait_judged(agent, 20 * len(NAMES))
                late = f"s:late{len(mode)}"
                added[late] = add(cluster, late, 1, 5)
                orders.wait_judged(agent, 20 * len(NAMES) + 5 * (len(added) - len(NAMES)))
                records = agent.records()
                for name, wanted in added.items():
                    orders.same_entries(wanted, records, name)
                equal(orders.gaps(agent), [])


@case
def a_slot_that_moves_is_followed():
    with Cluster() as cluster:
        added = add(cluster, "orders", 1, 50)
        old = next(n for n in cluster.nodes if n.do("KEYS", "orders"))
        new = next(n for n in cluster.nodes if n is not old)
        slot = old.do("CLUSTER", "KEYSLOT", "orders")
        with orders.watch(cluster.nodes[0], streams="[orders]") as agent:
            orders.wait_judged(agent, 50)
            new.do("CLUSTER", "SETSLOT", slot, "IMPORTING", old.do("CLUSTER", "MYID"))
            old.do("CLUSTER", "SETSLOT", slot, "MIGRATING", new.do("CLUSTER", "MYID"))
            old.do("MIGRATE", "127.0.0.1", new.port, "orders", 0, 5000)
            for node in (new, old, *cluster.nodes):
                node.do("CLUSTER", "SETSLOT", slot, "NODE", new.do("CLUSTER", "MYID"))
            added += [new.do("XADD", "orders", "*", "id", i, "n", 1) for i in range(51, 101)]
            orders.wait_judged(agent, 100, 60)
            orders.same_entries(added, agent.records())
            equal(orders.gaps(agent) + orders.gaps(agent, "divergence"), [])
            orders.wait_streaming(agent)
            true("moved" in agent.log_text(), "nobody noticed the move")


if __name__ == "__main__":
    main(parallel=True)
