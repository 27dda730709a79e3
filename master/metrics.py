"""What the master counts and measures of appends, of deliveries and of its secondaries."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from node.metrics import TIME_BUCKETS_S, CollectedBy, Commits, Observed, filled
from replicated_log.master.progress import Health, Progress
from replicated_log.wire.batch import Batch
from replicated_log.wire.delivery import Ack, Beat, Fetch, LiveBatches

MAX_AWAITED: Final = 4096
"""So many batches are timed until w nodes hold them; while a secondary is down for long, the oldest go untimed."""
OBSERVER: Final = "(observer)"
"""The label of every node that is not configured: such a node chooses its name itself, and there may be many."""


class MasterMetrics:
    """Counts and measures: one method for each kind of event, and each is cheap."""

    def __init__(self, progress: Progress) -> None:
        self.registry = CollectorRegistry()
        self._progress = progress
        self._commits = Commits()
        self._seconds_to = [Observed(TIME_BUCKETS_S) for _ in range(progress.nodes)]
        self._awaited: list[deque[tuple[int, float]]] = [deque(maxlen=MAX_AWAITED) for _ in self._seconds_to]
        self._oldest_request: float | None = None
        self._appends: Counter[tuple[str, str]] = Counter()
        self._deliveries: Counter[str] = Counter()
        self._batches = 0
        self._refused = 0
        self._acks: Counter[str] = Counter()
        self._fetches: Counter[str] = Counter()
        self.registry.register(CollectedBy(self._collect))

    def answered(self, outcome: str, w: int) -> None:
        """An append has ended: ``outcome`` is appended, replayed, the code of a problem, or client-gone."""
        self._appends[outcome, str(w)] += 1

    def appended(self, requested: float) -> None:
        """An append that was ``requested`` at this monotonic time is in the commit that has just ended."""
        if self._oldest_request is None or requested < self._oldest_request:
            self._oldest_request = requested

    def committed(self, batches: Sequence[Batch], took_s: float, now: float) -> None:
        """A commit has ended, and its appends have been shown to :meth:`appended`."""
        self._commits.observe(batches, took_s)
        begin = now - took_s if self._oldest_request is None else self._oldest_request
        self._oldest_request = None
        for batch in batches:
            for awaited in self._awaited:
                awaited.append((batch.end.offset, begin))
        self._observe_copies(now)

    def published(self, delivery: LiveBatches | Beat, *, taken: bool) -> None:
        """The broker has ``taken`` a delivery, or refused it."""
        if not taken:
            self._refused += 1
        elif isinstance(delivery, LiveBatches):
            self._deliveries["batches"] += 1
            self._batches += len(delivery.batches)
        else:
            self._deliveries["beat"] += 1

    def received(self, delivery: Ack | Fetch, now: float) -> None:
        """A secondary's delivery has come, and the progress knows of it."""
        node = delivery.node if delivery.node in self._progress.secondaries else OBSERVER
        if isinstance(delivery, Fetch):
            self._fetches[node] += 1
        else:
            self._acks[node] += 1
            self._observe_copies(now)

    def _observe_copies(self, now: float) -> None:
        for w, (awaited, seconds) in enumerate(zip(self._awaited, self._seconds_to, strict=True), 1):
            if awaited:
                end = self._progress.held_by(w)
                while awaited and awaited[0][0] <= end:
                    seconds.observe(now - awaited.popleft()[1])

    def _collect(self) -> Iterable[Metric]:
        yield from self._commits.collect()
        copies = HistogramMetricFamily(
            "replog_write_concern_seconds",
            "From the oldest request in a batch until w nodes had the batch on disk.",
            labels=["w"],
        )
        for w, seconds in enumerate(self._seconds_to, 1):
            seconds.add_to(copies, [str(w)])
        yield copies
        yield filled(
            CounterMetricFamily(
                "replog_appends",
                "Requests to append that made sense, by what was answered, or client-gone, and the w asked for.",
                labels=["outcome", "w"],
            ),
            self._appends.items(),
        )
        yield filled(
            CounterMetricFamily("replog_published_deliveries", "Deliveries that the broker took.", labels=["kind"]),
            (((kind,), number) for kind, number in self._deliveries.items()),
        )
        yield CounterMetricFamily("replog_published_batches", "Batches in these deliveries.", self._batches)
        yield CounterMetricFamily("replog_refused_deliveries", "Deliveries that the broker refused.", self._refused)
        yield filled(
            CounterMetricFamily("replog_acks_received", "Acks that came.", labels=["secondary"]),
            (((node,), number) for node, number in self._acks.items()),
        )
        yield filled(
            CounterMetricFamily("replog_fetches_received", "Fetches that came.", labels=["secondary"]),
            (((node,), number) for node, number in self._fetches.items()),
        )


def collect_status(status: Mapping[str, Any]) -> Iterable[Metric]:
    """What the master's status says of its secondaries and its clients, in numbers."""
    secondaries = status["secondaries"]

    def of_each(name: str, text: str, field: str) -> Metric:
        values = (((shown["name"],), shown[field]) for shown in secondaries if shown[field] is not None)
        return filled(GaugeMetricFamily(name, text, labels=["secondary"]), values)

    yield of_each("replog_secondary_acked_end_offset", "The end of what a secondary has acked.", "acked_end")
    yield of_each("replog_secondary_lag_records", "Records that a secondary is behind.", "lag")
    yield of_each("replog_secondary_silence_seconds", "Since the last sign of life of a secondary.", "last_seen_s")
    yield filled(
        GaugeMetricFamily(
            "replog_secondary_health", "1 for the state that a secondary is in.", labels=["secondary", "state"]
        ),
        (((shown["name"], health.value), shown["state"] == health.value) for shown in secondaries for health in Health),
    )
    yield GaugeMetricFamily("replog_observers", "Nodes that follow and are not configured.", len(status["observers"]))
    yield GaugeMetricFamily("replog_nodes", "Configured nodes, master included.", status["nodes"])
    yield GaugeMetricFamily(
        "replog_waiting_clients", "Appends that wait for the disk or for copies.", status["waiting"]
    )
    yield GaugeMetricFamily("replog_read_only", "1 while this master must not append.", status["read_only"] is not None)
    yield CounterMetricFamily(
        "replog_poison", "Deliveries that were dropped, for they make no sense.", status["poison"]
    )
