"""What contrib/quickstart --with azure shows: the evidence archive in a container."""

import json
import os
import re
import shutil

import servers

SINK = """  vault:
    type: blob
    url: {url}/evidence
    auth: key
    key: {key}
    insecure: true          # a private Azurite; without it only https:// is taken
"""
LEDGER = "ledger: {cut_every: 1s}   # a signed checkpoint a second, so that there is something to see\n"
# What the classes of contrib/doc/ARCHIVE.md mean that one byte of a segment can give.
MEANS = {
    "segment": "the file of records is not the one whose hash was signed",
    "leaf": "a record is not the one whose hash is in the signed tree",
    "seq": "a record stands under the number of another one",
    "json": "what stands in place of a record is none",
}
OTHER = "see 'What is checked' in contrib/doc/ARCHIVE.md"
AFTERWARDS = ("INSERT INTO shop.order_notes VALUES (90, 'while nobody watched: 4111 1111 1111 1111');",
              "INSERT INTO shop.order_notes VALUES (91, 'and once more 5500 0000 0000 0004');")


class Narrator:
    """What quickstart.py prints with: say(text), show(command), plain(agent, *args)."""
    say = show = plain = None


def say(text=""):
    Narrator.say(text)


def show(command):
    Narrator.show(command)


def plain(agent, *args):
    return Narrator.plain(agent, *args)


def delivered(agent):
    """Until the container holds everything; its state in status.json."""
    size = agent.wait(lambda s: all(x["caught_up"] for x in s["sources"].values()),
                      60)["ledger"]["size"]
    return agent.wait(lambda s: s["sinks"]["vault"]["next"] >= size, 60,
                      "the container to hold everything")


def expect(done, code, word):
    if done.returncode != code or word not in done.stdout + done.stderr:
        raise servers.Failed(f"'{word}' and exit code {code} were expected, not {done.returncode}")


def objects(azurite, log):
    return [path for path in azurite.list_blobs("evidence") if path.startswith(log + "/")]


def copy_of(azurite, log, folder):
    """The container's objects as files, as anybody with the right to read can have them."""
    for path in objects(azurite, log):
        to = os.path.join(folder, path)
        os.makedirs(os.path.dirname(to), exist_ok=True)
        with open(to, "wb") as file:
            file.write(azurite.get_blob(f"evidence/{path}"))
    return os.path.join(folder, log)


def flip(folder):
    name = next(name for name in sorted(os.listdir(os.path.join(folder, "segments")))
                if name.endswith(".zst"))
    path = os.path.join(folder, "segments", name)
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 3)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    return name


def verified(agent, azurite, log, key):
    anchor = agent.folder / "anchor"
    with open(anchor, "wb") as file:
        file.write(azurite.get_blob(f"evidence/{log}/checkpoint"))
    say(f"    {len(objects(azurite, log))} objects; the newest checkpoint is kept elsewhere: "
        f"{anchor}")
    expect(plain(agent, "ledger", "verify", "-c", agent.config, "--sink", "vault", "--log", log,
                 "--key", key, "--anchor", anchor), 0, "ok")
    return anchor


def tampered(agent, azurite, log, key, anchor):
    say("\n== one byte of a copy is flipped")
    folder = copy_of(azurite, log, agent.folder / "copy")
    say(f"    in {flip(folder)}")
    done = plain(agent, "ledger", "verify", folder, "--key", key, "--anchor", anchor)
    expect(done, 1, "tampered")
    kind, index = re.search(r"^tampered: (\S+) at index (\d+):", done.stdout, re.M).groups()
    say(f"    class {kind}: {MEANS.get(kind, OTHER)};")
    say(f"    index {index}: the first record that this copy no longer proves. The container's own "
        "objects are as they were")


def proven(agent, log, key):
    say("\n== one violation is proven: line, proof and key, nothing else")
    lines = agent.run("ledger", "cat", "-c", agent.config, "--sink", "vault", "--log", log,
                      "--kind", "violation").stdout.splitlines()
    line, proof = lines[0], agent.folder / "violation.proof"
    index = str(json.loads(line)["seq"])
    show(f"ledger prove -c dgf.yaml --sink vault {index} > violation.proof")
    text = agent.run("ledger", "prove", "-c", agent.config, "--sink", "vault", "--log", log,
                     index).stdout
    with open(proof, "w", encoding="utf-8") as file:
        file.write(text)
    show(f"ledger check-proof violation.proof --key {key} < line")
    done = agent.run("ledger", "check-proof", proof, "--key", key, stdin=line, check=False)
    say("    " + (done.stdout + done.stderr).strip().replace("\n", "\n    "))
    expect(done, 0, "")
    return len(lines)


def lost(agent, azurite, pg, key):
    """Everything but the keys, which are kept in a safe place, is gone."""
    say("\n== the disk is lost: the data directory is deleted (its keys were kept elsewhere)")
    agent.kill9()
    for name in os.listdir(agent.data_dir):
        path = os.path.join(agent.data_dir, name)
        if name == "keys":
            for kept in os.listdir(path):
                if kept.startswith("signed-"):
                    os.unlink(os.path.join(path, kept))
        elif os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    pg.sql(AFTERWARDS[0])
    say(f"    {AFTERWARDS[0]}")
    expect(plain(agent, "ledger", "recover", "-c", agent.config, "--from", "vault"), 0,
           "goes on from the archive")
    show("run -c dgf.yaml &")
    agent.start()
    pg.sql(AFTERWARDS[1])
    say(f"    {AFTERWARDS[1]}")
    agent.wait_records(2, "violation", seconds=60)
    delivered(agent)
    log = agent.status()["ledger"]["log_id"]
    key = agent.log_lines(event="archive")[-1]["vkey"]
    verified(agent, azurite, log, key)
    return log


def show_archive(agent, azurite, pg, wanted, printers):
    """All of it; printers: say, show and plain of quickstart.py.  Answers how many violations
    both logs hold."""
    Narrator.say, Narrator.show, Narrator.plain = (staticmethod(f) for f in printers)
    say("\n== the evidence archive in a container")
    delivered(agent)
    log = agent.status()["ledger"]["log_id"]
    key = agent.log_lines(event="archive")[-1]["vkey"]
    say(f"    public key of this log: {key}")
    anchor = verified(agent, azurite, log, key)
    tampered(agent, azurite, log, key, anchor)
    before = proven(agent, log, key)
    second = lost(agent, azurite, pg, key)
    after = len(agent.run("ledger", "cat", "-c", agent.config, "--sink", "vault", "--log", second,
                          "--kind", "violation").stdout.splitlines())
    if (before, after) != (wanted, len(AFTERWARDS)):
        raise servers.Failed(f"{before} and {after} violations in the two logs of the container, "
                             f"not {wanted} and {len(AFTERWARDS)}")
    say(f"    {before} violations in the log that was lost, {after} in the one that goes on: "
        "none is missing, none stands twice")
    return before + after
