"""An HTTP proxy between us and a storage server, that answers, cuts, delays and alters on
demand.  The server behind it stays healthy; what it was asked stands in `log`.

    with Azurite() as azurite, FaultProxy(azurite.blob_port) as proxy:
        proxy.fault("status", 503, "ServerBusy", method="PUT", path="segments/", times=3)
        proxy.fault("cut_after", path="checkpoint")      # done there, never said to us
        proxy.down()                                     # connections are refused
        proxy.up()

Faults: status CODE NAME (HEADER, VALUE)..., hang, delay SECONDS, cut_before (not even asked),
cut_after (done, and no answer), torn (half of the body, then cut), short (half of the body,
well-formed), alter (one byte of the body)."""

import contextlib
import email.utils
import http.client
import http.server
import re
import socket
import threading
import time
import urllib.parse

from servers import free_port


class Fault:
    def __init__(self, kind, args, method, path, query, times, skip):
        self.kind, self.args = kind, args
        self.method, self.path, self.query = method, path, query
        self.left, self.skip = times, skip
        self.hits = 0

    def fits(self, method, path, query):
        return (self.left != 0 and self.method in (None, method) and
                (self.path is None or re.search(self.path, path)) and
                (self.query is None or re.search(self.query, query)))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def reply(self, status, headers, body, length=None):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() == "date" and self.server.proxy.hours:
                value = email.utils.formatdate(time.time() + self.server.proxy.hours * 3600,
                                               usegmt=True)
            if name.lower() not in ("content-length", "connection", "transfer-encoding",
                                    "keep-alive"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def cut(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def forward(self, body):
        link = http.client.HTTPConnection("127.0.0.1", self.server.proxy.upstream, timeout=120)
        try:
            where = re.sub(*self.server.proxy.rewrite, self.path)
            link.putrequest(self.command, where, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "connection":
                    link.putheader(name, value)
            link.endheaders(body or None)
            answer = link.getresponse()
            if self.command == "HEAD":
                length = answer.getheader("content-length")
                return answer.status, answer.getheaders(), b"", length
            return answer.status, answer.getheaders(), answer.read(), None
        finally:
            link.close()

    def serve(self):
        with self.server.proxy.busy():
            self.serve_one()

    def serve_one(self):
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path, _, query = self.path.partition("?")
        path = urllib.parse.unquote(path)
        fault = proxy.take(self.command, path, query)
        kind = fault.kind if fault else None
        if kind == "delay":
            proxy.gone.wait(fault.args[0])
        if kind == "status":
            status, code, *more = fault.args
            proxy.note(self, path, query, status)
            self.reply(status, [("x-ms-error-code", code), ("x-ms-request-id", "fault"), *more],
                       f"<Error><Code>{code}</Code></Error>".encode())
            return
        if kind == "hang":
            proxy.note(self, path, query, 0)
            proxy.gone.wait(120)
        if kind in ("hang", "cut_before"):
            self.cut()
            return
        try:
            status, headers, content, length = self.forward(body)
        except (OSError, http.client.HTTPException):
            self.cut()
            return
        proxy.note(self, path, query, status)
        if kind == "cut_after":
            self.cut()
        elif kind == "torn":
            with contextlib.suppress(OSError):
                self.reply(status, headers, content[:len(content) // 2], len(content))
            self.cut()
        elif kind == "short":
            self.reply(status, headers, content[:len(content) // 2])
        elif kind == "alter" and content:
            at = len(content) // 2
            self.reply(status, headers,
                       content[:at] + bytes([content[at] ^ 1]) + content[at + 1:])
        else:
            self.reply(status, headers, content, length)

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = serve


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self, *args):
        super().__init__(*args)
        self.open = set()

    def process_request(self, request, client_address):
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.open.discard(request)
        super().shutdown_request(request)

    def end_all(self):
        for request in list(self.open):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_):
        pass


class FaultProxy:
    def __init__(self, upstream):
        self.upstream = upstream
        self.port = free_port()
        self.lock = threading.Lock()
        self.faults = []
        self.log = []            # (time, method, path, query, status, client request id)
        self.rewrite = ("^$", "")  # pattern and replacement in what is asked (not signed: SAS)
        self.hours = 0           # by which the Date of answers is ahead
        self.under_way = self.busiest = 0
        self.gone = threading.Event()
        self.server = None

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, *_):
        self.gone.set()
        self.down()

    def up(self):
        if self.server:
            return
        self.server = _Server(("127.0.0.1", self.port), _Handler)
        self.server.proxy = self
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self):
        """Connections are refused from now on; those that are open end."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server.end_all()
            self.server = None
            self.gone.set()
            time.sleep(0.05)
            self.gone.clear()

    @contextlib.contextmanager
    def busy(self):
        """A request is under way; `busiest` is how many were at once."""
        with self.lock:
            self.under_way += 1
            self.busiest = max(self.busiest, self.under_way)
        try:
            yield
        finally:
            with self.lock:
                self.under_way -= 1

    def url(self, account, rest=""):
        return f"http://127.0.0.1:{self.port}/{account}{rest}"

    def fault(self, kind, *args, method=None, path=None, query=None, times=1, skip=0):
        """The next `times` fitting requests (-1: all) after `skip` of them; the newest of
        several wins.  Answers the fault, whose `hits` are counted."""
        fault = Fault(kind, args, method, path, query, times, skip)
        with self.lock:
            self.faults.insert(0, fault)
        return fault

    def clear(self):
        with self.lock:
            self.faults = []

    def take(self, method, path, query):
        with self.lock:
            for fault in self.faults:
                if not fault.fits(method, path, query):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.left -= 1 if fault.left > 0 else 0
                fault.hits += 1
                return fault
        return None

    def note(self, handler, path, query, status):
        with self.lock:
            self.log.append((time.monotonic(), handler.command, path, query, status,
                             handler.headers.get("x-ms-client-request-id", "")))

    def count(self, method=None, path=None, status=None, query=None):
        with self.lock:
            return sum(1 for _, m, p, q, s, _ in self.log
                       if method in (None, m) and status in (None, s) and
                       (path is None or re.search(path, p)) and
                       (query is None or re.search(query, q)))


__all__ = ["FaultProxy"]
