"""What strangers can write, for tests on a played machine: entries of no trust, with any text and any claimed name."""

from dataclasses import replace

from certmedic.core.model import Origin, Trust
from labs.values import entry


def strange(text, *, at, stream="pod:/var/log/pods/tenant_web_1/web/0.log", **claimed):
    """Return a line of a stranger, who claims what it likes of everything that is not the kernel's word."""
    made = entry(text, at=at, stream=stream, trust=Trust.STRANGER, **claimed)
    return replace(made, position="1")


def trusted(text, *, at, stream="journal"):
    """Return a line of a unit of root's."""
    made = replace(
        entry(text, at=at, stream=stream), origin=Origin(program="etcd", unit="etcd.service", uid=0, trust=Trust.SYSTEM)
    )
    return replace(made, position="1")
