"""Keys, settings and users: keyspace events, samples, what changed between two looks."""

from agent import Agent
from cases import case, equal, main, true
from redis import Cluster, Redis
from servers import wait_until

POLICY = """version: 1
info: {title: Keys, owner: test@example.org}
policies:
  - id: TTL-001
    title: Sessions end
    severity: medium
    watch: {objects: [keyspace], ops: [observe]}
    when: after.key.startsWith("session:") && (after.ttl_ms == null || after.ttl_ms > 3600000)
    message: "a session stays"
  - id: BIG-001
    title: Keys are small
    severity: low
    watch: {objects: [keyspace], ops: [observe]}
    when: after.bytes > 100000
    message: "a big key of type {{after.type}}"
  - id: GONE-001
    title: Nothing is evicted or deleted
    severity: high
    watch: {objects: [keyspace], ops: [delete, expire]}
    when: "true"
    message: "gone"
    audit: every_event
  - id: SET-001
    title: Data stays on disk
    severity: high
    watch: {objects: [settings], ops: [observe, alter], kinds: [setting]}
    when: after.name == "appendonly" && after.value == "no"
    message: "no append-only file"
  - id: TLS-001
    title: Clients show a certificate
    severity: low
    watch: {objects: [settings], ops: [observe], kinds: [setting]}
    when: after.name == "tls-auth-clients" && after.value == "yes"
    message: "clients show a certificate"
  - id: PASS-001
    title: A password is set, and not shown
    severity: low
    watch: {objects: [settings], ops: [observe], kinds: [setting]}
    when: after.name == "masterauth" && after.value == "set"
    message: "a password is set"
  - id: USER-001
    title: Nobody may do everything
    severity: critical
    watch: {objects: [users], ops: [create, alter], kinds: [access]}
    when: after.value.contains("+@all")
    message: "a user may do everything"
  - id: USER-002
    title: Users are not removed
    severity: low
    watch: {objects: [users, settings], ops: [drop], kinds: [access, setting]}
    when: before.name == event.key.name && before.value.size() > 0 && after == null
    message: "gone"
"""


def watch(redis, source=""):
    return Agent(f"""agent: {{name: test, env: test, data_dir: "{{data_dir}}"}}
sources:
  keys: {{type: redis_keys, url: "{redis.url()}"{source}}}
policies: [{{dir}}/policies]
""", policies={"keys.yaml": POLICY})


def found(agent, policy, n=1):
    rows = []

    def look():
        rows[:] = [r for r in agent.records("violation") if r["policy"]["id"] == policy]
        return len(rows) >= n
    wait_until(look, 20, lambda: f"{n} of {policy}: {agent.records('violation')}", every=0.1)
    return rows


@case
def samples_show_keys_that_stay_and_keys_that_are_big():
    with Redis() as redis:
        redis.do("SET", "session:1", "x")
        redis.do("SET", "session:2", "x", "EX", "60")
        redis.do("SET", "big", "x" * 200000)
        with watch(redis, ", sample: 200ms, sample_keys: 1000, inspect: 1h") as agent:
            one = found(agent, "TTL-001")[0]
            equal(one["event"]["object"], "keyspace")
            equal(one["event"]["op"], "observe")
            true(one["event"]["snapshot"], one)
            equal(len({r["event"]["key"]["key"] for r in found(agent, "BIG-001")}), 1)
            equal({r["event"]["key"]["key"] for r in found(agent, "TTL-001")},
                  {one["event"]["key"]["key"]})


@case
def keyspace_events_are_judged_and_the_source_is_partial():
    with Redis() as redis:
        redis.do("CONFIG", "SET", "notify-keyspace-events", "Exg$e")
        with watch(redis, ", events: [expired, evicted, del, set], sample_keys: 0") as agent:
            agent.wait_source("keys", "streaming")
            wait_until(lambda: redis.do("PUBSUB", "NUMSUB", "__keyevent@0__:set")[1] == 1, 20,
                       "the source to listen")
            redis.do("SET", "a", "1")
            redis.do("DEL", "a")
            redis.do("SET", "b", "1", "PX", "30")
            rows = found(agent, "GONE-001", 2)
            equal([(r["event"]["op"], r["event"].get("cause")) for r in rows][:2],
                  [("delete", None), ("expire", "ttl")])
            agent.stop()
            equal({r.get("guarantee") for r in agent.records("coverage")}, {"partial"})


@case
def keyspace_events_of_every_primary_are_judged():
    with Cluster() as cluster:
        for node in cluster.nodes:
            node.do("CONFIG", "SET", "notify-keyspace-events", "Exg$e")
        names = {}
        for i in range(200):
            owner = next(n for n in cluster.nodes if owns(n, f"k{i}"))
            names.setdefault(owner.port, f"k{i}")
        equal(len(names), 3, "primaries with a key")
        with watch(cluster.nodes[0], ", events: [del], sample_keys: 0, inspect: 1h") as agent:
            agent.wait_source("keys", "streaming")
            for node in cluster.nodes:
                wait_until(lambda node=node:
                           node.do("PUBSUB", "NUMSUB", "__keyevent@0__:del")[1] == 1, 20,
                           "the source to listen")
            for name in names.values():
                cluster.do("SET", name, "1")
                cluster.do("DEL", name)
            equal([r["event"]["op"] for r in found(agent, "GONE-001", 3)], ["delete"] * 3)


