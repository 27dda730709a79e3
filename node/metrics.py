"""What every node measures, for Prometheus: GET /metrics.

Counts are plain numbers of the objects that count, and read when Prometheus asks; only times and sizes are observed,
once per commit or batch. Names end in their unit; ``_total`` marks a number that only grows while the process lives.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Any, Final, TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from node.http.reading.readable import READABLE, Readable
from replicated_log.wire.batch import Batch

TIME_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
RECORDS_BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
BYTES_BUCKETS: Final = tuple(1 << shift for shift in range(8, 23, 2))

Family = TypeVar("Family", GaugeMetricFamily, CounterMetricFamily)

_REGISTRY: Final = web.AppKey("metrics", CollectorRegistry)


class Observed:
    """A histogram: times or sizes, counted in buckets. That of prometheus_client takes a lock for each value."""

    def __init__(self, buckets: Sequence[float]) -> None:
        """``buckets`` are upper bounds, in ascending order; a value that equals a bound is in its bucket."""
        self._bounds = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add_to(self, metric: HistogramMetricFamily, labels: Sequence[str] = ()) -> HistogramMetricFamily:
        bounds = map(floatToGoString, (*self._bounds, inf))
        metric.add_metric(labels, list(zip(bounds, accumulate(self._counts), strict=True)), self._sum)
        return metric


class Commits:
    """How long a node's commits to its own disk take, and how many records and bytes they carry."""

    def __init__(self) -> None:
        self._seconds = Observed(TIME_BUCKETS_S)
        self._records = Observed(RECORDS_BUCKETS)
        self._bytes = Observed(BYTES_BUCKETS)

    def observe(self, batches: Sequence[Batch], took_s: float) -> None:
        self._seconds.observe(took_s)
        for batch in batches:
            self._records.observe(batch.count)
            self._bytes.observe(len(batch.data))

    def collect(self) -> Iterable[Metric]:
        for observed, name, text in (
            (self._seconds, "replog_commit_seconds", "What one durable commit to this node's disk took."),
            (self._records, "replog_batch_records", "Records in a batch that was committed here."),
            (self._bytes, "replog_batch_bytes", "Bytes of a batch that was committed here."),
        ):
            yield observed.add_to(HistogramMetricFamily(name, text))


class CollectedBy(Collector):
    """A collector that calls a function each time Prometheus asks."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def add_metrics(
    app: web.Application,
    registry: CollectorRegistry,
    status: Callable[[], Mapping[str, Any]],
    of_role: Callable[[Mapping[str, Any]], Iterable[Metric]],
) -> None:
    """Serve the metrics in ``registry``, and those of the node's ``status``; ``of_role`` makes those of its role.

    To be called after :func:`node.http.reading.routes.add_reading`, whose readers are counted too.
    """

    def collect() -> Iterable[Metric]:
        now = status()
        yield from _of_status(now)
        yield from _of_readers(app[READABLE])
        yield from of_role(now)

    registry.register(CollectedBy(collect))
    ProcessCollector(registry=registry)
    app[_REGISTRY] = registry
    app.router.add_get("/metrics", show_metrics)


async def show_metrics(request: web.Request) -> web.Response:
    response = web.Response(body=generate_latest(request.app[_REGISTRY]))
    response.headers["Content-Type"] = CONTENT_TYPE_PLAIN_0_0_4
    return response


def filled(metric: Family, values: Iterable[tuple[Sequence[str], float]]) -> Family:
    """``metric``, with a value for each combination of its labels."""
    for labels, value in values:
        metric.add_metric(labels, value)
    return metric


def _of_status(status: Mapping[str, Any]) -> Iterable[Metric]:
    yield InfoMetricFamily("replog_node", "Who this node is.", {key: status[key] for key in ("name", "role", "log")})
    yield GaugeMetricFamily("replog_epoch", "The epoch of the reign that this node leads or follows.", status["epoch"])
    yield GaugeMetricFamily("replog_end_offset", "Where this node's log on disk ends.", status["end_offset"])
    yield GaugeMetricFamily(
        "replog_committed_end_offset", "The end of what a majority is known to hold.", status["committed_end"]
    )
    yield GaugeMetricFamily(
        "replog_broker_connected", "1 while there is a session with the broker.", status["broker"] == "connected"
    )
    yield GaugeMetricFamily("replog_disk_full", "1 while the disk has no room for more.", status["disk_full"])


def _of_readers(readable: Readable) -> Iterable[Metric]:
    yield GaugeMetricFamily("replog_waiting_readers", "Readers that wait for records to come.", readable.waiting.taken)
    yield GaugeMetricFamily("replog_streams", "Readers of a stream, following or not.", readable.streams.taken)
