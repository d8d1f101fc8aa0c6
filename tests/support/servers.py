"""Private servers for tests: PostgreSQL, Kafka, librdkafka's mock cluster, a small disk.

Each is a context manager that starts below a temporary folder on free loopback
ports, waits a bounded time for its ready line, and stops by its own pid.  A
missing program skips on a developer's machine and fails where CI=true.

    with Postgres() as pg, Kafka() as kafka:
        pg.sql("CREATE TABLE t (id int PRIMARY KEY)")
        kafka.create_topic("dgf.test.audit.v1", 3)

Standard library only."""

import contextlib
import fcntl
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
CACHE = os.environ.get("DGF_CACHE") or os.path.expanduser("~/.cache/dgf")
BUILD = os.environ.get("DGF_BUILD") or os.getcwd()
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PG_BIN = next((p for p in ("/usr/lib/postgresql/15/bin", "/usr/lib/postgresql/16/bin",
                           "/usr/lib/postgresql/17/bin") if os.path.isdir(p)), "")


class Skip(Exception):
    """This machine cannot run the test; the text says what is missing."""


class Failed(Exception):
    """A server did not do what it must."""


def need(condition, reason):
    if condition:
        return
    if os.environ.get("CI") == "true":
        raise Failed(f"{reason} (CI=true: nothing may be skipped)")
    raise Skip(reason)


def program(name, package):
    path = shutil.which(name)
    need(path, f"'{name}' is not installed (Debian package: {package})")
    return path


def wait_until(condition, seconds, what, every=0.02):
    """Calls condition until it answers something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failed(f"waited {seconds:g} s for {what() if callable(what) else what}")
        time.sleep(every)


_given = set()


def kernel_ports():
    """(first, last) of the ports the kernel gives to connections and to whoever asks for any."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first, last = map(int, file.read().split())
    return first, last


def is_free(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)      # as servers do
        with contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return True
    return False


def free_port(beside=0):
    """A loopback port nobody listens on now; never the same one twice.  The kernel gives it to
    nobody else: between this and the start of the server any connection of another test could
    take one of its own.  beside: the port so many further on is free as well."""
    first = kernel_ports()[0]
    below = first if first >= 22000 else 32768      # where it keeps nearly none back
    while True:
        port = random.randrange(10240, below - beside)
        if port not in _given and all(is_free(at) for at in {port, port + beside}):
            _given.update({port, port + beside})
            return port


def tail(path, lines=15):
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return "".join(file.readlines()[-lines:])
    return ""


def children_of(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    if int(file.read().rpartition(")")[2].split()[1]) == pid:
                        found.append(int(entry))
    return found


def alive(pid):
    """Running; a zombie nobody has reaped yet is not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Folder:
    """A private folder; DGF_KEEP=1 leaves it for a look afterwards."""

    def __init__(self, name, shared_memory=False):
        base = os.environ.get("DGF_TMP") or None
        if not base and shared_memory and os.access("/dev/shm", os.W_OK):
            stat = os.statvfs("/dev/shm")
            base = "/dev/shm" if stat.f_bavail * stat.f_frsize > 2 << 30 else None
        self.path = tempfile.mkdtemp(prefix=f"dgf-{name}-", dir=base)
        os.chmod(self.path, 0o755)

    def __truediv__(self, name):
        return os.path.join(self.path, name)

    def remove(self):
        if not os.environ.get("DGF_KEEP"):
            shutil.rmtree(self.path, ignore_errors=True)


class Certs:
    """A test CA and what it signed; paths are attributes: ca, and issue()'s answer."""

    def __init__(self, folder):
        program("openssl", "openssl")
        self.folder = folder
        self.ca = os.path.join(self.folder, "ca.crt")
        self.key = os.path.join(self.folder, "ca.key")
        self._run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key,
                  "-out", self.ca, "-days", "30", "-subj", "/CN=test-ca")

    def _run(self, *args):
        quiet = ["-batch"] if args[0] == "req" else []
        done = subprocess.run(["openssl", args[0], *quiet, *args[1:]], timeout=60, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise Failed(f"openssl {args[0]}: {done.stdout}")

    def issue(self, name, san="DNS:localhost,IP:127.0.0.1"):
        """(certificate, key, both in one PEM file)"""
        crt, key, pem, csr, ext = (os.path.join(self.folder, f"{name}.{end}")
                                   for end in ("crt", "key", "pem", "csr", "ext"))
        with open(ext, "w", encoding="utf-8") as file:
            file.write(f"subjectAltName={san}\n")
        self._run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", csr,
                  "-subj", f"/CN={name}")
        self._run("x509", "-req", "-in", csr, "-CA", self.ca, "-CAkey", self.key,
                  "-CAcreateserial", "-days", "30", "-extfile", ext, "-out", crt)
        with open(pem, "w", encoding="utf-8") as file:
            for part in (key, crt):
                with open(part, encoding="utf-8") as source:
                    file.write(source.read())
        os.chmod(key, 0o600)
        os.chmod(pem, 0o600)
        return crt, key, pem