def owns(node, name):
    slot = node.do("CLUSTER", "KEYSLOT", name)
    return any(first <= slot <= last and primary[1] == node.port
               for first, last, primary, *_ in node.do("CLUSTER", "SLOTS"))


@case
def a_server_that_sends_no_events_is_said():
    with Redis() as redis:
        with watch(redis, ", events: [expired]") as agent:
            agent.wait(lambda s: "the server sends no keyspace events" in
                       s["sources"]["keys"]["reason"], 20)


@case
def settings_and_users_are_compared_with_what_was_seen():
    with Redis() as redis:
        with watch(redis, ", inspect: 200ms, sample_keys: 0") as agent:
            equal(len(found(agent, "SET-001")), 1)
            redis.do("ACL", "SETUSER", "eve", "on", ">eve-secret", "~*", "+@all")
            row = found(agent, "USER-001")[0]
            equal((row["event"]["kind"], row["event"]["op"]), ("access", "create"))
            redis.do("ACL", "SETUSER", "eve", "resetchannels", "&more")
            row = found(agent, "USER-001", 2)[1]
            equal((row["event"]["kind"], row["event"]["op"]), ("access", "alter"))
            agent.stop()
            agent.start()
            agent.wait_source("keys", "streaming")
            redis.do("CONFIG", "SET", "maxmemory", "1gb")
            redis.do("ACL", "SETUSER", "eve", "-@all")
            redis.do("ACL", "SETUSER", "eve", "+@all")
            equal(len(found(agent, "SET-001")), 1)
            text = b"\n".join(agent.lines()).decode()
            true("eve-secret" not in text, "a password is shown")


@case
def users_and_settings_that_are_gone_are_told_once_with_what_was_there():
    with Redis() as redis, Redis() as other:
        redis.do("ACL", "SETUSER", "eve", "on", ">eve-secret", "~*", "+get")
        redis.do("ACL", "SETUSER", "bob", "on", ">bob-secret", "~*", "+get")
        redis.do("REPLICAOF", "127.0.0.1", other.port)
        with watch(redis, ", inspect: 200ms, sample_keys: 0") as agent:
            found(agent, "SET-001")
            wait_until(lambda: looked(redis, 2), 20, "two looks")
            redis.do("ACL", "DELUSER", "eve")
            row = found(agent, "USER-002")[0]["event"]
            equal((row["kind"], row["op"], row["object"]), ("access", "drop", "users"))
            agent.kill9()
            redis.do("ACL", "DELUSER", "bob")  # nobody looks
            redis.do("REPLICAOF", "NO", "ONE")
            agent.start()
            rows = [r["event"] for r in found(agent, "USER-002", 3)]
            equal(sorted(r["kind"] for r in rows), ["access", "access", "setting"])
            equal(len({r["key"]["name"] for r in rows}), 3, "names that are gone")
            wait_until(lambda: looked(redis, 2), 20, "two looks")
            equal(len(found(agent, "USER-002", 3)), 3)
            redis.do("ACL", "SETUSER", "eve", "on", "~*", "+@all")
            equal(found(agent, "USER-001")[0]["event"]["op"], "create")


def looked(redis, n):
    """Has the agent asked for users n times more?"""
    def calls():
        text = redis.do("INFO", "commandstats")
        text = text.decode() if isinstance(text, bytes) else text
        line = next((l for l in text.split() if l.startswith("cmdstat_acl|list:")), "calls=0,")
        return int(line.split("calls=")[1].split(",")[0])
    before = calls()
    wait_until(lambda: calls() >= before + n, 20, "looks", every=0.1)
    return True


@case
def passwords_of_the_settings_stay_out_and_how_tls_is_guarded_does_not():
    with Redis() as redis:
        redis.do("CONFIG", "SET", "masterauth", "canary-secret")
        with watch(redis, ", inspect: 1h, sample_keys: 0") as agent:
            equal(len(found(agent, "TLS-001")), 1)
            equal(len(found(agent, "PASS-001")), 1)
            true("canary-secret" not in b"\n".join(agent.lines()).decode(), "a password is shown")


@case
def check_tells_what_it_finds_under_the_type_of_the_source():
    with Redis() as redis:
        agent = watch(redis)
        redis.stop()
        out = agent.run("check", "-c", agent.config, check=False).stdout
        true("E0632]: sources.keys (redis_keys): " in out, out)


if __name__ == "__main__":
    main(parallel=True)
