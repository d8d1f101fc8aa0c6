"""The shell blocks of README.md, run word for word in one shell."""

import os
import re
import shutil
import subprocess
import tempfile
import time

from cases import case, equal, main, true
from servers import BUILD, TOP, need


def shell_blocks():
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as file:
        return re.findall(r"^```sh\n(.*?)^```", file.read(), re.M | re.S)


def run_blocks(blocks, folder):
    """What each block printed; the first that fails ends it."""
    marks = [f"-- end of block {i} --" for i in range(len(blocks))]
    script = "set -e\n" + "".join(f"{block}echo '{mark}'\n" for block, mark in zip(blocks, marks))
    env = dict(os.environ, DGF_NO_INSTALL="1")      # the packages are there already
    env.pop("DGF_BUILD", None)
    path = os.path.join(folder, "printed")      # no pipe: what runs on would hold it open
    with open(path, "wb") as out:
        subprocess.run(["bash", "-c", script], cwd=folder, env=env, timeout=300, stdout=out,
                       stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, check=False)
    with open(path, encoding="utf-8", errors="replace") as out:
        texts, rest = [], out.read()
    for mark in marks:
        text, found, rest = rest.partition(mark + "\n")
        true(found, f"block {len(texts) + 1} of README.md failed:\n{text}")
        texts.append(text)
    return texts


@case
def a_demonstration_that_was_kept_is_not_forgotten_by_the_next():
    with tempfile.TemporaryDirectory(prefix="dgf-kept-") as build:
        os.mkdir(os.path.join(build, "quickstart"))
        with open(os.path.join(build, "quickstart", "env"), "w", encoding="utf-8") as file:
            file.write(f'export DEMO="{build}"\n')
        done = subprocess.run(["python3", os.path.join(TOP, "contrib", "quickstart.py"), "--keep"],
                              text=True, timeout=60, check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=dict(os.environ, DGF_BUILD=build))
        equal(done.returncode, 2, done.stdout + done.stderr)
        equal(done.stderr, f"quickstart: the one that was kept is still in {build}; end it first: "
                           f"{build}/quickstart/stop\n")


@case
def the_shell_blocks_of_the_readme_do_what_they_say():
    need(shutil.which("kcat"), "'kcat' is not installed (Debian package: kcat)")
    folder = tempfile.mkdtemp(prefix="dgf-readme-")
    stop = os.path.join(folder, "build", "quickstart", "stop")
    try:
        for name in set(os.listdir(TOP)) - {"build"}:       # as in a clone, built in build/
            os.symlink(os.path.join(TOP, name), os.path.join(folder, name))
        os.symlink(BUILD, os.path.join(folder, "build"))
        texts = run_blocks(shell_blocks(), folder)
        equal(len(texts), 4, "shell blocks")
        start, seen, again, end = texts
        true("quickstart: " in start and "the ledger verifies" in start, start)
        true("CARD-001" in seen and "card number in shop.order_notes" in seen, seen)
        true(seen.count('"key":{"id":99}') == 1, f"not once in Kafka:\n{seen}")
        true(not re.search(r"4111.?1111.?1111.?1111", seen), f"a card number:\n{seen}")
        equal(again.split(), ["1", "1"], "records in the ledger after kill -9")
        true(re.search(r"^ok\b", end, re.M), end)
    finally:
        if os.path.exists(stop):
            subprocess.run([stop], check=False, timeout=60)
        shutil.rmtree(folder)


@case
def the_quickstart_shows_violations_and_leaves_nothing_behind():
    env = dict(os.environ, DGF_BUILD=BUILD, TMPDIR=tempfile.mkdtemp(prefix="dgf-quick-"))
    os.chmod(env["TMPDIR"], 0o755)
    env["DGF_TMP"] = env["TMPDIR"]
    try:
        done = subprocess.run([os.path.join(TOP, "contrib", "quickstart"), "--no-install"], env=env,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=240, check=False)
        equal(done.returncode, 0, done.stdout)
        for policy in ("CARD-001", "SOD-007", "AMOUNT-002"):
            equal(done.stdout.count(f"VIOLATION {policy}"), 1, f"{policy} in:\n{done.stdout}")
        equal(os.listdir(env["TMPDIR"]), [], "what it left behind")
    finally:
        shutil.rmtree(env["TMPDIR"], ignore_errors=True)


