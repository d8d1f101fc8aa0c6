"""A double of Cosmos DB's gateway: account, databases, containers, partitions, documents
and the change feed in both modes, as @azure/cosmos asks for them.

    with FakeCosmos() as fake:
        orders = fake.container("orders")          # of database "shop", key /pk
        orders.upsert({"id": "a", "pk": "p", "n": 1})
        orders.split("0"); fake.throttle(3, 50); fake.fault("docs", torn=True)
        fake.url, fake.key

By itself `fake_cosmos.py --port N` serves the same; POST /_admin/COMMAND with a JSON object
steers it."""

import argparse
import base64
import hashlib
import hmac
import http.server
import json
import socket
import ssl
import struct
import threading
import time
import urllib.parse
from email.utils import formatdate, mktime_tz, parsedate_tz

KEY = ("C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67"
       "XIw/Jw==")
TOP = 0x40 << 120                 # effective partition keys are below
MASK = (1 << 64) - 1
SYSTEM = ("_rid", "_self", "_etag", "_attachments", "_ts", "_lsn")


# ---- effective partition keys ----

def _rotl(x, r):
    return ((x << r) | (x >> (64 - r))) & MASK


def _mix(k):
    k ^= k >> 33
    k = k * 0xff51afd7ed558ccd & MASK
    k ^= k >> 33
    k = k * 0xc4ceb9fe1a85ec53 & MASK
    return k ^ k >> 33


def murmur3_128(data):
    c1, c2 = 0x87c37b91114253d5, 0x4cf5ad432745937f
    h1 = h2 = 0
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        k1, k2 = struct.unpack_from("<QQ", data, at)
        h1 ^= _rotl(k1 * c1 & MASK, 31) * c2 & MASK
        h1 = (_rotl(h1, 27) + h2) * 5 + 0x52dce729 & MASK
        h2 ^= _rotl(k2 * c2 & MASK, 33) * c1 & MASK
        h2 = (_rotl(h2, 31) + h1) * 5 + 0x38495ab5 & MASK
    rest = data[whole:].ljust(16, b"\0")
    k1, k2 = struct.unpack("<QQ", rest)
    h2 ^= _rotl(k2 * c2 & MASK, 33) * c1 & MASK
    h1 ^= _rotl(k1 * c1 & MASK, 31) * c2 & MASK
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = h1 + h2 & MASK
    h2 = h2 + h1 & MASK
    h1, h2 = _mix(h1), _mix(h2)
    h1 = h1 + h2 & MASK
    h2 = h2 + h1 & MASK
    return h1, h2


MISSING = object()


def epk(values):
    """Effective partition key of the values of a key, hash version 2."""
    parts = []
    for value in values:
        if value is MISSING:
            data = b"\x00"
        elif value is None:
            data = b"\x01"
        elif value is False:
            data = b"\x02"
        elif value is True:
            data = b"\x03"
        elif isinstance(value, (int, float)):
            data = b"\x05" + struct.pack("<d", float(value))
        else:
            data = b"\x08" + str(value).encode() + b"\xff"
        h1, h2 = murmur3_128(data)
        raw = struct.pack(">QQ", h2, h1)
        parts.append((bytes([raw[0] & 0x3f]) + raw[1:]).hex().upper())
    return "".join(parts)


def _number(bound):
    return TOP if bound == "FF" else int((bound or "0").ljust(32, "0"), 16)


class Number(float):
    """A number that keeps its digits when it is written again."""

    def __new__(cls, text):
        self = float.__new__(cls, text)
        self.text = text
        return self

    def __repr__(self):
        return self.text


def loads(text):
    return json.loads(text, parse_float=Number)


class _Encoder(json.JSONEncoder):
    def iterencode(self, o, _one_shot=False):
        # pylint: disable=protected-access
        return json.encoder._make_iterencode(
            {}, self.default, json.encoder.encode_basestring_ascii, None, repr, ":", ",",
            False, False, False)(o, 0)


def dumps(value):
    return "".join(_Encoder().iterencode(value))


# ---- a container ----

class Failure(Exception):
    def __init__(self, status, code, message, substatus=0, headers=None):
        super().__init__(message)
        self.status, self.code, self.message, self.substatus = status, code, message, substatus
        self.headers = headers or {}


