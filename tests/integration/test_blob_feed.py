"""The Blob change feed, alone and beside the queue."""

import json
import os
import subprocess

import media
from azurite import Azurite
from cases import case, equal, main, true
from changefeed import CONTAINER, ChangeFeed, change, chunk, event_id, notice
from node import node, npm_folder
from servers import TOP, wait_until

FIRST, SECOND, THIRD = "2026-01-10T10:00", "2026-01-10T11:00", "2026-01-10T12:10"


def names(numbers):
    return [f"media/out/{n}.csv" for n in numbers]


def at(hour, n, **more):
    """The n-th change, in that hour."""
    return change(n, time=hour + ":01.5000000Z", **more)


def feed_of(azurite, **more):
    azurite.put_container("media")
    return ChangeFeed(azurite, **more)


def watch(azurite, queue=None, source="", **more):
    return media.watch(azurite, queue=queue, feed=True, source=source, **more)


def whole(version):
    """One change of each type a version knows."""
    found = [at(FIRST, 1, version=version), at(FIRST, 2, version=version,
                                               event_type="BlobDeleted", path="out/1.csv"),
             at(FIRST, 3, version=version, event_type="Control")]
    if version >= 3:
        found += [at(FIRST, 4, version=version, event_type="BlobPropertiesUpdated",
                     previousInfo={"SoftDeleteSnapshot": "2026"}, snapshot="2026-01-10",
                     blobPropertiesUpdated={"ContentLanguage": {"current": "pl",
                                                                "previous": "nl-NL"}}),
                  at(FIRST, 5, version=version, event_type="BlobSnapshotCreated")]
    if version >= 4:
        found += [at(FIRST, 6, version=version, event_type="BlobTierChanged", blobTier="Archive",
                     previousInfo={"PreviousTier": "Hot"}),
                  at(FIRST, 7, version=version, event_type="BlobAsyncOperationInitiated",
                     asyncOperationInfo={"DestinationTier": "Hot", "CopyId": "c"})]
    if version >= 5:
        found += [at(FIRST, 8, version=version, event_type="BlobPropertiesUpdated",
                     blobTagsUpdated={"previous": {"a": "1"}, "current": {"a": "2"}}),
                  at(FIRST, 9, version=version, event_type="RestorePointMarkerCreated",
                     restorePointMarker={"rpi": "i", "rpp": "p", "rpl": "l", "rpt": "t"})]
    return found


@case
def every_version_of_the_schema_is_read_by_itself():
    with Azurite() as azurite:
        feed = feed_of(azurite)
        for hour, version in enumerate((1, 3, 4, 5, 6, 8)):
            feed.version, feed.words = version, "enum" if version % 2 else "string"
            changes = [{**one, "id": f"{version}-{one['id']}"} for one in whole(version)]
            feed.hour(f"2026-01-10T1{hour}:00", [changes], per_block=2)
        feed.consumable("2026-01-10T15:00")
        with watch(azurite) as agent:
            media.wait_read_to(agent, "2026-01-10T15:00")
            ops = [op for _, op in media.judged(agent.records())]
            first = ["create", "delete"]
            third = first + ["alter", "alter"]
            fourth = third + ["alter", "alter"]
            equal(ops, first + third + fourth + 3 * (fourth + ["alter", "observe"]))
            equal(media.whys(agent), [])
            agent.stop()
            equal(media.counted(agent), {"control": 6})


