"""The report of a run as markdown. Every table says which command prints it again."""
import aims
import peers

GROUPS = {
    "cached": "Cached GET /products/{id}",
    "uncached": "Uncached GET /products/{id} (`Cache-Control: no-cache`)",
    "orders": "POST /orders, two lines on two shards",
}
KINDS = ["cached GET", "uncached GET", "order"]
SWEEPS = {"products": "products", "shards": "shards", "connections": "connections"}


def table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(map(str, row)) + " |" for row in rows)]) + "\n"


def count(number):
    return f"{number:,.0f}".replace(",", " ")


def ms(us):
    return f"{us / 1000:.2f}" if us < 10000 else f"{us / 1000:.1f}"


def cost(costs):
    return ", ".join(f"{name} {value:.1f}" for name, value in costs.items())


def label(name):
    return "Souk" if name == "souk" else peers.LABELS[name]


def command_of(results, *parts):
    return f"`bench/run {results['kind']} --only {','.join(parts)}`"


def head(results):
    about = results["head"]
    lines = [f"# {about['date']}: bench/run {results['kind']}", "",
             f"{about['machine']}; the load generator and Redis run on the same cores. {about['versions']}. Commit {about['commit']}.", "",
             f"{results['connections']} connections, {results['threads']} worker thread(s), 2 shards with `appendfsync always` where nothing else is said. Medians of "
             f"{results['rounds']} rounds of {results['seconds']} s; everything in a table of peers was measured in turns, A B C A B C. CPU-µs are those "
             "of each process (utime and stime) for each request that was answered with 2xx."]
    return "\n".join(lines) + "\n"


def aims_table(results):
    return "## Aims\n\n" + table(["what", "at least", "aim", "reached", ""], aims.rows(results))


def figure(path, text):
    return f"![{text}]({path})\n"


def comparison(results, group, name):
    rows = results["comparisons"].get(group)
    if not rows:
        return ""
    ours = rows["souk"]["rate"]
    lines = []
    for who in sorted(rows, key=lambda who: -rows[who]["rate"]):
        row = rows[who]
        costs = {"worker" if name in (who, "product", "order") else name: value for name, value in row["cost_us"].items()}
        lines.append([label(who), count(row["rate"]), "1" if who == "souk" else f"{ours / row['rate']:.2f}", ms(row["latency_us"]["p50"]),
                      ms(row["latency_us"]["p99"]), cost(costs), f"{row['generator_us']:.1f}", row["refused"] + row["errors"],
                      " ".join(map(str, row["rates"]))])
    text = f"## {GROUPS[group]}\n\n{command_of(results, name)}; the last run was `{rows['souk']['command']}`.\n\n"
    return text + table(["who", "req/s", "Souk ÷ it", "p50 ms", "p99 ms", "CPU-µs per request", "wrk", "refused, errors", "every round"], lines)


def raw(results):
    found = results.get("raw")
    if not found:
        return ""
    orders = results["comparisons"]["orders"]["souk"]
    bare = 2 * found["try_us"] + found["place_us"]
    return (f"\nThe functions of an order without a worker, both shards at once, 16 in a pipeline on 50 connections each ({command_of(results, 'orders')}, which runs "
            f"`{found['command']}`): TRY {found['try_us']:.1f} CPU-µs of a shard by redis-benchmark ({count(found['try_rate'])}/s on both) and "
            f"{found['pumped_try_us']:.1f} by bench/lib/resp.py, which also sends PLACE: {found['place_us']:.1f}. Two TRY and one PLACE are {bare:.1f}; an order of "
            f"Souk's takes {orders['cost_us']['shards']:.1f} of the shards, which had {orders['cores']['shards']:.2f} cores.\n")


def workloads(results):
    rows = results.get("workloads")
    if not rows:
        return ""
    lines = []
    for name, row in rows.items():
        more = f"{row['calls_per_request']:.2f} functions a request" if "calls_per_request" in row else ""
        lines.append([name, count(row["rate"]), ms(row["latency_us"]["p50"]), ms(row["latency_us"]["p99"]), cost(row["cost_us"]), row["refused"] + row["errors"], more])
    parts = [part for part in ("list", "mixed", "pay", "feed") if part in results["only"]]
    text = f"## Other workloads\n\n{command_of(results, *parts)}. An order with its payment is one request here.\n\n"
    text += table(["what", "req/s", "p50 ms", "p99 ms", "CPU-µs per request", "refused, errors", ""], lines)
    if "import" in results:
        found = results["import"]
        text += (f"\nPOST /products/import, one client: {count(found['rate'])} products/s ({count(found['products'])} products), CPU-µs per product "
                 f"{cost(found['cost_us'])}.\n")
    return text


def hot(results):
    found = results.get("hot")
    if not found:
        return ""
    check = results["checks"]["hot product"]
    return ("## Hot product: 1 000 units, 100 000 buyers\n\n"
            f"{command_of(results, 'hot')}, which runs `{found['command']}`.\n\n"
            f"{found['seconds']:.1f} s, {count(found['rate'])} answers/s, CPU-µs per answer {cost(found['cost_us'])}. Sold exactly "
            f"{count(check['sold'])}, turned away {count(check['turned away'])}, told to ask again {check['503, to ask again']}; oversold = {check['oversold']}, duplicates = {check['duplicates']}. "
            f"From asking to having, p50 {found['sold_ms']['p50']:.1f} ms and p99 {found['sold_ms']['p99']:.1f} ms; to being turned away "
            f"{found['away_ms']['p50']:.1f} ms and {found['away_ms']['p99']:.1f} ms.\n" + slow_sale(found.get("slow")))


