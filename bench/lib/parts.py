"""The parts of a run. Each opens a shop of its own, measures, and leaves plain data in ${bench.results}; report.py prints it."""
import json
import time

import checks
import load
import peers
import raw
import shop as shops
from processes import Failure, say

NO_CACHE = "Cache-Control: no-cache"
RESPOND_ASYNC = "Prefer: respond-async"
HOLD_S = 3600
CLIENTS_OPEN = 512
LIST_CONNECTIONS = 16 # a page asks every partition, so these are 4 096 calls under way
CACHE_MB, WARM_RATE = "4096", 20_000 # enough for a million products, and how many a second are read at least to fill it
CHECKED_PRODUCTS = 100_000 # reading the stock of a million takes longer than measuring with it
BUYERS, UNITS = 100_000, 1000
UNPAID_RATE, UNPAID_S = 4000, 10           # orders a second, for so long
UNASKED_S, UNPAID_MAX_S = 57, 180          # until then no sweep asks about their holds, and by then all were asked about
SLOW_BUYERS = 4000  # a second: after 10 s all holds may be asked about, while the buyers keep coming
PRODUCT = {"product": ["product"]}


def get(bench, shop, port, groups, target="/products/%d", count=None, header=None, connections=None, seconds=None):
    arguments = [count or shop.products, target, *([header] if header else [])]
    return load.wrk(shop.processes, groups, "bench/get.lua", f"http://127.0.0.1:{port}", arguments, connections or bench.connections,
                    seconds or bench.seconds)


def order(bench, shop, port, groups, connections=None, seconds=None):
    return load.wrk(shop.processes, groups, "bench/order.lua", f"http://127.0.0.1:{port}", [shop.folder / "pairs", HOLD_S],
                    connections or bench.connections, seconds or bench.seconds)


def by_plan(bench, shop, groups, steps, *options):
    """${steps}: lines of a plan for souk-bench-load, as tuples."""
    path = shop.folder / "plan"
    path.write_text("".join("\t".join(map(str, step)) + "\n" for step in steps))
    return load.plan(shop.processes, groups, bench.build / "bin/souk-bench-load", path, *options)


def get_steps(shop):
    return [(shop.port("product"), "GET", f"/products/{id}") for id in range(1, min(shop.products, 4096) + 1)]


def order_steps(shop, user="User %n"):
    def body(left, right):
        items = [{"product_id": left, "quantity": 1}, {"product_id": right, "quantity": 1}]
        return json.dumps({"user": user, "items": items, "hold_seconds": HOLD_S}, separators=(",", ":"))
    return [(shop.port("order"), "POST", "/orders", body(*pair)) for pair in shop.pairs()]


def pay_step(shop):
    return (f"+{shop.port('payment')}", "POST", "/payments", '{"order_id":%i,"method":{"token":"tok_ok"}}')


def groups_of(shop, *workers):
    return {**{worker: [worker] for worker in workers}, "shards": shop.shards}


def counting(shop, measure):
    """
    The same run, with how many of its calls the shards read at once. A read of a product is one call, an order is some functions. What functions call in
    their turn is in Redis' own count of commands, so that is not used.
    """
    reads, functions = shop.info("total_reads_processed")["total_reads_processed"], shop.calls()
    one = measure()
    functions = shop.calls() - functions
    one.facts["reads"] = shop.info("total_reads_processed")["total_reads_processed"] - reads
    one.facts["commands"] = functions if functions > one.done else one.done
    return one


# ---- comparisons with peers ----

def cached(bench):
    with bench.shop(workers=("product",)) as shop:
        if not shop.has_near_cache():
            bench.skip("cached GET", "there is no near cache in this Souk yet: X-Cache does not say hit")
            return
        shop.load_json()
        answer = shop.save_answer("answer")
        ports = peers.start_group(shop, bench, "cached", answer)
        peers.check_same(shop, ports, answer)
        contenders = {"souk": lambda: get(bench, shop, shop.port("product"), groups_of(shop, "product"))}
        for name, port in ports.items():
            groups = {name: [name], **({"shards": shop.shards} if name == "go-cache" else {})}
            contenders[name] = lambda port=port, groups=groups: get(bench, shop, port, groups)
        compare(bench, "cached", contenders)


