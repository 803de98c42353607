#!/usr/bin/env python3
"""callers.py PRODUCT_URL ORDER_URL PAYMENT_URL SCOPE=TOKEN…: every operation of docs/openapi.json is asked with every scope alone, and with no token.

It is let in with the one scope that the description names, and with no other: 401 without a token, with one that is nobody's, and with one of another scheme; 403 with a
caller who lacks the scope, naming it. What is let in may be refused for anything else. Each refusal is looked at whole, and no token may come back in it.
"""
import http.client
import json
import pathlib
import re
import sys
import urllib.parse

API = json.loads((pathlib.Path(__file__).resolve().parent.parent.parent / "docs/openapi.json").read_text())
BODIES = {"createProduct": {"name": "Caller", "price": 1}, "placeOrder": {"user": "caller", "items": [{"product_id": 9, "quantity": 1}]},
          "pay": {"order_id": 9, "method": {"token": "tok_ok"}}}
PATIENCE_S = 20


def operations():
    """(method, path, operation) with its service's place in the command line; those of every worker are asked at one."""
    places = {"catalogue": 0, "orders": 1, "payments": 2, "operation": 1}
    for path, item in API["paths"].items():
        for method in ("get", "post", "put", "patch", "delete"):
            if method in item:
                yield method.upper(), path, item[method], places[item[method]["tags"][0]]


class Worker:
    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urllib.parse.urlparse(url).netloc, timeout=PATIENCE_S)

    def ask(self, method, path, operation, authorization):
        headers = {"Authorization": authorization} if authorization else {}
        body = None
        if method in ("POST", "PUT", "PATCH"):
            headers |= {"Idempotency-Key": f"callers-{operation['operationId']}", "Content-Type": "application/json", "If-Match": '"v999"'}
            body = json.dumps(BODIES.get(operation["operationId"], {}))
        if method == "DELETE":
            headers["If-Match"] = '"v999"'
        self.connection.request(method, re.sub(r"\{\w+\}", "9", path), body, headers)
        answer = self.connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()


def scope_of(operation):
    """None: open to all."""
    security = operation.get("security", API.get("security", []))
    return security[0]["token"][0] if security and security[0] else None


def wrong_with(answer, want, scope, token):
    """What is wrong with a refusal, or None."""
    status, headers, body = answer
    if status != want:
        return f"{status} and not {want}"
    if token and token in body + str(headers):
        return "the token stands in the answer"
    if headers.get("content-type") != "application/problem+json":
        return "is no problem"
    problem, challenge = json.loads(body), headers.get("www-authenticate", "")
    if not challenge.startswith('Bearer realm="souk"'):
        return f"WWW-Authenticate is {challenge!r}"
    if want == 403 and (f'scope="{scope}"' not in challenge or problem.get("scope") != scope or problem["code"] != "scope_missing"):
        return f"does not name the scope {scope}: {challenge} {body}"
    if want == 401 and (problem["code"] != "unauthorized" or ("invalid_token" in challenge) != bool(token)):
        return f"401 says {challenge} {body}"
    return None


def uniform(answer):
    return {name: value for name, value in json.loads(answer[2]).items() if name != "request_id"}


def main():
    workers = [Worker(url) for url in sys.argv[1:4]]
    tokens = dict(argument.split("=", 1) for argument in sys.argv[4:])
    complaints, cells, refusals = [], 0, []
    named = {scope_of(operation) for _, _, operation, _ in operations()} - {None}
    if named != set(tokens):
        complaints.append(f"the description names {sorted(named ^ set(tokens))} and the test does not, or the other way round")
    for method, path, operation, place in operations():
        scope = scope_of(operation)
        strangers = [(None, None), ("souk_nobody", "Bearer souk_nobody"), ("Zm9v", "Basic Zm9v"), (tokens["orders:read"][:-1], f"Bearer {tokens['orders:read'][:-1]}")]
        for token, header in strangers + [(one, f"Bearer {one}") for one in tokens.values()]:
            answer = workers[place].ask(method, path, operation, header)
            holds = [name for name, one in tokens.items() if one == token]
            want = None if scope is None or holds == [scope] else 403 if holds else 401
            if want is None:
                wrong = f"is refused: {answer[0]} {answer[2]}" if answer[0] in (401, 403) or answer[0] >= 501 else None
            else:
                wrong = wrong_with(answer, want, scope, token)
                refusals += [uniform(answer)] if want == 401 and answer[0] == 401 else []
            cells += 1
            complaints += [f"{method} {path} ({scope}) with {holds or header}: {wrong}"] if wrong else []
    if any(one != refusals[0] for one in refusals):
        complaints.append("not every 401 has the same body")
    print("\n".join(complaints) or f"{cells} cells")
    sys.exit(1 if complaints or cells < 300 else 0)


main()