@case
def hours_are_read_in_order_and_only_when_they_are_final():
    with Azurite() as azurite:
        feed = feed_of(azurite)
        feed.hour(FIRST, [[at(FIRST, n) for n in range(1, 25)],
                          [at(FIRST, n) for n in range(25, 31)], None])
        feed.hour(SECOND, [])                                 # an hour without shards
        feed.hour(THIRD, [[at(THIRD, 31)]], status="Publishing")
        feed.hour("2026-02-01T00:00", [[at("2026-02-01T00:00", 32)]])
        feed.consumable("2026-02-01T00:00")
        with watch(azurite) as agent:
            media.wait_read_to(agent, SECOND)
            equal(media.paths(agent.records()), names(range(1, 31)))
            content = azurite.get_blob(feed.chunk_path(FIRST, 0)).split(b"0123456789abcdef")
            block = len(content[0]) + len(content[1]) + 32      # where the second one begins
            equal([r["event"]["position"] for r in agent.records("audit")][9:11],
                  [f"2026/01/10/1000/00/00000.avro:{block}.{n}" for n in (0, 1)])
            feed.status(THIRD, 1)
            media.wait_read_to(agent, "2026-02-01T00:00")
            feed.hour("2026-02-01T01:00", [[at("2026-02-01T01:00", 33)]])
            feed.hour("2026-02-01T02:00", [[at("2026-02-01T02:00", 34)]])
            feed.consumable("2026-02-01T01:00")               # the last is not to be read yet
            media.wait_read_to(agent, "2026-02-01T01:00")
            equal(media.paths(agent.records()), names(range(1, 34)))
            agent.kill9()
            feed.consumable("2026-02-01T02:00")
            agent.start()
            media.wait_judged(agent, 34)
            equal(media.paths(agent.records()), names(range(1, 35)))
            equal((media.gaps(agent), media.whys(agent)), ([], []))
            equal(agent.status()["sources"]["files"]["guarantee"], "exactly_once")
            agent.verify()


@case
def a_chunk_that_grows_is_read_on_and_one_that_stays_torn_is_a_record():
    with Azurite() as azurite:
        feed = feed_of(azurite)
        whole_chunk = chunk([at(FIRST, n) for n in range(1, 31)])
        feed.hour(FIRST, [[whole_chunk[:-100]], [at(FIRST, 40)]])
        feed.consumable(FIRST)
        with watch(azurite, feed_poll="3s") as agent:
            media.wait_judged(agent, 20)
            azurite.append(feed.chunk_path(FIRST, 0), whole_chunk[-100:])
            media.wait_read_to(agent, FIRST)
            equal(media.paths(agent.records()), names([*range(1, 31), 40]))
            equal(media.whys(agent), [])
            feed.hour(SECOND, [[chunk([at(SECOND, n) for n in range(50, 70)])[:-30],
                                chunk([at(SECOND, 70)])[:900]], [at(SECOND, 71)]])
            feed.consumable(SECOND)
            media.wait_read_to(agent, SECOND)
            equal(media.paths(agent.records())[31:], names([*range(50, 60), 71]))
            equal(media.whys(agent), [
                (what, "the file ends inside of it, and its hour is final")
                for what in ("block of the change feed", "header of a chunk of the change feed")])


@case
def hostile_chunks_and_manifests_are_records_and_nothing_stops():
    with Azurite() as azurite:
        feed = feed_of(azurite)
        good = chunk([at(FIRST, 1), at(FIRST, 2)], per_block=1)
        head = len(good) - 2 * (len(good) - good.index(b"0123456789abcdef") - 16) // 2
        head = good.index(b"0123456789abcdef") + 16
        huge = b"\x02\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"      # one event of 2^62 bytes
        swapped = good[:-16] + b"another marker  "
        feed.hour(FIRST, [[b"PK\3\4 a zip file"], [chunk([at(FIRST, 3)], codec="deflate")],
                          [good[:head] + huge], [swapped], [good]])
        garbled = bytearray(chunk([at(FIRST, 5), at(FIRST, 6)], per_block=1))
        after = garbled.index(b"0123456789abcdef") + 16
        garbled[after + 3:after + 13] = b"\xff" * 10            # schemaVersion beyond 64 bits
        unknown = good.replace(b'"eventType"', b'"eventTypo"')
        feed.hour(SECOND, [[bytes(garbled)], [unknown], [at(SECOND, 7)]])
        azurite.put_blob(f"{CONTAINER}/idx/segments/2026/01/10/1200/meta.json", b'{"status": ')
        feed.hour("2026-01-10T13:00", [[at("2026-01-10T13:00", 8)]])
        azurite.put_blob(f"{CONTAINER}/idx/segments/2026/01/10/1400/meta.json", json.dumps(
            {**feed.manifest("2026-01-10T14:00", ["../secrets/"], "Finalized")}))
        feed.hour("2026-01-10T15:00", [[at("2026-01-10T15:00", 9)]])
        feed.consumable("2026-01-10T15:00")
        with watch(azurite) as agent:
            media.wait_read_to(agent, "2026-01-10T15:00")
            chunk_ = "chunk of the change feed"
            equal(media.whys(agent), [
                (chunk_, "it is no Avro file"), (chunk_, "its codec is 'deflate', not null"),
                (chunk_, "a block is larger than 64 MiB"),
                (chunk_, "a block does not end in the file's marker"),
                ("block of the change feed",
                 "a number is none; the rest of its block is not read"),
                (chunk_, "its schema is none of the change feed's"),
                ("manifest of an hour of the change feed", "it is no manifest"),
                ("manifest of an hour of the change feed", "it is no manifest")])
            media.once_each(names([1, 2, 6, 7, 8, 9]), agent.records())
            agent.wait(lambda s: s["sources"]["files"]["undecodable"] == 8, 20,
                       "status.json to say so")
            positions = [r["position"] for r in agent.records("undecodable")]
            equal(len(set(positions)), len(positions), "positions of what cannot be read")


