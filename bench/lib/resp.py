"""Just enough of Redis' protocol to send many commands at once and to count their answers."""
import selectors
import socket

from processes import Failure

ANSWER_S = 10


def command(*parts):
    out = [b"*%d\r\n" % len(parts)]
    for part in parts:
        part = part if isinstance(part, bytes) else str(part).encode()
        out += [b"$%d\r\n" % len(part), part, b"\r\n"]
    return b"".join(out)


class Reader:
    """Counts whole answers in a stream of bytes, and how many of them are errors or begin with another code than 0."""

    def __init__(self):
        self.rest = b""
        self.whole = self.bad = 0
        self.first_bad = ""

    def add(self, received):
        self.rest += received
        at = 0
        while True:
            end = self.skip(self.rest, at)
            if end is None:
                break
            if not self.rest.startswith((b"*", b"+", b":", b"$"), at) or (self.rest.startswith(b"*", at) and b"\r\n:0\r\n" != self.code(at)):
                self.bad += 1
                self.first_bad = self.first_bad or self.rest[at:end].decode(errors="replace")
            self.whole += 1
            at = end
        self.rest = self.rest[at:]

    def code(self, at):
        start = self.rest.index(b"\r\n", at)
        return self.rest[start:start + 6]

    @staticmethod
    def skip(text, at):
        """The end of the answer that begins at ${at}; None if it is not whole."""
        owed = 1
        while owed:
            line = text.find(b"\r\n", at)
            if line < 0:
                return None
            kind, number = text[at:at + 1], text[at + 1:line]
            at, owed = line + 2, owed - 1
            if kind == b"*":
                owed += max(0, int(number))
            elif kind == b"$" and int(number) >= 0:
                at += int(number) + 2
                if at > len(text):
                    return None
        return at


class Marks:
    """Counts answers by how they begin, which costs hardly anything: for measuring. An answer that begins otherwise is never counted."""

    def __init__(self, mark):
        self.mark, self.rest, self.whole, self.bad, self.first_bad = mark, b"", 0, 0, ""

    def add(self, received):
        text = self.rest + received
        self.whole += text.count(self.mark)
        self.rest = text[-len(self.mark) + 1:]


def ask(port, *parts):
    """One command; its answer as text, a bulk string without its head."""
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(command(*parts))
        text = b""
        while Reader.skip(text, 0) is None:
            text += link.recv(65536)
    head, _, body = text.partition(b"\r\n")
    return body[:-2].decode() if head.startswith(b"$") else text.decode().strip()


def pump(streams, connections, depth, new_reader=None):
    """
    Sends commands as `redis-benchmark -P ${depth} -c ${connections}` does: on each connection ${depth} at once, the next when all are answered.
    ${streams}: for each port an iterator of commands. Returns a Reader for each port with the sums. ${new_reader}: what reads the answers of a connection.
    """
    selector = selectors.DefaultSelector()
    readers = {port: Reader() for port in streams}

    def send(link, port, state):
        batch = [one for _, one in zip(range(depth), streams[port])]
        state["owed"] = len(batch)
        if batch:
            link.sendall(b"".join(batch))
        else:
            selector.unregister(link)
            link.close()

    for port in streams:
        for _ in range(connections):
            link = socket.create_connection(("127.0.0.1", port))
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            state = {"reader": (new_reader or Reader)(), "port": port}
            selector.register(link, selectors.EVENT_READ, state)
            send(link, port, state)
    while selector.get_map():
        ready = selector.select(ANSWER_S)
        if not ready:
            raise Failure(f"Redis gave no more answers that count, within {ANSWER_S} s")
        for key, _ in ready:
            state, reader = key.data, key.data["reader"]
            before = reader.whole
            reader.add(key.fileobj.recv(1 << 20))
            state["owed"] -= reader.whole - before
            if state["owed"] == 0:
                total = readers[state["port"]]
                total.whole, total.bad, total.first_bad = total.whole + reader.whole, total.bad + reader.bad, total.first_bad or reader.first_bad
                reader.whole = reader.bad = 0
                send(key.fileobj, state["port"], state)
    return readers
