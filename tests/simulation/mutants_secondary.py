"""Planted bugs in the secondary's half of the protocol, and in batches as it reads them."""

from dataclasses import replace
from typing import Any
from unittest.mock import patch

from replicated_log.secondary.intake import Intake
from replicated_log.secondary.outstanding_fetch import OutstandingFetch
from replicated_log.secondary.reorder_buffer import ReorderBuffer
from replicated_log.timings import Timings
from replicated_log.wire import batch as batch_module
from replicated_log.wire.batch import Batch, Position
from replicated_log.wire.delivery import Beat, Fetched, LiveBatches, ReignId
from tests.simulation.surgery import Around, Surgeon, mutant


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
        asked = intake._fetch._request_id == fetched.request_id
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
    def plan_fetch(real: Around, intake: Intake, now: float) -> None:
        if intake._early._bytes <= intake._early._max_bytes - 200:
            real(intake, now)

    surgeon.around(Intake, "_plan_fetch", plan_fetch)


@mutant("a fetch has no timeout")
def _(surgeon: Surgeon) -> None:
    def init(real: Around, fetch: OutstandingFetch, timings: Timings) -> None:
        real(fetch, replace(timings, fetch_s=1e9))

    surgeon.around(OutstandingFetch, "__init__", init)


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
    def take(early: ReorderBuffer, reign: ReignId, offset: int) -> Batch | None:
        sender, _ = early._batches.get(offset, (reign, None))
        with patch.object(ReorderBuffer, "take", real_take):
            return early.take(sender, offset)

    real_take = ReorderBuffer.take
    surgeon.replace(ReorderBuffer, "take", take)
    surgeon.replace(ReorderBuffer, "drop_others", lambda *_: None)


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
