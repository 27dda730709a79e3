"""The chart: how throughput and latency go with the number of clients."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.bench.rounds import Runs


def draw(curves: Mapping[str, Mapping[int, Runs]], file: Path) -> None:
    """One picture: single appends of each contestant, by clients."""
    with mpl.rc_context({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(12, 5), layout="constrained")
        throughput, latency = figure.subplots(1, 2)
        for number, (name, runs) in enumerate(curves.items()):
            clients = sorted(runs)
            look = f"C{number}"
            throughput.plot(clients, [runs[count].rate for count in clients], "o-", color=look, label=name)
            latency.plot(clients, [runs[count].p50_s * 1000 for count in clients], "o-", color=look, label=name)
            latency.plot(clients, [runs[count].p99_s * 1000 for count in clients], "^:", color=look)
        _finish(throughput, curves, "single appends of 100 bytes a second")
        throughput.set_ylim(bottom=0)
        throughput.legend()
        _finish(latency, curves, "latency in ms: p50 (dots), p99 (triangles)")
        latency.set_yscale("log")
        figure.savefig(file, dpi=120)


def _finish(axes: Axes, curves: Mapping[str, Mapping[int, Runs]], what: str) -> None:
    clients = sorted({count for runs in curves.values() for count in runs})
    axes.set_xscale("log", base=2)
    axes.set_xticks(clients, [str(count) for count in clients])
    axes.set_xlabel("clients at once")
    axes.set_title(what)
