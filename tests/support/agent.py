"""The daemon as a process of a test: its folder, its configuration, its status, its ledger.

    agent = Agent(CONFIG_TEXT, policies={"p.yaml": POLICIES})
    with agent:                       # dgf run, ready when status.json stands
        agent.wait(lambda s: s["sources"]["orders"]["state"] == "streaming", 20)
        agent.kill9(); agent.start()
        agent.records(kind="violation")

The configuration may hold {dir}: the agent's own folder."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time

from record_schema import check_some
from servers import BUILD, Failed, Folder, Server, need, tail, wait_until

DGF = os.environ.get("DGF") or os.path.join(BUILD, "dgf")


class Agent(Server):
    def __init__(self, config, policies=None, data_dir=None, env=None, folder=None):
        need(os.access(DGF, os.X_OK), f"'{DGF}' is not built: run `make`")
        super().__init__("agent") if folder is None else self._share(folder)
        self.data_dir = data_dir or self.folder / "data"
        self.config = self.folder / "dgf.yaml"
        self.policies = self.folder / "policies"
        self.env = dict(os.environ, **(env or {}))
        os.makedirs(self.policies, exist_ok=True)
        self.write_config(config)
        for name, text in (policies or {}).items():
            self.write_policy(name, text)

    def _share(self, folder):
        """A second agent on the folder of another one."""
        self.folder, self.child = folder, None
        self.log = folder / "second.log"

    def write_config(self, text):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text.replace("{dir}", self.folder.path)
                       .replace("{data_dir}", self.data_dir))
        os.chmod(self.config, 0o600)

    def write_policy(self, name, text):
        with open(os.path.join(self.policies, name), "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, *args, wait=True):
        self.started = time.time()
        self.spawn([DGF, "run", "-c", self.config, *args], env=self.env, cwd=self.folder.path)
        if wait:
            self.wait(lambda status: True, 30)

    def exit_code(self, seconds=30):
        """Waits for the process to end by itself."""
        if not self.wait_gone(seconds):
            raise Failed(f"dgf is still running after {seconds} s:\n{tail(self.log)}")
        return self.child.returncode

    def reload(self):
        self.send(signal.SIGHUP)

    def status(self):
        """status.json as it is now, None when this process has not written one yet."""
        path = os.path.join(self.data_dir, "status.json")
        with contextlib.suppress(OSError, ValueError):
            if os.stat(path).st_mtime >= self.started - 0.01:
                with open(path, encoding="utf-8") as file:
                    return json.load(file)
        return None

    def wait(self, condition, seconds=30, what="status.json"):
        """Asks for fresh states until condition(status) is true; answers that status."""
        last = {"status": None, "asked": 0.0}

        def look():
            if not self.running():
                raise Failed(f"dgf ended with {self.child.returncode} while waiting for {what}:\n"
                             f"{tail(self.log)}")
            last["status"] = self.status()
            if last["status"] is not None:
                with contextlib.suppress(KeyError, TypeError):
                    if condition(last["status"]):
                        return last["status"]
                if time.monotonic() - last["asked"] > 0.2:
                    last["asked"] = time.monotonic()
                    self.send(signal.SIGUSR1)
            return None
        return wait_until(look, seconds, lambda: f"{what}; last: {last['status']}\n"
                                                 f"{tail(self.log)}")

    def wait_source(self, name, state, seconds=30):
        return self.wait(lambda s: s["sources"][name]["state"] == state, seconds,
                         f"source {name} to be {state}")

    def run(self, *args, check=True, seconds=120, text=True, stdin=None):
        """Another dgf command; the finished process."""
        done = subprocess.run([DGF, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=text, timeout=seconds, check=False, env=self.env,
                              cwd=self.folder.path, input=stdin)
        if check and done.returncode:
            raise Failed(f"dgf {' '.join(args)} ended with {done.returncode}: {done.stderr}")
        return done

    def lines(self):
        """The ledger's records as bytes, one a line."""
        out = self.run("ledger", "cat", "-c", self.config, text=False, seconds=600).stdout
        return out.splitlines()

    def records(self, kind=None, **wanted):
        """Records of the ledger as dicts; wanted: top-level fields that must be equal."""
        found = []
        for line in self.lines():
            record = json.loads(line)
            if kind in (None, record["kind"]) and \
                    all(record.get(k) == v for k, v in wanted.items()):
                found.append(record)
        return check_some(found)

    def wait_records(self, n, kind=None, seconds=30, **wanted):
        """Until at least n such records stand in the ledger; answers all of them."""
        last = []

        def look():
            last[:] = self.records(kind, **wanted)
            return len(last) >= n
        wait_until(look, seconds, lambda: f"{n} {kind or ''} records, there are {len(last)}\n"
                                          f"{tail(self.log)}", every=0.1)
        return last

    def verify(self):
        done = self.run("ledger", "verify", "-c", self.config, "--format", "json", check=False,
                        seconds=600)
        if done.returncode:
            raise Failed(f"dgf ledger verify ended with {done.returncode}: "
                         f"{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def stats(self):
        return json.loads(self.run("ledger", "stats", "-c", self.config, "--format",
                                   "json").stdout)

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def log_lines(self, **wanted):
        """Lines of the JSON log with these fields."""
        found = []
        for line in self.log_text().splitlines():
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict) and all(row.get(k) == v for k, v in wanted.items()):
                    found.append(row)
        return found

    def memory(self):
        """(resident bytes, anonymous bytes) of the process."""
        with open(f"/proc/{self.child.pid}/status", encoding="utf-8") as file:
            text = file.read()
        return tuple(int(re.search(rf"^{name}:\s+(\d+)", text, re.M).group(1)) * 1024
                     for name in ("VmRSS", "RssAnon"))

    def n_descriptors(self):
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def n_threads(self):
        return len(os.listdir(f"/proc/{self.child.pid}/task"))


__all__ = ["Agent", "DGF", "Folder"]
