"""What `dgf check` says, without asking anybody, of Azure sources that are configured badly."""

import os
import re
import subprocess
import tempfile

from agent import DGF
from cases import case, equal, main, true

KEY = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="
COSMOS = """agent: {{data_dir: data}}
sources:
  market:
    type: cosmos
    url: {url}
    database: shop
    containers: [orders]
{more}"""
BLOB = """agent: {{data_dir: data}}
sources:
  files:
    type: blob
    url: {url}
{more}"""
SINK = """agent: {{data_dir: data}}
sources: {{a: {{type: postgres, url: host=x}}}}
sinks:
  vault:
    type: blob
    url: {url}
{more}"""
COSMOS_URL, BLOB_URL = "https://acct.documents.azure.com", "https://acct.blob.core.windows.net"
WITH_KEY = f"    auth: key\n    key: {KEY}\n"


def check(text, *args, **env):
    """(exit code, output) of dgf check on this file."""
    with tempfile.TemporaryDirectory(prefix="dgf-azure-") as folder:
        with open(os.path.join(folder, "dgf.yaml"), "w", encoding="utf-8") as file:
            file.write(text)
        done = subprocess.run([DGF, "check", "-c", "dgf.yaml", *args], text=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              cwd=folder, env={"PATH": os.environ["PATH"], **env})
    true(KEY not in done.stdout and KEY[:40] not in done.stdout, f"a key is shown:\n{done.stdout}")
    return done.returncode, done.stdout


def errors(out):
    """["line:col CODE text"]"""
    return [f"{place} {code} {text}" for place, code, text in
            re.findall(r"^(?:dgf\.yaml:([0-9:]+): )?error\[(E\d+)\]: (.*)$", out, re.M)]


def refused(text, *wanted, **env):
    """Exactly these errors, before anything was asked; the output."""
    code, out = check(text, **env)
    equal(code, 78, out)
    equal(errors(out), list(wanted), out)
    return out


@case
def a_missing_auth_names_the_default_and_the_way_out_once_at_its_source():
    says = ("auth is workload_identity, the default, and these are neither options nor in the "
            "environment: 'tenant_id' (AZURE_TENANT_ID), 'client_id' (AZURE_CLIENT_ID), "
            "'token_file' (AZURE_FEDERATED_TOKEN_FILE); with an account key write auth: key")
    queue = "    queue: https://acct.queue.core.windows.net/events\n    feed: true\n"
    for text, what in ((COSMOS.format(url=COSMOS_URL, more=""), "4:5 E0640 sources.market (cosmos)"),
                       (BLOB.format(url=BLOB_URL, more=queue), "4:5 E0640 sources.files (blob)"),
                       (BLOB.format(url=BLOB_URL, more=queue + "    auth: workload_identity\n"),
                        "8:11 E0640 sources.files (blob)")):
        code, out = check(text)
        equal((code, errors(out)), (1, [f"{what}: {says}"]), out)
        true('= fix: auth: key, key: "${file:/run/secrets/azure}"' in out, out)
    sink = SINK.format(url=BLOB_URL + "/evidence", more="")
    told = [line for line in errors(check(sink)[1]) if "E0640" in line]
    equal(told, [f"5:5 E0640 sinks.vault (blob): {says}"])
    out = check(COSMOS.format(url=COSMOS_URL, more="    auth: client_secret\n"),
                AZURE_TENANT_ID="t", AZURE_CLIENT_ID="c")[1]
    equal(errors(out), ["8:11 E0640 sources.market (cosmos): auth is client_secret, and these are "
                        "neither options nor in the environment: 'client_secret' "
                        "(AZURE_CLIENT_SECRET); with an account key write auth: key"])


@case
def a_key_without_auth_is_told_with_the_line_to_add():
    out = refused(COSMOS.format(url=COSMOS_URL, more=f"    key: {KEY}\n"),
                  "8:10 E0640 sources.market (cosmos): 'key' is for auth: key, but auth is "
                  "workload_identity, the default")
    true("= fix: auth: key\n" in out, out)


