"""How systemd's units are that may be restarted here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from certmedic.core.model import Container, Trust
from certmedic.edge.os.run import OutOfTimeError, RunError, run

DEADLINE = 5.0  # seconds
_ASKED = "Id,LoadState,ActiveState,Type,InvocationID"


def units(names: Sequence[str]) -> tuple[tuple[Container, ...], str]:
    """Return those of these units that systemd knows, and a sentence on what could not be seen. Never raises."""
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
    told = [dict(line.partition("=")[::2] for line in one.splitlines()) for one in asked.out.split("\n\n")]
    return tuple(_unit(one) for one in told if one.get("LoadState") == "loaded"), ""


def _unit(told: Mapping[str, str]) -> Container:
    state = told.get("ActiveState", "")
    # Such a one does its work whenever it is started, and then is inactive without anybody having stopped it.
    if state == "inactive" and told.get("Type") == "oneshot":
        state = "ready"
    return Container(
        id=told["Id"],
        name=told["Id"],
        image="",
        state=state,
        runtime="systemd",
        invocation=told.get("InvocationID", ""),
        trust=Trust.SYSTEM,
    )
