"""How long the protocol and the sessions with the broker wait: their intervals and time-outs, in seconds, in one place.

Those that have to do with silence follow from two numbers that an operator may set (``REPLOG_HEALTH``): after how much
silence a node is suspected, and after how much it is unhealthy. Every node of a cluster should have the same two.
How long it takes to carry 4 MiB, or to reach a broker, has little to do with these: such time-outs hardly change.
"""

from dataclasses import dataclass
from typing import Final, Self

LEAST_S: Final = 0.1
MOST_S: Final = 120.0
"""The two that may be set lie between these."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Made by :meth:`of`. Invariant: ``0 < beat_s <= suspected_s / 3``, ``suspected_s < unhealthy_s``.

    The protocol:
    ``beat_s``                 from one beat of the master to the next
    ``beat_expires_s``         a beat that still waits in a queue then is dropped by the broker
    ``suspected_s``            a node that was silent for so long is suspected
    ``unhealthy_s``            and after so long it is unhealthy, and counts as alive no more
    ``hearing_s``              a new master, connected, listens to its secondaries at most for so long before it commits
    ``hearing_unconnected_s``  the same without a broker, from its start on
    ``fetch_s``                a fetch that is not answered is given up, and asked again; each one doubles the next,
    ``max_fetch_s``            up to this
    ``disk_full_retry_s``      a secondary whose disk was full tries again

    A session with the broker:
    ``silence_s``              a secondary to which nothing was delivered for so long makes its session anew
    ``publish_s``              and so does a node of which nothing that it publishes gets through for so long
    ``watch_s``                how often that is looked at
    ``heartbeat_s``            AMQP's own heartbeat, which counts in whole seconds
    ``connect_s``, ``set_up_s``, ``declare_s``, ``close_s``  what each step of a session may take
    ``return_s``               how often the user of a spare queue looks whether its own can be reached again
    ``retry_s``                pauses before the next attempt to connect; the last one repeats
    """

    beat_s: float
    beat_expires_s: float
    suspected_s: float
    unhealthy_s: float
    hearing_s: float
    hearing_unconnected_s: float
    fetch_s: float
    max_fetch_s: float
    disk_full_retry_s: float
    silence_s: float
    publish_s: float
    watch_s: float
    heartbeat_s: int
    connect_s: float
    set_up_s: float
    declare_s: float
    close_s: float
    return_s: float
    retry_s: tuple[float, ...]

    def __post_init__(self) -> None:
        assert 0 < self.beat_s <= self.suspected_s / 3
        assert self.suspected_s < self.unhealthy_s

    @classmethod
    def of(cls, suspected_s: float = 3.0, unhealthy_s: float = 10.0) -> Self:
        """All of them, from the two that may be set.

        Raises ValueError unless LEAST_S <= suspected_s < unhealthy_s <= MOST_S.
        """
        if not LEAST_S <= suspected_s < unhealthy_s <= MOST_S:
            raise ValueError(
                f"suspected ({suspected_s:g} s) must be {LEAST_S:g} s at least, and less than unhealthy "
                f"({unhealthy_s:g} s), which must be {MOST_S:g} s at most"
            )
        beat_s = min(1.0, suspected_s / 3)
        return cls(
            beat_s=beat_s,
            beat_expires_s=3 * beat_s,
            suspected_s=suspected_s,
            unhealthy_s=unhealthy_s,
            hearing_s=2 * beat_s,
            hearing_unconnected_s=4 * beat_s,
            fetch_s=5.0,
            max_fetch_s=80.0,
            disk_full_retry_s=1.0,
            silence_s=unhealthy_s,
            publish_s=_between(2.0, unhealthy_s / 2, 5.0),
            watch_s=beat_s,
            heartbeat_s=round(_between(2.0, suspected_s, 3.0)),
            connect_s=_between(2.0, unhealthy_s / 2, 5.0),
            set_up_s=_between(7.0, unhealthy_s, 10.0),
            declare_s=_between(2.0, suspected_s, 3.0),
            close_s=2.0,
            return_s=_between(2.0, unhealthy_s, 10.0),
            retry_s=(0.1, 0.2, 0.5, 1.0),
        )


def _between(least: float, wanted: float, most: float) -> float:
    return min(max(least, wanted), most)


DEFAULT: Final = Timings.of()