@case
def an_hour_that_retention_took_is_one_gap_with_bounds():
    with Azurite() as azurite:
        feed = feed_of(azurite)
        feed.hour(FIRST, [[chunk([at(FIRST, n) for n in range(1, 21)])[:-30]]])
        feed.consumable(FIRST)
        with watch(azurite, feed_poll="1h") as agent:
            media.wait_judged(agent, 10)
            here = agent.records("audit")[-1]["event"]["position"]
            agent.stop()
            azurite.delete_blob(f"{CONTAINER}/idx/segments/2026/01/10/1000/meta.json")
            feed.hour(THIRD, [[at(THIRD, 30)]])
            feed.consumable(THIRD)
            agent.start()
            media.once_each(names([*range(1, 11), 30]), media.wait_judged(agent, 11))
            equal(media.gaps(agent), [("retention_exceeded", here, "2026/01/10/1210:0.0")])
            agent.verify()


@case
def each_hour_is_compared_with_what_the_queue_brought():
    early, later = "2035-01-10T10:00", "2035-01-10T11:00"       # after the agent began
    with Azurite() as azurite:
        feed = feed_of(azurite)
        azurite.put_queue("events")
        feed.consumable("2026-01-10T09:00")
        with watch(azurite, queue="events") as agent:
            azurite.put_message("events", notice(1, time=early + ":00Z"))
            azurite.put_message("events", notice(2, time=early + ":00Z"))
            azurite.put_message("events", notice(3, time=early + ":30Z"))
            media.wait_judged(agent, 3)
            # 2 is in both; 1 and 3 the feed never has; 4 only the feed has
            feed.hour(early, [[at(early, 2)], [at(early, 4), at(early, 4)]])
            feed.hour(later, [[at(later, 5)]])
            feed.consumable(later)
            media.wait_read_to(agent, later)
            azurite.put_message("events", notice(5, time=later + ":00Z"))   # later than the feed
            azurite.put_message("events", notice(6, time=later + ":00Z"))
            media.wait_judged(agent, 6)
            media.wait_empty(azurite)
            records = agent.records()
            equal(media.paths(records), names([1, 2, 3, 4, 5, 6]))
            agent.stop()
            equal(media.counted(agent), {"only_queue": 2, "late": 2})


@case
def one_way_that_fails_does_not_stop_the_other():
    with Azurite() as azurite:
        feed = feed_of(azurite)
        feed.hour(FIRST, [[at(FIRST, 1)]])
        feed.consumable(FIRST)
        with watch(azurite, queue="events") as agent:       # there is no queue
            media.once_each(names([1]), media.wait_judged(agent, 1))
            agent.wait(lambda s: s["health"] == "degraded" and "it does not exist" in
                       json.dumps(s), 30, "the missing queue to be said")
            equal(agent.status()["sources"]["files"]["state"], "streaming")


@case
def start_says_where_a_feed_begins():
    with Azurite() as azurite:
        feed = feed_of(azurite)
        feed.hour(FIRST, [[at(FIRST, 1)]])
        feed.hour(SECOND, [[change(2, time=SECOND + ":10Z"), change(3, time=SECOND + ":50Z")]])
        feed.consumable(SECOND)
        agent = watch(azurite)
        agent.write_config(media.config(azurite, queue=None, feed=True)
                           .replace("start: beginning", 'start: "2026-01-10T11:00:30Z"'))
        with agent:
            media.wait_read_to(agent, SECOND)
            equal(media.paths(agent.records()), names([3]))
            equal(agent.records("resume")[-1]["since"], "2026/01/10/1100:0.0")