def quickstart_with(parts, *wanted):
    """Runs it; each text must be in what it prints once.  Answers that."""
    env = dict(os.environ, DGF_BUILD=BUILD, TMPDIR=tempfile.mkdtemp(prefix="dgf-quick-"))
    os.chmod(env["TMPDIR"], 0o755)
    env["DGF_TMP"] = env["TMPDIR"]
    try:
        done = subprocess.run([os.path.join(TOP, "contrib", "quickstart"), "--no-install", "--with",
                               parts], env=env, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=400, check=False)
        equal(done.returncode, 0, done.stdout)
        for text in wanted:
            equal(done.stdout.count(text), 1, f"{text} in:\n{done.stdout}")
        equal(os.listdir(env["TMPDIR"]), [], "what it left behind")
        return done.stdout
    finally:
        shutil.rmtree(env["TMPDIR"], ignore_errors=True)


OF_POSTGRES = ("VIOLATION CARD-001 (high): card number in shop.order_notes key 2",
               "VIOLATION SOD-007 (critical)", "VIOLATION AMOUNT-002 (medium)")
OF_AZURE = ("VIOLATION CARD-001 (high): card number in market.reviews key ",
            "VIOLATION CARD-002 (high): card number in uploads/tuesday.csv",
            "VIOLATION CARD-002 (high): card number in uploads/wednesday.csv")


@case
def the_quickstart_judges_five_databases_by_one_agent_and_one_policy_file():
    quickstart_with("redis,mongo,azure", *OF_POSTGRES,
                    "VIOLATION CARD-001 (high): card number in chat key ",
                    "VIOLATION CARD-001 (high): card number in support.tickets key 2", *OF_AZURE,
                    "15 transactions in 5 databases, 8 violations")


@case
def the_quickstart_with_azure_proves_a_violation_loses_its_disk_and_goes_on():
    shown = quickstart_with("azure", *OF_POSTGRES, *OF_AZURE,
                            "11 transactions in 3 databases, 6 violations")
    for found in ("    tampered: ", " at index ",
                  "goes on from the archive of log ",
                  "6 violations in the log that was lost, 2 in the one that goes on",
                  "    class ", ": the first record that this copy no longer proves",
                  "(stars: keys and passwords of the file are never shown",
                  "Cosmos DB and Blob Storage: az commands", " is gone; the same with --keep "):
        true(found in shown, f"'{found}' in:\n{shown}")
    asked = re.search(r"ledger prove -c dgf.yaml --sink vault (\d+) > violation.proof", shown)
    proven = re.search(r"    ok: the record is number (\d+) of the log", shown)
    true(asked and proven and asked.group(1) == proven.group(1), f"what was proven:\n{shown}")
    true("size 0" not in shown and "root 0000" not in shown, f"a size or root of nothing:\n{shown}")


@case
def the_quickstart_that_is_kept_says_how_to_drive_azure():
    """Its commands, run as it prints them, are judged."""
    folder = tempfile.mkdtemp(prefix="dgf-quick-")
    os.chmod(folder, 0o755)
    env = dict(os.environ, DGF_BUILD=BUILD, TMPDIR=folder, DGF_TMP=folder)
    stop = os.path.join(BUILD, "quickstart", "stop")
    try:
        done = subprocess.run([os.path.join(TOP, "contrib", "quickstart"), "--no-install", "--with",
                               "azure", "--keep"], env=env, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=400, check=False)
        equal(done.returncode, 0, done.stdout)
        commands = [line.strip() for line in done.stdout.splitlines() if '"$DRIVE"' in line]
        equal(len(commands), 2, done.stdout)
        read = f". {BUILD}/quickstart/env && "
        for command in commands:
            subprocess.run(["sh", "-c", read + command], check=True, timeout=60)
        wanted, shown, until = 'card number in uploads/friday.csv', "", time.monotonic() + 120
        while time.monotonic() < until and not (
                wanted in shown and shown.count("card number in market.reviews") == 1):
            shown = subprocess.run(
                ["sh", "-c", read + "dgf ledger cat -c $DEMO/dgf.yaml --kind violation"], env=env,
                text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                check=False).stdout
            time.sleep(0.5)
        true(wanted in shown and shown.count("card number in market.reviews") == 1, shown)
    finally:
        if os.path.exists(stop):
            subprocess.run([stop], check=False, timeout=60)
            shutil.rmtree(os.path.dirname(stop), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
