"""The sink of the archive alone, against Azurite and a proxy that makes every mistake a storage
service can make: what a container holds is what was sealed, to the byte, or nothing is said to
be there.

tests/support/blob_sink_driver.c offers sets of files; here they are made."""

import base64
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import tempfile
import time

from azurite import Azurite, sas
from cases import case, equal, main, note, true
from entra import Entra
from fault_proxy import FaultProxy
from servers import BUILD, need, wait_until

LOG = "00112233445566778899aabbccddeeff"
PREFIX = "orders/"
_shared = []


def shared():
    """One Azurite for the whole file, ended by the last line of it."""
    if not _shared:
        _shared.append(Azurite().__enter__())
    return _shared[0]


def container():
    name = "e" + os.urandom(6).hex()
    shared().put_container(name)
    return name


class Sets:
    """Sealed sets in a folder: objects by name, in order, and the list for the driver."""

    def __init__(self, n, size=3000, tiles=5, seed="a"):
        self.folder = tempfile.TemporaryDirectory(prefix="dgf-sets-")
        self.objects, self.first, lines = {}, [], []
        at = 0
        for i in range(n):
            after = at + 100
            self.first.append(at)
            lines.append(f"set {at} {after}")
            segment = hashlib.shake_256(f"{seed}{i}".encode()).digest(size)
            root = hashlib.sha256(segment).hexdigest()
            made = [(f"segments/{at}.ndjson.zst", segment),
                    (f"state/{at}.enc", hashlib.sha256(segment[:100]).digest() * 5)]
            made += [(f"tile/0/x{i:03d}/{tile:03d}", hashlib.sha256(b"%d" % tile).digest() * 256)
                     for tile in range(tiles)]
            manifest = json.dumps({"v": 1, "first": at, "last": after - 1, "root_after": root},
                                  separators=(",", ":"))
            made += [(f"segments/{at}.json", manifest.encode() + b"\n")]
            checkpoint = f"dgf/driver/{LOG}\n{after}\n{base64.b64encode(root.encode())}\n".encode()
            made += [(f"checkpoints/{after}", checkpoint)]
            for name, content in made:
                lines.append(f"object {name} {self.write(name, content)} write")
                self.objects[name] = content
            path = self.write(f"checkpoint.{after}", checkpoint)
            lines.append(f"object checkpoint {path} replace")
            self.objects["checkpoint"] = checkpoint
            at = after
        self.end = at
        self.list = self.write("sets", "\n".join(lines).encode() + b"\n")

    def write(self, name, content):
        path = os.path.join(self.folder.name, name.replace("/", "_"))
        with open(path, "wb") as file:
            file.write(content)
        return path


class Driver:
    """One run of the sink; lines() is what it said."""

    def __init__(self, url, sets=None, *options, auth=None, seconds=60, insecure=True):
        tool = os.path.join(BUILD, "blob_sink_driver")
        need(os.access(tool, os.X_OK), f"'{tool}' is not built")
        self.log = tempfile.TemporaryFile("w+")  # pylint: disable=consider-using-with
        self.child = subprocess.Popen(
            [tool, "-u", url, "-p", PREFIX, *(["-i"] if insecure else []),
             *(auth or ["-k", shared().key]),
             "-t", str(seconds), *(["-s", sets.list] if sets else []), *map(str, options)],
            stdout=self.log, stderr=subprocess.STDOUT)

    def lines(self):
        here = os.fstat(self.log.fileno()).st_size
        return os.pread(self.log.fileno(), here, 0).decode().splitlines()

    def has(self, *parts):
        return next((line for line in self.lines() if all(part in line for part in parts)),
                    None)

    def wait(self, *parts, seconds=60):
        return wait_until(lambda: self.has(*parts), seconds, f"{parts} in {self.lines()[-5:]}")

    def end(self, code=0):
        self.child.wait(timeout=150)
        equal(self.child.returncode, code, f"exit code after {self.lines()[-5:]}")
        return self.lines()

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()