@case
def another_account_is_a_gap_and_begins_anew():
    with Azurite(accounts={"one": "b25l" * 8, "two": "dHdv" * 8}) as azurite:
        for account in ("one", "two"):
            azurite.account = account
            feed = feed_of(azurite)
            feed.hour(FIRST, [[at(FIRST, 1, account=account)]])
            feed.consumable(FIRST)
        azurite.account = "one"
        with watch(azurite) as agent:
            media.wait_judged(agent, 1)
            media.wait_read_to(agent, FIRST)
            agent.stop()
            azurite.account = "two"
            agent.write_config(media.config(azurite, queue=None, feed=True))
            agent.start()
            media.wait_judged(agent, 2)
            equal([g[0] for g in media.gaps(agent)], ["system_changed"])
            equal(len({r["event"]["id"] for r in agent.records("audit")}), 2, "ids")


READER = r"""
const { StorageSharedKeyCredential } = require("@azure/storage-blob");
const { BlobChangeFeedClient } = require("@azure/storage-blob-changefeed");
(async () => {
  const [url, account, key] = process.argv.slice(2);
  const client = new BlobChangeFeedClient(url, new StorageSharedKeyCredential(account, key));
  for await (const event of client.listChanges()) {
    if (event.eventType === "Control") continue;
    const subject = event.subject.replace("/blobServices/default/containers/", "");
    console.log(JSON.stringify([event.id, subject.replace("/blobs/", "/"), event.eventType,
      event.data.etag, event.data.contentLength, event.data.sequence ?? event.data.sequencer]));
  }
})().catch((error) => { console.error(error); process.exit(1); });
"""
SHOW = """version: 1
info: {title: Shown, owner: test@example.org}
policies:
  - id: SHOW-001
    title: Everything is shown
    severity: low
    watch: {objects: ["**"], kinds: [notice]}
    when: "true"
    message: "{{after.id}} {{after.type}} {{after.etag}} {{after.content_length}} {{after.sequencer}}"
    audit: every_event
"""
PUBLIC = 'classification: [{match: "**", class: public}]\n'


@case
def the_official_reader_and_ours_give_the_same_events():
    folder = npm_folder("changefeed-12.0.0-preview.4",
                        "@azure/storage-blob-changefeed@12.0.0-preview.4",
                        "@azure/storage-blob@12.32.0")
    with Azurite() as azurite:
        feed = feed_of(azurite)
        for hour, version in enumerate((1, 3, 4, 5)):
            feed.version = version
            changes = [{**one, "id": event_id(100 * version + n)}
                       for n, one in enumerate(whole(version))
                       if one["eventType"] != "RestorePointMarkerCreated"]
            feed.hour(f"2026-01-10T1{hour}:00", [changes[::2], changes[1::2]], per_block=2)
        feed.hour("2026-01-10T14:00", [[]])
        feed.consumable("2026-01-10T14:00")        # theirs reads hours before it, ours up to it
        script = azurite.folder / "reader.js"
        with open(script, "w", encoding="utf-8") as file:
            file.write(READER)
        done = subprocess.run([node(), script, azurite.url(), azurite.account, azurite.key],
                              env=dict(os.environ, NODE_PATH=os.path.join(folder, "node_modules")),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=300, check=False)
        equal(done.returncode, 0, done.stderr[-1000:])
        theirs = [json.loads(line) for line in done.stdout.splitlines()]
        with watch(azurite, policy=SHOW, more=PUBLIC) as agent:
            media.wait_read_to(agent, "2026-01-10T14:00")
            ours = []
            for record in agent.records("violation"):
                id_, kind, etag, length, sequencer = record["message"].split(" ")
                ours.append([id_, record["event"]["object"], kind, etag, int(length), sequencer])
        true(len(theirs) > 15, f"only {len(theirs)} events")
        equal(sorted(ours), sorted(theirs))


if __name__ == "__main__":
    main(parallel=True)
