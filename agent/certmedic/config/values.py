"""The parsers of the configuration's values: TOML's value -> the agent's value.

Each raises ValueError with what is allowed, which is also the best description of the parser.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certmedic.core import planes
from certmedic.core.means import Means
from certmedic.core.model import Cause, MessageKind, Pager, Route, Severity
from certmedic.core.planes import RESTARTABLE
from certmedic.core.text import given, nearest
from certmedic.core.window import Window
from certmedic.core.window import parse as parse_window

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

PLANES = tuple(planes.PLANES)
# The conditions of a route. Nobody gets information, the end of an action is no message, and a digest concerns many incidents.
ROUTE: Mapping[str, tuple[str, ...]] = {
    "severity": tuple(level for level in Severity if level is not Severity.INFO),
    "cause": tuple(Cause),
    "plane": PLANES,
    "event": tuple(kind for kind in MessageKind if kind not in (MessageKind.ACTED, MessageKind.DIGEST)),
}
PAGER = ("service", "key", "region", "routing", "tag")
SERVICES = ("pagerduty", "opsgenie", "splunk")
MEANS = ("for", "group", "unit", "command", "renews")


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that cannot be printed by accident; `reveal` is the only way to it."""

    _value: str = field(repr=False)

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __str__(self) -> str:
        return "<secret>"

    def __repr__(self) -> str:
        return "<secret>"


class FaultError(ValueError):
    """A value that is not allowed; its text says what is. If `quotable` is False, the value must not be shown."""

    def __init__(self, allowed: str, *, quotable: bool = True) -> None:
        super().__init__(allowed)
        self.quotable = quotable


def fault_of_unknown(key: str, known: Iterable[str]) -> str:
    """Return the fault of a key that does not exist, with the nearest key that does."""
    name = key.rpartition(".")[2]
    if name != key and name in known:  # the end of the file belongs to its last section
        return f"no such key; {name} stands above the first [section]"
    return f"no such key{nearest(key, known) or '; see certmedic.toml(5)'}"


# ---------------------------------------------------------------- single values


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise FaultError("allowed: true or false")
    return value


def auto(value: Any) -> bool | None:
    if value == "auto":
        return None
    if not isinstance(value, bool):
        raise FaultError('allowed: "auto", true or false')
    return value


def one_of(*allowed: str) -> Callable[[Any], str]:
    """Return a parser of one of these words."""

    def parse(value: Any) -> str:
        if value not in allowed:
            raise FaultError(_allowed(allowed, value))
        return str(value)

    return parse


def word(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.-]{1,64}", value):
        raise FaultError("allowed: one word (an apprise tag)")
    return value


def cluster_name(value: Any) -> str:
    """Return the name of a cluster; "" for none."""
    if not isinstance(value, str) or (value and not planes.NAME.fullmatch(value)):
        raise FaultError("allowed: up to 100 letters, digits and . _ - : /, the first a letter or digit")
    return value


def count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
        raise FaultError("allowed: a whole number from 0 to 100")
    return value


def days_ahead(value: Any) -> timedelta:
    """Return a number of days, from 0 to 100."""
    return timedelta(days=count(value))


def duration(value: Any) -> timedelta:
    """Return a length of time as people write it: "30s", "15m", "6h", "2d"."""
    match = re.fullmatch(r"(\d{1,6})\s*(s|m|h|d)", value) if isinstance(value, str) else None
    if match is None:
        raise FaultError('allowed: a whole number and s, m, h or d, e.g. "30s", "15m", "6h"')
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[match[2]]
    return timedelta(**{unit: int(match[1])})


def interval(value: Any) -> timedelta:
    if duration(value) < timedelta(minutes=1):
        raise FaultError('allowed: "1m" or longer')
    return duration(value)


def window(value: Any) -> Window | None:
    """Return a window; None for the empty string."""
    return None if value == "" else parse_window(value if isinstance(value, str) else "")


def path(value: Any) -> Path:
    if not isinstance(value, str) or not value.startswith("/"):
        raise FaultError("allowed: an absolute path")
    return Path(value)


