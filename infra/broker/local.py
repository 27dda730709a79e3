"""A private RabbitMQ as a child process: for the demo, tests and benchmarks where there is no Docker."""

import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from infra.broker.broker import SETTINGS, BrokerError, OwnBroker, end_of, wait_until
from infra.broker.child_process import kill_child, start_child, stop_child
from infra.broker.free_ports import free_ports
from infra.broker.rabbitmq_server import find_or_install, find_program


class LocalBroker(OwnBroker):
    """A RabbitMQ of our own, with the management plugin, that nobody outside this machine can reach.

    Data, cookie and log are in `directory`. Each listening socket is on loopback: AMQP, management, Erlang's
    distribution, and a private epmd (Erlang's port mapper). Ports are chosen once, so the URLs stay valid over
    `restart` and `kill`. Broker and epmd end with `stop`, and also when this process dies. All methods block.

    Several make a cluster: the others are `beside` the first, whose epmd and cookie they use. Each of the others joins
    when it starts for the first time; the first must run then, and be stopped last.
    """

    def __init__(self, directory: Path, *, name: str = "replog", beside: "LocalBroker | None" = None) -> None:
        """Nothing runs yet. Raises BrokerError when there is no rabbitmq-server and none can be installed.

        `name` is that of the Erlang node: one of its own for each in a cluster.
        """
        self._program = find_or_install()
        self._directory = directory.absolute()
        self._log = self._directory / "broker.log"
        self._node = f"{name}@localhost"
        self._first = beside or self
        self._amqp_port, self._management_port, self._distribution_port, self._epmd_port = free_ports(4)
        self._server: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        super().__init__(
            amqp_url=f"amqp://guest:guest@127.0.0.1:{self._amqp_port}/",
            management_url=f"http://127.0.0.1:{self._management_port}",
            user="guest",
            password="guest",
            description=f"private child process of {self._program}",
        )

    def start(self) -> None:
        assert self._server is None, "the broker runs already"
        self._write_files()
        try:
            with self._log.open("ab") as log:
                self._start_epmd(log)
                self._start_server(log)
        except BaseException:
            self.stop()
            raise

    def stop(self, grace_s: float = 3) -> None:
        """Stop the broker, by force after `grace_s`, and its epmd. On return both are gone."""
        # It flushes its data in the first moment, but Debian's 3.10 then waits 5 s for a statistics handler.
        if self._server:
            stop_child(self._server, grace_s=grace_s)
            self._server = None
        if self._epmd:
            kill_child(self._epmd)
            self._epmd = None

    def restart(self) -> None:
        """A clean stop, then a start with the same data at the same addresses."""
        self.stop(grace_s=30)
        self.start()

    def kill(self) -> None:
        """kill -9 the broker; `start` brings it back with what it had on disk."""
        if self._server:
            kill_child(self._server)
            self._server = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP the broker; SIGCONT when leaving the context."""
        assert self._server, "the broker does not run"
        self._server.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._server.send_signal(signal.SIGCONT)

    def ctl(self, *arguments: str) -> None:
        """rabbitmqctl, which must succeed."""
        program = find_program("rabbitmqctl")
        if program is None:
            raise BrokerError("rabbitmqctl is not on the PATH")
        command = [str(program), *arguments]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BrokerError(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")

    def _start_epmd(self, log: IO[bytes]) -> None:
        # Started by us, its process is ours to end: the one that Erlang would start is a daemon, and stays.
        if self._epmd or self._first is not self:
            return
        program = find_program("epmd")
        if program is None:
            raise BrokerError("Erlang's epmd is not on the PATH")
        self._epmd = epmd = start_child([program], output=log, env=self._environment())
        if not wait_until(lambda: _accepts(self._epmd_port), while_=lambda: epmd.poll() is None, timeout_s=10):
            raise BrokerError(f"epmd did not come up; {self._log} ends with\n{end_of(self._log)}")

    def _start_server(self, log: IO[bytes]) -> None:
        self._server = server = start_child([self._program], output=log, env=self._environment())
        if not wait_until(self.is_ready, while_=lambda: server.poll() is None, timeout_s=90):
            raise BrokerError(f"rabbitmq-server did not come up; {self._log} ends with\n{end_of(self._log)}")

    def _write_files(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        cookie = self._first._directory / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(secrets.token_hex(16))
            cookie.chmod(0o400)
        (self._directory / "enabled_plugins").write_text("[rabbitmq_management].\n")
        (self._directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self._amqp_port}\n"
            "management.tcp.ip = 127.0.0.1\n"
            f"management.tcp.port = {self._management_port}\n" + SETTINGS.read_text() + self._cluster_formation()
        )

    def _cluster_formation(self) -> str:
        """The nodes of the cluster, for one that joins, itself included. The first gets no list, and waits for none."""
        if self._first is self:
            return ""
        nodes = enumerate((self._first._node, self._node), start=1)
        return "".join(f"cluster_formation.classic_config.nodes.{number} = {node}\n" for number, node in nodes)

    def _environment(self) -> dict[str, str]:
        """All of the broker's environment: nothing is inherited but the PATH, nothing read from /etc/rabbitmq."""
        directory = self._directory
        return {
            "PATH": os.pathsep.join(os.get_exec_path()),
            "HOME": str(self._first._directory),  # where Erlang looks for the cookie
            "LANG": "C.UTF-8",
            "RUNNING_UNDER_SYSTEMD": "true",  # the start script becomes the broker, so that our signals reach it
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_CONF_ENV_FILE": str(directory / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(directory / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "ERL_CRASH_DUMP": str(directory / "erl_crash.dump"),
            "ERL_EPMD_PORT": str(self._first._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }


def _accepts(port: int) -> bool:
    try:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
            return True
    except OSError:
        return False
