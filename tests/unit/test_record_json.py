"""Records as JSON: the fast way against the plain one."""

import json

from hypothesis import given
from hypothesis import strategies as st

from infra.reading.record_json import as_json
from replicated_log.batch import Record

RECORDS = st.lists(
    st.builds(
        Record,
        offset=st.integers(0, 2**63 - 1),
        epoch=st.integers(1, 3),
        time_ms=st.sampled_from([0, 1, 1_700_000_000_123, 253_402_300_799_999]),
        message=st.text(st.characters(exclude_categories=["Cs"])),
    )
)


@given(RECORDS)
def test_each_record_is_in_a_line_as_json_dumps_would_write_it(records: list[Record]) -> None:
    assert as_json(records) == [
        json.dumps({"offset": record.offset, "epoch": record.epoch, "time": record.time, "message": record.message})
        for record in records
    ]
    assert not any("\n" in line or "\r" in line for line in as_json(records))
