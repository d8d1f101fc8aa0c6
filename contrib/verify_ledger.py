#!/usr/bin/env python3
"""Verifies an archive of dgf, without dgf.

  verify_ledger.py FOLDER [--key VKEY]... [--anchor FILE]... [--format json]
  verify_ledger.py --check-proof FILE --key VKEY < LINE

Written from contrib/doc/ARCHIVE.md alone, so that two programs that share no code must come to
the same verdict: class, first bad index, exit code.  Python's standard library, `cryptography`
(Ed25519) and `zstandard`:  pip install cryptography==46.0.5 zstandard==0.25.0

Exit: 0 whole, signed and anchored; 1 tampered; 2 incomplete; 3 whole, but nobody outside vouches
for its tail, or no key was given; 64 usage, or a module is not installed."""

import argparse
import base64
import binascii
import datetime
import hashlib
import json
import os
import re
import struct
import sys

try:
    import zstandard
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError as missing_module:
    print(f"verify_ledger: {missing_module}; "
          "pip install cryptography==46.0.5 zstandard==0.25.0", file=sys.stderr)
    sys.exit(64)

MAX_LINE, MAX_DEPTH, MAX_MANIFEST, MAX_CHECKPOINT = 65535, 64, 1 << 20, 16 << 10
MAX_UNPACKED, MAX_PACKED = 320 << 10, 512 << 10
DISTANCE = 120
DASH = "\u2014 ".encode()
U64 = 2 ** 64

# What is wrong with one segment is reported by the lowest of these.
CHECKPOINT, MANIFEST, LEAF, RECORD, SEGMENT, CONTENT, TILE, ANCHOR, NONE = range(9)


class Usage(Exception):
    """A key or an anchor that cannot be used."""


class Unreadable(Exception):
    """No archive is there."""


class Fault(Exception):
    """Something is not what it must be."""

    def __init__(self, kind, text, index=None):
        super().__init__(text)
        self.kind, self.text, self.index = kind, text, index


def sha256(data):
    return hashlib.sha256(data).digest()


def number(text):
    """Decimal without padding, below 2^64; None: it is none."""
    if not re.fullmatch(rb"0|[1-9][0-9]{0,19}", text) or int(text) >= U64:
        return None
    return int(text)


