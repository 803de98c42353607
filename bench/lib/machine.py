"""What this machine is, and what its processes used."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


def output(*command):
    """The first line that a command prints, or None when there is no such command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else ""


def go():
    """The Go tool, which distributors and Go's own archive put in different places."""
    return shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


def processor():
    found = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else os.uname().machine


def system():
    found = re.search(r'^PRETTY_NAME="(.*)"', pathlib.Path("/etc/os-release").read_text(), re.M)
    return found.group(1) if found else "Linux"


def part(command, pattern):
    found = re.search(pattern, output(*command) or "")
    return found.group(1) if found else "missing"


def rueidis(top):
    return re.search(r"redis/rueidis v(\S+)", (top / "bench/peers/go/go.mod").read_text()).group(1)


def ioredis(top):
    return json.loads((top / "bench/peers/node/package.json").read_text())["dependencies"]["ioredis"]


def describe(top):
    """The head of a report."""
    versions = {
        "Redis": part(["redis-server", "--version"], r"v=(\S+)"),
        "libmicrohttpd": output("pkg-config", "--modversion", "libmicrohttpd"),
        "hiredis": output("pkg-config", "--modversion", "hiredis"),
        "wrk": part(["wrk", "--version"], r"wrk (\S+)"),
        "nginx": part(["nginx", "-v"], r"nginx/(\S+)"),
        "Go": part([go(), "version"], r"go(\d\S+)") if go() else "missing",
        "rueidis": rueidis(top),
        "Node": part(["node", "--version"], r"v(\S+)"),
        "ioredis": ioredis(top),
    }
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{os.cpu_count()} cores ({processor()}), {memory:.0f} GiB, {system()}, Linux {os.uname().release}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "commit": output("git", "-C", str(top), "rev-parse", "--short", "HEAD") or "unknown",
    }


def load_average():
    return float(pathlib.Path("/proc/loadavg").read_text().split()[0])


def children(pid):
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        return [int(child) for thread in threads for child in pathlib.Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]
    except OSError:
        return []


def cpu_us(pid):
    """
    CPU time of a process with its children so far, in µs. The scheduler's own account of the threads is exact, but forgets those that ended;
    /proc/PID/stat has them all, in ticks. The larger is nearer.
    """
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        threads = [pathlib.Path(f"/proc/{pid}/task/{thread}/schedstat").read_text() for thread in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return 0
    ticks = (int(stat[11]) + int(stat[12])) * TICK_US
    exact = sum(int(text.split()[0]) for text in threads) / 1000
    own = exact if ticks <= exact + 2 * TICK_US else ticks
    return own + sum(cpu_us(child) for child in children(pid))


def resident_mib(pid):
    found = re.search(r"VmRSS:\s*(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) / 1024
