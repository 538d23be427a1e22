"""Values for tests of holders: a kubeadm scheduler's file, running programs, and certificates that were replaced."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from certmedic.core.model import Program, Replaced, Stored, Trust
from labs import pki
from labs.values import DAY, NOW, stored

CA = pki.authority("kubernetes", not_before=NOW - 400 * DAY)
LEAF = CA.leaf("system:kube-scheduler", not_before=NOW - 400 * DAY, not_after=NOW + 300 * DAY, server=False)
CONF = "/etc/kubernetes/scheduler.conf"
CA_FILE = "/etc/kubernetes/pki/ca.crt"
OF: dict[str, Any] = {"plane": "kubeadm", "group": "", "renewer": "kubeadm"}


def scheduler(**more: Any) -> Stored:
    """Return the kubeconfig of kube-scheduler, renewed just now."""
    return stored(LEAF, CONF, "scheduler-client", ca_path=CA_FILE, **{**OF, **more})


def program(
    name: str = "kube-scheduler", *, started: datetime = NOW - DAY, pid: int = 7, trust: Trust = Trust.SYSTEM
) -> Program:
    """Return a running program that started before its files were renewed."""
    return Program(name=name, pid=pid, started_at=started, trust=trust)


def old(**more: Any) -> Replaced:
    """Return the certificate that the scheduler's kubeconfig held before; it expired yesterday."""
    values = {
        "path": CONF,
        "serial": "66801d423d2cc348",
        "authority_key_id": "",
        "not_after": NOW - DAY,
        "fingerprint": "f",
        "at": NOW - 2 * DAY,
    }
    return Replaced(**{**values, **more})
