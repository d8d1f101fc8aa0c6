"""The attack table: each row makes instances of one attack on random archives, with the class and
the first bad index that must be found.  Used by run.py; the rows stand in TESTING.md."""

import base64
import copy
import json
import struct

import archive_vectors as vectors
import zstandard
from archive_vectors import (Key, b64, frames_of, leaf_hash, levels_of, node_hash, note_body, pack,
                             random_spec, renumber, renumbered, seal, seek_table, sha256,
                             sign_note, tile_name, tiles, tree_root)

POOL = 12                                         # archives an attack chooses from


class Instance:
    """Objects of an archive after the attack, and what a verifier must say."""

    def __init__(self, spec, objects, kind, index, anchors=(), exit_code=1, what=""):
        self.spec, self.objects, self.kind, self.index = spec, objects, kind, index
        self.anchors, self.exit_code, self.what = list(anchors), exit_code, what
        self.keys = [spec.vkey()]


class Proof:
    """A proof that must be refused, or taken (kind None)."""

    def __init__(self, spec, proof, line, kind, what=""):
        self.spec, self.proof, self.line, self.kind, self.what = spec, proof, line, kind, what
        self.keys = [spec.vkey()]


class Pool:
    """Sealed archives of one run; those with a rotated key apart."""

    def __init__(self, rng):
        self.plain = [random_spec(rng) for _ in range(POOL)]
        self.rotated = [random_spec(rng, segments=7, rotate=rng.randrange(2, 5)) for _ in range(4)]
        self.sealed = {id(spec): seal(spec) for spec in self.plain + self.rotated}

    def pick(self, rng, rotated=False):
        spec = rng.choice(self.rotated if rotated else self.plain)
        return spec, dict(self.sealed[id(spec)])


def segment_of(rng, spec):
    """(number, first index) of a segment."""
    number = rng.randrange(len(spec.segments))
    return number, spec.firsts()[number]


def flip(rng, data, begin=0, end=None):
    at = rng.randrange(begin, len(data) if end is None else end)
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:]


def said(line):
    """The index a record begins with; None: it does not begin so."""
    begin = b'{"v":1,"seq":'
    digits, comma, _ = line[len(begin):].partition(b",")
    return int(digits) if line.startswith(begin) and comma and digits.isdigit() else None


def differs(line, index):
    """Class of a record that is not the one that was signed."""
    return "seq" if said(line) not in (None, index) else "leaf"


def first_difference(old, new, first):
    for i, (a, b) in enumerate(zip(old, new)):
        if a != b:
            return differs(b, first + i), first + i
    if len(new) != len(old):
        return "segment", first + min(len(old), len(new))
    return None


def put_lines(objects, spec, number, lines):
    first = spec.firsts()[number]
    objects[f"segments/{first}.ndjson.zst"] = pack(lines, spec.segments[number].frame)


def forge_manifest(objects, spec, number, lines):
    """The manifest that would fit these lines; nobody signs it."""
    first = spec.firsts()[number]
    segment = copy.copy(spec.segments[number])
    segment.lines = lines
    old = json.loads(objects[f"segments/{first}.json"])
    data = objects[f"segments/{first}.ndjson.zst"]
    before = [leaf_hash(line) for s in spec.segments[:number] for line in s.lines]
    after = before + [leaf_hash(line) for line in lines]
    made = vectors.manifest_of(spec, segment, first, data, (tree_root(before), tree_root(after)),
                               b"x" if "previous" in old else None)
    fields = json.loads(made)
    if "previous" in old:
        fields["previous"] = old["previous"]
    objects[f"segments/{first}.json"] = json.dumps(fields, separators=(",", ":")).encode()
    return after


# ---- T1 ----

def flipped_leaf(rng, pool):
    spec, objects = pool.pick(rng)
    number, first = segment_of(rng, spec)
    lines = list(spec.segments[number].lines)
    at = rng.randrange(len(lines))
    bad = flip(rng, lines[at])
    lines[at] = bad
    put_lines(objects, spec, number, lines)
    seen = bad.split(b"\n")[0]
    return Instance(spec, objects, differs(seen, first + at), first + at, what="leaf")


