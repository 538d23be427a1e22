"""Reads the configuration's files and checks them whole.

Everything is read and checked before anything is used. One `ConfigError` holds every fault, each with file, key, the value and
what is allowed. No file at all is as good as an empty one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from certmedic.config.ownership import MOST_BYTES, writable_by_others
from certmedic.config.policy import contradictions
from certmedic.config.schema import KEYS, Config
from certmedic.config.setting import build
from certmedic.config.values import FaultError, Secret, fault_of_unknown
from certmedic.edge.os import readfile

DEFAULT_PATH = Path("/etc/certmedic/certmedic.toml")
DROP_IN_DIRECTORY = "conf.d"  # beside the main file
ACTOR_FILE = (
    "actor.toml"  # beside the main file: the limits of the actor. Its keys are those of [remedy], and replace them
)


class ConfigError(Exception):
    """The configuration cannot be used; `faults` says everything that is wrong with it, one sentence each.

    `good` is the configuration without the faulty values, for commands that only look; None if there is none.
    """

    def __init__(self, faults: list[str], good: Config | None = None) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)
        self.good = good


def files(path: Path | None = None) -> list[Path]:
    """Return the files that exist, in the order in which they count: main file, drop-ins, actor.toml. `path` is as in `load`."""
    path = path or DEFAULT_PATH
    drop_ins = sorted((path.parent / DROP_IN_DIRECTORY).glob("*.toml"))
    return [file for file in (path, *drop_ins, path.parent / ACTOR_FILE) if file.exists()]


def load(path: Path | None = None) -> Config:
    """Read and check the configuration. `path` is the main file; None means the default, which may be missing.

    Raises ConfigError with every fault at once.
    """
    if path is not None and not path.exists():
        raise ConfigError([f"{path}: no such file"])
    faults: list[str] = []
    values: dict[str, Any] = {}
    for file in files(path):
        values |= _check(file, faults)
    config: Config = build(Config, values)
    if faults := faults or contradictions(config):
        raise ConfigError(faults, config)
    return config


def _check(file: Path, faults: list[str]) -> dict[str, Any]:
    """Return the good values of one file; what is wrong with it goes to `faults`."""
    values: dict[str, Any] = {}
    prefix = "remedy." if file.name == ACTOR_FILE else ""
    for name, value in _flatten(_read(file, faults)):
        key = prefix + name
        if key not in KEYS:
            known = [other.removeprefix(prefix) for other in KEYS if other.startswith(prefix)]
            faults.append(f"{file}: {name}: {fault_of_unknown(name, known)}")
            continue
        try:
            values[key] = KEYS[key](value)
        except ValueError as fault:
            quotable = not isinstance(fault, FaultError) or fault.quotable
            faults.append(f"{file}: {key}: {f'found {value!r}; ' if quotable else ''}{fault}")
    secrets = [key for key, value in values.items() if _holds_a_secret(value)]
    if secrets and file.stat().st_mode & 0o004:
        faults += [
            f"{file}: {key}: a URL is a secret, and everyone may read this file: chmod 0640 it" for key in secrets
        ]
    return values


def _holds_a_secret(value: Any) -> bool:
    return any(isinstance(item, Secret) for item in (value if isinstance(value, tuple) else [value]))


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
        hint = '; a text needs quotes, e.g. mode = "notify"' if "Invalid value" in str(error) else ""
        hint = "; a key stands there twice" if "overwrite" in str(error) else hint
        faults.append(f"{path}: is not TOML: {error}{hint}")
    except RecursionError:
        faults.append(f"{path}: its values are nested too deeply")
    return {}
