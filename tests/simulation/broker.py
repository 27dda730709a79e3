"""A model of the broker, and of the connections to it.

A session is two connections of a node, as in the processes: it publishes by one, up, and consumes by the other, down.
Within each nothing is reordered or lost while it holds; when it ends, what was on its way is lost, or only its tail is,
or it arrives late, when a younger session of the same node is there already. Bad weather on top of that loses, doubles,
delays and damages single deliveries, which no TCP connection does, but a protocol that survives that survives more.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any, Final

from replicated_log.wire.delivery import Envelope

if TYPE_CHECKING:
    from tests.simulation.host import Process
    from tests.simulation.world import World

STRAY_S: Final = 4.0
DETECTION_S: Final = (2.0, 8.0)
"""How long the broker, or a node, takes to see that a silent connection is dead."""


class Way:
    """One direction of a session: what is sent arrives in order, once, after a delay; later, while it is stalled."""

    def __init__(self, world: "World", rng: Random, stalled: Callable[[], bool]) -> None:
        self._world = world
        self._rng = rng
        self._stalled = stalled
        self._line: deque[tuple[float, Callable[..., None], tuple[Any, ...]]] = deque()
        self._last = 0.0
        self.open = True

    def send(self, arrive: Callable[..., None], *arguments: Any) -> None:
        if not self.open:
            return
        world = self._world
        delay = world.plan.weather.link_delay * (0.5 + self._rng.random())
        self._last = due = max(self._last, world.now + delay)
        self._line.append((due, arrive, arguments))
        world.at(due, self.flush)

    def deliver(self, arrive: Callable[..., None], *arguments: Any) -> bool:
        """As send, for a delivery (the last argument), with which the weather may do what it likes. False: lost."""
        weather, rng = self._world.plan.weather, self._rng
        if not self._world.stormy or not self.open:
            self.send(arrive, *arguments)
            return True
        dice = rng.random()
        if (dice := dice - weather.lost) < 0:
            return False
        if (dice := dice - weather.strayed) < 0:
            self._stray(arrive, arguments)
            return True
        if (dice := dice - weather.doubled) < 0:
            self._stray(arrive, arguments)
        elif dice - weather.damaged < 0:
            arguments = (*arguments[:-1], _damaged(arguments[-1], rng))
        self.send(arrive, *arguments)
        return True

    def flush(self) -> None:
        """Let arrive what is due."""
        line, now = self._line, self._world.now
        while line and line[0][0] <= now and not self._stalled():
            _, arrive, arguments = line.popleft()
            arrive(*arguments)

    def close(self, *, keep: bool) -> None:
        """Nothing more is sent. What is under way is lost; with ``keep``, some of it arrives yet, sooner or later."""
        self.open = False
        kept = self._rng.randint(0, len(self._line)) if keep and self._line else 0
        while len(self._line) > kept:
            self._line.pop()

    def _stray(self, arrive: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._world.after(self._rng.random() ** 2 * STRAY_S, self._arrive_astray, arrive, arguments)

    def _arrive_astray(self, arrive: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if not self._stalled():
            arrive(*arguments)


class Session:
    """A node's two connections. ``accepted`` says that the broker takes them for alive."""

    def __init__(self, broker: "Broker", process: "Process", number: int) -> None:
        self.broker = broker
        self.process = process
        self.number = number
        self.accepted = True
        self.unsettled: dict[int, tuple[Envelope, float]] = {}
        self._settled = 0
        world, host = broker.world, process.host
        self.up = Way(world, world.rng(f"{process.name} up {number}"), lambda: host.cut_up or broker.alarm)
        self.down = Way(world, world.rng(f"{process.name} down {number}"), lambda: host.cut_down or process.paused)

    def publish(self, envelope: Envelope, *, confirm: int | None) -> None:
        self.up.deliver(self.broker.fan_out, self, confirm, envelope)

    def send(self, queue: str, envelope: Envelope) -> None:
        self.up.deliver(self.broker.route, queue, envelope)

    def settle_up_to(self, tag: int) -> None:
        """The broker learns of it at once, or, while nothing gets through to it, with the next :meth:`flush`."""
        self._settled = tag
        self._settle()

    def flush(self) -> None:
        self.up.flush()
        self._settle()
        self.down.flush()

    def _settle(self) -> None:
        if self.accepted and self.unsettled and not self.process.host.cut_up:
            for earlier in [number for number in self.unsettled if number <= self._settled]:
                del self.unsettled[earlier]
            self.broker.pump(self)

    def end(self, *, power_cut: bool) -> None:
        """The node's side is closed, or dead."""
        self.up.close(keep=True)
        self.down.close(keep=False)
        self.broker.lingering.append(self.up)
        world = self.broker.world
        if power_cut or self.process.host.cut_up:
            world.after(world.random.uniform(*DETECTION_S), self.broker.drop, self)
        else:
            world.after(0.001, self.broker.drop, self)