@case
def an_address_names_its_option_and_value_and_the_caret_stands_at_it():
    out = refused(COSMOS.format(url="acct.documents.azure.com", more=WITH_KEY),
                  "5:10 E0640 sources.market (cosmos): 'url' is 'acct.documents.azure.com', which "
                  "is no https:// address; example: https://ACCOUNT.documents.azure.com")
    true("\n    5 |     url: acct.documents.azure.com\n      |          ^~~~~~~~~~~~~~" in out, out)
    refused(BLOB.format(url="http://127.0.0.1:10000/devstoreaccount1", more="    feed: true\n" +
                        WITH_KEY),
            "5:10 E0640 sources.files (blob): 'url' is 'http://127.0.0.1:10000/devstoreaccount1': "
            "http:// sends everything in the clear; write https://, or insecure: true for an "
            "emulator")
    refused(BLOB.format(url=BLOB_URL + "/media", more="    feed: true\n" + WITH_KEY),
            f"5:10 E0640 sources.files (blob): 'url' is '{BLOB_URL}/media'; it names the account "
            f"alone, without a path, like https://ACCOUNT.blob.core.windows.net")
    out = refused(BLOB.format(url=BLOB_URL + "?sv=1&sig=geheim",
                              more="    feed: true\n" + WITH_KEY),
                  f"5:10 E0640 sources.files (blob): 'url' is '{BLOB_URL}?sv=1&sig=***'; it ends "
                  "before '?': a shared access signature stands in 'sas', with auth: sas")
    true("geheim" not in out, out)
    out = refused(BLOB.format(url="https://x.queue.core.windows.net", more="    feed: true\n" +
                              WITH_KEY),
                  "5:10 E0640 sources.files (blob): 'url' is 'https://x.queue.core.windows.net', an "
                  "address of Queue Storage; it must be like https://ACCOUNT.blob.core.windows.net")
    true("= fix: url: https://x.blob.core.windows.net\n" in out, out)
    refused(COSMOS.format(url=BLOB_URL, more=WITH_KEY),
            f"5:10 E0640 sources.market (cosmos): 'url' is '{BLOB_URL}', an address of Blob "
            "Storage; it must be like https://ACCOUNT.documents.azure.com")
    refused(SINK.format(url="https://acct.dfs.core.windows.net/evidence", more=WITH_KEY),
            "6:10 E0640 sinks.vault (blob): 'url' is 'https://acct.dfs.core.windows.net/evidence', "
            "an address of Data Lake Storage; it must be like "
            "https://ACCOUNT.blob.core.windows.net/CONTAINER")


@case
def a_wrong_word_is_one_finding():
    refused(COSMOS.format(url=COSMOS_URL, more=WITH_KEY.replace("key\n", "kex\n", 1)),
            "8:11 E0205 sources.market (cosmos): 'auth' is 'kex'; must be one of "
            "key|workload_identity|managed_identity|client_secret; did you mean 'key'?")
    refused(BLOB.format(url=BLOB_URL, more="    feed: yes\n" + WITH_KEY),
            "6:11 E0204 sources.files (blob): 'feed' is 'yes'; must be true or false")
    out = refused(COSMOS.format(url=COSMOS_URL, more="    auth: key\n    keyy: geheim\n"),
                  "9:5 E0202 sources.market (cosmos): unknown option 'keyy'; did you mean 'key'?")
    true("    9 |     keyy: ******\n" in out and "geheim" not in out, out)


@case
def cosmos_offers_no_auth_that_it_does_not_know():
    out = refused(COSMOS.format(url=COSMOS_URL, more="    auth: sas\n"),
                  "8:11 E0205 sources.market (cosmos): 'auth' is 'sas'; must be one of "
                  "key|workload_identity|managed_identity|client_secret")
    true("did you mean" not in out, out)


@case
def a_connection_string_is_taken_apart_and_its_key_stays_hidden():
    string = f"AccountEndpoint={COSMOS_URL}:443/;AccountKey={KEY};"
    out = refused(COSMOS.format(url=f'"{string}"', more="    auth: key\n"),
                  "5:10 E0640 sources.market (cosmos): 'url' is a connection string: write its "
                  "address to 'url' and its AccountKey to 'key'")
    true(f'= fix: url: "{COSMOS_URL}:443/", auth: key, key: "${{file:/run/secrets/azure}}"' in out,
         out)
    string = ("DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=geheim;"
              "EndpointSuffix=core.windows.net")
    out = refused(BLOB.format(url=string, more="    feed: true\n"),
                  "5:10 E0640 sources.files (blob): 'url' is a connection string: write its "
                  "address to 'url' and its AccountKey to 'key'")
    true(f'= fix: url: "{BLOB_URL}", auth: key' in out and "geheim" not in out, out)
    string = f"DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={KEY}"
    refused(BLOB.format(url=BLOB_URL, more=f"    feed: true\n    auth: key\n    key: {string}\n"),
            "8:10 E0640 sources.files (blob): 'key' is a connection string: write only what "
            "follows AccountKey= to it")


