"""`python -m infra.demo` (make demo): a replicated log at work on this machine, from nothing."""

import fcntl
import logging
import os
import shutil
import signal
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from infra.broker.broker import Broker, BrokerError, OwnBroker
from infra.broker.find import find_broker
from infra.demo.node import Node
from infra.demo.scenario import SCRIPT, DemoError, compare_logs, nodes, run_client, wait_until_healthy
from infra.demo.screen import Screen


def main() -> int:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    directory = Path("demo-data").absolute()
    screen = Screen()
    try:
        with alone(directory), terminal_restored():
            demonstrate(directory, screen)
    except (BrokerError, DemoError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def demonstrate(directory: Path, screen: Screen) -> None:
    shutil.rmtree(directory / "broker", ignore_errors=True)  # nothing depends on what a broker keeps
    screen.say("Looking for a RabbitMQ ...")
    with find_broker(
        directory / "broker", amqp_url=os.environ.get("REPLOG_AMQP_URL"), choice=os.environ.get("BROKER")
    ) as broker:
        screen.say(f"Found: {broker.description}. Starting the nodes ...")
        with nodes(broker, directory, os.environ, screen) as running:
            try:
                wait_until_healthy(running)
                introduce(broker, running, directory, screen)
                show(running, screen)
            finally:
                screen.logs_hidden = False
                screen.say(f"\nStopping. The messages stay in {directory}; make clean removes them.")


def show(running: Sequence[Node], screen: Screen) -> None:
    """The scripted part and, on a terminal, the free one. Raises DemoError when something is not as it should be."""
    if run_client(running, SCRIPT) != 0:
        raise DemoError("a message was not answered as it should")
    screen.say(f"\nThe three logs are equal: {compare_logs(running)} messages, in the same order.")
    if sys.stdin.isatty() and sys.stdout.isatty():
        screen.say("\nYour turn. The nodes' logs go on in " + ", ".join(str(node.log_file) for node in running))
        screen.logs_hidden = True
        run_client(running)


def introduce(broker: Broker, running: Sequence[Node], directory: Path, screen: Screen) -> None:
    """Say what runs where."""
    screen.say()
    for node in running:
        latency = f"acks are delayed by {node.part.latency_s} s" if node.part.latency_s else ""
        screen.say(f"  {node.part.name:<10}{node.url:<24}{latency}".rstrip())
    # A password that was given to us is not ours to show.
    password = f", password {broker.password}" if isinstance(broker, OwnBroker) else ""
    screen.say(f"  {'RabbitMQ':<10}{broker.management_url:<24}login {broker.user}{password}")
    screen.say(f"  {'data':<10}{directory}\n")


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold the demo's data directory. Raises DemoError when another demo does."""
    directory.mkdir(exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"another demo runs on {directory}") from None
        yield


@contextmanager
def terminal_restored() -> Iterator[None]:
    """Leave the terminal as it was: a client that is killed at its prompt would leave it without echo."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def stop(signum: int, _: FrameType | None) -> None:
    """On the first signal unwind, which stops every process that was started; ignore further ones meanwhile."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    sys.exit(main())