@dataclass(slots=True)
class NodeQueue:
    """A secondary's durable queue: bounded, and full means that the oldest go."""

    items: deque[tuple[Envelope, float]]
    size: int = 0
    consumer: Session | None = None


class Broker:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.up = True
        self.alarm = False
        self.queues: dict[str, NodeQueue] = {}
        self.exclusive: dict[str, Session] = {}
        self.sessions: dict[str, Session] = {}
        self.lingering: list[Way] = []
        self._random = world.rng("broker")
        self._numbers = 0
        self._tags = 0

    def connect(self, process: "Process") -> Session | None:
        """A session for a node; None while there can't be one, perhaps because its old one has not been given up."""
        host = process.host
        if not self.up or host.cut_up or host.cut_down or process.name in self.sessions:
            return None
        self._numbers += 1
        session = self.sessions[process.name] = Session(self, process, self._numbers)
        return session

    def declare_exclusive(self, name: str, session: Session) -> None:
        self.exclusive[name] = session

    def consume(self, name: str, session: Session) -> None:
        """Declare a secondary's queue, unless it is there, and consume from it."""
        self.queues.setdefault(name, NodeQueue(deque())).consumer = session
        self.pump(session)

    def drop(self, session: Session) -> None:
        """The broker gives a session up: what was not settled goes back to where it was, in order."""
        if not session.accepted:
            return
        session.accepted = False
        if self.sessions.get(session.process.name) is session:
            del self.sessions[session.process.name]
        for name in [name for name, owner in self.exclusive.items() if owner is session]:
            del self.exclusive[name]
        for queue in self.queues.values():
            if queue.consumer is session:
                queue.consumer = None
                queue.items.extendleft(reversed(session.unsettled.values()))
                queue.size += sum(len(envelope.body) for envelope, _ in session.unsettled.values())
        if session.up.open:
            session.up.close(keep=False)
        session.down.send(session.process.session_lost, session)

    def fan_out(self, session: Session, confirm: int | None, envelope: Envelope) -> None:
        weather = self.world.plan.weather
        refused = confirm is not None and self.world.stormy and self._random.random() < weather.confirm_refused
        if not refused:
            for queue in self.queues.values():
                queue.items.append((envelope, self.world.now))
                queue.size += len(envelope.body)
                while queue.size > weather.queue_bytes:
                    queue.size -= len(queue.items.popleft()[0].body)
                if queue.consumer is not None:
                    self.pump(queue.consumer)
        if confirm is not None and not (self.world.stormy and self._random.random() < weather.confirm_lost):
            session.down.send(session.process.confirmed, session, confirm)

    def route(self, queue: str, envelope: Envelope) -> None:
        """The default exchange. Deliveries to queues that are no more vanish."""
        session = self.exclusive.get(queue)
        if session is not None:
            session.down.deliver(session.process.receive, session, 0, envelope)

    def pump(self, session: Session) -> None:
        prefetch = self.world.plan.weather.prefetch
        for queue in self.queues.values():
            if queue.consumer is not session:
                continue
            while queue.items and len(session.unsettled) < prefetch:
                envelope, since = queue.items.popleft()
                queue.size -= len(envelope.body)
                if envelope.expiration_s is not None and self.world.now - since > envelope.expiration_s:
                    continue
                self._tags += 1
                if session.down.deliver(session.process.receive, session, self._tags, envelope):
                    session.unsettled[self._tags] = (envelope, since)

    def purge(self, name: str) -> None:
        if (queue := self.queues.get(name)) is not None:
            queue.items.clear()
            queue.size = 0

    def delete_queue(self, name: str) -> None:
        """The consumer is cancelled, which ends its session."""
        queue = self.queues.pop(name, None)
        if queue is not None and queue.consumer is not None:
            self.drop(queue.consumer)

    def stop(self, *, lose_queues: bool, lose_contents: bool) -> None:
        self.up = False
        for session in list(self.sessions.values()):
            self.drop(session)
        if lose_queues:
            self.queues.clear()
        elif lose_contents:
            for name in self.queues:
                self.purge(name)

    def set_alarm(self, alarm: bool) -> None:
        """While there is an alarm, nothing is read from connections that publish."""
        self.alarm = alarm
        if not alarm:
            self.read_on()

    def read_on(self) -> None:
        """What stalled goes on, whichever connection comes first; those of dead processes may have something left."""
        ways = self.lingering + [session.up for session in self.sessions.values()]
        self._random.shuffle(ways)
        self.lingering.clear()
        for way in ways:
            way.flush()


def _damaged(envelope: Envelope, rng: Random) -> Envelope:
    """Batches have checksums, so any bit of them may flip; everything else is cut short."""
    body = envelope.body
    if envelope.kind not in {"batch", "fetched"} or not body:
        return replace(envelope, body=body[: len(body) // 2])
    place = rng.randrange(len(body))
    return replace(envelope, body=body[:place] + bytes([body[place] ^ 1 << rng.randrange(8)]) + body[place + 1 :])
