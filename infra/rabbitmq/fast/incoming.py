"""What a connection receives: some frames are taken as they come in, and aiormq reads all others."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, SupportsIndex

from infra.rabbitmq.fast.frames import BODY, END, HEAD, HEADER, HEARTBEAT, METHOD, frame

_KINDS: Final = {METHOD, HEADER, BODY, HEARTBEAT}
_HEARTBEAT: Final = frame(HEARTBEAT, 0, b"")
_SIGN_OF_LIFE_S: Final = 1.0

Take = Callable[[int, bytes], bool]
"""Is called with the type and the payload of a frame. True: it has taken the frame. False: aiormq reads it."""


class Incoming(asyncio.StreamReader):
    """The stream that aiormq reads, without the frames that a channel of ours takes.

    aiormq reads a frame piece by piece, and hands it from task to task; before each step the event loop does all else
    that waits. A frame that is taken here is dealt with in the turn of the event loop in which it comes.
    Invariant: what aiormq reads are whole frames, in their order.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(loop=loop)
        self._time = loop.time
        self._takers: dict[int, Take] = {}
        self._begun = b""
        self._shown_at = 0.0

    def take(self, channel: int, take: Take) -> None:
        """Show every frame of a channel from now on to ``take``."""
        self._takers[channel] = take

    def forget(self) -> None:
        """From now on aiormq reads every frame."""
        self._takers.clear()

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        data = self._begun + bytes(data) if self._begun else bytes(data)
        passed = at = 0
        while at + HEAD.size < len(data):
            kind, channel, size = HEAD.unpack_from(data, at)
            end = at + HEAD.size + size + 1
            if kind in _KINDS and end > len(data):
                break
            if kind not in _KINDS or data[end - 1] != END[0]:
                # This is no AMQP, and aiormq says so.
                self._takers.clear()
                at = len(data)
                break
            take = self._takers.get(channel)
            if take is not None and take(kind, data[at + HEAD.size : end - 1]):
                self._pass_on(data[passed:at])
                passed = end
            at = end
        self._pass_on(data[passed:at])
        self._begun = data[at:]
        if passed:
            self._show_life()

    def _pass_on(self, frames: bytes) -> None:
        if frames:
            super().feed_data(frames)

    def _show_life(self) -> None:
        """Let aiormq see a heartbeat: a broker that sends other frames sends none, and those taken it does not see."""
        now = self._time()
        if now - self._shown_at > _SIGN_OF_LIFE_S:
            self._shown_at = now
            super().feed_data(_HEARTBEAT)
