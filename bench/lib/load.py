"""Runs of the two load generators, with what every process used meanwhile."""
import os
import re
import statistics
import subprocess
import time
from pathlib import Path

from processes import Failure, dies_with_us

TOP = Path(__file__).resolve().parent.parent.parent
WRK_TIMEOUT_S = 10
PERCENTILES = ("p50", "p90", "p99", "p999")


class Run:
    """What came of one run: facts of the generator, and CPU time in µs by group of processes."""

    def __init__(self, command, facts, cpu, generator_us):
        # As a reader would write it: the run's own folder is gone when he reads it.
        self.command = [re.sub(r"^/\S*/souk-bench\.[^/]+/", "DIR/", str(word)) for word in command]
        self.facts, self.cpu, self.generator_us = facts, cpu, generator_us

    @property
    def done(self):
        return self.facts["done"]

    @property
    def seconds(self):
        return self.facts["us"] / 1e6

    @property
    def rate(self):
        return self.done / self.seconds if self.seconds else 0

    def cost(self, group):
        """CPU-µs per request that was done."""
        return self.cpu[group] / self.done if self.done else 0


def run(processes, groups, command):
    """Runs ${command} at the top of the tree. ${groups}: names for groups of processes, whose CPU time is taken around it."""
    names = [name for group in groups.values() for name in group]
    before, used_before = processes.cpu_us(names), os.times()
    done = subprocess.run(command, capture_output=True, text=True, cwd=TOP, preexec_fn=dies_with_us)
    after, used_after = processes.cpu_us(names), os.times()
    facts = {name: int(value) for name, value in re.findall(r"^([a-z_0-9]+)=(\d+)$", done.stdout, re.M)}
    if done.returncode != 0 or "us" not in facts:
        raise Failure(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}")
    cpu = {group: sum(after[name] - before[name] for name in members) for group, members in groups.items()}
    generator = (used_after.children_user + used_after.children_system - used_before.children_user - used_before.children_system) * 1e6
    return facts, cpu, generator


def wrk(processes, groups, script, url, arguments, connections, seconds):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", f"{WRK_TIMEOUT_S}s", "-s", script, url, "--", *map(str, arguments)]
    facts, cpu, generator = run(processes, groups, command)
    facts["done"] = facts["requests"] - facts["refused"]
    return Run(command, facts, cpu, generator)


def plan(processes, groups, program, path, *options):
    """One run of souk-bench-load. Latencies are those of what was answered with 2xx."""
    command = [str(program.relative_to(TOP)), *map(str, options), str(path)]
    facts, cpu, generator = run(processes, groups, command)
    facts.update({name: facts[f"accepted_{name}_us"] for name in PERCENTILES})
    facts["errors"] = facts["broken"] + facts["unanswered"] + facts["server_errors"] + facts["others"]
    return Run(command, facts, cpu, generator)


def in_turns(contenders, rounds, say, pause_s=0.2):
    """
    Measures every contender once in each round, A B C A B C …, so that what else changes on the machine is in all of them. ${contenders}: name →
    function that makes one run. Returns name → runs.
    """
    runs = {name: [] for name in contenders}
    for number in range(rounds):
        for name, measure in contenders.items():
            time.sleep(pause_s)
            runs[name].append(measure())
        say(f"  round {number + 1} of {rounds}: " + ", ".join(f"{name} {runs[name][-1].rate:.0f}/s" for name in runs))
    return runs


def median(values):
    return statistics.median(values)


def summary(runs):
    """The medians of several runs of the same thing, as plain data for the report."""
    counted = [run for run in runs if run.facts.get("reads")]
    return {
        **({"commands_per_read": median([run.facts["commands"] / run.facts["reads"] for run in counted])} if counted else {}),
        "rate": median([run.rate for run in runs]),
        "rates": [round(run.rate) for run in runs],
        "latency_us": {name: median([run.facts[name] for run in runs]) for name in PERCENTILES},
        "cost_us": {group: median([run.cost(group) for run in runs]) for group in runs[0].cpu},
        "cores": {group: median([run.cpu[group] / 1e6 / run.seconds for run in runs]) for group in runs[0].cpu},
        "generator_us": median([run.generator_us / run.done if run.done else 0 for run in runs]),
        "done": sum(run.done for run in runs),
        "refused": sum(run.facts["refused"] for run in runs),
        "errors": sum(run.facts["errors"] for run in runs),
        "command": " ".join(runs[-1].command),
    }