def text_file(value: Any) -> Path:
    if path(value).suffix != ".prom":
        raise FaultError("allowed: an absolute path that ends in .prom, else the node exporter does not read it")
    return path(value)


def web_address(value: Any) -> Secret:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/]+\S*", value):
        raise FaultError("allowed: an http:// or https:// address, e.g. http://am-1.example:9093", quotable=False)
    return Secret(value)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port to listen on."""

    host: str
    port: int


def endpoint(value: Any) -> Endpoint:
    """Return where to listen: a port is one of 127.0.0.1; another address must be written."""
    host, port = "127.0.0.1", value
    if isinstance(value, str) and (match := re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})", value)):
        host, port = match[1] or match[2], int(match[3])
    try:
        ipaddress.ip_address(host)
    except ValueError:
        port = None
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise FaultError(
            'allowed: a port of 127.0.0.1, e.g. 9793, or an IP address and a port, e.g. "10.0.0.1:9793", "[::1]:9793"'
        )
    return Endpoint(host, port)


def secret_file(value: Any) -> str:
    """Return the absolute path of a file, or "credential:NAME" for one that systemd provides."""
    if not isinstance(value, str) or not value.startswith(("/", "credential:")):
        raise FaultError('allowed: an absolute path, or "credential:NAME"')
    return value


def web_addresses(value: Any) -> tuple[Secret, ...]:
    """Return http:// and https:// addresses, none of which is shown."""
    if not isinstance(value, list):
        raise FaultError('allowed: a list of addresses, e.g. ["https://am-1.example:9093"]', quotable=False)
    return tuple(map(web_address, value))


# ---------------------------------------------------------------- lists


def _allowed(words: Sequence[str], *values: Any) -> str:
    wrong = next((item for item in values if item not in words), "")
    return "allowed: " + ", ".join(f'"{item}"' for item in words) + nearest(wrong, words)


def strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise FaultError('allowed: a list of strings, e.g. ["a", "b"]')
    return tuple(value)


def globs(value: Any) -> tuple[str, ...]:
    for item in strings(value):
        if not item.startswith("/"):
            raise FaultError(f"allowed: absolute paths; {item!r} does not start with /")
    return strings(value)


def plane_names(value: Any) -> tuple[str, ...]:
    words = PLANES if value == "auto" else strings(value)
    if not set(words) <= set(PLANES):
        raise FaultError(_allowed(PLANES, *words))
    return words


def renewers(value: Any) -> tuple[str, ...]:
    if not set(strings(value)) <= set(RESTARTABLE):
        raise FaultError(_allowed(RESTARTABLE, *value))
    return strings(value)


def days(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(day) is int and 1 <= day <= 3650 for day in value):  # True is no day
        raise FaultError("allowed: a list of days from 1 to 3650, e.g. [30, 14, 7, 3, 1]")
    return tuple(sorted(set(value), reverse=True))


def time_zone(value: Any) -> ZoneInfo | None:
    """Return a time zone; None for ""."""
    if value == "":
        return None
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415 - few ask for a zone, and the service stays in memory

    try:
        return ZoneInfo(value)
    except (TypeError, ValueError, OSError, KeyError):
        hint = nearest(value, available_timezones())
        raise FaultError(f"allowed: a time zone that this machine knows, e.g. Europe/Berlin{hint}") from None


def windows(value: Any) -> tuple[Window, ...]:
    return tuple(parse_window(text) for text in strings(value))


def destinations(value: Any) -> tuple[str | Secret, ...]:
    """Return apprise's files, credentials and URLs. The text of a URL must never reach an error message."""
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise FaultError('allowed: a list of apprise files, e.g. ["/etc/certmedic/apprise.yml"]', quotable=False)
    for item in value:
        if "://" not in item and not item.startswith(("/", "credential:")):
            raise FaultError('allowed: an absolute path, "credential:NAME", or an apprise URL', quotable=False)
    return tuple(Secret(item) if "://" in item else item for item in value)