def held(name):
    """What a container holds below our prefix and log id."""
    below = f"{PREFIX}{LOG}/"
    return {path[len(below):]: shared().get_blob(f"{name}/{path}")
            for path in shared().list_blobs(name, below)}


def holds(name, sets):
    there = held(name)
    equal(sorted(there), sorted(sets.objects), "names")
    for path, content in sets.objects.items():
        true(there[path] == content, f"'{path}' has other bytes")


@case
def sets_become_objects_to_the_byte_and_the_checkpoint_is_last():
    name, sets = container(), Sets(3, size=300000)
    with FaultProxy(shared().blob_port) as proxy:
        lines = Driver(proxy.url(shared().account, f"/{name}"), sets, "-b", 65536).end()
    equal([line for line in lines if line.startswith("durable")],
          ["durable 100", "durable 200", "durable 300"], "progress")
    holds(name, sets)
    true(not [line for line in lines if line.startswith("fail")], f"no failure: {lines}")
    equal(len(shared().list_blobs(name)), len(sets.objects), "nothing else was written")
    # Of each set: all before the manifest was read back before the manifest was written,
    # the manifest before checkpoints/, and that before `checkpoint`.
    for first in sets.first:
        order = [(m, p.partition(LOG + "/")[2], s) for _, m, p, _, s, _ in proxy.log]
        manifest = order.index(("PUT", f"segments/{first}.json", 201))
        back = max(i for i, (m, p, s) in enumerate(order)
                   if m == "GET" and p == f"segments/{first}.ndjson.zst" and s in (200, 206))
        checkpoint = order.index(("PUT", f"checkpoints/{first + 100}", 201))
        true(back < manifest < checkpoint, f"order of the set from {first}")
        later = [i for i, (m, p, _) in enumerate(order) if m == "PUT" and p == "checkpoint"]
        true(any(i > checkpoint for i in later), "checkpoint follows")
    blocks = proxy.count("PUT", "segments/0.ndjson", 201, "comp=block&")
    equal(blocks, 5, "blocks of 64 KiB for 300,000 bytes")
    true(all(ident.startswith("dgf-") for *_, ident in proxy.log), "every request says it is ours")


@case
def what_is_there_is_compared_and_not_written_again():
    name, sets = container(), Sets(4)
    with FaultProxy(shared().blob_port) as proxy:
        url = proxy.url(shared().account, f"/{name}")
        Driver(url, sets).end()
        wrote = proxy.count("PUT", status=201)
        cursor = os.path.join(sets.folder.name, "cursor")
        lines = Driver(url, sets, "-c", cursor).end()     # as on a new machine
        equal(lines[0], "open 0", "without a cursor")
        equal(proxy.count("PUT", status=201), wrote, "objects written")
        asked = len(proxy.log)
        lines = Driver(url, sets, "-c", cursor, "-W", seconds=1).end(4)
        equal(lines[0], "open 400", "with its cursor")
        true(len(proxy.log) - asked <= 1, "nothing to ask for")
        equal(Driver(url, sets, "-c", cursor, "-l", "f" * 32).end()[0], "open 0",
              "a cursor of another log is void")
        # As after a kill between the last cursor and the end of the process.
        lines = Driver(url, sets, "-c", cursor, "-l", "f" * 32).end()
        equal([lines[0], lines[-1].split()[:2]], ["open 400", ["done", "400"]], "all was there")
    holds(name, sets)


@case
def a_checkpoint_never_goes_back():
    name, sets, oldest = container(), Sets(3), Sets(1)
    url = shared().url() + f"/{name}"
    Driver(url, sets).end()
    lines = Driver(url, oldest).end()                     # as after a cursor was lost
    true("durable 100" in lines, f"the old set is there: {lines}")
    holds(name, sets)


