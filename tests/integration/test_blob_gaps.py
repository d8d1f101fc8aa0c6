"""What the change feed no longer has when it is to be read: each loss is a gap with bounds."""

import media
from azurite import Azurite
from cases import case, equal, main
from changefeed import CONTAINER, ChangeFeed, change, chunk
from fault_proxy import FaultProxy

FIRST, SECOND, THIRD = "2026-01-10T10:00", "2026-01-10T11:00", "2026-01-10T12:10"
LATER, LAST = "2026-01-13T10:00", "2026-01-15T20:00"
LOG = "2026/01/10/1000"


def names(numbers):
    return [f"media/out/{n}.csv" for n in numbers]


def changes(hour, numbers):
    return [change(n, time=hour + ":01.5000000Z") for n in numbers]


def torn(hour, numbers, by=30):
    """A chunk whose last block is not whole, so that reading waits in it."""
    return chunk(changes(hour, numbers))[:-by]


def feed_of(azurite):
    azurite.put_container("media")
    return ChangeFeed(azurite)


def manifest(hour):
    return f"{CONTAINER}/idx/segments/{hour[:10].replace('-', '/')}/{hour[11:13]}{hour[14:]}" \
           "/meta.json"


def watch(azurite, url=None, feed_poll="100ms"):
    """An agent that reads the feed only; through a proxy when its address is given."""
    agent = media.watch(azurite, queue=None, feed=True, feed_poll=feed_poll)
    if url:
        agent.write_config(media.config(azurite, queue=None, feed=True, feed_poll=feed_poll)
                           .replace(azurite.url(), url))
    return agent


@case
def hours_removed_while_we_were_away_are_one_gap_and_a_quiet_week_is_none():
    with Azurite() as azurite:
        feed = feed_of(azurite)
        feed.hour(FIRST, [changes(FIRST, [1])])
        feed.consumable(FIRST)
        with watch(azurite) as agent:
            media.wait_read_to(agent, FIRST)
            agent.stop()
            feed.hour(LATER, [changes(LATER, [2])])         # nothing happened in between
            feed.consumable(LATER)
            agent.start()
            media.wait_read_to(agent, LATER)
            equal(media.gaps(agent), [])
            agent.stop()
            azurite.delete_blob(manifest(FIRST))            # retention goes on
            azurite.delete_blob(manifest(LATER))
            feed.hour(LAST, [changes(LAST, [3])])
            feed.consumable(LAST)
            agent.start()
            media.wait_read_to(agent, LAST)
            equal(media.paths(agent.records()), names([1, 2, 3]))
            equal(media.gaps(agent),
                  [("retention_exceeded", "2026/01/13/1100:0.0", "2026/01/15/2000:0.0")])
            equal([r["kind"] for r in agent.records() if r["kind"] in ("gap", "audit")],
                  ["audit", "audit", "gap", "audit"])
            agent.kill9()                                   # it is not said again
            agent.start()
            media.wait_read_to(agent, LAST)
            equal(len(media.gaps(agent)), 1)
            agent.verify()


@case
def hours_removed_before_the_first_pass_ended_are_a_gap():
    with Azurite() as azurite:
        feed = feed_of(azurite)
        feed.hour(FIRST, [changes(FIRST, [1])])
        feed.hour(SECOND, [[torn(SECOND, range(2, 22))]])   # the pass waits here
        feed.consumable(SECOND)
        with watch(azurite, feed_poll="1h") as agent:
            media.wait_judged(agent, 11)
            here = agent.records("audit")[-1]["event"]["position"]
            agent.stop()
            for hour in (FIRST, SECOND):
                azurite.delete_blob(manifest(hour))
            feed.hour(LATER, [changes(LATER, [30])])
            feed.consumable(LATER)
            agent.start()
            media.wait_read_to(agent, LATER)
            equal(media.paths(agent.records()), names([*range(1, 12), 30]))
            equal(media.gaps(agent), [("retention_exceeded", here, "2026/01/13/1000:0.0")])


