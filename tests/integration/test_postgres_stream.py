"""What the stream carries: every kind of row, message and position."""

import json
import re
import time

import shop
from cases import case, equal, main, true
from servers import Postgres, need, wait_until
from source import Source

GONE = {"$unavailable": "replica_identity"}
TOAST = {"$unavailable": "toast"}


def row(change):
    return change["op"], change.get("before"), change.get("after")


@case
def each_replica_identity_gives_what_it_can_and_no_more():
    with Postgres() as pg:
        pg.role()
        pg.sql("""
            CREATE SCHEMA shop; GRANT USAGE ON SCHEMA shop TO dgf;
            CREATE TABLE shop.d (id int PRIMARY KEY, t text);
            CREATE TABLE shop.f (id int PRIMARY KEY, t text);
            ALTER TABLE shop.f REPLICA IDENTITY FULL;
            CREATE TABLE shop.i (id int PRIMARY KEY, u int NOT NULL UNIQUE, t text);
            ALTER TABLE shop.i REPLICA IDENTITY USING INDEX i_u_key;
            CREATE TABLE shop.n (id int, t text);
            ALTER TABLE shop.n REPLICA IDENTITY NOTHING;
            CREATE PUBLICATION dgf FOR ALL TABLES""")
        with Source(pg) as source:
            source.streaming()
            pg.sql("""
                INSERT INTO shop.d VALUES (1, 'a'); UPDATE shop.d SET t = 'b';
                UPDATE shop.d SET id = 2; DELETE FROM shop.d;""")
            pg.sql("""
                INSERT INTO shop.f VALUES (1, 'a'); UPDATE shop.f SET t = NULL;
                DELETE FROM shop.f;""")
            pg.sql("""
                INSERT INTO shop.i VALUES (1, 7, 'a'); UPDATE shop.i SET t = 'b';
                UPDATE shop.i SET u = 8; DELETE FROM shop.i;""")
            pg.sql("INSERT INTO shop.n VALUES (1, NULL)")
            source.wait_changes(12)
            equal([row(c) for c in source.changes(object="shop.d")], [
                ("insert", None, {"id": 1, "t": "a"}),
                ("update", GONE, {"id": 1, "t": "b"}),
                ("update", {"id": 1, "t": GONE}, {"id": 2, "t": "b"}),
                ("delete", {"id": 2, "t": GONE}, None)])
            equal([row(c) for c in source.changes(object="shop.f")], [
                ("insert", None, {"id": 1, "t": "a"}),
                ("update", {"id": 1, "t": "a"}, {"id": 1, "t": None}),
                ("delete", {"id": 1, "t": None}, None)])
            equal([row(c) for c in source.changes(object="shop.i")], [
                ("insert", None, {"id": 1, "u": 7, "t": "a"}),
                ("update", GONE, {"id": 1, "u": 7, "t": "b"}),
                ("update", {"id": GONE, "u": 7, "t": GONE}, {"id": 1, "u": 8, "t": "b"}),
                ("delete", {"id": GONE, "u": 8, "t": GONE}, None)])
            equal([row(c) for c in source.changes(object="shop.n")], [
                ("insert", None, {"id": 1, "t": None})])
            keys = {c["object"]: [n for n, column in c["columns"].items() if column[2]]
                    for c in source.changes()}
            equal(keys, {"shop.d": ["id"], "shop.f": ["id"], "shop.i": ["u"], "shop.n": []})


