"""Tables that change, go, and come back as something else."""

import time

import shop
from cases import case, equal, main, true
from servers import PG_BIN, Postgres, wait_until
from source import Source


def create_with_oids(pg, oids, name, columns):
    """A table with the class, file and type oids of one that was dropped: only a server in
    upgrade mode lets us choose them."""
    pg.stop()
    before = pg.n_ready()
    pg.spawn([*pg.as_postgres, f"{PG_BIN}/postgres", "-b", "-D", pg.data], cwd="/")
    pg.ready_line(pg.READY, 60, before + 1)
    versions = "binary_upgrade_set_next_attribute_versions"     # newer 15.x ask for them
    text = ""
    if pg.sql(f"SELECT count(*) FROM pg_proc WHERE proname = '{versions}'") != "0":
        n = columns.count(",") + 1
        text = f"SELECT {versions}(array_fill(pg_current_wal_lsn(), ARRAY[{n}]));"
    pg.sql(f"""
        SELECT binary_upgrade_set_next_heap_pg_class_oid({oids[0]});
        SELECT binary_upgrade_set_next_heap_relfilenode({oids[1]});
        SELECT binary_upgrade_set_next_pg_type_oid({oids[2]});
        SELECT binary_upgrade_set_next_array_pg_type_oid({oids[3]});
        {text}
        CREATE TABLE {name} ({columns})""")
    pg.restart()


@case
def another_table_with_the_same_oid_is_read_by_its_own_columns():
    with Postgres() as pg:
        pg.role()
        pg.sql("CREATE SCHEMA shop; GRANT USAGE ON SCHEMA shop TO dgf;"
               "CREATE PUBLICATION dgf FOR ALL TABLES")
        policy = shop.POLICY.replace("shop.rows", "shop.*").replace(
            "after.n < 0", "missing(after.n)").replace("{{after.id}}", "?")
        agent = shop.watch(pg, policy=policy)
        agent.start()
        agent.wait_source("shop", "streaming")
        agent.stop()
        pg.sql("CREATE TABLE shop.old (n int); ALTER TABLE shop.old REPLICA IDENTITY FULL;"
               "INSERT INTO shop.old VALUES (1)")
        oids = pg.rows("SELECT c.oid, c.relfilenode, t.oid, t.typarray FROM pg_class c "
                       "JOIN pg_type t ON t.typrelid = c.oid WHERE c.relname = 'old'")[0]
        pg.sql("DROP TABLE shop.old")
        create_with_oids(pg, oids, "shop.new", "a bool, b bigint, c float8, n int")
        equal(pg.sql("SELECT oid FROM pg_class WHERE relname = 'new'"), oids[0], "oid")
        pg.sql("INSERT INTO shop.new VALUES (true, 77, 1.5, NULL)")
        with agent:
            shop.wait_judged(agent, pg)
            events = [(r["event"]["object"], r["verdict"]) for r in agent.records("audit")]
            equal(events, [("shop.old", "pass"), ("shop.new", "violation")])


EXTRA = """  - id: EXTRA-001
    title: No bad extra
    severity: high
    watch: {objects: [shop.rows], ops: [insert]}
    when: after.extra == "bad"
    message: "row {{after.id}}"
"""


@case
def a_column_added_under_load_is_seen_from_its_first_row():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, policy=shop.POLICY + EXTRA) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 5)
            pg.sql("ALTER TABLE shop.rows ADD COLUMN extra text;"
                   "INSERT INTO shop.rows VALUES (6, 1, 'x', 'bad');"
                   "ALTER TABLE shop.rows RENAME COLUMN extra TO other;"
                   "INSERT INTO shop.rows VALUES (7, 1, 'x', 'bad')")
            shop.wait_judged(agent, pg)
            equal(shop.judged(shop.parse(agent)), [1, 2, 3, 4, 5, 6, 7])
            equal([(r["policy"]["id"], r["event"]["key"]) for r in agent.records("violation")],
                  [("DGF-COV-1", {"id": 1}), ("EXTRA-001", {"id": 6}), ("DGF-COV-1", {"id": 7})])


@case
def comments_types_and_keys_are_read_at_start_and_when_they_change():
    with Postgres() as pg:
        pg.role()
        pg.sql("""
            CREATE TABLE t (id int, a varchar(10), b numeric(8,2));
            ALTER TABLE t REPLICA IDENTITY FULL;
            COMMENT ON COLUMN t.a IS 'dgf.class=restricted';
            CREATE PUBLICATION dgf FOR TABLE t""")
        with Source(pg, ", inspect: 1s") as source:
            source.streaming()
            pg.sql("INSERT INTO t VALUES (1, 'x', 1)")
            equal(source.wait_changes(1)[0]["columns"], {
                "id": ["int", "integer", False, ""],
                "a": ["text", "character varying(10)", False, "dgf.class=restricted"],
                "b": ["decimal", "numeric(8,2)", False, ""]})
            pg.sql("ALTER TABLE t ADD PRIMARY KEY (id), ALTER b TYPE bigint;"
                   "INSERT INTO t VALUES (2, 'x', 2)")
            equal(source.wait_changes(2)[1]["columns"], {
                "id": ["int", "integer", True, ""],
                "a": ["text", "character varying(10)", False, "dgf.class=restricted"],
                "b": ["int", "bigint", False, ""]})
            # Nothing in the stream tells of a comment: the next look finds it.
            pg.sql("COMMENT ON COLUMN t.b IS 'dgf.class=public'; COMMENT ON COLUMN t.a IS NULL")

            def seen():
                pg.sql("INSERT INTO t VALUES (1 + (SELECT max(id) FROM t), 'x', 3)")
                columns = source.wait_changes(int(pg.sql("SELECT count(*) FROM t")))[-1]["columns"]
                return (columns["a"][3], columns["b"][3]) == ("", "dgf.class=public")
            wait_until(seen, 15, "the new comments", every=0.2)


@case
def tables_that_are_made_while_we_look_around_are_read_whole():
    with Postgres() as pg:
        pg.role()
        pg.sql("CREATE PUBLICATION dgf FOR ALL TABLES")
        with Source(pg, ", inspect: 1s") as source:
            source.streaming()
            start, n = time.monotonic(), 0
            while time.monotonic() < start + 5 or n < 20:
                n += 1
                pg.sql(f"CREATE TABLE t{n} (id int PRIMARY KEY); INSERT INTO t{n} VALUES ({n})")
            changes = source.wait_changes(n)
            equal([c["after"]["id"] for c in changes], list(range(1, n + 1)))
            equal([line for line in source.lines if "fail" in line], [])


if __name__ == "__main__":
    main(parallel=True)