def flipped_frame(rng, pool):
    """Any bit of the compressed file."""
    spec, objects = pool.pick(rng)
    number, first = segment_of(rng, spec)
    segment = spec.segments[number]
    frames = frames_of(segment.lines, segment.frame)
    name = f"segments/{first}.ndjson.zst"
    objects[name] = bad = flip(rng, objects[name])
    lines, at, verdict = [], 0, None
    for packed, length in frames:
        piece = bad[at:at + len(packed)]
        at += len(packed)
        try:
            size = zstandard.frame_content_size(piece)
            if size > 320 * 1024:
                verdict = "limit", first + len(lines)
                break
            plain = zstandard.ZstdDecompressor().decompress(piece, allow_extra_data=False)
            if len(plain) != length or size != length or plain[-1:] != b"\n":
                raise zstandard.ZstdError("length")
        except zstandard.ZstdError:
            verdict = "segment", first
            break
        lines += plain[:-1].split(b"\n")
    if verdict and verdict[0] == "limit" and piece[:4] != bytes.fromhex("28b52ffd"):
        verdict = "segment", first
    found = first_difference(segment.lines[:len(lines)], lines, first)
    return Instance(spec, objects, *(found or verdict or ("segment", first)), what="frame")


def flipped_manifest(rng, pool):
    spec, objects = pool.pick(rng)
    _, first = segment_of(rng, spec)
    objects[f"segments/{first}.json"] = flip(rng, objects[f"segments/{first}.json"])
    return Instance(spec, objects, "manifest", first, what="manifest")


def flipped_tile(rng, pool):
    spec, objects = pool.pick(rng)
    name = rng.choice(sorted(n for n in objects if n.startswith("tile/")))
    objects[name] = flip(rng, objects[name])
    _, level, *rest = name.split(".p/")[0].split("/")
    index = int("".join(part.removeprefix("x") for part in rest))
    return Instance(spec, objects, "tile", index << 8 * (int(level) + 1), what=name)


def judge_note(spec, data, size):
    """Class of a checkpoint one bit of which was flipped."""
    lines = data.split(b"\n")
    try:
        root = base64.b64decode(lines[2], validate=True)
        manifest = lines[3].removeprefix(b"dgf-manifest sha256:")
        good = lines[1].isdigit() and str(int(lines[1])).encode() == lines[1] \
            and len(root) == 32 and b64(root).encode() == lines[2] \
            and len(lines[3]) == 84 and len(manifest) == 64 \
            and set(manifest) <= set(b"0123456789abcdef") and lines[4] == b""
    except (ValueError, IndexError):
        good = False
    if not good or not lines[0]:
        return "checkpoint"
    if lines[0] != spec.origin.encode():
        return "origin"
    if size and int(lines[1]) != size:
        return "checkpoint"
    return "signature"


def flipped_checkpoint(rng, pool):
    spec, objects = pool.pick(rng)
    number, first = segment_of(rng, spec)
    size = first + len(spec.segments[number].lines)
    name = f"checkpoints/{size}"
    objects[name] = flip(rng, objects[name])
    return Instance(spec, objects, judge_note(spec, objects[name], size), first, what=name)


def flipped_newest(rng, pool):
    spec, objects = pool.pick(rng)
    objects["checkpoint"] = flip(rng, objects["checkpoint"])
    return Instance(spec, objects, judge_note(spec, objects["checkpoint"], None),
                    spec.firsts()[-1], what="checkpoint")


def flipped_other(rng, pool):
    """A policy text or a state."""
    spec, objects = pool.pick(rng)
    name = rng.choice(sorted(n for n in objects if n.startswith(("policies/", "state/"))))
    objects[name] = flip(rng, objects[name])
    first = int(name[6:-4]) if name.startswith("state/") else 0
    return Instance(spec, objects, "segment", first, what=name)


def t1(rng, pool):
    return rng.choice([flipped_leaf, flipped_leaf, flipped_frame, flipped_manifest, flipped_tile,
                       flipped_checkpoint, flipped_newest, flipped_other])(rng, pool)


# ---- records taken out, put in, moved ----

def t2(rng, pool):
    """A record deleted: first, in the middle, last."""
    spec, objects = pool.pick(rng)
    number, first = segment_of(rng, spec)
    lines = list(spec.segments[number].lines)
    at = rng.choice([0, rng.randrange(len(lines)), len(lines) - 1])
    del lines[at]
    if rng.random() < .3:                         # those behind it move up
        lines = lines[:at] + [renumber(line, first + at + i) for i, line in enumerate(lines[at:])]
    put_lines(objects, spec, number, lines)
    found = first_difference(spec.segments[number].lines, lines, first)
    if rng.random() < .3:
        forge_manifest(objects, spec, number, lines)
        found = "manifest", first
    return Instance(spec, objects, *found)


