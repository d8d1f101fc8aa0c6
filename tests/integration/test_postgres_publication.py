"""Publications and preflight: what must be there, who makes it, and what its loss means."""

import json

import shop
from cases import case, equal, main, true
from servers import Postgres, wait_until

TABLES = """
CREATE SCHEMA shop; GRANT USAGE ON SCHEMA shop TO dgf;
CREATE TABLE shop.rows (id bigint PRIMARY KEY, n int, note text);
CREATE TABLE shop.more (id bigint PRIMARY KEY, n int, note text);
CREATE TABLE public.elsewhere (id int PRIMARY KEY);
"""
POLICY = shop.POLICY.replace("[shop.rows]", "[shop.*]")


def reason(agent, state, seconds=30):
    return agent.wait(lambda s: s["sources"]["shop"]["state"] == state and
                      s["sources"]["shop"]["reason"], seconds,
                      f"a source that is {state}")["sources"]["shop"]["reason"]


def check(agent, *args):
    return agent.run("check", "-c", agent.config, *args, check=False)


def findings(agent):
    """Texts of `dgf check`, by severity."""
    done = check(agent, "--format", "json")
    return {(f["severity"], f["text"].removeprefix("sources.shop (postgres): ")): f.get("fix", "")
            for f in json.loads(done.stdout)["findings"]}


@case
def manage_makes_a_publication_of_exactly_the_tables():
    with Postgres() as pg:
        pg.role()
        pg.sql(TABLES + "GRANT CREATE ON DATABASE postgres TO dgf;"
               "ALTER TABLE shop.rows OWNER TO dgf; ALTER TABLE shop.more OWNER TO dgf")
        with shop.watch(pg, policy=POLICY, source=", manage: true") as agent:
            agent.wait_source("shop", "streaming")
            equal(pg.rows("SELECT schemaname, tablename FROM pg_publication_tables "
                          "WHERE pubname = 'dgf' ORDER BY 1, 2"),
                  [["shop", "more"], ["shop", "rows"]])
            equal(pg.sql("SELECT pubviaroot, pubtruncate FROM pg_publication"), "t|t")
            pg.sql("INSERT INTO shop.more VALUES (1, -1); INSERT INTO public.elsewhere VALUES (1)")
            shop.wait_judged(agent, pg)
            equal([r["event"]["object"] for r in agent.records("violation")], ["shop.more"])


KEYLESS = ("CREATE TABLE shop.keyless (id int, n int); CREATE TABLE shop.parts (id int, n int) "
           "PARTITION BY RANGE (id); CREATE TABLE shop.part_1 PARTITION OF shop.parts "
           "FOR VALUES FROM (1) TO (9);")


@case
def manage_leaves_out_a_table_whose_updates_the_server_would_refuse():
    with Postgres() as pg:
        pg.role(rights="LOGIN REPLICATION SUPERUSER")
        pg.sql(TABLES + KEYLESS + "INSERT INTO shop.keyless VALUES (1, 1);"
               "INSERT INTO shop.parts VALUES (1, 1)")
        agent = shop.watch(pg, policy=POLICY, source=", manage: true, inspect: 1s")
        equal([text for severity, text in findings(agent) if "replica identity" in text],
              [f"table 'shop.{name}' has no replica identity: manage: true leaves it out of the "
               "publication, its changes are not judged" for name in ("keyless", "parts")])
        with agent:
            agent.wait_source("shop", "streaming")
            equal(pg.rows("SELECT tablename FROM pg_publication_tables ORDER BY 1"),
                  [["more"], ["rows"]])
            pg.sql("UPDATE shop.keyless SET n = 2; UPDATE shop.parts SET n = 2;"
                   "DELETE FROM shop.keyless")      # the application goes on
            agent.wait(lambda s: s["sources"]["shop"]["reason"] == (
                "publication 'dgf' lacks 2 tables that 'tables' matches ('shop.keyless', "
                "'shop.parts'): their changes are not judged; give those without a replica "
                "identity one (ALTER TABLE ... REPLICA IDENTITY FULL), then run ALTER PUBLICATION "
                '"dgf" ADD TABLE ...'), 30, "what is left out")
            equal(agent.status()["health"], "degraded")
            pg.sql("DROP TABLE shop.parts")
            mend = ("ALTER TABLE shop.keyless REPLICA IDENTITY FULL;",
                    'ALTER PUBLICATION "dgf" ADD TABLE "shop"."keyless"')
            agent.wait(lambda s: s["sources"]["shop"]["reason"] == (
                "publication 'dgf' lacks table 'shop.keyless' that 'tables' matches: its changes "
                f"are not judged; run {mend[0]} (it has no replica identity) and then {mend[1]}"),
                30, "the table that is left")
            pg.sql(mend[0] + mend[1])
            agent.wait(lambda s: s["health"] == "ok", 30, "health to be ok again")