def unbase64(text, length=None):
    """Strict: one text for each content; None: it is none."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    if base64.b64encode(data) != text or length not in (None, len(data)):
        return None
    return data


# ---- the tree ----

def node(left, right):
    return sha256(b"\1" + left + right)


def full_root(hashes):
    """Of 2^k hashes."""
    while len(hashes) > 1:
        hashes = [node(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


class Tree:
    """The tiles that are not full, level by level; full ones are handed to `full`."""

    def __init__(self, full=None):
        self.size, self.open, self.full = 0, [], full

    def copy(self):
        other = Tree()
        other.size, other.open = self.size, [list(level) for level in self.open]
        return other

    def append(self, hash_):
        index, level = self.size, 0
        self.size += 1
        while True:
            if level == len(self.open):
                self.open.append([])
            tile = self.open[level]
            tile.append(hash_)
            if len(tile) < 256:
                return
            index //= 256
            if self.full:
                self.full(level, index, tile)
            hash_ = full_root(tile)
            self.open[level] = []
            level += 1

    def root(self):
        root = None
        for tile in self.open:
            end = len(tile)
            for bit in range(8):
                if not end >> bit & 1:
                    continue
                # The lowest bit that is set is the rightmost subtree.
                subtree = full_root(tile[end - (1 << bit):end])
                end -= 1 << bit
                root = subtree if root is None else node(subtree, root)
        return sha256(b"") if root is None else root


def tile_name(level, index, width=256):
    digits = f"{index:d}"
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    groups = [digits[i:i + 3] for i in range(0, len(digits), 3)]
    name = "/".join(["x" + g for g in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{name}" + (f".p/{width}" if width < 256 else "")


# ---- keys and notes ----

def key_id(name, algorithm, key):
    return sha256(name + b"\n" + bytes([algorithm]) + key)[:4]


def read_vkey(text):
    """(name, public key); None: it is no vkey of Ed25519."""
    match = re.fullmatch(rb"([^+\s]+)\+([0-9a-fA-F]{8})\+([A-Za-z0-9+/=]+)", text)
    data = unbase64(match.group(3), 33) if match else None
    if not data or data[0] != 1:
        return None
    name, key = match.group(1), data[1:]
    if bytes.fromhex(match.group(2).decode()) != key_id(name, 1, key):
        return None
    return name, key


def signed(key, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True
    except (InvalidSignature, ValueError):
        return False


class Note:
    """A checkpoint as it stands.  `fault`: the signature lines are malformed."""

    def __init__(self, data):
        lines = data.split(b"\n")
        if len(data) > MAX_CHECKPOINT:
            raise Fault("limit", "larger than 16 KiB")
        if len(lines) < 5 or not 0 < len(lines[0]) < 512:
            raise Fault("checkpoint", "not origin, size, root and manifest")
        self.data, self.origin = data, lines[0]
        self.size, self.root = number(lines[1]), unbase64(lines[2], 32)
        match = re.fullmatch(rb"dgf-manifest sha256:([0-9a-f]{64})", lines[3])
        if self.size is None or self.root is None or not match:
            raise Fault("checkpoint", "not origin, size, root and manifest")
        self.manifest = bytes.fromhex(match.group(1).decode())
        self.body = b"\n".join(lines[:4]) + b"\n"
        rest = data[len(self.body):]
        self.lines, self.time, self.fault = [], None, None
        if not rest:
            self.fault = "it is not signed"
        elif rest[:1] != b"\n":
            raise Fault("checkpoint", "more than four lines")
        else:
            self.read_signatures(rest[1:])

    def read_signatures(self, text):
        lines = text.split(b"\n")
        if lines.pop() or not lines:
            self.fault = "it is not signed, or a line is cut"
            return
        for line in lines:
            match = re.fullmatch(rb"([^ ]+) ([^ ]+)", line[len(DASH):])
            data = unbase64(match.group(2)) if match and line.startswith(DASH) else None
            if data is None or len(data) <= 4:
                self.fault = "a signature line is malformed"
                return
            self.lines.append((match.group(1), data))
            if match.group(1) == self.origin and len(data) == 76 and self.time is None:
                self.time = struct.unpack(">Q", data[4:12])[0]
        if self.time is None:
            self.fault = "no line says when it was signed"

    def is_signed(self, name, key):
        """Both signatures of the key, once each."""
        plain, timed = key_id(name, 1, key), key_id(name, 4, key)
        n = n_timed = 0
        for who, data in self.lines:
            if who != name:
                continue
            if data[:4] == plain:
                if len(data) != 68 or not signed(key, self.body, data[4:]):
                    return False
                n += 1
            elif data[:4] == timed:
                message = b"cosignature/v1\ntime %d\n" % self.time + self.body
                if len(data) != 76 or data[4:12] != struct.pack(">Q", self.time) \
                        or not signed(key, message, data[12:]):
                    return False
                n_timed += 1
        return n == 1 and n_timed == 1


class Keys:
    """Which key signs checkpoints of which size."""

    def __init__(self, vkeys):
        self.origin, self.ranges, self.spares = None, [], []
        for text in vkeys:
            vkey = read_vkey(text.encode())
            if not vkey or self.origin not in (None, vkey[0]):
                raise Usage(f"not a vkey of one log: {text[:60]}")
            self.origin = vkey[0]
            (self.spares if self.ranges else self.ranges).append((vkey[1], 0))

    def verdict(self, note, may_be_pruned):
        """None: signed as it must be; else the class."""
        if not self.ranges:
            return None
        current = [key for key, after in self.ranges if note.size > after or after == 0][-1]
        if note.is_signed(self.origin, current):
            return None
        for key, _ in self.spares if may_be_pruned else []:
            if note.is_signed(self.origin, key):
                self.ranges.append((key, note.size - 1))
                return None
        known = any(note.is_signed(self.origin, key) for key, _ in self.ranges)
        return "key" if known else "signature"

    def rotate(self, detail, log, index):
        """False: such a record is not believed."""
        if not self.ranges:
            return True
        texts = [detail.get(name) for name in ("old", "new", "sig_old", "sig_new")]
        if not all(isinstance(text, str) for text in texts) or detail.get("from") != index \
                or isinstance(detail.get("from"), bool):
            return False
        old, new = read_vkey(texts[0].encode()), read_vkey(texts[1].encode())
        by_old, by_new = unbase64(texts[2].encode(), 64), unbase64(texts[3].encode(), 64)
        if not (old and new and by_old and by_new) or old[0] != self.origin \
                or new[0] != self.origin or old[1] != self.ranges[-1][0]:
            return False
        message = "\n".join(["dgf-key/v1", log, texts[0], texts[1], str(index), ""]).encode()
        if not signed(old[1], message, by_old) or not signed(new[1], message, by_new):
            return False
        self.ranges.append((new[1], index))
        return True


# ---- segments ----

def frame_length(data, at):
    """Bytes of the zstd frame at `at`; raises when it is cut or none."""
    if len(data) - at < 8:
        raise ValueError("cut")
    magic, = struct.unpack_from("<I", data, at)
    if magic & 0xFFFFFFF0 == 0x184D2A50:
        end = at + 8 + struct.unpack_from("<I", data, at + 4)[0]
    else:
        if magic != 0xFD2FB528:
            raise ValueError("magic")
        descriptor = data[at + 4]
        if descriptor & 8:
            raise ValueError("reserved bit")
        single = descriptor >> 5 & 1
        end = at + 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
        end += (single, 2, 4, 8)[descriptor >> 6]
        while True:
            if end + 3 > len(data):
                raise ValueError("cut")
            block = int.from_bytes(data[end:end + 3], "little")
            kind, length = block >> 1 & 3, block >> 3
            if kind == 3:
                raise ValueError("block type")
            end += 3 + (1 if kind == 1 else length)
            if end > len(data):
                raise ValueError("cut")
            if block & 1:
                break
        end += 4 if descriptor >> 2 & 1 else 0
    if end > len(data):
        raise ValueError("cut")
    return end - at


class Damaged(Exception):
    """The file is no segment: class; lines: it is about the line that comes next."""

    def __init__(self, kind, text, lines=False):
        super().__init__(text)
        self.kind, self.lines = kind, lines


def pieces_of(file):
    """The frames of a file, each with what follows it at hand."""
    window, ended = b"", False
    while True:
        while not ended and len(window) < MAX_PACKED + 1:
            more = file.read(1 << 20)
            ended = not more
            window += more
        if not window:
            return
        try:
            length = frame_length(window, 0)
        except ValueError as error:
            if str(error) == "cut" and len(window) > MAX_PACKED:
                raise Damaged("limit", "a frame is larger than 512 KiB") from error
            raise Damaged("segment", "a frame is cut or damaged") from error
        if length > MAX_PACKED:
            raise Damaged("limit", "a frame is larger than 512 KiB")
        yield window[:length], ended and len(window) == length
        window = window[length:]


def unpack(frame):
    if frame[4] >> 6 == 0 and not frame[4] >> 5 & 1:
        raise Damaged("segment", "a frame does not say its size")
    try:
        size = zstandard.frame_content_size(frame)
        if size > MAX_UNPACKED:
            raise Damaged("limit", "a frame unpacks to more than 320 KiB", lines=True)
        plain = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Damaged("segment", "a frame is cut or damaged") from error
    if len(plain) != size or not plain.endswith(b"\n"):
        raise Damaged("segment", "a frame does not hold whole lines")
    return plain


def lines_of(file, sums):
    """Lists of lines, a frame each; the last word is the seek table's."""
    table, n = b"", 0
    for frame, last in pieces_of(file):
        if struct.unpack_from("<I", frame)[0] & 0xFFFFFFF0 == 0x184D2A50:
            table += struct.pack("<IBI", n, 0, 0x8F92EAB1)
            if frame[:4] != struct.pack("<I", 0x184D2A5E) or frame[8:] != table or not last:
                raise Damaged("segment", "its seek table is not that of its frames, or not last")
            return
        plain = unpack(frame)
        sums["leaves"].update(plain)
        table += struct.pack("<II", len(frame), len(plain))
        n += 1
        yield plain[:-1].split(b"\n")
    raise Damaged("segment", "it ends without its seek table")


