"""Routing: which channels get a message, and which silence suppresses it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase

from certmedic.core.model import Diagnosis, MessageKind, Route, Severity, Silence
from certmedic.core.window import Window


def tag_of(kind: MessageKind, diagnosis: Diagnosis, routes: Iterable[Route], severity: Severity) -> str:
    """Return the tag of the first route that fits; "" if none does and the severity alone decides.

    `severity` is that of the incident, also for "resolved".
    """
    values = {"severity": severity, "cause": diagnosis.cause, "plane": diagnosis.plane, "event": kind}
    for route in routes:
        if all(getattr(route, name) in ("", value) for name, value in values.items()):
            return route.tag
    return ""


def windows(maintenance: Iterable[Window], now: datetime) -> tuple[Silence, ...]:
    """Return the maintenance windows that are open now, as silences."""
    return tuple(
        Silence(
            id=0,
            cause="",
            file="",
            plane="",
            author="notify.maintenance",
            comment=window.text,
            starts_at=now,
            ends_at=window.closes(now),
        )
        for window in maintenance
        if window.is_open(now)
    )


def silence_of(diagnosis: Diagnosis, silences: Iterable[Silence], now: datetime) -> Silence | None:
    """Return the silence that covers an incident now and ends last; None if none does.

    A glob must match every file of the incident: a silence for one file must not hide another.
    """
    files = [leaf.path for leaf in diagnosis.certificates if leaf.path]
    fitting = [
        silence
        for silence in silences
        if silence.starts_at <= now < silence.ends_at
        and silence.cause in ("", diagnosis.cause)
        and silence.plane in ("", diagnosis.plane)
        and (not silence.file or (bool(files) and all(fnmatchcase(path, silence.file) for path in files)))
    ]
    return max(fitting, key=lambda silence: silence.ends_at, default=None)
