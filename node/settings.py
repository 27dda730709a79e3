"""A node's settings, read from an environment that is passed in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from infra.rabbitmq.choice import FAST, WAYS
from replicated_log.timings import DEFAULT, Timings
from replicated_log.write_concern import ALL, InvalidWriteConcernError, resolve

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_FLAGS: Final = {
    **dict.fromkeys(("", "0", "false", "no", "off"), False),
    **dict.fromkeys(("1", "true", "yes", "on"), True),
}
MAX_DELAY_S: Final = 3600.0


class InvalidSettingError(ValueError):
    """Raised when a setting can't be used; says which, and why."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What every node needs to know."""

    name: str
    data: Path
    http_host: str
    http_port: int
    amqp_urls: tuple[str, ...]
    amqp: str
    """Which way deliveries go: one of :data:`infra.rabbitmq.choice.WAYS`."""
    log_name: str
    log_level: str
    timings: Timings


def read_node_settings(environ: Mapping[str, str], *, name: str, http: str) -> NodeSettings:
    """The settings of a node whose name and listen address are ``name`` and ``http`` unless set."""
    name = check_name("REPLOG_NAME", environ.get("REPLOG_NAME", name))
    host, _, port = environ.get("REPLOG_HTTP", http).rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidSettingError(f"REPLOG_HTTP must be host:port, not {environ.get('REPLOG_HTTP')!r}")
    log_level = environ.get("REPLOG_LOG_LEVEL", "info").lower()
    if log_level not in _LOG_LEVELS:
        raise InvalidSettingError(f"REPLOG_LOG_LEVEL must be one of {', '.join(_LOG_LEVELS)}, not {log_level!r}")
    amqp = environ.get("REPLOG_AMQP", FAST)
    if amqp not in WAYS:
        raise InvalidSettingError(f"REPLOG_AMQP must be {' or '.join(WAYS)}, not {amqp!r}")
    log_name = check_name("REPLOG_LOG", environ.get("REPLOG_LOG", "main"))
    if "." in log_name:
        raise InvalidSettingError(f"REPLOG_LOG: {log_name!r} has a dot, which would mix its names with another log's")
    return NodeSettings(
        name=name,
        data=Path(environ.get("REPLOG_DATA", f"data/{name}")),
        http_host=host.strip("[]"),
        http_port=int(port),
        amqp_urls=_read_amqp_urls(environ),
        amqp=amqp,
        log_name=log_name,
        log_level=log_level,
        timings=_read_timings(environ),
    )


def read_names(environ: Mapping[str, str], variable: str) -> tuple[str, ...]:
    """Names separated by commas or blanks; ``REPLOG_<variable>`` goes before the seed's ``<variable>``."""
    names = re.split(r"[,\s]+", _either(environ, variable, "").strip(", \t\n"))
    names = [check_name(variable, name) for name in names if name]
    if len(set(names)) != len(names):
        raise InvalidSettingError(f"{variable} names a node twice: {' '.join(names)}")
    return tuple(names)


def read_delay(environ: Mapping[str, str], variable: str) -> float:
    """Seconds, 0 to MAX_DELAY_S; ``REPLOG_<variable>`` goes before the seed's ``<variable>``."""
    text = _either(environ, variable, "0")
    try:
        delay = float(text)
    except ValueError:
        delay = -1.0
    if not 0 <= delay <= MAX_DELAY_S:
        raise InvalidSettingError(f"{variable} must be seconds from 0 to {MAX_DELAY_S:.0f}, not {text!r}")
    return delay


def read_write_concern(environ: Mapping[str, str], nodes: int) -> str:
    """``REPLOG_DEFAULT_W``, all by default: what a cluster of ``nodes`` can give, in the operator's words."""
    asked = environ.get("REPLOG_DEFAULT_W", ALL)
    try:
        resolve(asked, nodes)
    except InvalidWriteConcernError as error:
        raise InvalidSettingError(f"REPLOG_DEFAULT_W, with the nodes of NODE_NAMES and the master: {error}") from error
    return asked


def read_flag(environ: Mapping[str, str], variable: str) -> bool:
    """Off unless ``REPLOG_<variable>`` is 1, true, yes or on."""
    text = environ.get(f"REPLOG_{variable}", "").lower()
    if text not in _FLAGS:
        raise InvalidSettingError(f"REPLOG_{variable} must be 1 or 0, not {text!r}")
    return _FLAGS[text]


def _read_timings(environ: Mapping[str, str]) -> Timings:
    """After how many seconds of silence a node is suspected, and after how many it is unhealthy."""
    text = environ.get("REPLOG_HEALTH", f"{DEFAULT.suspected_s:g},{DEFAULT.unhealthy_s:g}")
    try:
        suspected_s, unhealthy_s = map(float, text.split(","))
    except ValueError as error:
        raise InvalidSettingError(f"REPLOG_HEALTH must be suspected,unhealthy in seconds, not {text!r}") from error
    try:
        return Timings.of(suspected_s, unhealthy_s)
    except ValueError as error:
        raise InvalidSettingError(f"REPLOG_HEALTH, not {text!r}: {error}") from error


def _read_amqp_urls(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The brokers, separated by blanks: one, or those of a cluster."""
    urls = tuple(environ.get("REPLOG_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/").split())
    if not urls or not all(map(_is_amqp_url, urls)):
        # The text does not quote the URL at fault, which may have a password in it.
        raise InvalidSettingError("REPLOG_AMQP_URL must be like amqp://user:password@host:5672/ or amqps://...")
    return urls


def _is_amqp_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in {"amqp", "amqps"} and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        return False


def check_name(variable: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidSettingError(f"{variable}: {name!r} is no name (letters, digits, inside also '_.-'; up to 64)")
    return name


def _either(environ: Mapping[str, str], variable: str, default: str) -> str:
    return environ.get(f"REPLOG_{variable}", environ.get(variable, default))