@case
def a_large_value_that_did_not_change_is_unavailable_and_never_null():
    with Postgres() as pg:
        pg.role()
        pg.sql("""
            CREATE TABLE d (id int PRIMARY KEY, n int, big text, list text[]);
            ALTER TABLE d ALTER big SET STORAGE EXTERNAL, ALTER list SET STORAGE EXTERNAL;
            CREATE TABLE f (LIKE d INCLUDING ALL);
            ALTER TABLE f REPLICA IDENTITY FULL;
            CREATE PUBLICATION dgf FOR TABLE d, f""")
        with Source(pg) as source:
            source.streaming()
            for table in "df":
                pg.sql(f"INSERT INTO {table} VALUES (1, 1, repeat('x', 9000), "
                       f"ARRAY[repeat('y', 9000)]);"
                       f"UPDATE {table} SET n = 2; UPDATE {table} SET big = NULL")
            source.wait_changes(6)
            big, many = "x" * 9000, ["y" * 9000]
            equal([c["after"] for c in source.changes(object="public.d")], [
                {"id": 1, "n": 1, "big": big, "list": many},
                {"id": 1, "n": 2, "big": TOAST, "list": TOAST},
                {"id": 1, "n": 2, "big": None, "list": TOAST}])
            equal([c["after"] for c in source.changes(object="public.f")], [
                {"id": 1, "n": 1, "big": big, "list": many},
                {"id": 1, "n": 2, "big": big, "list": many},
                {"id": 1, "n": 2, "big": None, "list": many}])


@case
def a_truncate_of_several_tables_is_one_event_each():
    with Postgres() as pg:
        pg.role()
        pg.sql("""
            CREATE TABLE a (id serial PRIMARY KEY);
            CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
            CREATE TABLE c (id int); CREATE TABLE other (id int);
            CREATE PUBLICATION dgf FOR TABLE a, b, c, other""")
        with Source(pg, ', tables: ["public.?"]'.replace("?", "a") + "") as source:
            source.streaming()
            pg.sql("TRUNCATE a RESTART IDENTITY CASCADE")
            source.until_transaction(1)
            equal([c["object"] for c in source.changes()], ["public.a"])
        pg.sql("SELECT pg_drop_replication_slot('dgf_test')")
        with Source(pg, ", tables: [public.a, public.b, public.c]") as source:
            source.streaming()
            pg.sql("TRUNCATE a, c, other RESTART IDENTITY CASCADE; INSERT INTO c VALUES (1)")
            source.until_transaction(2)
            found = source.changes(op="truncate")
            equal(sorted(c["object"] for c in found), ["public.a", "public.b", "public.c"])
            equal({json.dumps(c["extra"]) for c in found},
                  {'{"cascade": true, "restart_identity": true}'})
            equal([c["tx_n"] for c in found], sorted({c["tx_n"] for c in found}))
            equal(len({c["id"] for c in found}), 3)
            pg.sql("TRUNCATE c")
            source.until_transaction(3)
            equal(source.changes(op="truncate")[-1]["extra"],
                  {"cascade": False, "restart_identity": False})


@case
def an_actor_message_names_who_until_the_transaction_ends():
    with Postgres() as pg:
        shop.prepare(pg)
        policy = shop.POLICY.replace("when: after.n < 0",
                                     'when: after.n < 0 && actor.name == "mallory"')
        with shop.watch(pg, policy=policy) as agent:
            agent.wait_source("shop", "streaming")
            emit = "SELECT pg_logical_emit_message(true, 'dgf.actor', '%s');"
            pg.sql("BEGIN;" + emit % '{"name": "mallory", "app": "till", "address": "10.0.0.7"}' +
                   "INSERT INTO shop.rows VALUES (1, -1); COMMIT;"
                   "BEGIN;" + emit % '{"name": "alice"}' +
                   "INSERT INTO shop.rows VALUES (2, -1); COMMIT;"
                   "BEGIN; INSERT INTO shop.rows VALUES (3, -1); COMMIT;")
            shop.wait_judged(agent, pg)
            found = agent.records("violation")
            equal([(r["event"]["key"]["id"], r["verdict"]) for r in found],
                  [(1, "violation"), (3, "review")])
            actor = found[0]["actor"]
            true(actor.pop("address").startswith("h1:"), "an address is shown as it is")
            equal(actor, {"name": "mallory", "app": "till", "how": "log_message", "sure": True})
            true("actor" not in found[1], "the actor outlived its transaction")


