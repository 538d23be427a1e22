"""The configuration: one TOML file, then drop-ins in order, checked whole, as one frozen `Config`.

`load` reads and checks everything before anything is used and raises one `ConfigError` that holds every fault, each
with file, key, what was found and what is allowed. Every key has a default that suits a kops master, so an empty file
and no file at all are good ones.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from certmedic.core import window
from certmedic.core.decide import Policy
from certmedic.core.model import Cause, MessageKind, Route, Severity
from certmedic.core.window import Window

DEFAULT_PATH = Path("/etc/certmedic/certmedic.toml")
DROP_IN_DIRECTORY = "conf.d"  # beside the main file
MODES = ("observe", "notify", "approve", "remedy")
PLANES = ("kops", "kubeadm", "k3s", "rke2", "etcd", "microk8s", "openshift")
RESTARTABLE = ("etcd-manager",)


class ConfigError(Exception):
    """The configuration cannot be used; `faults` says everything that is wrong with it, one sentence each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is read. `docker` and `pods` are None for "where it is there"."""

    journal: bool = True
    units: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    docker: bool | None = None
    docker_names: tuple[str, ...] = ()
    docker_labels: tuple[str, ...] = ()
    pods: bool | None = None
    files: tuple[str, ...] = ("/var/log/etcd*.log",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Where certificates are looked for, beside what is known of each plane."""

    planes: tuple[str, ...] = PLANES
    paths: tuple[str, ...] = ()
    warn_days: tuple[int, ...] = (30, 14, 7, 3, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Whom to tell, and how often."""

    apprise: tuple[str | Secret, ...] = ()  # apprise's own files; a URL written here is a Secret
    tags: Mapping[str, str] = field(default_factory=lambda: {"critical": "oncall", "warning": "team", "info": "team"})
    route: tuple[Route, ...] = ()  # the first that fits a message decides, else `tags`
    group_for: timedelta = timedelta(seconds=30)
    remind_every: timedelta = timedelta(hours=6)
    wall: bool = True  # critical incidents are also written to every terminal of this machine
    heartbeat: Secret | None = None  # is called while all is well: whoever listens there misses an agent that died
    heartbeat_every: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Where numbers are left for Prometheus's node exporter; None for nowhere."""

    textfile: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyPolicy:
    """What may be done, how often, and how soon again."""

    restart: tuple[str, ...] = RESTARTABLE
    renew: bool = False  # sign the leaf anew in place where the CA's key is on this master
    cooldown: timedelta = timedelta(minutes=15)
    per_day: int = 2
    verify_for: timedelta = timedelta(minutes=3)
    window: Window | None = None  # of planned cures
    plan_ahead: timedelta = timedelta(0)  # how long before expiry; zero: nothing is planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration, checked."""

    mode: str = "notify"
    state: Path = Path("/var/lib/certmedic")
    watch: Watch = field(default_factory=Watch)
    certificates: Certificates = field(default_factory=Certificates)
    notify: Notify = field(default_factory=Notify)
    metrics: Metrics = field(default_factory=Metrics)
    remedy: RemedyPolicy = field(default_factory=RemedyPolicy)


# ---------------------------------------------------------------- one value


class _FaultError(Exception):
    """What is allowed where something else was found. `quotable` is False for what must not be shown."""

    def __init__(self, allowed: str, *, quotable: bool = True) -> None:
        super().__init__(allowed)
        self.quotable = quotable


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _FaultError("allowed: true or false")
    return value


def _auto(value: Any) -> bool | None:
    if value == "auto":
        return None
    if not isinstance(value, bool):
        raise _FaultError('allowed: "auto", true or false')
    return value


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise _FaultError('allowed: a list of strings, e.g. ["a", "b"]')
    return tuple(value)


def _globs(value: Any) -> tuple[str, ...]:
    paths = _strings(value)
    for path in paths:
        if not path.startswith("/"):
            raise _FaultError(f"allowed: absolute paths; {path!r} does not start with /")
    return paths


def _destinations(value: Any) -> tuple[str | Secret, ...]:
    """Files of apprise's own, credentials, or URLs. The text of a URL must never reach an error message."""
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise _FaultError('allowed: a list of apprise files, e.g. ["/etc/certmedic/apprise.yml"]', quotable=False)
    for item in value:
        if "://" not in item and not item.startswith(("/", "credential:")):
            raise _FaultError('allowed: an absolute path, "credential:NAME", or an apprise URL', quotable=False)
    return tuple(Secret(item) if "://" in item else item for item in value)


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in allowed:
            raise _FaultError("allowed: " + ", ".join(f'"{word}"' for word in allowed))
        return str(value)

    return parse


def _some_of(*allowed: str) -> Callable[[Any], tuple[str, ...]]:
    def parse(value: Any) -> tuple[str, ...]:
        if value == "auto":
            return allowed
        words = _strings(value)
        strange = [word for word in words if word not in allowed]
        if strange:
            raise _FaultError("allowed: " + ", ".join(f'"{word}"' for word in allowed))
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
        raise _FaultError(str(error)) from None


def _duration(value: Any) -> timedelta:
    try:
        return duration(value)
    except ValueError as error:
        raise _FaultError(str(error)) from None


def _interval(value: Any) -> timedelta:
    if _duration(value) < timedelta(minutes=1):
        raise _FaultError('allowed: "1m" or longer')
    return _duration(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
        raise _FaultError("allowed: a whole number from 0 to 100")
    return value


def _days(value: Any) -> tuple[int, ...]:
    good = isinstance(value, list) and all(
        isinstance(day, int) and not isinstance(day, bool) and 1 <= day <= 3650 for day in value
    )
    if not good:
        raise _FaultError("allowed: a list of days from 1 to 3650, e.g. [30, 14, 7, 3, 1]")
    return tuple(sorted(set(value), reverse=True))


def _word(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.-]{1,64}", value):
        raise _FaultError("allowed: one word (an apprise tag)")
    return value


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not value.startswith("/"):
        raise _FaultError("allowed: an absolute path")
    return Path(value)


def _text_file(value: Any) -> Path:
    path = _path(value)
    if path.suffix != ".prom":
        raise _FaultError("allowed: an absolute path that ends in .prom, else the node exporter does not read it")
    return path


def _web_address(value: Any) -> Secret:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/]+\S*", value):
        raise _FaultError("allowed: an http:// or https:// address", quotable=False)
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
        raise _FaultError("allowed: tables, each begun by [[notify.route]]")
    faults: list[str] = []
    for number, table in enumerate(value, 1):
        for name, found in table.items():
            if name not in ("tag", *ROUTE):
                faults.append(f"{number}: {name}: {_fault_of_unknown(name, ('tag', *ROUTE))}")
            elif name in ROUTE and found not in ROUTE[name]:
                faults.append(f"{number}: {name}: found {found!r}; allowed: {', '.join(ROUTE[name])}")
        try:
            _word(table.get("tag"))
        except _FaultError as fault:
            faults.append(f"{number}: tag: {fault}")
    if faults:
        raise _FaultError("route " + "; route ".join(faults), quotable=False)
    return tuple(Route(**table) for table in value)


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
    "notify.apprise": _destinations,
    "notify.tags.critical": _word,
    "notify.tags.warning": _word,
    "notify.tags.info": _word,
    "notify.route": _routes,
    "notify.group_for": _duration,
    "notify.remind_every": _duration,
    "notify.wall": _boolean,
    "notify.heartbeat": _web_address,
    "notify.heartbeat_every": _interval,
    "metrics.textfile": _text_file,
    "remedy.restart": _some_of(*RESTARTABLE),
    "remedy.renew": _boolean,
    "remedy.cooldown": _duration,
    "remedy.per_day": _count,
    "remedy.verify_for": _duration,
    "remedy.window": _window,
    "remedy.plan_ahead_days": lambda value: timedelta(days=_count(value)),
}
# Keys that the design names and that do nothing yet: a person who writes one must not believe that it works.
NOT_YET = {
    "remedy.reissue": "moving an expired file aside is not built yet; leave it out or set it to false",
}


