"""``python -m master restore``: a new log for a master whose disk is lost, copied from a secondary.

The copy is the secondary's log byte for byte, so every other secondary can go on from where it is. The master opens it
in an epoch above every one that the secondaries have seen, and they follow it.
"""

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from replicated_log.storage.directory_lock import holding
from replicated_log.storage.log import Log
from replicated_log.storage.set_aside import set_aside
from replicated_log.wire.batch import MalformedBatchError, decode_batches

TIMEOUT_S = 30.0
SETTLE_S = 1.0


class RestoreError(Exception):
    """Raised when nothing was restored; what was there before is still there."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a secondary says it holds."""

    url: str
    name: str
    log_id: str | None
    end_offset: int
    epoch: int


def restore(data: Path, name: str, urls: Sequence[str]) -> str:
    """Copy the longest log of the secondaries at ``urls`` to the data directory of master ``name``.

    Every secondary must answer, so that none that holds more is overlooked. A log that is in ``data`` is set aside.
    Returns a report; raises RestoreError, SetAsideError, or what opening and writing a log raises.
    """
    fresh = data.with_name(f"{data.name}.restoring")
    is_new = not data.exists()
    data.mkdir(parents=True, exist_ok=True)
    with holding(data, "restore"):
        shutil.rmtree(fresh, ignore_errors=True)
        log = Log.open(fresh, name)
        try:
            report = asyncio.run(_copy_longest(log, urls))
        finally:
            log.close()
    if is_new:
        shutil.rmtree(data)
    else:
        report += f"; what was there before is now in {set_aside(data)}"
    fresh.rename(data)
    return report


async def _copy_longest(log: Log, urls: Sequence[str]) -> str:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as http:
        while True:
            longest, sources = await _longest(http, urls)
            if log.end.offset == longest.end_offset:
                break
            # A secondary may still be persisting deliveries that had come: copy, and ask again.
            await _copy(http, longest, log)
            await asyncio.sleep(SETTLE_S)
    log.raise_epoch(max(source.epoch for source in sources))
    held = "; ".join(f"{source.name}: {source.end_offset} records" for source in sources)
    return f"restored {longest.end_offset} records of log {longest.log_id} from {longest.name} ({held})"


async def _longest(http: aiohttp.ClientSession, urls: Sequence[str]) -> tuple[Source, list[Source]]:
    sources = [await _ask(http, url.rstrip("/")) for url in urls]
    if len({source.log_id for source in sources if source.log_id}) != 1:
        held = "; ".join(f"{source.name}: {source.end_offset} records of log {source.log_id}" for source in sources)
        raise RestoreError(f"these do not hold one and the same log, name those that do: {held}")
    return max(sources, key=lambda source: source.end_offset), sources


async def _ask(http: aiohttp.ClientSession, url: str) -> Source:
    try:
        async with http.get(f"{url}/status") as response:
            status = await response.json()
        if status["role"] != "secondary":
            raise RestoreError(f"{url} is a {status['role']}, not a secondary")
        return Source(url, str(status["name"]), status["log_id"], int(status["end_offset"]), int(status["epoch"]))
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise RestoreError(f"{url} does not answer as a secondary: {error!r}") from error


async def _copy(http: aiohttp.ClientSession, source: Source, log: Log) -> None:
    """Plain blocking writes between the requests: nothing else runs in this process."""
    assert source.log_id is not None
    log.adopt(source.log_id)
    while log.end.offset < source.end_offset:
        try:
            async with http.get(f"{source.url}/batches", params={"from": str(log.end.offset)}) as response:
                response.raise_for_status()
                batches = decode_batches(await response.read())
        except (aiohttp.ClientError, TimeoutError, MalformedBatchError) as error:
            raise RestoreError(f"copying from {source.url} failed at offset {log.end.offset}: {error!r}") from error
        end = log.end
        for batch in batches:
            if batch.log_id != source.log_id or not batch.follows(end):
                raise RestoreError(f"{source.url} gave a batch that does not follow at offset {end.offset}")
            end = batch.end
        if not batches:
            raise RestoreError(f"{source.url} gave nothing at offset {end.offset}")
        log.append(batches)
