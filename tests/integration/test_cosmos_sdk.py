#!/usr/bin/env python3
"""The vendor's own client writes to our double and reads its change feed: what the source is
tested with is what the client knows."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from cases import case, equal, main, true
from cosmos import run_node, seen, streaming, wait_seen, watch
from fake_cosmos import FakeCosmos
from servers import Folder

WRITE = """
import { createRequire } from "module";
const { CosmosClient } = createRequire(import.meta.url)(process.env.SDK);
const client = new CosmosClient({ endpoint: process.env.ENDPOINT, key: process.env.KEY });
const orders = client.database("shop").container("orders");
for (let n = 1; n <= 12; n++)
  await orders.items.create({ id: "i" + n, pk: "p" + n % 4, n });
await orders.items.upsert({ id: "i1", pk: "p1", n: 101 });
await orders.item("i2", "p2").replace({ id: "i2", pk: "p2", n: 102 });
await orders.item("i3", "p3").delete();
await orders.items.batch([
  { operationType: "Create", resourceBody: { id: "b1", pk: "p1", n: 201 } },
  { operationType: "Upsert", resourceBody: { id: "i5", pk: "p1", n: 105 } }], "p1");
const { resource } = await orders.item("i2", "p2").read();
console.log(JSON.stringify(resource.n));
process.exit(0);
"""

LATEST = """
import { createRequire } from "module";
const { CosmosClient, ChangeFeedStartFrom } = createRequire(import.meta.url)(process.env.SDK);
const client = new CosmosClient({ endpoint: process.env.ENDPOINT, key: process.env.KEY });
const orders = client.database("shop").container("orders");
const found = [];
const feed = orders.items.getChangeFeedIterator({
  maxItemCount: 3, changeFeedStartFrom: ChangeFeedStartFrom.Beginning() });
let quiet = 0, pages = 0;
while (quiet < 4) {
  const page = await feed.readNext();
  if (page.statusCode === 304) { quiet++; continue; }
  quiet = 0;
  for (const item of page.result) found.push([item.id, item.n]);
  if (++pages === 2)
    await fetch(process.env.ENDPOINT + "/_admin/split", { method: "POST",
      body: JSON.stringify({ container: "orders" }) });
}
console.log(JSON.stringify(found));
process.exit(0);
"""

ALL = """
import { createRequire } from "module";
const { CosmosClient, ChangeFeedStartFrom, ChangeFeedMode } =
  createRequire(import.meta.url)(process.env.SDK);
const client = new CosmosClient({ endpoint: process.env.ENDPOINT, key: process.env.KEY });
const orders = client.database("shop").container("orders");
const feed = orders.items.getChangeFeedIterator({ maxItemCount: 2,
  changeFeedMode: ChangeFeedMode.AllVersionsAndDeletes,
  changeFeedStartFrom: ChangeFeedStartFrom.Now() });
const found = [];
const read = async (most) => {
  for (let quiet = 0; quiet < most;) {
    const page = await feed.readNext();
    if (page.statusCode === 304) { quiet++; continue; }
    quiet = 0;
    for (const c of page.result)
      found.push([c.metadata.operationType, c.metadata.id ?? c.current.id,
                  c.previous?.n ?? null, c.current?.n ?? null]);
  }
};
await read(1);
const items = orders.items;
await items.create({ id: "a", pk: "p1", n: 1 });
await items.upsert({ id: "a", pk: "p1", n: 2 });
await items.create({ id: "b", pk: "p2", n: 3 });
await orders.item("a", "p1").delete();
await read(2);
await fetch(process.env.ENDPOINT + "/_admin/split", { method: "POST",
  body: JSON.stringify({ container: "orders" }) });
await items.upsert({ id: "b", pk: "p2", n: 4 });
await items.create({ id: "c", pk: "p3", n: 5 });
await read(4);
console.log(JSON.stringify(found));
process.exit(0);
"""


@case
def the_vendors_client_writes_and_reads_our_double():
    folder = Folder("node")
    with FakeCosmos() as fake:
        equal(run_node(WRITE, fake, folder.path), 102)
        orders = fake.container()
        truth = sorted((d["id"], d["n"]) for d in orders.items.values())
        equal(len(truth), 12)
        found = run_node(LATEST, fake, folder.path)
        equal(sorted(map(tuple, found)), truth)
        equal(len(orders.ranges), 2)
    folder.remove()


@case
def the_vendors_client_and_we_see_the_same_changes():
    folder = Folder("node")
    with FakeCosmos() as fake, watch(fake, mode="all_versions") as agent:
        streaming(agent)
        found = run_node(ALL, fake, folder.path)
        words = {"create": "insert", "replace": "replace", "delete": "delete"}
        theirs = [f"{words[op]} {'null' if old is None else old} {'null' if new is None else new}"
                  for op, _, old, new in found]
        equal(sorted(wait_seen(agent, len(theirs))), sorted(theirs))
        equal(len(theirs), 6)
        true("delete 2 null" in seen(agent), seen(agent))
    folder.remove()


if __name__ == "__main__":
    sys.exit(main())
