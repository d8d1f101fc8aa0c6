"""A private Redis, and a client of a few lines: commands as lists, answers as Python values.

    with Redis() as redis:
        redis.do("XADD", "orders", "*", "id", "1")
        redis.add("orders", range(1, 101))"""

import shutil
import socket
import ssl
import subprocess

from servers import Certs, Failed, Server, free_port, need, program, wait_until


class Error(Exception):
    """What the server answered with '-'."""


class Client:
    def __init__(self, port, context=None, host="127.0.0.1"):
        sock = socket.create_connection((host, port), 20)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = context.wrap_socket(sock, server_hostname=host) if context else sock
        self.file = self.sock.makefile("rb")

    def close(self):
        self.file.close()
        self.sock.close()

    def send(self, *words):
        out = [b"*%d\r\n" % len(words)]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            out.append(b"$%d\r\n%s\r\n" % (len(word), word))
        return b"".join(out)

    def answer(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, text = line[:1], line[1:-2]
        if kind == b"-":
            return Error(text.decode("utf-8", "replace"))
        if kind == b"+":
            return text.decode()
        if kind == b":":
            return int(text)
        n = int(text)
        if n < 0:
            return None
        if kind == b"$":
            data = self.file.read(n + 2)[:-2]
            try:
                return data.decode()
            except UnicodeDecodeError:
                return data
        return [self.answer() for _ in range(n)]

    def do(self, *words):
        self.sock.sendall(self.send(*words))
        answer = self.answer()
        if isinstance(answer, Error):
            raise answer
        return answer

    def many(self, commands):
        """One round trip; answers in order, errors as values."""
        self.sock.sendall(b"".join(self.send(*words) for words in commands))
        return [self.answer() for _ in commands]


class Redis(Server):
    """One Redis 7 on 127.0.0.1.  users: ACL lines; then admin/adminpw is ours.  tls: a second
    port with a certificate for san.  keep: AOF with fsync, so that kill -9 loses nothing."""
    READY = "Ready to accept connections"

    def __init__(self, users=None, tls=False, san="DNS:localhost,IP:127.0.0.1", keep=False,
                 extra="", client_certificates="optional"):
        super().__init__("redis", shared_memory=not keep)
        self.program = shutil.which("redis-server") or shutil.which("valkey-server")
        need(self.program, "'redis-server' is not installed (Debian package: redis-server)")
        self.port, self.tls_port = free_port(), free_port() if tls else 0
        self.users, self.san, self.keep, self.extra = users, san, keep, extra
        self.client_certificates = client_certificates
        self.clients = []
        self.main = None
        self.certs = None

    def prepare(self):
        lines = [f"bind 127.0.0.1\nport {self.port}\ndir {self.folder.path}\ndaemonize no",
                 'save ""', "loglevel notice", self.extra]
        if self.keep:
            lines += ["appendonly yes", "appendfsync always"]
        if self.tls_port:
            program("openssl", "openssl")
            self.certs = Certs(self.folder.path)
            crt, key, _ = self.certs.issue("server", self.san)
            lines += [f"tls-port {self.tls_port}", f"tls-cert-file {crt}",
                      f"tls-key-file {key}", f"tls-ca-cert-file {self.certs.ca}",
                      f"tls-auth-clients {self.client_certificates}"]
        if self.users is not None:
            lines += ["user default off", "user admin on >adminpw ~* &* +@all", self.users]
        self.write_config(lines)

    def write_config(self, lines):
        self.config = self.folder / "redis.conf"
        with open(self.config, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def start(self):
        with open(self.log, "a+", encoding="utf-8", errors="replace") as file:
            file.seek(0)
            before = file.read().count(self.READY)
        self.spawn([self.program, self.config])
        self.ready_line(self.READY, 30, before + 1)
        self.main = self.client()

    def kill9(self):
        for client in self.clients:
            client.close()
        self.clients = []
        super().kill9()

    def client(self):
        client = Client(self.port)
        self.clients.append(client)
        if self.users is not None:
            client.do("AUTH", "admin", "adminpw")
        return client

    def do(self, *words):
        return self.main.do(*words)

    def many(self, commands):
        answers = self.main.many(commands)
        for answer in answers:
            if isinstance(answer, Error):
                raise answer
        return answers

    def add(self, stream, ids, n="1", ms=None, **fields):
        """Entries {id, n, note}; with ms their ids are ms-<id>, else the server's clock.
        Answers the entries' ids."""
        return self.many([["XADD", stream, f"{ms}-{i}" if ms is not None else "*", "id", i,
                           "n", n, "note", f"note {i}",
                           *(x for pair in fields.items() for x in pair)] for i in ids])

    def info(self, stream):
        answer = self.do("XINFO", "STREAM", stream)
        return dict(zip(answer[::2], answer[1::2]))

    def url(self, user=None, password=None, tls=False, host="localhost"):
        who = f"{user}:{password}@" if user else ""
        return (f"rediss://{who}{host}:{self.tls_port}/0" if tls
                else f"redis://{who}127.0.0.1:{self.port}/0")

    def context(self):
        return ssl.create_default_context(cafile=self.certs.ca)


class Cluster:
    """Primaries of a cluster, each a Redis of its own."""

    def __init__(self, n=3):
        self.nodes = [self.member() for _ in range(n)]

    @staticmethod
    def member():
        """A node that belongs to no cluster yet."""
        node = Redis(extra="cluster-enabled yes\ncluster-config-file nodes.conf\n"
                           "cluster-node-timeout 2000\ncluster-require-full-coverage no")
        node.port = free_port(beside=10000)     # the cluster's bus
        return node

    def __enter__(self):
        self.started = []
        try:
            for node in self.nodes:
                self.started.append(node.__enter__())
            done = subprocess.run(
                [program("redis-cli", "redis-tools"), "--cluster", "create",
                 *(f"127.0.0.1:{node.port}" for node in self.nodes),
                 "--cluster-replicas", "0", "--cluster-yes"], text=True, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
            if done.returncode:
                raise Failed(f"redis-cli --cluster create: {done.stdout}")
            for node in self.nodes:
                wait_until(lambda node=node: "cluster_state:ok" in node.do("CLUSTER", "INFO"),
                           30, "the cluster to be ok")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        for node in self.started:
            node.__exit__(None, None, None)

    def do(self, *words):
        """At the node that has the key, which is the second word."""
        for node in self.nodes:
            try:
                return node.do(*words)
            except Error as error:
                if not str(error).startswith("MOVED"):
                    raise
        raise Failed(f"no node takes {words[:2]}")


__all__ = ["Client", "Cluster", "Error", "Redis"]