def t3(rng, pool):
    """A record put in: forged, or one twice."""
    spec, objects = pool.pick(rng)
    number, first = segment_of(rng, spec)
    old = spec.segments[number].lines
    at = rng.choice([rng.randrange(len(old)), len(old)])
    model = old[min(at, len(old) - 1)]
    new = renumber(model, first + at).replace(b"prod", b"test") if rng.random() < .5 or not at \
        else old[at - 1]
    lines = old[:at] + [new] + old[at:]
    put_lines(objects, spec, number, lines)
    found = first_difference(old, lines, first)
    if rng.random() < .3:
        forge_manifest(objects, spec, number, lines)
        found = "manifest", first
    return Instance(spec, objects, *found)


def t4(rng, pool):
    """Records of a segment, or segments, in another order."""
    while True:
        spec, objects = pool.pick(rng)
        number, first = segment_of(rng, spec)
        old = spec.segments[number].lines
        if rng.random() < .5 and len(old) > 1:
            lines = list(old)
            i, j = rng.sample(range(len(lines)), 2)
            lines[i], lines[j] = lines[j], lines[i]
            put_lines(objects, spec, number, lines)
            return Instance(spec, objects, "seq", first + min(i, j), what="records")
        a, b = sorted(rng.sample(spec.firsts(), 2))
        names = [f"segments/{n}.ndjson.zst" for n in (a, b)]
        objects[names[0]], objects[names[1]] = objects[names[1]], objects[names[0]]
        kind = "seq"
        if rng.random() < .3:
            names = [f"segments/{n}.json" for n in (a, b)]
            objects[names[0]], objects[names[1]] = objects[names[1]], objects[names[0]]
            kind = "manifest"
        return Instance(spec, objects, kind, a, what="segments")


def drop_last(objects, spec, n):
    """All objects of the last n segments; `checkpoint` stays."""
    firsts = spec.firsts() + [spec.size()]
    for number in range(len(spec.segments) - n, len(spec.segments)):
        for name in (f"segments/{firsts[number]}.ndjson.zst", f"segments/{firsts[number]}.json",
                     f"state/{firsts[number]}.enc", f"checkpoints/{firsts[number + 1]}"):
            del objects[name]
    left = {}
    hashes = [leaf_hash(line) for s in spec.segments[:len(spec.segments) - n] for line in s.lines]
    for size in firsts[1:len(firsts) - n]:
        left.update(tiles(levels_of(hashes), size))
    for name in [n for n in objects if n.startswith("tile/") and n not in left]:
        del objects[name]
    return firsts[len(spec.segments) - n]


def t5(rng, pool):
    """The end of a segment is cut; the last segments are gone."""
    spec, objects = pool.pick(rng)
    number, first = segment_of(rng, spec)
    name, newest = f"segments/{first}.ndjson.zst", objects["checkpoint"]
    way = rng.randrange(5)
    if way == 0:
        objects[name] = objects[name][:rng.randrange(len(objects[name]))]
        return Instance(spec, objects, "segment", first, what="cut")
    if way == 1:
        keep = rng.randrange(len(spec.segments[number].lines))
        put_lines(objects, spec, number, spec.segments[number].lines[:keep])
        return Instance(spec, objects, "segment", first + keep, what="cut and packed again")
    n = rng.randrange(1, len(spec.segments))
    if way == 2:                                  # only their files
        for at in spec.firsts()[-n:]:
            del objects[f"segments/{at}.ndjson.zst"]
        return Instance(spec, objects, "missing", spec.firsts()[-n], exit_code=2, what="files")
    size = drop_last(objects, spec, n)
    if way == 3:
        return Instance(spec, objects, "missing", size, exit_code=2, what="all of them")
    objects["checkpoint"] = objects[f"checkpoints/{size}"]
    return Instance(spec, objects, "anchor", size, [newest], what="rolled back")


# ---- keys ----

def changed(rng, spec, number):
    """A record of that segment says something else; (spec, index)."""
    other = spec.copy()
    lines = other.segments[number].lines
    at = rng.randrange(len(lines))
    lines[at] = lines[at].replace(b'"env":"prod"', b'"env":"test"')
    return other, other.firsts()[number] + at


