"""`make demo` as a newcomer has it: `python -m infra.demo`, in a directory of its own."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from infra.broker.broker import wait_until
from infra.broker.child_process import stop_child
from infra.broker.docker import IMAGE, docker_problem
from tests.container_broker import AnyBroker
from tests.e2e.on_terminal import CTRL_C, CTRL_D, OnTerminal

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fixed_ports")]

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "infra.demo"]
PATIENCE_S = 180
"""How long a whole demo may take, RabbitMQ's installation included."""
LOG_LINE = re.compile(r"(?:master|node1|node2) +\| .*\n")


@pytest.fixture(params=["docker", "local"])
def own_broker(request: pytest.FixtureRequest) -> str:
    """What a demo that is to bring its own RabbitMQ gets as BROKER."""
    choice: str = request.param
    if choice == "docker" and os.environ.get("BROKER") == "local":
        pytest.skip("BROKER=local")
    if choice == "docker" and (problem := docker_problem(IMAGE)):
        pytest.skip(problem)
    return choice


@pytest.mark.heart
def test_the_demo_shows_three_write_concerns_and_three_equal_logs(tmp_path: Path) -> None:
    with Demo(tmp_path) as demo:
        assert demo.exit_code() == 0, demo.said()
    said = demo.said()
    seconds = [float(text) for text in re.findall(r"^Execution time: (\d+\.\d\d) seconds$", said, re.MULTILINE)]
    assert len(seconds) == 3
    assert all(blocked >= least for blocked, least in zip(seconds, (0, 1, 3), strict=True)), seconds
    assert holders(said) == [["master"], ["master", "node2"], ["master", "node1", "node2"]]
    assert [len(log) for log in logs(said)] == [3, 3, 3]
    assert_equal(logs(said))
    assert "The three logs are equal: 3 messages" in said
    assert re.search(r"RabbitMQ +http://127\.0\.0\.1:\d+ +login guest, password guest\n", said)
    assert all(
        re.search(rf"^{name} +\| .* serving HTTP at ", said, re.MULTILINE) for name in ("master", "node1", "node2")
    )
    assert str(tmp_path / "demo-data") in said
    demo.assert_nothing_is_left()


def test_a_second_demo_shows_the_messages_of_the_first(broker: AnyBroker, tmp_path: Path) -> None:
    shown = []
    for _ in range(2):
        with Demo(tmp_path, REPLOG_AMQP_URL=broker.amqp_url) as demo:
            assert demo.exit_code() == 0, demo.said()
        shown.append(logs(demo.said()))
        demo.assert_nothing_is_left()
    first, second = shown
    assert_equal(second)
    assert second[0][:3] == first[0]
    assert len(second[0]) == 6


def test_ctrl_c_stops_everything_that_the_demo_started(own_broker: str, tmp_path: Path) -> None:
    with Demo(tmp_path, BROKER=own_broker) as demo:
        demo.wait_until_it_says("Execution time")
        assert len(processes_in(tmp_path)) >= 6, "the demo, the broker's, three nodes, and the client"
        assert (demo.container in demo.said()) is (own_broker == "docker")
        demo.press_ctrl_c()
        assert demo.exit_code(timeout_s=30) == 128 + signal.SIGINT, demo.said()
    demo.assert_nothing_is_left()
    assert "Traceback" not in demo.said()


def test_ctrl_c_while_the_broker_starts_stops_it_too(own_broker: str, tmp_path: Path) -> None:
    with Demo(tmp_path, BROKER=own_broker) as demo:
        log = tmp_path / "demo-data" / "broker" / "broker.log"
        assert wait_until(log.exists, while_=demo.runs, timeout_s=PATIENCE_S), demo.said()
        demo.press_ctrl_c()
        assert demo.exit_code(timeout_s=30) == 128 + signal.SIGINT, demo.said()
    demo.assert_nothing_is_left()
    assert "Traceback" not in demo.said()


def test_a_demo_on_data_in_use_says_so_in_one_line(broker: AnyBroker, tmp_path: Path) -> None:
    with Demo(tmp_path, REPLOG_AMQP_URL=broker.amqp_url) as demo:
        demo.wait_until_it_says("Starting the nodes")
        second = subprocess.run(
            DEMO, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False
        )
        assert (second.returncode, second.stdout) == (1, "")
        assert second.stderr == f"demo: another demo runs on {tmp_path / 'demo-data'}\n"
        demo.press_ctrl_c()
        demo.exit_code()
    demo.assert_nothing_is_left()


def test_a_demo_without_a_broker_says_so_in_one_line(tmp_path: Path) -> None:
    with Demo(tmp_path, BROKER="docker", DOCKER_HOST=f"unix://{tmp_path}/nothing") as demo:
        assert demo.exit_code() == 1
    assert demo.said() == "Looking for a RabbitMQ ...\ndemo: no Docker engine answers\n"


