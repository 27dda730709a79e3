"""The benchmark works; how fast anything is, no test says: see ``make bench``."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROWS = (
    "single POST, w=1, 1 client",
    "single POST, w=3, 64 clients",
    "p99 against p50, w=3, 64 clients",
    "single POST, w=3, 1 client, plain AMQP",
    "single POST, w=3, 64 clients, plain AMQP",
    "batches of 1,000, w=3, 4 clients, records, plain AMQP",
    "p50 of a single POST, w=3, 1 client",
    "reading 5,000 records as NDJSON",
    "following by SSE",
    "catch-up of an empty secondary, 5,000 records in batches of 1,000",
    "catch-up of an empty secondary, 200 records in single appends",
    "from the broker taking connections again",
    "single POST, w=1, 64 clients, while one secondary is down",
    "single POST, w=1, 64 clients, while one secondary is 3 s slow",
    "memory, 10,000 records",
    "memory, a dead secondary",
)
"""How the rows begin that need nothing that this project does not need anyway, but wrk."""
PEERS = {
    "postgresql": ("PostgreSQL", 2),
    "redis": ("Redis", 2),
    "etcd": ("etcd", 1),
    "quorum-queue": ("RabbitMQ quorum queue", 1),
}
"""By experiment: the peer's name, and how many rows it has."""


def test_each_experiment_of_the_benchmark_has_its_rows_in_the_report(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench", "--smoke", "--out", str(tmp_path)]
    bench = subprocess.run(command, capture_output=True, text=True, check=False)
    print(bench.stderr)
    assert bench.returncode == 0, bench.stdout
    report = (tmp_path / "benchmark.md").read_text()
    assert bench.stdout == report
    _titles, _dashes, *lines = (line for line in report.splitlines() if line.startswith("| "))
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    missing = dict(re.findall(r"^- ([a-z-]+): (.*)$", report.partition("## Missing")[2], re.MULTILINE))
    if without_wrk := missing.get("singles"):
        pytest.skip(without_wrk)

    for beginning in ROWS:
        assert any(cells[0].startswith(beginning) for cells in rows), beginning
    for experiment, (name, count) in PEERS.items():
        beside = [cells for cells in rows if cells[2].startswith(f"{name}:")]
        assert len(beside) == (0 if experiment in missing else count), experiment
    for cells in rows:
        assert (figure := re.search(r"(?<!p)\d[\d,.]*(?=/s| ms| s|,)", cells[1])), cells
        assert float(figure[0].rstrip(",").replace(",", "")) > 0, cells
        if judged := cells[3]:
            assert float(judged.replace(",", "")) > 0, cells
        if cells[5]:
            assert re.search(r"met$|short by [\d,.]+(/s)?$", cells[7]), cells
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["benchmark.md", "benchmark.png"]
    if missing:
        pytest.skip(f"not all peers are on this machine: {missing}")  # Let it be seen that it was not all.
