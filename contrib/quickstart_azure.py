"""Two sources of contrib/quickstart --with azure: Cosmos DB (a double of its gateway) and what
happens to blobs (Azurite; its queue of notices and its change feed are filled as Azure would)."""

import http.client
import json
import os
import sys
import time

import changefeed
import servers
from azurite import Azurite
from fake_cosmos import KEY

SOURCES = """  market: {{type: cosmos, url: "{cosmos}", database: market, containers: [reviews],
           auth: key, key: "{cosmos_key}", poll: {{min: 50ms, max: 500ms}}, insecure: true}}
  files: {{type: blob, url: "{blob}", queue: "{queue}/notices", feed: true, feed_poll: 200ms,
          start: beginning, poll: 100ms, containers: [uploads, evidence],
          look: {{max_bytes: 64KiB, rate: 50}}, auth: key, key: "{key}", insecure: true}}
"""
DOUBLE = os.path.join(os.path.dirname(os.path.abspath(changefeed.__file__)), "fake_cosmos.py")
# (what happens, document, violations it must give)
REVIEWS = [
    ("Cosmos DB: a harmless review", {"id": "1", "pk": "shoes", "note": "they fit"}, 0),
    ("Cosmos DB: a card number in a review",
     {"id": "2", "pk": "shoes", "note": "refund 4000 0566 5566 5556"}, 1),
]
# (what happens, name, content, whether the queue brings it, violations it must give)
UPLOADS = [
    ("Blob Storage: a harmless file", "monday.csv", "ada;paid in cash", True, 0),
    ("Blob Storage: a file with a card number", "tuesday.csv", "ada;4111 1111 1111 1111", True, 1),
    ("Blob Storage: one more, whose notice is lost: the change feed has it", "wednesday.csv",
     "bob;5500 0000 0000 0004", False, 1),
]


class CosmosDouble(servers.Server):
    """The double of the gateway as a process of its own, which can be left running."""

    def __init__(self):
        super().__init__("cosmos")
        self.port = servers.free_port()

    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        self.spawn([sys.executable, DOUBLE, "--port", str(self.port)])
        self.ready_line("ready ", 30, 1)

    def tell(self, command, **args):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            link.request("POST", f"/_admin/{command}", json.dumps(args))
            answer = link.getresponse()
            text = answer.read().decode()
            if answer.status != 200:
                raise servers.Failed(f"the double of Cosmos DB says {answer.status}: {text}")
        finally:
            link.close()

    def upsert(self, document):
        self.tell("upsert", container="reviews", database="market", args=[document])


class Storage(Azurite):
    """The account: containers, and what Azure would tell of uploads."""

    def start(self):
        super().start()
        for name in ("evidence", "uploads"):
            self.put_container(name)
        self.put_queue("notices")
        self.changes, self.feed = [], changefeed.ChangeFeed(self)
        self.feed.consumable("2026-01-01T00:00")

    def upload(self, name, content, told):
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        etag = self.put_blob(f"uploads/{name}", content, content_type="text/csv")
        n = len(self.changes) + 1
        about = {"path": name, "container": "uploads", "account": self.account,
                 "time": at + ".5000000Z", "etag": etag.strip('"'),
                 "contentLength": len(content)}
        self.changes.append(changefeed.change(n, **about))
        if told:
            self.put_message("notices", changefeed.notice(n, **about))
        else:
            self.close_hour(at[:14] + "00")

    def close_hour(self, hour):
        """All changes until now stand in the feed: what the queue brought, too."""
        self.feed.hour(hour, [self.changes[::2], self.changes[1::2]])
        self.feed.consumable(hour)


def start(held):
    held["cosmos"] = CosmosDouble().__enter__()
    held["cosmos"].tell("make", args=["reviews", "market"])
    held["azure"] = Storage().__enter__()


def sources(cosmos, azurite):
    return SOURCES.format(cosmos=cosmos.url(), cosmos_key=KEY, blob=azurite.url(),
                          queue=azurite.url("queue"), key=azurite.key)


def steps(cosmos, azurite):
    """As steps_of() of quickstart.py."""
    found = [(what, f"reviews.items.upsert({json.dumps(document)})",
              lambda document=document: cosmos.upsert(document), n)
             for what, document, n in REVIEWS]
    found += [(what, f"PUT uploads/{name}: {content}",
               lambda name=name, content=content, told=told: azurite.upload(name, content, told),
               n)
              for what, name, content, told, n in UPLOADS]
    return found
