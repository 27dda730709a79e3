"""Values in buckets, beside prometheus_client's own histogram."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import HistogramMetricFamily

from node.metrics import Observed

BUCKETS = (0.5, 1.0, 2.5, 10.0)


@given(st.lists(st.sampled_from(BUCKETS) | st.floats(0, 20)))
def test_they_are_counted_as_by_the_library(values: list[float]) -> None:
    registry = CollectorRegistry()
    theirs, ours = Histogram("name", "text", buckets=BUCKETS, registry=registry), Observed(BUCKETS)
    for value in values:
        theirs.observe(value)
        ours.observe(value)
    samples = {
        (sample.name, sample.labels.get("le")): sample.value
        for sample in ours.add_to(HistogramMetricFamily("name", "text")).samples
    }
    for bound in ("0.5", "1.0", "2.5", "10.0", "+Inf"):
        assert samples["name_bucket", bound] == registry.get_sample_value("name_bucket", {"le": bound})
    assert samples["name_sum", None] == registry.get_sample_value("name_sum")
    assert samples["name_count", None] == len(values)
