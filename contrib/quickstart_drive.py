#!/usr/bin/env python3
"""Drives the private Azure of contrib/quickstart --with azure --keep, once its env is read:

    quickstart_drive.py review TEXT           writes a review to the double of Cosmos DB
    quickstart_drive.py upload NAME CONTENT   puts a blob and the notice Event Grid would send
"""

import os
import sys
import time
import urllib.parse

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests",
                                "support"))

import changefeed                                                           # noqa: E402
from azurite import Azurite                                                 # noqa: E402
from quickstart_azure import CosmosDouble                                   # noqa: E402


def there(name):
    """The address in this variable."""
    if not os.environ.get(name):
        sys.exit(f"${name} is not set: read the env of contrib/quickstart --with azure --keep")
    return urllib.parse.urlsplit(os.environ[name])


def review(text):
    cosmos = CosmosDouble.__new__(CosmosDouble)         # it runs already
    cosmos.port = there("COSMOS").port
    cosmos.upsert({"id": str(time.time_ns()), "pk": "shoes", "note": text})


def upload(name, content):
    storage = Azurite.__new__(Azurite)                  # it runs already
    blob = there("BLOB")
    storage.blob_port, storage.queue_port, storage.tls = blob.port, there("QUEUE").port, None
    storage.account = blob.path.strip("/")
    storage.accounts = {storage.account: os.environ["BLOB_KEY"]}
    etag = storage.put_blob(f"uploads/{name}", content, content_type="text/csv")
    storage.put_message("notices", changefeed.notice(
        time.time_ns() // 1000 % (1 << 24), path=name, container="uploads",
        account=storage.account, time=time.strftime("%Y-%m-%dT%H:%M:%S.5000000Z", time.gmtime()),
        etag=etag.strip('"'), contentLength=len(content)))


def main(args):
    if len(args) == 2 and args[0] == "review":
        review(args[1])
    elif len(args) == 3 and args[0] == "upload":
        upload(*args[1:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