def t6(rng, pool):
    """A segment and its manifest replaced, without a key."""
    spec, objects = pool.pick(rng)
    number, first = segment_of(rng, spec)
    other, _ = changed(rng, spec, number)
    way = rng.randrange(3)
    if way == 0:
        put_lines(objects, other, number, other.segments[number].lines)
        after = forge_manifest(objects, other, number, other.segments[number].lines)
        objects.update(tiles(levels_of(after), len(after)))
        return Instance(spec, objects, "manifest", first, what="checkpoint kept")
    if way == 1:                                  # records, tiles and nothing else
        put_lines(objects, other, number, other.segments[number].lines)
        forged = seal(other)
        for name in forged:
            if name.startswith("tile/"):
                objects[name] = forged[name]
        return Instance(spec, objects, "root", first, what="tiles too")
    thief = Key(rng)
    for segment in other.segments[number:]:
        segment.key = thief
    forged = seal(other)
    size = first + len(spec.segments[number].lines)
    if rng.random() < .5:                         # the old signatures under the new text
        old = objects[f"checkpoints/{size}"].split(b"\n\n", 1)[1]
        forged[f"checkpoints/{size}"] = forged[f"checkpoints/{size}"].split(b"\n\n", 1)[0] \
            + b"\n\n" + old
    return Instance(spec, forged, "signature", first, what="signed by somebody")


def t7(rng, pool):
    """The same with a key that was retired."""
    spec, objects = pool.pick(rng, rotated=True)
    del objects
    numbers = [i for i, s in enumerate(spec.segments) if s.key is not spec.first_key]
    number = rng.choice(numbers)
    other, _ = changed(rng, spec, number)
    if number == numbers[0]:                      # its record stays as it was
        other = spec.copy()
    for segment in other.segments[number:]:
        segment.key = spec.first_key
    return Instance(spec, seal(other), "key", spec.firsts()[number])


def t8(rng, pool):
    """The same with the key in force: only an anchor tells."""
    spec, objects = pool.pick(rng)
    number, _ = segment_of(rng, spec)
    other, _ = changed(rng, spec, number)
    ends = spec.firsts()[1:] + [spec.size()]
    anchor = rng.choice(ends[number:])
    before = [size for size in ends[:number] if rng.random() < .5]
    anchors = [objects[f"checkpoints/{size}"] for size in before + [anchor]]
    rng.shuffle(anchors)
    return Instance(spec, seal(other), "anchor", max(before, default=0), anchors)


def t9(rng, pool):
    """Everything rolled back to an older whole state."""
    spec, objects = pool.pick(rng)
    older = spec.copy()
    del older.segments[rng.randrange(1, len(older.segments)):]
    anchors = [objects["checkpoint"]]
    if rng.random() < .5:
        anchors.append(objects[f"checkpoints/{older.size()}"])
    return Instance(spec, seal(older), "anchor", older.size(), anchors)


def t10(rng, pool):
    """Two heads of one size."""
    spec, objects = pool.pick(rng)
    if rng.random() < .5:
        other, _ = changed(rng, spec, len(spec.segments) - 1)
        objects["checkpoint"] = seal(other)["checkpoint"]
        return Instance(spec, objects, "root", spec.firsts()[-1], what="in the archive")
    number, _ = segment_of(rng, spec)
    other, _ = changed(rng, spec, number)
    size = (other.firsts() + [other.size()])[number + 1]
    return Instance(spec, objects, "anchor", 0, [seal(other)[f"checkpoints/{size}"]],
                    what="an anchor")


def t11(rng, pool):
    """A segment of another agent."""
    while True:
        spec, objects = pool.pick(rng)
        other, theirs = pool.pick(rng)
        if other is not spec:
            break
    number = rng.randrange(min(len(spec.segments), len(other.segments)))
    first, from_ = spec.firsts()[number], other.firsts()[number]
    size, their_size = ((s.firsts() + [s.size()])[number + 1] for s in (spec, other))
    objects[f"segments/{first}.ndjson.zst"] = theirs[f"segments/{from_}.ndjson.zst"]
    kind = differs(other.segments[number].lines[0], first)
    way = rng.randrange(3)
    if way > 0:
        objects[f"segments/{first}.json"] = theirs[f"segments/{from_}.json"]
        kind = "manifest"
    if way > 1:
        objects[f"checkpoints/{size}"] = theirs[f"checkpoints/{their_size}"]
        kind = "origin"
    return Instance(spec, objects, kind, first)


