"""The dates of a certificate at one moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from certmedic.core.model import Certificate

Status = Literal["ok", "expiring", "expired", "not_yet_valid"]


def status(certificate: Certificate, now: datetime, warn_days: int = 30) -> Status:
    """Return the state of a certificate; as in Go, it is valid at NotBefore and at NotAfter themselves."""
    if now > certificate.not_after:
        return "expired"
    if now < certificate.not_before:
        return "not_yet_valid"
    return "expiring" if residual(certificate, now) <= timedelta(days=warn_days) else "ok"


def residual(certificate: Certificate, now: datetime) -> timedelta:
    """Return how long a certificate is still valid; negative once it has expired."""
    return certificate.not_after - now
