"""Records in a file: each once, in order, through kills, torn lines and a missing folder."""

import json
import os
import tempfile

import shop
from cases import case, equal, main, true
from servers import Postgres


def file_sink(path, options=""):
    return f'sinks:\n  lines: {{type: file, path: "{path}"{options}}}\n'


def lines_of(path):
    with open(path, "rb") as file:
        return file.read().splitlines()


@case
def a_file_holds_every_record_once_whatever_kills_the_agent():
    with Postgres() as pg, tempfile.TemporaryDirectory(prefix="dgf-lines-") as folder:
        shop.prepare(pg)
        path = os.path.join(folder, "records.ndjson")
        with shop.watch(pg, file_sink(path)) as agent:
            agent.wait_source("shop", "streaming")
            for i in range(8):
                shop.insert(pg, 1 + 500 * i, 500, per_tx=50)
                agent.kill9()
                if i % 2:           # as a power cut leaves it
                    with open(path, "ab") as file:
                        file.write(b'{"v":1,"seq":')
                agent.start()
            shop.wait_judged(agent, pg)
            shop.wait_delivered(agent, "lines")
            equal(lines_of(path), agent.lines(), "lines of the file and of the ledger")
            equal(shop.same_rows(pg, shop.parse(agent)), 4000)


@case
def a_selection_sends_what_it_names_and_the_rest_stays_in_the_ledger():
    with Postgres() as pg, tempfile.TemporaryDirectory(prefix="dgf-lines-") as folder:
        shop.prepare(pg)
        path = os.path.join(folder, "bad.ndjson")
        sink = file_sink(path, ", select: {kinds: [violation], min_severity: high}")
        with shop.watch(pg, sink) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 5)
            shop.insert(pg, 6, 2, value="-1")
            shop.wait_judged(agent, pg)
            shop.wait_delivered(agent, "lines")
            found = [json.loads(line) for line in lines_of(path)]
            equal([(r["kind"], r["event"]["key"]["id"]) for r in found],
                  [("violation", 6), ("violation", 7)])
            equal(len(agent.records("audit")), 7)


@case
def a_file_that_selects_little_is_not_overtaken_by_what_it_passed_over():
    with Postgres() as pg, tempfile.TemporaryDirectory(prefix="dgf-lines-") as folder:
        shop.prepare(pg)
        sink = file_sink(os.path.join(folder, "bad.ndjson"), ", select: {kinds: [violation]}")
        more = "ledger: {segment_bytes: 1MiB, keep: 0s, cut_every: 1s}\n"
        with shop.watch(pg, sink, more=more) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 1, value="-1")
            shop.insert(pg, 2, 5000, per_tx=500)
            shop.wait_judged(agent, pg)
            shop.wait_delivered(agent, "lines")
            agent.wait(lambda s: s["ledger"]["first"] > 100, 30, "the journal to be pruned")
            for _ in range(2):
                agent.kill9()
                agent.start()
                agent.wait_source("shop", "streaming")
            shop.insert(pg, 6000, 1, value="-1")
            shop.wait_judged(agent, pg)
            shop.wait_delivered(agent, "lines")
            equal([r for r in shop.parse(agent) if r["kind"] == "gap"], [])
            equal([json.loads(line)["event"]["key"]["id"]
                   for line in lines_of(os.path.join(folder, "bad.ndjson"))], [1, 6000])


@case
def a_folder_that_is_missing_is_named_and_waited_for():
    with Postgres() as pg, tempfile.TemporaryDirectory(prefix="dgf-lines-") as folder:
        shop.prepare(pg)
        path = os.path.join(folder, "later", "records.ndjson")
        with shop.watch(pg, file_sink(path)) as agent:
            said = agent.run("check", "-c", agent.config, check=False).stdout
            true("E0704" in said and path in said, said)
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 3)
            agent.wait(lambda s: path in s["sinks"]["lines"]["reason"], 30, "the sink's reason")
            os.mkdir(os.path.dirname(path))
            shop.wait_delivered(agent, "lines")
            equal(lines_of(path), agent.lines(), "lines of the file and of the ledger")


if __name__ == "__main__":
    main()