class Counted:
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file):
        self.file, self.sum = file, hashlib.sha256()

    def read(self, length):
        data = self.file.read(length)
        self.sum.update(data)
        return data


# ---- records ----

TEXT = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.S)


def too_deep(line):
    """Brackets outside of texts, whatever else the line is."""
    if line.count(b"[") + line.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for char in TEXT.sub(b"", line):
        if char in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif char in b"]}" and depth:
            depth -= 1
    return False


def no_constant(text):
    raise ValueError(text)


def read_record(line):
    """A JSON object as RFC 8259 has it; None: it is none."""
    try:
        record = json.loads(line.decode("utf-8"), parse_constant=no_constant, parse_float=str,
                            parse_int=lambda text: int(text) if len(text) < 20 else text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def said_index(line):
    match = re.match(rb'\{"v":1,"seq":([0-9]+),', line)
    return int(match.group(1)) if match and int(match.group(1)) < U64 else None


TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?"
                  r"(Z|[+-]\d\d:\d\d)", re.A)


def read_time(text):
    """Nanoseconds since 1970; None: it is no time."""
    match = TIME.fullmatch(text) if isinstance(text, str) else None
    try:
        when = datetime.datetime(*(int(match.group(i)) for i in range(1, 7)),
                                 tzinfo=datetime.timezone.utc)
    except (AttributeError, ValueError):
        return None
    offset = match.group(8)
    minutes = 0 if offset == "Z" else int(offset[:3]) * 60 + int(offset[0] + offset[4:])
    seconds = (when - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) \
        // datetime.timedelta(seconds=1) - 60 * minutes
    return seconds * 10 ** 9 + int((match.group(7) or "0").ljust(9, "0"))


class Source:
    """How far one source is."""

    def __init__(self):
        self.to = self.since = self.covered = self.part = None
        self.fresh = False


class Follow:
    """Records in order: what they say of themselves and of each other."""

    def __init__(self, check):
        self.check, self.sources = check, {}
        self.logged, self.resumed, self.pruned_before = None, False, 0
        self.seen = {}

    def bad(self, kind, index, text):
        self.check.found(RECORD, kind, index, f"record {index}: {text}")

    def record(self, line, index, step):
        record = read_record(line)
        if record is None:
            self.bad("json", index, "not JSON")
            return
        logged = read_time(record.get("logged"))
        seq, kind = record.get("seq"), record.get("kind")
        if type(seq) is not int or seq < 0 or not isinstance(kind, str) or not kind \
                or logged is None:
            self.bad("json", index, "no index, kind or time")
            return
        if seq != index:
            self.bad("seq", index, f"says it has index {seq}")
        second = logged // 10 ** 9
        early = self.check.time is not None and second < self.check.time
        late = step.note is not None and second > step.note.time
        if (self.logged is not None and logged < self.logged) or early or late or second < 0:
            self.bad("time", index, "not logged between the checkpoints, or before the last one")
        self.logged = logged
        handler = {"coverage": self.coverage, "gap": self.gap, "resume": self.resume,
                   "key": self.key, "config": self.config}.get(kind)
        if handler:
            handler(record, index)

    def range(self, record, kind):
        """The source's own place, and what a manifest must say of the segment."""
        name = record.get("source")
        if not isinstance(name, str):
            return None
        seen = self.seen.setdefault(name, {"events": 0})
        for end in ("from", "to"):
            text = record.get(end)
            if isinstance(text, str) and (end == "to" or not ("from" in seen or "to" in seen)):
                seen[end] = text
        events = record.get("events")
        if kind == "coverage" and type(events) is int and events > 0 \
                and record.get("part", 1) == 1:
            seen["events"] += events
        return self.sources.setdefault(name, Source())

    def coverage(self, record, index):
        source = self.range(record, "coverage")
        if not source:
            return
        begin, end, part = record.get("from"), record.get("to"), record.get("part")
        later = type(part) is int and part > 1
        if later:
            fits = source.part == (begin, end)
        else:
            fits = source.to is None or begin == source.to \
                or (source.since is not None and begin == source.since)
        source.part = (begin, end)
        if not fits:
            self.bad("position", index, "the source does not go on where it ended")
        if source.covered is not None and not source.fresh and not later \
                and self.logged - source.covered > DISTANCE * 10 ** 9:
            self.bad("heartbeat", index, "more than 120 s without coverage")
        source.covered, source.fresh = self.logged, False
        if not later:
            source.to, source.since = end, None

    def gap(self, record, index):
        del index
        source = self.range(record, "gap")
        if source:
            source.to, source.since = record.get("to"), None

    def resume(self, record, index):
        self.resumed = True
        if index == 0:
            self.check.take_before(record.get("detail"))
        name = record.get("source")
        if not isinstance(name, str):
            for source in self.sources.values():
                source.fresh = True
            return
        source = self.sources.setdefault(name, Source())
        source.fresh, source.since = True, record.get("since")

    def key(self, record, index):
        detail = record.get("detail")
        if isinstance(detail, dict) and detail.get("op") == "rotate" \
                and not self.check.keys.rotate(detail, self.check.log, index):
            self.bad("key", index, "the new key is not signed by the old one and by itself")

    def config(self, record, index):
        del index
        detail = record.get("detail")
        before = detail.get("archive_pruned_before") if isinstance(detail, dict) else None
        if type(before) is int:
            self.pruned_before = max(self.pruned_before, before)

    def absent(self, manifest):
        """Of a segment without records, the manifest says where its sources stood."""
        self.logged, self.resumed = None, True
        for source in self.sources.values():
            source.covered = None
            if manifest is None:
                source.to = source.since = source.part = None
        for name, entry in (manifest or {"sources": {}})["sources"].items():
            source = self.sources.setdefault(name, Source())
            source.to, source.since, source.part = entry.get("to"), None, None


