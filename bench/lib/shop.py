"""A whole Souk of its own for one part of a run: shards, workers, products. Everything it starts and writes is gone with it."""
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import machine
import resp
from processes import Failure, Processes, is_listening, wait_until

ADDRESS = "127.0.0.1"
PARTITIONS = 256
STOCK = 1_000_000
PRICE_CENTS = 1099
LIMIT_MS = 1 << 45  # calls of a loader may come late
RING_EPOCH = 1
LOAD_CONNECTIONS, LOAD_DEPTH = 4, 1000
WORKERS = {"product": 70, "order": 71, "payment": 72, "sandbox": 73}
PEERS = 80


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


class Client:
    """One connection to one port."""

    def __init__(self, port):
        self.link = http.client.HTTPConnection(ADDRESS, port, timeout=120)

    def ask(self, method, target, body=None, **headers):
        self.link.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = self.link.getresponse()
        return Answer(answer.status, answer.headers, answer.read())


def mp_text(text):
    text = text.encode()
    return (bytes([0xA0 | len(text)]) if len(text) < 32 else b"\xd9" + bytes([len(text)])) + text


def product_doc(name):
    """The stored document of a product, MessagePack, as shared/shop/records.c writes it."""
    return (b"\x84" + mp_text("schema") + b"\x01" + mp_text("name") + mp_text(name) + mp_text("price") + b"\xcd" + PRICE_CENTS.to_bytes(2, "big")
            + mp_text("currency") + mp_text("USD"))


