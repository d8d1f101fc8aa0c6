"""Makes whole archives, and attacks on them, as contrib/doc/ARCHIVE.md describes them.

Shares no code with the agent or with contrib/verify_ledger.py.  An archive is a dictionary of
name -> bytes; a Spec is what it is sealed from.  Everything random comes from the generator
that is given, so a seed tells an instance.

    spec = random_spec(random.Random(7))
    objects = seal(spec)
    write(objects, folder)"""

import base64
import copy
import hashlib
import json
import os
import struct

import evidence                                   # pylint: disable=unused-import
import zstandard
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FRAME = 256 * 1024
DASH = "\u2014 "
START = 1772442000                                # 2026-03-02T09:00:00Z


def sha256(data):
    return hashlib.sha256(data).digest()


def b64(data):
    return base64.b64encode(data).decode()


# ---- tree ----

def leaf_hash(line):
    return sha256(b"\0" + line)


def node_hash(left, right):
    return sha256(b"\1" + left + right)


def tree_root(hashes):
    """RFC 6962, level by level: an odd one out goes up as it is."""
    if not hashes:
        return sha256(b"")
    while len(hashes) > 1:
        up = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes) - 1, 2)]
        hashes = up + hashes[len(hashes) & ~1:]
    return hashes[0]


def tile_name(level, index, width=256):
    groups = [f"{index % 1000:03d}"]
    index //= 1000
    while index:
        groups.insert(0, f"x{index % 1000:03d}")
        index //= 1000
    return f"tile/{level}/{'/'.join(groups)}" + (f".p/{width}" if width < 256 else "")


def levels_of(hashes):
    """Level L: the roots of all full subtrees of 256^L leaves."""
    levels = [hashes]
    while len(levels[-1]) >= 256:
        below = levels[-1]
        levels.append([tree_root(below[i:i + 256]) for i in range(0, len(below) & ~255, 256)])
    return levels