@case
def messages_of_others_are_counted_and_not_shown():
    with Postgres() as pg:
        shop.prepare(pg)
        with Source(pg) as source:
            source.streaming()
            pg.sql("BEGIN; SELECT pg_logical_emit_message(true, 'billing', 'secret-canary');"
                   "INSERT INTO shop.rows VALUES (1, 1); COMMIT;"
                   "SELECT pg_logical_emit_message(false, 'billing', 'secret-canary');"
                   "BEGIN; SELECT pg_logical_emit_message(true, 'dgf.actor', 'not json');"
                   "INSERT INTO shop.rows VALUES (2, 1); COMMIT;")
            source.until_transaction(2)
            equal([(m["extra"]["prefix"], m["extra"]["size"])
                   for m in source.events("message")],
                  [("billing", 13), ("billing", 13), ("dgf.actor", 8)])
            equal(len({m["id"] for m in source.events("message")}), 3)
            true("secret-canary" not in json.dumps(source.lines), "a message's content is shown")
            equal([c["after"]["id"] for c in source.changes()], [1, 2])


@case
def every_transaction_ends_in_an_event_of_its_own():
    with Postgres() as pg:
        shop.prepare(pg)
        with Source(pg) as source:
            source.streaming()
            shop.insert(pg, 1, 3)
            shop.insert(pg, 4, 4, per_tx=2)
            pg.sql("CREATE TABLE shop.unseen (i int); INSERT INTO shop.unseen VALUES (1)")
            pg.sql("INSERT INTO shop.rows VALUES (8, 1)")
            source.until_transaction(4)
            kinds = [(e["event"], e["tx_n"]) for e in source.events() if "tx" in e]
            equal(kinds, [("change", 1), ("change", 2), ("change", 3), ("transaction", 3),
                          ("change", 1), ("change", 2), ("transaction", 2),
                          ("change", 1), ("change", 2), ("transaction", 2),
                          ("change", 1), ("transaction", 1)])
            ends = [e["position"] for e in source.events("transaction")]
            true(all(p.endswith(".0") for p in ends), f"{ends}")
            equal([shop.bound(p) for p in ends], sorted(shop.bound(p) for p in ends))
            equal(len({e["id"] for e in source.events() if "tx" in e}), 12)


@case
def rows_of_one_copy_share_an_lsn_and_have_ids_of_their_own():
    with Postgres() as pg:
        shop.prepare(pg)
        with Source(pg) as source:
            source.streaming()
            pg.sql("COPY shop.rows FROM stdin;\n1\t1\ta\n2\t2\tb\n3\t3\tc\n\\.\n")
            changes = source.wait_changes(3)
            equal(len({c["id"] for c in changes}), 3)
            equal([c["position"].rpartition(".")[2] for c in changes], ["1", "2", "3"])
            equal(len({c["position"].rpartition(".")[0] for c in changes}), 1)


@case
def a_quiet_source_lets_the_server_forget_without_a_heartbeat_table():
    with Postgres() as pg:
        shop.prepare(pg)
        pg.sql("CREATE DATABASE other")
        with shop.watch(pg, source=", status_interval: 1s") as agent:
            agent.wait_source("shop", "streaming")
            for _ in range(2):
                pg.sql("CREATE TABLE IF NOT EXISTS t (i int); INSERT INTO t SELECT "
                       "generate_series(1, 10000)", db="other")
                end = pg.lsn()
                wait_until(lambda: shop.lsn_of(pg.slot(shop.SLOT)["confirmed_flush_lsn"]) >=
                           shop.lsn_of(end), 20, f"the slot to pass {end}", every=0.1)
            last = pg.slot(shop.SLOT)["confirmed_flush_lsn"]
            agent.kill9()
            durable = agent.stats()["sources"]["shop"]
            true(shop.bound(durable) >= shop.lsn_of(last),
                 f"acknowledged {last}, but only {durable} is durable")
            agent.start()
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 2)
            shop.wait_judged(agent, pg)
            equal(shop.gaps(agent), [])


