"""A cluster of three primaries: streams on every node, slots that move, nodes that die."""

import orders
from cases import case, equal, main, true
from redis import Cluster, Redis
from servers import free_port, wait_until

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
            # Asked for (ASK) until then, the move itself may be noticed seconds later.
            wait_until(lambda: "moved" in agent.log_text(), 20, "somebody to notice the move")


def hand_over(old, new, slot):
    """The keys of the slot are at new, the slot itself is still old's."""
    new.do("CLUSTER", "SETSLOT", slot, "IMPORTING", old.do("CLUSTER", "MYID"))
    old.do("CLUSTER", "SETSLOT", slot, "MIGRATING", new.do("CLUSTER", "MYID"))
    for key in old.do("CLUSTER", "GETKEYSINSLOT", slot, 100):
        old.do("MIGRATE", "127.0.0.1", new.port, key, 0, 5000)


def ask(node, *words):
    """As a client does that was sent there with ASK."""
    return node.many([["ASKING"], words])[1]


def followed_while_its_slot_moves(source):
    with Cluster() as cluster:
        added = add(cluster, "orders", 1, 50)
        old = next(n for n in cluster.nodes if n.do("KEYS", "orders"))
        new = next(n for n in cluster.nodes if n is not old)
        slot = old.do("CLUSTER", "KEYSLOT", "orders")
        with orders.watch(cluster.nodes[0], streams="[orders]", source=source) as agent:
            orders.wait_judged(agent, 50)
            hand_over(old, new, slot)
            added += [ask(new, "XADD", "orders", "*", "id", i, "n", 1) for i in range(51, 71)]
            orders.wait_judged(agent, 70, 60)
            agent.kill9()
            added += [ask(new, "XADD", "orders", "*", "id", i, "n", 1) for i in range(71, 91)]
            agent.start()
            orders.wait_judged(agent, 90, 60)
            orders.wait_streaming(agent)
            for node in (new, old, *cluster.nodes):
                node.do("CLUSTER", "SETSLOT", slot, "NODE", new.do("CLUSTER", "MYID"))
            added += [new.do("XADD", "orders", "*", "id", i, "n", 1) for i in range(91, 101)]
            orders.wait_judged(agent, 100, 60)
            orders.same_entries(added, agent.records())
            equal(orders.gaps(agent) + orders.gaps(agent, "divergence"), [])


@case
def a_stream_that_moved_before_its_slot_is_asked_for():
    followed_while_its_slot_moves("")


@case
def a_stream_that_moved_before_its_slot_is_asked_for_by_a_group():
    followed_while_its_slot_moves(", mode: group")


@case
def streams_of_a_node_that_joined_are_found():
    with Cluster() as cluster, Cluster.member() as joined:
        added = add(cluster, "s:1", 1, 10)
        with orders.watch(cluster.nodes[0], streams='["s:*"]', source=", discover: 300ms") as agent:
            orders.wait_judged(agent, 10)
            joined.do("CLUSTER", "MEET", "127.0.0.1", cluster.nodes[0].port)
            name = next(f"s:{i}" for i in range(2, 100)
                        if cluster.nodes[1].do("CLUSTER", "KEYSLOT", f"s:{i}") !=
                        cluster.nodes[1].do("CLUSTER", "KEYSLOT", "s:1"))
            slot = joined.do("CLUSTER", "KEYSLOT", name)
            identity = joined.do("CLUSTER", "MYID")
            wait_until(lambda: all(identity in node.do("CLUSTER", "NODES")
                                   for node in cluster.nodes), 30, "the node to be known")
            for node in (joined, *cluster.nodes):
                node.do("CLUSTER", "SETSLOT", slot, "NODE", identity)
            wait_until(lambda: "cluster_state:ok" in joined.do("CLUSTER", "INFO"), 30,
                       "the node that joined to be ok")
            more = [joined.do("XADD", name, "*", "id", i, "n", 1) for i in range(10)]
            orders.wait_judged(agent, 20, 60)
            records = agent.records()
            orders.same_entries(added, records, "s:1")
            orders.same_entries(more, records, name)
            equal(orders.gaps(agent), [])


@case
def a_dead_seed_is_passed_over_for_another_host_or_a_known_node():
    with Cluster() as cluster, Cluster.member() as seed:
        seed.do("CLUSTER", "MEET", "127.0.0.1", cluster.nodes[0].port)
        wait_until(lambda: "cluster_state:ok" in seed.do("CLUSTER", "INFO") and
                   len(seed.do("CLUSTER", "SLOTS")) >= 3, 30, "the seed to know the cluster")
        added = {name: add(cluster, name, 1, 5) for name in NAMES[:4]}
        with orders.watch(seed, streams='["s:*"]') as agent:
            orders.wait_judged(agent, 20)
            seed.kill9()
            for name in added:
                added[name] += add(cluster, name, 6, 5)
            orders.wait_judged(agent, 40, 60)  # its url has the dead seed alone
            agent.stop()
            for name in added:
                added[name] += add(cluster, name, 11, 5)
            text = orders.config(seed, streams='["s:*"]')
            both = f"127.0.0.1:{seed.port},127.0.0.1:{cluster.nodes[1].port}"
            agent.write_config(text.replace(f"127.0.0.1:{seed.port}", both))
            agent.start()
            orders.wait_judged(agent, 60, 60)
            records = agent.records()
            for name, wanted in added.items():
                orders.same_entries(wanted, records, name)
            equal(orders.gaps(agent), [])


@case
def the_check_asks_every_host_of_the_url():
    with Cluster() as cluster:
        add(cluster, "orders", 1, 1)
        live, dead = [node.port for node in cluster.nodes[:2]], free_port()
        agent = orders.watch(cluster.nodes[0])
        text = orders.config(cluster.nodes[0])
        for ports, code, said, errors in (((dead, *live), 0, 1, 0), ((*live, dead), 0, 1, 0),
                                          (live, 0, 0, 0), ((dead, free_port()), 1, 2, 1)):
            agent.write_config(text.replace(f"127.0.0.1:{live[0]}", ",".join(
                f"127.0.0.1:{port}" for port in ports)))
            done = agent.run("check", "-c", agent.config, check=False)
            out = done.stdout + done.stderr
            equal(done.returncode, code, f"{ports}: {out}")
            equal((out.count("W0633"), out.count("E0632")), (said, errors), f"{ports}: {out}")
            true(f"127.0.0.1:{dead}' in url, one of" in out or dead not in ports, out)
        agent.folder.remove()


@case
def several_hosts_are_for_a_cluster_only():
    with Redis() as redis:
        agent = orders.watch(redis, streams="[orders]")
        agent.write_config(orders.config(redis, streams="[orders]").replace(
            f"127.0.0.1:{redis.port}", f"127.0.0.1:{redis.port},127.0.0.1:1"))
        with agent:
            agent.wait(lambda s: "which only a cluster has" in
                       s["sources"]["orders"]["reason"], 30)


if __name__ == "__main__":
    main(parallel=True)
