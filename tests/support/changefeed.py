"""A Blob change feed for tests: hours, shards and chunks, written by an independent Avro
writer (fastavro, from PyPI) into Azurite's $blobchangefeed.

    feed = ChangeFeed(azurite)
    feed.hour("2026-01-10T10:00", [[change(1), change(2)], [change(3)]])
    feed.consumable("2026-01-10T10:00")"""

import datetime
import io
import json

from pinned import make_importable, pip_folder

CONTAINER = "$blobchangefeed"
EVENT_TYPES = ["UnspecifiedEventType", "BlobCreated", "BlobDeleted", "BlobPropertiesUpdated",
               "BlobSnapshotCreated", "Control", "BlobTierChanged", "BlobAsyncOperationInitiated",
               "BlobMetadataUpdated", "RestorePointMarkerCreated"]


def fastavro():
    make_importable(pip_folder("fastavro-1.13.1", "fastavro==1.13.1"))
    import fastavro as module  # pylint: disable=import-outside-toplevel,import-error
    return module


def _maybe(kind):
    return ["null", kind]


def _text_map():
    return {"type": "map", "values": "string"}


def schema(version=5, words="enum"):
    """The writer's schema of a version; words: whether types of events are an enum or text."""
    kind = ({"type": "enum", "name": "BlobChangeEventType", "symbols": EVENT_TYPES}
            if words == "enum" else "string")
    fields = [("api", "string"), ("clientRequestId", "string"), ("requestId", "string"),
              ("etag", "string"), ("contentType", "string"), ("contentLength", "long"),
              ("blobType", "string")]
    if version >= 4:
        fields += [("blobVersion", _maybe("string")), ("containerVersion", _maybe("string")),
                   ("blobTier", _maybe("string"))]
    fields += [("url", "string"), ("sequencer", "string")]
    if version >= 3:
        fields += [("previousInfo", _maybe(_text_map())), ("snapshot", _maybe("string")),
                   ("blobPropertiesUpdated", _maybe({"type": "map", "values": {
                       "type": "record", "name": "BlobPropertyChange", "fields": [
                           {"name": "current", "type": "string"},
                           {"name": "previous", "type": "string"}]}}))]
    if version >= 4:
        fields += [("asyncOperationInfo", _maybe(_text_map()))]
    if version >= 5:
        fields += [("blobTagsUpdated", _maybe({"type": "record", "name": "BlobTagsChange",
                                               "fields": [
                                                   {"name": "previous", "type": _text_map()},
                                                   {"name": "current", "type": _text_map()}]})),
                   ("restorePointMarker", _maybe(_text_map()))]
    if version >= 6:
        fields += [("contentOffset", _maybe("long")), ("createTime", _maybe("string"))]
    if version >= 7:
        fields += [("restoredContainerVersion", _maybe("string")),
                   ("lastAccessTime", _maybe("string"))]
    fields += [("storageDiagnostics", _text_map())]
    return {"type": "record", "name": "BlobChangeEvent",
            "namespace": "com.microsoft.azure.storage.xfe.changefeed", "fields": [
                {"name": "schemaVersion", "type": "int"}, {"name": "topic", "type": "string"},
                {"name": "subject", "type": "string"}, {"name": "eventType", "type": kind},
                {"name": "eventTime", "type": "string"}, {"name": "id", "type": "string"},
                {"name": "data", "type": {
                    "type": "record", "name": "BlobChangeEventData",
                    "fields": [{"name": name, "type": type_} for name, type_ in fields]}}]}


def topic(account):
    return ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/"
            + account)


def event_id(n):
    return f"831e1650-001e-001b-66ab-{n:012x}"


def change(n, path=None, event_type="BlobCreated", time="2026-01-10T10:00:00.9584103Z",
           account="devstoreaccount1", container="media", version=5, **data):
    """The n-th change as the feed has it."""
    path = path or f"out/{n}.csv"
    wanted = {field["name"]: field["type"]
              for field in schema(version)["fields"][-1]["type"]["fields"]}
    full = {"api": "PutBlob", "clientRequestId": f"c{n}", "requestId": event_id(n)[:-6] + "000000",
            "etag": f"0x8D4BCC2E{n:07X}", "contentType": "text/csv", "contentLength": 524288 + n,
            "blobType": "BlockBlob", "url": "", "sequencer": f"{n:048X}",
            "storageDiagnostics": {"bid": "b", "seq": "(2,18446744073709551615,29,29)", "sid": "s"}}
    full.update({name: None for name in wanted if name not in full})
    full.update(data)
    return {"schemaVersion": version, "topic": topic(account),
            "subject": f"/blobServices/default/containers/{container}/blobs/{path}",
            "eventType": event_type, "eventTime": time, "id": event_id(n),
            "data": {name: full[name] for name in wanted}}


