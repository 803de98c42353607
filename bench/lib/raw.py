"""
The functions of an order without a worker: what they cost the shards when they come as fast as a client can send them, 16 in a pipeline on each of
50 connections. redis-benchmark sends TRY, for one product of each shard. PLACE has the key's hash in two places, and redis-benchmark draws a number
for each place, so PLACE is sent by resp.pump in the same way; it also sends the same TRY, to show that both measure the same.
"""
import itertools
import subprocess
import time

import resp
import shop as shops
from load import Run, median
from processes import Failure, dies_with_us

DEPTH, CONNECTIONS = 16, 50
DONE = b"*4\r\n:0\r\n" # how the answers of both begin
FINGERPRINT = "00000000000000aa"
HOLD_MS, ASK_MS = 3_600_000, 10_000
RANDOM = 1_000_000_000 # what redis-benchmark draws from; more than its int takes would all be the same


def order_doc(shop, left, right):
    """The document of an order of two lines, MessagePack, as shared/shop/records.c writes it."""
    def number(n):
        return bytes([n]) if n < 128 else b"\xcd" + n.to_bytes(2, "big")

    def line(id):
        return (b"\x85" + shops.mp_text("product_id") + number(id) + shops.mp_text("name") + shops.mp_text(f"Product {id}") + shops.mp_text("quantity")
                + b"\x01" + shops.mp_text("price") + number(shops.PRICE_CENTS) + shops.mp_text("product_version") + b"\x01")
    return b"\x82" + shops.mp_text("schema") + b"\x01" + shops.mp_text("lines") + b"\x92" + line(left) + line(right)


def end():
    return shops.RING_EPOCH, shops.LIMIT_MS


def product_on(shop, port):
    return next(id for id in range(1, shop.products + 1) if shop.ring[id % shops.PARTITIONS] == port)


def tries(shop, port, count, tag):
    id = product_on(shop, port)
    partition = id % shops.PARTITIONS
    for n in range(count):
        yield resp.command("FCALL", f"try_{shop.hash}", 1, f"stock:{{{partition}}}:{id}", partition, id, f"{tag}{n:028x}.{FINGERPRINT}.1", 1, partition,
                           ASK_MS, 0, *end())


def places(shop, port, count, tag):
    partitions = [partition for partition in range(shops.PARTITIONS) if shop.ring[partition] == port]
    doc = order_doc(shop, 1, 2)
    for n in range(count):
        partition, key = partitions[n % len(partitions)], f"{tag}{n:028x}"
        yield resp.command("FCALL", f"place_{shop.hash}", 1, f"idem:{{{partition}}}:{key}", partition, FINGERPRINT, 1, f"{key}.{FINGERPRINT}.1",
                           f"User {n % 100000}", 2 * shops.PRICE_CENTS, "USD", HOLD_MS, doc, "0123456789abcdef", *end())


def one_run(shop, command, count, send):
    """A run like those of the generators, of ${count} calls to each shard, all shards at once."""
    before, began = sum(shop.processes.cpu_us(shop.shards).values()), time.monotonic()
    send()
    took, used = time.monotonic() - began, sum(shop.processes.cpu_us(shop.shards).values()) - before
    return Run(command, {"done": count * shop.shard_count, "us": took * 1e6}, {"shards": used}, 0)


def pumped(shop, make, count):
    tag = f"{next(shop.tags):04x}"
    streams = {port: iter(list(make(shop, port, count, tag))) for port in shop.shard_ports()}
    return one_run(shop, [], count, lambda: resp.pump(streams, CONNECTIONS, DEPTH, lambda: resp.Marks(DONE)))


def redis_benchmark(shop, count):
    """TRY by redis-benchmark. It does not look at the answers, so the units that are held are counted afterwards."""
    tag, commands = f"{next(shop.tags):04x}", []
    for port in shop.shard_ports():
        id = product_on(shop, port)
        partition = id % shops.PARTITIONS
        command = ["redis-benchmark", "-p", port, "-P", DEPTH, "-c", CONNECTIONS, "-n", count, "-r", RANDOM, "-q", "FCALL", f"try_{shop.hash}", 1,
                   f"stock:{{{partition}}}:{id}", partition, id, f"{tag}{0:016x}__rand_int__.{FINGERPRINT}.1", 1, partition, ASK_MS, 0, *end()]
        commands.append(list(map(str, command)))
    held = shop.held()

    def send():
        runs = [subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=dies_with_us) for command in commands]
        if any([run.wait() for run in runs]):
            raise Failure(f"`{' '.join(commands[0])}` failed")
    run = one_run(shop, commands[-1], count, send)
    if shop.held() - held < 0.99 * run.done:
        raise Failure(f"redis-benchmark made {run.done} calls, and {shop.held() - held} more units are held")
    return run


def contenders(shop, count):
    """To be measured in turns with orders, on a store of their own: what they leave there is no real order's."""
    shop.tags = itertools.count(0xb000)
    return {"redis-benchmark TRY": lambda: redis_benchmark(shop, count), "bare TRY": lambda: pumped(shop, tries, count),
            "bare PLACE": lambda: pumped(shop, places, count)}


def summary(runs):
    """Takes what contenders() made out of ${runs}."""
    bench, bare_try, place = (runs.pop(name) for name in ("redis-benchmark TRY", "bare TRY", "bare PLACE"))
    return {"command": " ".join(bench[-1].command), "try_rate": median([run.rate for run in bench]), "try_us": median([run.cost("shards") for run in bench]),
            "pumped_try_us": median([run.cost("shards") for run in bare_try]), "place_us": median([run.cost("shards") for run in place])}