@case
def manage_of_all_tables_refuses_while_one_would_break():
    with Postgres() as pg:
        pg.role(rights="LOGIN REPLICATION SUPERUSER")
        pg.sql(TABLES + KEYLESS)
        agent = shop.watch(pg, policy=POLICY, source=", manage: true")
        agent.write_config(shop.config(pg, source=", manage: true")
                           .replace(", tables: [shop.*]", ""))
        with agent:
            equal(reason(agent, "retrying"),
                  "cannot create publication 'dgf': table 'shop.parts' has no replica identity, and the "
                  "server would refuse the application's UPDATE and DELETE on it; run dgf check "
                  "--fix-script, or name the tables in 'tables'")
            equal(pg.sql("SELECT count(*) FROM pg_publication"), "0")
            pg.sql("UPDATE shop.keyless SET n = 2")


@case
def the_script_of_check_lets_the_application_change_every_table():
    with Postgres("max_slot_wal_keep_size = 1GB") as pg:
        pg.role()
        pg.sql(TABLES + KEYLESS + "INSERT INTO shop.keyless VALUES (1, 1);"
               "INSERT INTO shop.parts VALUES (1, 1)")
        agent = shop.watch(pg, policy=POLICY)
        equal([text for severity, text in findings(agent) if severity == "error"],
              [f"table 'shop.{name}' has no replica identity: once it is published, the server "
               "refuses the application's UPDATE and DELETE on it" for name in ("keyless", "parts")]
              + ["publication 'dgf' does not exist; it must be older than the slot"])
        pg.sql(check(agent, "--fix-script").stdout)
        pg.sql("UPDATE shop.keyless SET n = 2; UPDATE shop.parts SET n = 2")
        equal([text for severity, text in findings(agent) if severity == "error"], [])
        agent.folder.remove()


@case
def without_a_publication_nothing_starts_until_there_is_one():
    with Postgres() as pg:
        pg.role()
        pg.sql(TABLES)
        with shop.watch(pg, policy=POLICY) as agent:
            equal(reason(agent, "retrying"),
                  "publication 'dgf' does not exist; run CREATE PUBLICATION \"dgf\" FOR TABLE ..., "
                  "or write manage: true")
            equal(pg.sql("SELECT count(*) FROM pg_replication_slots"), "0")
            equal(agent.status()["health"], "degraded")
            pg.sql("CREATE PUBLICATION dgf FOR TABLE shop.rows")
            agent.wait_source("shop", "streaming", 90)
            shop.insert(pg, 1, 2)
            shop.wait_judged(agent, pg)
            equal(shop.judged(shop.parse(agent)), [1, 2])


@case
def an_existing_slot_is_demanded_and_then_read_from_where_it_stands():
    with Postgres() as pg:
        pg.role()
        pg.sql(TABLES + "CREATE PUBLICATION dgf FOR TABLE shop.rows, shop.more")
        with shop.watch(pg, policy=POLICY, source=", slot: existing") as agent:
            true("replication slot 'dgf_shop' does not exist; run SELECT "
                 "pg_create_logical_replication_slot('dgf_shop', 'pgoutput')" in
                 reason(agent, "retrying"), "the reason")
            pg.sql("SELECT pg_create_logical_replication_slot('dgf_shop', 'pgoutput')")
            shop.insert(pg, 1, 3)
            agent.wait_source("shop", "streaming", 90)
            shop.wait_judged(agent, pg)
            equal(shop.judged(shop.parse(agent)), [1, 2, 3])
            equal(shop.gaps(agent), [])


@case
def a_slot_of_another_kind_is_never_touched():
    with Postgres() as pg:
        pg.role()
        pg.sql(TABLES + "CREATE PUBLICATION dgf FOR TABLE shop.rows;"
               "SELECT pg_create_logical_replication_slot('dgf_shop', 'test_decoding')")
        with shop.watch(pg, policy=POLICY) as agent:
            equal(reason(agent, "retrying"),
                  "slot 'dgf_shop' is not a logical slot of pgoutput; use another slot_name")
            equal(pg.slot("dgf_shop")["plugin"], "test_decoding")


