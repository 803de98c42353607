#!/usr/bin/env python3
"""A client that knows nothing but the shape of the three lists, as API.md's section on compatibility promises it.

plain_client.py PRODUCT_URL ORDER_URL PAYMENT_URL, after deploy/local/demo-data has loaded the demo data there.
"""
import json
import sys
import urllib.request

LISTS = (
    ("/products", {"id": int, "name": str, "price": float}),
    ("/orders", {"id": int, "user": str, "total": float}),
    ("/payments", {"id": int, "order_id": int, "status": str}),
)


def fits(value, kind):
    """JSON's numbers as a typed decoder takes them: an int has no point, a float may have none, and a bool is neither."""
    if isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, (int, float))
    return isinstance(value, kind)


def read_list(url, members):
    with urllib.request.urlopen(url, timeout=10) as answer:
        content_type = answer.headers.get_content_type()
        rows = json.load(answer)
    assert content_type == "application/json", f"{url} is {content_type}"
    assert isinstance(rows, list), f"{url} is no bare array: {rows!r}"
    for row in rows:
        assert isinstance(row, dict), f"{url} holds {row!r}"
        for name, kind in members.items():
            assert name in row, f"{url}: {row!r} has no {name}"
            assert fits(row[name], kind), f"{url}: {name} of {row!r} is no {kind.__name__}"
        for name in ("id", "order_id"):
            assert 1 <= row.get(name, 1) <= 2**53 - 1, f"{url}: {name} of {row!r} is out of range"
    return rows


def check_demo(products, orders, payments):
    by_id = {product["id"]: product for product in products}
    assert (by_id[1]["name"], by_id[1]["price"]) == ("Product 1", 10.99), by_id[1]
    assert (by_id[2]["name"], by_id[2]["price"]) == ("Product 2", 19.99), by_id[2]
    totals = {order["user"]: order["total"] for order in orders}
    assert totals == {"User 1": 10.99, "User 2": 19.99}, totals
    paid = {payment["order_id"]: payment["status"] for payment in payments}
    assert paid == {order["id"]: "succeeded" for order in orders}, paid


def main():
    rows = [read_list(base.rstrip("/") + path, members) for base, (path, members) in zip(sys.argv[1:4], LISTS)]
    assert len(rows) == 3, __doc__
    check_demo(*rows)
    print("ok  ", ", ".join(f"{len(part)} of {path}" for part, (path, _) in zip(rows, LISTS)))


main()
