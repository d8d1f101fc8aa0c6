"""A server that speaks MongoDB's protocol and sends what a real one never does.

    def script(command, name):            # -> document to answer, bytes, or None
        ...
    with FakeMongo(script) as fake:
        fake.url()

What the script leaves alone (None) is answered like a replica set of one without events:
hello, buildInfo, aggregate with an empty batch, getMore that waits as it was asked."""

import socket
import struct
import threading
import time

from mongo import mongo_venv


class FakeMongo:
    def __init__(self, script=None):
        mongo_venv()
        import bson  # pylint: disable=import-outside-toplevel,import-error
        self.bson = bson
        self.script = script or (lambda command, name: None)
        self.secure = False
        self.counts = {}
        self.seen = []
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(20)
        self.port = self.sock.getsockname()[1]
        self.closed = False
        self.now = 1000                     # seconds of operationTime

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closed = True
        self.sock.close()

    def url(self):
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    def _accept(self):
        while not self.closed:
            try:
                peer, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    @staticmethod
    def _read(peer, n):
        data = b""
        while len(data) < n:
            part = peer.recv(n - len(data))
            if not part:
                raise OSError("closed")
            data += part
        return data

    def _serve(self, peer):
        try:
            while not self.closed:
                size, request, _, opcode = struct.unpack("<iiii", self._read(peer, 16))
                body = self._read(peer, size - 16)
                if opcode == 2013:
                    command = self.bson.decode(body[5:5 + struct.unpack_from("<i", body, 5)[0]])
                else:                       # OP_QUERY, of the first hello
                    command = self.bson.decode(body[body.index(b"\0", 4) + 9:])
                answer = self.answer(command)
                if not isinstance(answer, bytes):
                    answer = self.bson.encode(answer)
                if opcode == 2013:
                    answer = struct.pack("<I", 0) + b"\0" + answer
                    code = 2013
                else:
                    answer = struct.pack("<iqii", 8, 0, 0, 1) + answer
                    code = 1
                peer.sendall(struct.pack("<iiii", len(answer) + 16, 1, request, code) + answer)
        except (OSError, ValueError):
            pass
        finally:
            peer.close()

    def stamp(self, t=None, i=1):
        return self.bson.Timestamp(t or self.now, i)

    def answer(self, command):
        name = next(iter(command))
        self.counts[name] = self.counts.get(name, 0) + 1
        self.seen.append(command)
        special = self.script(command, name)
        if special is not None:
            self.note_time(special)
            return special
        if name.lower() in ("hello", "ismaster"):
            return {"ok": 1, "isWritablePrimary": True, "ismaster": True, "setName": "fake",
                    "hosts": [f"127.0.0.1:{self.port}"], "me": f"127.0.0.1:{self.port}",
                    "minWireVersion": 0, "maxWireVersion": 21, "helloOk": True,
                    "maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48000000,
                    "maxWriteBatchSize": 100000, "logicalSessionTimeoutMinutes": 30,
                    "operationTime": self.stamp()}
        if name == "buildInfo":
            return {"ok": 1, "version": "7.0.0", "versionArray": [7, 0, 0, 0],
                    "operationTime": self.stamp()}
        if name == "aggregate":
            return self.batch([], "firstBatch")
        if name == "getMore":
            time.sleep(command.get("maxTimeMS", 100) / 1000)
            return self.batch([])
        if name in ("killCursors", "endSessions"):
            return {"ok": 1}
        return self.error(59, f"no such command: '{name}'")

    def note_time(self, answer):
        """The server's time is never before an event it has sent."""
        if isinstance(answer, dict) and "cursor" in answer:
            for event in answer["cursor"].get("nextBatch", []):
                if "clusterTime" in event:
                    self.now = max(self.now, event["clusterTime"].time)
            answer["operationTime"] = self.stamp()

    @staticmethod
    def error(code, text, labels=()):
        answer = {"ok": 0, "code": code, "errmsg": text, "codeName": "Code"}
        if labels:
            answer["errorLabels"] = list(labels)
        return answer

    def batch(self, events, name="nextBatch", cursor=77, token=True):
        body = {"id": self.bson.Int64(cursor), "ns": "shop.rows", name: events}
        if token:
            body["postBatchResumeToken"] = {"_data": "idle"}
        return {"ok": 1, "cursor": body, "operationTime": self.stamp()}

    def event(self, i, operation="insert", t=None, **more):
        """Document i; a field given as None is left out."""
        event = {"_id": {"_data": f"token {i}"}, "operationType": operation,
                 "clusterTime": self.stamp(t or 1000 + i), "ns": {"db": "shop", "coll": "rows"},
                 "documentKey": {"_id": i}, "fullDocument": {"_id": i, "n": i}}
        event.update(more)
        return {k: v for k, v in event.items() if v is not None}
