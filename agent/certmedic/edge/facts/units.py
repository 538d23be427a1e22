"""systemd's units: the state of those that may be restarted, and what a unit file and systemd say of one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from certmedic.core.model import Container, Trust
from certmedic.edge.os.run import OutOfTimeError, RunError, run

DEADLINE = 5.0  # seconds
_ASKED = "Id,LoadState,ActiveState,Type,InvocationID"


def units(names: Sequence[str]) -> tuple[tuple[Container, ...], str]:
    """Return the units that systemd knows, and "" or why there are none. Never raises."""
    if not names:
        return (), ""
    try:
        asked = run(["systemctl", "show", f"--property={_ASKED}", "--", *names], deadline=time.monotonic() + DEADLINE)
    except OutOfTimeError:
        return (), f"systemd does not tell how {', '.join(names)} fares within {DEADLINE:g} s"
    except RunError as error:
        return (), f"systemctl cannot be run: {error}"
    if asked.code:
        return (), f"systemd does not tell how {', '.join(names)} fares: {asked.err.strip()[-300:]}"
    known = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in asked.out.split("\n\n")]
    return tuple(_unit(unit) for unit in known if unit.get("LoadState") == "loaded"), ""


def _unit(unit: Mapping[str, str]) -> Container:
    state = unit.get("ActiveState", "")
    # A oneshot unit does its work when it is started, and is then inactive although nobody stopped it.
    if state == "inactive" and unit.get("Type") == "oneshot":
        state = "ready"
    return Container(
        id=unit["Id"],
        name=unit["Id"],
        image="",
        state=state,
        runtime="systemd",
        invocation=unit.get("InvocationID", ""),
        trust=Trust.SYSTEM,
    )


def version() -> str:
    """Return the version of the running systemd, as "247.3-7+deb11u6"; raise RunError if it does not answer."""
    return _shown("--property=Version").get("Version", "")


def text_and_properties(name: str) -> tuple[str, Mapping[str, str]] | None:
    """Return a unit's files and the properties that systemd knows of it; None if there is no such unit. Raises RunError."""
    files = run(["systemctl", "cat", "--", name], deadline=time.monotonic() + DEADLINE)
    return None if files.code else (files.out, _shown("--all", "--", name))  # --all: empty properties too


def _shown(*words: str) -> Mapping[str, str]:
    asked = run(["systemctl", "show", *words], deadline=time.monotonic() + DEADLINE)
    if asked.code:
        raise RunError(f"systemd does not answer: {asked.err.strip()[-300:]}")
    return dict(line.partition("=")[::2] for line in asked.out.splitlines())