# ---------------------------------------------------------------- tables


def _tables(value: Any, key: str, faults_of: Callable[[Mapping[str, Any]], list[str]]) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise FaultError(f"allowed: tables, each begun by [[{key}]]")
    name = key.rpartition(".")[2]
    if faults := [f"{name} {number}: {fault}" for number, table in enumerate(value, 1) for fault in faults_of(table)]:
        raise FaultError("; ".join(faults), quotable=False)
    return value


def _faults_of_route(table: Mapping[str, Any]) -> list[str]:
    faults = [
        f"{name}: found {value!r}; allowed: {', '.join(ROUTE[name])}{nearest(value, ROUTE[name])}"
        if name in ROUTE
        else f"{name}: {fault_of_unknown(name, ('tag', *ROUTE))}"
        for name, value in table.items()
        if name != "tag" and value not in ROUTE.get(name, ())
    ]
    try:
        word(table.get("tag"))
    except FaultError as fault:
        faults.append(f"tag: {fault}")
    return faults


def routes(value: Any) -> tuple[Route, ...]:
    return tuple(Route(**table) for table in _tables(value, "notify.route", _faults_of_route))


def _faults_of_pager(table: Mapping[str, Any]) -> list[str]:
    faults = [f"{name}: {fault_of_unknown(name, PAGER)}" for name in table if name not in PAGER]
    service, routing = table.get("service"), table.get("routing", "")
    if service not in SERVICES:
        faults.append(f"service: {given(service)}; allowed: {', '.join(SERVICES)}{nearest(service, SERVICES)}")
    elif (service == "splunk") != bool(routing):
        faults.append("routing: is for splunk, which needs it")
    if not isinstance(routing, str) or (routing and not re.fullmatch(r"[\w.~-]{1,128}", routing)):
        faults.append("routing: allowed: a routing key, of letters, digits and . _ ~ -")
    if table.get("region", "us") not in ("us", *(["eu"] if service in ("pagerduty", "opsgenie") else [])):
        faults.append('region: allowed: "us", and "eu" for pagerduty and opsgenie')
    for name, parse in (("key", secret_file), ("tag", word)):
        try:
            if name == "key" or name in table:
                parse(table.get(name))
        except FaultError as fault:
            faults.append(f"{name}: {fault}")
    return faults


def pagers(value: Any) -> tuple[Pager, ...]:
    return tuple(Pager(**table) for table in _tables(value, "notify.pager", _faults_of_pager))


def _faults_of_means(table: Mapping[str, Any]) -> list[str]:
    faults = [f"{name}: {fault_of_unknown(name, MEANS)}" for name in table if name not in MEANS]
    name = table.get("for")
    if name not in RESTARTABLE:
        faults.append(f"for: {given(name)}; allowed: {', '.join(RESTARTABLE)}{nearest(name, RESTARTABLE)}")
    unit, command = table.get("unit", ""), table.get("command", [])
    if not isinstance(unit, str) or not re.fullmatch(r"(?!-)[\w@.:\\-]+\.service|", unit):
        faults.append(f"unit: found {unit!r}; allowed: a unit's whole name, e.g. etcd-manager.service")
    if not isinstance(command, list) or not all(isinstance(item, str) and item.isprintable() for item in command):
        faults.append("command: allowed: a program and its arguments as a list of strings; there is no shell")
    elif command and not command[0].startswith("/"):
        faults.append(f"command: found {command[0]!r}; allowed: the absolute path of a program first")
    if bool(unit) == bool(command):
        faults.append("allowed: either a unit or a command")
    if not isinstance(table.get("group", ""), str) or not isinstance(table.get("renews", False), bool):
        faults.append("allowed: a group as a string, renews as true or false")
    return faults


def means(value: Any) -> tuple[Means, ...]:
    return tuple(
        Means(
            renewer=table["for"],
            command=tuple(table.get("command", ())),
            **{name: table[name] for name in ("group", "unit", "renews") if name in table},
        )
        for table in _tables(value, "remedy.means", _faults_of_means)
    )
