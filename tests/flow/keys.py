#!/usr/bin/env -S python3 -B
"""keys.py PORTS PASSWORD_FILE DOCUMENT: every key of the shards at these ports, with its type, its fields and what they are made of, is in the tables of the document; and
what the tables name is in the shards, unless they call it rare. The password is that of souk-operator.

A table is found by its first column, `key`. The one with a column `type` has the keys, the one with a column `field` their fields. A name in backquotes is a pattern:
`{p}` is a partition, a word in capitals stands for what STANDS_FOR says, or for any text. In a field's `value`, names in backquotes before "with bars between" are the
parts of the value; where "the last may hold bars", the last one may. `when` is `always`, or something else; whoever has "rare" in it is not missed.
"""
import collections
import re
import socket
import sys
import time

PATIENCE_S = 20
CALLED = {"zset": "sorted set"}  # as people say it


class Shard:
    def __init__(self, port, password):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.stream = self.socket.makefile("rb")
        self.ask("AUTH", "souk-operator", password)

    def ask(self, *words):
        out = [b"*%d\r\n" % len(words)]
        for word in words:
            word = str(word).encode("utf-8", "surrogateescape")
            out.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.socket.sendall(b"".join(out))
        return self.answer()

    def answer(self):
        kind, line = self.stream.read(1), self.stream.readline()[:-2]
        if kind == b"-":
            raise SystemExit(f"Redis says {line.decode()}")
        if kind == b"*":
            return [self.answer() for _ in range(int(line))]
        if kind == b"$":
            return self.stream.read(int(line) + 2)[:-2].decode("utf-8", "surrogateescape") if int(line) >= 0 else None
        return line.decode()

    def keys(self):
        cursor, found = "0", set()
        while True:
            cursor, some = self.ask("SCAN", cursor, "COUNT", 1000)
            found.update(some)
            if cursor == "0":
                return found


def tables(text):
    """Each table as a list of rows, each a dictionary by its head."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        rows = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in block.splitlines()]
        yield [dict(zip(rows[0], row)) for row in rows[2:]]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


STANDS_FOR = {"ID": r"\d+", "N": r"\d+", "HASH": "[0-9a-f]+", "FP": "[0-9a-f]+", "T": r"[0-9a-f]+\.[0-9a-f]+\.\d+"}


def pattern(name):
    """`orders:{p}:in:STATE` → a regular expression."""
    text = re.escape(name).replace(r"\{p\}", r"\{\d+\}")
    return re.compile(re.sub(r"[A-Z][A-Z_]*", lambda word: STANDS_FOR.get(word.group(), ".+"), text), re.S)


class Field:
    def __init__(self, row, name):
        self.name, self.pattern, self.seen = name, pattern(name), 0
        self.always, self.rare = row["when"] == "always", "rare" in row["when"]
        parts, bars, _ = row["value"].partition("with bars between")
        self.parts = len(names(parts)) if bars else 0
        self.open_end = "the last may hold bars" in row["value"]


class Key:
    def __init__(self, row, name):
        self.name, self.pattern, self.type, self.seen, self.fields = name, pattern(name), row["type"], 0, []
        self.rare = any("rare" in cell for cell in row.values())


class Page:
    def __init__(self, text):
        self.keys, self.complaints = [], []
        rows = [row for table in tables(text) for row in table if "key" in row]
        self.keys = [Key(row, name) for row in rows if "type" in row for name in names(row["key"])]
        by_name = {key.name: key for key in self.keys}
        for row in rows:
            for name in names(row["key"]) if "field" in row else []:
                if name not in by_name:
                    self.complain(f"the page has fields of {name}, and no such key")
                else:
                    by_name[name].fields += [Field(row, field) for field in names(row["field"])]

    def complain(self, text):
        if text not in self.complaints:
            self.complaints.append(text)

    def key_of(self, name):
        found = [key for key in self.keys if key.pattern.fullmatch(name)]
        if len(found) > 1:  # `orders:{p}:user:USER` could be anything; the longest pattern is the one that is meant
            found.sort(key=lambda key: -len(key.name))
        return found[0] if found else None

    def check(self, name, kind, records):
        """A key of a shard; ${records}: the dictionaries that it holds."""
        key = self.key_of(name)
        if key is None:
            return self.complain(f"{name} ({kind}) is not on the page")
        key.seen += 1
        if kind != key.type:
            self.complain(f"{name} is a {kind}, on the page {key.name} is a {key.type}")
        for record in records:
            self.check_record(key, name, record)

    def check_record(self, key, name, record):
        for field, value in record.items():
            found = next((row for row in key.fields if row.pattern.fullmatch(field)), None)
            if found is None:
                self.complain(f"{name} has {field} ({value[:60]!r}), and the page has no such field of {key.name}")
                continue
            found.seen += 1
            parts = value.count("|") + 1
            if found.parts and parts != found.parts and not (found.open_end and parts > found.parts):
                self.complain(f"{field} of {name} has {parts} parts ({value[:80]!r}), on the page {found.parts}")
        for row in key.fields:
            if row.always and not any(row.pattern.fullmatch(field) for field in record):
                self.complain(f"{name} has no {row.name}, and the page says always")

    def unseen(self):
        for key in self.keys:
            if not key.seen and not key.rare:
                self.complain(f"the page has {key.name}, and there is none in the store")
            for row in key.fields:
                if key.seen and not row.seen and not row.rare:
                    self.complain(f"the page has {row.name} of {key.name}, and no record has it")


def records_of(shard, name, kind):
    if kind == "hash":
        flat = shard.ask("HGETALL", name)
        return [dict(zip(flat[::2], flat[1::2]))]
    if kind == "stream":
        return [dict(zip(flat[::2], flat[1::2])) for _, flat in shard.ask("XRANGE", name, "-", "+")]
    return []


def look(shards, text):
    page, counts = Page(text), collections.Counter()
    for shard in shards:
        for name in sorted(shard.keys()):
            kind = shard.ask("TYPE", name)
            records = records_of(shard, name, kind) if kind != "none" else []
            kind = CALLED.get(kind, kind)
            if kind == "none" or records == [{}]:  # it ended meanwhile
                continue
            counts[kind] += 1
            page.check(name, kind, records)
    page.unseen()
    return page, counts


def main():
    with open(sys.argv[2], encoding="utf-8") as file:
        password = file.readline().strip()
    shards = [Shard(int(port), password) for port in sys.argv[1].split(",")]
    with open(sys.argv[3], encoding="utf-8") as document:
        text = document.read()
    end = time.monotonic() + PATIENCE_S
    while True:  # leases come and go, duties are done
        page, counts = look(shards, text)
        if not page.complaints or time.monotonic() > end:
            break
        time.sleep(0.2)
    for complaint in page.complaints:
        print(complaint)
    fields = sum(len(key.fields) for key in page.keys)
    print(f"{sum(counts.values())} keys ({', '.join(f'{count} {kind}' for kind, count in counts.items())}) of {len(page.keys)} kinds with {fields} fields")
    sys.exit(1 if page.complaints or len(page.keys) < 10 or fields < 40 else 0)


main()
