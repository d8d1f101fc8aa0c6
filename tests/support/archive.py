"""An archive folder as tests look at it: names, lines, manifests, checkpoints."""

import base64
import ctypes
import ctypes.util
import hashlib
import json
import os

from servers import Failed

ZSTD = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
for _name, _args in (("ZSTD_findFrameCompressedSize", [ctypes.c_char_p, ctypes.c_size_t]),
                     ("ZSTD_decompress", [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p,
                                          ctypes.c_size_t])):
    getattr(ZSTD, _name).restype = ctypes.c_size_t
    getattr(ZSTD, _name).argtypes = _args
MAX_FRAME = (256 << 10) + (64 << 10)


def frames(data):
    """Each frame unpacked; the index at the end is left out."""
    room = ctypes.create_string_buffer(MAX_FRAME)
    while data:
        used = ZSTD.ZSTD_findFrameCompressedSize(data, len(data))
        if used > len(data):
            raise Failed("a segment ends inside a frame")
        if data[:4] != b"\x5e\x2a\x4d\x18":
            n = ZSTD.ZSTD_decompress(room, MAX_FRAME, data[:used], used)
            if n > MAX_FRAME:
                raise Failed("a frame cannot be unpacked")
            yield room.raw[:n]
        data = data[used:]


class Archive:
    """data_dir/archive/<log id> of the only log there, or of the one named."""

    def __init__(self, data_dir, log_id=None):
        above = os.path.join(data_dir, "archive")
        self.log_id = log_id or os.listdir(above)[0]
        self.folder = os.path.join(above, self.log_id)

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def names(self):
        """Everything that has its final name, in order."""
        found = []
        for root, _, names in os.walk(self.folder):
            found += [os.path.relpath(os.path.join(root, name), self.folder)
                      for name in names if not name.endswith(".tmp")]
        return sorted(found)

    def once(self):
        """name -> SHA-256 of all that is written once and signed for."""
        size, found = self.size(), {}
        for name in self.names():
            if name in ("checkpoint", "keys.json"):
                continue
            number = os.path.basename(name).split(".")[0]
            if name.startswith("checkpoints/") and int(number) > size:
                continue
            if name.startswith(("segments/", "state/")) and int(number) >= size:
                continue
            if name.startswith("tile/"):
                continue                # those beyond the checkpoint cannot be told apart
            found[name] = hashlib.sha256(self.read(name)).hexdigest()
        return found

    def checkpoint(self, name="checkpoint"):
        """(origin, size, root, hash of the manifest, time)"""
        body, _, signatures = self.read(name).decode().partition("\n\n")
        origin, size, root, manifest = body.split("\n")
        timed = base64.b64decode(signatures.split("\n")[1].split(" ")[2])
        return (origin, int(size), base64.b64decode(root).hex(),
                manifest.removeprefix("dgf-manifest sha256:"),
                int.from_bytes(timed[4:12], "big"))

    def size(self):
        try:
            return self.checkpoint()[1]
        except FileNotFoundError:
            return 0

    def manifests(self):
        """All up to the newest checkpoint, in order; their chain is checked."""
        size, at, found, previous = self.size(), 0, [], None
        while at < size:
            text = self.read(f"segments/{at}.json")
            manifest = json.loads(text)
            if manifest.get("previous") != previous:
                raise Failed(f"manifest {at} does not follow the one before it")
            previous = hashlib.sha256(text).hexdigest()
            found.append(manifest)
            at = manifest["last"] + 1
        if size and previous != self.checkpoint()[3]:
            raise Failed("the checkpoint names another manifest")
        return found

    def lines(self):
        """The records, as bytes, up to the newest checkpoint."""
        found = []
        for manifest in self.manifests():
            plain = b"".join(frames(self.read(f"segments/{manifest['first']}.ndjson.zst")))
            if hashlib.sha256(plain).hexdigest() != manifest["leaves_sha256"]:
                raise Failed(f"segment {manifest['first']} is not what its manifest says")
            found += plain.splitlines()
        return found
