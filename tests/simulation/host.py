"""Virtual machines, and what the processes on them have in common."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from replicated_log.secondary.decisions import Persist
from replicated_log.wire.delivery import Envelope
from tests.simulation.broker import Session
from tests.simulation.history import Read, Wiped
from tests.simulation.model_log import ModelDisk, ModelLog
from tests.simulation.plan import Node

if TYPE_CHECKING:
    from tests.simulation.world import World

RETRY_S: Final = 0.4


class Host:
    """A machine: its disk, its network, and the process that runs on it, if any."""

    def __init__(self, world: "World", node: Node, start: Callable[["Host"], "Process"]) -> None:
        self.world = world
        self.node = node
        self.name = node.name
        self.disks = 0
        self.cut_up = self.cut_down = False
        self.process: Process | None = None
        self._start = start
        self.disk = self.new_disk()

    def new_disk(self, copy_of: ModelDisk | None = None) -> ModelDisk:
        """An empty disk in place of the one before, or a copy."""
        if self.disks:
            self.world.record(Wiped(self.world.now, self.disk.label))
        self.disks += 1
        label = f"{self.name}/{self.disks}"
        self.disk = copy_of.copy(label) if copy_of else ModelDisk(label, self.world.fresh_id)
        self.disk.on_durable = self.world.durable
        self.world.labels.setdefault(self.disk.disk_id, label)
        return self.disk

    def start(self) -> None:
        if self.process is None:
            self.world.opened(self.disk)
            self.process = self._start(self)
            self.process.reconnect()

    def crash(self, *, power_cut: bool) -> None:
        if self.process is not None:
            process, self.process = self.process, None
            process.end(power_cut=power_cut)
            if power_cut:
                self.disk.cut_power()

    def heal(self) -> None:
        """The network is whole again."""
        self.cut_up = self.cut_down = False
        self.world.broker.read_on()
        self.flush()

    def flush(self) -> None:
        if self.process is not None and self.process.session is not None:
            self.process.session.flush()


class Process(Protocol):
    """One life of a node."""

    host: Host
    name: str
    paused: bool
    session: Session | None
    log: ModelLog

    def reconnect(self) -> None: ...
    def receive(self, session: Session, tag: int, envelope: Envelope, /) -> None: ...
    def confirmed(self, session: Session, number: int, /) -> None: ...
    def session_lost(self, session: Session) -> None: ...
    def give_up_session(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def end(self, *, power_cut: bool) -> None: ...
    def read(self) -> Read: ...


class Driver:
    """What both kinds of process have in common: time that stops in a pause, a session, and a thread for the disk."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.name = host.name
        self.world = host.world
        self.log = ModelLog(host.disk)
        self.paused = False
        self.session: Session | None = None
        self._alive = True
        self._random = self.world.rng(f"{host.name} {self.world.now}")
        self._began = self.world.now - self._random.uniform(0, 1000)
        self._backlog: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._writing: Persist | None = None

    @property
    def clock(self) -> float:
        """This process's monotonic clock, in seconds."""
        return self.world.now - self._began

    def after(self, delay: float, call: Callable[..., None], *arguments: Any) -> None:
        self.world.after(delay, self._run, call, arguments)

    def _run(self, call: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if self.paused:
            self._backlog.append((call, arguments))
        elif self._alive:
            call(*arguments)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self.host.flush()
            backlog, self._backlog = self._backlog, deque()
            for call, arguments in backlog:
                self.after(0, call, *arguments)

    def end(self, *, power_cut: bool) -> None:
        """The process dies, perhaps in the middle of a commit."""
        self._alive = False
        if self.session is not None:
            self.session.end(power_cut=power_cut)
            self.session = None
        if self._writing is not None and not self.host.disk.full:
            adopt, epoch, batches = self._writing.adopt, self._writing.epoch, self._writing.batches
            dice = self._random.random()
            if dice < 0.3:
                self.log.append(batches, adopt=adopt, epoch=epoch)
            elif dice < 0.6:
                self.host.disk.write(batches, adopt=adopt, epoch=epoch)

    def _disk_time(self) -> float:
        weather = self.world.plan.weather
        if self.world.stormy and self._random.random() < weather.slow_disk:
            return self._random.uniform(0.1, 2)
        return self._random.expovariate(1 / weather.disk_delay)

    def reconnect(self) -> None:
        self.after(RETRY_S * self._random.random(), self._connect)

    def _connect(self) -> None:
        if self.session is not None:
            return
        session = self.world.broker.connect(self)
        if session is None:
            self.reconnect()
        else:
            self.session = session
            self._connected(session)

    def session_lost(self, session: Session) -> None:
        """The broker has closed the session, or it was found dead."""
        if session is self.session:
            session.end(power_cut=False)
            self.session = None
            self._disconnected()
            self.reconnect()

    def give_up_session(self) -> None:
        """Silence has lasted too long."""
        if self.session is not None:
            self.session_lost(self.session)

    def _connected(self, session: Session) -> None:
        raise NotImplementedError

    def _disconnected(self) -> None:
        raise NotImplementedError

    def receive(self, session: Session, tag: int, envelope: Envelope, /) -> None:
        raise NotImplementedError

    def confirmed(self, session: Session, number: int, /) -> None:
        raise NotImplementedError

    def read(self) -> Read:
        raise NotImplementedError