@case
def a_table_that_leaves_the_publication_is_a_gap():
    with Postgres() as pg:
        pg.role()
        pg.sql(TABLES + "CREATE PUBLICATION dgf FOR TABLE shop.rows, shop.more")
        with shop.watch(pg, policy=POLICY, source=", inspect: 1s") as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 2)
            pg.sql("ALTER PUBLICATION dgf DROP TABLE shop.more")
            gap = agent.wait_records(1, "gap")[0]
            equal((gap["reason"], gap["message"]),
                  ("publication_changed", "publication 'dgf' no longer has table 'shop.more'"))
            equal(gap["detail"], {"table": "shop.more", "publication": "dgf"})
            agent.stop()
            pg.sql("ALTER PUBLICATION dgf ADD TABLE shop.more")
            pg.sql("ALTER PUBLICATION dgf DROP TABLE shop.rows")
            agent.start()
            found = agent.wait_records(2, "gap")
            equal(found[1]["message"], "publication 'dgf' no longer has table 'shop.rows'")
            pg.sql("ALTER PUBLICATION dgf ADD TABLE shop.rows; DROP TABLE shop.more")
            shop.insert(pg, 3, 2)
            shop.wait_judged(agent, pg)
            equal(shop.judged(shop.parse(agent)), [1, 2, 3, 4])
            gaps = agent.wait_records(4, "gap")
            equal(sorted(g["detail"]["table"] for g in gaps), ["shop.more"] * 2 + ["shop.rows"] * 2)
            equal([g["message"] for g in gaps if g["detail"]["table"] == "shop.rows"][1],
                  "publication 'dgf' now has table 'shop.rows'")
            for table in ("shop.more", "shop.rows"):
                gone, back = [g for g in gaps if g["detail"]["table"] == table]
                equal(back["from"], gone["to"], f"the second gap of {table} begins where the "
                      "first ends")
                true(shop.bound(gone["from"]) <= shop.bound(gone["to"]) <= shop.bound(back["to"]),
                     f"bounds of {table}")
            equal(len(shop.gaps(agent)), 4, "gaps: dropping a table that is published is none")


@case
def a_wanted_table_that_is_not_published_is_said_until_it_is():
    with Postgres() as pg:
        pg.role()
        pg.sql(TABLES + "CREATE PUBLICATION dgf FOR TABLE shop.rows")
        lacks = ("publication 'dgf' lacks table 'shop.more' that 'tables' matches: its changes are "
                 'not judged; run ALTER PUBLICATION "dgf" ADD TABLE "shop"."more"')
        with shop.watch(pg, policy=POLICY, source=", inspect: 1s") as agent:
            agent.wait(lambda s: s["sources"]["shop"]["reason"] == lacks, 30, "the missing table")
            equal((agent.status()["health"], agent.status()["sources"]["shop"]["state"]),
                  ("degraded", "streaming"))
            equal([line["cause"] for line in agent.log_lines(event="source impaired")], [lacks])
            pg.sql("ALTER PUBLICATION dgf ADD TABLE shop.more")
            agent.wait(lambda s: s["health"] == "ok", 30, "health to be ok again")
            equal(len(agent.log_lines(event="source whole again")), 1)
            shop.insert(pg, 1, 1)
            equal([g["message"] for g in agent.wait_records(2, "gap")],
                  ["publication 'dgf' lacks table 'shop.more' that 'tables' matches",
                   "publication 'dgf' now has table 'shop.more'"])
            pg.sql("INSERT INTO shop.more VALUES (1, 1); BEGIN; DROP TABLE shop.more;"
                   "CREATE TABLE shop.more (id bigint PRIMARY KEY, n int, note text); COMMIT")
            agent.wait(lambda s: s["health"] == "degraded", 30, "the table that was made again")
            equal(agent.status()["sources"]["shop"]["reason"], lacks)
            equal([g["message"] for g in agent.wait_records(3, "gap")][2:],
                  ["publication 'dgf' no longer has table 'shop.more'"])