def t12(rng, pool):
    """The public key swapped, a signature stripped, no signature at all."""
    spec, objects = pool.pick(rng)
    number, first = segment_of(rng, spec)
    size = first + len(spec.segments[number].lines)
    way = rng.randrange(4)
    if way == 0:
        other, thief = spec.copy(), Key(rng)
        other.first_key, other.keys = thief, [(thief, 0)]
        for segment in other.segments:
            segment.key = thief
        return Instance(spec, seal(other), "signature", 0, what="all signed by another key")
    body, lines = objects[f"checkpoints/{size}"].split(b"\n\n", 1)
    lines = lines.splitlines(True)
    kept = [b"", lines[0], lines[1]][way - 1]
    objects[f"checkpoints/{size}"] = body + b"\n\n" + kept if rng.random() < .8 or kept \
        else body + b"\n"
    return Instance(spec, objects, "signature", first, what=f"stripped {way}")


# ---- what the holder of the key could do ----

def with_logged(line, text):
    begin, rest = line.split(b'"logged":"', 1)
    return begin + b'"logged":"' + text.encode() + rest[rest.index(b'"'):]


def logged_ns(line):
    """Of times as this generator writes them."""
    text = line.split(b'"logged":"', 1)[1].split(b'Z"', 1)[0].decode()
    date, _, rest = text.partition("T")
    clock, _, fraction = rest.partition(".")
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    days = int(date[-2:]) - 2
    return (vectors.START + days * 86400 + (hours - 9) * 3600 + minutes * 60 + seconds) * 10 ** 9 \
        + int(fraction.ljust(9, "0") or 0)


def t13(rng, pool):
    """Records that were back-dated, by whoever holds the key."""
    spec, _ = pool.pick(rng)
    other = spec.copy()
    number, first = segment_of(rng, spec)
    lines = other.segments[number].lines
    at = rng.randrange(len(lines))
    if number == 0 and at == 0:
        number, first = 1, spec.firsts()[1]
        lines, at = other.segments[1].lines, 0
    before = spec.line(first + at - 1)
    if rng.random() < .3:                         # later than its own checkpoint
        late = (spec.segments[number].time + 1 + rng.randrange(50)) * 10 ** 9
        lines[at] = with_logged(lines[at], vectors.clock(late))
    else:
        early = logged_ns(before) - 1 - rng.randrange(40 * 10 ** 9)
        lines[at] = with_logged(lines[at], vectors.clock(early))
    return Instance(spec, seal(other), "time", first + at)


def t14(rng, pool):
    """An inner node offered as a record."""
    spec, objects = pool.pick(rng)
    number, first = segment_of(rng, spec)
    lines = list(spec.segments[number].lines)
    if rng.random() < .5 or len(lines) < 3:
        return node_as_leaf(rng, spec, objects)
    at = rng.randrange(len(lines) - 1)
    at -= (first + at) % 2
    at = max(at, 0)
    node = leaf_hash(lines[at]) + leaf_hash(lines[at + 1])
    if b"\n" in node:
        node = node.split(b"\n", 1)[0]
    lines[at:at + 2] = [node]
    put_lines(objects, spec, number, lines)
    return Instance(spec, objects, "leaf", first + at, what="in a segment")


def inclusion(hashes, index):
    """RFC 6962, 2.1.1."""
    if len(hashes) <= 1:
        return []
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    if index < k:
        return inclusion(hashes[:k], index) + [tree_root(hashes[k:])]
    return inclusion(hashes[k:], index - k) + [tree_root(hashes[:k])]


def proof_text(index, hashes, checkpoint, extra=None):
    lines = ["c2sp.org/tlog-proof@v1"] + ([f"extra {extra}"] if extra else []) + [f"index {index}"]
    return "\n".join(lines + [b64(h) for h in hashes]).encode() + b"\n\n" + checkpoint


def judged(hashes, index, path):
    """What a well-formed proof of something else is: of another length, or of another root."""
    return "root" if len(inclusion(hashes, index)) == len(path) else "proof"


