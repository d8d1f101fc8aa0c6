"""The commands a person types, on a real PostgreSQL."""

import json
import os
import re
import subprocess
import tempfile

import shop
from agent import DGF, Agent
from cases import case, equal, main, true
from redis import Redis
from servers import Postgres


def dgf(*args, env=None, cwd=None):
    return subprocess.run([DGF, *args], text=True, stdout=subprocess.PIPE, timeout=60,
                          stderr=subprocess.PIPE, check=False, cwd=cwd,
                          env=dict(os.environ, **(env or {})))


@case
def what_init_writes_judges_a_database_as_it_stands():
    with Postgres() as pg, tempfile.TemporaryDirectory(prefix="dgf-init-") as folder:
        pg.sql("CREATE TABLE notes (id int PRIMARY KEY, note text)")
        done = dgf("init", "--dir", folder, "--format", "json")
        equal(done.returncode, 0, done.stderr)
        wrote = json.loads(done.stdout)
        equal(wrote["config"], os.path.join(folder, "dgf.yaml"))
        true(os.path.isfile(wrote["policy"]) and os.path.isdir(wrote["data_dir"] + "/keys") and
             wrote["fingerprint"].startswith("sha256:"), wrote)
        again = dgf("init", "--dir", folder)
        equal(again.returncode, 2, "exit code of a second init")
        true("nothing is overwritten" in again.stderr, again.stderr)
        tests = dgf("rules", "test", "--coverage", os.path.join(folder, "policies"))
        equal(tests.returncode, 0, tests.stdout + tests.stderr)
        with open(os.path.join(folder, "dgf.yaml"), encoding="utf-8") as file:
            text = file.read()
        agent = Agent(text, env={"DGF_POSTGRES_URL": pg.conninfo()})
        agent.data_dir = os.path.join(agent.folder.path, data_dir_of(text))
        for name in os.listdir(os.path.join(folder, "policies")):
            with open(os.path.join(folder, "policies", name), encoding="utf-8") as file:
                agent.write_policy(name, file.read())
        true("manage" not in text, "init lets dgf change the database")
        pg.sql(agent.run("check", "-c", agent.config, "--fix-script", check=False).stdout)
        with agent:
            agent.wait(lambda s: next(iter(s["sources"].values()))["state"] == "streaming")
            pg.sql("INSERT INTO notes VALUES (1, 'card 4111 1111 1111 1111'), (2, 'none')")
            pg.sql("TRUNCATE notes")
            found = agent.wait_records(2, "violation")
            equal(sorted(r["policy"]["id"] for r in found), ["CARD-001", "TRUNC-001"])


def data_dir_of(text):
    for line in text.splitlines():
        if line.strip().startswith("data_dir:") or "data_dir:" in line:
            return line.partition("data_dir:")[2].strip(" {}").split(",")[0].split(" ")[0]
    raise AssertionError(f"no data_dir in:\n{text}")


@case
def the_fix_script_of_check_makes_a_bare_server_ready():
    with Postgres("max_slot_wal_keep_size = 1GB") as pg:
        pg.role(rights="LOGIN")
        pg.sql("CREATE SCHEMA shop; CREATE TABLE shop.rows (id bigint PRIMARY KEY, n int, "
               "note text); GRANT USAGE ON SCHEMA shop TO dgf")
        agent = shop.watch(pg)
        fixes = agent.run("check", "-c", agent.config, "--fix-script", check=False)
        equal(fixes.returncode, 1, "exit code while something is missing")
        pg.sql(fixes.stdout)
        left = agent.run("check", "-c", agent.config, check=False)
        equal(left.returncode, 0, left.stdout + left.stderr)
        with agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 3)
            shop.wait_judged(agent, pg)
            equal(shop.same_rows(pg, shop.parse(agent)), 3)


