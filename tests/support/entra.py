"""An Entra authority of our own: gives tokens Azurite takes, for a federated assertion or a
client secret, over HTTPS.

    with Azurite(tls=True) as azurite, Entra(azurite.crt, azurite.crt_key) as entra:
        entra.url, entra.asked"""

import contextlib
import http.server
import json
import ssl
import threading
import urllib.parse

from azurite import token


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        entra = self.server.entra
        form = dict(urllib.parse.parse_qsl(self.rfile.read(
            int(self.headers.get("content-length") or 0)).decode()))
        form["path"] = self.path.partition("?")[0]
        entra.asked.append(form)
        if entra.refusal:
            status, body = 401, {"error": "invalid_client", "error_description": entra.refusal,
                                 "error_codes": [int(entra.refusal[6:12])]}
        else:
            status, body = 200, {"token_type": "Bearer", "expires_in": entra.seconds,
                                 "ext_expires_in": entra.seconds, "access_token": token()}
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class Entra:
    def __init__(self, certificate, key, seconds=3599):
        self.asked, self.refusal, self.seconds = [], None, seconds
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.entra = self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}/"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.server.shutdown()
            self.server.server_close()


__all__ = ["Entra"]
