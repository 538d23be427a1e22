"""The configuration: one TOML file, then drop-ins in order, checked whole, as one frozen `Config`.

`load` reads and checks everything before anything is used and raises one `ConfigError` that holds every fault, each
with file, key, what was found and what is allowed. Every key has a default that suits a kops master, so an empty file
and no file at all are good ones.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from certmedic.config.ownership import MOST_BYTES, writable_by_others
from certmedic.config.values import HAVE_MEANS, KEYS, PLANES, FaultError, Secret, duration, fault_of_unknown
from certmedic.core import planes
from certmedic.core.decision import Policy
from certmedic.core.means import Means
from certmedic.core.model import Route
from certmedic.core.window import Window
from certmedic.edge.os import readfile

__all__ = [
    "KEYS",
    "PLANES",
    "Certificates",
    "Config",
    "ConfigError",
    "Metrics",
    "Notify",
    "RemedyPolicy",
    "Secret",
    "Watch",
    "duration",
    "files",
    "load",
    "policy_of",
    "units_of",
]

DEFAULT_PATH = Path("/etc/certmedic/certmedic.toml")
DROP_IN_DIRECTORY = "conf.d"  # beside the main file


class ConfigError(Exception):
    """The configuration cannot be used; `faults` says everything that is wrong with it, one sentence each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


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
    files: tuple[str, ...] = ("/var/log/etcd*.log", "/var/lib/rancher/rke2/agent/logs/kubelet.log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Where certificates are looked for, beside what is known of each plane."""

    planes: tuple[str, ...] = PLANES
    paths: tuple[str, ...] = ()
    warn_days: tuple[int, ...] = (30, 14, 7, 3, 1)
    plane: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # the same of single planes, where it differs


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Whom to tell, and how often."""

    apprise: tuple[str | Secret, ...] = ()  # apprise's own files; a URL written here is a Secret
    tags: Mapping[str, str] = field(default_factory=lambda: {"critical": "oncall", "warning": "team", "info": "team"})
    route: tuple[Route, ...] = ()  # the first that fits a message decides, else `tags`
    group_for: timedelta = timedelta(seconds=30)
    remind_every: timedelta = timedelta(hours=6)
    maintenance: tuple[Window, ...] = ()  # while one is open, messages are held back as by a silence
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

    restart: tuple[str, ...] = ("etcd-manager",)
    means: tuple[Means, ...] = ()  # how what runs in no container is restarted
    renew: bool = False  # sign the leaf anew in place where the CA's key is on this master
    reissue: bool = False  # move an expired file aside for an etcd-manager that would keep it
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


# ---------------------------------------------------------------- the whole


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        key = prefix + name
        if isinstance(value, dict):
            yield from _flatten(value, key + ".")
        else:
            yield key, value


def _read(path: Path, faults: list[str]) -> Mapping[str, Any]:
    try:
        if fault := writable_by_others(path):
            faults.append(fault)
            return {}
        return tomllib.loads(readfile.read_bytes(str(path), MOST_BYTES).decode())
    except readfile.TooLargeError as error:
        faults.append(f"{path}: is too large: {error.strerror}")
    except OSError as error:
        faults.append(f"{path}: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        faults.append(f"{path}: is not UTF-8 text (byte {error.start})")
    except tomllib.TOMLDecodeError as error:
        faults.append(f"{path}: is not TOML: {error}")
    except RecursionError:
        faults.append(f"{path}: its values are nested too deeply")
    return {}


def files(path: Path) -> list[Path]:
    """Return the main file, where there is one, and its drop-ins in the order in which they count."""
    main = [path] if path.exists() else []
    return main + sorted((path.parent / DROP_IN_DIRECTORY).glob("*.toml"))


def _check(file: Path, faults: list[str]) -> dict[str, Any]:
    """Return the good values of one file; what is wrong with it goes to `faults`."""
    values: dict[str, Any] = {}
    for key, found in _flatten(_read(file, faults)):
        if key not in KEYS:
            faults.append(f"{file}: {key}: {fault_of_unknown(key)}")
        else:
            try:
                values[key] = KEYS[key](found)
            except FaultError as fault:
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
    config = _build(values)
    if faults := _contradictions(config.remedy):
        raise ConfigError(faults)
    return config


def _contradictions(remedy: RemedyPolicy) -> list[str]:
    """Return what cannot be meant, though each value by itself is good."""
    there = {means.renewer for means in remedy.means}
    return [
        *(
            f"remedy.means: {name} is not in remedy.restart, so nothing would use it; add it there"
            for name in sorted(there - set(remedy.restart))
        ),
        *(
            f"remedy.restart: how {name} is restarted is not known; [[remedy.means]] must name a unit or a command"
            for name in remedy.restart
            if name not in {*HAVE_MEANS, *there}
        ),
    ]


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
        same("apprise", "route", "group_for", "remind_every", "maintenance", "wall", "heartbeat", "heartbeat_every"),
    )
    tags = {level: values.get(f"notify.tags.{level}", default) for level, default in notify.tags.items()}
    top = {name: values[name] for name in ("mode", "state") if name in values}
    return Config(
        **top,
        watch=watch,
        certificates=replace(
            section(Certificates, "certificates.", same("planes", "paths", "warn_days")),
            plane={
                plane: values[key] for plane in PLANES if (key := f"certificates.plane.{plane}.warn_days") in values
            },
        ),
        notify=replace(notify, tags=tags),
        metrics=section(Metrics, "metrics.", same("textfile")),
        remedy=section(
            RemedyPolicy,
            "remedy.",
            {
                **same("restart", "means", "renew", "reissue", "cooldown", "per_day", "verify_for", "window"),
                "plan_ahead_days": "plan_ahead",
            },
        ),
    )


def units_of(config: Config) -> tuple[str, ...]:
    """Return the systemd units that may be restarted."""
    known = [planes.unit_of(name) for name in config.remedy.restart]
    return tuple(dict.fromkeys(unit for unit in (*known, *(one.unit for one in config.remedy.means)) if unit))


def policy_of(config: Config) -> Policy:
    """Return what the configuration allows, as decisions ask for it."""
    remedy = config.remedy
    return Policy(
        mode=config.mode,
        restart=remedy.restart,
        renew=remedy.renew,
        reissue=remedy.reissue,
        means=remedy.means,
        cooldown=remedy.cooldown,
        per_day=remedy.per_day,
        window=remedy.window,
        plan_ahead=remedy.plan_ahead,
    )