FAULTS = [
    # kind, arguments, which requests, what the sink says of it; None: perhaps nothing, since
    # the HTTP client asks again by itself when a kept connection turns out to be closed
    ("status", (500, "InternalError"), {"method": "PUT", "path": "segments/0.ndjson"},
     "500 InternalError (request fault)"),
    ("status", (503, "ServerBusy"), {"method": "GET", "path": "tile/"}, "503 ServerBusy"),
    ("status", (429, "TooManyRequests"), {"method": "PUT", "path": "tile/"}, "429 TooManyRequests"),
    ("status", (403, "AuthorizationFailure"), {"method": "PUT", "path": "state/"},
     "403 AuthorizationFailure (request fault); the archive needs the rights to read, write and "
     "list blobs"),
    ("status", (404, "ContainerNotFound"), {"method": "PUT", "path": "segments/0.json"},
     "404 ContainerNotFound (request fault); the container does not exist"),
    ("status", (409, "BlobImmutableDueToPolicy"), {"method": "PUT", "path": "/checkpoint$"},
     "use immutability of versions"),
    ("status", (412, "ConditionNotMet"), {"method": "PUT", "path": "/checkpoint$"},
     "somebody else replaced it meanwhile"),
    ("status", (404, "BlobNotFound"), {"method": "GET", "path": "state/"},
     "it was written and is not there"),
    ("cut_before", (), {"method": "PUT", "path": "segments/"}, None),
    ("cut_after", (), {"method": "PUT", "path": "segments/0.ndjson"}, None),
    ("cut_after", (), {"method": "PUT", "path": "checkpoints/"}, None),
    ("cut_after", (), {"method": "PUT", "path": "/checkpoint$"}, None),
    ("torn", (), {"method": "GET", "path": "tile/"}, "cannot read back 'tile/"),
    ("short", (), {"method": "GET", "path": "segments/100.ndjson"},
     "less came than was asked for"),
    ("hang", (), {"method": "PUT", "path": "segments/0.json"}, "cannot write 'segments/0.json'"),
    ("hang", (), {"method": "GET", "path": "state/"}, "cannot read back 'state/"),
]


@case
def answers_that_may_pass_are_repeated_and_lose_nothing():
    for kind, args, where, said in FAULTS:
        name, sets = container(), Sets(2)
        with FaultProxy(shared().blob_port) as proxy:
            fault = proxy.fault(kind, *args, **where)
            lines = Driver(proxy.url(shared().account, f"/{name}"), sets, "-T", 1500).end()
            what = f"{kind} {args} {where}"
            equal(fault.hits, 1, f"{what} was met")
            true(said is None or any(line.startswith("fail ") and said in line for line in lines),
                 f"{what}: '{said}' in {lines}")
            true(not any(line.startswith("alarm") for line in lines), f"{what}: no alarm")
            equal(lines[-2], "durable 200", what)
        holds(name, sets)


@case
def answers_that_may_pass_are_repeated_block_by_block():
    for kind, args, where in [
            ("status", (503, "ServerBusy"), {"method": "PUT", "query": "comp=block&", "skip": 2}),
            ("cut_after", (), {"method": "PUT", "query": "comp=block&", "skip": 3}),
            ("cut_after", (), {"method": "PUT", "query": "comp=blocklist"}),
            ("status", (500, "InternalError"), {"method": "PUT", "query": "comp=blocklist"}),
            ("status", (400, "InvalidBlockList"), {"method": "PUT", "query": "comp=blocklist"}),
            ("status", (503, "ServerBusy"), {"method": "HEAD"}),
            ("torn", (), {"method": "GET", "path": "ndjson.zst", "skip": 1}),
            ("status", (412, "ConditionNotMet"), {"method": "GET", "path": "ndjson.zst",
                                                  "skip": 1})]:
        name, sets = container(), Sets(1, size=400000)
        with FaultProxy(shared().blob_port) as proxy:
            fault = proxy.fault(kind, *args, **where)
            lines = Driver(proxy.url(shared().account, f"/{name}"), sets, "-b", 65536).end()
            equal(fault.hits, 1, f"{kind} {args} {where} was met")
            failures = sum(line.startswith("fail retry") for line in lines)
            true(failures == 1 or kind == "cut_after", f"{kind} {where}: {lines}")
        holds(name, sets)


