"""What a real server never sends: an `undecodable` record, or a stop; never skipped."""

import struct

import shop
from agent import Agent
from cases import case, equal, main, true
from fake_postgres import FakePostgres, Raw, STARTED, begin, commit, relation, row
from servers import wait_until

AT = 0x2000                         # commit LSN of the transaction we send


def watch(fake):
    text = f"""agent: {{name: test, env: test, data_dir: "{{data_dir}}"}}
sources:
  shop: {{type: postgres, url: "{fake.url}", insecure: true, slot: existing,
         status_interval: 1s}}
policies: [{{dir}}/policies]
"""
    return Agent(text, policies={"shop.yaml": shop.POLICY})


def stopped(stream):
    """The reason the source stopped for; what was judged before it, and how often it tried."""
    with FakePostgres(stream) as fake, watch(fake) as agent:
        status = agent.wait(lambda s: s["sources"]["shop"]["state"] == "stopped", 20)
        true(status["health"] != "ok", "health is ok")
        judged = shop.judged(shop.parse(agent))
        true(all(lsn <= STARTED for lsn in fake.confirmed), f"acknowledged {fake.confirmed}")
        equal(fake.sessions, 1, "sessions")
        return status["sources"]["shop"]["reason"], judged


@case
def a_value_that_is_none_is_a_record_and_the_rows_around_it_are_judged():
    rows = [row("1", "1", "a"), row("2", "not a number", "secret-canary"), row("3", "-1", "c"),
            row("x", "1", None), row("5", "1", None)]
    with FakePostgres([begin(AT), relation(), *rows, commit(AT)]) as fake, watch(fake) as agent:
        wait_until(lambda: AT + 8 in fake.confirmed, 20, "the transaction to be acknowledged")
        equal(shop.judged(shop.parse(agent)), [1, 3, 5])
        equal([(r["why"], r["event"]["position"] if "event" in r else r["position"])
               for r in agent.records("undecodable")],
              [("not an integer of its width", "1/0/2000.2"),
               ("not an integer of its width", "1/0/2000.4")])
        true(b"secret-canary" not in b"".join(agent.lines()), "content stands in a record")
        true("secret-canary" not in agent.log_text(), "content stands in the log")


@case
def a_message_of_an_unknown_type_stops_the_source():
    reason, judged = stopped([begin(AT), relation(), row("1", "1", "a"), b"Sxyz",
                              row("2", "1", "b"), commit(AT)])
    true(reason.startswith("unknown message type 0x53, 4 bytes, after 0/"), reason)
    equal(judged, [1])


@case
def a_message_that_is_cut_short_stops_the_source():
    reason, judged = stopped([begin(AT), relation(), row("1", "1", "a")[:-3], commit(AT)])
    true(reason.startswith("message 'I' of 23 bytes is cut short or malformed"), reason)
    equal(judged, [])


@case
def a_row_of_a_table_nobody_announced_stops_the_source():
    reason, judged = stopped([begin(AT), relation(), row("1", "1", "a"),
                              row("2", "1", "b", oid=99), commit(AT)])
    true("is about relation 99 in a way the server did not announce" in reason, reason)
    equal(judged, [1])
    reason, _ = stopped([begin(AT), relation(), row("1", "1"), commit(AT)])
    true("is about relation 16385 in a way the server did not announce" in reason, reason)


@case
def transactions_out_of_order_stop_the_source():
    equal(stopped([begin(AT), begin(AT + 64)])[0], "a transaction begins inside a transaction")
    equal(stopped([begin(AT), relation(), commit(AT + 64)])[0],
          "a transaction ends that did not begin")
    equal(stopped([commit(AT)])[0], "a transaction ends that did not begin")
    equal(stopped([row("1", "1", "a")])[0], "message 'I' of 26 bytes outside of a transaction")


@case
def a_replication_message_nobody_knows_stops_the_source():
    equal(stopped([Raw(b"q123")])[0], "unknown replication message 0x71 of 4 bytes")
    equal(stopped([Raw(b"k" + struct.pack(">QqB", AT, 0, 0)[:-1])])[0], "keepalive of 17 bytes")


if __name__ == "__main__":
    main(parallel=True)
