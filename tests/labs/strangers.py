"""What strangers can write, for tests on a played machine: entries of no trust, with any text and any claimed name."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from certmedic.core.model import LogEntry, Origin, Trust
from labs.values import entry


def strange(
    text: str, *, at: datetime, stream: str = "pod:/var/log/pods/tenant_web_1/web/0.log", **claimed: Any
) -> LogEntry:
    """Return a line of a stranger, who claims what it likes of everything that is not the kernel's word."""
    made = entry(text, at=at, stream=stream, trust=Trust.STRANGER, **claimed)
    return replace(made, position="1")


def trusted(text: str, *, at: datetime, stream: str = "journal") -> LogEntry:
    """Return a line of a unit of root's."""
    made = replace(
        entry(text, at=at, stream=stream), origin=Origin(program="etcd", unit="etcd.service", uid=0, trust=Trust.SYSTEM)
    )
    return replace(made, position="1")