# ---- manifests ----

HEX = re.compile(r"[0-9a-f]{64}")


def read_manifest(data):
    """The fields; raises ValueError when it is no manifest."""
    def pairs(items):
        made = dict(items)
        if len(made) != len(items):
            raise ValueError("a field stands there twice")
        return made

    if too_deep(data):
        raise ValueError("too deep")
    fields = json.loads(data.decode("utf-8"), object_pairs_hook=pairs,
                        parse_constant=no_constant)
    hashes = ["leaves_sha256", "file_sha256", "state_sha256", "root_before", "root_after"]
    must = {"v", "log", "first", "last", "sources", "policies", "policy_set", *hashes}
    if not isinstance(fields, dict) or set(fields) - {"previous"} != must:
        raise ValueError("fields")
    hashes += ["previous"] if "previous" in fields else []
    numbers = [fields["v"], fields["first"], fields["last"]]
    if any(type(n) is not int or n < 0 for n in numbers) or fields["v"] != 1 \
            or fields["last"] < fields["first"]:
        raise ValueError("numbers")
    if not all(isinstance(fields[n], str) and HEX.fullmatch(fields[n]) for n in hashes):
        raise ValueError("hashes")
    if not isinstance(fields["log"], str) or not re.fullmatch("[0-9a-f]{32}", fields["log"]) \
            or not isinstance(fields["policy_set"], str):
        raise ValueError("log")
    policies, sources = fields["policies"], fields["sources"]
    if not isinstance(policies, dict) or not isinstance(sources, dict) \
            or not all(isinstance(h, str) and HEX.fullmatch(h) for h in policies.values()):
        raise ValueError("policies")
    for entry in sources.values():
        if not isinstance(entry, dict) or set(entry) - {"from", "to"} != {"events"} \
                or type(entry["events"]) is not int or entry["events"] < 0 \
                or not all(isinstance(entry.get(e, ""), str) for e in ("from", "to")):
            raise ValueError("sources")
    return fields


# ---- the archive ----

class Folder:
    """Objects by name; nothing leads out of the folder."""

    def __init__(self, path):
        self.path = path
        logs = [path] if self.holds_log(path) else []
        if not logs and os.path.isdir(path):
            logs = [p for p in (os.path.join(path, n) for n in sorted(os.listdir(path)))
                    if self.holds_log(p)]
        if len(logs) != 1:
            raise Unreadable(f"'{path}' holds {len(logs)} archives")
        self.path = logs[0]

    @staticmethod
    def holds_log(path):
        return any(os.path.exists(os.path.join(path, name))
                   for name in ("segments", "checkpoints", "checkpoint"))

    def open(self, name):
        """None: there is no such object."""
        try:
            return open(os.path.join(self.path, name), "rb")
        except FileNotFoundError:
            return None

    def read(self, name, most):
        """At most one byte more than `most`."""
        file = self.open(name)
        if file is None:
            return None
        with file:
            return file.read(most + 1)

    def sum(self, name):
        file = self.open(name)
        if file is None:
            return None
        with file:
            return hashlib.file_digest(file, "sha256").digest()

    def sizes(self):
        try:
            names = os.listdir(os.path.join(self.path, "checkpoints"))
        except FileNotFoundError:
            return []
        found = [number(name.encode()) for name in names]
        return sorted(size for size in found if size)


class Step:
    """One segment: indices first <= i < size."""

    def __init__(self, first, size, note=None):
        self.first, self.size, self.note = first, size, note
        self.manifest = self.manifest_hash = None
        self.expected = note.root if note else None
        self.root = None
        self.absent = False
        self.file_sum = self.lines_sum = None