@case
def a_key_in_any_wrong_place_is_not_shown():
    half, rest = KEY[:20], KEY[20:]
    string = f"['AccountEndpoint=x;AccountKey={KEY};']"
    whole = COSMOS.format(url=COSMOS_URL, more=WITH_KEY)
    texts = [COSMOS.format(url=KEY, more=f"    auth: key\n    key: {COSMOS_URL}\n"),
             whole.replace("[orders]", string),
             SINK.format(url=BLOB_URL + "/evidence", more="    prefix: ?sv=2021&sig=" + KEY + "\n"),
             whole.replace(f"key: {KEY}", "key: ${" + KEY + "}"),
             whole.replace(f"key: {KEY}", "key: ${file:" + KEY + "}"),
             whole.replace(f"key: {KEY}", f"kye: {half} #{rest}"),
             whole.replace("auth: key", f"auth: kye # was key {KEY}"),
             whole.replace("market:", KEY + ":").replace("auth: key", "auth: kye"),
             SINK.format(url=BLOB_URL, more=WITH_KEY).replace("vault:", KEY + ":")]
    texts += [whole.replace(old, new + KEY) for old, new in (
        ("database: shop", "database: "), ("auth: key", "auth: "), ("type: cosmos", "type: "),
        ("containers: [orders]", "containers: "), ("containers: [orders]", "poll: "))]
    for text in texts:
        out = check(text)[1]
        shown = [key for key in (KEY, rest, KEY[:60], half) if key in out]
        true("***" in out and not shown, f"{shown} of\n{text}\nis shown:\n{out}")
    for name in ("database: shop", "market:"):
        text = whole.replace(name, name.split()[0] + f" {KEY}" if " " in name else KEY + ":")
        with tempfile.TemporaryDirectory(prefix="dgf-azure-") as folder:
            with open(os.path.join(folder, "dgf.yaml"), "w", encoding="utf-8") as file:
                file.write(text)
            out = subprocess.run([DGF, "config", "show", "-c", "dgf.yaml"], text=True, timeout=60,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                                 cwd=folder).stdout
        true("***" in out and KEY[:60] not in out, out)


@case
def an_emulators_address_without_container_or_queue_is_found_at_its_place():
    account = "http://127.0.0.1:10000/devstoreaccount1"
    more = WITH_KEY + "    insecure: true\n"
    for host in (account, account + "/", account.replace("127.0.0.1", "localhost")):
        out = refused(SINK.format(url=host, more=more),
                      "6:10 E0705 sinks.vault (blob): 'url' must name a container or queue behind "
                      "the account of the emulator, like "
                      "http://127.0.0.1:10000/devstoreaccount1/NAME")
        true(f"    6 |     url: {host}\n" in out, out)
    refused(BLOB.format(url=account, more=f"    queue: {account}\n" + more),
            "6:12 E0650 sources.files (blob): 'queue' must be "
            "https://ACCOUNT.queue.core.windows.net/QUEUE")


@case
def a_sink_that_cannot_be_reached_is_told_at_its_address():
    out = check(SINK.format(url="http://127.0.0.1:1/devstoreaccount1/evidence",
                            more=WITH_KEY + "    insecure: true\n"))[1]
    told = [line for line in errors(out) if "E0502" in line]
    true(len(told) == 1 and told[0].startswith("6:10 E0502 sinks.vault (blob): cannot reach"), out)


@case
def another_name_of_an_option_is_one_finding():
    refused(COSMOS.format(url=COSMOS_URL, more=WITH_KEY).replace("containers:", "container:"),
            "7:5 E0202 sources.market (cosmos): unknown option 'container'; did you mean "
            "'containers'?")
    for name in ("AccountKey", "connection_string"):
        refused(COSMOS.format(url=COSMOS_URL, more=WITH_KEY.replace("    key:", f"    {name}:")),
                f"9:5 E0202 sources.market (cosmos): unknown option '{name}'; did you mean 'key'?")


