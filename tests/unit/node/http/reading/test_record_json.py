"""Records as JSON: the fast way against the plain one."""

import json

from hypothesis import given
from hypothesis import strategies as st

from node.http.reading.record_json import as_json
from replicated_log.wire.batch import Records

RECORDS = st.lists(
    st.builds(
        Records,
        first_offset=st.integers(0, 2**63 - 1),
        epoch=st.integers(1, 3),
        time_ms=st.sampled_from([0, 1, 1_700_000_000_123, 253_402_300_799_999]),
        messages=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3),
    )
)


@given(RECORDS)
def test_each_record_is_in_a_line_as_json_dumps_would_write_it(several: list[Records]) -> None:
    assert as_json(several) == [
        json.dumps({"offset": offset, "epoch": records.epoch, "time": records.time, "message": message})
        for records in several
        for offset, message in enumerate(records.messages, records.first_offset)
    ]
    assert not any("\n" in line or "\r" in line for line in as_json(several))