class Check:
    """The whole walk."""

    def __init__(self, folder, vkeys, anchors):
        self.folder, self.keys = folder, Keys(vkeys)
        self.origin = self.keys.origin
        self.log = ""
        self.anchors = []
        for data in anchors:
            try:
                note = Note(data)
                if note.fault:
                    raise Fault("signature", note.fault)
            except Fault as fault:
                raise Usage(f"an anchor is not a checkpoint: {fault.text}") from fault
            self.anchors.append(note)
        self.before = None                        # the checkpoint that record 0 cites
        self.anchored = self.anchored_size = 0
        self.finding = (NONE, None, 0, "")
        self.lacks = None
        self.follow = Follow(self)
        self.tree, self.tree_known = Tree(self.on_full), True
        self.root = self.tree.root()
        self.tile_cache = (None, None)
        self.step = None
        self.time = None
        self.previous = None                      # (first, hash, signed)
        self.policies = None
        self.absent = []
        self.size, self.segments = 0, 0

    def found(self, rank, kind, index, text):
        old = self.finding
        if rank < old[0] or (rank == old[0] and index < old[2]):
            self.finding = (rank, kind, index, text)

    def missing(self, index, name):
        if self.lacks is None or index < self.lacks[0]:
            self.lacks = (index, f"there is no '{name}'")

    # -- tiles --

    def read_tile(self, level, index, width=256, silent=False):
        name, first = tile_name(level, index, width), index << 8 * (level + 1)
        data = self.folder.read(name, 32 * 256)
        if data is None:
            if not silent:
                self.missing(first, name)
            return None
        if len(data) != 32 * width:
            if not silent:
                self.found(TILE, "tile", first, f"'{name}' is of another length")
            return None
        return [data[i:i + 32] for i in range(0, len(data), 32)]

    def tile_of(self, index):
        """Hashes of level 0 around index, as of the segment's end."""
        at = index // 256
        if self.tile_cache[0] != (at, self.step.size):
            width = self.step.size % 256 if self.step.size // 256 == at else 256
            self.tile_cache = ((at, self.step.size), self.read_tile(0, at, width))
        return self.tile_cache[1]

    def on_full(self, level, index, hashes):
        there = self.tile_of(index * 256) if level == 0 else self.read_tile(level, index)
        if there is not None and there != hashes:
            self.found(TILE, "tile", index << 8 * (level + 1),
                       f"'{tile_name(level, index)}' is not what the records give")

    def compare_partial_tiles(self):
        for level, hashes in enumerate(self.tree.open):
            if hashes:
                index = self.tree.size >> 8 * (level + 1)
                there = self.read_tile(level, index, len(hashes))
                if there is not None and there != hashes:
                    self.found(TILE, "tile", index << 8 * (level + 1),
                               f"'{tile_name(level, index, len(hashes))}' is not what the "
                               "records give")

    def load_tree(self, size, root):
        """Takes the tree up again behind what is missing."""
        tree, self.tree_known = Tree(self.on_full), False
        level = 0
        while size >> 8 * level:
            width = (size >> 8 * level) % 256
            hashes = self.read_tile(level, size >> 8 * (level + 1), width, True) if width else []
            if hashes is None:
                return
            tree.open.append(hashes)
            level += 1
        tree.size = size
        if tree.root() == root:
            self.tree, self.tree_known = tree, True

    # -- leaves --

    def read_leaves(self, file):
        """Hashes every line.  Once a leaf is not what its tile says, a second tree goes on with
        the tiles: the root that was signed tells which of both is wrong."""
        step, other, mismatch, damage = self.step, None, None, None
        index, counted = step.first, Counted(file)
        sums = {"leaves": hashlib.sha256()}
        try:
            for lines in lines_of(counted, sums):
                for line in lines:
                    if index == step.size:
                        raise Fault("segment", "more records than were signed", index)
                    if len(line) > MAX_LINE or too_deep(line):
                        raise Fault("limit", "a record is too long or too deep", index)
                    self.follow.record(line, index, step)
                    tile = self.tile_of(index)
                    hash_ = sha256(b"\0" + line)
                    if tile and mismatch is None and hash_ != tile[index % 256]:
                        said = said_index(line)
                        kind = "seq" if said is not None and said != index else "leaf"
                        mismatch, other = (kind, index), self.tree.copy()
                    if other and tile and other.size == index:
                        other.append(tile[index % 256])
                    self.tree.append(hash_)
                    index += 1
                    self.anchor_inside(index)
            if index < step.size:
                damage = ("segment", index, "fewer records than were signed")
        except Damaged as error:
            damage = (error.kind, index if error.lines else step.first, str(error))
        except Fault as error:
            damage = (error.kind, error.index, error.text)
        step.file_sum, step.lines_sum = counted.sum.digest(), sums["leaves"].digest()
        self.judge_leaves(other, mismatch, damage)

    def anchor_inside(self, index):
        if index < self.step.size and any(a.size == index for a in self.anchors):
            self.check_anchors(index, self.tree.root())

    def judge_leaves(self, other, mismatch, damage):
        step = self.step
        step.root = self.tree.root()
        if not damage and step.root == step.expected:
            return
        while other and other.size < step.size and self.tile_of(other.size):
            other.append(self.tile_of(other.size)[other.size % 256])
        if mismatch and other.size == step.size and other.root() == step.expected:
            self.found(LEAF, *mismatch, f"record {mismatch[1]} is not the one that was signed")
        elif damage:
            self.found(LEAF, damage[0], damage[1], f"segment {step.first}: {damage[2]}")
        elif step.expected:
            self.found(LEAF, "root", step.first, "the records do not give the root that was signed")

    def take_tiles(self):
        """The leaf hashes of a segment that is not there."""
        step, culprit = self.step, None
        while self.tree.size < step.size:
            tile = self.tile_of(self.tree.size)
            if tile is None:
                if step.expected is None:
                    self.tree_known = False
                else:
                    self.load_tree(step.size, step.expected)
                break
            self.tree.append(tile[self.tree.size % 256])
            if self.tree.size % 256 == 0 and culprit is None:
                culprit = self.look_above(self.tree.size // 256 - 1, tile)
            self.anchor_inside(self.tree.size)
        if not self.tree_known:
            return
        step.root = self.tree.root()
        if step.expected and step.root != step.expected:
            last = (step.size - 1) // 256 * 256
            self.found(LEAF, "tile", last if culprit is None else culprit,
                       "the tiles do not give the root that was signed")

    def look_above(self, index, tile):
        """First index of a tile of level 0 that level 1 contradicts."""
        n = self.step.size // 256
        above = self.read_tile(1, index // 256, n % 256 if n // 256 == index // 256 else 256)
        if above is None or above[index % 256] == full_root(tile):
            return None
        return index * 256

    # -- one segment --

    def check_manifest(self):
        step = self.step
        name = f"segments/{step.first}.json"
        data = self.folder.read(name, MAX_MANIFEST)
        bad = lambda kind, text: self.found(MANIFEST, kind, step.first, f"{name}: {text}")
        if data is None:
            self.missing(step.first, name)
            return
        if len(data) > MAX_MANIFEST:
            bad("limit", "larger than 1 MiB")
            return
        step.manifest_hash = sha256(data)
        if step.note and step.manifest_hash != step.note.manifest:
            bad("manifest", "not the one that was signed")
        try:
            step.manifest = read_manifest(data)
        except (ValueError, RecursionError) as error:
            bad("manifest", f"not a manifest: {error}")
            return
        if not step.note:
            step.expected = bytes.fromhex(step.manifest["root_after"])

    def check_manifest_fields(self):
        step, fields = self.step, self.step.manifest
        bad = lambda kind, text: self.found(MANIFEST, kind, step.first, "manifest: " + text)
        if fields["log"] != self.log:
            bad("origin", "of another log")
        elif fields["first"] != step.first or fields["last"] + 1 != step.size:
            bad("manifest", "of other records")
        elif ("previous" in fields) != (step.first > 0):
            bad("manifest", "the one before it is not named as it is")
        elif self.previous and step.first > 0 \
                and fields["previous"] != self.previous[1].hex():
            first = step.first if self.previous[2] else self.previous[0]
            self.found(MANIFEST, "manifest", first, "not the one the next manifest names")
        elif self.root is not None and fields["root_before"] != self.root.hex():
            bad("manifest", "its root_before is not the root there")
        elif step.note and fields["root_after"] != step.expected.hex():
            bad("manifest", "its root_after is not its checkpoint's")

    def check_objects(self):
        step, fields = self.step, self.step.manifest
        if not step.absent:
            if step.file_sum.hex() != fields["file_sha256"] \
                    or step.lines_sum.hex() != fields["leaves_sha256"]:
                self.found(SEGMENT, "segment", step.first, "not the file the manifest names")
            if self.follow.seen != fields["sources"]:
                self.found(CONTENT, "manifest", step.first, "other sources than the records say")
        self.check_object(f"state/{step.first}.enc", fields["state_sha256"], False)
        policies = [fields["policies"][path] for path in sorted(fields["policies"])]
        if policies != self.policies:
            self.policies = policies
            for digest in policies:
                self.check_object(f"policies/{digest}.yaml", digest, True)

    def check_object(self, name, digest, must):
        there = self.folder.sum(name)
        if there is None:
            if must:
                self.missing(self.step.first, name)
        elif there.hex() != digest:
            self.found(SEGMENT, "segment", self.step.first, f"'{name}' is another one")

    def check_leaves(self):
        step, seen = self.step, self.follow
        seen.seen = {}
        if not self.tree_known and step.manifest and self.finding[0] == NONE:
            root = bytes.fromhex(step.manifest["root_before"])
            self.load_tree(step.first, root)
            if self.tree_known:
                self.root = root
        file = self.folder.open(f"segments/{step.first}.ndjson.zst") if self.tree_known else None
        if file:
            with file:
                self.read_leaves(file)
            return
        step.absent = True
        if self.absent and self.absent[-1][1] + 1 == step.first:
            self.absent[-1][1] = step.size - 1
        else:
            self.absent.append([step.first, step.size - 1])
        if self.tree_known:
            self.take_tiles()
        else:
            self.missing(step.first, "tiles and records before this segment")
        seen.absent(step.manifest)

    def check_signature(self):
        step, note = self.step, self.step.note
        kind = self.keys.verdict(note, bool(self.absent))
        if kind:
            self.found(CHECKPOINT, kind, step.first, f"checkpoint {note.size}: {kind}")
        elif self.time is not None and note.time < self.time:
            self.found(CHECKPOINT, "time", step.first, f"checkpoint {note.size} is older than "
                       "the one before")
        if self.time is not None and not self.follow.resumed and note.time - self.time > DISTANCE:
            self.found(RECORD, "heartbeat", step.first,
                       f"checkpoint {note.size}: more than 120 s after the one before")

    def walk_segment(self, first, size, note):
        """False: something is wrong."""
        self.step = step = Step(first, size, note)
        self.check_manifest()
        self.follow.resumed = False
        self.check_leaves()
        if note:
            self.check_signature()
        if step.manifest:
            self.check_objects()
        if self.tree_known and self.finding[0] > LEAF:
            self.compare_partial_tiles()
        if step.expected:
            self.check_anchors(size, step.expected)
        if step.manifest:
            self.check_manifest_fields()
        if self.finding[0] != NONE:
            return False
        self.previous = (first, step.manifest_hash, note is not None) if step.manifest else None
        if note:
            self.time = note.time
        self.root = step.expected or step.root
        self.size = size
        self.segments += not step.absent
        return True

    # -- checkpoints --

    def read_note(self, data, name, index, size=None):
        """None: found to be wrong."""
        try:
            note = Note(data)
        except Fault as fault:
            self.found(CHECKPOINT, fault.kind, index, f"{name}: {fault.text}")
            return None
        self.origin = self.origin or note.origin
        self.log = self.origin.rsplit(b"/", 1)[-1].decode("utf-8", "replace")
        if note.origin != self.origin:
            self.found(CHECKPOINT, "origin", index, f"{name}: of another log")
        elif size is not None and note.size != size:
            self.found(CHECKPOINT, "checkpoint", index, f"{name}: says size {note.size}")
        elif note.fault:
            self.found(CHECKPOINT, "signature", index, f"{name}: {note.fault}")
        else:
            return note
        return None

    def ends_earlier(self, first, size):
        """The end of a segment whose checkpoint is gone, if the next manifest vouches for it."""
        try:
            data = self.folder.read(f"segments/{first}.json", MAX_MANIFEST) or b""
            fields = read_manifest(data)
            end = fields["last"] + 1
            following = read_manifest(self.folder.read(f"segments/{end}.json", MAX_MANIFEST)
                                      or b"")
        except (ValueError, RecursionError):
            return None
        fits = fields["first"] == first and end < size \
            and following.get("previous") == sha256(data).hex()
        return end if fits else None

    def walk_to(self, first, size):
        data = self.folder.read(f"checkpoints/{size}", MAX_CHECKPOINT)
        end = self.ends_earlier(first, size)
        while end:
            self.missing(first, f"checkpoints/{end}")
            if not self.walk_segment(first, end, None):
                return False
            first, end = end, self.ends_earlier(end, size)
        note = self.read_note(data, f"checkpoint {size}", first, size)
        return note is not None and self.walk_segment(first, size, note)

    def check_newest(self, index):
        """`checkpoint`, which is a copy."""
        data = self.folder.read("checkpoint", MAX_CHECKPOINT)
        if data is None:
            self.missing(index, "checkpoint")
            return
        note = self.read_note(data, "checkpoint", index)
        if not note or self.folder.read(f"checkpoints/{note.size}", MAX_CHECKPOINT) == data:
            return
        kind = self.keys.verdict(note, bool(self.absent))
        if kind:
            self.found(CHECKPOINT, kind, index, f"the newest checkpoint: {kind}")
        elif note.size == self.size and note.root != self.root:
            self.found(CHECKPOINT, "root", index, f"two checkpoints of size {note.size}")
        elif note.size != self.size:
            self.missing(min(self.size, note.size) if note.size > self.size else index,
                         "checkpoints of the size that 'checkpoint' names")

    # -- anchors --

    def check_anchors(self, size, root):
        for note in self.anchors:
            if note.size != size or note.origin != self.origin:
                continue
            if self.keys.verdict(note, bool(self.absent)):
                raise Usage("an anchor is not signed with the log's key")
            if note.root != root:
                self.found(ANCHOR, "anchor", self.anchored_size,
                           f"the root of size {size} is not that of the anchor")
                return
            self.anchored, self.anchored_size = True, size

    # -- the log before --

    def take_before(self, detail):
        """What a `resume` record 0 cites."""
        detail = detail if isinstance(detail, dict) else {}
        text, log = detail.get("old_checkpoint"), detail.get("old_log")
        if not isinstance(text, str) or not isinstance(log, str) or not 0 < len(log) < 64:
            return
        try:
            note = Note(text.encode())
        except (Fault, UnicodeEncodeError):
            return
        if not note.fault and note.size and len(note.origin) > len(log.encode()) + 1 \
                and note.origin.endswith(b"/" + log.encode()):
            self.before = note

    def check_anchor_before(self, note):
        """An anchor of the log that this one goes on from."""
        cited = self.before
        if not cited or note.origin != cited.origin:
            raise Usage("an anchor is of another log")
        keys = self.keys.ranges + self.keys.spares
        if keys and not any(note.is_signed(note.origin, key) for key, _ in keys):
            raise Usage("an anchor is of the log before, and signed with no key that was given")
        if note.size > cited.size:
            self.found(ANCHOR, "anchor", 0, f"the log goes on from size {cited.size} of the log "
                       f"before, and an anchor has size {note.size}: no log goes on from "
                       f"records {cited.size} to {note.size - 1}")
        elif note.size == cited.size and note.root != cited.root:
            self.found(ANCHOR, "anchor", 0, f"the log goes on from another tree of size "
                       f"{cited.size} of the log before")
        elif note.size == cited.size:
            self.anchored = True

    # -- all of it --

    def check_key_is_of_archive(self):
        """One checkpoint of another log is an attack; when the newest and the smallest are of
        one other log, the key was mixed up."""
        origins = set()
        for name in ["checkpoint"] + [f"checkpoints/{n}" for n in self.folder.sizes()[:1]]:
            try:
                origins.add(Note(self.folder.read(name, MAX_CHECKPOINT) or b"").origin)
            except Fault:
                return
        if self.origin and len(origins) == 1 and origins != {self.origin} \
                and self.folder.sizes():
            raise Usage("the key is of another log than the archive")

    def run(self):
        self.check_key_is_of_archive()
        first = newest = 0
        for size in self.folder.sizes():
            newest = first
            if not self.walk_to(first, size):
                break
            first = size
        if self.finding[0] == NONE:
            self.check_newest(newest)
        if self.finding[0] == NONE:
            for note in self.anchors:
                if note.origin != self.origin:
                    self.check_anchor_before(note)
                elif note.size > first:
                    self.found(ANCHOR, "anchor", first, f"an anchor has size {note.size}, the "
                               f"archive {first}")
        pruned = []
        for begin, end in self.absent if self.finding[0] == NONE else []:
            if end < self.follow.pruned_before:
                pruned.append([begin, end])
            else:
                self.missing(max(begin, self.follow.pruned_before),
                             f"segments/{begin}.ndjson.zst")
        return self.verdict(pruned)

    def verdict(self, pruned):
        result, kind, index, text = "ok", None, None, ""
        if self.finding[0] != NONE:
            result, (kind, index, text) = "tampered", self.finding[1:]
        elif self.lacks:
            result, kind, index, text = "incomplete", "missing", *self.lacks
        anchored = bool(self.anchored) and result != "tampered"
        exit_code = {"tampered": 1, "incomplete": 2}.get(
            result, 0 if anchored and self.keys.ranges else 3)
        return {"result": result, "class": kind, "index": index, "size": self.size,
                "root": (self.root if self.size else bytes(32)).hex(), "anchored": anchored,
                "signed": bool(self.keys.ranges), "segments": self.segments, "pruned": pruned,
                "goes_on_from": self.before and {
                    "log": self.before.origin.rsplit(b"/", 1)[-1].decode(),
                    "size": self.before.size},
                "exit": exit_code, "text": text}


def verify(path, vkeys=(), anchors=()):
    """The verdict as a dictionary; anchors are bytes.  Raises Usage, Unreadable."""
    return Check(Folder(path), list(vkeys), list(anchors)).run()


# ---- one record ----

def path_root(hashes, index, size, leaf):
    """RFC 9162, 2.1.3.2; raises Fault for a proof of another length."""
    fn, sn, root = index, size - 1, leaf
    for hash_ in hashes:
        if sn == 0:
            raise Fault("proof", "it is too long")
        if fn & 1 or fn == sn:
            root = node(hash_, root)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            root = node(root, hash_)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise Fault("proof", "it is too short")
    return root


def check_proof(data, line, vkeys):
    """(class, index): class None when the line is in the log.  A C2SP tlog-proof."""
    keys = Keys(vkeys)
    if not keys.ranges:
        raise Usage("a key is needed")
    try:
        if len(data) > MAX_CHECKPOINT + 8192:
            raise Fault("limit", "larger than 24 KiB")
        head, empty, text = data.partition(b"\n\n")
        lines = head.split(b"\n")
        if lines[:1] != [b"c2sp.org/tlog-proof@v1"] or not empty:
            raise Fault("proof", "not a proof")
        del lines[0]
        if lines and lines[0].startswith(b"extra "):
            if unbase64(lines.pop(0)[6:]) is None:
                raise Fault("proof", "extra is not base64")
        index = number(lines[0][6:]) if lines and lines[0].startswith(b"index ") else None
        hashes = [unbase64(text, 32) for text in lines[1:]]
        if index is None or None in hashes or len(hashes) > 64:
            raise Fault("proof", "not an index and hashes")
        note = Note(text)
        if note.origin != keys.origin:
            raise Fault("origin", "of another log")
        if note.fault:
            raise Fault("signature", note.fault)
        if not any(note.is_signed(keys.origin, key) for key, _ in keys.ranges + keys.spares):
            raise Fault("signature", "not signed with the log's key")
        if index >= note.size:
            raise Fault("proof", "the index is not in the tree")
        if len(line) > MAX_LINE:
            raise Fault("limit", "the record is too long")
        if path_root(hashes, index, note.size, sha256(b"\0" + line)) != note.root:
            raise Fault("root", "record and proof do not give the root")
    except Fault as fault:
        return fault.kind, None
    return None, index


def read_anchor(path):
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError as error:
        raise Usage(str(error)) from error


def main():
    parser = argparse.ArgumentParser(description="Verifies an archive of dgf.")
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--key", action="append", default=[], metavar="VKEY")
    parser.add_argument("--anchor", action="append", default=[], metavar="FILE")
    parser.add_argument("--check-proof", metavar="FILE")
    parser.add_argument("--format", choices=("human", "json"), default="human")
    try:
        args = parser.parse_args()
    except SystemExit as stop:
        sys.exit(64 if stop.code else 0)
    try:
        if args.check_proof:
            with open(args.check_proof, "rb") as file:
                line = sys.stdin.buffer.read(MAX_LINE + 2).removesuffix(b"\n")
                kind, index = check_proof(file.read(1 << 20), line, args.key)
            print(json.dumps({"result": "tampered" if kind else "ok", "class": kind,
                              "index": index}))
            sys.exit(1 if kind else 0)
        if not args.folder:
            raise Usage("which folder?")
        anchors = []
        for path in args.anchor:
            anchors.append(read_anchor(path))
        verdict = verify(args.folder, args.key, anchors)
    except Usage as error:
        print(f"verify_ledger: {error}", file=sys.stderr)
        sys.exit(64)
    except (Unreadable, OSError) as error:
        print(f"verify_ledger: {error}", file=sys.stderr)
        sys.exit(2)
    exit_code, text = verdict.pop("exit"), verdict.pop("text")
    if args.format == "json":
        verdict["text"] = text or None
        print(json.dumps(verdict, separators=(",", ":")))
    elif verdict["result"] == "ok":
        print("ok" if exit_code == 0 else "ok, tail: unverifiable")
    else:
        print(f"{verdict['result']}: {verdict['class']} at index {verdict['index']}: {text}")
    if args.format != "json" and verdict["goes_on_from"]:
        print("goes on from log {log} at size {size}".format(**verdict["goes_on_from"]))
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
