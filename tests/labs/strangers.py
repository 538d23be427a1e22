"""Log entries of strangers and of root, for tests on a simulated machine."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from certmedic.core.model import LogEntry, Origin, Trust
from labs.values import entry


def strange(
    text: str, *, at: datetime, stream: str = "pod:/var/log/pods/tenant_web_1/web/0.log", **claimed: Any
) -> LogEntry:
    """Return the entry of a stranger, which can forge every field that the kernel does not set."""
    made = entry(text, at=at, stream=stream, trust=Trust.STRANGER, **claimed)
    return replace(made, position="1")


def trusted(text: str, *, at: datetime, stream: str = "journal") -> LogEntry:
    """Return the entry of a unit of root."""
    made = replace(
        entry(text, at=at, stream=stream), origin=Origin(program="etcd", unit="etcd.service", uid=0, trust=Trust.SYSTEM)
    )
    return replace(made, position="1")