@case
def a_paused_source_still_answers_the_server():
    with Postgres("wal_sender_timeout = 2s") as pg:
        shop.prepare(pg)
        with Source(pg, args=["--manual"]) as source:
            source.wait(lambda line: line.get("event") == "progress")
            source.tell("durable all")
            source.streaming()
            shop.insert(pg, 1, 1)
            source.wait_changes(1)
            pid = pg.slot("dgf_test")["active_pid"]
            source.tell("pause")
            time.sleep(0.3)
            shop.insert(pg, 2, 5000)        # more than the sockets hold
            end = time.monotonic() + 7
            while time.monotonic() < end:
                equal(pg.slot("dgf_test")["active_pid"], pid, "the session")
                true(len(source.changes()) < 5001, "a paused source went on")
                time.sleep(0.25)
            n = len(source.changes())
            source.tell("resume")
            source.wait_changes(5001)
            equal([c["after"]["id"] for c in source.changes()], list(range(1, 5002)))
            equal(pg.slot("dgf_test")["active_pid"], pid, "the session")
            true(n <= 1, f"{n} rows came although paused")
            equal([line for line in source.lines if "fail" in line], [])


@case
def a_transaction_is_gone_on_from_inside():
    with Postgres() as pg:
        shop.prepare(pg)
        source = Source(pg, args=["--manual"])
        source.args += ["--memory", source.folder / "memory"]

        def memory():
            with open(source.folder / "memory", encoding="ascii") as file:
                return file.read()
        with source:
            source.wait(lambda line: line.get("event") == "progress")
            source.tell("durable all")
            source.streaming()
            pg.sql("BEGIN; INSERT INTO shop.rows SELECT i, i FROM generate_series(1, 100) i;"
                   "SELECT pg_logical_emit_message(true, 'x', 'y');"
                   "UPDATE shop.rows SET n = 0 WHERE id <= 10; COMMIT")
            changes = source.wait_changes(110)
            ids = [c["id"] for c in changes]
            for upto in (1, 37, 100, 109):
                seen, before = changes[:upto], memory()
                source.tell(f"durable {changes[upto - 1]['seq']}")
                wait_until(lambda b=before: memory() != b, 10, "the memory to be written")
                source.kill9()
                source.start()
                source.streaming()
                source.until_transaction(1)
                rest = source.changes()
                equal([c["id"] for c in rest], ids[upto:], f"ids after {upto} rows")
                equal(len(source.events("message")), 1 if upto < 101 else 0,
                      f"messages after {upto} rows")
                # Row numbers of this session differ from those of the one before.
                changes = seen + rest
            slot = shop.lsn_of(pg.slot("dgf_test")["confirmed_flush_lsn"])
            true(slot <= shop.bound(changes[0]["position"]),
                 "the transaction was acknowledged before its end was durable")


@case
def a_row_beyond_the_limit_is_a_record_and_not_a_stop():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, more="limits: {event_bytes: 64KiB}\n") as agent:
            agent.wait_source("shop", "streaming")
            pg.sql("INSERT INTO shop.rows VALUES (1, 1, 'small');"
                   "INSERT INTO shop.rows VALUES (2, 1, repeat('canary-', 100000));"
                   "INSERT INTO shop.rows VALUES (3, 1, 'small')")
            shop.wait_judged(agent, pg)
            equal(shop.judged(shop.parse(agent)), [1, 3])
            found = agent.records("undecodable")
            equal(len(found), 1)
            true(found[0]["size"] > 700000, f"{found[0]}")
            equal(found[0]["why"], "larger than limits.event_bytes")
            true("canary-" not in json.dumps(found), "content stands in the record")
            equal(agent.status()["sources"]["shop"]["state"], "streaming")
            agent.stop()
            equal(sum(r["verdicts"]["error"] for r in agent.records("coverage")), 1,
                  "rows that coverage counts as errors")


@case
def text_of_a_database_in_another_encoding_is_the_same_text():
    with Postgres() as pg:
        pg.role()
        pg.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        pg.sql("SET client_encoding = 'UTF8';"
               "CREATE TABLE t (id int PRIMARY KEY, name text, \"größe\" int);"
               "CREATE PUBLICATION dgf FOR TABLE t", db="latin")
        with Source(pg, db="latin") as source:
            source.streaming()
            pg.sql("SET client_encoding = 'UTF8';"
                   "INSERT INTO t VALUES (1, 'Müller & Søn', 7)", db="latin")
            equal(source.wait_changes(1)[0]["after"],
                  {"id": 1, "name": "Müller & Søn", "größe": 7})


