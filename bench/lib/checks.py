"""What must be true of a store after it was measured: nothing oversold, nothing done twice."""
import json
import re

import resp
from processes import Failure, wait_until
from shop import Client

SCAN_COUNT = 5000


def scan(port, pattern):
    """All keys of that pattern on one shard."""
    cursor, keys = "0", []
    while True:
        answer = resp.ask(port, "SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT).split("\r\n")
        keys += [part for part in answer[4:] if not part.startswith(("$", "*"))]
        cursor = answer[2]
        if cursor == "0":
            return keys


class Answers(resp.Reader):
    """Keeps the bulk strings of the answers, those of one answer together."""

    def __init__(self, kept):
        super().__init__()
        self.kept = kept

    def add(self, received):
        self.rest += received
        at = 0
        while (end := self.skip(self.rest, at)) is not None:
            self.kept.append(re.findall(rb"\$\d+\r\n([^\r]*)\r\n", self.rest[at:end]))
            self.whole += 1
            at = end
        self.rest = self.rest[at:]


def fields(port, keys, *names):
    """Fields of many hashes of one shard."""
    kept = []
    resp.pump({port: iter([resp.command("HMGET", key, *names) for key in keys])}, 1, 1000, lambda: Answers(kept))
    return kept


def order_keys(shop):
    """The idempotency keys (as hashes) that the orders in the store were placed with, one for each order."""
    keys = []
    for port in shop.shard_ports():
        orders = [key for key in scan(port, "order:{*}:*") if re.fullmatch(r"order:\{\d+\}:\d+", key)]
        keys += [t.split(b".")[0] for t, in fields(port, orders, "t")]
    return keys


def oversold(shop):
    """Units that were sold beyond what was on hand, over all products."""
    beyond = 0
    for port in shop.shard_ports():
        for counters in fields(port, scan(port, "stock:{*}:*"), "on_hand", "held", "committed"):
            on_hand, held, committed = map(int, counters)
            beyond += max(0, held + committed - on_hand)
    return beyond


def rest(shop):
    """Waits until the last duties of what was paid are done, so that the audit finds nothing half way."""
    def duties():
        return sum(int(resp.ask(port, "ZCOUNT", f"txn:{{{partition}}}", "-inf", "(" + now).lstrip(":")) for partition, port in enumerate(shop.ring))
    now = str(int(resp.ask(shop.shard_ports()[0], "TIME").split("\r\n")[2]) * 1000)
    wait_until("the end of the last duties", lambda: duties() == 0, 60)


def in_store(shop):
    """Oversold units and orders that were placed twice, from the records themselves. Raises a failure if there is any."""
    keys = order_keys(shop)
    found = {"orders": len(keys), "oversold": oversold(shop), "duplicates": len(keys) - len(set(keys))}
    if found["oversold"] or found["duplicates"]:
        raise Failure(f"the store is not what it must be: {found}")
    return found


def after_orders(shop, acknowledged, cut_off):
    """
    Audits the store, and compares it with what clients were told. wrk leaves the requests of its last moment unanswered, at most ${cut_off} of them, so
    there may be that many more orders than answers; never fewer.
    """
    rest(shop)
    audit = shop.audit()
    found = {"audit": audit["ok"], "violations": audit["violation_count"], **in_store(shop)}
    found.update({
        "acknowledged": acknowledged,
        "unanswered": found["orders"] - acknowledged,
    })
    if not audit["ok"] or not 0 <= found["unanswered"] <= cut_off or found["orders"] != audit["checked"]["orders"]:
        raise Failure(f"the store is not what it must be: {json.dumps(found)} {audit['violations'][:3]}")
    return found


def charges(shop):
    """Charges in the gateway's journal, and how many keys were charged more than once."""
    lines = [json.loads(line) for line in (shop.folder / "journal").read_text().splitlines()]
    keys = [line["key"] for line in lines if line["op"] == "charge"]
    return len(keys), len(keys) - len(set(keys))


def stock(shop, id):
    return json.loads(Client(shop.port("product")).ask("GET", f"/products/{id}/stock").body)
