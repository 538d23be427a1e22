"""The requests to the actor: a verb with numbers, names and paths, as one JSON object. Never a command, a sentence or a key.

`parse` refuses whatever it does not know, and its reasons repeat nothing of the request.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from certmedic.core.model import Action, Lease, RemedyKind, VoterList

VERSION: Final = 1
MOST_BYTES: Final = 16 * 1024  # of a request
MOST_PATHS: Final = 32
LONGEST_PATH: Final = 1024
MOST_REF: Final = 2**63

_TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:\\-]{0,254}")
_GROUP = re.compile(r"[A-Za-z0-9_.-]{0,63}")
RUNTIMES: Final = ("docker", "containerd", "systemd", "command")


class MalformedError(ValueError):
    """A request that the actor does not understand; the text says why and repeats nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """Restart one container by its id, one unit by its name, or run the means of a renewer."""

    ref: int  # the agent's number for this action, so that it can be undone and is never done twice
    runtime: str
    target: str  # with the runtime `command`, the renewer's word


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """Sign the leaves in these files again, in place."""

    ref: int
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reissue:
    """Move these expired files aside, then restart the manager that issues missing ones."""

    ref: int
    runtime: str
    target: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """Put back what an action replaced."""

    ref: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Ask the etcds of this machine for their members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Take the lease of an etcd group."""

    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Release the lease of an etcd group."""

    group: str


Cure = Restart | Renew | Reissue
Request = Cure | Undo | Members | Take | Release
VERBS: Final[Mapping[str, type[Request]]] = {kind.__name__.lower(): kind for kind in Request.__args__}
KINDS: Final[Mapping[type[Cure], RemedyKind]] = {
    Restart: RemedyKind.RESTART,
    Renew: RemedyKind.RENEW,
    Reissue: RemedyKind.REISSUE_AND_RESTART,
}


def verb_of(request: Request) -> str:
    """Return the verb of a request."""
    return type(request).__name__.lower()


def cure_of(ref: int, action: Action) -> Cure:
    """Return the request for an action."""
    paths = tuple(path for path, _ in action.watched)
    if action.container is None:
        return Renew(ref=ref, paths=paths)
    runtime = action.container.runtime
    target = action.container.name if runtime == "command" else action.container.id
    if action.kind is RemedyKind.REISSUE_AND_RESTART:
        return Reissue(ref=ref, runtime=runtime, target=target, paths=paths)
    return Restart(ref=ref, runtime=runtime, target=target)


def asks_for(request: Cure, action: Action) -> bool:
    """Whether an action of the actor's own decision is the requested one, or has more files."""
    if action.kind is not KINDS[type(request)]:
        return False
    if not isinstance(request, Restart) and not set(request.paths) <= {path for path, _ in action.watched}:
        return False
    if isinstance(request, Renew) or action.container is None:
        return True
    there = action.container
    name = there.name if there.runtime == "command" else there.id
    return (request.runtime, request.target) == (there.runtime, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The actor's reply. `result` says what became of a cure or an undo; the two other fields answer the questions."""

    result: str  # done | late | failed | refused | answered
    why: str = ""  # a sentence
    lease: Lease | None = None
    members: Mapping[str, VoterList] = field(default_factory=dict)


def pack(request: Request) -> bytes:
    """Return a request as bytes."""
    return json.dumps({"v": VERSION, "verb": verb_of(request), **asdict(request)}).encode()


def parse(data: bytes) -> Request:
    """Return the request in a packet. Raises MalformedError."""
    if not 0 < len(data) <= MOST_BYTES:
        raise MalformedError(f"it has {len(data)} bytes; allowed: 1 to {MOST_BYTES}")
    try:
        fields = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise MalformedError("it is no JSON object in UTF-8 with each key once") from None
    if not isinstance(fields, dict):
        raise MalformedError("it is no JSON object")
    version, verb = fields.pop("v", None), fields.pop("verb", None)
    if type(version) is not int or version != VERSION:
        raise MalformedError(f"its version is not {VERSION}")
    kind = VERBS.get(verb) if isinstance(verb, str) else None
    if kind is None:
        raise MalformedError("it has no known verb")
    if set(fields) != set(kind.__dataclass_fields__):
        raise MalformedError(f"{verb} takes exactly: {', '.join(kind.__dataclass_fields__) or 'nothing'}")
    wrong = [name for name, value in fields.items() if not _FIELDS[name](value)]
    if wrong:
        raise MalformedError(f"{', '.join(wrong)} of {verb} is not of the allowed form")
    values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in fields.items()}
    return kind(**values)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError
    return fields


def _is_ref(value: object) -> bool:
    return type(value) is int and 0 < value < MOST_REF


def _is_target(value: object) -> bool:
    return isinstance(value, str) and _TARGET.fullmatch(value) is not None


def _is_group(value: object) -> bool:
    return isinstance(value, str) and _GROUP.fullmatch(value) is not None


def _is_paths(value: object) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= MOST_PATHS
        and all(isinstance(path, str) and _is_path(path) for path in value)
        and len(set(value)) == len(value)
    )


def _is_path(path: str) -> bool:
    plain = path.startswith("/") and not path.startswith("//") and posixpath.normpath(path) == path
    return plain and path != "/" and path.isprintable() and len(path) <= LONGEST_PATH


_FIELDS: Final[Mapping[str, Callable[[object], bool]]] = {
    "ref": _is_ref,
    "runtime": lambda value: isinstance(value, str) and value in RUNTIMES,
    "target": _is_target,
    "paths": _is_paths,
    "group": _is_group,
}