@case
def a_new_table_that_nobody_publishes_is_a_gap_until_somebody_does():
    with Postgres() as pg:
        pg.role()
        pg.sql(TABLES + "CREATE PUBLICATION dgf FOR TABLE shop.rows, shop.more")
        with shop.watch(pg, policy=POLICY, source=", inspect: 1s") as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 2)
            shop.wait_judged(agent, pg)
            equal(shop.gaps(agent), [])
            pg.sql("CREATE TABLE shop.later (id int PRIMARY KEY, n int);"
                   "INSERT INTO shop.later VALUES (1, -1)")
            gap = agent.wait_records(1, "gap")[0]
            equal((gap["reason"], gap["message"], gap["detail"]),
                  ("publication_changed",
                   "publication 'dgf' lacks table 'shop.later' that 'tables' matches",
                   {"table": "shop.later", "publication": "dgf"}))
            pg.sql("ALTER PUBLICATION dgf ADD TABLE shop.later")
            agent.wait(lambda s: s["health"] == "ok", 30, "health to be ok again")
            pg.sql("INSERT INTO shop.later VALUES (2, 2)")
            back = agent.wait_records(2, "gap")[1]
            equal((back["from"], back["message"]),
                  (gap["to"], "publication 'dgf' now has table 'shop.later'"))


@case
def a_publication_without_tables_is_said_although_all_looks_well():
    with Postgres() as pg:
        pg.role()
        pg.sql(TABLES + "CREATE PUBLICATION dgf")
        with shop.watch(pg, policy=POLICY, source=", inspect: 1s") as agent:
            none = "publication 'dgf' has no table that 'tables' matches"
            equal(reason(agent, "streaming"), none)
            pg.sql("ALTER PUBLICATION dgf ADD TABLE shop.rows")
            wait_until(lambda: agent.wait_source("shop", "streaming")["sources"]["shop"]["reason"]
                       != none, 20, "the reason to go", every=0.3)
            shop.insert(pg, 1, 1)
            shop.wait_judged(agent, pg)
            equal(shop.judged(shop.parse(agent)), [1])


@case
def creating_a_slot_names_the_transaction_it_waits_for():
    with Postgres() as pg:
        shop.prepare(pg)
        child = pg.background("BEGIN; INSERT INTO shop.rows VALUES (1, 1);"
                              "SELECT pg_sleep(8); COMMIT;")
        wait_until(lambda: pg.sql("SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT "
                                  "NULL AND query LIKE '%pg_sleep(8)%'") == "1", 10,
                   "the transaction to be open")
        with shop.watch(pg) as agent:
            found = agent.wait(lambda s: "waits for the transaction of pid" in
                               s["sources"]["shop"]["reason"], 10)["sources"]["shop"]["reason"]
            pid = pg.sql("SELECT pid FROM pg_stat_activity WHERE backend_xid IS NOT NULL "
                         "AND pid <> pg_backend_pid()")
            true(f"creating slot 'dgf_shop' waits for the transaction of pid {pid}" in found, found)
            agent.wait_source("shop", "streaming", 30)
            equal(child.wait(30), 0)
            shop.insert(pg, 2, 1)
            shop.wait_judged(agent, pg)
            equal(shop.judged(shop.parse(agent)), [2])


@case
def check_says_what_is_missing_and_its_script_mends_it():
    with Postgres("wal_level = replica\nmax_replication_slots = 1") as pg:
        pg.role(rights="LOGIN")
        pg.sql(TABLES + "CREATE TABLE shop.keyless (id int, n int);"
               "SELECT pg_create_physical_replication_slot('taken')")
        agent = shop.watch(pg, policy=POLICY)
        found = findings(agent)
        texts = [text for severity, text in found if severity == "error"]
        equal(texts[:5], [
            "wal_level is 'replica': the server writes too little to decode changes",
            "role 'dgf' may not use replication slots (REPLICATION is missing)",
            "all 1 replication slots are in use",
            "table 'shop.keyless' has no replica identity: once it is published, the server "
            "refuses the application's UPDATE and DELETE on it",
            "publication 'dgf' does not exist; it must be older than the slot"])
        true(texts[5].startswith("cannot open a replication connection: "), texts[5])
        true(("warning", "max_slot_wal_keep_size is not limited: while dgf is stopped, WAL may "
              "fill the disk") in found, f"{found}")
        equal(check(agent).returncode, 1)
        pg.sql(check(agent, "--fix-script").stdout)
        pg.restart()
        found = findings(agent)
        equal([text for severity, text in found if severity == "error"], [])
        pg.sql("ALTER TABLE shop.keyless REPLICA IDENTITY DEFAULT")
        found = findings(agent)
        equal([text for severity, text in found if severity == "error"],
              ["table 'shop.keyless' is published but has no replica identity: the server "
               "refuses the application's UPDATE and DELETE on it"])
        pg.sql(check(agent, "--fix-script").stdout)
        found = findings(agent)
        equal([(severity, text) for severity, text in found if severity != "note"], [])
        equal(check(agent).returncode, 0)
        equal(pg.sql("SELECT count(*) FROM pg_replication_slots"), "1")     # changed nothing
        equal(pg.rows("SELECT relname, relreplident FROM pg_class WHERE relname IN "
                      "('rows', 'more', 'keyless') ORDER BY 1"),
              [["keyless", "f"], ["more", "d"], ["rows", "d"]])
        with agent:
            agent.wait_source("shop", "streaming")


