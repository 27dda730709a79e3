"""What a secondary counts and measures of what it was sent, and of its acks."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from node.metrics import filled
from replicated_log.wire.delivery import DIVERGED, FOLLOWING, JOINING

COUNTED: Final = {
    "duplicates": ("replog_duplicates", "Batches that came and were on disk, or on their way there, already."),
    "gaps": ("replog_gaps", "Batches that came before those they follow."),
    "dropped": ("replog_dropped_batches", "Batches that came and found no room; they are fetched later."),
    "stale": ("replog_stale_deliveries", "Deliveries of a reign that is over, or not followed."),
    "foreign": ("replog_foreign_deliveries", "Deliveries of another log."),
    "unasked": ("replog_unasked_answers", "Answers to fetches that nobody waited for."),
    "fetches": ("replog_fetches", "Fetches that were sent to the master."),
    "fetch timeouts": ("replog_fetch_timeouts", "Fetches that were not answered in time."),
}
"""The intake's counts, and the metrics they are."""


def collect_status(status: Mapping[str, Any]) -> Iterable[Metric]:
    """What the secondary's status says, in numbers."""
    counts = status["counts"]
    yield GaugeMetricFamily("replog_acked_end_offset", "The end of what this node has acked.", status["acked_end"])
    yield GaugeMetricFamily("replog_lag_records", "Records that this node knows of and does not hold.", status["lag"])
    yield filled(
        GaugeMetricFamily("replog_state", "1 for the state that this node is in.", labels=["state"]),
        (((state,), status["state"] == state) for state in (JOINING, FOLLOWING, DIVERGED)),
    )
    for count, (name, text) in COUNTED.items():
        yield CounterMetricFamily(name, text, counts.get(count, 0))
    poison = status["poison"] + counts.get("poison", 0)
    yield CounterMetricFamily(
        "replog_poison", "Deliveries and batches that were dropped, for they make no sense.", poison
    )
    yield CounterMetricFamily("replog_acks_sent", "Acks that were sent.", counts["acks"])
    yield CounterMetricFamily(
        "replog_simulated_dropped_acks", "Acks that were not sent, to simulate loss.", counts["simulated drops"]
    )
    yield CounterMetricFamily(
        "replog_simulated_repeated_acks", "Acks that were sent twice, to simulate it.", counts["simulated repeats"]
    )