class Container:
    def __init__(self, fake, database, name, paths=("/pk",), **properties):
        self.fake, self.database, self.name = fake, database, name
        fake.rids += 1
        self.rid = base64.b64encode(struct.pack(">II", 0x50093CD1, fake.rids)).decode()
        self.lsn = 10
        self.ranges = [{"id": "0", "minInclusive": "", "maxExclusive": "FF", "parents": []}]
        self.next_range = 1
        self.items, self.log, self.oldest = {}, [], 0
        self.properties = {"partitionKey": {"paths": list(paths), "kind": "Hash", "version": 2},
                           "indexingPolicy": {"indexingMode": "consistent", "automatic": True},
                           "changeFeedPolicy": {"retentionDuration": 10080}, **properties}
        self.etag = 1
        self.keep_previous = True

    def describe(self):
        return {"id": self.name, "_rid": self.rid, "_self": f"dbs/x/colls/{self.rid}/",
                "_etag": f'"{self.etag}"', "_ts": 1795466000,
                **{k: v for k, v in self.properties.items() if v is not None}}

    def set(self, **properties):
        with self.fake.lock:
            self.etag += 1
            self.properties.update(properties)

    def key_of(self, document):
        values = []
        for path in self.properties["partitionKey"]["paths"]:
            value = document
            for part in path.strip("/").split("/"):
                value = value.get(part.strip('"'), MISSING) if isinstance(value, dict) else MISSING
            values.append(value)
        return values

    def partition_key(self, document):
        found = {}
        for path, value in zip(self.properties["partitionKey"]["paths"], self.key_of(document)):
            parts, at = path.strip("/").split("/"), found
            for part in parts[:-1]:
                at = at.setdefault(part, {})
            if value is not MISSING:
                at[parts[-1]] = value
        return found

    # ---- writes ----

    def _write(self, op, key, ident, document, lsn, ttl=False):
        where = (epk(key), ident)
        old = self.items.get(where)
        now = int(time.time())
        current = None
        if document is not None:
            current = dict(document, _rid=f"{self.rid}{len(self.log):08d}", _ts=now,
                           _self=f"dbs/x/colls/{self.rid}/docs/{ident}/",
                           _etag=f'"{self.fake.salt}-{lsn}"', _attachments="attachments/")
            self.items[where] = dict(current, _lsn=lsn)
        else:
            del self.items[where]
        self.log.append({"lsn": lsn, "epk": where[0], "id": ident, "op": op, "crts": now,
                         "current": current,
                         "previous": old if self.keep_previous else None, "ttl": ttl,
                         "key": self.partition_key(document or old)})
        return current or old

    def apply(self, operations):
        """[(op, id, document)]: one transaction, one LSN."""
        with self.fake.lock:
            self.lsn += 1
            done = []
            for op, ident, document in operations:
                key = self.key_of(document)
                exists = (epk(key), ident) in self.items
                if op == "create" and exists:
                    raise Failure(409, "Conflict", "an item with that id is there")
                if op in ("replace", "delete") and not exists:
                    raise Failure(404, "NotFound", "there is no such item")
                if op == "upsert":
                    op = "replace" if exists else "create"
                done.append((op, self._write(op, key, ident,
                                             None if op == "delete" else document, self.lsn)))
            return done

    def upsert(self, *documents):
        for document in documents:
            self.apply([("upsert", document["id"], document)])

    def transaction(self, *documents):
        self.apply([("upsert", d["id"], d) for d in documents])

    def delete(self, document):
        self.apply([("delete", document["id"], document)])

    def expire(self, document):
        with self.fake.lock:
            self.lsn += 1
            self._write("delete", self.key_of(document), document["id"], None, self.lsn, True)

    # ---- partitions ----

    def split(self, ident=None, at=None):
        with self.fake.lock:
            old = next(r for r in self.ranges if ident is None or r["id"] == ident)
            low, high = _number(old["minInclusive"]), _number(old["maxExclusive"])
            middle = at or f"{(low + high) // 2:032X}"
            self.ranges.remove(old)
            for low, high in ((old["minInclusive"], middle), (middle, old["maxExclusive"])):
                self.ranges.append({"id": str(self.next_range), "minInclusive": low,
                                    "maxExclusive": high,
                                    "parents": old["parents"] + [old["id"]]})
                self.next_range += 1
            self.ranges.sort(key=lambda r: _number(r["minInclusive"]))

    def merge(self, *idents):
        with self.fake.lock:
            old = [r for r in self.ranges if r["id"] in idents]
            self.ranges = [r for r in self.ranges if r["id"] not in idents]
            self.ranges.append({"id": str(self.next_range),
                                "minInclusive": old[0]["minInclusive"],
                                "maxExclusive": old[-1]["maxExclusive"],
                                "parents": [r["id"] for r in old]})
            self.next_range += 1
            self.ranges.sort(key=lambda r: _number(r["minInclusive"]))

    def forget(self):
        """What was logged until now is older than the retention."""
        with self.fake.lock:
            self.lsn += 1
            self.oldest = self.lsn

    # ---- the feed ----

    def in_range(self, key, low, high):
        return _number(low) <= _number(key[:32]) < _number(high)

    def feed(self, headers):
        full = headers.get("A-IM") == "Full-Fidelity Feed"
        low, high = self.bounds(headers)
        token = headers.get("If-None-Match")
        since = headers.get("If-Modified-Since")
        after = 0
        if full and not self.properties.get("changeFeedPolicy"):
            raise Failure(400, "BadRequest", "The container has no change feed policy")
        if token == "*":
            after = self.lsn
        elif token:
            if not token.strip('"').isdigit():
                raise Failure(400, "BadRequest", "Invalid continuation")
            after = int(token.strip('"'))
            if full and after < self.oldest:
                raise Failure(400, "BadRequest",
                              "The continuation is older than the retention window")
        elif full:
            raise Failure(400, "BadRequest", "Full fidelity starts from now only")
        if full:
            found = [(e["lsn"], self.whole(e)) for e in self.log
                     if e["lsn"] > after and self.in_range(e["epk"], low, high)]
        else:
            found = sorted(((d["_lsn"], d) for (key, _), d in self.items.items()
                            if d["_lsn"] > after and self.in_range(key, low, high)),
                           key=lambda pair: pair[0])
            if since and not token:
                start = mktime_tz(parsedate_tz(since))
                found = [(lsn, d) for lsn, d in found if d["_ts"] >= start]
        most = int(headers.get("x-ms-max-item-count") or 100)
        if 0 < most < len(found):
            last = found[most - 1][0]
            found = [pair for pair in found if pair[0] <= last]
        return found, f'"{found[-1][0] if found else max(self.lsn, after)}"'

    @staticmethod
    def whole(entry):
        metadata = {"operationType": entry["op"], "lsn": entry["lsn"], "crts": entry["crts"]}
        change = {"current": dict(entry["current"], _lsn=entry["lsn"])
                  if entry["current"] else {}, "metadata": metadata}
        if entry["previous"]:
            metadata["previousImageLSN"] = entry["previous"]["_lsn"]
            change["previous"] = {k: v for k, v in entry["previous"].items() if k != "_lsn"}
        if entry["op"] == "delete":
            metadata.update(id=entry["id"], partitionKey=entry["key"])
            if entry["ttl"]:
                metadata["timeToLiveExpired"] = True
        return change

    def bounds(self, headers):
        ident = headers.get("x-ms-documentdb-partitionkeyrangeid")
        value = headers.get("x-ms-documentdb-partitionkey")
        if value is not None:
            one = epk(loads(value))
            return one, f"{int(one, 16) + 1:032X}"
        if ident is None:
            return "", "FF"
        found = next((r for r in self.ranges if r["id"] == ident.rpartition(",")[2]), None)
        if found is None:
            raise Failure(410, "Gone", "The partition key range is gone", 1002)
        low, high = found["minInclusive"], found["maxExclusive"]
        if headers.get("x-ms-read-key-type") == "EffectivePartitionKeyRange":
            start, end = headers["x-ms-start-epk"], headers["x-ms-end-epk"]
            low = max(low, start, key=_number)
            high = min(high, end, key=_number)
        return low, high