@case
def a_fix_script_of_several_tools_is_still_one_for_psql():
    with Postgres("max_slot_wal_keep_size = 1GB") as pg, Redis() as redis:
        pg.role()
        pg.sql("CREATE SCHEMA shop; CREATE TABLE shop.rows (id bigint PRIMARY KEY, n int, "
               "note text); GRANT USAGE ON SCHEMA shop TO dgf")
        agent = shop.watch(pg)
        text = shop.config(pg).replace("\npolicies:", "\n  cache: {type: redis, insecure: true, "
                                       f'url: "{redis.url()}", streams: [orders]}}\npolicies:')
        agent.write_config(text)
        script = agent.run("check", "-c", agent.config, "--fix-script", check=False).stdout
        true("\n-- outside psql: CONFIG SET appendonly yes\n" in script, script)
        pg.sql(script)
        equal(pg.sql("SELECT pubname FROM pg_publication"), "dgf")
        agent.folder.remove()


TWO = shop.POLICY + shop.POLICY[shop.POLICY.index("  - id:"):] \
    .replace("NEG-001", "BIG-001").replace("severity: high", "severity: low") \
    .replace("after.n < 0", "after.n > 100")


@case
def tail_chooses_by_kind_policy_severity_and_number():
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, policy=TWO, source=", inspect: 1s") as agent:
            agent.wait_source("shop", "streaming")
            pg.sql("INSERT INTO shop.rows VALUES (1, -1), (2, 200), (3, -3), (4, 5)")
            shop.wait_judged(agent, pg)
            agent.wait_records(3, "violation")

            def tail(*more):
                out = agent.run("tail", "-c", agent.config, "--from", "start", "--no-follow",
                                "--format", "json", *more).stdout
                return [json.loads(line) for line in out.splitlines()]
            ids = [r["event"]["key"]["id"] for r in tail()]
            equal(ids, [1, 2, 3], "violations by default")
            equal([r["event"]["key"]["id"] for r in tail("--severity", "medium")], [1, 3])
            equal([r["event"]["key"]["id"] for r in tail("--policy", "BIG-*")], [2])
            equal({r["kind"] for r in tail("--kind", "audit")}, {"audit"})
            equal(len(tail("--kind", "audit", "--count", "2")), 2, "with --count 2")
            human = agent.run("tail", "-c", agent.config, "--from", "start", "--count", "1").stdout
            true("NEG-001" in human and "row 1 has -1" in human, human)
            wrong = agent.run("tail", "-c", agent.config, "--severity", "huge", check=False)
            equal(wrong.returncode, 64, "exit code of a bad severity")
            wrong = agent.run("tail", "-c", agent.config, "-k", "violatoin,gap", check=False)
            true("unknown kind 'violatoin'; did you mean 'violation'?" in wrong.stderr,
                 wrong.stderr)
            pg.sql("ALTER PUBLICATION dgf DROP TABLE shop.rows")
            agent.wait_records(1, "gap")
            true("gap" in {r["kind"] for r in tail("--kind", "gap,violation")}, "there is no gap")
            equal({r["kind"] for r in tail("--policy", "NEG-*")}, {"violation"})
            done = agent.run("tail", "-c", agent.config, "--no-follow", "--policy", "NEG-01")
            equal((done.stdout, done.stderr), ("", "dgf tail: no policy is called 'NEG-01'; there "
                                               "are NEG-001, BIG-001\n"))
            done = agent.run("tail", "-c", agent.config, "--no-follow", "-p", "DGF-COV-1")
            equal(done.stderr, "")


@case
def the_log_is_text_when_asked_and_json_otherwise():
    with Postgres() as pg:
        shop.prepare(pg)
        agent = shop.watch(pg)
        agent.start("--log-format", "text", "--until-caught-up", wait=False)
        equal(agent.exit_code(60), 0, agent.log_text())
        true("started" in agent.log_text() and not agent.log_lines(), agent.log_text())
        os.remove(agent.log)
        agent.start("--until-caught-up", wait=False)
        equal(agent.exit_code(60), 0, agent.log_text())
        true(agent.log_lines(event="started"), agent.log_text())
        agent.folder.remove()


