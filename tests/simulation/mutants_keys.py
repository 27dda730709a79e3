"""Planted bugs in what is done with keys and conditions."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

import replicated_log.master.reign
from replicated_log.master.append_queue import Append, AppendQueue
from replicated_log.master.decisions import Appended, EndMismatch, KeyReused, Replayed
from replicated_log.master.reign import Reign
from replicated_log.wire.batch import Batch
from replicated_log.wire.idempotency import KeyedAppend
from tests.simulation.model_log import ModelDisk, ModelLog
from tests.simulation.surgery import Around, Surgeon, mutant


@mutant("keys are stored one commit too late, and lost in a crash before")
def _(surgeon: Surgeon) -> None:
    late: dict[str, Batch] = {}

    def index(real: Around, disk: ModelDisk, batch: Batch) -> None:
        before = late.get(disk.label)
        if before is not None and before.end.offset == batch.first_offset:
            real(disk, before)
        late[disk.label] = batch

    def open_log(real: Around, log: ModelLog, disk: ModelDisk) -> None:
        late.pop(disk.label, None)
        real(log, disk)

    def find_key(real: Around, log: ModelLog, key: str) -> KeyedAppend | None:
        remembered = late[log.disk.label].keyed_appends if log.disk.label in late else ()
        found: KeyedAppend | None = next((keyed for keyed in remembered if keyed.key == key), real(log, key))
        return found

    surgeon.around(ModelDisk, "index", index)
    surgeon.around(ModelLog, "__init__", open_log)
    surgeon.around(ModelLog, "find_key", find_key)


@mutant("keys are forgotten at a restart")
def _(surgeon: Surgeon) -> None:
    def open_log(real: Around, log: ModelLog, disk: ModelDisk) -> None:
        real(log, disk)
        disk.keys.clear()

    surgeon.around(ModelLog, "__init__", open_log)


@mutant("who comes with a key that is on its way does not wait for it")
def _(surgeon: Surgeon) -> None:
    def add(real: Around, appends: AppendQueue[int], append: Append[int]) -> None:
        real(appends, replace(append, key=None) if append.key in appends._claims else append)

    surgeon.around(AppendQueue, "add", add)


@mutant("a key is not looked up")
def _(surgeon: Surgeon) -> None:
    surgeon.around(Reign, "key_found", lambda real, reign, key, _, now: real(reign, key, None, now) if key else None)


@mutant("a client that goes away takes its key with it")
def _(surgeon: Surgeon) -> None:
    def forget(real: Around, appends: AppendQueue[int], waiter: int) -> None:
        real(appends, waiter)
        for at, append in enumerate(appends._line):
            if append.waiter == waiter and append.key is not None and len(appends._claims[append.key]) == 1:
                del appends._claims[append.key]
                appends._line[at] = replace(append, key=None)

    surgeon.around(AppendQueue, "forget", forget)


@mutant("a refusal uses up its key")
def _(surgeon: Surgeon) -> None:
    used: defaultdict[int, set[str | None]] = defaultdict(set)

    def add(real: Around, appends: AppendQueue[int], append: Append[int]) -> None:
        if append.key in used[id(appends)]:
            appends._decisions.append(KeyReused(append.waiter))
        else:
            real(appends, append)

    def refuse(real: Around, appends: AppendQueue[int], append: Append[int], why: Any) -> None:
        if append.key is not None:
            used[id(appends)].add(append.key)
        real(appends, append, why)

    surgeon.around(AppendQueue, "add", add)
    surgeon.around(AppendQueue, "_refuse", refuse)
    surgeon.around(AppendQueue, "_refuse_end", refuse)


@mutant("who stands behind a refused one is forgotten")
def _(surgeon: Surgeon) -> None:
    def mismatch(real: Around, appends: AppendQueue[int], append: Append[int], end_offset: int) -> None:
        if append.key is not None:
            claims = appends._claims[append.key]
            while len(claims) > 1:
                claims.pop()
        real(appends, append, end_offset)

    surgeon.around(AppendQueue, "_mismatch", mismatch)


@mutant("the hash of the messages is not compared")
def _(surgeon: Surgeon) -> None:
    surgeon.replace(replicated_log.master.reign, "digest", lambda _: bytes(16))


@mutant("a replay does not wait for copies")
def _(surgeon: Surgeon) -> None:
    def replay(real: Around, appends: AppendQueue[int], behind: Any, keyed: KeyedAppend) -> None:
        real(appends, [replace(append, w=1) for append in behind], keyed)

    surgeon.around(AppendQueue, "_replay", replay)


@mutant("where the log should end is judged on arrival")
def _(surgeon: Surgeon) -> None:
    def append(real: Around, reign: Reign[int], *arguments: Any, if_end: int | None, **named: Any) -> None:
        real(reign, *arguments, if_end=None if if_end == reign.progress.end.offset else if_end, **named)

    surgeon.around(Reign, "append", append)


@mutant("an end is told that is not on disk yet")
def _(surgeon: Surgeon) -> None:
    def mismatch(real: Around, appends: AppendQueue[int], append: Append[int], end_offset: int) -> None:
        if appends._committing and append.key is None:
            if appends._leaves(append):
                appends._decisions.append(EndMismatch(append.waiter, end_offset))
        else:
            real(appends, append, end_offset)

    surgeon.around(AppendQueue, "_mismatch", mismatch)


@mutant("where the log should end comes before the key")
def _(surgeon: Surgeon) -> None:
    def key_found(real: Around, reign: Reign[int], key: str, found: KeyedAppend | None, now: float) -> None:
        if found is not None:
            claims = reign._appends._claims[key]
            for append in [append for append in claims if append.if_end not in {None, reign.progress.end.offset}]:
                claims.remove(append)
                reign._appends._refuse_end(append, reign.progress.end.offset)
        real(reign, key, found, now)

    surgeon.around(Reign, "key_found", key_found)


@mutant("a replay is told with the epoch of this reign")
def _(surgeon: Surgeon) -> None:
    def key_found(real: Around, reign: Reign[int], key: str, found: KeyedAppend | None, now: float) -> None:
        real(reign, key, found and replace(found, epoch=reign.id.epoch), now)

    surgeon.around(Reign, "key_found", key_found)


@mutant("a replay is told as an append")
def _(surgeon: Surgeon) -> None:
    def replay(real: Around, appends: AppendQueue[int], behind: Any, keyed: KeyedAppend) -> None:
        real(appends, behind, keyed)
        for at, decision in enumerate(appends._decisions):
            if isinstance(decision, Replayed):
                appends._decisions[at] = Appended(decision.waiter, decision.offset)

    surgeon.around(AppendQueue, "_replay", replay)


@mutant("an append with a key is told as a replay")
def _(surgeon: Surgeon) -> None:
    def committed(real: Around, appends: AppendQueue[int], epoch: int) -> None:
        keyed = {append.waiter for placed in appends._committing for append, _ in placed if append.key is not None}
        real(appends, epoch)
        for at, decision in enumerate(appends._decisions):
            if isinstance(decision, Appended) and decision.waiter in keyed:
                appends._decisions[at] = Replayed(decision.waiter, decision.offset, epoch)

    surgeon.around(AppendQueue, "committed", committed)


@mutant("appends with a key need no quorum")
def _(surgeon: Surgeon) -> None:
    def key_found(real: Around, reign: Reign[int], key: str, found: KeyedAppend | None, now: float) -> None:
        required, reign.require_quorum = reign.require_quorum, False
        real(reign, key, found, now)
        reign.require_quorum = required

    surgeon.around(Reign, "key_found", key_found)
