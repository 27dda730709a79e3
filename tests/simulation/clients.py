"""Clients: they append, ask, read, and go on with it while the cluster heals."""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.simulation.checker_logs import READ_ONLY_WITHIN_S
from tests.simulation.history import Answered, Broken, End, Event, Refused, Request, Stuck, TimedOut
from tests.simulation.master_node import Master, key_of
from tests.simulation.plan import FAULTS_END_S, Append, Ask, Operation, ReadAll

if TYPE_CHECKING:
    from tests.simulation.faults import Faults
    from tests.simulation.world import World

HEALING_S: Final = 30.0
"""Bound for the cluster to catch up under load when the faults have ended; and again, to become equal without."""
OPERATOR_S: Final = 13.0
"""How long an operator looks on before restoring a master: by then all have connected, and told what they hold."""
OPERATOR_LOOKS_S: Final = 2.0
DRILL_DOWN_S: Final = 4.0
BROKEN_AFTER_S: Final = 1.0
"""So long after its own timeout does a client with a key give up hope of an answer."""
POLL_S: Final = 0.25


class Clients:
    def __init__(self, world: "World", faults: "Faults") -> None:
        self.world = world
        self.faults = faults
        self._random = world.rng("clients")
        self._requests: dict[int, Append] = {}
        self._placed: list[tuple[Append, int]] = []
        self._number = 10_000
        self._keyed: set[int] = set()
        self._insisting = 0
        self._probe: int | None = None
        self._goal = 0
        self._deadline = 0.0
        self._loading = True
        for operation in world.plan.operations:
            world.at(operation.time, self._do, operation)
        world.at(FAULTS_END_S, self._heal)

    def hear(self, event: Event) -> None:
        """What the client of an operation is told."""
        match event:
            case Answered(_, op, offset):
                self._placed.append((self._requests[op], offset))
                if op == self._probe:
                    self._probe = None
            case TimedOut(_, op, int(offset)):
                self._placed.append((self._requests[op], offset))
        if isinstance(event, Refused | TimedOut) and event.op == self._probe:
            self.world.after(0.5, self._send_probe)
        if isinstance(event, Answered | Refused | TimedOut | Broken) and event.op in self._keyed:
            self._keyed.remove(event.op)
            self._insist(event, self._requests[event.op])

    def _insist(self, event: Answered | Refused | TimedOut | Broken, append: Append) -> None:
        """Who has a key asks again and again, until there is an answer that no more asking would change."""
        ahead = append.ahead
        match event:
            case Answered() | Refused(_, _, "key reused"):
                return
            case Refused(_, _, "end mismatch"):
                if self._random.random() < 0.5:
                    return
                ahead = self._random.choice((None, 0, 0))
            case TimedOut(_, _, int()):
                if self._random.random() < 0.5:
                    return
        self._number += 1
        self._insisting += 1
        w = self._random.randint(1, len(self.world.plan.secondaries) + 1)
        timeout = self._random.choice((0.5, 2, 5))
        again = replace(append, number=self._number, w=w, timeout=timeout, ahead=ahead)
        self.world.after(self._random.choice((0.01, 0.5, 2, 5)) * self._random.random(), self._ask_again, again)

    def _ask_again(self, append: Append) -> None:
        self._insisting -= 1
        self._append(append)

    def _give_up(self, op: int) -> None:
        """Nothing came: the connection must be broken."""
        if op in self._keyed:
            self.world.tell_client(Broken(self.world.now, op))

    def forget_offsets(self) -> None:
        """The master has lost its past: nobody asks for what was before."""
        self._placed.clear()

    def _do(self, operation: Operation) -> None:
        match operation:
            case Append():
                self._append(operation)
            case Ask():
                self._ask(operation)
            case ReadAll(_, node):
                self._read(node)

    def _append(self, append: Append) -> None:
        world = self.world
        number = append.number
        messages = tuple(f"m{append.body or number}.{part}" for part in range(append.messages))
        if_end = None if append.ahead is None else max(len(world.master.disk.records) + append.ahead, 0)
        self._requests[number] = append
        world.record(Request(world.now, number, messages, append.w, key_of(append), if_end))
        if append.key:
            self._keyed.add(number)
            world.after(append.timeout + BROKEN_AFTER_S, self._give_up, number)
        master = world.master.process
        if isinstance(master, Master):
            master.after(0, master.append, append, messages, if_end)
        else:
            world.tell_client(Refused(world.now, number, "down"))

    def _ask(self, ask: Ask) -> None:
        master = self.world.master.process
        if self._placed and isinstance(master, Master) and not master.paused:
            append, offset = self._placed[-1 - int(ask.pick**2 * len(self._placed))]
            master.ask(append.number, offset + append.messages - 1, ask.w)

    def _read(self, name: str) -> None:
        process = self.world.hosts[name].process
        if process is not None and not process.paused:
            self.world.record(process.read())

    def _heal(self) -> None:
        self.faults.end()
        self._load()
        if self.faults.past_lost:
            self.world.after(OPERATOR_S, self._operate)
        elif self.world.plan.drill:
            self.world.after(OPERATOR_S, self._drill)
        else:
            self._set_goal()

    def _drill(self) -> None:
        """By now everybody is connected. The master stays down until all that was published has been announced."""
        self.world.master.crash(power_cut=False)
        self.world.after(DRILL_DOWN_S, self._drill_on)

    def _drill_on(self) -> None:
        self.faults.drill()
        self._number += 1
        self._append(Append(self.world.now, self._number, 1, 1, 5.0))
        self.world.after(OPERATOR_LOOKS_S + READ_ONLY_WITHIN_S, self._operate)

    def _operate(self, seen: tuple[int, ...] = (), waits: int = 5) -> None:
        """Look again as long as a secondary still works off its queue: what it holds is what is to be saved."""
        ends = tuple(len(host.disk.records) for host in self.world.receivers)
        if waits and ends != seen:
            self.world.after(OPERATOR_LOOKS_S, self._operate, ends, waits - 1)
            return
        self.forget_offsets()
        self.faults.operate()
        self._set_goal()

    def _load(self) -> None:
        """Clients go on, until every node has what was there when the faults ended."""
        if self._loading and self.world.plan.load:
            self._number += 1
            w = self._random.randint(1, len(self.world.plan.secondaries) + 1)
            self._append(Append(self.world.now, self._number, 1, w, 5.0))
            self.world.after(self._random.expovariate(self.world.plan.load), self._load)

    def _set_goal(self) -> None:
        self._goal = len(self.world.master.disk.records)
        self._deadline = self.world.now + HEALING_S
        self._await_goal()

    def _await_goal(self) -> None:
        world = self.world
        behind = [host.name for host in world.receivers if len(host.disk.records) < self._goal]
        if not behind:
            self._loading = False
            self._deadline = world.now + HEALING_S
            self._send_probe()
            self._await_end()
        elif world.now > self._deadline:
            world.record(Stuck(world.now, f"{behind} have not caught up under load, {HEALING_S} s after the faults"))
            world.over = True
        else:
            world.after(POLL_S, self._await_goal)

    def _send_probe(self) -> None:
        """The last append is for all nodes, and is answered."""
        self._number += 1
        self._probe = self._number
        self._append(Append(self.world.now, self._number, 1, len(self.world.plan.secondaries) + 1, 15.0))

    def _await_end(self) -> None:
        world = self.world
        end = len(world.master.disk.records)
        behind = [host.name for host in world.receivers if len(host.disk.records) != end]
        waiting = self._probe is not None or self._keyed or self._insisting
        if not behind and not waiting:
            for host in world.hosts.values():
                assert host.process is not None
                world.record(host.process.read())
            world.record(End(world.now))
            world.over = True
        elif world.now > self._deadline:
            world.record(Stuck(world.now, f"{behind or 'a client'} still waits, {HEALING_S} s after faults and load"))
            world.over = True
        else:
            world.after(POLL_S, self._await_end)