@pytest.mark.parametrize("key", [pytest.param(CTRL_C, id="ctrl-c"), pytest.param(CTRL_D, id="ctrl-d")])
def test_on_a_terminal_the_demo_ends_with_the_client(broker: AnyBroker, tmp_path: Path, key: str) -> None:
    env = environment(tmp_path, REPLOG_AMQP_URL=broker.amqp_url)
    with OnTerminal(DEMO, env=env, cwd=tmp_path) as terminal:
        terminal.expect("The three logs are equal: 3 messages")
        terminal.expect("Your turn.")
        terminal.expect("\n>")
        terminal.type("w=2 from the terminal\r")
        terminal.expect("Appended at offset 3, w=2")
        terminal.expect("\n>")
        terminal.type(key)
        code, rest = terminal.ended()
        assert (code, "Traceback" in rest) == (0, False), rest
        assert str(tmp_path / "demo-data") in rest
    assert_no_process_is_left(tmp_path)


def test_on_a_terminal_ctrl_c_in_the_middle_stops_everything(broker: AnyBroker, tmp_path: Path) -> None:
    env = environment(tmp_path, REPLOG_AMQP_URL=broker.amqp_url)
    with OnTerminal(DEMO, env=env, cwd=tmp_path) as terminal:
        terminal.expect("Appended at offset 0")
        terminal.type(CTRL_C)
        code, rest = terminal.ended()
        assert (code, "Traceback" in rest) == (128 + signal.SIGINT, False), rest
    assert_no_process_is_left(tmp_path)


class Demo:
    """A demo without a terminal, its data and whatever it prints in `directory`."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self._directory = directory
        self._output = directory / "output"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                DEMO,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=directory,
                env=environment(directory, **settings),
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        stop_child(self._process, grace_s=30)

    def runs(self) -> bool:
        return self._process.poll() is None

    def said(self) -> str:
        return self._output.read_text()

    def wait_until_it_says(self, text: str) -> None:
        assert wait_until(lambda: text in self.said(), while_=self.runs, timeout_s=PATIENCE_S), self.said()

    def press_ctrl_c(self) -> None:
        """What a terminal does: SIGINT to the process group in the foreground."""
        os.killpg(self._process.pid, signal.SIGINT)

    def exit_code(self, timeout_s: float = PATIENCE_S) -> int:
        return self._process.wait(timeout_s)

    @property
    def container(self) -> str:
        """What its container is called, when its broker is one."""
        return f"replog-broker-{self._process.pid}"

    def assert_nothing_is_left(self) -> None:
        assert_no_process_is_left(self._directory)
        if docker_problem(IMAGE) is None:
            command = ["docker", "ps", "--all", "--quiet", "--filter", f"name={self.container}"]
            assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def environment(directory: Path, **settings: str) -> dict[str, str]:
    """This process's environment, without its own settings of nodes; PWD is true, and marks what the demo starts."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("REPLOG_")}
    return {**inherited, "PYTHONPATH": str(ROOT), "PWD": str(directory), **settings}


def assert_no_process_is_left(directory: Path) -> None:
    # Erlang's helpers end by themselves as soon as they see that their machine is gone.
    ended = wait_until(lambda: not processes_in(directory), while_=lambda: True, timeout_s=10)
    assert ended, processes_in(directory)


def processes_in(directory: Path) -> dict[int, bytes]:
    """The processes, zombies apart, that have `directory`, or one below it, for their PWD or HOME; by their id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or somebody else's
            variables = (process / "environ").read_bytes().split(b"\0")
            places = [variable.partition(b"=")[2] for variable in variables if variable.startswith((b"PWD=", b"HOME="))]
            if any(Path(os.fsdecode(place)).is_relative_to(directory) for place in places):
                found[int(process.name)] = (process / "cmdline").read_bytes()
    return found


def holders(said: str) -> list[list[str]]:
    """Of each answer, the nodes that held the message, by name."""
    return [sorted(re.findall(r"(\w+) \(", line)) for line in re.findall(r"held by (.*)\.$", said, re.MULTILINE)]


def logs(said: str) -> list[list[str]]:
    """The lists that the client showed, each as its lines."""
    client = LOG_LINE.sub("", said)
    lists = re.findall(r"^\w+ \(http://\S+\): \d+ messages\n((?: +\d+  .*\n)*)", client, re.MULTILINE)
    return [lines.splitlines() for lines in lists]


def assert_equal(logs: list[list[str]]) -> None:
    assert len(logs) == 3
    assert logs[0] == logs[1] == logs[2]
