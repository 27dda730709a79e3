"""What a person sees: answers and errors as lines of text. Nothing in here does I/O.

What nodes and other people sent goes through `inert` into Text, never into a string that rich would
interpret: it can neither move the cursor, nor colour, nor hide anything.
"""

import unicodedata
from collections.abc import Iterable, Iterator

from rich.table import Table
from rich.text import Text

from client.answers import Ack, Appended, AppendedMany, Health, Record, SecondaryProgress, Status
from client.api import WriteConcern
from client.errors import NodeError, NotReachedInTimeError

_INTERPRETED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories a terminal acts on or cannot encode: control, format (the direction of text), surrogates, separators."""
_JOINERS = "\u200c\u200d"
"""Format characters that words of some languages, and emoji, need; harmless."""


def inert(text: str) -> str:
    """`text` on one line, with everything a terminal would interpret shown as an escape such as \\x1b or \\n."""
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _INTERPRETED and c not in _JOINERS else c
        for c in text
    )


def appended_line(appended: Appended) -> Text:
    at = Text.assemble(("Appended", "green"), " at offset ", (str(appended.offset), "bold"))
    return at.append(f", w={appended.w}, held by {_holders(appended.acks)}.")


def appended_many_line(many: AppendedMany) -> Text:
    what = f" {many.count} messages from offset " if many.count > 1 else " 1 message at offset "
    at = Text.assemble(("Appended", "green"), what, (str(many.first_offset), "bold"))
    return at.append(f", w={many.w}, held by {_holders(many.acks)}.")


def held_line(held: Appended) -> Text:
    return Text.assemble("Offset ", (str(held.offset), "bold"), f", w={held.w}, held by {_holders(held.acks)}.")


def error_line(error: NodeError) -> Text:
    line = Text(inert(str(error)), style="yellow" if error.appended == "yes" else "red")
    if isinstance(error, NotReachedInTimeError):
        line.append(f" Held by {inert(', '.join(error.acked))}.", style="default")
    elif error.appended == "unknown":
        line.append(" The message may have been appended.")
    return line


def waiting_line(
    elapsed_s: float, w: WriteConcern, secondaries: Iterable[SecondaryProgress], problem: str | None = None
) -> Text:
    """`problem` is why there can be no answer now."""
    line = Text.assemble("Waiting for ", (f"w={w}", "bold"), f" {elapsed_s:5.1f} s")
    if problem:
        line.append(f"   {inert(problem)}", style="red")
    for secondary in secondaries:
        line.append("   " + inert(secondary.name), style="bold")
        line.append(f" lag {secondary.lag}", style="yellow" if secondary.lag else "green")
        if secondary.state != "healthy":
            line.append(f" {inert(secondary.state)}", style="red")
    return line


def log_heading(name: str, url: str, end_offset: int, earlier: int) -> Text:
    count = "1 message" if end_offset == 1 else f"{end_offset} messages"
    heading = Text.assemble((inert(name), "bold"), f" ({url}): {count}")
    if earlier:
        heading.append(f", the first {earlier} not shown")
    return heading


def record_line(record: Record, end_offset: int) -> Text:
    width = max(4, len(str(end_offset)))
    return Text.assemble(
        (f"{record.offset:>{width}}", "bold"),
        (f"  {inert(record.time)}  epoch {record.epoch}  ", "dim"),
        inert(record.message),
    )


def nodes_table(answers: Iterable[tuple[str, Status]]) -> Table:
    """What each node, given with its URL, says of itself."""
    table = Table("node", "url", "state", "epoch", "end", "acked", "broker", box=None, header_style="dim")
    for url, status in answers:
        state = status.state or status.role
        row = (status.name, url, state, status.epoch, status.end_offset, status.acked_end, status.broker)
        table.add_row(*(_cell(value) for value in row))
    return table


def master_view(master: Status) -> Iterator[Text | Table]:
    """What the master knows beyond itself: what is committed, how each secondary is doing, and who is not counted."""
    if master.read_only:
        yield Text(f"The master is read-only: {inert(master.read_only)}", style="red")
    if master.nodes is not None and master.committed_end is not None:
        yield Text(f"A majority of {master.nodes} nodes holds {master.committed_end} of {master.end_offset} messages.")
    if master.secondaries:
        table = Table("secondary", "state", "acked", "lag", "last seen", box=None, header_style="dim")
        for one in master.secondaries:
            state = Text(inert(one.state), style="green" if one.state == "healthy" else "red")
            seen = "never" if one.last_seen_s is None else f"{one.last_seen_s:.1f} s ago"
            table.add_row(_cell(one.name), state, _cell(one.acked_end), _cell(one.lag), seen)
        yield table
    if master.observers:
        names = ", ".join(inert(one.name) for one in master.observers)
        yield Text(f"Not configured, so not counted: {names}", style="yellow")


def health_view(health: Health) -> Iterator[Text | Table]:
    if health.read_only:
        yield Text(f"The master is read-only: {inert(health.read_only)}", style="red")
    style = "green" if health.alive >= health.majority else "red"
    yield Text(f"{health.alive} of {health.nodes} nodes alive; {health.majority} are a majority.", style=style)
    table = Table("secondary", "state", box=None, header_style="dim")
    for name, state in health.secondaries.items():
        table.add_row(_cell(name), Text(inert(state), style="green" if state == "healthy" else "red"))
    if table.row_count:
        yield table


def _cell(value: str | int | None) -> Text:
    return Text("-" if value is None else inert(str(value)))


def _holders(acks: Iterable[Ack]) -> str:
    return ", ".join(inert(ack.node) + (f" ({ack.ms:.1f} ms)" if ack.ms is not None else "") for ack in acks)