@case
def a_storage_that_fails_one_request_in_eight_costs_time_only():
    rng = random.Random(6)
    name, sets = container(), Sets(3, size=150000, tiles=30)
    with FaultProxy(shared().blob_port) as proxy:
        kinds = [("status", 500, "InternalError"), ("status", 503, "ServerBusy"),
                 ("cut_before",), ("cut_after",), ("torn",), ("short",)]
        take = proxy.take

        def sometimes(method, path, query):
            if rng.random() < 0.125:
                proxy.fault(*rng.choice(kinds), method=method)
            return take(method, path, query)
        proxy.take = sometimes
        lines = Driver(proxy.url(shared().account, f"/{name}"), sets, "-b", 65536,
                       seconds=120).end()
        failures = sum(line.startswith("fail") for line in lines)
    true(failures >= 5, f"{failures} failures were met")
    true(not any(line.startswith("alarm") for line in lines), "no alarm")
    note(f"{failures} attempts of {len(proxy.log)} requests failed, nothing was lost")
    holds(name, sets)


@case
def another_history_under_the_same_names_is_a_fork():
    name, ours, theirs = container(), Sets(3), Sets(3, seed="b")
    url = shared().url() + f"/{name}"
    Driver(url, ours).end()
    lines = Driver(url, theirs).end(3)
    text = next(line for line in lines if line.startswith("fail"))
    roots = [json.loads(s.objects["segments/0.json"])["root_after"] for s in (ours, theirs)]
    true(text.startswith(f"fail fatal FORK: 'segments/0.json' in '{url}' is there with other "
                         f"content (root {roots[0]} there, {roots[1]} here) than this ledger has"),
         text)
    true("alarm fork" in lines, f"an alarm: {lines}")
    holds(name, ours)                                     # nothing was written over


@case
def a_fork_is_seen_in_whatever_object_it_shows():
    for victim in ("segments/0.ndjson.zst", "state/0.enc", "tile/0/x000/002", "checkpoints/100"):
        name, sets = container(), Sets(1)
        shared().put_blob(f"{name}/{PREFIX}{LOG}/{victim}", b"of somebody else")
        lines = Driver(shared().url() + f"/{name}", sets).end(3)
        true(any(f"FORK: '{victim}'" in line for line in lines), f"{victim}: {lines}")
        true("alarm fork" in lines and "durable 100" not in lines, f"{victim}: {lines}")
        equal(held(name)[victim], b"of somebody else", "was written over")
    name, sets = container(), Sets(1)                     # another checkpoint of this size
    other = Sets(1, seed="b").objects["checkpoint"]
    shared().put_blob(f"{name}/{PREFIX}{LOG}/checkpoint", other)
    lines = Driver(shared().url() + f"/{name}", sets).end(3)
    true(any("FORK: 'checkpoint'" in line for line in lines), f"checkpoint: {lines}")
    equal(held(name)["checkpoint"], other, "was written over")