class Server:
    """What all of them share: a child of ours, its log, its folder."""

    def __init__(self, name, shared_memory=False):
        self.folder = Folder(name, shared_memory)
        self.log = self.folder / "log"
        self.child = None

    def __enter__(self):
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.kill9()
            self.folder.remove()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            self.kill9()
            self.folder.remove()

    def prepare(self):
        pass

    def spawn(self, command, **more):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(command, stdin=more.pop("stdin", subprocess.DEVNULL),
                                          stdout=more.pop("stdout", log), stderr=log,
                                          start_new_session=True, **more)

    def running(self):
        return self.child is not None and self.child.poll() is None

    def send(self, number):
        if self.running():
            os.kill(self.child.pid, number)

    def pause(self):
        self.send(signal.SIGSTOP)

    def resume(self):
        self.send(signal.SIGCONT)

    def wait_gone(self, seconds):
        try:
            self.child.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False

    def kill9(self):
        if self.running():
            self.send(signal.SIGKILL)
            self.child.wait(30)

    def stop(self, number=signal.SIGTERM, seconds=30):
        if self.running():
            self.send(signal.SIGCONT)
            self.send(number)
            if not self.wait_gone(seconds):
                self.kill9()
                raise Failed(f"did not end {seconds} s after signal {int(number)}:\n"
                             f"{tail(self.log)}")

    def restart(self):
        self.stop()
        self.start()

    def ready_line(self, text, seconds, count):
        def seen():
            if not self.running():
                raise Failed(f"ended with {self.child.returncode} before '{text}':\n"
                             f"{tail(self.log)}")
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return file.read().count(text) >= count
        wait_until(seen, seconds, lambda: f"'{text}' in:\n{tail(self.log)}")