@case
def coverage_of_tests_names_what_no_test_made_fire():
    with tempfile.TemporaryDirectory(prefix="dgf-rules-") as folder:
        path = os.path.join(folder, "p.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(TWO + "    examples: {violates: [{op: insert, after: {n: 101}}]}\n")
        done = dgf("rules", "test", "--coverage", path)
        true("NEG-001" in done.stdout, f"a policy without a test is not named:\n{done.stdout}")


@case
def a_list_that_nothing_reads_is_named_and_one_that_is_read_is_not():
    text = shop.POLICY.replace("after.n < 0", "after.n in lists.bad").replace(
        "policies:\n", "lists: {bad: [1, 2], idle: [3]}\npolicies:\n")
    with tempfile.TemporaryDirectory(prefix="dgf-rules-") as folder:
        path = os.path.join(folder, "p.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        done = dgf("rules", "check", path)
        said = done.stdout + done.stderr
        true("list 'idle' is not used" in said and "list 'bad'" not in said, said)


def check_text(text):
    with tempfile.TemporaryDirectory(prefix="dgf-rules-") as folder:
        path = os.path.join(folder, "p.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return dgf("rules", "check", path)


@case
def a_let_that_would_never_be_seen_is_an_error():
    for name in ("event", "before", "after", "changed", "actor", "classes", "lists"):
        done = check_text(shop.POLICY.replace("policies:\n", f"let: {{{name}: 'true'}}\npolicies:\n"))
        true(done.returncode == 1 and
             f"let '{name}': every expression has this name already" in done.stdout, done.stdout)
    many = ", ".join(f"n{i}: 'true'" for i in range(257))
    done = check_text(shop.POLICY.replace("policies:\n", f"let: {{{many}}}\npolicies:\n"))
    true("'let' holds 257 expressions; it may hold 256" in done.stdout, done.stdout)


@case
def of_rows_that_were_truncated_nothing_is_known():
    text = shop.POLICY.replace("ops: [insert, update]", "ops: [truncate]")
    seen = text.replace("when: after.n < 0", "when: before.n < 0\n    on_unknown: violate")
    seen += "    examples: {violates: [{op: truncate}]}\n"
    with tempfile.TemporaryDirectory(prefix="dgf-rules-") as folder:
        path = os.path.join(folder, "p.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(seen)
        done = dgf("rules", "test", path)
        equal((done.returncode, done.stdout), (0, "1 examples, 0 tests: all hold\n"))
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, policy=text.replace("after.n < 0", '"before == null"')) as agent:
            agent.wait_source("shop", "streaming")
            pg.sql("TRUNCATE shop.rows")
            equal([r["verdict"] for r in agent.wait_records(1, "violation")], ["review"])


@case
def an_example_needs_no_object_whatever_pattern_is_watched():
    for pattern in ("shop.rows", "shop.*", "*.rows", "**.rows", "**", "shop.**", "shop.r*s"):
        text = shop.POLICY.replace("shop.rows", f"'{pattern}'")
        with tempfile.TemporaryDirectory(prefix="dgf-rules-") as folder:
            path = os.path.join(folder, "p.yaml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text + "    examples: {violates: [{op: insert, after: {n: -1}}]}\n")
            done = dgf("rules", "test", path)
        equal((done.returncode, done.stdout), (0, "1 examples, 0 tests: all hold\n"), pattern)


@case
def decimals_that_are_no_numbers_can_be_written_in_tests():
    text = shop.POLICY.replace("after.n < 0", "'after.n < 0 || after.n != after.n'")
    one = "{{op: insert, after: {{n: {{$numberDecimal: \"{}\"}}}}}}"
    text += (f"    examples: {{violates: [{one.format('NaN')}, {one.format('-Infinity')}, "
             f"{one.format('-1.5')}], passes: [{one.format('Infinity')}]}}\n")
    with tempfile.TemporaryDirectory(prefix="dgf-rules-") as folder:
        path = os.path.join(folder, "p.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        done = dgf("rules", "test", path)
    equal((done.returncode, done.stdout), (0, "4 examples, 0 tests: all hold\n"))


@case
def what_is_insecure_is_said_once_for_each_source_and_sink():
    text = ("agent: {data_dir: x}\nsources:\n  p: {type: postgres, insecure: true, url: "
            "'postgresql://dgf@127.0.0.1/x?sslmode=disable'}\n"
            "sinks:\n  k: {type: kafka, brokers: ['127.0.0.1:1'], insecure: true}\n")
    with tempfile.TemporaryDirectory(prefix="dgf-config-") as folder:
        path = os.path.join(folder, "dgf.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        done = dgf("config", "show", "-c", path)
    said = [line.partition("W0201]: ")[2] for line in (done.stdout + done.stderr).splitlines()
            if "W0201" in line]
    equal(said, ["sources.p (postgres): insecure: true allows a connection that does not verify "
                 "the server", "sinks.k (kafka): 'insecure' is on: records travel unencrypted"])


@case
def a_policy_that_does_not_fit_a_table_is_told_once_and_the_others_judge():
    text = shop.POLICY
    for name, when in (("TYPE-1", "after.n == 'x'"), ("NAME-1", "after.m == 1"),
                       ("OLD-1", "before.n == 1")):
        text += (f"  - {{id: {name}, title: t, severity: low, watch: {{objects: [shop.rows]}}, "
                 f'when: "{when}"}}\n')
    with Postgres() as pg:
        shop.prepare(pg)
        with shop.watch(pg, policy=text) as agent:
            agent.wait_source("shop", "streaming")
            shop.insert(pg, 1, 2, value="-1")
            shop.wait_judged(agent, pg)
            found = [(r["policy"]["id"], r["message"]) for r in agent.records("violation")]
            told = [message for policy, message in found if policy == "DGF-COV-1"]
            equal(len(found) - len(told), 2, "violations of the policy that fits")
            equal(told, [
                "policy 'TYPE-1' is not judged on shop.rows: operator '==' does not go with "
                "(int, string); policy 'NAME-1' is not judged on shop.rows: unknown field "
                "'after.m'; did you mean 'after.n'?; policy 'OLD-1' is not judged on shop.rows: "
                "the source does not give before (whole old rows) (ALTER TABLE shop.rows "
                "REPLICA IDENTITY FULL)"])


@case
def no_policies_at_all_are_said_wherever_somebody_looks():
    with tempfile.TemporaryDirectory(prefix="dgf-none-") as folder:
        os.mkdir(os.path.join(folder, "none"))
        for word in ("check", "test"):
            done = dgf("rules", word, "none", cwd=folder)
            equal(done.returncode, 2, f"exit code of rules {word}")
            true("none: error[E0444]: there is no policy here" in done.stdout, done.stdout)
    with Postgres() as pg:
        shop.prepare(pg)
        agent = Agent(shop.config(pg), policies={})
        done = agent.run("check", "-c", agent.config, check=False)
        equal(done.returncode, 0, "exit code of check, which found warnings and no error")
        warning = "warning[W0444]: there is no policy in what 'policies' names: nothing is judged"
        true(warning in done.stdout, done.stdout)
        with agent:
            agent.wait_source("shop", "streaming")
            true(warning in agent.log_text(), agent.log_text())
            said = agent.log_lines(event="no policies: nothing is judged", level="warn")
            true(said, agent.log_text())
            out = agent.run("status", "-c", agent.config, check=False).stdout
            true("policies  none: nothing is judged\n" in out, out)


@case
def help_and_wrong_words_say_what_there_is():
    top = dgf("help")
    equal(top.returncode, 0, "exit code")
    for word in ("run", "check", "rules", "init", "ledger", "tail", "status", "config", "version"):
        true(f"\n  {word} " in top.stdout, f"'{word}' is not in:\n{top.stdout}")
        one = dgf("help", word)
        true(one.returncode == 0 and f"usage: dgf {word}" in one.stdout, one.stdout)
    wrong = dgf("rin")
    equal(wrong.returncode, 64, "exit code of an unknown command")
    true("unknown command 'rin'" in wrong.stderr, wrong.stderr)
    option = dgf("run", "--confog", "x")
    equal(option.returncode, 64, "exit code of an unknown option")
    true("--confog" in option.stderr, option.stderr)


@case
def help_is_also_given_behind_a_command_and_version_says_what_is_built_in():
    equal(dgf("ledger", "cat", "--help").stdout, dgf("help", "ledger").stdout)
    equal(dgf("run", "-h").returncode, 0, "exit code")
    true("sources: postgres" in dgf("version").stdout, "no types in the version")
    answer = json.loads(dgf("version", "--format", "json").stdout)
    true("postgres" in answer["sources"] and {"kafka", "file"} <= set(answer["sinks"]), answer)
    equal(dgf("version", "--format", "xml").returncode, 64, "exit code of a wrong format")


@case
def init_makes_the_folder_and_the_keys_and_run_uses_them():
    with tempfile.TemporaryDirectory(prefix="dgf-init-") as folder:
        new = os.path.join(folder, "here")
        done = dgf("init", "-d", new)
        equal(done.returncode, 0, done.stderr)
        equal(done.stderr, "")
        keys = os.path.join(new, data_dir_of(read(os.path.join(new, "dgf.yaml"))), "keys")
        equal(sorted(os.listdir(keys)), ["sign", "tenant", "token"])
        true("fingerprint of its public key: sha256:" in done.stdout, done.stdout)
        for name in os.listdir(keys):
            equal(os.stat(os.path.join(keys, name)).st_mode & 0o777, 0o600, f"mode of {name}")
        true(f"wrote {os.path.dirname(keys)}/keys" in done.stdout, done.stdout)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def shown(cwd, env, *args):
    """`config show` with nothing else in the environment."""
    done = subprocess.run([DGF, "config", "show", *args], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, timeout=60, cwd=cwd,
                          env={"PATH": os.environ["PATH"], **env})
    return done.returncode, done.stdout, done.stderr


@case
def the_environment_alone_is_a_configuration_and_its_secrets_are_masked():
    env = {"POSTGRESQL_HOST": "db", "POSTGRESQL_PORT": "5433", "POSTGRESQL_USER": "o'hara",
           "POSTGRESQL_PASSWORD": "s3cret-${x}", "POSTGRESQL_DATABASE": "shop",
           "REDIS_HOST": "cache", "REDIS_USER": "dgf", "REDIS_PASSWORD": "s3cret-redis",
           "REDIS_STREAMS": "orders, audit:*", "MONGODB_HOST": "m1", "MONGODB_USER": "a@b",
           "MONGODB_PASSWORD": "s3cret-mongo", "MONGODB_DATABASE": "shop",
           "COSMOS_DB_ENDPOINT": "https://acct.documents.azure.com",
           "COSMOS_DB_KEY": "czNjcmV0LWNvc21vcy1rZXk=", "COSMOS_DB_DATABASE": "shop",
           "COSMOS_DB_CONTAINERS": "a,b",
           "KAFKA_BROKERS": "k1:9093,k2:9093", "DGF_AGENT__NAME": "sidecar",
           "DGF_LEDGER__KEEP": "3d", "DGF_SOURCES__POSTGRESQL__TABLES": "[shop.*]",
           "DGF_POLICIES": "/etc/dgf/policies"}
    with tempfile.TemporaryDirectory(prefix="dgf-env-") as folder:
        code, out, err = shown(folder, env)
        equal(code, 0, err)
        for line in ('name: "sidecar"', "keep: 3d", 'tables: ["shop.*"]',
                     'policies: ["/etc/dgf/policies"]', 'streams: ["orders", "audit:*"]',
                     'user: "dgf"', 'database: "shop"', 'brokers: ["k1:9093", "k2:9093"]'):
            true(f"{line}\n" in out, f"'{line}' is not in:\n{out}")
        equal([name for name in ("postgresql", "redis", "mongodb", "cosmos")
               if f"\n  {name}:\n" in out], ["postgresql", "redis", "mongodb", "cosmos"])
        true('containers: ["a", "b"]' in out, out)
        true("s3cret" not in out + err and "czNjcmV0" not in out + err, f"a secret is shown:\n{out}{err}")
        code, out, err = shown(folder, env, "--format", "json")
        equal(code, 0, err)
        as_json = json.loads(out)
        equal(as_json["agent"]["name"], "sidecar")
        equal(as_json["sources"]["redis"]["streams"], ["orders", "audit:*"])
        equal(as_json["sources"]["mongodb"]["url"], "mongodb://a%40b@m1:27017/")
        equal(as_json["sources"]["postgresql"]["url"],
              r"host='db' port='5433' user='o\'hara' password=*** dbname='shop'")
        equal(as_json["sinks"]["kafka"]["type"], "kafka")
        true("s3cret" not in out + err and "czNjcmV0" not in out + err, f"a secret is shown:\n{out}{err}")
        code, out, err = shown(folder, {"DGF_AGENT__NAME": "nobody"})
        equal((code, out), (78, ""))
        true("none of POSTGRESQL_HOST, REDIS_HOST, MONGODB_HOST and COSMOS_DB_ENDPOINT is set"
             in err, err)
        code, out, err = shown(folder, {**env, "DGF_LEDGER__KEPT": "1d", "DGF_LIMITS__EVENT_BYTES":
                                        "huge"})
        equal(code, 78, "exit code")
        true("environment DGF_LEDGER__KEPT: error[E0202]" in err and
             "environment DGF_LIMITS__EVENT_BYTES: error[E0204]" in err, err)


@case
def the_environment_goes_over_conf_d_and_that_over_the_file():
    with tempfile.TemporaryDirectory(prefix="dgf-env-") as folder:
        os.mkdir(os.path.join(folder, "conf.d"))
        for name, text in (("dgf.yaml", "agent: {name: file, env: file, data_dir: file}\n"
                                        "sources: {a: {type: postgres, url: host=x}}\n"),
                           ("conf.d/20.yaml", "agent: {name: twenty}\n"),
                           ("conf.d/10.yaml", "agent: {name: ten, env: ten}\n"
                                              "sources: {a: {tables: [shop.*]}}\n")):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        code, out, err = shown(folder, {})
        equal(code, 0, err)
        for line in ('name: "twenty"', 'env: "ten"', 'tables: ["shop.*"]'):
            true(line in out, f"'{line}' is not in:\n{out}")
        out = shown(folder, {"DGF_AGENT__NAME": "variable"})[1]
        true('name: "variable"' in out and 'env: "ten"' in out, out)
        with open(os.path.join(folder, "conf.d/30.yaml"), "w", encoding="utf-8") as file:
            file.write("agent: {name: !tag thirty}\nlog: {level: loud}\n")
        code, out, err = shown(folder, {})
        equal(code, 78, err)
        true("30.yaml:1:15: error[E0104]" in err and "30.yaml:2:14: error[E0205]" in err, err)


@case
def what_connectors_find_shows_its_line_and_stands_beside_other_mistakes():
    with tempfile.TemporaryDirectory(prefix="dgf-bad-") as folder:
        path = os.path.join(folder, "dgf.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write("sources:\n"
                       "  o: {type: postgres, url: 'host=x sslmode=disable password=hunter2', a: 1}\n"
                       "  p: {type: postgres, url: ''}\n"
                       "sinks:\n"
                       "  k: {type: kafka, brokers: [], librdkafka: {acks: '0'}}\n"
                       "  f: {type: file, path: x, select: {kinds: [gapp], min_severity: no}}\n")
        code, out, err = shown(folder, {})
        equal((code, out), (78, ""))
        for place, words in (("2:28", "error[E0601]: sources.o (postgres): sslmode 'disable'"),
                             ("2:71", "error[E0202]: sources.o (postgres): unknown option 'a'"),
                             ("3:28", "error[E0203]: sources.p (postgres): 'url' is empty"),
                             ("5:29", "error[E0203]: sinks.k (kafka): 'brokers' is empty"),
                             ("5:52", "error[E0701]: sinks.k (kafka): property 'acks'"),
                             ("6:45", "error[E0205]: sinks.f (file): 'select.kinds' has 'gapp'"),
                             ("6:66", "error[E0205]: sinks.f (file): 'min_severity' is 'no'")):
            true(re.search(rf"^dgf.yaml:{place}: {re.escape(words)}.*\n +{place[0]} \| .*\n +\| +\^",
                           err, re.M), f"{place} {words} is not in:\n{err}")
        true("hunter2" not in err, err)


@case
def a_certificate_file_that_is_none_is_named_with_its_line():
    with tempfile.TemporaryDirectory(prefix="dgf-ca-") as folder:
        path = os.path.join(folder, "dgf.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write("agent: {data_dir: data}\n"
                       "sources: {p: {type: postgres, url: 'host=127.0.0.1 port=1 user=x'}}\n"
                       "sinks:\n"
                       "  k: {type: kafka, brokers: ['127.0.0.1:1'], tls: {ca: /nowhere/ca.crt}}\n"
                       f"  l: {{type: kafka, brokers: ['127.0.0.1:1'], tls: {{ca: {path}}}}}\n")
        done = dgf("check", "-c", "dgf.yaml", cwd=folder)
        equal(done.returncode, 1, done.stdout + done.stderr)
        for text in ("dgf.yaml:4:3: error[E0502]: sinks.k (kafka): cannot read '/nowhere/ca.crt' of "
                     "'tls.ca': No such file or directory\n    4 |   k: {type: kafka",
                     f"dgf.yaml:5:3: error[E0502]: sinks.l (kafka): '{path}' of 'tls.ca' holds no "
                     "certificate, PEM: "):
            true(text in done.stdout, f"'{text}' is not in:\n{done.stdout}")


@case
def eval_answers_one_expression_on_a_line():
    def asked(*args, code=0):
        done = dgf("eval", *args)
        equal(done.returncode, code, done.stdout + done.stderr)
        return done.stderr if code else done.stdout
    equal(asked("1 + 2 * 3"), "7\n")
    equal(asked("--bindings", '{"x": {"int64Value": "4"}, "u": {"unknown": true}}',
                "x < 3 && u"), "false\n")
    equal(asked("--policy", "decimal('0.1') + decimal('0.2') == decimal('0.3')"), "true\n")
    equal(asked("--policy", "pii.card('card 4111 1111 1111 1111') && glob('a.b', 'a.*')"), "true\n")
    true("needs the agent's key" in asked("--policy", "token('x')", code=1), "token() without a key")
    true("mul" in asked("--code", "-b", '{"x": {"int64Value": "4"}}', "x * x").lower(),
         "no instruction in the listing")
    true(asked("--bench", "1000", "1 < 2").splitlines()[1].endswith(" ns"), "no time")
    equal(asked("10 / (2 - 2)", code=1), "error: division by zero\n")
    equal(asked("siz('a') > 1", code=1),
          "dgf eval: error[E0302]: unknown function 'siz'; did you mean 'size'?\n"
          "  siz('a') > 1\n"
          "  ^~~\n")
    true("one expression is wanted" in asked(code=64), "usage")
    true("--bench wants a number" in asked("--bench", "many", "1", code=64), "usage")
    true("--bindings:" in asked("--bindings", "{", "1", code=64), "usage")


@case
def eval_answers_a_batch_line_by_line_whatever_the_line_holds():
    lines = [
        {"expr": "x + 1", "bindings": {"x": {"int64Value": "41"}}},
        {"expr": "x && false", "bindings": {"x": {"unknown": True}}},
        {"expr": "x && true", "bindings": {"x": {"unknown": True}}},
        {"expr": "[1, 2].map(i, i * 2)", "checkOnly": True},
        {"expr": "x == 'a'", "typeEnv": [{"name": "x", "ident": {"type": {"primitive": "INT64"}}}]},
        {"expr": "has(a.b)", "disableMacros": True},
        {"expr": "1.0 / 0.0"},
        {"expr": 5},
        {"expr": "1", "bindings": {"x": {"int64Value": "many"}}},
    ]
    text = "\n".join(map(json.dumps, lines)) + "\n\nnot json\n"
    done = subprocess.run([DGF, "eval", "--batch"], input=text, text=True, timeout=30,
                          stdout=subprocess.PIPE, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    equal(len(answers), len(lines) + 1, "answers")
    equal(answers[0]["value"], {"int64Value": "42"})
    equal(answers[1]["value"], {"boolValue": False})
    equal(answers[2]["unknown"], True)
    equal(answers[3], {"type": {"listType": {"elemType": {"primitive": "INT64"}}}})
    equal(answers[4]["error"], "operator '==' does not go with (int, string)")
    true("error" in answers[5], answers[5])
    equal(answers[6]["value"], {"doubleValue": "Infinity"})
    equal(answers[7], {"error": "'expr' is missing"})
    true("binding 'x'" in answers[8]["error"], answers[8])
    true("error" in answers[9], answers[9])


if __name__ == "__main__":
    main()
