"""The text of metrics, as the parser of Prometheus' own Python client reads it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as parse

from smegmesh.control.exposition import Family, Histogram, Sample, expose

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
NUMBER = st.one_of(st.integers(-(2**53), 2**53), st.floats(), st.booleans())
LABELS = st.dictionaries(st.sampled_from(["mesh", "peer", "le", "reason"]), TEXT)
BOUNDS = st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=8, unique=True).map(lambda them: tuple(sorted(them)))


@given(help=TEXT, labels=st.lists(LABELS, min_size=1), numbers=st.lists(NUMBER, min_size=1))
def test_whatever_is_told_is_what_is_read(help: str, labels: list[dict[str, str]], numbers: list[float]) -> None:
    samples = [Sample(number, each) for number, each in zip(numbers, labels, strict=False)]
    text = expose([Family("smegmesh_before", "gauge", "", [Sample(1)]), Family("smegmesh_x", "gauge", help, samples)])
    text.encode()
    before, read = parse(text)
    assert [sample.value for sample in before.samples] == [1.0]
    assert (read.name, read.type) == ("smegmesh_x", "gauge")
    assert len(read.samples) == len(samples)
    for told, sample in zip(samples, read.samples, strict=True):
        assert sample.labels == told.labels
        assert sample.value == float(told.value) or (math.isnan(told.value) and math.isnan(sample.value))


@given(bounds=BOUNDS, values=st.lists(st.floats(0, 1e12)))
def test_a_histogram_counts_what_is_no_larger_than_each_bound(bounds: tuple[float, ...], values: list[float]) -> None:
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    (read,) = parse(expose([Family("smegmesh_seconds", "histogram", "", list(histogram.samples({"mesh": "prod"})))]))
    assert read.type == "histogram"
    *buckets, total, count = read.samples
    for bucket, bound in zip(buckets, (*bounds, math.inf), strict=True):
        assert bucket.name == "smegmesh_seconds_bucket"
        assert float(bucket.labels["le"]) == bound
        assert bucket.value == sum(value <= bound for value in values)
    assert (total.name, count.name) == ("smegmesh_seconds_sum", "smegmesh_seconds_count")
    assert count.value == len(values)
    assert math.isclose(total.value, math.fsum(values))


def test_a_family_of_nobody_is_left_out() -> None:
    assert expose([Family("smegmesh_x", "counter", "Nothing.", [])]) == ""
