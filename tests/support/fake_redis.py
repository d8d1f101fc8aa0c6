"""A server that answers as Redis until it is asked for a stream, and then with what a real one
never says.

    with FakeRedis({"XINFO": b"*-5\\r\\n"}) as fake:
        ... url: fake.url, streams: [orders]

answers: first word of a command -> bytes, or a callable of the words; None: no answer."""

import contextlib
import socket
import threading

from resp import Commands

INFO = b"redis_version:7.0.15\r\nmaster_replid:" + b"a" * 40 + b"\r\nloading:0\r\n"


def bulk(data):
    data = data if isinstance(data, bytes) else str(data).encode()
    return b"$%d\r\n%s\r\n" % (len(data), data)


def array(*items):
    return b"*%d\r\n%s" % (len(items), b"".join(items))


def entry(id_, *fields):
    return array(bulk(id_), array(*map(bulk, fields)))


def facts(length, added, last, first, deleted="0-0"):
    return array(bulk("length"), b":%d\r\n" % length, bulk("last-generated-id"), bulk(last),
                 bulk("max-deleted-entry-id"), bulk(deleted), bulk("entries-added"),
                 b":%d\r\n" % added, bulk("recorded-first-entry-id"), bulk(first))


class FakeRedis:
    def __init__(self, answers):
        self.answers = {"INFO": bulk(INFO), "PING": b"+PONG\r\n", "AUTH": b"+OK\r\n",
                        "SCAN": array(bulk("0"), array()), "CLIENT": b":7\r\n",
                        "XREAD": None, **answers}
        self.asked = []

    def __enter__(self):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self.clients = []
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        for sock in (self.sock, *self.clients):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.sock.accept()
                self.clients.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        commands = Commands()
        with contextlib.suppress(OSError, ValueError):
            while data := client.recv(65536):
                for _, words in commands.put(data):
                    self._answer(client, [word.decode("utf-8", "replace") for word in words])

    def _answer(self, client, words):
        self.asked.append(words)
        answer = self.answers.get(words[0], b"-ERR unknown command\r\n")
        answer = answer(words) if callable(answer) else answer
        if answer is not None:
            client.sendall(answer)