def tiles(levels, size):
    """The tiles of a tree of that size, of levels of a tree at least as large."""
    made = {}
    for level, hashes in enumerate(levels):
        n = size >> 8 * level
        for i in range(n // 256):
            made[tile_name(level, i)] = hashes[256 * i:256 * i + 256]
        if n % 256:
            made[tile_name(level, n // 256, n % 256)] = hashes[n & ~255:n]
    return {name: b"".join(parts) for name, parts in made.items()}


# ---- keys and checkpoints ----

class Key:
    """An Ed25519 key from a random generator."""

    def __init__(self, rng):
        self.private = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        self.public = self.private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def __deepcopy__(self, memo):
        return self

    def key_id(self, name, algorithm):
        return sha256(name.encode() + b"\n" + bytes([algorithm]) + self.public)[:4]

    def vkey(self, name):
        return f"{name}+{self.key_id(name, 1).hex()}+{b64(bytes([1]) + self.public)}"

    def sign(self, message):
        return self.private.sign(message)


def note_body(origin, size, root, manifest):
    return f"{origin}\n{size}\n{b64(root)}\ndgf-manifest sha256:{sha256(manifest).hex()}\n"


def sign_note(body, origin, key, time, lines="both"):
    text = body.encode()
    plain = key.key_id(origin, 1) + key.sign(text)
    timed = key.key_id(origin, 4) + struct.pack(">Q", time) + key.sign(
        f"cosignature/v1\ntime {time}\n".encode() + text)
    signatures = ([plain] if lines != "timed" else []) + ([timed] if lines != "plain" else [])
    return text + b"\n" + "".join(f"{DASH}{origin} {b64(s)}\n" for s in signatures).encode()


# ---- segments ----

def frames_of(lines, frame=FRAME):
    """[(packed, unpacked length)] of whole lines."""
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=False, write_content_size=True)
    out, plain = [], b""
    for line in lines:
        if plain and len(plain) + len(line) + 1 > frame:
            out.append((compressor.compress(plain), len(plain)))
            plain = b""
        plain += line + b"\n"
    if plain:
        out.append((compressor.compress(plain), len(plain)))
    return out


def seek_table(frames):
    table = b"".join(struct.pack("<II", len(packed), n) for packed, n in frames)
    table += struct.pack("<IBI", len(frames), 0, 0x8F92EAB1)
    return struct.pack("<II", 0x184D2A5E, len(table)) + table


def pack(lines, frame=FRAME):
    frames = frames_of(lines, frame)
    return b"".join(packed for packed, _ in frames) + seek_table(frames)


class Segment:
    """lines without LF; time of its checkpoint; key that signs it."""

    def __init__(self, lines, time, key, state, frame=FRAME):
        self.lines, self.time, self.key, self.state = lines, time, key, state
        self.frame = frame
        self.pruned = False


class Spec:
    """What an archive is sealed from."""

    def __init__(self, agent, log, key):
        self.agent, self.log = agent, log
        self.origin = f"dgf/{agent}/{log}"
        self.first_key = key
        self.keys = [(key, 0)]
        self.segments = []
        self.policies = {}

    def copy(self):
        return copy.deepcopy(self)

    def firsts(self):
        at, out = 0, []
        for segment in self.segments:
            out.append(at)
            at += len(segment.lines)
        return out

    def size(self):
        return sum(len(s.lines) for s in self.segments)

    def line(self, index):
        for segment in self.segments:
            if index < len(segment.lines):
                return segment.lines[index]
            index -= len(segment.lines)
        raise IndexError

    def vkey(self):
        return self.first_key.vkey(self.origin)


def ranges_of(lines):
    """The manifest's `sources`, from the lines."""
    sources = {}
    for line in lines:
        if b'"kind":"coverage"' not in line and b'"kind":"gap"' not in line:
            continue
        record = json.loads(line)
        if "source" not in record:
            continue
        entry = sources.setdefault(record["source"], {"first": True, "events": 0})
        if entry.pop("first", False) and "from" in record:
            entry["from"] = record["from"]
        if "to" in record:
            entry["to"] = record["to"]
        if record["kind"] == "coverage" and record.get("part", 1) == 1:
            entry["events"] += record["events"]
    order = ("from", "to", "events")
    return {name: {k: sources[name][k] for k in order if k in sources[name]}
            for name in sorted(sources)}


def manifest_of(spec, segment, first, data, roots, previous):
    fields = {"v": 1, "log": spec.log, "first": first, "last": first + len(segment.lines) - 1,
              "leaves_sha256": sha256(b"".join(x + b"\n" for x in segment.lines)).hex(),
              "file_sha256": sha256(data).hex(), "state_sha256": sha256(segment.state).hex(),
              "root_before": roots[0].hex(), "root_after": roots[1].hex(),
              "sources": ranges_of(segment.lines),
              "policies": {path: sha256(text).hex()
                           for path, text in sorted(spec.policies.items())},
              "policy_set": "sha256:" + sha256(repr(spec.policies).encode()).hex()}
    if previous:
        fields["previous"] = sha256(previous).hex()
    return json.dumps(fields, separators=(",", ":")).encode()


def seal(spec):
    """All objects of the archive."""
    objects, previous, first = {}, None, 0
    hashes = [leaf_hash(line) for segment in spec.segments for line in segment.lines]
    levels = levels_of(hashes)
    root = tree_root([])
    for segment in spec.segments:
        size = first + len(segment.lines)
        data = pack(segment.lines, segment.frame)
        after = tree_root(hashes[:size])
        manifest = manifest_of(spec, segment, first, data, (root, after), previous)
        checkpoint = sign_note(note_body(spec.origin, size, after, manifest), spec.origin,
                               segment.key, segment.time)
        if not segment.pruned:
            objects[f"segments/{first}.ndjson.zst"] = data
            objects[f"state/{first}.enc"] = segment.state
        objects[f"segments/{first}.json"] = manifest
        objects[f"checkpoints/{size}"] = objects["checkpoint"] = checkpoint
        objects.update(tiles(levels, size))
        first, root, previous = size, after, manifest
    for text in spec.policies.values():
        objects[f"policies/{sha256(text).hex()}.yaml"] = text
    keys = [{"vkey": key.vkey(spec.origin), "after": after} for key, after in spec.keys]
    for i in range(len(keys) - 1):
        keys[i]["to"] = keys[i + 1]["after"]
    objects["keys.json"] = json.dumps({"v": 1, "log": spec.log, "keys": keys}).encode()
    return objects


def write(objects, folder):
    for name, data in objects.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)


# ---- records ----

def clock(ns):
    seconds, rest = divmod(ns, 10 ** 9)
    days, left = divmod(seconds - START, 86400)
    text = f"2026-03-{2 + (left + 9 * 3600) // 86400 + days:02d}T"
    left = (left + 9 * 3600) % 86400
    text += f"{left // 3600:02d}:{left // 60 % 60:02d}:{left % 60:02d}"
    return text + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"


class Writer:
    """Records of one log in order."""

    def __init__(self, rng, agent, size=0):
        self.rng, self.agent = rng, agent
        self.seq = size
        self.now = START * 10 ** 9
        self.positions = {}

    def record(self, kind, fields, bulk=None):
        rng = self.rng
        head = {"v": 1, "seq": self.seq, "id": "%026d" % rng.randrange(10 ** 20), "kind": kind,
                "time": clock(self.now - rng.randrange(10 ** 9)), "logged": clock(self.now),
                "agent": self.agent, "env": "prod"}
        self.seq += 1
        head.update(fields)
        if bulk:
            head.update(bulk)
        return json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()

    def violation(self):
        rng = self.rng
        note = rng.choice(["card number in shop.order_notes", "Müller \\ \"x\"", "naïve ☃ \U0001f512",
                           "plain text " * rng.randrange(1, 9)])
        return self.record("violation", {
            "policy": {"id": f"CARD-{rng.randrange(9):03d}", "severity": "high"},
            "verdict": "violation", "message": note,
            "event": {"source": rng.choice(sorted(self.positions) or ["orders"]),
                      "key": {"id": rng.randrange(10 ** 6)}, "n": [1.5e3, -2, None, True, []]},
            "evidence": [{"field": "note", "masked": "****", "token": f"h1:{rng.random()}"}]})

    def audit(self):
        return self.record("audit", {"event": {"key": {"id": self.rng.randrange(10 ** 9)}},
                                     "policies": 4, "verdict": "pass",
                                     "cipher": {"$aead": b64(self.rng.randbytes(24))}})

    def position(self, source):
        self.positions.setdefault(source, self.rng.randrange(10 ** 6))
        return f"1/0/{self.positions[source]:X}.0"

    def coverage(self, source, idle=False, known=True):
        fields, begin = {"source": source}, self.position(source)
        if known:
            fields["from"] = begin
        if not idle:
            self.positions[source] += self.rng.randrange(1, 5000)
        fields["to"] = self.position(source)
        events = 0 if idle else self.rng.randrange(1, 900)
        body = {"events": events, "transactions": events // 2, "guarantee": "exactly_once"}
        if idle or self.rng.random() > .1:
            return [self.record("coverage", fields, body)]
        out = []
        for part in (1, 2, 3):                    # too long for one record
            out.append(self.record("coverage", fields, dict(body, part=part, parts=3)))
        return out

    def gap(self, source):
        fields = {"source": source, "reason": "slot_recreated", "from": self.position(source)}
        self.positions[source] += self.rng.randrange(1, 10 ** 6)
        fields["to"] = self.position(source)
        return self.record("gap", fields, {"message": "the slot was made anew"})


def rotation(spec, writer, old, new):
    old_key, new_key = old.vkey(spec.origin), new.vkey(spec.origin)
    message = f"dgf-key/v1\n{spec.log}\n{old_key}\n{new_key}\n{writer.seq}\n".encode()
    detail = {"op": "rotate", "old": old_key, "new": new_key, "from": writer.seq,
              "sig_old": b64(old.sign(message)), "sig_new": b64(new.sign(message))}
    spec.keys.append((new, writer.seq))
    return writer.record("key", {"detail": detail, "message": "rotated"})


def minute(writer, rng, sources, idle, most=90):
    """Lines of one minute; every source says how far it is."""
    lines = []
    for _ in range(0 if idle else rng.randrange(1, most)):
        writer.now += rng.randrange(40 * 10 ** 6)
        lines.append(writer.violation() if rng.random() < .4 else writer.audit())
        if rng.random() < .02:
            source = rng.choice(sources)
            lines += writer.coverage(source) + [writer.gap(source)]
    for source in sources:
        lines += writer.coverage(source, idle)
    return lines


def random_spec(rng, segments=None, rotate=None, prune=None, most=90, agent=None, idle=None):
    """A log of some minutes: several sources, gaps, idle minutes, and by choice a rotated key
    (in the segment of that number) and segments that were pruned."""
    agent = agent or rng.choice(["orders-sidecar", "billing", "a.b_c%20d"])
    spec = Spec(agent, rng.randbytes(16).hex(), Key(rng))
    spec.policies = {f"policies/{n}.yaml": f"# {n} {rng.random()}\n".encode()
                     for n in rng.sample(["cards", "gdpr", "sox"], rng.randrange(1, 4))}
    writer, key = Writer(rng, agent), spec.first_key
    sources = rng.sample(["orders", "stock", "ünïcode", "crm"], rng.randrange(1, 5))
    n_segments = segments or rng.randrange(4, 9)
    idle = idle if idle is not None else {i for i in range(1, n_segments) if rng.random() < .3}
    begin = writer.now
    for number in range(n_segments):
        lines = []
        if number == 0:
            lines.append(writer.record("resume", {"message": "a new log"}))
            for source in sources:
                lines += writer.coverage(source, known=False)
        if rotate == number:
            new = Key(rng)
            lines.append(rotation(spec, writer, key, new))
            key = new
        lines += minute(writer, rng, sources, number in idle, most)
        if prune and number == n_segments - 1:
            before = sum(len(s.lines) for s in spec.segments[:prune])
            lines.append(writer.record("config", {"detail": {"archive_pruned_before": before}}))
            for segment in spec.segments[:prune]:
                segment.pruned = True
        cut = begin + (60 * (number + 1) + rng.randrange(3)) * 10 ** 9
        writer.now = max(writer.now, cut)
        spec.segments.append(Segment(lines, writer.now // 10 ** 9, key, rng.randbytes(60),
                                     rng.choice([FRAME, 2000, 20000])))
    return spec


def renumber(line, seq):
    """The same record with another index."""
    head, rest = line.split(b',"id":', 1)
    del head
    return b'{"v":1,"seq":%d,"id":' % seq + rest


def renumbered(spec):
    """All records in order, whatever was taken out or put in."""
    at = 0
    for segment in spec.segments:
        for i, line in enumerate(segment.lines):
            segment.lines[i] = renumber(line, at)
            at += 1
    return spec
