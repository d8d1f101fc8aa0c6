"""Events of Blob Storage out of a Storage queue."""

import json
import time
import xml.etree.ElementTree

import media
from azurite import Azurite
from cases import case, equal, main, true
from changefeed import notice
from servers import free_port, wait_until


def prepared(azurite):
    azurite.put_container("media")
    azurite.put_queue("events")


def names(numbers, container="media"):
    return [f"{container}/out/{n}.csv" for n in numbers]


def get(azurite, hide=1, queue="events", most=32):
    """Messages as another reader gets them: [(id, receipt, dequeues)]."""
    body = azurite.do("GET", f"/{queue}/messages", {"numofmessages": str(most),
                                                    "visibilitytimeout": str(hide)},
                      service="queue")[1]
    return [(m.findtext("MessageId"), m.findtext("PopReceipt"), int(m.findtext("DequeueCount")))
            for m in xml.etree.ElementTree.fromstring(body).iter("QueueMessage")]


@case
def messages_of_every_form_are_judged_once_and_deleted():
    with Azurite() as azurite:
        prepared(azurite)
        azurite.put_message("events", notice(1))
        azurite.put_message("events", notice(2, cloud=True))
        azurite.put_message("events", json.dumps(notice(3)), plain=True)
        azurite.put_message("events", [notice(4), notice(5, cloud=True)])
        azurite.put_message("events", json.dumps([notice(6)]), plain=True)
        azurite.put_message("events", notice(7, event_type="BlobDeleted"))
        azurite.put_message("events", notice(8, event_type="BlobTierChanged"))
        for n in (1, 4, 2):                       # again, in another order
            azurite.put_message("events", notice(n, cloud=n == 1))
        with media.watch(azurite) as agent:
            media.wait_judged(agent, 8)
            media.wait_empty(azurite)
            records = agent.records()
            media.once_each(names(range(1, 9)), records)
            equal(dict(media.judged(records))["media/out/7.csv"], "delete")
            equal(dict(media.judged(records))["media/out/8.csv"], "alter")
            equal(len(agent.records("violation")), 6)
            equal({r["event"]["position"] for r in records if r["kind"] == "audit"}, {"queue"})
            equal(media.whys(agent), [])
            equal(agent.status()["sources"]["files"]["guarantee"], "partial")
            agent.kill9()
            azurite.put_message("events", notice(3))     # again, after a restart
            azurite.put_message("events", notice(9))
            agent.start()
            media.wait_judged(agent, 9)
            media.wait_empty(azurite)
            media.once_each(names(range(1, 10)), agent.records())
            agent.verify()


@case
def messages_of_one_blob_are_judged_in_their_order():
    with Azurite() as azurite:
        prepared(azurite)
        for n, kind in ((3, "BlobDeleted"), (1, "BlobCreated"), (2, "BlobTierChanged")):
            azurite.put_message("events", notice(n, path="same.txt", event_type=kind))
        with media.watch(azurite) as agent:
            equal([op for _, op in media.judged(media.wait_judged(agent, 3))],
                  ["create", "alter", "delete"])


@case
def what_is_no_event_is_a_record_and_the_events_around_it_are_judged():
    with Azurite() as azurite:
        prepared(azurite)
        bad = [("hello there", "it is neither JSON nor base64"),
               ("aGVsbG8=", "it is no JSON"), ("[1", "it is no JSON"),
               ("x" * 65536, "it is no JSON"),       # base64 of something
               ('{"a": 123456789012345678901234567890}', "it is no JSON")]
        for n, (text, _) in enumerate(bad):
            azurite.put_message("events", text, plain=True)
            azurite.put_message("events", notice(n))
        azurite.put_message("events", notice(80, event_type="BlobVanished"))
        azurite.put_message("events", notice(81, account="somebodyelse"))
        azurite.put_message("events", {**notice(82), "subject": "/blobServices/default"})
        azurite.put_message("events", [notice(83), 5])
        azurite.put_message("events", " ", plain=True)
        azurite.put_message("events", {"id": "v", "eventType":
                                       "Microsoft.EventGrid.SubscriptionValidationEvent",
                                       "eventTime": "2026-01-10T10:00:00Z", "data": {}})
        with media.watch(azurite) as agent:
            media.wait_judged(agent, len(bad) + 1)
            agent.wait_records(len(bad) + 4, "undecodable")
            media.wait_empty(azurite)
            media.once_each(names([*range(len(bad)), 83]), agent.records())
            equal(sorted(media.whys(agent)), sorted(
                [("message", why) for _, why in bad] +
                [("event", why) for why in ("its type of event is unknown",
                                            "it is of another storage account",
                                            "its subject names no blob", "it is no object")]))
            media.wait_streaming(agent, "9 undecodable, the last: ")
            agent.stop()
            equal(media.counted(agent), {"empty": 1, "validation": 1})
            true("somebodyelse" not in agent.log_text(), "an event's words are in the log")