def node_as_leaf(rng, spec, objects):
    """The proof of a node's own place: one hash shorter."""
    hashes = [leaf_hash(line) for s in spec.segments for line in s.lines]
    index = rng.randrange(spec.size() // 2) * 2
    path = inclusion(hashes, index)[1:]
    at = rng.choice([index, index // 2])
    return Proof(spec, proof_text(at, path, objects["checkpoint"]),
                 hashes[index] + hashes[index + 1], judged(hashes, at, path), "a proof")


def t15(rng, pool):
    """Malformed proofs."""
    spec, objects = pool.pick(rng)
    checkpoint, size = objects["checkpoint"], spec.size()
    hashes = [leaf_hash(line) for s in spec.segments for line in s.lines]
    index = rng.randrange(size)
    path, line = inclusion(hashes, index), spec.line(index)
    good = proof_text(index, path, checkpoint, rng.choice([None, b64(b"anything")]))
    empty = sign_note(note_body(spec.origin, 0, tree_root([]), b"x"), spec.origin, spec.first_key,
                      vectors.START)
    mixed = list(path)
    rng.shuffle(mixed)
    cases = [
        ("size 0", proof_text(0, [], empty), line, "proof"),
        ("too long", proof_text(index, path + [path[-1]], checkpoint), line, "proof"),
        ("too short", proof_text(index, path[:-1], checkpoint), line, "proof"),
        ("wrong order", proof_text(index, mixed, checkpoint), line,
         "root" if mixed != path else None),
        ("index beyond", proof_text(size + rng.randrange(9), path, checkpoint), line, "proof"),
        ("another index", proof_text(index ^ 1 if index ^ 1 < size - 1 else 0, path, checkpoint),
         line, None),
        ("another record", good, spec.line((index + 1) % size), "root"),
        ("a flipped record", good, flip(rng, line), "root"),
        ("padded index", good.replace(b"index ", b"index 0", 1), line, "proof"),
        ("negative index", good.replace(b"index ", b"index -", 1), line, "proof"),
        ("huge index", proof_text(2 ** 64 + index, path, checkpoint), line, "proof"),
        ("no empty line", good.replace(b"\n\n", b"\n", 1), line, "proof"),
        ("another version", good.replace(b"@v1", b"@v2", 1), line, "proof"),
        ("a hash of 31 bytes", good.replace(b64(path[0]).encode(), b64(path[0][:31]).encode(), 1),
         line, "proof"),
        ("no checkpoint", good.split(b"\n\n", 1)[0] + b"\n\n", line, "checkpoint"),
        ("no signature", good.rsplit(b"\n\n", 1)[0] + b"\n\n", line, "signature"),
        ("65 hashes", proof_text(index, path[:1] * 65, checkpoint), line, "proof"),
        ("a large proof", good + b"x" * 30000, line, "limit"),
        ("of another log", proof_text(index, path, pool.pick(rng)[1]["checkpoint"]), line,
         "origin"),
        ("good", good, line, None),
    ]
    what, proof, line, kind = rng.choice(cases)
    if what == "another index":
        at = int(proof.split(b"\n")[1][6:])
        kind = judged(hashes, at, path) if at != index else None
    if what == "of another log" and spec.origin.encode() in proof:
        kind = None
    return Proof(spec, proof, line, kind, what)


def without(spec, number, at, n=1):
    """The signer takes records out, numbers the others anew and signs again."""
    other = spec.copy()
    del other.segments[number].lines[at:at + n]
    return renumbered(other)


def t16(rng, pool):
    """An idle period that is taken out."""
    del pool
    n = rng.randrange(6, 9)
    begin, length = rng.randrange(1, 3), rng.randrange(2, 4)
    idle = set(range(begin, begin + length))
    spec = random_spec(rng, segments=n, idle=idle, most=20)
    other = spec.copy()
    del other.segments[begin:begin + length]
    renumbered(other)
    first = other.firsts()[begin]
    return Instance(spec, seal(other), "heartbeat", first)


def t17(rng, pool):
    """Bombs against the verifier."""
    spec, objects = pool.pick(rng)
    number, first = segment_of(rng, spec)
    lines = list(spec.segments[number].lines)
    at = rng.randrange(len(lines))
    name, way = f"segments/{first}.ndjson.zst", rng.randrange(7)
    size = first + len(lines)
    if way == 0:                                  # 1 GiB of zeros in a few KiB
        frames = frames_of(lines[:at]) if at else []
        zeros = zstandard.ZstdCompressor(level=19).compress(bytes(rng.choice([1 << 20, 1 << 24])))
        if rng.random() < .5:                     # its header says more than there is
            header = 9 if zeros[4] & 0x20 else 10
            zeros = zeros[:4] + bytes([0xe0]) + struct.pack("<Q", 1 << rng.randrange(30, 63)) \
                + zeros[header:]
        objects[name] = b"".join(p for p, _ in frames) + zeros + seek_table(frames + [(zeros, 1)])
        return Instance(spec, objects, "limit", first + at, what="zstd")
    if way == 1:
        deep = rng.choice([b"[", b'{"a":'])
        lines[at] = b'{"v":1,"seq":%d,"a":' % (first + at) + deep * rng.choice([70, 5000])
        put_lines(objects, spec, number, lines)
        return Instance(spec, objects, "limit", first + at, what="depth")
    if way == 2:
        long = b'{"v":1,"seq":%d,"a":"' % (first + at)
        lines[at] = long + b"x" * (65536 - len(long) + rng.randrange(99))
        put_lines(objects, spec, number, lines)
        return Instance(spec, objects, "limit", first + at, what="long line")
    if way == 3:
        objects[f"segments/{first}.json"] += b" " * (1 << 20)
        return Instance(spec, objects, "limit", first, what="manifest")
    if way == 4:
        objects[f"checkpoints/{size}"] += b"x" * 20000
        return Instance(spec, objects, "limit", first, what="checkpoint")
    if way == 5:
        objects["checkpoint"] += b"x" * 20000
        return Instance(spec, objects, "limit", spec.firsts()[-1], what="newest checkpoint")
    empty = struct.pack("<I", 0)[:3] * rng.choice([200000, 400000])   # raw blocks of 0 bytes
    objects[name] = bytes.fromhex("28b52ffd2000") + empty + b"\1\0\0"
    return Instance(spec, objects, "limit", first, what="packed size")


def t18(rng, pool):
    """Ciphertext replaced after its key was destroyed."""
    while True:
        spec, objects = pool.pick(rng)
        number, first = segment_of(rng, spec)
        lines = list(spec.segments[number].lines)
        ciphers = [i for i, line in enumerate(lines) if b'"$aead":"' in line]
        if ciphers:
            break
    at = rng.choice(ciphers)
    begin, _ = lines[at].split(b'"$aead":"')
    lines[at] = begin + b'"$aead":"' + b64(rng.randbytes(24)).encode() + b'"}}'
    put_lines(objects, spec, number, lines)
    return Instance(spec, objects, "leaf", first + at)


def t19(rng, pool):
    """A gap record taken out to hide a loss."""
    del pool
    while True:
        spec = random_spec(rng, most=120)
        gaps = [(n, i) for n, s in enumerate(spec.segments) for i, line in enumerate(s.lines)
                if b'"kind":"gap"' in line]
        if gaps:
            break
    number, at = rng.choice(gaps)
    first = spec.firsts()[number]
    if rng.random() < .4:
        objects, lines = seal(spec), list(spec.segments[number].lines)
        gone = lines.pop(at)
        del gone
        put_lines(objects, spec, number, lines)
        return Instance(spec, objects, *first_difference(spec.segments[number].lines, lines, first),
                        what="no key")
    source = json.loads(spec.segments[number].lines[at])["source"]
    other = without(spec, number, at)
    for index in range(first + at, other.size()):
        record = json.loads(other.line(index))
        if record["kind"] in ("coverage", "gap") and record.get("source") == source:
            break
    if record["kind"] != "coverage":              # another gap behind it
        return t19(rng, None)
    return Instance(spec, seal(other), "position", index, what="with the key")


def t20(rng, pool):
    """Storage that shows one reader another history: what he kept tells."""
    spec, objects = pool.pick(rng)
    number, _ = segment_of(rng, spec)
    other, _ = changed(rng, spec, number)
    more = other.copy()
    fork = seal(more)
    ends = spec.firsts()[1:] + [spec.size()]
    seen = rng.choice(ends[number:])
    if rng.random() < .5:
        return Instance(spec, fork, "anchor", 0, [objects[f"checkpoints/{seen}"]])
    return Instance(spec, objects, "anchor", 0, [fork[f"checkpoints/{seen}"]])


ROWS = {f"T{i}": globals()[f"t{i}"] for i in range(1, 21)}