class Shop:
    def __init__(self, build, shards=2, products=1000, stock=STOCK, base=17100, environment=None, workers=("product", "order")):
        self.bin, self.shard_count, self.products, self.stock, self.base = build / "bin", shards, products, stock, base
        self.workers = workers
        self.environment = {**os.environ, "SOUK_LOG_LEVEL": "warn", "SOUK_THREADS": os.environ.get("SOUK_BENCH_THREADS", "1"), **(environment or {})}

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="souk-bench."))
        self.processes = Processes(self.folder)
        try:
            self.start_shards()
            self.load_products()
            for worker in self.workers:
                self.start_worker(worker)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.processes.stop_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- what is started ----

    def port(self, worker):
        return self.base + WORKERS[worker]

    @property
    def shards(self):
        return [f"shard{i}" for i in range(1, self.shard_count + 1)]

    def shard_ports(self):
        return [self.base + i for i in range(1, self.shard_count + 1)]

    def start_shards(self):
        conf = self.bin.parents[2] / "deploy/redis/redis.conf"
        taken = [port for port in [*self.shard_ports(), *map(self.port, WORKERS)] if is_listening(port)]
        if taken:
            raise Failure(f"port {taken[0]} is in use; is another bench/run under way?")
        for name, port in zip(self.shards, self.shard_ports()):
            (self.folder / name).mkdir()
            self.processes.start(name, ["redis-server", str(conf), "--port", str(port), "--bind", ADDRESS, "--dir", str(self.folder / name),
                                        "--daemonize", "no"])
        for name, port in zip(self.shards, self.shard_ports()):
            self.processes.wait_for_port(name, port)
        self.environment["SOUK_SHARDS"] = ",".join(f"shard-{i}={ADDRESS}:{port}" for i, port in enumerate(self.shard_ports(), 1))
        self.soukctl("init")
        self.hash = re.search(r"library souk_(\w+) loaded", self.soukctl("load")).group(1)
        self.ring = [self.shard_port_of(id) for id in range(PARTITIONS, 2 * PARTITIONS)]
        self.shard_file = self.folder / "shards"
        self.shard_file.write_text("".join(f"{partition} {port}\n" for partition, port in enumerate(self.ring)))

    def launch_worker(self, worker, **more):
        environment = {**self.environment, "SOUK_HTTP_PORT": str(self.port(worker)), "SOUK_JOURNAL": str(self.folder / "journal"),
                       "SOUK_GATEWAY_URL": f"http://{ADDRESS}:{self.port('sandbox')}", **more}
        self.processes.start(worker, [str(self.bin / f"souk-{worker}")], environment)

    def is_ready(self, worker):
        try:
            return Client(self.port(worker)).ask("GET", "/readyz").status == 200
        except OSError:
            return False

    def start_worker(self, worker):
        self.launch_worker(worker)
        self.processes.wait_for_port(worker, self.port(worker))
        if worker != "sandbox":
            wait_until(f"souk-{worker} ready", lambda: self.is_ready(worker))

    def time_start(self, worker, **more):
        """ms from its start until it says that it is ready."""
        began = time.monotonic()
        self.launch_worker(worker, **more)
        wait_until(f"souk-{worker} ready", lambda: self.is_ready(worker), step_s=0.0005)
        return (time.monotonic() - began) * 1000

    def soukctl(self, *arguments):
        done = subprocess.run([str(self.bin / "soukctl"), *map(str, arguments)], capture_output=True, text=True, env=self.environment)
        if done.returncode != 0 and arguments[0] != "audit":
            raise Failure(f"soukctl {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def shard_port_of(self, id):
        return int(re.search(r":(\d+)$", self.soukctl("ring", id).strip()).group(1))

    # ---- what is in it ----

    def load_products(self):
        """By product_put itself, pipelined: the same function that a PUT calls, without a request for each."""
        def commands(port):
            for id in range(1, self.products + 1):
                partition = id % PARTITIONS
                if self.ring[partition] == port:
                    yield resp.command("FCALL", f"product_put_{self.hash}", 1, f"product:{{{partition}}}:{id}", partition, id, "create", "",
                                       product_doc(f"Product {id}"), self.stock, RING_EPOCH, LIMIT_MS)

        readers = resp.pump({port: commands(port) for port in self.shard_ports()}, LOAD_CONNECTIONS, LOAD_DEPTH)
        bad = next((reader.first_bad for reader in readers.values() if reader.bad), None)
        if bad or sum(reader.whole for reader in readers.values()) != self.products:
            raise Failure(f"the products could not be loaded: {bad}")

    def load_json(self):
        """For peers, whose Redis part must not be dearer than ours: the ready JSON of each product beside its record, as bench:{p}:ID."""
        client = Client(self.port("product"))
        bodies = {id: client.ask("GET", f"/products/{id}").body for id in range(1, self.products + 1)}
        (self.folder / "bodies").write_bytes(b"".join(b"%d\t%s\n" % item for item in bodies.items()))
        for port in self.shard_ports():
            here = {id: body for id, body in bodies.items() if self.ring[id % PARTITIONS] == port}
            readers = resp.pump({port: iter([resp.command("HSET", f"bench:{{{id % PARTITIONS}}}:{id}", "v", 1, "json", body) for id, body in here.items()])},
                                1, LOAD_DEPTH)
            assert readers[port].whole == len(here)

    def pairs(self):
        """Pairs of products that live on different shards (with one shard: on different partitions)."""
        by_shard = {}
        for id in range(1, self.products + 1):
            by_shard.setdefault(self.ring[id % PARTITIONS], []).append(id)
        lists = list(by_shard.values())
        if len(lists) == 1:
            return list(zip(lists[0][0::2], lists[0][1::2]))
        found = []
        for i, left in enumerate(lists):
            right = lists[(i + 1) % len(lists)]
            found += zip(left, right[::-1])
        return found[:4096]

    def pair_file(self):
        path = self.folder / "pairs"
        path.write_text("".join(f"{left} {right}\n" for left, right in self.pairs()))
        return path

    # ---- what is there of it ----

    def save_answer(self, name, *headers):
        """Souk's answer to GET /products/1 as curl prints it, for peers to repeat. Asked twice, so that a cache has it."""
        path = self.folder / name
        for _ in range(2):
            command = ["curl", "-isS", *(part for header in headers for part in ("-H", header)), f"http://{ADDRESS}:{self.port('product')}/products/1"]
            path.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
        return path

    def has_near_cache(self):
        client = Client(self.port("product"))
        client.ask("GET", "/products/1")
        return client.ask("GET", "/products/1").headers.get("X-Cache") == "hit"

    def has_write_back(self):
        answer = Client(self.port("product")).ask("PATCH", "/products/1", '{"price":10.99}', If_Match="*", Content_Type="application/merge-patch+json",
                                                  Prefer="respond-async")
        return answer.status == 202

    def has_import(self):
        answer = Client(self.port("product")).ask("POST", "/products/import", "", Content_Type="application/x-ndjson", Idempotency_Key="probe")
        return answer.status not in (404, 405)

    # ---- figures ----

    def info(self, *names):
        """Sums of fields of INFO over the shards."""
        sums = dict.fromkeys(names, 0)
        for port in self.shard_ports():
            text = resp.ask(port, "INFO", "everything")
            for name in names:
                found = re.search(rf"^{name}:(\d+)", text, re.M)
                sums[name] += int(found.group(1)) if found else 0
        return sums

    def held(self):
        """Units of all products that are held."""
        return sum(int(resp.ask(self.ring[id % PARTITIONS], "HGET", f"stock:{{{id % PARTITIONS}}}:{id}", "held")) for id in range(1, self.products + 1))

    def calls(self):
        """How many functions the shards ran so far."""
        total = 0
        for port in self.shard_ports():
            total += sum(int(n) for n in re.findall(r"^cmdstat_fcall(?:_ro)?:calls=(\d+)", resp.ask(port, "INFO", "commandstats"), re.M))
        return total

    def resident_mib(self, name):
        return machine.resident_mib(self.processes.pid(name))

    def audit(self):
        return json.loads(self.soukctl("audit"))
