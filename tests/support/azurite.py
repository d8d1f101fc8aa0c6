"""A private Azurite (Blob and Queue storage), and a signed client of a few lines.

Azurite must never be killed hard in a test that counts: it keeps its last writes in memory
for some seconds.  stop() ends it in order; kill our side instead.

    with Azurite() as azurite:
        azurite.put_container("media")
        azurite.put_blob("media/a.txt", b"text")
        azurite.put_queue("events")
        azurite.put_message("events", {"eventType": "..."})

Over HTTPS it takes bearer tokens whose signature nobody checks: Azurite(tls=True) and
token()."""

import base64
import email.utils
import hashlib
import hmac
import http.client
import json
import os
import ssl
import time
import urllib.parse
import xml.etree.ElementTree

from node import node, npm_folder
from servers import Certs, Failed, Server, free_port, tail, wait_until

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2021-12-02"


def signature(key, method, account, path, query, headers, length):
    """Shared Key of Blob and Queue; headers by lower-case name, path as it is sent."""
    names = ("content-encoding", "content-language", "", "content-md5", "content-type", "",
             "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range")
    lines = [method] + [headers.get(name, "") for name in names]
    lines[3] = str(length) if length else ""
    lines += [f"{name}:{value}" for name, value in sorted(headers.items())
              if name.startswith("x-ms-")]
    resource = f"/{account}{path}" + "".join(
        f"\n{name.lower()}:{value}" for name, value in sorted(query.items()))
    text = "\n".join(lines) + "\n" + resource
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


class Refused(Exception):
    """An answer that is none of the 2xx; status and what the server wrote."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body[:300]!r}")
        self.status = status


def token(tenant="t", audience="https://storage.azure.com", seconds=3600, **more):
    """A bearer token Azurite takes: it looks at the claims only."""
    now = int(time.time())
    claims = {"iat": now - 60, "nbf": now - 60, "exp": now + seconds, "aud": audience,
              "iss": f"https://sts.windows.net/{tenant}/", **more}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
             for part in ({"typ": "JWT", "alg": "RS256"}, claims)]
    return ".".join(parts + ["c2lnbmF0dXJl"])


def sas(azurite, container, rights, seconds=3600):
    """A service SAS of a container, as a query."""
    start, expiry = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + at))
                     for at in (-300, seconds))
    fields = [rights, start, expiry, f"/blob/{azurite.account}/{container}", "", "", "", VERSION,
              "c"] + 7 * [""]
    digest = hmac.new(base64.b64decode(azurite.key), "\n".join(fields).encode(),
                      hashlib.sha256).digest()
    return urllib.parse.urlencode({"sp": rights, "st": start, "se": expiry, "sv": VERSION,
                                   "sr": "c", "sig": base64.b64encode(digest).decode()})


def account_sas(azurite, rights, seconds=3600):
    """A SAS of the account's blobs and queues, as a query."""
    start, expiry = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + at))
                     for at in (-300, seconds))
    fields = [azurite.account, rights, "bq", "sco", start, expiry, "", "", VERSION, "", ""]
    digest = hmac.new(base64.b64decode(azurite.key), "\n".join(fields).encode(),
                      hashlib.sha256).digest()
    return urllib.parse.urlencode({"sp": rights, "ss": "bq", "srt": "sco", "st": start,
                                   "se": expiry, "sv": VERSION,
                                   "sig": base64.b64encode(digest).decode()})