def slow_sale(slow):
    if not slow:  # a run of before it was measured
        return ""
    away = slow["away_ms"]
    return (f"\n{count(slow['rate'])} buyers a second for {slow['seconds']:.0f} s (an open loop), so that 10 s behind the sale its 1 000 holds may be asked about: to being turned away "
            f"p50 {away['p50']:.1f} ms, p99 {away['p99']:.1f} ms, at most {away['max']:.0f} ms; told to ask again {slow['busy']}.\n")


def unpaid(results):
    found = results.get("unpaid")
    if not found:
        return ""
    return ("## Orders that nobody pays\n\n"
            f"{command_of(results, 'unpaid')}. {count(found['orders'])} orders of two lines on two shards, {count(found['rate'])} a second (an open loop): CPU-µs per order "
            f"{cost(found['placed_us'])}. A minute later the sweeps ask what became of their holds: {found['calls']:.2f} functions more for each order, CPU-µs per order "
            f"{cost(found['cost_us'])}.\n")


def open_loop(results):
    kinds = results.get("open")
    if not kinds:
        return ""
    lines = []
    for kind, found in kinds.items():
        for row in found["rows"]:
            latency = row["latency_us"]
            lines.append([kind, f"{row['share']:.0%}", count(row["offered"]), count(row["rate"]), *(ms(latency[p]) for p in ("p50", "p90", "p99", "p999")),
                          ms(row["max_us"]), row["refused"], row["errors"] + row["unsent"]])
    return ("## Latency at fixed rates\n\n"
            f"{command_of(results, 'open')}. An open loop (bench/load.c): requests fall due at a fixed rate whatever becomes of those before, and their latency counts "
            "from when they fell due. The share is of the closed loop's rate just before.\n\n"
            + table(["what", "share", "offered/s", "answered/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "refused", "errors, unsent"],
                    lines))


def bend(points):
    """Where a sweep leaves the band of 15 %, in words."""
    if len(points) < 2:
        return ""
    first = sum(points[0]["cost_us"].values())
    away = [point["at"] for point in points if abs(sum(point["cost_us"].values()) / first - 1) > 0.15]
    return f"{aims.spread(points):.0f} %" + (f", beyond 15 % of the first at {', '.join(map(count, away))}" if away else "")


def sweeps(results):
    text = ""
    for sweep, unit in SWEEPS.items():
        kinds = results.get("sweeps", {}).get(sweep)
        if not kinds:
            continue
        lines = [[kind, count(point["at"]), count(point["rate"]), *(f"{point['cost_us'][part]:.1f}" for part in point["cost_us"]),
                  f"{sum(point['cost_us'].values()):.1f}", f"{point['commands_per_read']:.1f}" if "commands_per_read" in point else "–", point["refused"] + point["errors"]]
                 for kind, points in kinds.items() if kind != "resident" for point in points]
        spreads = [f"{kind} {bend(points)}" for kind, points in kinds.items() if kind != "resident" and len(points) > 1]
        resident = ", ".join(f"{count(row['at'])}: {row['product']:.0f} and {row['order']:.0f}" for row in kinds["resident"])
        text += (f"## Cost against the number of {unit}\n\n{command_of(results, sweep)}.\n\n"
                 + table(["what", unit, "req/s", "worker CPU-µs", "shards CPU-µs", "together", "calls a shard reads at once", "refused, errors"], lines)
                 + "\nWhere the cost of what goes to a shard bends, so do the calls that a shard reads at once: each read, write and sync of the "
                 "shard, and each read and write of the worker, is shared by as many. A refused request has cost the worker something too.\n"
                 f"\nFrom the cheapest to the dearest: {'; '.join(spreads)}. MiB resident of the product and the order worker at {resident}.\n\n")
    return text


def start(results):
    found = results.get("start")
    if not found:
        return ""
    resident = f"; the order worker after the orders above {results['order_resident_mib']:.0f} MiB" if "order_resident_mib" in results else ""
    return (f"## A worker by itself\n\n{command_of(results, 'start')}: from its start to `/readyz` 200 {found['ready_ms']:.0f} ms (the slowest "
            f"{found['slowest_ms']:.0f}), resident {found['resident_mib']:.1f} MiB{resident}.\n")


def checks(results):
    lines = [f"* {what}: " + ", ".join(f"{name} = {value}" for name, value in found.items()) for what, found in results["checks"].items()]
    lines += [f"* **failed**: {name}: {why}" for name, why in results["failed"]]
    lines += [f"* left out: {what}: {why}" for what, why in results["skipped"]]
    return "## Oversold = 0, duplicates = 0\n\n" + "\n".join(lines or ["* nothing that can be oversold was measured"]) + "\n"


def conditions(results):
    lines = [[name, f"{found['seconds']:.0f}", f"{found['load_before']:.1f}"] for name, found in results.get("parts", {}).items()]
    return "## The run itself\n\n" + table(["part", "seconds", "load average before it"], lines)


def text(results, drawn):
    """${drawn}: file names of plots with their titles."""
    compared = results.get("comparisons", {})
    parts = [head(results), aims_table(results), *(figure(*one) for one in drawn), checks(results)]
    parts += [comparison(results, name, name) + (raw(results) if name == "orders" else "") for name in GROUPS if name in compared]
    parts += [workloads(results), hot(results), unpaid(results), open_loop(results), sweeps(results), start(results), conditions(results)]
    return "\n".join(part for part in parts if part)
