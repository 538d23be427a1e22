"""The state of systemd's units that may be restarted."""

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
