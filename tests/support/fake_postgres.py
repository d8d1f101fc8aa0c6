"""A server that speaks just enough of PostgreSQL's protocol to send what a real one never
does: rows, messages and answers of our choice on a replication connection.

    with FakePostgres([begin(100), relation(), row("1", "2"), commit(100)]) as fake:
        ... url: fake.url, slot: existing, insecure: true

Every session that streams gets the same list.  Standard library only."""

import contextlib
import socket
import struct
import threading

OID = 16385
SSL, GSS = 80877103, 80877104
STARTED = 0x1000                    # where the slot stands


def cstr(text):
    return text.encode() + b"\0"


def begin(lsn, xid=748):
    return b"B" + struct.pack(">QqI", lsn, 0, xid)


def commit(lsn, end=None):
    return b"C\0" + struct.pack(">QQq", lsn, end or lsn + 8, 0)


def relation(columns=(("id", 20, 1), ("n", 23, 0), ("note", 25, 0)), name="rows"):
    body = b"".join(bytes([key]) + cstr(column) + struct.pack(">Ii", kind, -1)
                    for column, kind, key in columns)
    return (b"R" + struct.pack(">I", OID) + cstr("shop") + cstr(name) + b"d" +
            struct.pack(">H", len(columns)) + body)


def datum(text):
    if text is None:
        return b"n"
    return b"t" + struct.pack(">I", len(text.encode())) + text.encode()


def row(*values, oid=OID):
    return (b"I" + struct.pack(">I", oid) + b"N" + struct.pack(">H", len(values)) +
            b"".join(datum(value) for value in values))


class Raw(bytes):
    """Copy data as it is, not inside of an XLogData message."""


class FakePostgres:
    def __init__(self, stream):
        self.stream, self.sessions, self.queries = stream, 0, []
        self.confirmed = []             # flush positions we were told
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"postgresql://dgf@127.0.0.1:{self.port}/app"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, contextlib.suppress(OSError, EOFError):
            Session(self, client).run()

    def answer(self, sql):
        """(column names, rows) of one statement."""
        lsn = f"{STARTED >> 32:X}/{STARTED & 0xffffffff:X}"
        if "server_version_num" in sql:
            return (["version", "recovering", "wal_level", "timeout_ms", "database_oid",
                     "database"], [["150000", "f", "logical", "60000", "5", "app"]])
        if sql.startswith("IDENTIFY_SYSTEM"):
            return (["systemid", "timeline", "xlogpos", "dbname"],
                    [["7000000000000000001", "1", "0/9000", "app"]])
        if "pg_replication_slots" in sql:
            return (["plugin", "slot_type", "database", "active_pid", "restart_lsn",
                     "confirmed_flush_lsn", "wal_status", "temporary"],
                    [["pgoutput", "logical", "app", None, lsn, lsn, "reserved", "f"]])
        if "pg_publication_tables" in sql:
            return ["oid", "nspname", "relname", "published"], [[str(OID), "shop", "rows", "t"]]
        if "pg_publication" in sql:
            return ["one"], [["1"]]
        if "col_description" in sql and "format_type" in sql:
            columns = next(m for m in self.stream if m[:1] == b"R")
            n = struct.unpack(">H", columns.split(b"\0rows\0d")[1][:2])[0] \
                if b"\0rows\0d" in columns else 3
            return ["type", "comment", "key"], [["text", None, "t" if i == 0 else "f"]
                                                for i in range(n)]
        return ["nothing"], []


class Session:
    def __init__(self, fake, client):
        self.fake, self.client, self.file = fake, client, client.makefile("rb")
        self.sql = ""

    def read(self, n):
        got = self.file.read(n)
        if len(got) < n:
            raise EOFError
        return got

    def send(self, kind, body=b""):
        self.client.sendall(kind + struct.pack(">I", len(body) + 4) + body)

    def startup(self):
        while True:
            size, code = struct.unpack(">II", self.read(8))
            self.read(size - 8)
            if code not in (SSL, GSS):
                break
            self.client.sendall(b"N")
        self.send(b"R", struct.pack(">I", 0))
        for name, value in (("server_version", "15.0"), ("client_encoding", "UTF8"),
                            ("standard_conforming_strings", "on"), ("integer_datetimes", "on")):
            self.send(b"S", cstr(name) + cstr(value))
        self.ready()

    def ready(self):
        self.send(b"Z", b"I")

    def rows(self, sql):
        self.fake.queries.append(sql)
        names, rows = self.fake.answer(sql)
        self.send(b"T", struct.pack(">H", len(names)) + b"".join(
            cstr(name) + struct.pack(">IHIhih", 0, 0, 25, -1, -1, 0) for name in names))
        for values in rows:
            self.send(b"D", struct.pack(">H", len(values)) + b"".join(
                struct.pack(">i", -1) if value is None else
                struct.pack(">i", len(value.encode())) + value.encode() for value in values))
        self.send(b"C", cstr(f"SELECT {len(rows)}"))

    def stream(self):
        self.fake.sessions += 1
        self.send(b"W", b"\0\0\0")
        for message in self.fake.stream:
            body = bytes(message) if isinstance(message, Raw) else \
                b"w" + struct.pack(">QQq", STARTED, STARTED, 0) + message
            self.send(b"d", body)

    def run(self):
        self.startup()
        while True:
            kind = self.read(1)
            body = self.read(struct.unpack(">I", self.read(4))[0] - 4)
            if kind == b"Q":
                sql = body[:-1].decode()
                if sql.startswith("START_REPLICATION"):
                    self.stream()
                else:
                    self.rows(sql)
                    self.ready()
            elif kind == b"P":
                self.sql = body.split(b"\0")[1].decode()
                self.send(b"1")
            elif kind == b"B":
                self.send(b"2")
            elif kind == b"E":
                self.rows(self.sql)
            elif kind == b"S":
                self.ready()
            elif kind == b"d" and body[:1] == b"r":
                self.fake.confirmed.append(struct.unpack(">Q", body[9:17])[0])
            elif kind == b"X":
                return