@case
def check_compares_the_policies_with_the_tables():
    text = "version: 1\npolicies:\n"
    for name, objects, when in (
            ("FITS-1", "shop.rows", "after.n < 0"),
            ("NAME-1", "shop.rows", "after.m == 1"),
            ("TYPE-1", "shop.rows", "after.n == 'x'"),
            ("OLD-1", "shop.Rows", "before.n == 1"),
            ("NONE-1", "shop.rosw", "after.n == 1"),
            ("HIDE-1", "shop.hidden", "after.n == 1")):
        text += (f"  - {{id: {name}, title: t, severity: low, watch: {{objects: [{objects}]}}, "
                 f'when: "{when}"}}\n')

    def found(agent):
        done = check(agent, "--format", "json")
        return [(f["code"], f["severity"], f["line"], f["text"], f.get("fix"))
                for f in json.loads(done.stdout)["findings"]
                if f["code"][:3] in ("E04", "W04")]

    with Postgres("max_slot_wal_keep_size = 1GB") as pg:
        pg.role()
        pg.sql("CREATE SCHEMA shop; GRANT USAGE ON SCHEMA shop TO dgf;"
               "CREATE DOMAIN shop.count AS int;"
               "CREATE TABLE shop.rows (id int PRIMARY KEY, n shop.count);"
               'CREATE TABLE shop."Rows" (id int PRIMARY KEY, n int);'
               "CREATE TABLE shop.hidden (id int PRIMARY KEY, n int)")
        agent = shop.watch(pg, policy=text)
        misfits = [
            ("E0442", "error", 4, "policy 'NAME-1' cannot be judged on shop.rows of source "
             "'shop': unknown field 'after.m'; did you mean 'after.n'?", None),
            ("E0442", "error", 5, "policy 'TYPE-1' cannot be judged on shop.rows of source "
             "'shop': operator '==' does not go with (int, string)", None),
            ("E0441", "error", 6, "policy 'OLD-1' cannot be judged on shop.Rows of source "
             "'shop': the source does not give before (whole old rows)",
             'ALTER TABLE shop."Rows" REPLICA IDENTITY FULL;'),
            ("W0449", "warning", 7, "policy 'NONE-1' watches nothing: no object of its sources "
             "matches 'shop.rosw'; did you mean 'shop.rows'?", None)]
        equal(found(agent), misfits)            # before there is a publication
        pg.sql('CREATE PUBLICATION dgf FOR TABLE shop.rows, shop."Rows"')
        equal(found(agent), misfits + [
            ("W0449", "warning", 8, "policy 'HIDE-1' watches nothing: no object of its sources "
             "matches 'shop.hidden'", None)])
        script = check(agent, "--fix-script").stdout
        equal(script.count('ALTER TABLE shop."Rows" REPLICA IDENTITY FULL;'), 1)
        pg.sql(script)
        equal([code for code, *_ in found(agent)], ["E0442", "E0442", "W0449", "W0449"])
        equal(pg.sql("SELECT relreplident FROM pg_class WHERE relname = 'Rows'"), "f")
        pg.sql("ALTER PUBLICATION dgf SET TABLE shop.rows (id)")
        equal([(code, text.partition(": ")[2]) for code, _, _, text, _ in found(agent)][0],
              ("E0442", "unknown field 'after.n'"))


