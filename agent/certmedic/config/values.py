"""One value at a time: what may be written for each key, and what it becomes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from certmedic.core import window
from certmedic.core.means import Means
from certmedic.core.model import Cause, MessageKind, Route, Severity
from certmedic.core.window import Window

MODES = ("observe", "notify", "approve", "remedy")
PLANES = ("kops", "kubeadm", "k3s", "rke2", "etcd", "microk8s", "openshift")
# What a restart can be for: the renewers of planes.table. How the first three are restarted is known, the others need a means.
RESTARTABLE = ("etcd-manager", "k3s", "rke2", "kubeadm", "nodeup", "etcd", "operator", "unknown")
HAVE_MEANS = RESTARTABLE[:3]


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that cannot be printed by accident; `reveal` is the one way to it."""

    _value: str = field(repr=False)

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __str__(self) -> str:
        return "<secret>"

    def __repr__(self) -> str:
        return "<secret>"


class FaultError(Exception):
    """What is allowed where something else was found. `quotable` is False for what must not be shown."""

    def __init__(self, allowed: str, *, quotable: bool = True) -> None:
        super().__init__(allowed)
        self.quotable = quotable


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise FaultError("allowed: true or false")
    return value


def _auto(value: Any) -> bool | None:
    if value == "auto":
        return None
    if not isinstance(value, bool):
        raise FaultError('allowed: "auto", true or false')
    return value


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise FaultError('allowed: a list of strings, e.g. ["a", "b"]')
    return tuple(value)


def _globs(value: Any) -> tuple[str, ...]:
    paths = _strings(value)
    for path in paths:
        if not path.startswith("/"):
            raise FaultError(f"allowed: absolute paths; {path!r} does not start with /")
    return paths


def _destinations(value: Any) -> tuple[str | Secret, ...]:
    """Files of apprise's own, credentials, or URLs. The text of a URL must never reach an error message."""
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise FaultError('allowed: a list of apprise files, e.g. ["/etc/certmedic/apprise.yml"]', quotable=False)
    for item in value:
        if "://" not in item and not item.startswith(("/", "credential:")):
            raise FaultError('allowed: an absolute path, "credential:NAME", or an apprise URL', quotable=False)
    return tuple(Secret(item) if "://" in item else item for item in value)


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in allowed:
            raise FaultError("allowed: " + ", ".join(f'"{word}"' for word in allowed))
        return str(value)

    return parse


def _some_of(*allowed: str) -> Callable[[Any], tuple[str, ...]]:
    def parse(value: Any) -> tuple[str, ...]:
        if value == "auto":
            return allowed
        words = _strings(value)
        strange = [word for word in words if word not in allowed]
        if strange:
            raise FaultError("allowed: " + ", ".join(f'"{word}"' for word in allowed))
        return words

    return parse


