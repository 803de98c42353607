"""
The peers: what else one could answer the same requests with. Each is built from bench/peers if its tool chain is here, and left out by name if not.
Peers that read Redis do it from the same shards, by a call of the same size, and get the JSON ready made.
"""
import os
import shutil
import subprocess
from pathlib import Path

import machine
import shop as shops
from processes import Failure

MODULES = Path("/usr/lib/nginx/modules")
RESTY_REDIS = Path("/usr/share/lua/5.1/nginx/redis.lua")
OF_SERVER = {"date", "content-length", "connection", "content-type", "server"}


class Missing(Exception):
    """Why a peer is left out."""


def build(command, folder, environment):
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        raise Missing(f"{command[0]} did not end in time") from None
    if done.returncode != 0:
        raise Missing(f"`{' '.join(map(str, command))}` failed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")


def build_go(top, build_folder):
    if not machine.go():
        raise Missing("Go is not installed")
    program = build_folder / "bin/souk-bench-go"
    build([machine.go(), "build", "-o", str(program), "."], top / "bench/peers/go", {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"})
    return program


def build_node(top, build_folder):
    if not shutil.which("node") or not shutil.which("npm"):
        raise Missing("Node or npm is not installed")
    folder = build_folder / "bench/node"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "node_modules").exists() or (folder / "package.json").read_bytes() != (top / "bench/peers/node/package.json").read_bytes():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(top / "bench/peers/node" / name, folder)
        build(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder, os.environ)
    shutil.copy(top / "bench/peers/node/server.js", folder)
    return folder / "server.js"


def find_nginx(top, build_folder):
    if not shutil.which("nginx"):
        raise Missing("nginx is not installed")
    return top / "bench/peers/nginx"


def find_nginx_lua(top, build_folder):
    folder = find_nginx(top, build_folder)
    if not (MODULES / "ngx_http_lua_module.so").exists() or not RESTY_REDIS.exists():
        raise Missing("nginx's Lua module or lua-resty-redis is not installed")
    return folder


def find_static(top, build_folder):
    return build_folder / "bin/souk-bench-static"


def read_answer(path):
    """Headers, without those that every server writes itself, and body of what curl -i printed."""
    head, _, body = path.read_bytes().decode().partition("\r\n\r\n")
    headers = [tuple(line.split(": ", 1)) for line in head.split("\r\n")[1:]]
    return [header for header in headers if header[0].lower() not in OF_SERVER], body


def start_nginx(shop, name, port, source, modules, preload, location):
    folder = shop.folder / name
    folder.mkdir()
    text = (source / "nginx.conf").read_text()
    for word, value in {"DIR": folder, "MODULES": modules, "PRELOAD": preload, "PORT": port, "LOCATION": location}.items():
        text = text.replace(f"@{word}@", str(value))
    (folder / "nginx.conf").write_text(text)
    shop.processes.start(name, ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")])


def nginx_static(shop, name, port, source, answer):
    headers, body = read_answer(answer)
    lines = [f"add_header {key} '{value}';" for key, value in headers]
    start_nginx(shop, name, port, source, "", "", f"location / {{ {' '.join(lines)} return 200 '{body}'; }}")


def nginx_lua(shop, name, port, source, answer):
    modules = "".join(f"load_module {MODULES}/{module}.so; " for module in ("ndk_http_module", "ngx_http_lua_module"))
    pairs = ", ".join(f"{{'{key}', '{value}'}}" for key, value in read_answer(answer)[0] if key.lower() != "etag")
    preload = (f"lua_package_path '{source}/?.lua;/usr/share/lua/5.1/?.lua;;'; init_by_lua_block {{ product = require 'product' "
               f"ports = product.read_shards('{shop.shard_file}') answer = {{{pairs}}} }}")
    start_nginx(shop, name, port, source, modules, preload, "location /products/ { content_by_lua_block { product.answer(ports, answer) } }")


def go(mode):
    def start(shop, name, port, program, answer):
        shop.processes.start(name, [str(program), "-mode", mode, "-port", str(port), "-answer", str(answer), "-bodies", str(shop.folder / "bodies"),
                                    "-hash", shop.hash, *(["-shards", str(shop.shard_file)] if mode not in ("static", "map") else [])])
    return start


def node(shop, name, port, program, answer):
    shop.processes.start(name, ["node", str(program), str(port), str(answer), str(shop.shard_file)], {**os.environ, "NODE_ENV": "production"})


def static(shop, name, port, program, answer):
    shop.processes.start(name, [str(program), str(port), str(answer)])


# group, name, what the report calls it, how it is built or found, how it is started
PEERS = [
    ("cached", "libmicrohttpd", "libmicrohttpd, static", find_static, static),
    ("cached", "nginx", "nginx, return 200", find_nginx, nginx_static),
    ("cached", "go-static", "Go net/http, static", build_go, go("static")),
    ("cached", "go-map", "Go net/http, from a map", build_go, go("map")),
    ("cached", "go-cache", "Go + rueidis, client-side cache", build_go, go("cache")),
    ("uncached", "nginx-lua", "nginx + Lua + resty.redis", find_nginx_lua, nginx_lua),
    ("uncached", "go-rueidis", "Go + rueidis", build_go, go("redis")),
    ("uncached", "node", "Node + ioredis, auto-pipelining", build_node, node),
    ("orders", "go-orders", "Go + rueidis, the same protocol", build_go, go("orders")),
]
NAMES = [name for _, name, *_ in PEERS]
LABELS = {name: label for _, name, label, *_ in PEERS}


def start_group(shop, bench, group, answer):
    """Starts the group's peers beside ${shop}. Returns name → port; those that cannot run here are told to ${bench}."""
    started = {}
    for number, (of, name, _, prepare, start) in enumerate(PEERS):
        if of != group or name not in bench.peers:
            continue
        port = shop.base + shops.PEERS + number
        try:
            start(shop, name, port, prepare(bench.top, bench.build), answer)
            shop.processes.wait_for_port(name, port)
            started[name] = port
        except (Missing, Failure) as why:
            if name in shop.processes.running:
                shop.processes.stop(name)
            bench.skip(LABELS[name], str(why))
    return started


def check_same(shop, ports, answer, method="GET"):
    """That each peer's answer has our body and our headers, but for ids and times."""
    headers, body = read_answer(answer)
    for name, port in ports.items():
        got = shops.Client(port).ask(method, "/products/1")
        wrong = [key for key, value in headers if key.lower() != "x-request-id" and got.headers.get(key) != value and key.lower() != "age"]
        if got.status != 200 or got.body.decode() != body or wrong:
            raise Failure(f"{LABELS[name]} does not answer as Souk does: {got.status}, {wrong or 'the body'}")
