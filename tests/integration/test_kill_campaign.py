"""kill -9 under load: what was committed is what was judged, nothing lost, nothing twice."""

import json
import os
import random
import time

from agent import Agent
from cases import case, equal, main, note, true
from servers import MockKafka, Postgres, distinct, wait_until

KILLS = int(os.environ.get("DGF_KILLS", "50"))
WAITING = 1000          # rows that are not acknowledged when the process dies

CONFIG = """
agent: {{name: campaign, env: test, data_dir: {{data_dir}}}}
sources:
  orders:
    type: postgres
    url: "{url}"
    tables: [public.rows]
    manage: true
policies: [policies]
sinks:
  events: {{type: kafka, brokers: ["{brokers}"], topic_prefix: dgf.test, linger: 5ms}}
"""
POLICY = """
version: 1
info: {title: Campaign, owner: tests@example.org}
policies:
  - id: BAD-001
    title: No bad rows
    severity: high
    watch: {objects: [public.rows]}
    when: after != null && after.bad == true
    message: "row {{after.id}} is bad"
    audit: every_event
"""
TOPICS = ["dgf.test.violations.v1:2", "dgf.test.audit.v1:2", "dgf.test.control.v1:1"]


def judged(agent):
    """key -> number of audit records, and the ids of violations."""
    counts, violations = {}, []
    for record in agent.records():
        if record["kind"] == "audit":
            key = record["event"]["key"]["id"]
            counts[key] = counts.get(key, 0) + 1
        elif record["kind"] == "violation":
            violations.append(record["event"]["key"]["id"])
    return counts, violations


@case
def fifty_kills_lose_nothing_and_judge_nothing_twice():
    rng = random.Random(4711)
    with Postgres() as pg, MockKafka(*TOPICS) as kafka:
        pg.sql("CREATE TABLE rows (id bigserial PRIMARY KEY, bad boolean NOT NULL)")
        agent = Agent(CONFIG.format(url=pg.socket_conninfo(), brokers=kafka.bootstrap),
                      {"campaign.yaml": POLICY})
        with agent:
            agent.wait_source("orders", "streaming")
            low, slow = None, 0.0
            for kill in range(KILLS):
                # stopped, it acknowledges nothing while rows are committed
                agent.pause()
                before = int(pg.sql("SELECT count(*) FROM rows"))
                pg.sql(f"""DO $$ BEGIN FOR i IN 1..{60 + rng.randrange(60)} LOOP
                    INSERT INTO rows (bad) SELECT random() < 0.1
                      FROM generate_series(1, 1 + floor(random() * 40)::int);
                    IF random() < 0.05 THEN ROLLBACK; ELSE COMMIT; END IF;
                    END LOOP; END $$""")
                waiting = int(pg.sql("SELECT count(*) FROM rows")) - before
                while waiting < WAITING:
                    pg.sql("INSERT INTO rows (bad) SELECT random() < 0.1 "
                           f"FROM generate_series(1, {WAITING})")
                    waiting += WAITING
                agent.resume()
                time.sleep(rng.random() * 0.03)
                agent.kill9()
                low = waiting if low is None else min(low, waiting)
                size = len(agent.lines())
                agent.start(wait=False)
                began = time.monotonic()
                wait_until(lambda: len(agent.lines()) > size + 2, 20, "the first new record",
                           every=0.02)
                slow = max(slow, time.monotonic() - began)
            rows = int(pg.sql("SELECT count(*) FROM rows"))
            wait_until(lambda: len(judged(agent)[0]) >= rows, 60,
                       lambda: f"{rows} rows, {len(judged(agent)[0])} judged", every=0.5)
            agent.wait(lambda s: s["sinks"]["events"]["next"] >= s["ledger"]["size"], 60)
            counts, violations = judged(agent)
            truth = {int(i): bad == "t" for i, bad in pg.rows("SELECT id, bad FROM rows")}
            equal(sorted(counts), sorted(truth), "judged rows")
            equal([k for k, n in counts.items() if n > 1], [], "rows judged twice")
            equal(sorted(violations), sorted(k for k, bad in truth.items() if bad), "violations")
            equal([r["reason"] for r in agent.records("gap")], [], "gaps")
            lines = {json.loads(line)["id"]: line.decode() for line in agent.lines()}
            sent = {}
            for topic in TOPICS:
                for message in distinct(kafka.read(topic.split(":")[0])):
                    sent[message.id] = message.value
            missing = [i for i in lines if i not in sent]
            equal(missing[:3], [], "records Kafka lacks")
            equal([i for i in sent if sent[i] != lines.get(i)][:3], [], "records that differ")
            equal(agent.verify()["result"], "ok")
            true(slow < 3, f"a restart took {slow:.1f} s to its first new record")
            note(f"{KILLS} kills, {rows} rows, at least {low} rows unacknowledged at each, "
                 f"slowest restart {slow * 1000:.0f} ms")


if __name__ == "__main__":
    main()
