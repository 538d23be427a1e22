"""How systemd's units are that may be restarted here."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from certmedic.core.model import Container

DEADLINE = 5.0  # seconds
_ASKED = "Id,LoadState,ActiveState,Type,InvocationID"


def units(names: Sequence[str]) -> tuple[tuple[Container, ...], str]:
    """Return those of these units that systemd knows, and a sentence on what could not be seen. Never raises."""
    if not names:
        return (), ""
    try:
        asked = subprocess.run(
            ["systemctl", "show", f"--property={_ASKED}", "--", *names],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired:
        return (), f"systemd does not tell how {', '.join(names)} fares within {DEADLINE:g} s"
    except OSError as error:
        return (), f"systemctl cannot be run: {error.strerror or error}"
    if asked.returncode:
        return (), f"systemd does not tell how {', '.join(names)} fares: {asked.stderr.strip()[-300:]}"
    told = [dict(line.partition("=")[::2] for line in one.splitlines()) for one in asked.stdout.split("\n\n")]
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
    )
