"""What memory the nodes and the broker take as the log grows, and as a dead secondary falls behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.broker.get_json import get_json
from tests.bench.filling import fill
from tests.bench.ours import ALL, Ours
from tests.cluster import Node, eventually


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in MiB: what it has in RAM, and the most that it has had."""

    resident_mib: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Stage:
    """The memory of each process, the broker's by the name "broker", when the log had ``records`` records.

    A secondary is ``backlog`` of them behind, because it is dead.
    """

    records: int
    backlog: int
    processes: Mapping[str, Memory]


def measure(directory: Path, *, lengths: Sequence[int], backlogs: Sequence[int]) -> list[Stage]:
    """Let a log of its own in ``directory`` grow to each of ``lengths``, then leave a dead secondary behind it.

    That is behind by each of ``backlogs`` in turn; both ascend. The first stage is the empty log. Raises LoadError.
    """
    with Ours(directory) as ours:
        nodes = ours.cluster.nodes
        stages = [_look(ours, nodes, 0)]
        for length in lengths:
            fill(ours.url, length - ours.end_offset(), w=ALL)
            stages.append(_look(ours, nodes, 0))
        ours.cluster["c"].kill()
        left_at = ours.end_offset()
        for backlog in backlogs:
            fill(ours.url, left_at + backlog - ours.end_offset(), w=ALL - 1)
            stages.append(_look(ours, nodes, backlog))
    return stages


def _look(ours: Ours, nodes: Sequence[Node], backlog: int) -> Stage:
    processes = {node.name: _memory(node.process.pid) for node in nodes if node.process is not None}
    processes["broker"] = _memory(_broker_process(ours))
    return Stage(ours.end_offset(), backlog, processes)


def _broker_process(ours: Ours) -> int:
    """The process that RabbitMQ's Erlang runs in: it says so itself, but not in its first second."""

    def told() -> int | None:
        nodes = get_json(f"{ours.broker.management_url}/api/nodes", ours.broker.management_auth)
        return nodes[0].get("os_pid") if nodes else None

    return int(ours.run(eventually(told, "the broker tells its process")))


def _memory(process: int) -> Memory:
    status = Path(f"/proc/{process}/status").read_text()
    resident, peak = (int(status.split(f"{name}:")[1].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return Memory(resident, peak)