def uncached(bench):
    with bench.shop(workers=("product",)) as shop:
        shop.load_json()
        answer = shop.save_answer("answer", NO_CACHE)
        ports = peers.start_group(shop, bench, "uncached", answer)
        peers.check_same(shop, ports, answer)
        contenders = {"souk": lambda: counting(shop, lambda: get(bench, shop, shop.port("product"), groups_of(shop, "product"), header=NO_CACHE))}
        for name, port in ports.items():
            contenders[name] = lambda name=name, port=port: get(bench, shop, port, {name: [name], "shards": shop.shards})
        compare(bench, "uncached", contenders)


def orders(bench):
    with bench.shop() as shop, bench.shop(workers=(), base=shop.base + 100) as bare:
        shop.pair_file()
        ports = peers.start_group(shop, bench, "orders", shop.save_answer("answer"))
        contenders = {"souk": lambda: order(bench, shop, shop.port("order"), groups_of(shop, "order"))}
        for name, port in ports.items():
            contenders[name] = lambda name=name, port=port: order(bench, shop, port, {name: [name], "shards": shop.shards})
        runs = load.in_turns({**contenders, **raw.contenders(bare, bench.raw_calls)}, bench.rounds, say)
        bench.results["raw"] = raw.summary(runs)
        keep(bench, "orders", runs)
        bench.results["order_resident_mib"] = shop.resident_mib("order")
        done = sum(run.done for of in runs.values() for run in of)
        cut_off = bench.connections * sum(len(of) for of in runs.values())
        bench.checked("orders", checks.after_orders(shop, done, cut_off))


def keep(bench, what, runs):
    bench.results.setdefault("comparisons", {})[what] = {name: load.summary(of) for name, of in runs.items()}


def compare(bench, what, contenders):
    keep(bench, what, load.in_turns(contenders, bench.rounds, say))


# ---- what only Souk does ----

def workload(bench, name, measure, **more):
    """Measures it ${bench.rounds} times and keeps the medians as a row of the table of workloads."""
    runs = load.in_turns({name: measure}, bench.rounds, say)[name]
    bench.results.setdefault("workloads", {})[name] = {**load.summary(runs), **more}
    return runs


def list_page(bench):
    with bench.shop(workers=("product",)) as shop:
        for name, header, connections in (("a page of 20 products", None, bench.connections), ("the same, no-cache", NO_CACHE, LIST_CONNECTIONS)):
            workload(bench, f"{name}, {connections} connections", lambda header=header, connections=connections: get(
                bench, shop, shop.port("product"), groups_of(shop, "product"), "/products?limit=20", 1, header, connections))


