"""Planted bugs: each a small mutation of the real objects, and each must be caught by the checker.

``python -m tests.simulation.mutants`` shows the table: the bug, how many seeds it took, and the rule that caught it.
A seed catches a bug only if the protocol without it passes.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import Pool
from time import monotonic
from typing import Any
from unittest.mock import patch

from replicated_log import batch as batch_module
from replicated_log import intake as intake_module
from replicated_log.batch import Batch, Position
from replicated_log.delivery import Ack, Beat, Fetched, LiveBatches, ReignId
from replicated_log.early import EarlyBatches
from replicated_log.intake import Intake
from replicated_log.progress import Progress, Secondary
from replicated_log.reign import Reign
from replicated_log.waiters import Waiters
from tests.simulation.model_log import ModelDisk, ModelLog
from tests.simulation.surgery import MUTANTS, Around, Surgeon, hunt, mutant

# The secondary's half.


@mutant("ack before fsync")
def _(surgeon: Surgeon) -> None:
    def send_ack(real: Around, intake: Intake, to: str) -> None:
        with patch.object(intake, "acked", intake.accepted):
            real(intake, to)

    surgeon.around(Intake, "_send_ack", send_ack)


@mutant("beat announces the end on disk instead of the acked end")
def _(surgeon: Surgeon) -> None:
    def send_ack(real: Around, intake: Intake, to: str) -> None:
        with patch.object(intake, "acked", intake.on_disk):
            real(intake, to)

    surgeon.around(Intake, "_send_ack", send_ack)


@mutant("a gap is skipped after drop-head")
def _(surgeon: Surgeon) -> None:
    def keep_early(real: Around, intake: Intake, reign: ReignId, batch: Batch) -> None:
        if reign == intake.reign and intake.log_id is not None:
            intake.accepted = Position(batch.first_offset, intake.accepted.chain)
            intake.accepted = batch.end
            intake._pending.put(batch, 0.0)

    surgeon.around(Intake, "_keep_early", keep_early)
    surgeon.careless_log()


@mutant("a redelivered batch is stored twice")
def _(surgeon: Surgeon) -> None:
    def take(real: Around, intake: Intake, batches: tuple[Batch, ...], now: float) -> None:
        for batch in batches:
            if batch.end == intake.accepted and batch.log_id == intake.log_id:
                intake._pending.put(batch, now)
        real(intake, batches, now)

    surgeon.around(Intake, "_take", take)
    surgeon.careless_log()


@mutant("fetched batches are put over live ones")
def _(surgeon: Surgeon) -> None:
    def take_fetched(real: Around, intake: Intake, fetched: Fetched, now: float) -> None:
        asked = intake._fetch is not None and intake._fetch.request_id == fetched.request_id
        if asked and fetched.batches and fetched.batches[0].first_offset < intake.accepted.offset:
            for batch in fetched.batches:
                intake._pending.put(batch, now)
        real(intake, fetched, now)

    surgeon.around(Intake, "_take_fetched", take_fetched)
    surgeon.careless_log()


@mutant("the chain is not compared by the secondary")
def _(surgeon: Surgeon) -> None:
    surgeon.replace(Batch, "follows", lambda batch, previous: batch.first_offset == previous.offset)


@mutant("a stale log is adopted by an empty secondary")
def _(surgeon: Surgeon) -> None:
    def take_live(real: Around, intake: Intake, live: LiveBatches, now: float) -> None:
        if intake.log_id is None:
            intake.log_id = intake._adopt = live.reign.log_id
        real(intake, live, now)

    surgeon.around(Intake, "_take_live", take_live)


@mutant("a log without a record binds its secondary")
def _(surgeon: Surgeon) -> None:
    def is_newest(real: Around, intake: Intake, reign: ReignId) -> Any:
        return intake.log_id in {None, reign.log_id} and real(intake, reign)

    surgeon.around(Intake, "_is_newest", is_newest)


@mutant("live deliveries fill the buffer and starve the fetch")
def _(surgeon: Surgeon) -> None:
    def chase(real: Around, intake: Intake, now: float) -> None:
        if intake._early._bytes <= intake_module.MAX_EARLY_BYTES - 200:
            real(intake, now)

    surgeon.around(Intake, "_chase", chase)


@mutant("a fetch has no timeout")
def _(surgeon: Surgeon) -> None:
    surgeon.replace(intake_module, "FETCH_TIMEOUT_S", 1e9)


@mutant("a beat does not say that there is more to fetch")
def _(surgeon: Surgeon) -> None:
    def take_beat(real: Around, intake: Intake, beat: Beat) -> None:
        real(intake, replace(beat, end_offset=0))

    surgeon.around(Intake, "_take_beat", take_beat)


@mutant("a full disk of a secondary passes for stored")
def _(surgeon: Surgeon) -> None:
    surgeon.replace(Intake, "persist_refused", Intake.persisted)
    surgeon.careless_log()


@mutant("a lost connection forgets what is not persisted yet")
def _(surgeon: Surgeon) -> None:
    def connection_lost(real: Around, intake: Intake) -> None:
        real(intake)
        intake._pending.clear()

    surgeon.around(Intake, "connection_lost", connection_lost)
    surgeon.careless_log()


@mutant("early batches of another reign are kept, and taken")
def _(surgeon: Surgeon) -> None:
    def take(early: EarlyBatches, reign: ReignId, offset: int) -> Batch | None:
        sender, _ = early._batches.get(offset, (reign, None))
        with patch.object(EarlyBatches, "take", real_take):
            return early.take(sender, offset)

    real_take = EarlyBatches.take
    surgeon.replace(EarlyBatches, "take", take)
    surgeon.replace(EarlyBatches, "drop_others", lambda *_: None)


@mutant("a secondary never leaves the first reign it follows")
def _(surgeon: Surgeon) -> None:
    surgeon.around(
        Intake, "_is_newest", lambda real, intake, reign: intake.reign in {None, reign} and real(intake, reign)
    )


@mutant("acks go to the reply queue of the first connection for ever")
def _(surgeon: Surgeon) -> None:
    def take_beat(real: Around, intake: Intake, beat: Beat) -> None:
        real(intake, replace(beat, reply_to=intake._acks_to or beat.reply_to))

    surgeon.around(Intake, "_take_beat", take_beat)


@mutant("checksums are not verified")
def _(surgeon: Surgeon) -> None:
    surgeon.replace(batch_module, "crc32", lambda *_: 0)


# The master's half.


@mutant("publish before own fsync")
def _(surgeon: Surgeon) -> None:
    def plan_commit(real: Around, reign: Reign[int]) -> None:
        planned = reign._commit
        real(reign)
        if reign._commit is not None and reign._commit is not planned and reign._reply_to is not None:
            reign._unpublished.extend(reign._commit.batches)

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
        reign._unheard.clear()
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


@mutant("a conflict outlives the disk that showed it")
def _(surgeon: Surgeon) -> None:
    def is_of_living_disk(real: Around, progress: Progress, node: Secondary, ack: Ack) -> Any:
        conflict = node.conflict
        living = real(progress, node, ack)
        node.conflict = conflict
        return living

    surgeon.around(Progress, "_is_of_living_disk", is_of_living_disk)


@mutant("what was committed counts as waiting for the disk for ever")
def _(surgeon: Surgeon) -> None:
    def committed(real: Around, reign: Reign[int]) -> None:
        size = reign._uncommitted_bytes
        real(reign)
        reign._uncommitted_bytes = size

    surgeon.around(Reign, "committed", committed)


@mutant("a waiter is answered one record too early")
def _(surgeon: Surgeon) -> None:
    def pop_reached(real: Around, waiters: Waiters[int], held_by: Callable[[int], int]) -> Any:
        return real(waiters, lambda w: held_by(w) + 1)

    surgeon.around(Waiters, "pop_reached", pop_reached)


@mutant("waiters are lost on reconnect")
def _(surgeon: Surgeon) -> None:
    def connected(real: Around, reign: Reign[int], reply_to: str) -> None:
        reign._waiters = Waiters()
        real(reign, reply_to)

    surgeon.around(Reign, "connected", connected)


@mutant("the window of unconfirmed publishes is not reset on reconnect")
def _(surgeon: Surgeon) -> None:
    def connected(real: Around, reign: Reign[int], reply_to: str) -> None:
        unconfirmed = reign._unconfirmed
        real(reign, reply_to)
        reign._unconfirmed = unconfirmed

    surgeon.around(Reign, "connected", connected)


@mutant("a full disk of the master passes for stored")
def _(surgeon: Surgeon) -> None:
    surgeon.replace(Reign, "commit_refused", Reign.committed)
    surgeon.careless_log()


@mutant("records of one batch are all said to be at its first offset")
def _(surgeon: Surgeon) -> None:
    def gather(real: Around, reign: Reign[int], offset: int) -> Any:
        known = len(reign._committing)
        gathered = real(reign, offset)
        reign._committing[known:] = [(append, offset) for append in gathered]
        return gathered

    surgeon.around(Reign, "_gather", gather)


# The log.


@mutant("the log returns from an append before the fsync")
def _(surgeon: Surgeon) -> None:
    def append(real: Around, log: ModelLog, batches: Sequence[Batch], **meta: Any) -> None:
        disk = log.disk
        told, disk.on_durable = disk.on_durable, None
        real(log, batches, **meta)
        disk.on_durable = told

    surgeon.around(ModelLog, "append", append)


@mutant("a new reign does not take a new epoch")
def _(surgeon: Surgeon) -> None:
    def begin_reign(real: Around, log: ModelLog) -> int:
        epoch = max(log.disk.epoch, 1)
        real(log)
        log.disk.epoch = epoch
        return epoch

    surgeon.around(ModelLog, "begin_reign", begin_reign)


@mutant("a power cut tears off what was durable")
def _(surgeon: Surgeon) -> None:
    def cut_power(real: Around, disk: ModelDisk) -> None:
        real(disk)
        if disk.batches:
            disk.forget_after(len(disk.batches) - 1, 0)

    surgeon.around(ModelDisk, "cut_power", cut_power)


def main() -> int:
    began = monotonic()
    missed = 0
    with Pool() as pool:
        for catch in pool.imap_unordered(hunt, MUTANTS):
            missed += catch.violation is None
            found = f"{catch.seeds:5} seeds" if catch.violation else "NOT CAUGHT "
            print(f"{catch.name:62} {found}  {str(catch.violation or '')[:100]}", flush=True)
    print(f"{len(MUTANTS) - missed} of {len(MUTANTS)} planted bugs caught, in {monotonic() - began:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
