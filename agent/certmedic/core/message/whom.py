"""Routing: the channels that hear of an incident, and the silences under which none does."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase

from certmedic.core.model import Diagnosis, MessageKind, Route, Silence
from certmedic.core.window import Window


def tag_of(kind: MessageKind, diagnosis: Diagnosis, routes: Iterable[Route]) -> str:
    """Return the tag of the first route that fits; "" where none does, and the severity alone decides.

    "resolved" is routed as the incident was, by its severity while it lasted, so that the same people hear of its end.
    """
    values = {"severity": diagnosis.severity, "cause": diagnosis.cause, "plane": diagnosis.plane, "event": kind}
    for route in routes:
        if all(getattr(route, name) in ("", value) for name, value in values.items()):
            return route.tag
    return ""


def windows(maintenance: Iterable[Window], now: datetime) -> tuple[Silence, ...]:
    """Return the maintenance windows that are open now, as the silences that they are."""
    return tuple(
        Silence(
            id=0,
            cause="",
            file="",
            plane="",
            author="notify.maintenance",
            comment=one.text,
            starts_at=now,
            ends_at=one.closes(now),
        )
        for one in maintenance
        if one.is_open(now)
    )


def silence_of(diagnosis: Diagnosis, silences: Iterable[Silence], now: datetime) -> Silence | None:
    """Return the silence that covers an incident now, the one that ends last; None without one.

    A glob must match every file of the incident: a silence for one file must not hide another.
    """
    files = [one.path for one in diagnosis.certificates if one.path]
    fitting = [
        one
        for one in silences
        if one.starts_at <= now < one.ends_at
        and one.cause in ("", diagnosis.cause)
        and one.plane in ("", diagnosis.plane)
        and (not one.file or (bool(files) and all(fnmatchcase(path, one.file) for path in files)))
    ]
    return max(fitting, key=lambda one: one.ends_at, default=None)