def chunk(changes, version=5, words="enum", per_block=10, codec="null", sync=b"0123456789abcdef"):
    """Bytes of one Avro file; a block every so many changes."""
    module = fastavro()
    out = io.BytesIO()
    parsed = module.parse_schema(schema(version, words))
    writer = module.write.Writer(out, parsed, codec=codec, sync_marker=sync)
    for i, one in enumerate(changes):
        writer.write(one)
        if (i + 1) % per_block == 0:
            writer.dump()
    writer.flush()
    return out.getvalue()


def hour_text(begin):
    """"2026-01-10T10:00" as the service writes a time."""
    return begin + ":00.000Z"


def folder_of(begin):
    at = datetime.datetime.strptime(begin, "%Y-%m-%dT%H:%M")
    return at.strftime("%Y/%m/%d/%H%M")


class ChangeFeed:
    def __init__(self, azurite, version=5, words="enum"):
        self.azurite, self.version, self.words = azurite, version, words
        azurite.put_container(CONTAINER)
        azurite.put_blob(f"{CONTAINER}/idx/segments/1601/01/01/0000/meta.json",
                         json.dumps(self.manifest("1601-01-01T00:00", [], "Finalized")))

    def manifest(self, begin, paths, status):
        return {"version": 0, "begin": hour_text(begin), "intervalSecs": 3600, "status": status,
                "config": {"version": 0, "configVersionEtag": "0x8d4", "numShards": len(paths),
                           "recordsFormat": "avro", "formatSchemaVersion": self.version,
                           "shardDistFnVersion": 1},
                "chunkFilePaths": paths, "storageDiagnostics": {"version": 0}}

    def chunk_path(self, begin, shard, number=0):
        return f"{CONTAINER}/log/{shard:02}/{folder_of(begin)}/{number:05}.avro"

    def hour(self, begin, shards, status="Finalized", per_block=10):
        """shards: for each its changes, or bytes that stand for its one chunk, or a list of
        such bytes; None: named in the manifest, with nothing under it."""
        for shard, changes in enumerate(shards):
            if changes is None:
                continue
            if isinstance(changes, bytes):
                changes = [changes]
            if not changes or not isinstance(changes[0], bytes):
                changes = [chunk(changes, self.version, self.words, per_block)]
            for number, content in enumerate(changes):
                self.azurite.put_append_blob(self.chunk_path(begin, shard, number), content)
        self.status(begin, len(shards), status)

    def status(self, begin, n_shards, status="Finalized"):
        paths = [f"{CONTAINER}/log/{shard:02}/{folder_of(begin)}/" for shard in range(n_shards)]
        self.azurite.put_blob(f"{CONTAINER}/idx/segments/{folder_of(begin)}/meta.json",
                              json.dumps(self.manifest(begin, paths, status)))

    def consumable(self, begin):
        self.azurite.put_blob(f"{CONTAINER}/meta/segments.json", json.dumps(
            {"version": 0, "lastConsumable": hour_text(begin), "storageDiagnostics": {}}))


def notice(n, cloud=False, **more):
    """The n-th change as Event Grid sends it."""
    of_feed = change(n, **more)
    data = {name: value for name, value in of_feed["data"].items() if value is not None}
    data["eTag"] = data.pop("etag")
    data["url"] = "https://devstoreaccount1.blob.core.windows.net/" + \
        of_feed["subject"].partition("/containers/")[2].replace("/blobs/", "/", 1)
    data["storageDiagnostics"] = {"batchId": "b"}
    kind = of_feed["eventType"]
    full = {"subject": of_feed["subject"], "id": of_feed["id"], "data": data}
    if cloud:
        return {"specversion": "1.0", "source": of_feed["topic"],
                "type": "Microsoft.Storage." + kind, "time": of_feed["eventTime"], **full}
    return {"topic": of_feed["topic"], "eventType": "Microsoft.Storage." + kind,
            "eventTime": of_feed["eventTime"], "dataVersion": "", "metadataVersion": "1", **full}


__all__ = ["CONTAINER", "ChangeFeed", "change", "chunk", "event_id", "fastavro", "notice",
           "schema", "topic"]
