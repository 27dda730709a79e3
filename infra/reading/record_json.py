"""Records as JSON."""

from collections.abc import Sequence
from json.encoder import encode_basestring_ascii

from replicated_log.batch import Record


def as_json(records: Sequence[Record]) -> list[str]:
    """Each record as a JSON object in one line of ASCII, as ``json.dumps`` would make it, and several times as fast."""
    lines = []
    shared: tuple[int, int] | None = None
    middle = ""
    for record in records:
        if shared != (record.epoch, record.time_ms):
            # All records of a batch have these two in common, and the time takes longer to write than all the rest.
            shared = record.epoch, record.time_ms
            middle = f', "epoch": {record.epoch}, "time": "{record.time}", "message": '
        lines.append(f'{{"offset": {record.offset}{middle}{encode_basestring_ascii(record.message)}}}')
    return lines
