"""An archive in a container, read back piece by piece: what commands verify and recover from."""

import hashlib
import os
import subprocess

from azurite import Azurite, sas
from cases import case, equal, main, true
from fault_proxy import FaultProxy
from servers import BUILD, need

LOG, OTHER = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"
MIB = 1 << 20
_shared = []


def shared():
    if not _shared:
        _shared.append(Azurite().__enter__())
    return _shared[0]


def container():
    name = "s" + os.urandom(6).hex()
    shared().put_container(name)
    return name


def run(url, *what, code=0, options=()):
    tool = os.path.join(BUILD, "blob_store_driver")
    need(os.access(tool, os.X_OK), f"'{tool}' is not built")
    done = subprocess.run([tool, "-u", url, "-k", shared().key, *options, *map(str, what)],
                          stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    equal(done.returncode, code, f"exit code of {what}: {done.stdout[-300:]}")
    return done.stdout.splitlines()


def says(content):
    return [f"bytes {len(content)} sha256 {hashlib.sha256(content).hexdigest()}"]


@case
def objects_are_read_whole_in_pieces_of_any_size():
    name = container()
    url = shared().url() + f"/{name}/orders"
    large = hashlib.shake_256(b"x").digest(5 * MIB + 17)
    for path, content in (("segments/0.ndjson.zst", large), ("checkpoint", b"one\ntwo\n"),
                          ("empty", b""), ("exact", large[:2 * MIB])):
        shared().put_blob(f"{name}/orders/{LOG}/{path}", content)
        for chunk in (7 * MIB, MIB + 1, 4096 if len(content) < MIB else 100000):
            equal(run(url, "read", path, chunk), says(content), f"{path} by {chunk}")
    equal(run(url, "read", "nothing", 10, code=3),
          [f"fail again there is no 'nothing' in '{shared().url()}/{name}'"], "missing")
    with FaultProxy(shared().blob_port) as proxy:
        through = proxy.url(shared().account, f"/{name}/orders")
        equal(run(through, "mixed", "segments/0.ndjson.zst", "exact", 100),
              [f"mixed {large[99]:02x} {large[99]:02x}"], "two in turn")
        equal(proxy.count("GET", "segments/0"), 1, "read ahead, and kept")


@case
def names_come_page_by_page():
    name = container()
    names = [f"tile/0/{i:04d}" for i in range(23)] + ["segments/0.json"]
    for path in names:
        shared().put_blob(f"{name}/{LOG}/{path}", path)
    shared().put_blob(f"{name}/elsewhere", b"")
    with FaultProxy(shared().blob_port) as proxy:
        proxy.rewrite = ("maxresults=1000", "maxresults=5")
        lines = run(proxy.url(shared().account, f"/{name}"), "list", "",
                    options=("-S", sas(shared(), name, "rl")))
        equal(proxy.count(query="maxresults=1000&prefix=.*marker="), 4, "pages after the first")
    equal(sorted(lines), sorted(f"{n} {len(n)}" for n in names), "all")
    equal(run(shared().url() + f"/{name}", "list", "segments/"), ["segments/0.json 15"], "some")
    equal(run(shared().url() + f"/{name}", "list", "none/"), [], "none")


@case
def the_only_log_is_found_and_of_several_one_is_asked_for():
    name = container()
    url = f"{shared().url()}/{name}"
    equal(run(url, "list", "", code=3), [f"fail bad config there is no archive in '{url}' below ''"],
          "an empty container")
    shared().put_blob(f"{name}/a/b/{LOG}/checkpoint", b"1")
    shared().put_blob(f"{name}/a/b/no-log/checkpoint", b"2")
    equal(run(url + "/a/b", "list", ""), ["checkpoint 1"], "by address")
    equal(run(url, "list", "", options=("-p", "a/b/")), ["checkpoint 1"], "by prefix")
    shared().put_blob(f"{name}/a/b/{OTHER}/checkpoint", b"123")
    equal(run(url + "/a/b", "list", "", code=3),
          [f"fail bad config '{url}' holds 2 logs; name one of them: {LOG}, {OTHER}"], "two")
    equal(run(url + "/a/b", "list", "", options=("-l", OTHER)), ["checkpoint 3"], "by log id")
    equal(run(f"{url}/a/b/{OTHER}", "list", ""), ["checkpoint 3"], "by address")
    equal(run(url, "list", "", code=3, options=("-l", "x")),
          ["fail bad config a log id has 32 hexadecimal digits, and 'x' has not"], "no log id")


@case
def what_is_read_soon_is_asked_for_at_once_and_is_the_same():
    name = container()
    large = hashlib.shake_256(b"z").digest(3 * MIB)
    sizes = [0, 1, 65535, 65536, 65537, 131072, 2 * MIB, 3 * MIB] + [1000 + i for i in range(60)]
    names = [f"o/{i:02d}" for i in range(len(sizes))]
    for path, size in zip(names, sizes):
        shared().put_blob(f"{name}/{LOG}/{path}", large[:size])
    expected = [line for size in sizes for line in says(large[:size])]
    with FaultProxy(shared().blob_port) as proxy:
        url = proxy.url(shared().account, f"/{name}/{LOG}")
        proxy.fault("delay", 0.2, times=-1, path="/o/")
        equal(run(url, "ahead", 4 * MIB, *names), expected, "more than are asked for at once")
        true(proxy.busiest >= 8, f"{proxy.busiest} requests at once")
        proxy.clear()
        for chunk in (1000, 65536, 100000):
            equal(run(url, "ahead", chunk, *names[:9]), expected[:9], f"by {chunk}")
        for kind, *args in (("status", 503, "ServerBusy"), ("torn",), ("short",), ("cut_before",),
                            ("cut_after",)):
            fault = proxy.fault(kind, *args, method="GET", times=3, skip=2, path="/o/")
            equal(run(url, "ahead", MIB, *names[:12]), expected[:12], kind)
            equal(fault.hits, 3, kind)
        equal(run(url, "ahead", MIB, names[1], "nothing", code=3),
              expected[1:2] + [f"fail again there is no 'nothing' in '"
                               f"{proxy.url(shared().account, '/' + name)}'"], "missing")


@case
def a_server_that_fails_now_and_then_is_asked_again():
    name = container()
    content = hashlib.shake_256(b"y").digest(7 * MIB)
    shared().put_blob(f"{name}/{LOG}/segments/0.ndjson.zst", content)
    with FaultProxy(shared().blob_port) as proxy:
        url = proxy.url(shared().account, f"/{name}/{LOG}")
        for kind, *args in (("status", 503, "ServerBusy"), ("status", 500, "InternalError"),
                            ("torn",), ("short",), ("cut_before",)):
            fault = proxy.fault(kind, *args, method="GET", skip=1)
            equal(run(url, "read", "segments/0.ndjson.zst", MIB), says(content), kind)
            equal(fault.hits, 1, kind)
        proxy.fault("status", 503, "ServerBusy", times=-1)
        equal(run(url, "read", "segments/0.ndjson.zst", MIB, code=3),
              [f"fail retry cannot read 'segments/0.ndjson.zst' in '{url[:-33]}': 503 ServerBusy "
               "(request fault)"], "for good")


@case
def what_a_person_must_mend_is_said_at_once():
    name = container()
    url = f"{shared().url()}/{name}/{LOG}"
    shared().put_blob(f"{name}/{LOG}/checkpoint", b"1")
    lines = run(url, "read", "checkpoint", 10, code=3, options=("-k", "A" * 86 + "=="))
    true(lines[0].startswith("fail bad config we may not read 'checkpoint' in ") and
         "403 " in lines[0], f"{lines}")
    lines = run(f"{shared().url()}/nothere", "list", "", code=3)
    equal(lines, [f"fail bad config container '{shared().url()}/nothere' does not exist"], "none")
    lines = run("ftp://x/y", "list", "", code=3)
    equal(lines, ["fail bad config 'ftp://x/y' is no address of a container: it must be "
                  "https://ACCOUNT.blob.core.windows.net/CONTAINER"], "no address")
    with FaultProxy(shared().blob_port) as proxy:     # replaced between two pieces
        through = proxy.url(shared().account, f"/{name}/{LOG}")
        shared().put_blob(f"{name}/{LOG}/large", bytes(3 * MIB))
        fault = proxy.fault("status", 412, "ConditionNotMet", method="GET", skip=1)
        lines = run(through, "read", "large", MIB, code=3)
        equal(fault.hits, 1, "asked under its ETag")
        true("was changed while it was read" in lines[0], f"{lines}")
        proxy.fault("status", 200, "", method="GET", query="comp=list")
        lines = run(through[:-33], "list", "", code=3)    # an answer that is no list
        true("fail" in lines[0] and "no archive" in lines[0], f"{lines}")


if __name__ == "__main__":
    try:
        main()
    finally:
        for server in _shared:
            server.__exit__(None, None, None)
