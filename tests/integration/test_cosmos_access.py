#!/usr/bin/env python3
"""Keys, Entra tokens, TLS and what `dgf check` says of a Cosmos DB account."""

import base64
import http.server
import json
import os
import ssl
import sys
import threading
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from cases import case, equal, main, true
from cosmos import config, seen, streaming, wait_seen, watch
from fake_cosmos import FakeCosmos
from servers import Certs, Folder, wait_until


class Entra:
    """The token endpoint and the metadata service; every token is let in by the account."""

    def __init__(self, fake, certs=None, life=3600):
        self.fake, self.life, self.asked, self.refuse = fake, life, [], None
        entra = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format, *args):  # pylint: disable=redefined-builtin
                pass

            def do_POST(self):
                length = int(self.headers.get("Content-Length") or 0)
                fields = dict(urllib.parse.parse_qsl(self.rfile.read(length).decode()))
                entra.asked.append((self.path, fields, dict(self.headers)))
                status, answer = 200, {"token_type": "Bearer", "expires_in": entra.life}
                if entra.refuse:
                    status, answer = 401, {"error": "invalid_client",
                                           "error_description": entra.refuse}
                else:
                    answer["access_token"] = f"token-{len(entra.asked)}"
                    entra.fake.tokens.add(answer["access_token"])
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if certs:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certs)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if certs else ''}://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def one_more(fake, agent, n):
    fake.container().upsert({"id": f"i{n}", "pk": "p", "n": n})
    wait_seen(agent, n)
    equal([int(m.split()[-1]) for m in seen(agent)], list(range(1, n + 1)))


def check(agent, wanted, code=1):
    done = agent.run("check", "-c", agent.config, check=False)
    for text in wanted:
        true(text in done.stdout + done.stderr, f"{text!r} in {done.stdout}{done.stderr}")
    equal(done.returncode, code)
    return done.stdout + done.stderr


@case
def a_wrong_key_is_for_a_person_and_is_never_shown():
    wrong = base64.b64encode(b"wrong" * 12).decode()
    with FakeCosmos() as fake, watch(fake, key=wrong) as agent:
        status = agent.wait(lambda s: s["sources"]["shop"]["state"] == "retrying", 20)
        true("answers 401: The input authorization token can't serve the request" in
             status["sources"]["shop"]["reason"], status["sources"]["shop"])
        true("is 'key' a key of this account?" in status["sources"]["shop"]["reason"], status)
        with open(agent.log, encoding="utf-8") as file:
            true(wrong not in file.read(), "the key stands in the log")
        text = check(agent, ["answers 401", "az cosmosdb keys list"])
        true(wrong not in text, text)


@case
def what_is_missing_is_said_by_check():
    with FakeCosmos() as fake:
        fake.make("plain", changeFeedPolicy=None, defaultTtl=60)
        agent = watch(fake, containers="[orders, never, plain]", mode="all_versions",
                      source=", regions: [Atlantis]")
        check(agent, ["there is no container 'never' in database 'shop'",
                      "container 'plain' has no change feed policy",
                      "cannot be read in region 'Atlantis'"])
        agent.write_config(config(fake, containers="[orders, plain]"))
        check(agent, ["documents of container 'plain' expire"])
        agent.write_config(config(fake))
        text = check(agent, ["insecure: true"])
        true("E06" not in text and "W06" not in text, text)
        fake.denied = (403, "Forbidden", "Request originated from IP 1.2.3.4 through public "
                       "internet. This is blocked by your Cosmos DB account firewall settings.")
        check(agent, ["blocked by your Cosmos DB account firewall"])
        fake.denied, fake.skew = None, 7200
        check(agent, ["the clock of this machine is 7", "timedatectl"])
        agent.folder.remove()


@case
def a_policy_that_needs_deletes_does_not_pass_check_on_latest_versions():
    with FakeCosmos() as fake:
        agent = watch(fake, policy=None, mode="latest_version")
        with open(os.path.join(agent.policies, "shop.yaml"), encoding="utf-8") as file:
            text = file.read()
        agent.write_policy("shop.yaml", text.replace("[insert, replace]", "[insert, delete]", 1))
        done = agent.run("check", "-c", agent.config, check=False)
        true(done.returncode != 0 and "delete" in done.stdout + done.stderr,
             done.stdout + done.stderr)
        agent.folder.remove()


