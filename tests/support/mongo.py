"""A private server that speaks MongoDB's protocol, and the shop most tests watch on it.

No mongod can be had here: SecantusDB (GPL, a test tool only) answers instead, with a
replica set of one, change streams, transactions and images.  It and its client come from
PyPI into the cache.

    with Mongo() as mongo:
        mongo.client().shop.rows.insert_one({"_id": 1, "n": 5})"""

import os
import socket
import struct

from agent import Agent
from pinned import make_importable, pip_folder
from servers import TOP, Certs, Failed, Server, free_port, jars, program, tail, wait_until

PINNED = ("secantusdb==0.7.0b3", "pymongo==4.20.0")
POLICY = """version: 1
info: {title: Shop, owner: test@example.org}
policies:
  - id: NEG-001
    title: Nothing is negative
    severity: high
    watch: {objects: ["shop.**"], ops: [insert, update, replace, delete]}
    when: event.op != "delete" && after.n < 0
    message: "{{after.n}}"
    audit: every_event
"""


def mongo_venv():
    """Folder with the pinned server and client; made once."""
    folder = pip_folder("secantus-0.7.0b3", *PINNED)
    make_importable(folder)
    return folder


class Mongo(Server):
    """One server of a replica set; sync: every acknowledged write survives kill -9.

    oplog: most entries it keeps.  auth: users made by prepare() must log in over TLS."""

    def __init__(self, sync=False, oplog=None, auth=False, san="DNS:localhost,IP:127.0.0.1"):
        self.venv = mongo_venv()
        super().__init__("mongo", shared_memory=not sync)
        self.port = free_port()
        self.sync, self.oplog, self.auth, self.san = sync, oplog, auth, san
        self.clients = []
        self.secure = False

    def prepare(self):
        if self.auth:
            self.certs = Certs(self.folder.path)
            self.crt, self.key, self.pem = self.certs.issue("server", self.san)

    def start(self):
        command = [os.path.join(self.venv, "bin", "secantusd-py"), "--host", "127.0.0.1",
                   "--port", str(self.port), "--storage-path", self.folder / "data",
                   "--enable-test-commands", "--noop-heartbeat-seconds", "1"]
        command += ["--sync-on-commit"] if self.sync else []
        command += ["--oplog-max-entries", str(self.oplog)] if self.oplog else []
        if self.secure:
            command += ["--auth", "--tls-cert-file", self.crt, "--tls-key-file", self.key,
                        "--tls-ca-file", self.certs.ca]
        self.spawn(command, cwd=self.folder.path)

        def ready():
            if not self.running():
                raise Failed(f"ended with {self.child.returncode}:\n{tail(self.log)}")
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", self.port)) == 0
        wait_until(ready, 30, lambda: f"the server to listen:\n{tail(self.log)}")

    def stop(self, *args, **kwargs):
        for client in self.clients:
            client.close()
        self.clients.clear()
        super().stop(*args, **kwargs)

    def guard(self):
        """From now on over TLS and with a login."""
        self.stop()
        self.secure = True
        self.start()

    def url(self, user="", host="127.0.0.1", more=""):
        tls = f"&tls=true&tlsCAFile={self.certs.ca}&authSource=admin" if self.secure else ""
        return f"mongodb://{user + '@' if user else ''}{host}:{self.port}/?directConnection=true" \
               f"{tls}{more}"

    def client(self, user=""):
        import pymongo  # pylint: disable=import-outside-toplevel,import-error
        client = pymongo.MongoClient(self.url(user), serverSelectionTimeoutMS=10000)
        self.clients.append(client)
        return client

    def fail_point(self, mode, **data):
        """What the next commands end in; mode {"times": 1}, "alwaysOn" or "off"."""
        return self.client().admin.command("configureFailPoint", "failCommand", mode=mode,
                                           data=data)


class SloppyMongo(Server):
    """mongo-java-server: no sessions, no ns and no updateDescription in events, and a getMore
    that answers at once."""
    secure = False

    def __init__(self):
        mongo_venv()
        self.classes = jars("mongo-java-server-1.47.0",
                            ["de.bwaldvogel:mongo-java-server:1.47.0"])
        program("javac", "openjdk-17-jdk-headless")
        super().__init__("sloppy")
        self.port = free_port()

    def start(self):
        self.spawn(["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp",
                    self.classes, os.path.join(TOP, "tests", "support", "SloppyMongo.java"),
                    str(self.port)])
        self.ready_line("READY", 60, 1)

    def url(self):
        return f"mongodb://127.0.0.1:{self.port}/"

    def do(self, **command):
        """One command to shop; pymongo talks to no server as old as this one says it is."""
        import bson  # pylint: disable=import-outside-toplevel,import-error
        body = bytes(5) + bson.encode({**command, "$db": "shop"})
        with socket.create_connection(("127.0.0.1", self.port), 20) as peer, \
                peer.makefile("rb") as file:
            peer.sendall(struct.pack("<iiii", len(body) + 16, 1, 0, 2013) + body)
            size = struct.unpack("<i", file.read(4))[0]
            answer = bson.decode(file.read(size - 4)[17:])
        if not answer.get("ok") or answer.get("writeErrors"):
            raise Failed(f"{next(iter(command))}: {answer}")
        return answer


def config(mongo, source="", sinks="", more="", url=None):
    """Configuration text; source: further options as YAML flow text."""
    insecure = "" if mongo.secure else ", insecure: true"
    return f"""agent: {{name: test, env: test, data_dir: "{{data_dir}}"}}
sources:
  shop: {{type: mongo, url: "{url or mongo.url()}", max_await: 100ms{insecure}{source}}}
policies: [{{dir}}/policies]
{sinks}{more}"""


def watch(mongo, policy=POLICY, data_dir=None, **more):
    """An agent on mongo's shop that is not started yet."""
    return Agent(config(mongo, **more), policies={"shop.yaml": policy}, data_dir=data_dir)


def events(agent, op=None):
    """Judged events in order, from audit records."""
    found = [record["event"] for record in agent.records("audit")]
    return [event for event in found if op is None or event["op"] == op]


def streaming(agent, seconds=30):
    return agent.wait_source("shop", "streaming", seconds)
