"""How Blob Storage is reached, what is looked into, and what inspection tells."""

import json

import media
from azurite import Azurite
from cases import case, equal, main, true
from changefeed import ChangeFeed, notice
from servers import wait_until

LOOK = """version: 1
info: {title: Contents, owner: test@example.org}
policies:
  - id: CARD-001
    title: No card numbers in blobs
    severity: high
    watch: {objects: ["media/**"], kinds: [notice], ops: [create, replace]}
    when: pii.card(after.content)
    message: "{{after.path}}"
    audit: every_event
"""
SETTINGS = """version: 1
info: {title: Containers, owner: test@example.org}
policies:
  - id: OPEN-001
    title: No container is public
    severity: critical
    watch: {objects: ["**"], kinds: [setting]}
    when: 'has(after.public_access) && after.public_access != "none"'
    message: "{{event.op}}"
    audit: every_event
"""


def prepared(azurite):
    azurite.put_container("media")
    azurite.put_queue("events")


def verdicts(agent):
    return {r["event"]["object"]: r["verdict"] for r in agent.records("audit")}


@case
def contents_are_scanned_and_what_cannot_be_had_goes_to_review():
    with Azurite() as azurite:
        prepared(azurite)
        blobs = {"card.txt": b"card 4111 1111 1111 1111", "plain.txt": b"nothing to see",
                 "binary": b"\xff\xfe 4111111111111111", "large.txt": b"x" * 5000,
                 "name with ? & #.txt": b"4111111111111111", "empty.txt": b""}
        for n, (name, content) in enumerate(blobs.items()):
            etag = azurite.put_blob("media/" + name, content)
            azurite.put_message("events", notice(n, path=name, etag=etag.strip('"'),
                                                 contentLength=len(content)))
        azurite.put_blob("media/changed.txt", b"4111111111111111")
        azurite.put_message("events", notice(90, path="changed.txt", contentLength=16))
        azurite.put_message("events", notice(91, path="gone.txt", contentLength=16))
        with media.watch(azurite, policy=LOOK,
                         source=", look: {max_bytes: 1KiB, rate: 1000}") as agent:
            media.wait_judged(agent, len(blobs) + 2)
            media.wait_empty(azurite)
            equal(verdicts(agent), {
                "media/card.txt": "violation", "media/plain.txt": "pass",
                "media/binary": verdicts(agent)["media/binary"],
                "media/large.txt": "review", "media/name with ? & #.txt": "violation",
                "media/empty.txt": "pass", "media/changed.txt": "review",
                "media/gone.txt": "review"})
            true(verdicts(agent)["media/binary"] != "review", "bytes are not unknown")
            text = b"".join(agent.lines())
            true(b"4111 1111 1111 1111" not in text and b"4111111111111111" not in text,
                 "a card number is in the ledger")


@case
def contents_beyond_the_rate_are_unknown_and_not_waited_for():
    with Azurite() as azurite:
        prepared(azurite)
        for n in range(40):
            etag = azurite.put_blob(f"media/{n}.txt", b"plain")
            azurite.put_message("events", notice(n, path=f"{n}.txt", etag=etag.strip('"'),
                                                 contentLength=5))
        with media.watch(azurite, policy=LOOK,
                         source=", look: {max_bytes: 1KiB, rate: 1}") as agent:
            media.wait_judged(agent, 40)
            found = list(verdicts(agent).values())
            equal(len(found), 40)
            true(20 < found.count("review") < 40, f"{found.count('review')} were not looked at")
            equal(set(found), {"review", "pass"})


@case
def only_wanted_containers_are_judged_and_our_own_archive_never():
    with Azurite() as azurite:
        prepared(azurite)
        azurite.put_container("evidence")
        for n, (container, client) in enumerate((
                ("media", "c"), ("team-a", "c"), ("other", "c"), ("evidence", "dgf-0a1b"),
                ("evidence", "somebody"), ("media", "dgf-0a1b"))):
            azurite.put_message("events", notice(n, container=container, clientRequestId=client))
        sinks = (f'sinks: {{vault: {{type: blob, url: "{azurite.url()}/evidence", auth: key, '
                 f'key: "{azurite.key}", insecure: true, required: false}}}}\n')
        with media.watch(azurite, source=', containers: [media, "team-*", evidence]',
                         more=sinks) as agent:
            media.wait_judged(agent, 4)
            media.wait_empty(azurite)
            media.once_each(["media/out/0.csv", "team-a/out/1.csv", "evidence/out/4.csv",
                             "media/out/5.csv"], agent.records())
            agent.stop()
            equal(media.counted(agent), {"own_archive": 1})


@case
def inspection_tells_containers_once_and_again_when_they_change():
    with Azurite() as azurite:
        prepared(azurite)
        azurite.put_container("pub", "blob")
        with media.watch(azurite, policy=SETTINGS, source=", inspect: 1s") as agent:
            media.wait_judged(agent, 4)        # two containers, the service, the account
            equal(sorted(media.judged(agent.records())),
                  [("devstoreaccount1", "observe")] * 2 + [("media", "observe"),
                                                           ("pub", "observe")])
            equal([r["event"]["object"] for r in agent.records("violation")], ["pub"])
            azurite.set_access("media", "container")
            media.wait_judged(agent, 5)
            azurite.put_container("new")
            media.wait_judged(agent, 6)
            azurite.do("DELETE", "/pub", {"restype": "container"})
            media.wait_judged(agent, 7)
            equal(media.judged(agent.records())[4:],
                  [("media", "alter"), ("new", "create"), ("pub", "drop")])
            equal([r["event"]["object"] for r in agent.records("violation")], ["pub", "media"])
            agent.kill9()
            agent.start()
            azurite.set_access("new", "blob")
            media.wait_judged(agent, 8)        # what was told is not told again
            equal(media.judged(agent.records())[7:], [("new", "alter")])