@case
def a_sas_in_the_wrong_place_or_shape_is_found_offline():
    sas = "sv=2021-12-02&sp=rl&sig=geheim"
    out = refused(BLOB.format(url=BLOB_URL, more=f"    feed: true\n    auth: key\n    key: {sas}\n"),
                  "8:10 E0640 sources.files (blob): 'key' is a shared access signature: write it "
                  "to 'sas', with auth: sas")
    true('= fix: auth: sas, sas: "${file:/run/secrets/sas}"' in out and "geheim" not in out, out)
    out = refused(BLOB.format(url=BLOB_URL, more="    feed: true\n    auth: sas\n"
                              f"    sas: {BLOB_URL}?{sas}\n"),
                  "8:10 E0640 sources.files (blob): 'sas' is an address: write only what follows "
                  "its '?' to it")
    true("geheim" not in out, out)


@case
def an_unknown_type_is_answered_with_those_there_are():
    out = refused("sources: {c: {type: azure_cosmos, url: x, key: geheim}}\n",
                  "1:21 E0208 sources.c: unknown type 'azure_cosmos'; did you mean 'cosmos'?; types "
                  "of a source are postgres, mongo, redis, redis_keys, cosmos, blob, replay")
    true("geheim" not in out, out)
    text = COSMOS.format(url="acct", more=WITH_KEY).replace("type: cosmos", "type: cosmosdb")
    true(errors(check(text)[1])[0].startswith("5:10 E0640 sources.market (cosmos)"), "the alias")


@case
def check_looks_at_key_files_and_run_at_all_before_it_makes_one():
    text = ("agent: {data_dir: data}\nledger: {archive: true}\nkeys: {sign: bad}\n"
            "sources: {a: {type: replay, path: none.dgr}}\n")
    with tempfile.TemporaryDirectory(prefix="dgf-azure-") as folder:
        key = os.path.join(".", "bad")
        for name, content in (("dgf.yaml", text), ("bad", "zz\n")):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(content)
        for mode, code, says in ((0o644, "E0212", f"key file '{key}' may be read by others (mode "
                                  "644): run chmod 600"),
                                 (0o600, "E0211", f"key file '{key}' does not hold 32 bytes or 64 "
                                  "hex digits")):
            os.chmod(os.path.join(folder, key), mode)
            for command in ("check", "run"):
                done = subprocess.run([DGF, command, "-c", "dgf.yaml"], text=True, timeout=60,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                                      cwd=folder)
                wanted = f"dgf.yaml:3:14: error[{code}]: keys.sign: {says}"
                true((wanted if command == "check" else says) in done.stdout, done.stdout)
                equal(done.returncode, 1 if command == "check" else 78, done.stdout)
                for made in ("tenant", "token"):
                    true(not os.path.exists(os.path.join(folder, "data", "keys", made)), made)


@case
def a_secret_that_is_not_set_gets_no_default_and_a_bare_reference_wants_quotes():
    flow = ("sources: {c: {type: cosmos, url: %s, database: s, containers: [a], auth: key, "
            "key: %s}}\n")
    refused(flow % (COSMOS_URL, '"${COSMOS_KEY}"'),
            "1:114 E0207 environment variable 'COSMOS_KEY' is not set; set it, or keep the secret "
            "in a file and write ${file:PATH}")
    refused(flow % (COSMOS_URL, "${COSMOS_KEY}"),
            "1:114 E0102 invalid YAML: a reference within { } or [ ] needs quotes: "
            '"${COSMOS_KEY}"')


@case
def variables_and_paths_that_lead_nowhere_are_named():
    text = COSMOS.format(url=COSMOS_URL, more=WITH_KEY) + "policies:\n  - none/here\n"
    out = refused(text, "11:5 E0444 cannot read './none/here': No such file or directory",
                  DGF_AGENT_NAME="x", DGF_POLICY="y", DGF_SOURCES_MARKET_URL="z", DGF_BUILD="b",
                  DGF_AGENT__NAME="fine")
    told = [line.partition("W0202]: ")[2] for line in out.splitlines() if "W0202" in line]
    equal(sorted(told), [f"environment variable '{name}' is not read; did you mean '{near}'?"
                         for name, near in (("DGF_AGENT_NAME", "DGF_AGENT__NAME"),
                                            ("DGF_POLICY", "DGF_POLICIES"),
                                            ("DGF_SOURCES_MARKET_URL",
                                             "DGF_SOURCES__NAME__OPTION"))])


if __name__ == "__main__":
    main()