class Azurite(Server):
    """accounts: {name: key} in place of the default one.  disk: keeps what it has over
    stop() and start().  tls: HTTPS with a certificate for san, and bearer tokens."""

    def __init__(self, disk=False, tls=False, accounts=None, san="DNS:localhost,IP:127.0.0.1"):
        self.home = npm_folder("azurite-3.35.0", "azurite@3.35.0")
        super().__init__("azurite", shared_memory=True)
        self.blob_port, self.queue_port, self.table_port = (free_port() for _ in range(3))
        self.disk, self.tls, self.san = disk, tls, san
        self.accounts = accounts or {ACCOUNT: KEY}
        self.account = next(iter(self.accounts))
        self.certs = None

    @property
    def key(self):
        return self.accounts[self.account]

    def prepare(self):
        if self.tls:
            self.certs = Certs(self.folder.path)
            self.crt, self.crt_key, _ = self.certs.issue("server", self.san)

    def start(self):
        command = [node(), os.path.join(self.home, "node_modules", ".bin", "azurite"), "--silent",
                   "--disableTelemetry", "--skipApiVersionCheck", "--blobHost", "127.0.0.1",
                   "--queueHost", "127.0.0.1", "--tableHost", "127.0.0.1",
                   "--blobPort", str(self.blob_port), "--queuePort", str(self.queue_port),
                   "--tablePort", str(self.table_port)]
        command += ["--location", self.folder / "data"] if self.disk else ["--inMemoryPersistence"]
        if self.tls:
            command += ["--cert", self.crt, "--key", self.crt_key, "--oauth", "basic"]
        env = dict(os.environ, AZURITE_ACCOUNTS=";".join(
            f"{name}:{key}" for name, key in self.accounts.items()))
        self.spawn(command, cwd=self.folder.path, env=env)

        def ready():
            if not self.running():
                raise Failed(f"Azurite ended with {self.child.returncode}:\n{tail(self.log)}")
            try:
                self.ask("GET", "/", {"comp": "list"})
                self.ask("GET", "/", {"comp": "list"}, service="queue")
                return True
            except (OSError, http.client.HTTPException):
                return False
        wait_until(ready, 120, lambda: f"Azurite to answer:\n{tail(self.log)}", every=0.1)

    def stop(self, *args, **kwargs):
        kwargs.setdefault("seconds", 120)
        super().stop(*args, **kwargs)

    # ---- addresses ----

    def url(self, service="blob", host="127.0.0.1"):
        """http://127.0.0.1:PORT/ACCOUNT, as a source's or sink's url."""
        port = self.blob_port if service == "blob" else self.queue_port
        return f"http{'s' if self.tls else ''}://{host}:{port}/{self.account}"

    # ---- requests ----

    def ask(self, method, path, query=None, body=b"", service="blob", headers=None, sign=True):
        """(status, headers by lower-case name, body); path below the account, not encoded."""
        query = dict(query or {})
        sent = {name.lower(): str(value) for name, value in (headers or {}).items()}
        sent.setdefault("x-ms-version", VERSION)
        sent["x-ms-date"] = email.utils.formatdate(usegmt=True)
        full = "/" + self.account + urllib.parse.quote(path, safe="/$-_.~!'()*,;:@=+")
        if sign and self.tls:
            sent["authorization"] = "Bearer " + token()
        elif sign:
            sent["authorization"] = f"SharedKey {self.account}:" + signature(
                self.key, method, self.account, full, query, sent, len(body))
        if method in ("PUT", "POST") or body:
            sent["content-length"] = str(len(body))
        port = self.blob_port if service == "blob" else self.queue_port
        if self.tls:
            context = ssl.create_default_context(cafile=self.certs.ca)
            link = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
        else:
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            where = full + ("?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
                            if query else "")
            link.putrequest(method, where, skip_accept_encoding=True)
            for name, value in sent.items():
                link.putheader(name, value)
            link.endheaders(body or None)
            answer = link.getresponse()
            return (answer.status, {name.lower(): value for name, value in answer.getheaders()},
                    answer.read())
        finally:
            link.close()

    def do(self, *args, **kwargs):
        status, headers, body = self.ask(*args, **kwargs)
        if not 200 <= status < 300:
            raise Refused(status, body)
        return headers, body

    # ---- blobs; a path is container/name ----

    def put_container(self, name, access=None, **more):
        headers = {"x-ms-blob-public-access": access} if access else {}
        self.do("PUT", "/" + name, {"restype": "container"}, headers={**headers, **more})

    def set_access(self, name, access=None):
        headers = {"x-ms-blob-public-access": access} if access else {}
        self.do("PUT", "/" + name, {"restype": "container", "comp": "acl"}, headers=headers)

    def put_blob(self, path, content=b"", **headers):
        """Answers the ETag."""
        content = content if isinstance(content, bytes) else content.encode()
        got, _ = self.do("PUT", "/" + path, body=content, headers={
            "x-ms-blob-type": "BlockBlob", "content-type": "application/octet-stream",
            **{name.replace("_", "-"): value for name, value in headers.items()}})
        return got["etag"]

    def put_append_blob(self, path, content=b""):
        self.do("PUT", "/" + path, headers={"x-ms-blob-type": "AppendBlob"})
        self.append(path, content)

    def append(self, path, content):
        for at in range(0, len(content), 4 << 20):
            self.do("PUT", "/" + path, {"comp": "appendblock"}, body=content[at:at + (4 << 20)])

    def get_blob(self, path):
        return self.do("GET", "/" + path)[1]

    def delete_blob(self, path):
        self.do("DELETE", "/" + path)

    def list_blobs(self, container, prefix=""):
        """Names in order."""
        names, marker = [], ""
        while True:
            query = {"restype": "container", "comp": "list"}
            query.update({"prefix": prefix} if prefix else {})
            query.update({"marker": marker} if marker else {})
            root = xml.etree.ElementTree.fromstring(
                self.do("GET", "/" + container, query)[1].decode("utf-8-sig"))
            names += [blob.findtext("Name") for blob in root.iter("Blob")]
            marker = root.findtext("NextMarker")
            if not marker:
                return names

    # ---- queues ----

    def put_queue(self, name):
        self.do("PUT", "/" + name, service="queue")

    def delete_queue(self, name):
        self.do("DELETE", "/" + name, service="queue")

    def put_message(self, queue, message, plain=False, ttl=None):
        """message: dict or list (made JSON), text or bytes; base64 unless plain."""
        if not isinstance(message, (bytes, str)):
            message = json.dumps(message)
        message = message.encode() if isinstance(message, str) else message
        text = message.decode() if plain else base64.b64encode(message).decode()
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        body = f"<QueueMessage><MessageText>{text}</MessageText></QueueMessage>"
        self.do("POST", f"/{queue}/messages", {"messagettl": ttl} if ttl else {},
                body=body.encode(), service="queue")

    def count(self, queue):
        """Messages in it, hidden ones too."""
        return int(self.do("GET", "/" + queue, {"comp": "metadata"}, service="queue")[0]
                   ["x-ms-approximate-messages-count"])


__all__ = ["ACCOUNT", "Azurite", "KEY", "Refused", "account_sas", "sas", "signature", "token"]
