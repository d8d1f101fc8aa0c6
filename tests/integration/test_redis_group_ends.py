"""A consumer group's first and last moments: the agent dies around XGROUP CREATE, or is asked to
end while it acknowledges."""

import contextlib
import os
import signal
import sqlite3
import struct
import threading

import orders
from cases import case, equal, main, true
from redis import Redis
from redis_proxy import RedisProxy
from servers import wait_until

GROUP = ", mode: group"


def pending(redis, stream="orders"):
    return redis.do("XPENDING", stream, "dgf")[0]


class KillAt:
    """kill -9 of the agent when it sends such a command for the first time."""

    def __init__(self, verdict, *words):
        self.verdict, self.words = verdict, [word.encode() for word in words]
        self.agent, self.hit = None, threading.Event()

    def __call__(self, words):
        if self.hit.is_set() or not all(word in words for word in self.words):
            return None
        self.hit.set()
        if self.verdict == "drop":
            self.agent.child.kill()
        return self.verdict

    def wait(self, done):
        """Until the server did what it was asked (mute); the agent is dead after it."""
        wait_until(self.hit.is_set, 30, f"the agent to send {self.words}")
        if self.verdict == "mute":
            wait_until(done, 30, "the server to do it")
        self.agent.kill9()


def has_group(redis):
    return bool(redis.do("EXISTS", "orders") and redis.do("XINFO", "GROUPS", "orders"))


@contextlib.contextmanager
def killed_at(redis, kill, source, done=None):
    """The agent, dead since it sent that command."""
    with RedisProxy(redis, kill) as proxy:
        agent = kill.agent = orders.watch(redis, url=proxy.url, source=source)
        try:
            agent.start(wait=False)         # it may die before there is a status
            kill.wait(done)
            yield agent
        finally:
            agent.__exit__()


def goes_on_whole(redis, kill, source, done=None, seen=True):
    """No gap, and every entry from then on is judged, with those before it when `seen`."""
    first = redis.add("orders", range(1, 11))
    with killed_at(redis, kill, source, done) as agent:
        wanted = (first if seen else []) + redis.add("orders", range(1001, 1011))
        agent.start()
        orders.wait_judged(agent, len(wanted))
        wait_until(lambda: pending(redis) == 0, 20, "everything to be acknowledged")
        orders.same_entries(wanted, agent.records())
        equal(orders.gaps(agent) + orders.gaps(agent, "divergence"), [])
        equal(len([r for r in agent.records("resume") if r.get("since")]), 1, "beginnings")


@case
def a_kill_right_after_the_group_was_made_is_no_gap():
    with Redis() as redis:
        goes_on_whole(redis, KillAt("mute", "XGROUP", "CREATE"), GROUP + ", start: now",
                      lambda: has_group(redis), seen=False)


@case
def a_kill_right_before_the_group_is_made_only_makes_it_later():
    for source, seen in ((", start: now", False), ("", True)):
        with Redis() as redis:
            goes_on_whole(redis, KillAt("drop", "XGROUP", "CREATE"), GROUP + source, seen=seen)


@case
def a_kill_before_the_stream_itself_is_made_makes_both_later():
    with Redis() as redis, killed_at(redis, KillAt("drop", "XGROUP", "CREATE"), GROUP) as agent:
        equal(redis.do("EXISTS", "orders"), 0)
        agent.start()
        wait_until(lambda: has_group(redis), 30, "the stream and its group")
        added = redis.add("orders", range(1, 11))
        orders.wait_judged(agent, 10)
        orders.same_entries(added, agent.records())
        equal(orders.gaps(agent), [])


@case
def a_kill_with_the_first_entries_under_way_is_no_gap():
    with Redis() as redis:
        goes_on_whole(redis, KillAt("mute", "XREADGROUP", ">"), GROUP,
                      lambda: pending(redis) == 10)


def remembered(agent, stream="orders"):
    """The bytes an agent that has ended knows of a stream."""
    with contextlib.closing(sqlite3.connect(os.path.join(agent.data_dir, "state.db"))) as db:
        (value,), = db.execute("SELECT value FROM state WHERE key = ?",
                               (f"source/orders/stream/{stream}".encode(),))
    return value