class Postgres(Server):
    """PostgreSQL with wal_level=logical, TLS and SCRAM on 127.0.0.1, trust on its socket.

    extra: lines for postgresql.conf.  san: names in the server's certificate.  sync: data
    on the disk with fsync, else in memory."""
    READY = "database system is ready to accept connections"

    def __init__(self, extra="", san="DNS:localhost,IP:127.0.0.1", sync=False):
        need(PG_BIN, "PostgreSQL 15 is not installed (Debian package: postgresql-15)")
        super().__init__("pg", shared_memory=not sync)
        self.extra, self.san, self.sync = extra, san, sync
        self.port = free_port()
        self.run = self.folder / "run"
        self.data = os.path.join(self.run, "data")
        self.log = os.path.join(self.run, "log")
        self.password = "pg-secret"
        self.as_postgres = []
        if os.geteuid() == 0:
            with contextlib.suppress(KeyError):
                pwd.getpwnam("postgres")
                self.as_postgres = [program("setpriv", "util-linux"), "--reuid=postgres",
                                    "--regid=postgres", "--clear-groups"]
            need(self.as_postgres, "there is no user 'postgres' (Debian package: postgresql-15)")

    def prepare(self):
        os.mkdir(self.run, 0o700)
        certs = Certs(self.folder.path)
        crt, key, _ = certs.issue("server", self.san)
        self.certs = certs
        self.ca = os.path.join(self.folder.path, "ca.crt")
        for source, name in ((certs.ca, "ca.crt"), (crt, "server.crt"), (key, "server.key")):
            shutil.copy(source, os.path.join(self.run, name))
        with open(os.path.join(self.run, "pw"), "w", encoding="utf-8") as file:
            file.write(self.password + "\n")
        open(self.log, "ab").close()
        if self.as_postgres:
            user = pwd.getpwnam("postgres")
            for path in [self.run] + [os.path.join(self.run, n) for n in os.listdir(self.run)]:
                os.chown(path, user.pw_uid, user.pw_gid)
        for name in ("server.key", "pw"):
            os.chmod(os.path.join(self.run, name), 0o600)
        self.as_user(f"{PG_BIN}/initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8",
                     "--auth-local=trust", "--auth-host=scram-sha-256", "--locale=C.UTF-8",
                     f"--pwfile={self.run}/pw", "-N")
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as file:
            file.write(f"""
listen_addresses = '127.0.0.1'
port = {self.port}
unix_socket_directories = '{self.run}'
wal_level = logical
max_wal_senders = 10
max_replication_slots = 10
max_prepared_transactions = 10
wal_sender_timeout = 5s
password_encryption = scram-sha-256
ssl = on
ssl_ca_file = '{self.run}/ca.crt'
ssl_cert_file = '{self.run}/server.crt'
ssl_key_file = '{self.run}/server.key'
shared_buffers = 64MB
max_connections = 50
fsync = {'on' if self.sync else 'off'}
{self.extra}
""")
        self.hba("scram-sha-256")

    def hba(self, method):
        with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="utf-8") as file:
            file.write(f"""local all all trust
local replication all trust
hostssl all all 127.0.0.1/32 {method}
hostssl replication all 127.0.0.1/32 {method}
hostnossl all all 127.0.0.1/32 reject
""")

    def n_ready(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read().count(self.READY)

    def as_user(self, *command):
        done = subprocess.run([*self.as_postgres, *command], cwd="/", text=True, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120)
        if done.returncode:
            raise Failed(f"{command[0]}: {done.stdout}")

    def start(self):
        before = self.n_ready()
        self.spawn([*self.as_postgres, f"{PG_BIN}/postgres", "-D", self.data], cwd="/")
        self.ready_line(self.READY, 60, before + 1)

    def stop(self, number=signal.SIGINT, seconds=60):
        """SIGINT is a fast shutdown, SIGQUIT an immediate one."""
        super().stop(number, seconds)

    def kill9(self):
        """The whole cluster is gone when this returns."""
        if not self.running():
            return
        children = children_of(self.child.pid)
        super().kill9()
        end = time.monotonic() + 20
        while any(alive(pid) for pid in children):
            if time.monotonic() > end:
                for pid in filter(alive, children):
                    os.kill(pid, signal.SIGKILL)
                end += 20
            time.sleep(0.02)

    def psql(self, text, db="postgres", check=True, seconds=600, args=()):
        """Runs text in one session as superuser over the socket; the finished process."""
        done = subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.run,
             "-p", str(self.port), "-U", "postgres", "-d", db, "-f", "-", *args],
            input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=seconds, check=False)
        if check and done.returncode:
            raise Failed(f"psql: {done.stderr.strip()}")
        return done

    def sql(self, text, db="postgres", seconds=600):
        """What the statements answered, one row a line, columns split by '|'."""
        return self.psql(text, db, seconds=seconds).stdout.rstrip("\n")

    def rows(self, text, db="postgres"):
        out = self.sql(text, db)
        return [line.split("|") for line in out.split("\n")] if out else []

    def background(self, text, db="postgres"):
        """psql running text while the test goes on; the caller waits for it."""
        child = subprocess.Popen(
            ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.run,
             "-p", str(self.port), "-U", "postgres", "-d", db, "-f", "-"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        child.stdin.write(text)
        child.stdin.close()
        child.stdin = None
        return child

    def role(self, name="dgf", password="dgf-secret", rights="LOGIN REPLICATION"):
        self.sql(f"CREATE ROLE {name} {rights} PASSWORD '{password}'")

    def conninfo(self, user="postgres", password=None, db="postgres", host="127.0.0.1",
                 sslmode="verify-full"):
        """A URL over TLS with SCRAM; the CA is this server's own."""
        secret = self.password if password is None else password
        return (f"postgresql://{user}:{secret}@{host}:{self.port}/{db}"
                f"?sslmode={sslmode}&sslrootcert={self.ca}")

    def socket_conninfo(self, user="postgres", db="postgres"):
        return f"postgresql://{user}@/{db}?host={self.run}&port={self.port}"

    def slot(self, name):
        """The slot as a dict, or None."""
        out = self.sql(f"SELECT row_to_json(s) FROM pg_replication_slots s "
                       f"WHERE slot_name = '{name}'")
        return json.loads(out) if out else None

    def lsn(self):
        return self.sql("SELECT pg_current_wal_lsn()")


POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>test</groupId><artifactId>run</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>{}</dependencies>
  <build><plugins><plugin>
    <groupId>org.apache.maven.plugins</groupId>
    <artifactId>maven-dependency-plugin</artifactId><version>3.8.1</version>
  </plugin></plugins></build>
</project>
"""
JARS = {
    "4.1.1": ["org.apache.kafka:kafka_2.13:4.1.1", "org.apache.kafka:kafka-tools:4.1.1",
              "org.apache.logging.log4j:log4j-core:2.24.3",
              "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"],
    "3.9.1": ["org.apache.kafka:kafka_2.13:3.9.1", "org.apache.kafka:kafka-tools:3.9.1",
              "ch.qos.reload4j:reload4j:1.2.25", "org.slf4j:slf4j-reload4j:1.7.36"],
}


def jars(name, wanted):
    """A class path with these jars and all they need, downloaded once into the cache."""
    folder = os.path.join(CACHE, name)
    lib = os.path.join(folder, "lib")
    program("java", "openjdk-17-jre-headless")
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, f"{name}.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(lib):
            return os.path.join(lib, "*")
        mvn = program("mvn", "maven")
        os.makedirs(folder, exist_ok=True)
        shutil.rmtree(lib + ".new", ignore_errors=True)
        parts = [dict(zip(("groupId", "artifactId", "version"), jar.split(":")))
                 for jar in wanted]
        text = "".join("<dependency>" + "".join(f"<{k}>{v}</{k}>" for k, v in part.items())
                       + "</dependency>" for part in parts)
        with open(os.path.join(folder, "pom.xml"), "w", encoding="utf-8") as file:
            file.write(POM.format(text))
        done = subprocess.run([mvn, "-q", "-B", "dependency:copy-dependencies",
                               f"-DoutputDirectory={lib}.new"], cwd=folder, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=600, check=False)
        need(done.returncode == 0, f"cannot download {name}: {done.stdout[-400:]}")
        os.rename(lib + ".new", lib)
    return os.path.join(lib, "*")


def kafka_jars(version):
    """The class path of that broker."""
    return jars(f"kafka-{version}", JARS[version])


class Kafka(Server):
    """One KRaft broker.  secure=True adds SSL and SASL_SSL (PLAIN bob/bob-secret,
    SCRAM-SHA-512 alice/alice-secret) beside the plain listener."""

    def __init__(self, version="4.1.1", secure=False, extra="",
                 san="DNS:localhost,IP:127.0.0.1"):
        self.classes = kafka_jars(version)
        program("kcat", "kcat")
        super().__init__("kafka", shared_memory=True)
        self.version, self.secure, self.extra, self.san = version, secure, extra, san
        self.port, self.controller = free_port(), free_port()
        self.ssl_port, self.sasl_port = free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.ssl_bootstrap = f"localhost:{self.ssl_port}"
        self.sasl_bootstrap = f"localhost:{self.sasl_port}"
        self.ca = None

    def prepare(self):
        listeners = f"PLAINTEXT://127.0.0.1:{self.port}"
        advertised = listeners
        security = ""
        if self.secure:
            certs = Certs(self.folder.path)
            self.ca = certs.ca
            self.certs = certs
            _, _, pem = certs.issue("server", self.san)
            listeners += (f",SSL://127.0.0.1:{self.ssl_port}"
                          f",SASL_SSL://127.0.0.1:{self.sasl_port}")
            advertised += (f",SSL://localhost:{self.ssl_port}"
                           f",SASL_SSL://localhost:{self.sasl_port}")
            module = "org.apache.kafka.common.security"
            security = f"""
ssl.keystore.type=PEM
ssl.keystore.location={pem}
ssl.truststore.type=PEM
ssl.truststore.location={certs.ca}
ssl.client.auth=requested
listener.name.sasl_ssl.ssl.client.auth=none
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config={module}.plain.PlainLoginModule required \
user_bob="bob-secret";
"""
        share = "" if self.version.startswith("3.") else (
            "share.coordinator.state.topic.replication.factor=1\n"
            "share.coordinator.state.topic.min.isr=1\n")
        with open(self.folder / "server.properties", "w", encoding="utf-8") as file:
            file.write(f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{self.controller}
listeners={listeners},CONTROLLER://127.0.0.1:{self.controller}
advertised.listeners={advertised}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={self.folder / 'data'}
num.partitions=3
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=4194304
{share}{security}{self.extra}
""")
        if self.version.startswith("3."):
            self.logging = f"-Dlog4j.configuration=file:{self.folder / 'log4j.properties'}"
            with open(self.folder / "log4j.properties", "w", encoding="utf-8") as file:
                file.write("log4j.rootLogger=INFO, C\n"
                           "log4j.appender.C=org.apache.log4j.ConsoleAppender\n"
                           "log4j.appender.C.layout=org.apache.log4j.PatternLayout\n"
                           "log4j.appender.C.layout.ConversionPattern=%d{ISO8601} %p %m%n\n")
        else:
            self.logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
            with open(self.folder / "log4j2.properties", "w", encoding="utf-8") as file:
                file.write("status=warn\nappender.c.type=Console\nappender.c.name=C\n"
                           "appender.c.layout.type=PatternLayout\n"
                           "appender.c.layout.pattern=%d{ISO8601} %p %c{1} %m%n\n"
                           "rootLogger.level=info\nrootLogger.appenderRef.c.ref=C\n")
        scram = ["--add-scram", "SCRAM-SHA-512=[name=alice,password=alice-secret]"]
        self.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c",
                  self.folder / "server.properties", *(scram if self.secure else []))

    def java(self, *args, seconds=60):
        done = subprocess.run(["java", "-XX:TieredStopAtLevel=1", self.logging, "-cp",
                               self.classes, *args], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=seconds, check=False)
        if done.returncode:
            raise Failed(f"{args[0]}: {done.stdout[-2000:]}")
        return done.stdout

    def start(self):
        text = "Kafka Server started"
        before = 0
        if os.path.exists(self.log):
            with open(self.log, encoding="utf-8", errors="replace") as file:
                before = file.read().count(text)
        self.spawn(["java", "-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                    self.logging, "-cp", self.classes, "kafka.Kafka",
                    self.folder / "server.properties"], cwd=self.folder.path)
        self.ready_line(text, 60, before + 1)

    def admin(self, *args):
        """create TOPIC PARTITIONS [K=V]..., delete TOPIC, alter TOPIC K=V...,
        allow PREFIX PRINCIPAL OPERATION"""
        tool = os.path.join(BUILD, "kafka_admin")
        need(os.access(tool, os.X_OK), f"'{tool}' is not built: run `make kafka_admin`")
        done = subprocess.run([tool, self.bootstrap, *map(str, args)], text=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise Failed(done.stdout.strip())

    def create_topic(self, topic, partitions=3, **config):
        self.admin("create", topic, partitions,
                   *(f"{k.replace('_', '.')}={v}" for k, v in config.items()))

    def create_dgf_topics(self, prefix, partitions=3):
        for name in ("violations", "audit", "control"):
            self.create_topic(f"{prefix}.{name}.v1", partitions)

    def delete_topic(self, topic):
        self.admin("delete", topic)

    def produce(self, topic, *values):
        produce(self.bootstrap, topic, *values)

    def read(self, topic, seconds=60):
        return read_topic(self.bootstrap, topic, seconds)


def produce(bootstrap, topic, *values):
    done = subprocess.run(["kcat", "-b", bootstrap, "-t", topic, "-P"], text=True, check=False,
                          input="".join(f"{v}\n" for v in values), stderr=subprocess.PIPE,
                          timeout=60)
    if done.returncode:
        raise Failed(f"kcat: {done.stderr.strip()}")


class Message:
    """One record of a topic."""

    def __init__(self, row):
        self.topic, self.partition, self.offset = row["topic"], row["partition"], row["offset"]
        self.key, self.value = row.get("key"), row.get("payload")
        names = row.get("headers") or []
        self.headers = dict(zip(names[::2], names[1::2]))

    @property
    def id(self):
        return self.headers.get("ce_id")

    def json(self):
        return json.loads(self.value)

    def __repr__(self):
        return f"{self.topic}[{self.partition}]@{self.offset} {self.headers} {self.value}"


def read_topic(bootstrap, topic, seconds=60):
    """Everything committed that stands in all partitions now, in order of each."""
    done = subprocess.run(["kcat", "-b", bootstrap, "-t", topic, "-C", "-e", "-q", "-J",
                           "-o", "beginning", "-X", "fetch.wait.max.ms=50",
                           "-X", "isolation.level=read_committed"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds,
                          check=False)
    if done.returncode:
        raise Failed(f"kcat: {done.stderr.decode(errors='replace').strip()}")
    return [Message(json.loads(line)) for line in done.stdout.splitlines() if line]


def distinct(messages):
    """The first of each ce_id, in order: what a consumer that drops repeats keeps."""
    seen = {}
    for message in messages:
        seen.setdefault(message.id, message)
    return list(seen.values())


class MockKafka(Server):
    """librdkafka's mock cluster in a process of its own: errors on demand, no disk."""

    def __init__(self, *topics, brokers=1):
        self.tool = os.path.join(BUILD, "mock_kafka")
        need(os.access(self.tool, os.X_OK),
             f"'{self.tool}' is not built: run `make mock_kafka`")
        super().__init__("mock")
        self.topics, self.brokers = topics, brokers
        self.bootstrap = None

    def start(self):
        self.spawn([self.tool, "-b", str(self.brokers), *self.topics], text=True,
                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.bootstrap = self.child.stdout.readline().strip()
        if not self.bootstrap:
            raise Failed(f"the mock cluster did not start: {tail(self.log)}")

    def tell(self, line):
        """error API_KEY COUNT CODE, down BROKER, up BROKER, rtt BROKER MS"""
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline().strip()
        if answer != "ok":
            raise Failed(f"mock cluster: '{line}' answered '{answer}'")

    def read(self, topic, seconds=60):
        return read_topic(self.bootstrap, topic, seconds)


class Disk:
    """A folder with a size of its own (tmpfs), for tests of a full disk."""

    def __init__(self, size="16m"):
        self.folder, self.size, self.filler = Folder("disk"), size, None

    def __enter__(self):
        self.path = self.folder / "small"
        os.mkdir(self.path)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size},mode=0755",
                               "tmpfs", self.path], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        try:
            need(done.returncode == 0,
                 f"cannot mount a small tmpfs (root only): {done.stdout.strip()}")
        except BaseException:
            self.folder.remove()
            raise
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.path], check=False)
        self.folder.remove()

    def free(self):
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize

    def fill(self, leave=0):
        """Takes all room but `leave` bytes."""
        self.filler = os.path.join(self.path, "filler")
        with open(self.filler, "ab") as file:
            while self.free() > leave:
                chunk = min(1 << 20, self.free() - leave)
                try:
                    file.write(b"\0" * max(chunk, 1))
                    file.flush()
                except OSError:
                    break

    def empty(self):
        os.remove(self.filler)


@contextlib.contextmanager
def running(*servers):
    """Several servers, started in turn, stopped in reverse also after an error."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(server) for server in servers]


def main(argv):
    """servers.py kafka-jars VERSION...: fills the cache, for scripts."""
    if argv[:1] == ["kafka-jars"] and len(argv) > 1:
        for version in argv[1:]:
            print(kafka_jars(version))
        return 0
    print(main.__doc__, file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