# ---------------------------------------------------------------- the whole


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        key = prefix + name
        if isinstance(value, dict):
            yield from _flatten(value, key + ".")
        else:
            yield key, value


def _fault_of_unknown(key: str, known: Iterable[str] = ()) -> str:
    near = difflib.get_close_matches(key, known or KEYS, n=1)
    return f"no such key{f'; did you mean {near[0]}?' if near else '; see certmedic.toml(5)'}"


def _read(path: Path, faults: list[str]) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        faults.append(f"{path}: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        faults.append(f"{path}: is not UTF-8 text (byte {error.start})")
    except tomllib.TOMLDecodeError as error:
        faults.append(f"{path}: is not TOML: {error}")
    return {}


def files(path: Path) -> list[Path]:
    """Return the main file, where there is one, and its drop-ins in the order in which they count."""
    main = [path] if path.exists() else []
    return main + sorted((path.parent / DROP_IN_DIRECTORY).glob("*.toml"))


def _check(file: Path, faults: list[str]) -> dict[str, Any]:
    """Return the good values of one file; what is wrong with it goes to `faults`."""
    values: dict[str, Any] = {}
    for key, found in _flatten(_read(file, faults)):
        if key in NOT_YET:
            if found not in (False, 0, ""):
                faults.append(f"{file}: {key}: {NOT_YET[key]}")
        elif key not in KEYS:
            faults.append(f"{file}: {key}: {_fault_of_unknown(key)}")
        else:
            try:
                values[key] = KEYS[key](found)
            except _FaultError as fault:
                faults.append(f"{file}: {key}: " + (f"found {found!r}; {fault}" if fault.quotable else str(fault)))
    secrets = [
        *(["notify.apprise"] if any(isinstance(item, Secret) for item in values.get("notify.apprise", ())) else []),
        *(["notify.heartbeat"] if "notify.heartbeat" in values else []),
    ]
    if secrets and file.stat().st_mode & 0o004:
        faults += [
            f"{file}: {key}: a URL is a secret, and everyone may read this file: chmod 0640 it" for key in secrets
        ]
    return values


def load(path: Path | None = None) -> Config:
    """Read and check the configuration. `path` is the main file; None means the default, which may be missing.

    Raises ConfigError with every fault at once.
    """
    if path is not None and not path.exists():
        raise ConfigError([f"{path}: no such file"])
    faults: list[str] = []
    values: dict[str, Any] = {}
    for file in files(path or DEFAULT_PATH):
        values |= _check(file, faults)
    if faults:
        raise ConfigError(faults)
    return _build(values)


def _build(values: Mapping[str, Any]) -> Config:
    def section(kind: Callable[..., Any], prefix: str, names: Mapping[str, str]) -> Any:
        return kind(**{name: values[prefix + key] for key, name in names.items() if prefix + key in values})

    def same(*names: str) -> dict[str, str]:
        return {name: name for name in names}

    watch = section(
        Watch,
        "watch.",
        {
            **same("journal", "docker", "pods", "files"),
            "journal.units": "units",
            "journal.identifiers": "identifiers",
            "docker.names": "docker_names",
            "docker.labels": "docker_labels",
        },
    )
    notify = section(
        Notify,
        "notify.",
        same("apprise", "route", "group_for", "remind_every", "wall", "heartbeat", "heartbeat_every"),
    )
    tags = {level: values.get(f"notify.tags.{level}", default) for level, default in notify.tags.items()}
    top = {name: values[name] for name in ("mode", "state") if name in values}
    return Config(
        **top,
        watch=watch,
        certificates=section(Certificates, "certificates.", same("planes", "paths", "warn_days")),
        notify=replace(notify, tags=tags),
        metrics=section(Metrics, "metrics.", same("textfile")),
        remedy=section(
            RemedyPolicy,
            "remedy.",
            {
                **same("restart", "renew", "cooldown", "per_day", "verify_for", "window"),
                "plan_ahead_days": "plan_ahead",
            },
        ),
    )


def policy_of(config: Config) -> Policy:
    """Return what the configuration allows, as decisions ask for it."""
    remedy = config.remedy
    return Policy(
        mode=config.mode,
        restart=remedy.restart,
        renew=remedy.renew,
        cooldown=remedy.cooldown,
        per_day=remedy.per_day,
        window=remedy.window,
        plan_ahead=remedy.plan_ahead,
    )
