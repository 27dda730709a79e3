"""The answer to an append, written by hand, beside the one that the libraries write."""

import json

from hypothesis import given
from hypothesis import strategies as st

from infra.http.raw import header_lines
from master import answers
from master.outcome import Holders, ReplicationResult
from master.requests import Concern

OFFSETS = st.integers(0, 2**63 - 1)
MOMENTS = st.floats(0, 1e6)
WAIT_FOR_COPIES = st.builds(
    ReplicationResult,
    offset=OFFSETS,
    count=st.integers(1, 10_000),
    epoch=OFFSETS,
    replayed=st.booleans(),
    started=MOMENTS,
    at=MOMENTS,
    holders=st.builds(Holders, since=st.lists(st.tuples(st.text(), MOMENTS | st.none()), max_size=4)),
)
CONCERNS = st.builds(Concern, asked=st.text(), w=st.integers(1, 9), timeout_s=st.just(60.0))


@given(WAIT_FOR_COPIES, CONCERNS)
def test_both_say_the_same(result: ReplicationResult, concern: Concern) -> None:
    said = answers.outcome_json(result, concern)
    assert json.loads(said) == json.loads(json.dumps(answers.outcome(result, concern)))


@given(WAIT_FOR_COPIES)
def test_both_have_the_same_headers(result: ReplicationResult) -> None:
    headers = {"Content-Type": "application/json", **answers.headers(result)}
    assert answers.header_lines(result) == header_lines(headers)
