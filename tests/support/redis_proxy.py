"""A proxy before a Redis that lets a test look at each command before the server has it.

    def on_command(words):          # in the proxy's thread; words: bytes
        return None                 # passed on
        return "drop"               # neither this nor anything after it reaches the server
        return "mute"               # passed on, and no answer comes back from here on

    with Redis() as redis, RedisProxy(redis, on_command) as proxy:
        ... url: proxy.url"""

import contextlib
import socket
import threading

from resp import Commands


class RedisProxy:
    def __init__(self, redis, on_command):
        self.upstream, self.on_command = redis.port, on_command
        self.sockets = []

    def __enter__(self):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        for sock in (self.sock, *self.sockets):
            self._end(sock)

    @staticmethod
    def _end(sock):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.sock.accept()
                server = socket.create_connection(("127.0.0.1", self.upstream), 20)
                server.settimeout(None)
                for sock in (client, server):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.sockets.append(sock)
                muted = threading.Event()
                for serve, *args in ((self._ask, client, server, muted),
                                     (self._answer, client, server, muted)):
                    threading.Thread(target=serve, args=args, daemon=True).start()

    def _ask(self, client, server, muted):
        commands, dropped = Commands(), False
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                for raw, words in commands.put(data):
                    verdict = None if dropped else self.on_command(words)
                    dropped = dropped or verdict == "drop"
                    if dropped or verdict == "mute":
                        muted.set()
                    if not dropped:
                        server.sendall(raw)
        self._end(server)

    def _answer(self, client, server, muted):
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if not muted.is_set():
                    client.sendall(data)
        self._end(client)


__all__ = ["RedisProxy"]
