"""Blob Storage as a source behind a proxy that refuses, and a queue that is taken away."""

import email.utils
import re
import time

import media
from azurite import Azurite
from cases import case, equal, main, note, true
from changefeed import ChangeFeed, change, notice
from fault_proxy import FaultProxy
from servers import wait_until

HOUR = "2035-01-10T10:00"       # after the agent began: what only the feed has is late


def names(numbers):
    return [f"media/out/{n}.csv" for n in numbers]


def prepared(azurite):
    azurite.put_container("media")
    azurite.put_queue("events")


def behind(azurite, blobs, queues, **more):
    """An agent whose requests go through two proxies."""
    agent = media.watch(azurite, **more)
    agent.write_config(media.config(azurite, **more)
                       .replace(azurite.url("queue"), queues.url(azurite.account))
                       .replace(azurite.url(), blobs.url(azurite.account)))
    return agent


def when(text):
    return time.mktime(time.strptime(text[:19] + " UTC", "%Y-%m-%dT%H:%M:%S %Z"))


@case
def a_queue_that_is_taken_away_and_comes_back_is_a_gap_with_bounds():
    with Azurite() as azurite:
        prepared(azurite)
        azurite.put_message("events", notice(1))
        with media.watch(azurite) as agent:
            media.wait_judged(agent, 1)
            media.wait_empty(azurite)
            agent.stop()                            # it goes while nobody looks
            read = time.time()
            azurite.put_message("events", notice(2))
            azurite.delete_queue("events")
            time.sleep(2)
            agent.start()
            agent.wait(lambda s: "it does not exist" in s["sources"]["files"]["reason"], 30,
                       "the missing queue to be said")
            time.sleep(1)                           # what is remembered gets to the disk
            agent.kill9()
            azurite.put_queue("events")             # and it comes back while nobody looks
            there = time.time()
            azurite.put_message("events", notice(3))
            agent.start()
            media.once_each(names([1, 3]), media.wait_judged(agent, 2, 120))
            equal(media.gaps(agent), [("queue_expired", "queue", "queue")])
            detail = agent.records("gap")[0]["detail"]
            true(when(detail["since"]) <= read + 1, f"{detail}, last read at {read}")
            true(when(detail["until"]) >= there - 1, f"{detail}, there again at {there}")
            equal([r["kind"] for r in agent.records() if r["kind"] in ("gap", "audit")],
                  ["audit", "gap", "audit"])
            agent.verify()


@case
def a_clock_that_is_wrong_is_said_with_how_much():
    with Azurite() as azurite, FaultProxy(azurite.blob_port) as blobs, \
            FaultProxy(azurite.queue_port) as queues:
        prepared(azurite)
        for proxy, seconds in ((queues, 3599), (blobs, -1800)):
            proxy.fault("status", 403, "AuthenticationFailed",
                        ("Date", email.utils.formatdate(time.time() + seconds, usegmt=True)),
                        times=-1)
        azurite.put_message("events", notice(1))
        with behind(azurite, blobs, queues) as agent:
            found = agent.wait(lambda s: "the clock of this machine is" in
                               s["sources"]["files"]["reason"], 30, "the clock to be said")
            reason = found["sources"]["files"]["reason"]
            true("cannot read the queue: 403 AuthenticationFailed" in reason, reason)
            found = re.search(r"is (\d+)([sm]) behind the server's: set it", reason)
            seconds = int(found[1]) * (60 if found[2] == "m" else 1) if found else 0
            true(3400 < seconds < 3600, reason)
            true(azurite.key not in agent.log_text(), "a key is in the log")
            agent.stop()
            queues.clear()
            blobs.clear()
            agent.start()                           # not after the half minute it waits
            media.once_each(names([1]), media.wait_judged(agent, 1, 120))
            equal(media.gaps(agent), [])
        done = clock_of_check(azurite, blobs, queues)
        true("ahead of the server's" in done, done)


def clock_of_check(azurite, blobs, queues):
    """What `dgf check` says when the server's clock is half an hour behind."""
    for proxy in (blobs, queues):
        proxy.fault("status", 403, "AuthenticationFailed",
                    ("Date", email.utils.formatdate(time.time() - 1800, usegmt=True)), times=-1)
    agent = behind(azurite, blobs, queues)
    try:
        done = agent.run("check", "-c", agent.config, check=False)
        equal(done.returncode, 1, done.stdout + done.stderr)
        return done.stdout + done.stderr
    finally:
        agent.folder.remove()


@case
def storms_of_503_are_waited_out_and_nothing_is_skipped():
    with Azurite() as azurite, FaultProxy(azurite.blob_port) as blobs, \
            FaultProxy(azurite.queue_port) as queues:
        prepared(azurite)
        feed = ChangeFeed(azurite)
        feed.consumable("2026-01-09T00:00")
        with behind(azurite, blobs, queues, feed=True, source=", visibility: 2s, inspect: 1h") \
                as agent:
            agent.wait_source("files", "streaming")
            for proxy in (blobs, queues):
                proxy.fault("status", 503, "ServerBusy", times=-1)
            for n in range(30):
                azurite.put_message("events", notice(n, time=HOUR + ":30Z"))
            feed.hour(HOUR, [[change(n, time=HOUR + ":30Z") for n in range(n, 40, 2)]
                             for n in (0, 1)])
            feed.consumable(HOUR)
            agent.wait(lambda s: s["health"] != "ok" and "503 ServerBusy" in
                       s["sources"]["files"]["reason"], 30, "the storm to be said")
            first = [proxy.count(status=503) for proxy in (blobs, queues)]
            start = time.monotonic()
            wait_until(lambda: time.monotonic() - start > 4, 60, "four seconds of the storm")
            took = time.monotonic() - start
            asked = [proxy.count(status=503) - n for proxy, n in zip((blobs, queues), first)]
            true(all(n <= 4 * took for n in asked), f"{asked} requests in {took:.1f} s")
            equal(media.paths(agent.records()), [])
            for proxy in (blobs, queues):           # then every other request, for a while
                proxy.clear()
                for skip in range(1, 24, 2):
                    proxy.fault("status", (503, 429, 500)[skip % 3], "ServerBusy", skip=skip)
            media.wait_judged(agent, 40, 180)
            media.wait_read_to(agent, HOUR, 180)
            media.wait_empty(azurite, seconds=180)
            agent.wait(lambda s: s["health"] == "ok", 120, "health")
            media.once_each(names(range(40)), agent.records())
            equal((media.gaps(agent), media.whys(agent)), ([], []))
            agent.verify()
            note(f"{asked} requests in {took:.1f} s of the storm")


if __name__ == "__main__":
    main(parallel=True)
