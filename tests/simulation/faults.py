"""What is done to a cluster, and the operator who mends it."""

from typing import TYPE_CHECKING

from replicated_log.wire.delivery import ReignId
from tests.simulation.broker import DETECTION_S
from tests.simulation.history import Fault, PastLost, Restored, Settled
from tests.simulation.host import Host
from tests.simulation.master_node import Master
from tests.simulation.plan import Harm
from tests.simulation.secondary_node import Secondary

if TYPE_CHECKING:
    from tests.simulation.world import World


class Faults:
    """Each public method that takes a Harm does one kind of harm, and undoes it after the harm's duration."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.past_lost = False
        self.away: list[Host] = []
        for harm in world.plan.harms:
            world.at(harm.time, self._do, harm)

    def _do(self, harm: Harm) -> None:
        if self.world.stormy:
            self.world.record(Fault(self.world.now, str(harm)))
            getattr(self, harm.kind)(harm)

    def crash(self, harm: Harm) -> None:
        host = self.world.hosts[harm.node]
        self._crash(host, harm)
        self.world.after(harm.duration, self._start, host)

    def wipe(self, harm: Harm) -> None:
        host = self.world.hosts[harm.node]
        self._crash(host, harm)
        host.new_disk()
        self.world.after(harm.duration, self._start, host)

    def lose_past(self, harm: Harm) -> None:
        """The master comes back on an older copy of its disk, or, now and then, on an empty one."""
        if self.past_lost:
            return
        self.past_lost = True
        host = self.world.master
        self._crash(host, harm)
        batches = len(host.disk.batches)
        keep = 0 if harm.how < 0.2 else batches - int(batches * (1 - harm.how) * 0.2)
        self._keep(keep, 1 if harm.how > 0.6 else 0, calm=False)
        self.world.after(harm.duration, self._start, host)

    def drill(self) -> None:
        """After the faults, the master comes back on an older copy, while all others wait for it."""
        host = self.world.master
        self.past_lost = True
        keep = len(host.disk.batches) - self.world.random.randint(0, 3)
        self._keep(max(keep, 0), self.world.random.randint(0, 1), calm=True)
        host.start()

    def _keep(self, batches: int, epochs: int, *, calm: bool) -> None:
        """The master has an old copy of its disk instead, of so many batches, and so many epochs ago."""
        host = self.world.master
        disk = host.new_disk(host.disk if batches else None)
        if batches:
            disk.forget_after(batches, epochs)
        self.world.past_lost(PastLost(self.world.now, disk.label, len(disk.records), calm))

    def absent(self, harm: Harm) -> None:
        """A secondary is down, and wiped, until the operator has done everything."""
        host = self.world.hosts[harm.node]
        self._crash(host, harm)
        host.new_disk()
        self.away.append(host)

    def start_over(self, harm: Harm) -> None:
        """All data directories are wiped to begin a new log, while the broker keeps its queues."""
        if self.past_lost:
            return
        self.past_lost = True
        for host in self.world.receivers:
            self._crash(host, harm)
            host.new_disk()
        self.world.after(harm.how * 2, self._start_over, harm)

    def _start_over(self, harm: Harm) -> None:
        host = self.world.master
        self._crash(host, harm)
        disk = host.new_disk()
        self.world.past_lost(PastLost(self.world.now, disk.label, 0))
        host.start()
        for receiver in self.world.receivers:
            receiver.crash(power_cut=False)
            receiver.new_disk()
            self.world.after(harm.duration, self._start, receiver)

    def pause(self, harm: Harm) -> None:
        process = self.world.hosts[harm.node].process
        if process is not None and not process.paused:
            process.pause()
            self.world.after(harm.duration, process.resume)
            session = process.session
            if session is not None and harm.duration > DETECTION_S[0] * (1 + harm.how):
                self.world.after(DETECTION_S[0] * (1 + harm.how), self.world.broker.drop, session)

    def cut(self, harm: Harm) -> None:
        host = self.world.hosts[harm.node]
        host.cut_up = host.cut_down = True
        self._mend_later(host, harm)

    def cut_up(self, harm: Harm) -> None:
        host = self.world.hosts[harm.node]
        host.cut_up = True
        self._mend_later(host, harm)

    def cut_down(self, harm: Harm) -> None:
        host = self.world.hosts[harm.node]
        host.cut_down = True
        self._mend_later(host, harm)

    def disconnect(self, harm: Harm) -> None:
        host = self.world.hosts[harm.node]
        if host.process is None or host.process.session is None:
            return
        if harm.how < 0.5:
            host.process.give_up_session()
        else:
            self.world.broker.drop(host.process.session)

    def fill_disk(self, harm: Harm) -> None:
        disk = self.world.hosts[harm.node].disk
        disk.full = True
        self.world.after(harm.duration, setattr, disk, "full", False)

    def purge(self, harm: Harm) -> None:
        self.world.broker.purge(harm.node)

    def delete_queue(self, harm: Harm) -> None:
        self.world.broker.delete_queue(harm.node)

    def restart_broker(self, harm: Harm) -> None:
        self.world.broker.stop(lose_queues=harm.how < 0.3, lose_contents=harm.how < 0.6)
        self.world.after(harm.duration, self._start_broker)

    def alarm(self, harm: Harm) -> None:
        self.world.broker.set_alarm(True)
        self.world.after(harm.duration, self.world.broker.set_alarm, False)

    def end(self) -> None:
        """Everything is as it should be, but for what the faults have left."""
        world = self.world
        world.record(Fault(world.now, "the faults end"))
        world.stormy = False
        world.broker.up = True
        for host in world.hosts.values():
            host.disk.full = False
            if host not in self.away:
                host.start()
            if host.process is not None:
                host.process.resume()
            host.heal()
        world.broker.set_alarm(False)

    def operate(self) -> None:
        """After the master has lost its past: restore it if it is read-only, and set aside what isn't its log."""
        world = self.world
        process = world.master.process
        assert isinstance(process, Master)
        if process.reign.progress.conflict is not None:
            self._restore()
        else:
            world.record(Settled(world.now, world.master.disk.label))
        disk = world.master.disk
        for host in world.receivers:
            # Whoever holds no record follows any master; the operator has nothing to do there.
            strange = host.disk.log_id not in {None, disk.log_id}
            if (strange and host.disk.records) or host.disk.records != disk.records[: len(host.disk.records)]:
                world.record(Fault(world.now, f"the operator sets the log of {host.name} aside"))
                host.crash(power_cut=False)
                host.new_disk()
            host.start()

    def _restore(self) -> None:
        """Copy the longest log of a configured secondary, and begin above every epoch seen."""
        world = self.world
        world.record(Fault(world.now, "the operator restores the master"))
        configured = world.receivers[: len(world.plan.secondaries)]
        source = max((host.disk for host in configured), key=lambda disk: len(disk.records))
        epochs = [host.disk.epoch for host in world.hosts.values()]
        epochs += [reign.epoch for host in world.receivers if (reign := _followed(host))]
        world.master.crash(power_cut=False)
        disk = world.master.new_disk(source)
        disk.disk_id = world.fresh_id()
        disk.epoch = max(epochs)
        world.record(Restored(world.now, disk.label, source.label))
        world.master.start()

    def _crash(self, host: Host, harm: Harm) -> None:
        host.crash(power_cut=harm.how < self.world.plan.weather.power_cut)

    def _start(self, host: Host) -> None:
        if host in self.away:
            return
        if host.name not in self.world.plan.late or not self.world.stormy:
            host.start()

    def _start_broker(self) -> None:
        self.world.broker.up = True

    def _mend_later(self, host: Host, harm: Harm) -> None:
        """Both ends find out, after some time, that a connection is dead, unless it is mended before."""
        world = self.world
        process = host.process
        session = process.session if process is not None else None
        if process is not None and session is not None:
            first, last = DETECTION_S
            seen_at = first + (last - first) * harm.how
            if host.cut_up and harm.duration > seen_at:
                world.after(seen_at, world.broker.drop, session)
            if host.cut_down and harm.duration > last - seen_at + first:
                world.after(last - seen_at + first, process.session_lost, session)
        world.after(harm.duration, host.heal)


def _followed(host: Host) -> ReignId | None:
    return host.process.intake.reign if isinstance(host.process, Secondary) else None