@case
def a_message_that_was_handed_out_too_often_is_recorded_and_deleted():
    with Azurite() as azurite:
        prepared(azurite)
        azurite.put_message("events", notice(1))
        for _ in range(3):
            wait_until(lambda: get(azurite), 20, "the message to be visible")
        with media.watch(azurite, source=", max_dequeues: 2") as agent:
            agent.wait_records(1, "undecodable")
            media.wait_empty(azurite)
            equal(media.whys(agent),
                  [("message", "it was handed out 4 times without being judged")])
            equal(media.paths(agent.records()), [])
            azurite.put_message("events", notice(2))
            media.once_each(names([2]), media.wait_judged(agent, 1))


@case
def messages_are_held_until_what_they_said_is_durable():
    with Azurite() as azurite:
        prepared(azurite)
        for n in range(5):
            azurite.put_message("events", notice(n))
        sinks = (f'sinks: {{out: {{type: kafka, brokers: ["127.0.0.1:{free_port()}"], '
                 "insecure: true}}\n")
        agent = media.watch(azurite, source=", visibility: 2s", more=sinks)
        agent.write_config(media.config(azurite, source=", visibility: 2s", more=sinks)
                           .replace("agent: {", "agent: {ack: sinks, "))
        with agent:
            media.wait_judged(agent, 5)
            end = time.monotonic() + 5
            while time.monotonic() < end:         # more than twice the time they are hidden
                equal(get(azurite), [], "messages another reader gets")
                time.sleep(0.2)
            equal(azurite.count("events"), 5)
            agent.kill9()
            left = wait_until(lambda: get(azurite), 20, "the messages to be visible again")
            equal({count for _, _, count in left}, {2}, "times handed out")


@case
def a_queue_that_is_not_there_is_said_and_read_once_it_is():
    with Azurite() as azurite:
        azurite.put_container("media")
        with media.watch(azurite) as agent:
            agent.wait(lambda s: "cannot read the queue: it does not exist" in
                       s["sources"]["files"]["reason"], 30, "the missing queue to be said")
            azurite.put_queue("events")
            azurite.put_message("events", notice(1))
            media.once_each(names([1]), media.wait_judged(agent, 1, 90))


@case
def an_absence_longer_than_messages_live_is_a_gap():
    with Azurite() as azurite:
        prepared(azurite)
        azurite.put_message("events", notice(1), ttl=2)
        with media.watch(azurite) as agent:
            media.wait_judged(agent, 1)
            media.wait_empty(azurite)
            agent.stop()
            azurite.put_message("events", notice(2), ttl=1)
            time.sleep(3)
            azurite.put_message("events", notice(3))
            agent.start()
            media.once_each(names([1, 3]), media.wait_judged(agent, 2))
            equal(media.gaps(agent), [("queue_expired", "queue", "queue")])
            true({"since", "until"} <= set(agent.records("gap")[0]["detail"]), "no bounds")
            equal([r["kind"] for r in agent.records() if r["kind"] in ("gap", "audit")],
                  ["audit", "gap", "audit"])


if __name__ == "__main__":
    main(parallel=True)
