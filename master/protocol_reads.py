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
    """Reads what is asked for, in order, and tells the reign, each time followed by ``perform``.

    Chains and fetches belong to one session: what the last one left unread is forgotten, and asked for anew. The reign
    bounds the chains it wants read; whoever wants to fetch asks again, so a full queue may lose that.
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
        """Look up keys for ever: what was asked for meanwhile, many at once."""
        while True:
            keys = [await self._keys.get()]
            while len(keys) < SLICE_KEYS and not self._keys.empty():
                keys.append(self._keys.get_nowait())
            found = await self._log.find_keys(keys)
            now = time.monotonic()
            for key, append in zip(keys, found, strict=True):
                if isinstance(append, CorruptLogError):
                    self._reign.key_unreadable(key, append)
                else:
                    self._reign.key_found(key, append, now)
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
                        # Whoever needs this can't be helped; everyone else's appends go on.
                        logger.error("%s can't be given what it lacks: %s", fetch.node, error)
                        continue
                    await session.send(fetch.reply_to, encode(self._reign.fetched(fetch, batches)))