def duration(value: Any) -> timedelta:
    """Return a length of time as people write it: "30s", "15m", "6h", "2d". Raises ValueError with what is allowed."""
    match = re.fullmatch(r"(\d{1,6})\s*(s|m|h|d)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('allowed: a whole number and s, m, h or d, e.g. "30s", "15m", "6h"')
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[match[2]]
    return timedelta(**{unit: int(match[1])})


def _window(value: Any) -> Window | None:
    if value == "":
        return None
    try:
        return window.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise FaultError(str(error)) from None


def _windows(value: Any) -> tuple[Window, ...]:
    found = [_window(text) for text in _strings(value)]
    return tuple(one for one in found if one is not None)


def _duration(value: Any) -> timedelta:
    try:
        return duration(value)
    except ValueError as error:
        raise FaultError(str(error)) from None


def _interval(value: Any) -> timedelta:
    if _duration(value) < timedelta(minutes=1):
        raise FaultError('allowed: "1m" or longer')
    return _duration(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
        raise FaultError("allowed: a whole number from 0 to 100")
    return value


def _days(value: Any) -> tuple[int, ...]:
    good = isinstance(value, list) and all(
        isinstance(day, int) and not isinstance(day, bool) and 1 <= day <= 3650 for day in value
    )
    if not good:
        raise FaultError("allowed: a list of days from 1 to 3650, e.g. [30, 14, 7, 3, 1]")
    return tuple(sorted(set(value), reverse=True))


def _word(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.-]{1,64}", value):
        raise FaultError("allowed: one word (an apprise tag)")
    return value


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not value.startswith("/"):
        raise FaultError("allowed: an absolute path")
    return Path(value)


def _text_file(value: Any) -> Path:
    path = _path(value)
    if path.suffix != ".prom":
        raise FaultError("allowed: an absolute path that ends in .prom, else the node exporter does not read it")
    return path


def _web_address(value: Any) -> Secret:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/]+\S*", value):
        raise FaultError("allowed: an http:// or https:// address", quotable=False)
    return Secret(value)


# What a route can ask for. Of information people are told nothing, so there is nothing to route.
ROUTE: Mapping[str, tuple[str, ...]] = {
    "severity": tuple(level for level in Severity if level is not Severity.INFO),
    "cause": tuple(Cause),
    "plane": PLANES,
    "event": tuple(MessageKind),
}


def _routes(value: Any) -> tuple[Route, ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise FaultError("allowed: tables, each begun by [[notify.route]]")
    faults: list[str] = []
    for number, table in enumerate(value, 1):
        for name, found in table.items():
            if name not in ("tag", *ROUTE):
                faults.append(f"{number}: {name}: {fault_of_unknown(name, ('tag', *ROUTE))}")
            elif name in ROUTE and found not in ROUTE[name]:
                faults.append(f"{number}: {name}: found {found!r}; allowed: {', '.join(ROUTE[name])}")
        try:
            _word(table.get("tag"))
        except FaultError as fault:
            faults.append(f"{number}: tag: {fault}")
    if faults:
        raise FaultError("route " + "; route ".join(faults), quotable=False)
    return tuple(Route(**table) for table in value)


MEANS = ("for", "group", "unit", "command", "renews")


def _renewers(value: Any) -> tuple[str, ...]:
    words = _strings(value)
    if any(word not in RESTARTABLE for word in words):
        raise FaultError("allowed: a list of " + ", ".join(f'"{word}"' for word in RESTARTABLE))
    return words


def _faults_of_means(table: Mapping[str, Any]) -> list[str]:
    faults = [f"{name}: {fault_of_unknown(name, MEANS)}" for name in table if name not in MEANS]
    if table.get("for") not in RESTARTABLE:
        faults.append(f"for: found {table.get('for')!r}; allowed: {', '.join(RESTARTABLE)}")
    unit, command = table.get("unit", ""), table.get("command", [])
    if not isinstance(unit, str) or not re.fullmatch(r"(?!-)[\w@.:\\-]+\.service|", unit):
        faults.append(f"unit: found {unit!r}; allowed: a unit's whole name, e.g. etcd-manager.service")
    if not isinstance(command, list) or not all(isinstance(word, str) and word.isprintable() for word in command):
        faults.append("command: allowed: a program and its arguments as a list of strings; there is no shell")
    elif command and not command[0].startswith("/"):
        faults.append(f"command: found {command[0]!r}; allowed: the absolute path of a program first")
    if bool(unit) == bool(command):
        faults.append("allowed: either a unit or a command")
    if not isinstance(table.get("group", ""), str) or not isinstance(table.get("renews", False), bool):
        faults.append("allowed: a group as a string, renews as true or false")
    return faults


def _means(value: Any) -> tuple[Means, ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise FaultError("allowed: tables, each begun by [[remedy.means]]")
    faults = [f"{number}: {fault}" for number, table in enumerate(value, 1) for fault in _faults_of_means(table)]
    if faults:
        raise FaultError("means " + "; means ".join(faults), quotable=False)
    return tuple(
        Means(
            renewer=table["for"],
            group=table.get("group", ""),
            unit=table.get("unit", ""),
            command=tuple(table.get("command", ())),
            renews=table.get("renews", False),
        )
        for table in value
    )


# Every key that can be written, with what reads its value. A key whose parent also stands here may be a table.
KEYS: Mapping[str, Callable[[Any], Any]] = {
    "mode": _one_of(*MODES),
    "state": _path,
    "watch.journal": _boolean,
    "watch.journal.units": _strings,
    "watch.journal.identifiers": _strings,
    "watch.docker": _auto,
    "watch.docker.names": _strings,
    "watch.docker.labels": _strings,
    "watch.pods": _auto,
    "watch.files": _globs,
    "certificates.planes": _some_of(*PLANES),
    "certificates.paths": _globs,
    "certificates.warn_days": _days,
    **{f"certificates.plane.{plane}.warn_days": _days for plane in PLANES},
    "notify.apprise": _destinations,
    "notify.tags.critical": _word,
    "notify.tags.warning": _word,
    "notify.tags.info": _word,
    "notify.route": _routes,
    "notify.group_for": _duration,
    "notify.remind_every": _duration,
    "notify.maintenance": _windows,
    "notify.wall": _boolean,
    "notify.heartbeat": _web_address,
    "notify.heartbeat_every": _interval,
    "metrics.textfile": _text_file,
    "remedy.restart": _renewers,
    "remedy.means": _means,
    "remedy.renew": _boolean,
    "remedy.reissue": _boolean,
    "remedy.cooldown": _duration,
    "remedy.per_day": _count,
    "remedy.verify_for": _duration,
    "remedy.window": _window,
    "remedy.plan_ahead_days": lambda value: timedelta(days=_count(value)),
}


def fault_of_unknown(key: str, known: Iterable[str] = ()) -> str:
    """Return what is said of a key that does not exist: what may have been meant."""
    near = difflib.get_close_matches(key, known or KEYS, n=1)
    return f"no such key{f'; did you mean {near[0]}?' if near else '; see certmedic.toml(5)'}"