def mixed(bench):
    with bench.shop() as shop:
        placing = order_steps(shop)
        reading = get_steps(shop)
        steps = [reading[n % len(reading)] if n % 10 else placing[n // 10 % len(placing)] for n in range(10 * len(placing))]
        runs = workload(bench, "mixed: 90 GET, 10 orders", lambda: by_plan(
            bench, shop, groups_of(shop, "product", "order"), steps, "-c", bench.connections, "-s", bench.seconds))
        bench.checked("mixed", {**checks.in_store(shop), "jobs": sum(run.done for run in runs)})


def pay(bench):
    with bench.shop(workers=("product", "order", "sandbox", "payment")) as shop:
        steps = [step for placing in order_steps(shop) for step in (placing, pay_step(shop))]
        runs = workload(bench, "order + pay", lambda: by_plan(
            bench, shop, groups_of(shop, "order", "payment", "sandbox"), steps, "-c", bench.connections, "-s", bench.seconds))
        paid = sum(run.done for run in runs)
        found = checks.after_orders(shop, paid, sum(run.facts["jobs"] - run.done for run in runs))
        charged, twice = checks.charges(shop)
        bench.checked("order + pay", {**found, "paid": paid, "charges": charged, "charged twice": twice})
        if twice or charged < paid:
            raise Failure(f"{paid} payments succeeded, {charged} charges, {twice} of them twice")


def flash_sale(bench, what, *options):
    """1 000 units for all buyers. Their requests stand in the plan; sold exactly, and nobody has what is not there."""
    with bench.shop(products=1, stock=UNITS) as shop:
        buy = (shop.port("order"), "POST", "/orders", '{"user":"buyer %n","items":[{"product_id":1,"quantity":1}],"hold_seconds":3600}')
        one = by_plan(bench, shop, groups_of(shop, "order"), [buy], "-n", BUYERS, "-c", bench.connections, *options)
        stock = checks.stock(shop, 1)
        away, busy = one.facts["conflicts"], one.facts["refused"]
        found = {**checks.after_orders(shop, one.done, 0), "sold": one.done, "turned away": away, "503, to ask again": busy, "stock": stock}
        say(f"  {BUYERS} buyers in {one.seconds:.1f} s: {one.done} sold, {away} turned away, {busy} times 503")
        if one.done != UNITS or away + busy != BUYERS - UNITS or stock["available"] != 0 or stock["held"] != UNITS:
            raise Failure(f"the flash sale is not what it must be: {found} {one.facts}")
        bench.checked(what, found)
        return one


def hot(bench):
    runs = [flash_sale(bench, "hot product") for number in range(1 if bench.quick else bench.rounds)]
    slow = flash_sale(bench, "hot product, buyers for longer", "-r", SLOW_BUYERS)
    answered = sum(run.facts["requests"] for run in runs) / len(runs)
    bench.results["hot"] = {
        "seconds": load.median([run.seconds for run in runs]), "rate": load.median([run.facts["requests"] / run.seconds for run in runs]),
        "cost_us": {group: load.median([run.cpu[group] for run in runs]) / answered for group in runs[0].cpu},
        "sold_ms": {name: load.median([run.facts[name] for run in runs]) / 1000 for name in load.PERCENTILES},
        "away_ms": {name: load.median([run.facts[f"refused_{name}_us"] for run in runs]) / 1000 for name in load.PERCENTILES},
        "slow": {"rate": SLOW_BUYERS, "seconds": slow.seconds, "busy": slow.facts["refused"],
                 "away_ms": {name: slow.facts[f"refused_{name}_us"] / 1000 for name in (*load.PERCENTILES, "max")}},
        "command": " ".join(runs[-1].command)}


def unpaid(bench):
    """
    Orders come, nobody pays, and a minute later the sweeps ask what became of their holds: what that costs for each order. Nothing else is counted: not
    the worker's own audit, and not the idle time before.
    """
    with bench.shop(environment={"SOUK_AUDIT_S": "0"}) as shop:
        names, began = ["order", *shop.shards], time.monotonic()
        placed = by_plan(bench, shop, groups_of(shop, "order"), order_steps(shop), "-c", CLIENTS_OPEN, "-r", UNPAID_RATE, "-s", UNPAID_S)
        time.sleep(max(0, began + UNASKED_S - time.monotonic()))
        calls, before = shop.calls(), shop.processes.cpu_us(names)
        last, quiet = calls, 0
        while quiet < 3:  # seconds in a row
            time.sleep(1)
            now, waited = shop.calls(), time.monotonic() - began
            quiet = quiet + 1 if now - last < UNPAID_RATE / 100 and waited > UNASKED_S + UNPAID_S else 0
            last = now
            if waited > UNPAID_MAX_S:
                raise Failure(f"the holds of {placed.done} orders were still asked about {UNPAID_MAX_S} s later")
        after = shop.processes.cpu_us(names)
        used = {name: (after[name] - before[name]) / placed.done for name in names}
        bench.results["unpaid"] = {
            "orders": placed.done, "rate": UNPAID_RATE, "calls": (last - calls) / placed.done,
            "placed_us": {group: placed.cpu[group] / placed.done for group in placed.cpu},
            "cost_us": {"order": used["order"], "shards": sum(used.values()) - used["order"]}}
        bench.checked("unpaid", checks.after_orders(shop, placed.done, placed.facts["jobs"] - placed.done))


def feed(bench):
    with bench.shop(workers=("product",)) as shop:
        def patch(header=None):
            calls = shop.calls()
            one = load.wrk(shop.processes, groups_of(shop, "product"), "bench/patch.lua", f"http://127.0.0.1:{shop.port('product')}",
                           [shop.products, *([header] if header else [])], bench.connections, bench.seconds)
            time.sleep(0.5)
            one.facts["calls"] = shop.calls() - calls
            return one
        for name, header in (("PATCH of a price, answered when written", None), ("PATCH of a price, respond-async", RESPOND_ASYNC)):
            if header and not shop.has_write_back():
                bench.skip("write-back feed", "this Souk does not answer PATCH with Prefer: respond-async by 202 yet")
                continue
            runs = workload(bench, name, lambda header=header: patch(header))
            bench.results["workloads"][name]["calls_per_request"] = load.median([run.facts["calls"] / run.done for run in runs])
        import_products(bench, shop)


def import_products(bench, shop):
    """The bulk route, by one client: bodies of just under 1 MiB."""
    if not shop.has_import():
        bench.skip("import", "this Souk has no POST /products/import yet")
        return
    client, line = shops.Client(shop.port("product")), '{{"id":{},"name":"Product {}","price":10.99,"stock":5}}\n'
    per_call = (1 << 20) // 70
    calls, lines, began, before = (3 if bench.quick else 20), 0, time.monotonic(), shop.processes.cpu_us(["product", *shop.shards])
    for call in range(calls):
        first = 1_000_000 + call * per_call
        body = "".join(line.format(id, id) for id in range(first, first + per_call))
        answer = client.ask("POST", "/products/import", body, Content_Type="application/x-ndjson", Idempotency_Key=f"bench-{call}")
        if answer.status // 100 != 2:
            bench.skip("import", f"answered {answer.status}: {answer.body[:200].decode(errors='replace')}")
            return
        lines += per_call
    took, after = time.monotonic() - began, shop.processes.cpu_us(["product", *shop.shards])
    used = {name: (after[name] - before[name]) / lines for name in after}
    cost = {"product": used["product"], "shards": sum(used.values()) - used["product"]}
    bench.results["import"] = {"products": lines, "rate": lines / took, "cost_us": cost}


# ---- latency at fixed rates ----

def open_loop(bench):
    with bench.shop() as shop:
        kinds = {"uncached GET": (get_steps(shop), ("-H", NO_CACHE), groups_of(shop, "product")), "order": (order_steps(shop), (), groups_of(shop, "order"))}
        if shop.has_near_cache():
            kinds = {"cached GET": (get_steps(shop), (), groups_of(shop, "product")), **kinds}
        for kind, (steps, options, groups) in kinds.items():
            def one(rate, seconds):
                return by_plan(bench, shop, groups, steps, *options, "-c", CLIENTS_OPEN, "-r", rate, "-s", seconds)
            closed = by_plan(bench, shop, groups, steps, *options, "-c", bench.connections, "-s", bench.seconds)
            rows = []
            for share in bench.shares:
                rate = int(float(f"{closed.rate * share:.2g}"))
                rows.append(open_row(share, rate, one(rate, bench.open_seconds)))
                say(f"  {kind} at {rate}/s: p50 {rows[-1]['latency_us']['p50']} µs, p99 {rows[-1]['latency_us']['p99']} µs")
            bench.results.setdefault("open", {})[kind] = {"capacity": closed.rate, "rows": rows}
        bench.checked("open", checks.in_store(shop))


def open_row(share, rate, one):
    return {"share": share, "offered": rate, "rate": one.rate, "refused": one.facts["refused"], "errors": one.facts["errors"], "unsent": one.facts["unsent"],
            "latency_us": {name: one.facts[name] for name in (*load.PERCENTILES,)}, "max_us": one.facts["accepted_max_us"],
            "late_p99_us": one.facts["sent_late_p99_us"], "command": " ".join(one.command)}


# ---- what a request costs, as things grow ----

def cost_kinds(bench, shop, connections=None):
    kinds = {"uncached GET": lambda: get(bench, shop, shop.port("product"), groups_of(shop, "product"), header=NO_CACHE, connections=connections),
             "order": lambda: order(bench, shop, shop.port("order"), groups_of(shop, "order"), connections=connections)}
    if shop.has_near_cache():
        kinds = {"cached GET": lambda: get(bench, shop, shop.port("product"), groups_of(shop, "product"), connections=connections), **kinds}
    return kinds


class Sweep:
    """
    The points of one sweep. All points are measured before any is measured again, so that a machine that is slower for a minute does not make a bend;
    finish() keeps the medians.
    """

    def __init__(self, bench, name):
        self.bench, self.name, self.runs, self.resident, self.found = bench, name, {}, {}, {}

    def measure(self, at, shop, connections=None):
        say(f"  {at} {self.name}")
        shop.pair_file()
        kinds = cost_kinds(self.bench, shop, connections)
        kinds = {kind: one if kind == "cached GET" else lambda one=one: counting(shop, one) for kind, one in kinds.items()}
        for kind, runs in load.in_turns(kinds, 1, say).items():
            self.runs.setdefault(kind, {}).setdefault(at, []).extend(runs)
        self.resident[at] = {worker: shop.resident_mib(worker) for worker in shop.workers}

    def check(self, shop):
        """Before the shop goes. What is found is summed up over the shops of the sweep."""
        if shop.products <= CHECKED_PRODUCTS:
            for what, number in checks.in_store(shop).items():
                self.found[what] = self.found.get(what, 0) + number

    def finish(self):
        self.bench.checked(f"sweep of {self.name}", self.found)
        results = self.bench.results.setdefault("sweeps", {}).setdefault(self.name, {})
        for kind, points in self.runs.items():
            results[kind] = [{"at": at, **load.summary(runs)} for at, runs in points.items()]
        results["resident"] = [{"at": at, **mib} for at, mib in self.resident.items()]


def sweep_products(bench):
    sweep = Sweep(bench, "products")
    for _ in range(bench.sweep_rounds):
        for products in bench.product_points:
            with bench.shop(products=products, environment={"SOUK_CACHE_MB": CACHE_MB}) as shop:
                get(bench, shop, shop.port("product"), {}, seconds=products // WARM_RATE + 1)
                sweep.measure(products, shop)
                sweep.check(shop)
    sweep.finish()


def sweep_shards(bench):
    sweep = Sweep(bench, "shards")
    for _ in range(bench.sweep_rounds):
        for shards in bench.shard_points:
            with bench.shop(shards=shards) as shop:
                sweep.measure(shards, shop)
                sweep.check(shop)
    sweep.finish()


def sweep_connections(bench):
    sweep = Sweep(bench, "connections")
    with bench.shop() as shop:
        for _ in range(bench.sweep_rounds):
            for connections in bench.connection_points:
                sweep.measure(connections, shop, connections)
        sweep.check(shop)
    sweep.finish()


# ---- a worker by itself ----

def start(bench):
    rows = []
    for _ in range(3 if bench.quick else 9):
        with bench.shop(workers=()) as shop:
            for worker in ("product", "order"):
                rows.append((shop.time_start(worker, SOUK_CACHE_MB="0"), shop.resident_mib(worker)))
    bench.results["start"] = {"ready_ms": load.median([ms for ms, _ in rows]), "slowest_ms": max(ms for ms, _ in rows),
                              "resident_mib": load.median([mib for _, mib in rows])}


# name, what it does, function
PARTS = [
    ("start", "a worker from its start until it is ready, and its memory", start),
    ("cached", "cached GET beside libmicrohttpd, nginx and Go", cached),
    ("uncached", "uncached GET beside nginx + Lua, Go + rueidis and Node + ioredis", uncached),
    ("orders", "orders of two lines on two shards beside Go + rueidis, and the functions without a worker", orders),
    ("list", "a page of the catalogue", list_page),
    ("mixed", "90 reads to 10 orders", mixed),
    ("pay", "orders and their payments", pay),
    ("hot", "1 000 units for 100 000 buyers", hot),
    ("unpaid", "orders that nobody pays, a minute later", unpaid),
    ("feed", "a feed of prices, written through and written back; import", feed),
    ("open", "latency at fixed rates", open_loop),
    ("products", "cost against the number of products", sweep_products),
    ("shards", "cost against the number of shards", sweep_shards),
    ("connections", "cost against the number of connections", sweep_connections),
]
