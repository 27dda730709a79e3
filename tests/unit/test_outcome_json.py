"""The answer to an append, written by hand, beside the one that json writes."""

import json

from hypothesis import given
from hypothesis import strategies as st

from master.copies import Copies, Holders
from master.facade import _outcome, _outcome_json
from master.requests import Concern

OFFSETS = st.integers(0, 2**63 - 1)
MOMENTS = st.floats(0, 1e6)
COPIES = st.builds(
    Copies,
    offset=OFFSETS,
    count=st.integers(1, 10_000),
    epoch=OFFSETS,
    replayed=st.booleans(),
    started=MOMENTS,
    at=MOMENTS,
    holders=st.builds(Holders, since=st.lists(st.tuples(st.text(), MOMENTS | st.none()), max_size=4)),
)
CONCERNS = st.builds(Concern, asked=st.text(), w=st.integers(1, 9), timeout_s=st.just(60.0))


@given(COPIES, CONCERNS)
def test_both_say_the_same(copies: Copies, concern: Concern) -> None:
    assert json.loads(_outcome_json(copies, concern)) == json.loads(json.dumps(_outcome(copies, concern)))
