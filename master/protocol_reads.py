"""What the reign wants read from the log: keys, chains, and what a secondary lacks."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from infra.disk.log_thread import SLICE_KEYS, LogThread
from infra.rabbitmq.session import Session
from master.pending_appends import PendingAppend
from replicated_log.master.decisions import AnswerFetch, FindKey, ReadChain
from replicated_log.master.reign import Reign
from replicated_log.wire.delivery import MAX_DELIVERY_BYTES, encode
from replicated_log.wire.errors import CorruptLogError

MAX_READS: Final = 1000

logger = logging.getLogger(__name__)


class ProtocolReads:
    """Reads what the reign asks for, in order, and hands it to the reign; ``perform`` is called after that.

    Chains and fetches belong to one session: those that the last one left unread are forgotten, and asked for anew. The
    reign bounds the chains that it asks for; a secondary repeats its fetch, so a full queue may lose one.
    """

    def __init__(self, reign: Reign[PendingAppend], log: LogThread, perform: Callable[[], None]) -> None:
        self._reign = reign
        self._log = log
        self._perform = perform
        self._keys: asyncio.Queue[str] = asyncio.Queue()
        self._of_session: asyncio.Queue[ReadChain | AnswerFetch] = asyncio.Queue()

    def ask(self, asked: FindKey | ReadChain | AnswerFetch) -> None:
        match asked:
            case FindKey(key):
                self._keys.put_nowait(key)
            case ReadChain():
                self._of_session.put_nowait(asked)
            case AnswerFetch():
                if self._of_session.qsize() < MAX_READS:
                    self._of_session.put_nowait(asked)

    async def find_keys(self) -> None:
        """Look up keys for ever; those that are asked for during a look-up are looked up together."""
        while True:
            keys = [await self._keys.get()]
            while len(keys) < SLICE_KEYS and not self._keys.empty():
                keys.append(self._keys.get_nowait())
            found = await self._log.find_keys(keys)
            now = time.monotonic()
            for key, result in zip(keys, found, strict=True):
                if isinstance(result, CorruptLogError):
                    self._reign.key_unreadable(key, result)
                else:
                    self._reign.key_found(key, result, now)
            self._perform()

    def begin_session(self) -> None:
        self._of_session = asyncio.Queue()

    async def serve(self, session: Session) -> None:
        """Read chains, and answer fetches, one thing after the other, until ``session`` is lost."""
        while True:
            match await self._of_session.get():
                case ReadChain(offset):
                    chain = await self._log.chain_at(offset)
                    self._reign.chain_read(offset, chain, time.monotonic())
                    self._perform()
                case AnswerFetch(fetch):
                    try:
                        batches = await self._log.read(fetch.from_offset, MAX_DELIVERY_BYTES)
                    except CorruptLogError as error:
                        # This secondary can't be helped; the appends of all clients go on.
                        logger.error("%s can't be given what it lacks: %s", fetch.node, error)
                        continue
                    await session.send(fetch.reply_to, encode(self._reign.fetched(fetch, batches)))