@case
def what_was_acknowledged_right_before_a_kill_is_not_remembered_for_ever():
    with Redis() as redis:
        redis.do("XGROUP", "CREATE", "orders", "dgf", "0", "MKSTREAM")
        added = redis.add("orders", range(1, 11))
        redis.do("XREADGROUP", "GROUP", "dgf", "gone", "STREAMS", "orders", ">")
        with killed_at(redis, KillAt("mute", "XACK"),
                       GROUP + ", claim_idle: 300ms, claim_interval: 200ms",
                       lambda: pending(redis) == 0) as agent:
            agent.start()
            orders.wait_streaming(agent)
            added += redis.add("orders", range(11, 13))
            orders.wait_judged(agent, 12)
            agent.stop()
            orders.same_entries(added, agent.records())
            state = remembered(agent)
        taken = [struct.pack("<QQ", *map(int, entry.split("-"))) for entry in added[:9]]
        equal([i for i, entry in enumerate(taken) if entry in state], [], "remembered")


@case
def a_stream_that_was_removed_is_not_made_again():
    with Redis() as redis, orders.watch(redis, source=GROUP + ", check: 100ms") as agent:
        wait_until(lambda: redis.do("EXISTS", "orders"), 30, "the stream")
        orders.wait_streaming(agent)
        redis.do("DEL", "orders")
        looks = commands(redis, "xinfo|stream")
        wait_until(lambda: commands(redis, "xinfo|stream") > looks + 5, 30, "a few looks at it")
        equal(redis.do("EXISTS", "orders"), 0)
        true(agent.running(), "the agent ended")


class HoldAcks:
    """Lets no XACK through before it is told to."""

    def __init__(self):
        self.held, self.goes = threading.Event(), threading.Event()

    def __call__(self, words):
        if words[0] != b"XACK":
            return None
        self.held.set()
        return None if self.goes.wait(30) else "drop"


@case
def an_agent_that_ends_waits_until_what_is_durable_is_acknowledged():
    hold = HoldAcks()
    with Redis() as redis, RedisProxy(redis, hold) as proxy, \
            orders.watch(redis, url=proxy.url, source=GROUP) as agent:
        added = redis.add("orders", range(1, 101))
        orders.wait_judged(agent, 100)
        wait_until(hold.held.is_set, 30, "the agent to acknowledge")
        more = redis.add("orders", range(101, 111))     # behind it in the answers, or never read
        agent.send(signal.SIGTERM)
        wait_until(lambda: "stopping" in agent.log_text(), 30, "the agent to stop")
        true(not agent.wait_gone(1), "it ended with its acknowledgement under way")
        hold.goes.set()
        equal(agent.exit_code(), 0)
        wait_until(lambda: not pending_of(redis, "dgf-orders") & set(added), 20,
                   "what was judged to be acknowledged")
        agent.start()
        orders.wait_judged(agent, 110)
        orders.same_entries(added + more, agent.records())
        wait_until(lambda: pending(redis) == 0, 20, "everything to be acknowledged")
        equal(orders.gaps(agent), [])


@case
def an_acknowledgement_nobody_answers_does_not_keep_the_agent_from_ending():
    hold = HoldAcks()
    with Redis() as redis, RedisProxy(redis, hold) as proxy, \
            orders.watch(redis, url=proxy.url, source=GROUP) as agent:
        agent.stop()
        added = redis.add("orders", range(1, 101))
        agent.start("--until-caught-up", wait=False)    # which has no other limit than this
        equal(agent.exit_code(), 0)
        true(hold.held.is_set(), "nothing was to be acknowledged")
        equal(len(agent.records("audit")), 100, "judged entries")
        hold.goes.set()
        agent.start()
        more = redis.add("orders", range(101, 111))
        orders.wait_judged(agent, 110)
        wait_until(lambda: pending(redis) == 0, 20, "everything to be acknowledged")
        orders.same_entries(added + more, agent.records())


def pending_of(redis, consumer):
    return {row[0] for row in redis.do("XPENDING", "orders", "dgf", "-", "+", 1000, consumer)}


def commands(redis, name):
    """How often the server ran it."""
    for line in redis.do("INFO", "commandstats").splitlines():
        if line.startswith(f"cmdstat_{name}:calls="):
            return int(line.split("=")[1].split(",")[0])
    return 0


if __name__ == "__main__":
    main(parallel=True)
