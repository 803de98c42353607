"""The plots of a report, by gnuplot, as SVG."""
import shutil
import subprocess

import report
from processes import Failure, say

OURS, THEIRS = "#c2410c", "#64748b"
COLOURS = ["#2563eb", "#c2410c", "#15803d", "#7c3aed"]
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
    data = "".join(f"{n} {rate:.0f} {1 if name == 'souk' else 0} {quoted(label)} {quoted(report.count(rate))}\n" for n, (name, label, rate) in enumerate(ordered))
    most = max(rate for *_, rate in ordered)
    return f"""
$data << end
{data}end
set origin 0,{origin:.4f}
set size 1,{size:.4f}
set title {quoted(title)}
set yrange [-0.7:{len(ordered) - 0.3}]
set xrange [0:{most * 1.18:.0f}]
plot $data using ($2/2):1:($2/2):(0.36):($3 == 1 ? {int(OURS[1:], 16)} : {int(THEIRS[1:], 16)}):ytic(4) with boxxyerrorbars notitle \\
    linecolor rgb variable fillstyle solid 0.9 noborder, '' using 2:1:5 with labels left offset 0.7,0 textcolor rgb '#334155' notitle
"""


def plot_peers(results, path):
    groups = [(name, results["comparisons"][name]) for name in report.GROUPS if name in results.get("comparisons", {})]
    counts = [len(rows) for _, rows in groups]
    heights = [count * 30 + 80 for count in counts]
    script, left = "set multiplot\nset lmargin 44\nset rmargin 4\nset tmargin 2.5\nset bmargin 2.5\nset format x \"%.0s%c\"\nunset grid\nset grid xtics\n", sum(heights)
    for (name, rows), height in zip(groups, heights):
        left -= height
        script += bars([(who, report.label(who), row["rate"]) for who, row in rows.items()], left / sum(heights), height / sum(heights),
                       plain(report.GROUPS[name]) + ", requests a second")
    gnuplot(path, (1000, sum(heights)), script + "unset multiplot\n")


def plot_latency(results, path):
    kinds = results["open"]
    script = f"set multiplot layout 1,{len(kinds)}\nset logscale y\nset format y '%g'\nset key top left\nset yrange [*:*]\n"
    script += "set ylabel 'latency from due to answered, ms'\nset format x '%.0s%c'\n"
    for kind, found in kinds.items():
        rows = "".join(f"{row['rate']} " + " ".join(str(row["latency_us"][p] / 1000) for p in ("p50", "p90", "p99", "p999")) + "\n" for row in found["rows"])
        lines = ", ".join(f"$data using 1:{n + 2} with linespoints linewidth 2 pointtype 7 pointsize 0.7 linecolor rgb '{COLOURS[n]}' title '{name}'"
                          for n, name in enumerate(("p50", "p90", "p99", "p99.9")))
        script += f"$data << end\n{rows}end\nset title {quoted(kind)}\nset xlabel 'requests a second (open loop)'\nset xrange [0:*]\nplot {lines}\n"
    gnuplot(path, (420 * len(kinds), 420), script + "unset multiplot\n")


def plot_sweep(results, sweep, path):
    """Above: CPU of worker and shards together. One line for each kind of request."""
    kinds = {kind: points for kind, points in results["sweeps"][sweep].items() if kind != "resident"}
    script = f"set logscale x\nset key outside right\nset yrange [0:*]\nset ylabel 'CPU-µs per request, worker and shards'\nset xlabel 'number of {sweep}'\n"
    script += "set format x '%.0s%c'\n"
    ticks = ", ".join(f"'{report.count(point['at'])}' {point['at']}" for point in next(iter(kinds.values())))
    script += f"set xtics ({ticks})\n"
    plots = []
    for n, (kind, points) in enumerate(kinds.items()):
        rows = "".join(f"{point['at']} {sum(point['cost_us'].values())} {list(point['cost_us'].values())[0]}\n" for point in points)
        script += f"$data{n} << end\n{rows}end\n"
        plots.append(f"$data{n} using 1:2 with linespoints linewidth 2 pointtype 7 linecolor rgb '{COLOURS[n]}' title '{kind}'")
        plots.append(f"$data{n} using 1:3 with lines dashtype 2 linecolor rgb '{COLOURS[n]}' title '   its worker'")
    gnuplot(path, (900, 420), script + "plot " + ", ".join(plots) + "\n")


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