@case
def an_all_versions_source_of_a_container_without_a_policy_is_refused():
    with FakeCosmos() as fake:
        fake.container().set(changeFeedPolicy=None)
        with watch(fake, mode="all_versions") as agent:
            agent.wait(lambda s: "needs continuous backup" in s["sources"]["shop"]["reason"], 20)


@case
def a_client_secret_gives_tokens_that_are_replaced():
    with FakeCosmos() as fake, Entra(fake, life=4) as entra:
        auth = (f"auth: client_secret, tenant_id: t-1, client_id: c-1, client_secret: s3cret-1, "
                f"authority: '{entra.url}'")
        with watch(fake, mode="all_versions", auth=auth) as agent:
            streaming(agent)
            one_more(fake, agent, 1)
            wait_until(lambda: len(entra.asked) > 3, 40, "a fourth token")
            one_more(fake, agent, 2)
            path, fields, _ = entra.asked[0]
            equal(path, "/t-1/oauth2/v2.0/token")
            equal(fields, {"client_id": "c-1", "client_secret": "s3cret-1",
                           "grant_type": "client_credentials",
                           "scope": "https://127.0.0.1/.default"})
            equal(agent.records("gap"), [])
            entra.refuse = "AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1"
            agent.wait(lambda s: "AADSTS7000215" in s["sources"]["shop"]["reason"], 40)
            entra.refuse = None
            with open(agent.log, encoding="utf-8") as file:
                log = file.read()
            true("s3cret-1" not in log and "token-1" not in log, log)
        with watch(fake, mode="all_versions", auth=auth) as agent:
            streaming(agent)


@case
def a_workload_and_a_machine_get_tokens_over_tls():
    folder = Folder("certs")
    certs = Certs(folder.path)
    pair = certs.issue("server")[:2]
    token = folder / "token"
    with open(token, "w", encoding="utf-8") as file:
        file.write("assertion-1\n")
    with FakeCosmos(certs=pair) as fake, Entra(fake, pair) as entra, Entra(fake) as machine:
        env = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_AUTHORITY_HOST": entra.url,
               "AZURE_FEDERATED_TOKEN_FILE": token}
        with watch(fake, mode="all_versions", auth=f"auth: workload_identity, ca: '{certs.ca}'",
                   insecure=False, env=env) as agent:
            streaming(agent)
            one_more(fake, agent, 1)
            equal(entra.asked[0][1]["client_assertion"], "assertion-1")
            check(agent, [], 0)
        env = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": machine.url}
        with watch(fake, mode="all_versions", auth=f"auth: managed_identity, ca: '{certs.ca}'",
                   insecure=False, env=env) as agent:
            streaming(agent)
            true(machine.asked[0][0].startswith("/metadata/identity/oauth2/token?"),
                 machine.asked)
            equal(machine.asked[0][2]["Metadata"], "true")
            fake.tokens.clear()                      # revoked: one more is fetched
            fake.container().upsert({"id": "x", "pk": "p", "n": 1})
            wait_seen(agent, 1)
            equal(len(machine.asked), 2)
    folder.remove()


@case
def a_server_nobody_vouches_for_is_refused():
    folder = Folder("certs")
    certs = Certs(folder.path)
    with FakeCosmos(certs=certs.issue("server")[:2]) as fake:
        with watch(fake, insecure=False) as agent:
            agent.wait(lambda s: "the certificate of" in s["sources"]["shop"]["reason"] and
                       "is refused" in s["sources"]["shop"]["reason"], 20)
            equal(fake.seen, [])
    folder.remove()


@case
def an_account_that_is_away_is_waited_for():
    with FakeCosmos() as fake:
        agent = watch(fake, mode="all_versions")
        fake.down = {"Home"}
        with agent:
            agent.wait(lambda s: s["sources"]["shop"]["state"] == "retrying", 40)
            fake.down = set()
            streaming(agent, 60)
            one_more(fake, agent, 1)


if __name__ == "__main__":
    sys.exit(main())