# ---- the gateway ----

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "double"

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    def date_time_string(self, timestamp=None):
        return formatdate(time.time() + self.fake.skew, usegmt=True)

    def handle(self):
        try:
            super().handle()
        except (OSError, ssl.SSLError):
            pass

    @property
    def fake(self):
        return self.server.fake

    def answer(self, status, body, headers=None, fault=None):
        data = body if isinstance(body, bytes) else dumps(body).encode()
        fault = fault or {}
        if status == 304 or self.command == "HEAD":
            data = b""
        if fault.get("empty"):
            data = b""
        if fault.get("torn"):
            data = data[:len(data) * 2 // 3]
        if "body" in fault:
            data = fault["body"].encode() if isinstance(fault["body"], str) else fault["body"]
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("x-ms-activity-id", f"{self.fake.salt}-0000")
        for name, value in (headers or {}).items():
            self.send_header(name, str(value))
        if status != 304:
            self.send_header("Content-Length", str(len(data)))
        if fault.get("slow"):
            self.end_headers()
            for at in range(0, len(data), max(len(data) // 8, 1)):
                self.wfile.write(data[at:at + max(len(data) // 8, 1)])
                self.wfile.flush()
                time.sleep(fault["slow"] / 8)
            return
        self.end_headers()
        if fault.get("cut"):
            self.wfile.write(data[:len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(data)

    def fail(self, failure):
        headers = dict(failure.headers)
        if failure.substatus:
            headers["x-ms-substatus"] = failure.substatus
        self.answer(failure.status, {"code": failure.code, "message": failure.message +
                                     f"\r\nActivityId: {self.fake.salt}"}, headers)

    def do_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path.startswith("/_admin/"):
            self.admin(path[8:], body)
            return
        if self.server.region in self.fake.down:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        parts = [p for p in path.split("/") if p]
        kind = "account" if not parts else parts[-1] if len(parts) % 2 else parts[-2]
        fault = self.fake.next_fault(kind, self, parts, False)
        self.fake.seen.append((time.time(), self.server.region, self.command, path,
                               dict(self.headers)))
        try:
            self.fake.check(self, parts, kind)
            if fault and "status" in fault:
                raise Failure(fault["status"], fault.get("code", "Error"),
                              fault.get("message", "made up"), fault.get("substatus", 0),
                              fault.get("headers"))
            with self.fake.lock:
                status, answer, headers = self.route(parts, kind, body)
            if status == 200 and kind == "docs":
                fault = fault or self.fake.next_fault(kind, self, parts, True)
            if fault and fault.get("delay"):
                time.sleep(fault["delay"])
            if fault and fault.get("drop"):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.answer(status, answer, headers, fault)
        except Failure as failure:
            self.fail(failure)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_any

    # ---- what it serves ----

    def route(self, parts, kind, body):
        fake = self.fake
        if not parts:
            return 200, fake.describe(), {"x-ms-request-charge": 2}
        if len(parts) == 1:
            return fake.make_database(loads(body))
        database = fake.databases.get(parts[1])
        if database is None:
            raise Failure(404, "NotFound", "no such database", 1003)
        if len(parts) == 2:
            return 200, {"id": parts[1], "_rid": "UAk08Q=="}, {"x-ms-request-charge": 1}
        if len(parts) == 3:
            return fake.make_container(parts[1], loads(body))
        container = database.get(parts[3])
        if container is None:
            raise Failure(404, "NotFound", "no such container", 1003)
        rid = self.headers.get("x-ms-cosmos-intended-collection-rid")
        if rid and rid != container.rid:
            raise Failure(400, "BadRequest", "the container is another one", 1024)
        if len(parts) == 4:
            return 200, container.describe(), {"x-ms-request-charge": 1,
                                               "etag": f'"{container.etag}"'}
        if kind == "pkranges":
            return self.pkranges(container)
        return self.documents(container, parts, body)

    def pkranges(self, container):
        if self.headers.get("If-None-Match") == f'"{container.next_range}"':
            return 304, b"", {"etag": f'"{container.next_range}"'}
        ranges = [dict(r, _rid=container.rid, status="online",
                       throughputFraction=1.0 / len(container.ranges))
                  for r in container.ranges]
        return 200, {"_rid": container.rid, "PartitionKeyRanges": ranges,
                     "_count": len(ranges)}, {"etag": f'"{container.next_range}"',
                                              "x-ms-request-charge": 1}

    def documents(self, container, parts, body):
        if self.command == "GET" and len(parts) == 5:
            found, etag = container.feed(self.headers)
            headers = {"etag": etag, "x-ms-request-charge": self.fake.charge,
                       "lsn": container.lsn, "x-ms-item-count": len(found),
                       "x-ms-session-token": f"0:-1#{container.lsn}"}
            if not found:
                return 304, b"", headers
            self.fake.pages += 1
            return 200, {"_rid": container.rid, "Documents": [d for _, d in found],
                         "_count": len(found)}, headers
        headers = {"x-ms-request-charge": 5}
        if str(self.headers.get("x-ms-cosmos-is-batch-request")).lower() == "true":
            operations = []
            for one in loads(body):
                document = one.get("resourceBody")
                ident = one.get("id") or document["id"]
                if document is None:
                    document = self.keyed(container, ident)
                operations.append((one["operationType"].lower(), ident, document))
            done = container.apply(operations)
            return 200, [{"statusCode": 201 if op == "create" else 200, "requestCharge": 1,
                          "resourceBody": item, "eTag": item["_etag"]}
                         for op, item in done], headers
        if self.command == "POST":
            document = loads(body)
            upsert = str(self.headers.get("x-ms-documentdb-is-upsert")).lower() == "true"
            (op, item), = container.apply([("upsert" if upsert else "create", document["id"],
                                            document)])
            return 201 if op == "create" else 200, item, dict(headers, etag=item["_etag"])
        ident = parts[5]
        if self.command == "PUT":
            (_, item), = container.apply([("replace", ident, loads(body))])
            return 200, item, dict(headers, etag=item["_etag"])
        if self.command == "DELETE":
            container.apply([("delete", ident, self.keyed(container, ident))])
            return 204, b"", headers
        key = epk(loads(self.headers.get("x-ms-documentdb-partitionkey", "[]")))
        item = container.items.get((key, ident))
        if item is None:
            raise Failure(404, "NotFound", "no such item")
        return 200, {k: v for k, v in item.items() if k != "_lsn"}, headers

    def keyed(self, container, ident):
        """A document of which only key and id are known."""
        values = loads(self.headers.get("x-ms-documentdb-partitionkey", "[]"))
        document = {"id": ident}
        for path, value in zip(container.properties["partitionKey"]["paths"], values):
            parts, at = path.strip("/").split("/"), document
            for part in parts[:-1]:
                at = at.setdefault(part, {})
            at[parts[-1]] = value
        return document

    # ---- steering ----

    def admin(self, command, body):
        args = json.loads(body) if body else {}
        name = args.pop("container", None)
        target = self.fake.container(name, args.pop("database", "shop")) if name else self.fake
        try:
            if command == "truth":
                answer = [{k: v for k, v in e.items() if k != "epk"} for e in target.log]
            elif command not in ("split", "merge", "forget", "set", "expire", "throttle", "fault",
                                 "recreate", "upsert", "transaction", "delete", "make"):
                self.answer(404, {"message": "no such command"})
                return
            else:
                list_args = args.pop("args", [])
                answer = getattr(target, command)(*list_args, **args)
                answer = answer if isinstance(answer, (list, dict, str, int)) else None
            self.answer(200, {"answer": answer})
        except (TypeError, KeyError, StopIteration, Failure) as error:
            self.answer(400, {"message": repr(error)})


class Gateway(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass


class FakeCosmos:
    """regions: names of further places that serve the same account; certs: (certificate,
    key) for https."""

    def __init__(self, port=0, regions=(), certs=None, account="acct", skew=0):
        self.lock = threading.RLock()
        self.key, self.account, self.certs, self.skew = KEY, account, certs, skew
        self.rids, self.salt, self.charge, self.pages = 0, "7f3a", 2.0, 0
        self.tokens = set()             # Entra tokens that are let in
        self.databases = {}
        self.faults, self.seen, self.down = [], [], set()
        self.consistency, self.denied = "Session", None
        self.gateways = [self._listen(port, "Home")] + [self._listen(0, r) for r in regions]
        self.make("orders")

    def _listen(self, port, region):
        gateway = Gateway(("127.0.0.1", port), Handler)
        gateway.fake, gateway.region = self, region
        if self.certs:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certs)
            gateway.socket = context.wrap_socket(gateway.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        return gateway

    def __enter__(self):
        for gateway in self.gateways:
            threading.Thread(target=gateway.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        for gateway in self.gateways:
            gateway.shutdown()
            gateway.server_close()

    def url_of(self, gateway):
        return f"http{'s' if self.certs else ''}://127.0.0.1:{gateway.server_address[1]}"

    @property
    def url(self):
        return self.url_of(self.gateways[0])

    def describe(self):
        places = [{"name": g.region, "databaseAccountEndpoint": self.url_of(g) + "/"}
                  for g in self.gateways]
        return {"_self": "", "id": self.account, "_rid": f"{self.account}.documents.azure.com",
                "media": "//media/", "addresses": "//addresses/", "_dbs": "//dbs/",
                "writableLocations": places[:1], "readableLocations": places,
                "enableMultipleWriteLocations": False,
                "userReplicationPolicy": {"minReplicaSetSize": 3, "maxReplicasetSize": 4},
                "userConsistencyPolicy": {"defaultConsistencyLevel": self.consistency},
                "systemReplicationPolicy": {"minReplicaSetSize": 3, "maxReplicasetSize": 4},
                "readPolicy": {"primaryReadCoefficient": 1, "secondaryReadCoefficient": 1},
                "queryEngineConfiguration": "{}"}

    # ---- what is there ----

    def container(self, name="orders", database="shop"):
        return self.databases[database][name]

    def make(self, name, database="shop", paths=("/pk",), **properties):
        with self.lock:
            made = Container(self, database, name, paths, **properties)
            self.databases.setdefault(database, {})[name] = made
            return made

    def recreate(self, name="orders", database="shop", **properties):
        old = self.container(name, database)
        return self.make(name, database, old.properties["partitionKey"]["paths"], **properties)

    def remove(self, name="orders", database="shop"):
        with self.lock:
            del self.databases[database][name]

    def make_database(self, body):
        if body["id"] in self.databases:
            raise Failure(409, "Conflict", "it is there")
        self.databases[body["id"]] = {}
        return 201, {"id": body["id"], "_rid": "UAk08Q=="}, {"x-ms-request-charge": 5}

    def make_container(self, database, body):
        if body["id"] in self.databases[database]:
            raise Failure(409, "Conflict", "it is there")
        more = {k: v for k, v in body.items() if k not in ("id", "partitionKey")}
        made = self.make(body["id"], database, body["partitionKey"]["paths"], **more)
        return 201, made.describe(), {"x-ms-request-charge": 5}

    # ---- trouble ----

    def fault(self, kind, times=1, **what):
        """The next requests for docs, pkranges, colls or account: status, substatus, headers,
        message; torn, empty, cut, drop, slow, delay, body.  pages: only those that give
        documents; container, range: only those of one."""
        with self.lock:
            self.faults.append({"kind": kind, "times": times, **what})

    def throttle(self, times, ms):
        self.fault("docs", times, status=429, substatus=3200, code="TooManyRequests",
                   headers={"x-ms-retry-after-ms": ms})

    def next_fault(self, kind, handler, parts, page):
        with self.lock:
            for fault in self.faults:
                if fault["kind"] == kind and handler.command == "GET" and \
                        bool(fault.get("pages")) == page and \
                        fault.get("container") in (None, (parts + [None] * 4)[3]) and \
                        fault.get("range") in (None, handler.headers.get(
                            "x-ms-documentdb-partitionkeyrangeid")):
                    fault["times"] -= 1
                    if fault["times"] <= 0:
                        self.faults.remove(fault)
                    return fault
        return None

    def check(self, handler, parts, kind):
        """Who asks, and when."""
        date = handler.headers.get("x-ms-date") or ""
        given = urllib.parse.unquote(handler.headers.get("authorization") or "")
        fields = dict(f.partition("=")[::2] for f in given.split("&"))
        stamp = parsedate_tz(date)
        if stamp is None:
            raise Failure(401, "Unauthorized", "x-ms-date is missing or no date")
        now = time.time() + self.skew
        if abs(mktime_tz(stamp) - now) > 900:
            raise Failure(403, "Forbidden",
                          "The authorization token is not valid at the current time. Please "
                          f"create another token and retry (token start time: {date}, token "
                          f"expiry time: {date}, current server time: {formatdate(now)}).")
        if self.denied:
            raise Failure(*self.denied)
        if fields.get("type") == "aad":
            if fields.get("sig") not in self.tokens:
                raise Failure(401, "Unauthorized", "the token is not let in")
            return
        link = "/".join(parts[:-1] if len(parts) % 2 else parts)
        text = f"{handler.command.lower()}\n{kind if parts else ''}\n{link}\n{date.lower()}\n\n"
        mac = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        if fields.get("sig") != base64.b64encode(mac).decode():
            raise Failure(401, "Unauthorized",
                          "The input authorization token can't serve the request. The wrong key "
                          "is being used or the expected payload is not built as per the "
                          f"protocol. Server used the following payload to sign: {text!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8081)
    args = parser.parse_args()
    with FakeCosmos(args.port) as fake:
        print(f"ready {fake.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