@case
def an_hour_that_goes_between_its_list_and_its_turn_is_a_gap():
    with Azurite() as azurite, FaultProxy(azurite.blob_port) as proxy:
        feed = feed_of(azurite)
        for hour, n in ((FIRST, 1), (SECOND, 2), (THIRD, 3)):
            feed.hour(hour, [changes(hour, [n])])
        feed.consumable(THIRD)
        proxy.fault("status", 404, "BlobNotFound", method="GET", path="/1100/meta.json", times=-1)
        with watch(azurite, proxy.url(azurite.account)) as agent:
            media.wait_read_to(agent, THIRD)
            equal(media.paths(agent.records()), names([1, 3]))
            equal(media.gaps(agent),
                  [("retention_exceeded", "2026/01/10/1100:0.0", "2026/01/10/1210:0.0")])
            feed.hour("2026-01-10T13:00", [changes("2026-01-10T13:00", [4])])
            proxy.fault("status", 404, "BlobNotFound", method="GET", path="/1300/meta.json")
            feed.consumable("2026-01-10T13:00")
            media.wait_read_to(agent, "2026-01-10T13:00")
            equal(media.gaps(agent)[1:],
                  [("retention_exceeded", "2026/01/10/1310:0.0", "2026/01/10/1400:0.0")])


@case
def a_chunk_removed_while_nobody_reads_is_a_gap_and_the_next_is_read():
    with Azurite() as azurite:
        feed = feed_of(azurite)
        feed.hour(FIRST, [[torn(FIRST, range(20)), chunk(changes(FIRST, [30]))],
                          [torn(FIRST, range(40, 60))]])
        feed.hour(SECOND, [changes(SECOND, [70])])
        feed.consumable(SECOND)
        with watch(azurite, feed_poll="1h") as agent:
            media.wait_judged(agent, 10)
            first = agent.records("audit")[-1]["event"]["position"]
            agent.kill9()
            azurite.delete_blob(feed.chunk_path(FIRST, 0))
            agent.start()
            media.wait_judged(agent, 21)            # the next chunk, then the next shard
            second = agent.records("audit")[-1]["event"]["position"]
            agent.kill9()
            azurite.delete_blob(feed.chunk_path(FIRST, 1))
            agent.start()
            media.wait_read_to(agent, SECOND)
            equal(media.paths(agent.records()), names([*range(10), 30, *range(40, 50), 70]))
            equal(media.gaps(agent),
                  [("retention_exceeded", first, f"{LOG}/00/00000.avro:end"),
                   ("retention_exceeded", second, f"{LOG}/01/00000.avro:end")])
            equal(media.whys(agent), [])
            agent.verify()


@case
def a_chunk_that_goes_while_it_is_read_is_a_gap():
    with Azurite() as azurite, FaultProxy(azurite.blob_port) as proxy:
        feed = feed_of(azurite)
        whole = chunk(changes(FIRST, range(10)))
        feed.hour(FIRST, [[whole, chunk(changes(FIRST, [30]))], changes(FIRST, [40])])
        feed.consumable(FIRST)
        proxy.fault("status", 404, "BlobNotFound", method="GET", path="/00000.avro", times=1)
        proxy.fault("status", 416, "InvalidRange", method="GET", path="/00001.avro", times=1)
        with watch(azurite, proxy.url(azurite.account)) as agent:
            media.wait_read_to(agent, FIRST)
            equal(media.paths(agent.records()), names([40]))
            equal(media.gaps(agent)[0], ("retention_exceeded", f"{LOG}/00/00000.avro:0.0",
                                         f"{LOG}/00/00000.avro:{len(whole)}.0"))
            equal([gap[1] for gap in media.gaps(agent)][1:], [f"{LOG}/00/00001.avro:0.0"])


@case
def an_answer_shorter_than_the_chunk_is_asked_for_again():
    with Azurite() as azurite, FaultProxy(azurite.blob_port) as proxy:
        feed = feed_of(azurite)
        content = chunk(changes(FIRST, range(60)))
        feed.hour(FIRST, [[content]])
        feed.consumable(FIRST)
        proxy.fault("short", method="GET", path="/00000.avro", times=2)
        proxy.fault("torn", method="GET", path="/00000.avro", times=2, skip=2)
        with watch(azurite, proxy.url(azurite.account)) as agent:
            media.wait_read_to(agent, FIRST)
            equal(media.paths(agent.records()), names(range(60)))
            equal((media.gaps(agent), media.whys(agent)), ([], []))


if __name__ == "__main__":
    main(parallel=True)
