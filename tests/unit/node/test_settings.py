import pytest

from infra.broker.find import given_broker
from node.settings import InvalidSettingError, read_flag, read_node_settings, read_write_concern
from replicated_log.timings import DEFAULT, Timings


@pytest.mark.parametrize("asked", ["1", "3", "majority", "all"])
def test_the_default_write_concern_is_what_the_cluster_can_give(asked: str) -> None:
    assert read_write_concern({"REPLOG_DEFAULT_W": asked}, nodes=3) == asked


def test_without_the_setting_all_nodes_must_have_a_record() -> None:
    assert read_write_concern({}, nodes=3) == "all"


@pytest.mark.parametrize("asked", ["0", "4", "-1", "", "most", "2.0", "ALL"])
def test_a_default_that_no_append_could_reach_is_refused_at_the_start(asked: str) -> None:
    with pytest.raises(InvalidSettingError, match=r"REPLOG_DEFAULT_W.*1 to 3.*not "):
        read_write_concern({"REPLOG_DEFAULT_W": asked}, nodes=3)


@pytest.mark.parametrize(("text", "value"), [("1", True), ("on", True), ("", False), ("no", False)])
def test_a_flag_is_on_or_off(text: str, value: bool) -> None:
    assert read_flag({"REPLOG_ALLOW_SIMULATION": text}, "ALLOW_SIMULATION") is value
    with pytest.raises(InvalidSettingError, match="REPLOG_ALLOW_SIMULATION must be 1 or 0, not 'perhaps'"):
        read_flag({"REPLOG_ALLOW_SIMULATION": "perhaps"}, "ALLOW_SIMULATION")


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("amqp://a/", ("amqp://a/",)),
        (" amqps://u:p,w@a:5671/v  amqp://[::1]:5673/\n", ("amqps://u:p,w@a:5671/v", "amqp://[::1]:5673/")),
    ],
)
def test_the_broker_may_be_several(text: str, urls: tuple[str, ...]) -> None:
    assert read_node_settings({"REPLOG_AMQP_URL": text}, name="node1", http="127.0.0.1:0").amqp_urls == urls


@pytest.mark.parametrize("text", ["", " ", "localhost", "http://a/", "amqp://", "amqp://a/ b", "amqp://a:0/"])
def test_a_broker_that_is_no_url_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(InvalidSettingError, match="REPLOG_AMQP_URL must be like amqp://"):
        read_node_settings({"REPLOG_AMQP_URL": text}, name="node1", http="127.0.0.1:0")


@pytest.mark.parametrize(("environ", "amqp"), [({}, "fast"), ({"REPLOG_AMQP": "plain"}, "plain")])
def test_deliveries_go_the_fast_way_unless_the_plain_one_is_asked_for(environ: dict[str, str], amqp: str) -> None:
    assert read_node_settings(environ, name="node1", http="127.0.0.1:0").amqp == amqp


@pytest.mark.parametrize("text", ["", "slow", "FAST"])
def test_another_way_for_deliveries_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(InvalidSettingError, match="REPLOG_AMQP must be fast or plain, not "):
        read_node_settings({"REPLOG_AMQP": text}, name="node1", http="127.0.0.1:0")


def test_of_several_brokers_that_are_given_the_first_one_is_asked_how_it_is() -> None:
    broker = given_broker("amqp://user:secret@a:5671/ amqp://b/")
    assert (broker.management_url, broker.management_auth) == ("http://a:15672", ("user", "secret"))


@pytest.mark.parametrize(
    ("environ", "timings"),
    [
        ({}, DEFAULT),
        ({"REPLOG_HEALTH": "0.5,2"}, Timings.of(0.5, 2)),
        ({"REPLOG_HEALTH": " 6, 20 "}, Timings.of(6, 20)),
    ],
)
def test_all_time_outs_follow_from_when_a_node_is_suspected_and_unhealthy(
    environ: dict[str, str], timings: Timings
) -> None:
    assert read_node_settings(environ, name="node1", http="127.0.0.1:0").timings == timings


@pytest.mark.parametrize(
    "text", ["", "3", "3,10,20", "3;10", "10,3", "3,3", "0,10", "-1,10", "three,ten", "nan,10", "3,inf"]
)
def test_a_health_that_no_cluster_could_live_with_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(InvalidSettingError, match=r"^REPLOG_HEALTH"):
        read_node_settings({"REPLOG_HEALTH": text}, name="node1", http="127.0.0.1:0")
