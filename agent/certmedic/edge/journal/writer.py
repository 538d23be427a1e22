"""The origin of a journal entry, from the fields that journald itself adds."""

from __future__ import annotations

from collections.abc import Callable, Collection

from certmedic.core import lines, origin
from certmedic.core.model import Origin, Trust
from certmedic.core.origin import JournalFields
from certmedic.edge.journal.fast_reader import Steps
from certmedic.edge.static_pods import StaticPods


def field_of(steps: Steps) -> Callable[[str], str]:
    """Return a function that reads a field of the current entry; "" if the entry has none or is damaged."""

    def field(name: str) -> str:
        try:
            return lines.text(steps.get(name))
        except (KeyError, OSError):
            return ""

    return field


def fields_of(field: Callable[[str], str]) -> JournalFields:
    """Return the fields that no program can choose, and _COMM."""
    return JournalFields(
        uid=_number(field("_UID")),
        pid=_number(field("_PID")),
        unit=field("_SYSTEMD_UNIT"),
        cgroup=field("_SYSTEMD_CGROUP"),
        transport=field("_TRANSPORT"),
        comm=field("_COMM"),
        exe=field("_EXE"),
    )


def origin_of(
    writer: JournalFields, field: Callable[[str], str], named: Collection[str], static_pods: StaticPods
) -> Origin:
    """Return the origin of an entry. SYSLOG_IDENTIFIER and _COMM, which any process can choose, are for display only.

    The pid is kept only for a trusted program: strangers could start a process for each line, and each pid would defeat the
    cache of parsed lines.
    """
    identifier = field("SYSLOG_IDENTIFIER")
    container, number = field("CONTAINER_NAME"), field("CONTAINER_ID_FULL")
    if origin.is_of_container(writer, container or number):
        pod = origin.pod_of_container(container)
        return Origin(
            program=identifier,
            unit=writer.unit,
            uid=writer.uid,
            container=container,
            container_id=number,
            image=field("IMAGE_NAME"),
            pod=pod.pod,
            namespace=pod.namespace,
            trust=origin.of_container(container, static_pods.names),
        )
    trust = origin.of_journal(writer, named)
    if trust is not Trust.SYSTEM:
        return Origin(program=identifier or writer.comm, unit=writer.unit, uid=writer.uid, trust=trust)
    program = writer.exe.rpartition("/")[2] or identifier or writer.comm
    return Origin(program=program, unit=writer.unit, pid=writer.pid, uid=writer.uid, trust=trust)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None
