"""The aims of section 9 of the design: what is wanted at least, what is hoped for, and what a run reached."""


def spread(points):
    """By how many percent the dearest point of a sweep is above the cheapest: CPU of worker and shards together."""
    costs = [sum(point["cost_us"].values()) for point in points]
    return (max(costs) / min(costs) - 1) * 100


def ratio(group, peer):
    def reached(results):
        rows = results.get("comparisons", {}).get(group, {})
        return rows["souk"]["rate"] / rows[peer]["rate"] if "souk" in rows and peer in rows else None
    return reached


def field(*path):
    def reached(results):
        for name in path:
            results = results.get(name)
            if results is None:
                return None
        return results
    return reached


def share_of_raw(results):
    """
    Orders a second ÷ what the same functions do without a worker, in the share of CPU that Redis had: with C µs of the shards for an order of Souk's, and
    R µs for two TRY and one PLACE sent bare, that share does C / R as many.
    """
    raw, orders = results.get("raw"), results.get("comparisons", {}).get("orders", {}).get("souk")
    return (2 * raw["try_us"] + raw["place_us"]) / orders["cost_us"]["shards"] if raw and orders else None


def flatness(results):
    """The greatest change of the cost of one request over a whole sweep, over all sweeps but that of connections."""
    spreads = [spread(points) for sweep in ("products", "shards") for kind, points in results.get("sweeps", {}).get(sweep, {}).items()
               if kind != "resident" and len(points) > 1]
    return max(spreads) if spreads else None


# what, at least, aim, how it is written, is less better, how it is found
AIMS = [
    ("cached GET ÷ libmicrohttpd's static answer", 0.85, 0.95, "{:.2f}", False, ratio("cached", "libmicrohttpd")),
    ("cached GET ÷ nginx `return 200`", 0.8, 1.0, "{:.2f}", False, ratio("cached", "nginx")),
    ("cached GET ÷ Go net/http from a map", 1.8, 2.5, "{:.2f}", False, ratio("cached", "go-map")),
    ("uncached GET ÷ Go net/http + rueidis", 1.6, 2.5, "{:.2f}", False, ratio("uncached", "go-rueidis")),
    ("uncached GET ÷ nginx + lua-resty-redis", 1.5, 2.0, "{:.2f}", False, ratio("uncached", "nginx-lua")),
    ("client commands per Redis read, 256 connections", 4, 16, "{:.1f}", False, field("comparisons", "uncached", "souk", "commands_per_read")),
    ("orders × calls ÷ the functions by redis-benchmark -P 16, in Redis' share of CPU", 0.6, 0.85, "{:.2f}", False, share_of_raw),
    ("orders/s, two lines on two shards, all on this machine", 15000, 25000, "{:.0f}", False, field("comparisons", "orders", "souk", "rate")),
    ("worker: start to ready, ms", 100, 30, "{:.0f}", True, field("start", "ready_ms")),
    ("worker: resident without cache, MiB", 32, 12, "{:.0f}", True, field("start", "resident_mib")),
    ("cost per request over products and shards: greatest spread, %", 15, 5, "{:.0f}", True, flatness),
]


def judge(value, least, aim):
    return "aim" if value >= aim else "reached" if value >= least else "**missed**"


def rows(results):
    """what, at least, aim, reached, verdict"""
    found = []
    for what, least, aim, form, less_is_better, find in AIMS:
        value = find(results)
        verdict = "not measured" if value is None else judge(-value, -least, -aim) if less_is_better else judge(value, least, aim)
        found.append((what, least, aim, "–" if value is None else form.format(value), verdict))
    return found
