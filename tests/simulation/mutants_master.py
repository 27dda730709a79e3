"""Planted bugs in the master's half of the protocol."""

from collections.abc import Callable
from typing import Any

from replicated_log.master.append_queue import AppendQueue
from replicated_log.master.progress import Progress, Secondary
from replicated_log.master.reign import Reign
from replicated_log.master.waiters import Waiters
from replicated_log.wire.delivery import Ack
from tests.simulation.surgery import Around, Surgeon, mutant


@mutant("publish before own fsync")
def _(surgeon: Surgeon) -> None:
    def plan_commit(real: Around, reign: Reign[int]) -> None:
        planned = reign._commit
        real(reign)
        if reign._commit is not None and reign._commit is not planned and reign._reply_to is not None:
            reign._unpublished.add(reign._commit.batches)

    surgeon.around(Reign, "_plan_commit", plan_commit)


@mutant("the same secondary is counted twice")
def _(surgeon: Surgeon) -> None:
    def held_by(real: Around, progress: Progress, w: int) -> int:
        acked = sorted((node.acked_end for node in progress.secondaries.values()), reverse=True)
        return progress.end.offset if w == 1 else (acked[:1] + acked)[w - 2]

    surgeon.around(Progress, "held_by", held_by)


@mutant("the master is counted twice")
def _(surgeon: Surgeon) -> None:
    surgeon.around(Progress, "held_by", lambda real, progress, w: real(progress, max(w - 1, 1)))


@mutant("an observer is counted")
def _(surgeon: Surgeon) -> None:
    def held_by(real: Around, progress: Progress, w: int) -> int:
        nodes = [*progress.secondaries.values(), *progress.observers.values()]
        acked = sorted((node.acked_end for node in nodes), reverse=True)
        return progress.end.offset if w == 1 else acked[w - 2]

    surgeon.around(Progress, "held_by", held_by)


@mutant("a majority of the living instead of the configured")
def _(surgeon: Surgeon) -> None:
    def committed_end(progress: Progress) -> int:
        living = [node.acked_end for node in progress.secondaries.values() if node.last_seen is not None]
        return sorted([progress.end.offset, *living], reverse=True)[(1 + len(living)) // 2]

    surgeon.replace(Progress, "committed_end", property(committed_end))


@mutant("reading shows an uncommitted tail as committed")
def _(surgeon: Surgeon) -> None:
    surgeon.replace(Progress, "committed_end", property(lambda progress: progress.end.offset))


@mutant("an ack of another reign is counted")
def _(surgeon: Surgeon) -> None:
    def ack(real: Around, progress: Progress, ack: Ack, now: float) -> int | None:
        answer: int | None = real(progress, ack, now)
        node = progress.secondaries.get(ack.node)
        if node is not None and ack.reign != progress.reign and ack.acked.offset <= progress.end.offset:
            node.acked_end = max(node.acked_end, ack.acked.offset)
            progress._update_held()
        return answer

    surgeon.around(Progress, "ack", ack)


@mutant("the chain is not compared by the master")
def _(surgeon: Surgeon) -> None:
    def count(real: Around, progress: Progress, node: Secondary, ack: Ack, _: bytes | None, now: float) -> None:
        real(progress, node, ack, ack.acked.chain, now)

    surgeon.around(Progress, "_count", count)


@mutant("a wiped secondary's old progress is kept")
def _(surgeon: Surgeon) -> None:
    def is_of_living_disk(real: Around, progress: Progress, node: Secondary, ack: Ack) -> Any:
        kept = node.acked_end
        living = real(progress, node, ack)
        node.acked_end = kept
        progress._update_held()
        return living

    surgeon.around(Progress, "_is_of_living_disk", is_of_living_disk)


@mutant("whatever disk an ack comes from, it is taken for the living one")
def _(surgeon: Surgeon) -> None:
    def is_of_living_disk(real: Around, progress: Progress, node: Secondary, ack: Ack) -> Any:
        real(progress, node, ack)
        node.disk_id = ack.disk_id
        return True

    surgeon.around(Progress, "_is_of_living_disk", is_of_living_disk)


@mutant("a master that lost its past goes on")
def _(surgeon: Surgeon) -> None:
    surgeon.replace(Progress, "conflict", property(lambda _: None))


@mutant("a reign commits before it has heard what others hold")
def _(surgeon: Surgeon) -> None:
    def plan_commit(real: Around, reign: Reign[int]) -> None:
        reign._hearing = False
        real(reign)

    surgeon.around(Reign, "_plan_commit", plan_commit)


@mutant("a diverged secondary is shown, and stops nobody")
def _(surgeon: Surgeon) -> None:
    def ack(real: Around, progress: Progress, ack: Ack, now: float) -> int | None:
        answer: int | None = real(progress, ack, now)
        for node in progress.secondaries.values():
            if node.diverged and ack.log_id == progress.reign.log_id and ack.acked.offset <= progress.end.offset:
                node.conflict = None
        return answer

    surgeon.around(Progress, "ack", ack)


@mutant("what was committed counts as waiting for the disk for ever")
def _(surgeon: Surgeon) -> None:
    def committed(real: Around, reign: Reign[int]) -> None:
        size = reign._appends.bytes
        real(reign)
        reign._appends.bytes = size

    surgeon.around(Reign, "committed", committed)


@mutant("a waiter is answered one record too early")
def _(surgeon: Surgeon) -> None:
    def pop_reached(real: Around, waiters: Waiters[int], held_by: Callable[[int], int]) -> Any:
        return real(waiters, lambda w: held_by(w) + 1)

    surgeon.around(Waiters, "pop_reached", pop_reached)


@mutant("waiters are lost on reconnect")
def _(surgeon: Surgeon) -> None:
    def connected(real: Around, reign: Reign[int], reply_to: str) -> None:
        reign._waiters = reign._appends._waiters = Waiters()
        real(reign, reply_to)

    surgeon.around(Reign, "connected", connected)


@mutant("the window of unconfirmed publishes is not reset on reconnect")
def _(surgeon: Surgeon) -> None:
    def connected(real: Around, reign: Reign[int], reply_to: str) -> None:
        unconfirmed = reign._unpublished._unconfirmed
        real(reign, reply_to)
        reign._unpublished._unconfirmed = unconfirmed

    surgeon.around(Reign, "connected", connected)


@mutant("a full disk of the master passes for stored")
def _(surgeon: Surgeon) -> None:
    surgeon.replace(Reign, "commit_refused", Reign.committed)
    surgeon.careless_log()


@mutant("records of one batch are all said to be at its first offset")
def _(surgeon: Surgeon) -> None:
    def take(real: Around, appends: AppendQueue[int], offset: int) -> Any:
        known = len(appends._committing)
        taken = real(appends, offset)
        appends._committing[known:] = [[(append, offset) for append in taken]] if taken else []
        return taken

    surgeon.around(AppendQueue, "take", take)