@case
def other_bytes_on_reading_back_are_an_alarm_of_their_own():
    for path, options in (("segments/0.ndjson.zst", ()), ("segments/0.ndjson.zst", ("-b", 65536)),
                          ("tile/0/x000/003", ()), ("segments/0.json", ()), ("/checkpoint$", ())):
        name, sets = container(), Sets(1, size=200000)
        with FaultProxy(shared().blob_port) as proxy:
            fault = proxy.fault("alter", method="GET", path=path, times=-1)
            lines = Driver(proxy.url(shared().account, f"/{name}"), sets, *options).end(3)
            true(fault.hits >= 1, "it was read back")
        shown = path.strip("/$")
        true(any(line.startswith(f"fail fatal ALTERED: '{shown}'") for line in lines),
             f"{path}: {lines}")
        true("alarm altered" in lines, f"{path}: {lines}")
        true("durable 100" not in lines, f"{path}: {lines}")
    # Found later: the object says it was made of our bytes, and has others.
    name, sets = container(), Sets(1)
    segment = sets.objects["segments/0.ndjson.zst"]
    shared().put_blob(f"{name}/{PREFIX}{LOG}/segments/0.ndjson.zst", segment[:-1] + b"?",
                      x_ms_meta_dgfhead=hashlib.sha256(segment).hexdigest())
    lines = Driver(shared().url() + f"/{name}", sets).end(3)
    true(any("ALTERED: 'segments/0.ndjson.zst'" in line and
             f"from byte {len(segment) - 1} on" in line for line in lines), f"{lines}")


@case
def an_outage_is_waited_out():
    name, sets = container(), Sets(2)
    with FaultProxy(shared().blob_port) as proxy:
        proxy.down()
        driver = Driver(proxy.url(shared().account, f"/{name}"), sets)
        driver.wait("fail retry", "cannot read", "cannot connect")
        driver.wait("state bad")
        proxy.up()
        equal(driver.end()[-2], "durable 200", "after the outage")
    holds(name, sets)


@case
def a_missing_container_is_waited_for():
    sets, name = Sets(1), "e" + os.urandom(6).hex()
    driver = Driver(shared().url() + f"/{name}", sets)
    driver.wait("fail", "404 ContainerNotFound", "the container does not exist")
    shared().put_container(name)
    driver.end()
    holds(name, sets)


@case
def a_sink_killed_at_any_time_ends_with_the_same_objects():
    rng = random.Random(3)
    name, sets = container(), Sets(6, size=200000, tiles=10)
    cursor = os.path.join(sets.folder.name, "cursor")
    url, kills, lines = shared().url() + f"/{name}", 0, []
    while kills < 12:
        driver = Driver(url, sets, "-b", 65536, "-c", cursor)
        time.sleep(rng.uniform(0.02, 0.5))
        if driver.child.poll() is not None:
            break
        driver.kill()
        kills += 1
        lines += driver.lines()
    lines += Driver(url, sets, "-b", 65536, "-c", cursor).end()
    true(not any(line.startswith(("alarm", "wrong")) for line in lines), f"{lines}")
    note(f"{kills} kills")
    true(kills >= 3, "it was killed while it worked")
    holds(name, sets)


@case
def memory_is_bounded_by_the_size_of_a_block():
    name, sets = container(), Sets(1, size=64 << 20, tiles=40)
    lines = Driver(shared().url() + f"/{name}", sets, seconds=120).end()
    peak = int(re.search(r"rss_anon_peak_kb (\d+)", lines[-1]).group(1))
    note(f"64 MiB in blocks of 4 MiB: {peak} kB of anonymous memory")
    true(peak < 24 << 10, f"{peak} kB of anonymous memory")
    there = shared().get_blob(f"{name}/{PREFIX}{LOG}/segments/0.ndjson.zst")
    true(there == sets.objects["segments/0.ndjson.zst"], "its bytes")


@case
def a_sas_with_four_rights_is_enough_and_less_is_named():
    name, sets = container(), Sets(2, size=200000)
    url = shared().url() + f"/{name}"
    Driver(url, sets, "-b", 65536, auth=["-S", sas(shared(), name, "rcwl")]).end()
    holds(name, sets)
    lines = Driver(url, None, "-C", auth=["-S", sas(shared(), name, "rcwl")]).end()
    true(not any("finding error" in line for line in lines), f"{lines}")
    lines = Driver(url, None, "-C", auth=["-S", sas(shared(), name, "r")]).end()
    for right in ("list", "write"):
        true(any(f"we may not {right} in '{url}': 403 " in line and
                 "| auth: sas: make a SAS with sp=rcwl" in line for line in lines),
             f"{right}: {lines}")
    true(not any("we may not read" in line for line in lines), f"{lines}")
    lines = Driver(url, sets, auth=["-S", sas(shared(), name, "rl", -60)], seconds=2).end(4)
    true(any(line.startswith("fail") and "403" in line for line in lines), f"expired: {lines}")


