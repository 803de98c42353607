"""The plots of a report, by gnuplot, as SVG."""
import math
import shutil
import subprocess

import report
from processes import Failure, say

OURS, THEIRS = "#c2410c", "#64748b"
COLOURS = ["#2563eb", "#c2410c", "#15803d", "#7c3aed"]
WIDTH, BAR_HEIGHT, BARS_AROUND, PANEL = 1000, 30, 95, 400
COMMON = """
set encoding utf8
set border 3 linecolor rgb '#94a3b8'
set tics nomirror textcolor rgb '#334155'
set grid linecolor rgb '#e2e8f0' linetype 1
"""


def gnuplot(path, size, script):
    terminal = f"set terminal svg size {size[0]},{size[1]} dynamic enhanced font 'sans-serif,14' background rgb 'white'\nset output '{path}'\n"
    done = subprocess.run(["gnuplot"], input=terminal + COMMON + script, capture_output=True, text=True)
    if done.returncode != 0 or done.stderr:
        raise Failure(f"gnuplot: {done.stderr}")


def quoted(text):
    return '"' + text.replace('"', "'") + '"'


def plain(text):
    """For titles: without what gnuplot's enhanced text takes for marks."""
    return text.replace("{", "\\\\{").replace("}", "\\\\}").replace("_", "\\\\_").replace("`", "")


def bars(rows, origin, size, title):
    """One group of horizontal bars, the longest above. ${rows}: name, label, rate."""
    ordered = sorted(rows, key=lambda row: row[2])
    data = "".join(f"{n} {rate:.0f} {int((OURS if name == 'souk' else THEIRS)[1:], 16)} {quoted(label)} {quoted(report.count(rate))}\n"
                   for n, (name, label, rate) in enumerate(ordered))
    most = max(rate for *_, rate in ordered)
    return f"""
$data << end
{data}end
set origin 0,{origin:.4f}
set size 1,{size:.4f}
set label 1 {quoted(title)} at graph 0, graph 1 offset 0,1 left
set yrange [-0.6:{len(ordered) - 0.4}]
set xrange [0:{most * 1.15:.0f}]
{count_format(most)}plot $data using ($2/2):1:($2/2):(0.36):3:ytic(4) with boxxyerrorbars notitle linecolor rgb variable fillstyle solid 0.9 noborder, \
    '' using 2:1:5 with labels left offset 0.7,0 textcolor rgb '#334155' notitle
"""


def plot_peers(results, path):
    groups = [(name, results["comparisons"][name]) for name in report.GROUPS if name in results.get("comparisons", {})]
    heights = [len(rows) * BAR_HEIGHT + BARS_AROUND for _, rows in groups]
    left = sum(heights)
    script = "set multiplot\nset lmargin 42\nset rmargin 3\nset tmargin 3\nset bmargin 2.5\nunset grid\nset grid xtics back\n"
    script += "set tics front scale 0.5\n"
    for (name, rows), height in zip(groups, heights):
        left -= height
        script += bars([(who, report.label(who), row["rate"]) for who, row in rows.items()], left / sum(heights), height / sum(heights),
                       plain(report.GROUPS[name]) + ": requests a second")
    gnuplot(path, (WIDTH, sum(heights)), script + "unset multiplot\n")


def count_format(most):
    """How an axis of counts up to ${most} is written, 2000 or 20k, and where: at about five round numbers."""
    power = 10 ** math.floor(math.log10(most / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= most / 5)
    return f"set xtics {step:.0f}\n" + ("set format x '%.0f'\n" if most < 10000 else "set format x '%.0s%c'\n")


def in_order(kinds):
    return [(kind, kinds[kind]) for kind in report.KINDS if kind in kinds]


def plot_latency(results, path):
    kinds = in_order(results["open"])
    script = f"set multiplot layout 1,{len(kinds)}\nset logscale y\nset format y '%g'\nset key top left\nset yrange [0.1:*]\n"
    script += "set ylabel 'latency from due to answered, ms'\nset xlabel 'requests a second (open loop)'\nset xrange [0:*]\n"
    for kind, found in kinds:
        rows = "".join(f"{row['rate']} " + " ".join(str(row["latency_us"][p] / 1000) for p in ("p50", "p90", "p99", "p999")) + "\n" for row in found["rows"])
        lines = ", ".join(f"$data using 1:{n + 2} with linespoints linewidth 2 pointtype 7 pointsize 0.6 linecolor rgb '{COLOURS[n]}' title '{name}'"
                          for n, name in enumerate(("p50", "p90", "p99", "p99.9")))
        script += f"$data << end\n{rows}end\nset title {quoted(kind)}\n{count_format(found['rows'][-1]['rate'])}plot {lines}\n"
    gnuplot(path, (PANEL * len(kinds), PANEL), script + "unset multiplot\n")


def plot_sweep(results, sweep, path):
    """A panel for each kind of request: CPU of worker and shards together, and of the worker. The band is 15 % around the first point."""
    kinds = in_order(results["sweeps"][sweep])
    script = f"set multiplot layout 1,{len(kinds)}\nset logscale x\nset key top left\nset ylabel 'CPU-µs per request'\nset xlabel 'number of {sweep}'\n"
    script += "set format x '%.0s%c'\nset xtics font ',11'\n"
    for kind, points in kinds:
        sums = [sum(point["cost_us"].values()) for point in points]
        rows = "".join(f"{point['at']} {together} {list(point['cost_us'].values())[0]}\n" for point, together in zip(points, sums))
        script += f"set xtics ({', '.join(str(point['at']) for point in points)})\nset xrange [{points[0]['at'] * 0.8}:{points[-1]['at'] * 1.25}]\n"
        script += f"set object 1 rectangle from graph 0, first {sums[0] * 0.85} to graph 1, first {sums[0] * 1.15} behind fillcolor rgb '#fde68a' fillstyle solid 0.6 noborder\n"
        script += f"$data << end\n{rows}end\nset title {quoted(kind)}\nset yrange [0:{max(*sums, sums[0] * 1.15) * 1.4}]\n"
        script += f"plot $data using 1:2 with linespoints linewidth 2 pointtype 7 pointsize 0.6 linecolor rgb '{OURS}' title 'worker and shards', "
        script += f"'' using 1:3 with linespoints linewidth 1.5 pointtype 7 pointsize 0.4 linecolor rgb '{COLOURS[0]}' title 'worker'\n"
    gnuplot(path, (PANEL * len(kinds), PANEL), script + "unset multiplot\n")


def draw(results, folder, name):
    """Draws what was measured. Returns file names and titles."""
    if not shutil.which("gnuplot"):
        say("  left out: plots: gnuplot is not installed")
        return []
    wanted = []
    if results.get("comparisons"):
        wanted.append(("peers", "Requests a second, by peer", lambda path: plot_peers(results, path)))
    if results.get("open"):
        wanted.append(("latency", "Latency percentiles by rate", lambda path: plot_latency(results, path)))
    for sweep in results.get("sweeps", {}):
        wanted.append((sweep, f"CPU-µs per request against the number of {sweep}", lambda path, sweep=sweep: plot_sweep(results, sweep, path)))
    drawn = []
    for suffix, title, plot in wanted:
        plot(folder / f"{name}-{suffix}.svg")
        drawn.append((f"{name}-{suffix}.svg", title))
    return drawn