@case
def a_wrong_key_is_said_with_the_role_and_a_right_one_goes_on():
    with Azurite() as azurite:
        prepared(azurite)
        azurite.put_message("events", notice(1))
        with media.watch(azurite, key="d3Jvbmcga2V5IG9mIHNpeHRlZW4=") as agent:
            agent.wait(lambda s: "cannot read the queue: 403" in s["sources"]["files"]["reason"]
                       and "Storage Queue Data Message Processor" in
                       s["sources"]["files"]["reason"], 30, "the refusal to be said")
            true(azurite.key not in agent.log_text() and "d3Jvbmcg" not in agent.log_text(),
                 "a key is in the log")
            agent.stop()
            agent.write_config(media.config(azurite))
            agent.start()
            media.once_each(["media/out/1.csv"], media.wait_judged(agent, 1))


@case
def a_server_that_goes_away_is_waited_for():
    with Azurite(disk=True) as azurite:
        prepared(azurite)
        azurite.put_message("events", notice(1))
        with media.watch(azurite) as agent:
            media.wait_judged(agent, 1)
            media.wait_empty(azurite)
            azurite.stop()
            agent.wait_source("files", "retrying", 30)
            azurite.start()
            azurite.put_message("events", notice(2))
            media.once_each([f"media/out/{n}.csv" for n in (1, 2)],
                            media.wait_judged(agent, 2, 90))
            azurite.pause()                       # it hangs
            azurite.resume()
            azurite.put_message("events", notice(3))
            media.wait_judged(agent, 3)
            equal(media.gaps(agent), [])


@case
def check_says_what_is_missing_and_the_command_that_mends_it():
    with Azurite() as azurite:
        azurite.put_container("media")
        agent = media.watch(azurite, feed=True, source=", containers: [media, gone]")
        done = agent.run("check", "-c", agent.config, check=False)
        equal(done.returncode, 1, done.stdout + done.stderr)
        for text in ("queue 'events' does not exist", "az storage queue create",
                     "the account has no change feed", "--enable-change-feed true",
                     "container 'gone' does not exist"):
            true(text in done.stdout, f"'{text}' is not in:\n{done.stdout}")
        azurite.put_container("gone")
        azurite.put_queue("events")
        ChangeFeed(azurite).consumable("2026-01-10T10:00")
        done = agent.run("check", "-c", agent.config, check=False)
        true("error[" not in done.stdout + done.stderr, done.stdout + done.stderr)
        agent.write_config(media.config(azurite, key="d3Jvbmcga2V5IG9mIHNpeHRlZW4="))
        done = agent.run("check", "-c", agent.config, check=False)
        equal((done.stdout.count("error["), done.stdout.count("az storage account keys list")),
              (1, 1), f"one wrong key is one finding:\n{done.stdout}")
        agent.folder.remove()


@case
def wrong_options_are_said_before_anything_starts():
    with Azurite() as azurite:
        agent = media.watch(azurite)
        for wrong, text in (
                ({"queue": None}, "'queue' and 'feed' are both missing"),
                ({"feed": True, "source": ", visibility: 1s"}, "visibility"),
                ({"feed": True, "queue": "UPPER"}, "'queue' must be https://"),
                ({"feed": True, "queue": "a/b"}, "it names one queue and nothing else"),
                ({"feed": True, "queue": "events?sig=x"}, "it ends before '?'"),
                ({"source": ", timeout: 1h"}, "'timeout' is 1h; must be 1s to 5m"),
                ({"source": ", start: yesterday"}, "'start' must be now")):
            agent.write_config(media.config(azurite, **wrong))
            done = agent.run("check", "-c", agent.config, check=False)
            equal(done.returncode, 78, done.stdout + done.stderr)
            true(text in done.stdout + done.stderr, f"'{text}' is not in {done.stderr}")
        agent.folder.remove()


@case
def bearer_tokens_over_tls_reach_queue_and_blobs():
    import http.server  # pylint: disable=import-outside-toplevel
    import threading  # pylint: disable=import-outside-toplevel
    from azurite import token  # pylint: disable=import-outside-toplevel
    asked = []

    class Identity(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # pylint: disable=invalid-name
            asked.append((self.path, self.headers.get("X-IDENTITY-HEADER")))
            body = json.dumps({"access_token": token(), "expires_in": "3600",
                               "token_type": "Bearer",
                               "resource": "https://storage.azure.com"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):  # pylint: disable=arguments-differ
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Identity)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Azurite(tls=True) as azurite:
            prepared(azurite)
            azurite.put_message("events", notice(1))
            endpoint = f"http://127.0.0.1:{server.server_address[1]}/token"
            text = media.config(azurite, key=False).replace("insecure: true", (
                f'auth: managed_identity, identity_endpoint: "{endpoint}", '
                f'ca: "{azurite.certs.ca}"'))
            agent = media.watch(azurite)
            agent.write_config(text)
            agent.env["IDENTITY_HEADER"] = "h"
            with agent:
                media.once_each(["media/out/1.csv"], media.wait_judged(agent, 1))
                media.wait_empty(azurite)
                wait_until(lambda: asked, 5, "a token to be asked for")
                path, header = asked[0]             # as App Service and Container Apps want it
                true(path.startswith("/token?api-version=2019-08-01&"), path)
                true("resource=https%3A%2F%2Fstorage.azure.com" in path, path)
                equal(header, "h")
                true("eyJ" not in agent.log_text(), "a token is in the log")
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main(parallel=True)
