"""RESP as clients of Redis write it: commands, cut out of what came so far.

    commands = Commands()
    for raw, words in commands.put(data):   # raw: its bytes; words: bytes, the first its name
        ..."""


class Commands:
    """What is not whole yet is kept for the next put."""

    def __init__(self):
        self.data = b""

    def put(self, data):
        self.data += data
        while True:
            command = self._first()
            if command is None:
                return
            yield self.data[:command[0]], command[1]
            self.data = self.data[command[0]:]

    def _line(self, at):
        end = self.data.find(b"\r\n", at)
        return (None, None) if end < 0 else (int(self.data[at + 1:end]), end + 2)

    def _first(self):
        n, at = self._line(0)
        words = []
        if at is None:
            return None
        for _ in range(n):
            size, at = self._line(at)
            if at is None or len(self.data) < at + size + 2:
                return None
            words.append(self.data[at:at + size])
            at += size + 2
        return at, words


__all__ = ["Commands"]