@case
def entra_tokens_over_tls_are_a_way_in_and_a_refused_one_is_explained():
    sets = Sets(2)
    with Azurite(tls=True) as azurite, Entra(azurite.crt, azurite.crt_key) as entra:
        azurite.put_container("evidence")
        federated = sets.write("token", b"assertion-1")
        auth = ["-w", federated, "-A", entra.url, "-n", "tenant", "-o", "client",
                "-a", azurite.certs.ca]
        url = azurite.url() + "/evidence"
        entra.refusal = "AADSTS700024: Client assertion is not within its valid time range."
        driver = Driver(url, sets, auth=auth, insecure=False)
        text = driver.wait("fail", "AADSTS700024")
        true("assertion-1" not in text, text)
        entra.refusal = None
        driver.end()
        equal({form["client_assertion"] for form in entra.asked}, {"assertion-1"}, "assertions")
        equal(entra.asked[-1]["path"], "/tenant/oauth2/v2.0/token", "tenant")
        good = sum(1 for form in entra.asked)
        equal(len(azurite.list_blobs("evidence")), len(sets.objects), "objects")
        lines = Driver(url, None, "-C", auth=auth, insecure=False).end()
        true(not any("finding error" in line for line in lines), f"{lines}")
        true(len(entra.asked) == good + 1, "one token serves many requests")
        with open(federated, "wb") as file:                # rotated: read again
            file.write(b"assertion-2\n")
        Driver(url, None, "-C", auth=auth, insecure=False).end()
        equal(entra.asked[-1]["client_assertion"], "assertion-2", "the newest")
        lines = Driver(url.replace("127.0.0.1", "127.0.0.2"), sets, auth=auth, insecure=False,
                       seconds=1).end(4)                   # a host the certificate does not name
        true(any(line.startswith("fail") for line in lines), f"{lines}")


@case
def check_names_what_is_missing_and_changes_nothing():
    name = container()
    url = shared().url() + f"/{name}"
    lines = Driver(url, None, "-C").end()
    equal(lines, [f"finding note sinks.vault (blob): container '{url}' has no immutability policy: "
                  "whoever may delete there can delete the archive | az storage container-rm "
                  f"create --storage-account {shared().account} --name {name} --enable-vlw"],
          "a container without protection")
    equal(shared().list_blobs(name), [], "check wrote something")
    shared().set_access(name, "container")
    lines = Driver(url, None, "-C").end()
    true(any(f"finding warning sinks.vault (blob): anybody can read container '{url}'" in line and
             "--public-access off" in line for line in lines), f"{lines}")
    lines = Driver(shared().url() + "/nothere", None, "-C").end()
    equal(lines, [f"finding error sinks.vault (blob): container '{shared().url()}/nothere' does not "
                  "exist; segments wait on the disk | az storage container create "
                  f"--account-name {shared().account} --name nothere"], "no container")
    lines = Driver(url, None, "-C", auth=["-k", "A" * 86 + "=="]).end()
    shared().set_access(name)
    true(any("we may not write" in line and "| auth: key: write a key" in line for line in lines),
         f"{lines}")
    lines = Driver(url, None, "-C", auth=["-k", "A" * 86 + "=="]).end()
    true(len(lines) == 1 and "we may not list" in lines[0], f"one wrong key: {lines}")
    with FaultProxy(shared().blob_port) as proxy:
        proxy.down()
        lines = Driver(proxy.url(shared().account, f"/{name}"), None, "-C").end()
        true(lines[0].startswith("fail retry cannot reach"), f"{lines}")


if __name__ == "__main__":
    try:
        main()
    finally:
        for server in _shared:
            server.__exit__(None, None, None)
