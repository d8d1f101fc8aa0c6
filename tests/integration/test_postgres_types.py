"""Values from a real server to JSON, without loss.

tests/data/pg_values.txt says what each value must become (test_pg_value.c decodes the same
file in both wire formats); here a table of all of them goes through the stream."""

import json
import os
import re

from cases import case, equal, main, note, true
from servers import TOP, Postgres
from source import Source

# What the server sends and what rules see of types a user made, and of rare ones.
OWN_TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'so ''so''', 'happy');
CREATE DOMAIN positive AS numeric(10,2) CHECK (VALUE > 0);
CREATE DOMAIN positives AS positive[];
CREATE DOMAIN email AS text;
CREATE TYPE pair AS (a int, b text);
CREATE TYPE span AS RANGE (subtype = float8);
CREATE EXTENSION citext;
CREATE EXTENSION hstore;
"""
OWN = [
    ("mood", "happy", ["enum", "public.mood"], "happy"),
    ("mood", "so 'so'", ["enum", "public.mood"], "so 'so'"),
    ("mood[]", "{sad,NULL,happy}", ["array", "public.mood[]"], ["sad", None, "happy"]),
    ("positive", "12.50", ["decimal", "public.positive"], {"$numberDecimal": "12.50"}),
    ("positives", "{1,2.25}", ["array", "public.positives"],
     [{"$numberDecimal": "1.00"}, {"$numberDecimal": "2.25"}]),
    ("email", "a@example.org", ["text", "public.email"], "a@example.org"),
    ("email[]", "{a,b}", ["array", "public.email[]"], ["a", "b"]),
    ("citext", "MiXed", ["text", "public.citext"], "MiXed"),
]
OPAQUE = [
    ("pair", "(1,\"b c\")"), ("pair[]", None), ("span", "[1.5,2.5)"), ("int4range", "[1,10)"),
    ("int4multirange", "{[1,3),[5,7)}"), ("tstzrange", None), ("hstore", '"a"=>"1", "b"=>NULL'),
    ("tsvector", "'fat':2 'rat':3"), ("tsquery", "'fat' & 'rat'"), ("money", "$1,234.50"),
    ("point", "(1.5,2)"), ("box", "(3,4),(1,2)"), ("path", "((0,0),(1,1))"),
    ("polygon", "((0,0),(1,1),(1,0))"), ("circle", "<(0,0),2>"), ("line", "{1,-1,0}"),
    ("lseg", "[(0,0),(1,1)]"), ("jsonpath", "$.\"a\"[*]"), ("regclass", "pg_class"),
    ("txid_snapshot", "10:20:10,14"), ("int2vector", "1 2 3"),
]


def pairs():
    with open(os.path.join(TOP, "tests/data/pg_values.txt"), encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#") and line.strip():
                kind, _, text, _, wanted = line.rstrip("\n").split("\t")
                text = re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), text)
                yield kind, text, json.loads(wanted)


def literal(text):
    return "NULL" if text is None else f"$dgf${text}$dgf$"


def same(got, wanted):
    """Equal as JSON: 1 is not 1.0 is not true."""
    return json.dumps(got, sort_keys=True) == json.dumps(wanted, sort_keys=True)


@case
def a_table_of_every_type_arrives_without_loss():
    chosen = list(pairs())
    with Postgres() as pg:
        pg.role()
        columns = [f"c{i} {kind}" for i, (kind, _, _) in enumerate(chosen)]
        pg.sql(f"CREATE TABLE types (id int PRIMARY KEY, {', '.join(columns)});"
               "ALTER TABLE types REPLICA IDENTITY FULL;"
               "CREATE PUBLICATION dgf FOR TABLE types")
        with Source(pg) as source:
            source.streaming()
            pg.sql("SET intervalstyle = 'postgres'; SET datestyle = 'German';"
                   f"INSERT INTO types VALUES (1, {', '.join(literal(t) for _, t, _ in chosen)});"
                   "INSERT INTO types (id) VALUES (2);"
                   "DELETE FROM types WHERE id = 1", seconds=60)
            first, nulls, gone = source.wait_changes(3)
            for i, (kind, text, wanted) in enumerate(chosen):
                got = first["after"][f"c{i}"]
                true(same(got, wanted), f"{kind} '{text}': got {got}, wanted {wanted}")
                true(same(gone["before"][f"c{i}"], wanted), f"{kind} '{text}' as old value")
                equal(nulls["after"][f"c{i}"], None, f"NULL of {kind}")
            n_types = len({kind for kind, _, _ in chosen})
            true(n_types >= 40 and len(chosen) >= 140, f"{n_types} types, {len(chosen)} values")
            note(f"{len(chosen)} values of {n_types} types")


@case
def types_that_users_made_end_in_what_they_rest_on():
    with Postgres() as pg:
        pg.role()
        columns = [f"c{i} {kind}" for i, (kind, *_) in enumerate(OWN)]
        pg.sql(OWN_TYPES + f"CREATE TABLE own (id int PRIMARY KEY, {', '.join(columns)});"
               "CREATE PUBLICATION dgf FOR TABLE own")
        with Source(pg) as source:
            source.streaming()
            pg.sql(f"INSERT INTO own VALUES (1, {', '.join(literal(o[1]) for o in OWN)})")
            change = source.wait_changes(1)[0]
            for i, (kind, text, column, wanted) in enumerate(OWN):
                got = change["after"][f"c{i}"]
                true(same(got, wanted), f"{kind} '{text}': got {got}, wanted {wanted}")
                equal(change["columns"][f"c{i}"][:2], column, f"column of {kind}")


@case
def every_other_type_is_the_servers_own_text():
    with Postgres() as pg:
        pg.role()
        columns = [f"c{i} {kind}" for i, (kind, _) in enumerate(OPAQUE)]
        pg.sql(OWN_TYPES + f"CREATE TABLE opaque (id int PRIMARY KEY, {', '.join(columns)});"
               "CREATE PUBLICATION dgf FOR TABLE opaque")
        with Source(pg) as source:
            source.streaming()
            pg.sql(f"INSERT INTO opaque VALUES (1, {', '.join(literal(o[1]) for o in OPAQUE)})")
            change = source.wait_changes(1)[0]
            for i, (kind, text) in enumerate(OPAQUE):
                got = change["after"][f"c{i}"]
                if text is None:
                    equal(got, None, kind)
                    continue
                equal(got, {"$opaque": {"type": change["columns"][f"c{i}"][1], "text": text}},
                      kind)
                true(kind in change["columns"][f"c{i}"][1], f"{change['columns'][f'c{i}']}")


@case
def a_type_that_changes_its_name_or_labels_is_read_anew():
    with Postgres() as pg:
        pg.role()
        pg.sql("CREATE TYPE mood AS ENUM ('sad');"
               "CREATE TABLE m (id int PRIMARY KEY, m mood); CREATE PUBLICATION dgf FOR TABLE m")
        with Source(pg) as source:
            source.streaming()
            pg.sql("INSERT INTO m VALUES (1, 'sad')")
            source.wait_changes(1)
            pg.sql("ALTER TYPE mood ADD VALUE 'glad'")
            pg.sql("INSERT INTO m VALUES (2, 'glad'); ALTER TYPE mood RENAME TO feeling;"
                   "ALTER TABLE m ADD COLUMN x int; INSERT INTO m VALUES (3, 'glad', 1)")
            changes = source.wait_changes(3)
            equal([c["after"]["m"] for c in changes], ["sad", "glad", "glad"])
            equal(changes[2]["columns"]["m"][:2], ["enum", "public.feeling"])


if __name__ == "__main__":
    main(parallel=True)
