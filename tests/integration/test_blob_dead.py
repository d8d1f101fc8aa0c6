"""What Event Grid could not deliver, out of its dead-letter container."""

import json
import time
import uuid

import media
from azurite import Azurite, account_sas
from cases import case, equal, main, true
from changefeed import notice as notice_at
from fault_proxy import FaultProxy
from servers import wait_until

SOURCE = ", dead_letters: dead, feed_poll: 200ms"
REASON = "MaxDeliveryAttemptsExceeded"
WARNED = f"gave up on deliveries to the queue ({REASON})"


def notice(n, **more):
    """Of now: events are known again for 8 days."""
    return notice_at(n, **{"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **more})


def prepared(azurite, dead=True):
    azurite.put_container("media")
    azurite.put_queue("events")
    if dead:
        azurite.put_container("dead")


def names(numbers):
    return [f"media/out/{n}.csv" for n in numbers]


def undelivered(n, cloud=False, **more):
    """The n-th change as Event Grid puts it away."""
    words = ("deadLetterReason", REASON), ("deliveryAttempts", 30), \
        ("lastDeliveryOutcome", "NotFound"), ("publishTime", "2026-01-10T10:00:00Z"), \
        ("lastDeliveryAttemptTime", "2026-01-10T10:09:00Z")
    return {**notice(n, cloud=cloud, **more),
            **{name.lower() if cloud else name: value for name, value in words}}


def folder(hours=0, padded=False, subscription="DGF"):
    """Of the hour so many hours from now."""
    at = time.gmtime(time.time() + hours * 3600)
    day = ("{:02}/{:02}/{:02}" if padded else "{}/{}/{}").format(
        at.tm_mon, at.tm_mday, at.tm_hour)
    return f"ACCT-TOPIC/{subscription}/{at.tm_year}/{day}"


def put(azurite, events, name=None, where=None, **more):
    """A blob of dead letters; answers its path."""
    path = f"dead/{where or folder(**more)}/{name or uuid.uuid4()}.json"
    azurite.put_blob(path, events if isinstance(events, bytes) else json.dumps(events))
    return path


def wait_said(agent, text, seconds=60):
    return agent.wait(lambda s: text in s["sources"]["files"]["reason"], seconds,
                      f"the source to say '{text}'")


@case
def both_schemas_are_judged_once_with_what_the_queue_brought():
    with Azurite() as azurite:
        prepared(azurite)
        azurite.put_message("events", notice(1))
        paths = [put(azurite, [undelivered(2), undelivered(3, cloud=True), undelivered(1)]),
                 put(azurite, [undelivered(4)], padded=True, subscription="OTHER"),
                 put(azurite, [undelivered(2, cloud=True), undelivered(5)]),
                 put(azurite, undelivered(6))]
        put(azurite, [undelivered(90)], hours=-30)       # before this agent was there
        azurite.put_blob("dead/README.md", b"not of Event Grid")
        content = [azurite.get_blob(path) for path in paths]
        with media.watch(azurite, source=SOURCE) as agent:
            media.wait_judged(agent, 6)
            media.wait_empty(azurite)
            azurite.put_message("events", notice(5))     # while it runs: of both, of each
            azurite.put_message("events", notice(8))
            put(azurite, [undelivered(7)], name="z")
            media.wait_judged(agent, 8)
            media.wait_empty(azurite)
            put(azurite, [undelivered(10)], name="0")    # behind what was read of the hour
            media.wait_judged(agent, 9)
            put(azurite, [undelivered(11)], hours=1)
            media.wait_judged(agent, 10)
            put(azurite, [undelivered(12)], name="1")    # of the hour before the last
            media.wait_judged(agent, 11)
            media.once_each(names([*range(1, 9), 10, 11, 12]), agent.records())
            true(all(r["event"]["op"] == "create" for r in agent.records("audit")), "ops")
            wait_said(agent, WARNED)
            equal(agent.status()["health"], "degraded")
            agent.wait(lambda s: s["sources"]["files"]["counted"]["dead_letters"] >= 8, 30,
                       "the count of dead letters")
            equal(agent.log_text().count(WARNED), 1, "how often the log says it")
            true("NotFound" not in agent.log_text() and "out/2.csv" not in agent.log_text(),
                 "an event's words are in the log")
            agent.kill9()
            agent.start()                                # what was read is not read again
            put(azurite, [undelivered(9)])
            media.wait_judged(agent, 12)
            media.once_each(names(range(1, 13)), agent.records())
            equal((media.whys(agent), media.gaps(agent)), ([], []))
            agent.verify()
            agent.stop()
            true(media.counted(agent)["dead_letters"] >= 7, media.counted(agent))
        equal([azurite.get_blob(path) for path in paths], content)


@case
def what_is_no_event_is_a_record_and_those_around_it_are_judged():
    with Azurite() as azurite:
        prepared(azurite)
        good = json.dumps(undelivered(3)).encode()
        blobs = [b"hello", b"", b"[]", b"[" + good + b", {\"a\": ", b"[5, " + good + b"]",
                 b" " * (9 << 20), b"[{\"a\": \"" + b"x" * (300 << 10) + b"\"}]",
                 b"\xef\xbb\xbf[ " + json.dumps(undelivered(4)).encode() + b" ]\n"]
        for n, content in enumerate(blobs):
            put(azurite, content, name=f"{n}")
        control = b'{"eventType": "Control", "id": "k"}'
        put(azurite, b"[" + b",".join([control] * 20001) + b"]", name="many")
        put(azurite, [undelivered(1), undelivered(80, event_type="BlobVanished"),
                      undelivered(81, account="somebodyelse"), {"id": "no event"},
                      undelivered(2)], name="z")
        with media.watch(azurite, source=SOURCE) as agent:
            media.wait_judged(agent, 4)
            agent.wait_records(9, "undecodable")
            media.once_each(names([1, 2, 3, 4]), agent.records())
            wanted = sorted([
                ("dead letter", "it is no list of events"),
                ("dead letter", "its end is no list of events"),
                ("dead letter", "it holds more than 20,000 events"),
                ("event", "it is no object"),
                ("dead letter", "it is larger than 8 MiB; its hash is of the first 8 MiB"),
                ("event", "it is larger than 256 KiB"),
                ("event", "its type of event is unknown"),
                ("event", "it is of another storage account"),
                ("event", "it has no type of event")])
            equal(sorted(media.whys(agent)), wanted)
            agent.kill9()
            agent.start()
            put(azurite, [undelivered(5)])
            media.wait_judged(agent, 5)
            equal(sorted(media.whys(agent)), wanted)     # each once
            true(all(len(r["hash"]) > 20 for r in agent.records("undecodable")), "no hash")
            agent.verify()
            agent.stop()
            equal(media.counted(agent)["empty"], 2)
            equal(media.counted(agent)["control"], 20000)


@case
def a_container_that_is_not_there_is_said_and_read_once_it_is():
    with Azurite() as azurite:
        prepared(azurite, dead=False)
        agent = media.watch(azurite, source=SOURCE)
        done = agent.run("check", "-c", agent.config, check=False)
        equal(done.returncode, 1, done.stdout + done.stderr)
        for text in ("E0653", "container 'dead' of dead letters does not exist",
                     "az storage container create"):
            true(text in done.stdout, f"'{text}' is not in:\n{done.stdout}")
        with agent:
            wait_said(agent, "container 'dead' of dead letters does not exist")
            azurite.put_message("events", notice(1))
            media.once_each(names([1]), media.wait_judged(agent, 1))
            azurite.put_container("dead")
            put(azurite, [undelivered(2)])
            media.once_each(names([1, 2]), media.wait_judged(agent, 2))
            wait_said(agent, WARNED)
            done = agent.run("check", "-c", agent.config, check=False)
            true("error[" not in done.stdout + done.stderr, done.stdout + done.stderr)


@case
def dead_letters_are_read_while_the_queue_is_gone():
    with Azurite() as azurite:
        azurite.put_container("media")
        azurite.put_container("dead")
        put(azurite, [undelivered(1)])
        with media.watch(azurite, source=SOURCE) as agent:
            media.wait_judged(agent, 1)
            wait_said(agent, "cannot read the queue: it does not exist")
            azurite.put_queue("events")
            azurite.put_message("events", notice(2))
            media.once_each(names([1, 2]), media.wait_judged(agent, 2, 120))


@case
def rights_to_read_are_enough_for_the_container():
    with Azurite() as azurite:
        prepared(azurite)
        put(azurite, [undelivered(1)])
        agent = media.watch(azurite, source=SOURCE)
        text = media.config(azurite, source=SOURCE, key=False)
        for rights in ("lp", "rlp"):                    # p: to take messages off the queue
            agent.write_config(text.replace(", insecure", ', auth: sas, sas: "' + account_sas(
                azurite, rights) + '", insecure'))
            if rights == "lp":
                agent.start()
                wait_said(agent, "cannot read a dead letter: 403")
                wait_said(agent, "it needs the role 'Storage Blob Data Reader'")
                azurite.put_message("events", notice(2))
                media.once_each(names([2]), media.wait_judged(agent, 1))
                agent.stop()
        with agent:
            media.once_each(names([1, 2]), media.wait_judged(agent, 2))
            agent.verify()


@case
def kills_while_letters_are_read_lose_and_repeat_nothing():
    with Azurite() as azurite:
        prepared(azurite)
        n = 0
        with media.watch(azurite, source=SOURCE + ", visibility: 2s, max_dequeues: 100") as agent:
            for turn in range(8):
                put(azurite, [undelivered(n + i) for i in range(60)])
                for i in range(0, 60, 3):                # a third comes by the queue too
                    azurite.put_message("events", notice(n + i))
                put(azurite, [undelivered(n + i, cloud=True) for i in range(60, 90)])
                n += 90
                agent.wait_records(10 * turn, "audit", 60)
                agent.kill9()
                agent.start(wait=turn % 2 == 0)
            media.wait_judged(agent, n, 120)
            media.wait_empty(azurite, seconds=120)
            records = agent.records()
            media.once_each(names(range(n)), records)
            equal(len({r["id"] for r in records}), len(records), "distinct records")
            equal((media.whys(agent), media.gaps(agent)), ([], []))
            agent.verify()


@case
def wrong_options_are_said_before_anything_starts():
    with Azurite() as azurite:
        agent = media.watch(azurite)
        for wrong, text in (
                ({"queue": None, "feed": True, "source": ", dead_letters: dead"},
                 "'dead_letters' needs 'queue'"),
                ({"source": ", dead_letters: \"Dead/Letters\""},
                 "'dead_letters' must be the name of a container")):
            agent.write_config(media.config(azurite, **wrong))
            done = agent.run("check", "-c", agent.config, check=False)
            equal(done.returncode, 78, done.stdout + done.stderr)
            true(text in done.stdout + done.stderr, f"'{text}' is not in {done.stderr}")
        agent.folder.remove()


@case
def a_storage_that_answers_badly_costs_time_only():
    with Azurite() as azurite, FaultProxy(azurite.blob_port) as blobs:
        prepared(azurite)
        source = SOURCE + ", timeout: 1s"
        agent = media.watch(azurite, source=source)
        agent.write_config(media.config(azurite, source=source).replace(
            azurite.url(), blobs.url(azurite.account)))
        for n in range(4):
            put(azurite, [undelivered(2 * n), undelivered(2 * n + 1)], name=f"{n}")
        gone = put(azurite, [undelivered(90)], name="y")
        blobs.fault("status", 503, "ServerBusy", method="GET", path="/dead$", times=2)
        blobs.fault("torn", method="GET", path="/dead$", query="prefix=ACCT", times=1)
        blobs.fault("torn", method="GET", path="/dead/.*/1.json$", times=1)
        blobs.fault("hang", method="GET", path="/dead/.*/2.json$", times=1)
        blobs.fault("status", 409, "BlobArchived", method="GET", path="/dead/.*/3.json$")
        blobs.fault("status", 404, "BlobNotFound", method="GET", path="/dead/.*/y.json$")
        with agent:
            media.wait_judged(agent, 6)
            agent.wait_records(2, "undecodable")
            media.once_each(names(range(6)), agent.records())
            equal(sorted(media.whys(agent)),
                  [("dead letter", "it cannot be read: 409 BlobArchived"),
                   ("dead letter", "it was removed before it could be read")])
            put(azurite, [undelivered(7)])
            media.wait_judged(agent, 7)
            true(blobs.count(path=gone) == 1, "it is asked for again")
            agent.verify()


@case
def hours_are_looked_at_for_two_days_and_a_long_absence_is_caught_up():
    with Azurite() as azurite, FaultProxy(azurite.blob_port) as blobs:
        prepared(azurite)
        agent = media.watch(azurite, source=SOURCE)
        agent.write_config(media.config(azurite, source=SOURCE).replace(
            azurite.url(), blobs.url(azurite.account)))
        first = put(azurite, [undelivered(1)], name="m")

        def judged(numbers, again=False):
            """again: after a start, when a pass goes back as far as it may."""
            if again:
                agent.kill9()
                agent.start()
            media.once_each(names(numbers), media.wait_judged(agent, len(numbers)))
            asked = blobs.count(query="prefix=ACCT")     # and that pass came to its end
            wait_until(lambda: blobs.count(query="prefix=ACCT") > asked + 30, 60, "more passes")
            equal(len(media.paths(agent.records())), len(numbers))

        with agent:
            judged([1])
            blobs.hours = 47                             # by the server's clock
            put(azurite, [undelivered(2)], name="a")
            judged([1, 2], again=True)
            blobs.hours = 60
            put(azurite, [undelivered(3)], hours=60)
            put(azurite, [undelivered(4)], hours=20)     # none of the last hours
            judged([1, 2, 3])
            judged([1, 2, 3, 4], again=True)
            put(azurite, [undelivered(90)], name="z")    # 60 hours late: no longer
            put(azurite, [undelivered(5)], hours=61)
            judged([1, 2, 3, 4, 5], again=True)
            agent.stop()
            blobs.hours = 24 * 75                        # away for months
            for n, days in ((6, 10), (7, 33), (8, 40), (9, 74.9)):
                put(azurite, [undelivered(n)], hours=24 * days)
            agent.start()
            judged(range(1, 10))
            equal(blobs.count(method="GET", path=first), 1, "how often it was read")
            equal((media.whys(agent), media.gaps(agent)), ([], []))
            agent.verify()


if __name__ == "__main__":
    main(parallel=True)