@case
def check_says_what_a_publication_hides():
    with Postgres("max_slot_wal_keep_size = 1GB") as pg:
        pg.role()
        pg.sql(TABLES + "CREATE PUBLICATION dgf FOR TABLE shop.rows (id, n) WHERE (id > 5), "
               "shop.more WITH (publish = 'insert, update');"
               "ALTER PUBLICATION dgf SET (publish = 'insert')")
        agent = shop.watch(pg, policy=POLICY)
        texts = [text for severity, text in findings(agent) if severity == "warning"]
        equal(texts, [
            "publication 'dgf' does not publish update: such changes are not judged",
            "publication 'dgf' does not publish delete: such changes are not judged",
            "publication 'dgf' does not publish truncate: such changes are not judged",
            "table 'shop.rows' has a row filter in publication 'dgf': rows outside it are not "
            "judged",
            "table 'shop.rows' has a column list in publication 'dgf': other columns are not "
            "judged"])
        agent.folder.remove()


@case
def check_of_manage_names_the_rights_it_needs():
    with Postgres("max_slot_wal_keep_size = 1GB") as pg:
        pg.role()
        pg.sql(TABLES)
        agent = shop.watch(pg, policy=POLICY, source=", manage: true")
        found = findings(agent)
        equal([text for severity, text in found if severity == "error"], [
            "manage: true needs the right to create in database 'postgres'",
            "manage: true needs role 'dgf' to own table 'shop.more'",
            "manage: true needs role 'dgf' to own table 'shop.rows'"])
        pg.sql(check(agent, "--fix-script").stdout)
        equal([text for severity, text in findings(agent) if severity == "error"], [])
        with agent:
            agent.wait_source("shop", "streaming")
            equal(pg.sql("SELECT count(*) FROM pg_publication_tables WHERE pubname = 'dgf'"), "2")


@case
def check_of_a_refused_connection_says_who_must_let_us_in():
    with Postgres() as pg:
        agent = shop.watch(pg)
        (_, text), fix = next(iter(findings(agent).items()))
        true(text.startswith("cannot connect: "), text)
        equal(fix, "-- CREATE ROLE \"dgf\" LOGIN REPLICATION PASSWORD '...'; or, when it exists: "
              "ALTER ROLE \"dgf\" PASSWORD '...';")
        pg.role()
        with open(f"{pg.data}/pg_hba.conf", "w", encoding="utf-8") as file:
            file.write("local all all trust\nhostssl other all 127.0.0.1/32 scram-sha-256\n")
        pg.sql("SELECT pg_reload_conf()")
        wait_until(lambda: "no pg_hba.conf entry" in next(iter(findings(agent)))[1], 10,
                   "the server to refuse us")
        equal(next(iter(findings(agent).values())),
              "-- a line of pg_hba.conf: hostssl postgres dgf <our address>/32 scram-sha-256 "
              "(then SELECT pg_reload_conf();)")
        true("dgf-secret" not in check(agent).stdout, "a password is printed")
        agent.folder.remove()


@case
def a_publication_of_very_many_tables_is_remembered_whole():
    with Postgres() as pg:
        pg.role()
        schema, name = "s" * 60, "t" * 55
        pg.sql(TABLES + f"CREATE SCHEMA {schema}; CREATE PUBLICATION dgf FOR ALL TABLES;"
               "CREATE PROCEDURE make(n int) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..n LOOP "
               f"EXECUTE format('CREATE TABLE {schema}.{name}%s ()', i);"
               "IF i % 200 = 0 THEN COMMIT; END IF; END LOOP; END $$; CALL make(9000)")
        agent = shop.watch(pg)
        agent.write_config(shop.config(pg).replace(", tables: [shop.*]", ""))
        with agent:
            agent.wait_source("shop", "streaming", 120)
            shop.insert(pg, 1, 5)
            shop.wait_judged(agent, pg)
            agent.kill9()
            pg.sql("ALTER PUBLICATION dgf RENAME TO old;"
                   "CREATE PUBLICATION dgf FOR TABLE shop.rows, shop.more, public.elsewhere,"
                   f"{schema}.{name}1")
            agent.start()
            agent.wait_source("shop", "streaming", 120)
            shop.insert(pg, 6, 5)
            shop.wait_judged(agent, pg)
            gaps = [r for r in shop.gaps(agent) if r["reason"] == "publication_changed"]
            equal(len(gaps), 8999, "tables that went missing")


if __name__ == "__main__":
    main(parallel=True)
