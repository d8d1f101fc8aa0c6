"""The PostgreSQL source alone: pg_source_driver, its calls as dicts.

    with Source(pg, tables="[shop.*]") as source:
        source.wait(lambda line: line.get("state") == "streaming")
        source.changes()"""

import json
import os
import subprocess
import threading

from servers import BUILD, Failed, Server, need, tail, wait_until

DRIVER = os.path.join(BUILD, "pg_source_driver")


class Source(Server):
    """options: further options of the source as YAML flow text; args: of the driver."""

    def __init__(self, pg, options="", args=(), db="postgres", user="dgf",
                 password="dgf-secret"):
        need(os.access(DRIVER, os.X_OK),
             f"'{DRIVER}' is not built: run `make pg_source_driver`")
        super().__init__("source")
        url = pg.conninfo(user, password, db=db)
        self.yaml = f'{{url: "{url}", status_interval: 1s{options}}}'
        self.args, self.lines = list(args), []

    def start(self):
        self.lines = []
        self.spawn([DRIVER, *self.args, self.yaml], text=True, stdin=subprocess.PIPE,
                   stdout=subprocess.PIPE)
        threading.Thread(target=self._read, args=(self.child, self.lines), daemon=True).start()

    @staticmethod
    def _read(child, lines):
        for line in child.stdout:
            lines.append(json.loads(line))

    def tell(self, line):
        """pause, resume, durable N, durable all, reopen, quit"""
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def wait(self, condition, seconds=30, what="a line of the source"):
        """The first line for which condition is true."""
        def look():
            found = next((line for line in list(self.lines) if condition(line)), None)
            if found is None and not self.running():
                raise Failed(f"the source ended with {self.child.returncode} while waiting for "
                             f"{what}: {self.lines[-3:]} {tail(self.log)}")
            return found
        return wait_until(look, seconds, lambda: f"{what}; last: {self.lines[-3:]}")

    def streaming(self):
        return self.wait(lambda line: line.get("state") == "streaming", what="streaming")

    def events(self, kind=None, **wanted):
        return [line for line in list(self.lines) if "event" in line and
                kind in (None, line["event"]) and
                all(line.get(k) == v for k, v in wanted.items())]

    def changes(self, **wanted):
        return self.events("change", **wanted)

    def wait_changes(self, n, seconds=30):
        wait_until(lambda: len(self.changes()) >= n, seconds,
                   lambda: f"{n} changes; there are {len(self.changes())}: {self.lines[-3:]}")
        return self.changes()

    def until_transaction(self, n=1, seconds=30):
        """After the end of n transactions."""
        wait_until(lambda: len(self.events("transaction")) >= n, seconds,
                   lambda: f"the end of {n} transactions: {self.lines[-3:]}")