@case
def a_prepared_transaction_is_judged_when_it_commits():
    with Postgres() as pg:
        shop.prepare(pg)
        with Source(pg) as source:
            source.streaming()
            pg.sql("BEGIN; INSERT INTO shop.rows VALUES (1, 1); PREPARE TRANSACTION 'a';"
                   "BEGIN; INSERT INTO shop.rows VALUES (2, 1); PREPARE TRANSACTION 'b';")
            shop.insert(pg, 3, 1)
            pg.sql("ROLLBACK PREPARED 'b'")
            pg.sql("COMMIT PREPARED 'a'")
            source.until_transaction(2)
            equal([c["after"]["id"] for c in source.changes()], [3, 1])


@case
def rows_of_partitions_are_rows_of_their_root():
    with Postgres() as pg:
        pg.role()
        pg.sql("""
            CREATE TABLE p (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
            CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
            CREATE TABLE p2 (day date NOT NULL, extra int, id int NOT NULL);
            ALTER TABLE p2 DROP COLUMN extra;
            ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
            CREATE PUBLICATION dgf FOR TABLE p WITH (publish_via_partition_root = true)""")
        with Source(pg, ", tables: [public.p]") as source:
            source.streaming()
            pg.sql("INSERT INTO p VALUES (1, '2026-01-05'), (2, '2026-02-05');"
                   "UPDATE p SET day = '2026-02-06' WHERE id = 1; TRUNCATE p")
            source.until_transaction(3)
            equal([(c["object"], c["op"], c["after"] and c["after"]["id"])
                   for c in source.changes()],
                  [("public.p", "insert", 1), ("public.p", "insert", 2),
                   ("public.p", "delete", None), ("public.p", "insert", 1),
                   ("public.p", "truncate", None)])


@case
def a_value_too_large_for_text_is_asked_for_in_binary():
    with open("/proc/meminfo", encoding="ascii") as file:
        free = int(re.search(r"MemAvailable:\s+(\d+)", file.read())[1]) >> 20
    need(free >= 8, f"{free} GiB of memory are free, 8 are needed")
    with Postgres() as pg:
        pg.role()
        pg.sql("CREATE TABLE big (id int PRIMARY KEY, b bytea, r int4range);"
               "ALTER TABLE big ALTER b SET STORAGE EXTERNAL;"
               "CREATE PUBLICATION dgf FOR TABLE big")
        with Source(pg, args=["--retry", "100"]) as source:
            source.streaming()
            pg.sql("INSERT INTO big VALUES (1, 'a');"
                   "INSERT INTO big SELECT 2, string_agg(repeat(chr(i + 64), 60000000)::bytea, "
                   "'') FROM generate_series(1, 9) i;"
                   "INSERT INTO big VALUES (3, '\\x00ff', '[1,5)')")
            source.until_transaction(3, seconds=120)
            failed = [line["text"] for line in source.lines if "fail" in line]
            true(failed and "invalid memory alloc request size" in failed[0], f"{failed}")
            equal([c["after"]["id"] for c in source.changes()], [1, 3])
            equal(source.changes()[1]["after"]["b"], {"$binary": {"base64": "AP8=",
                                                                  "subType": "00"}})
            found = source.events("undecodable")
            equal([u["extra"]["why"] for u in found], ["larger than limits.event_bytes"])
            true(found[0]["extra"]["size"] > 540000000, f"{found}")


@case
def no_slot_is_made_before_the_intention_is_durable_also_after_a_reconnect():
    with Postgres() as pg:
        shop.prepare(pg)
        slots = "SELECT count(*) FROM pg_replication_slots"
        about = lambda line: "about to create" in line.get("text", "")
        with Source(pg, args=["--manual"]) as source:
            source.wait(about)
            source.tell("reopen")
            wait_until(lambda: sum(map(about, source.lines)) == 2 or pg.sql(slots) != "0", 30,
                       "the second attempt")
            time.sleep(0.5)
            equal(pg.sql(slots), "0", "slots before the intention is durable")
            source.tell("durable all")
            source.streaming()
            equal(pg.sql(slots), "1", "slots")


if __name__ == "__main__":
    main(parallel=True)
