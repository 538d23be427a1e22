"""Who a line, path, process, container or listener comes from, and so whether certmedic believes it.

Origins are decided by what a stranger cannot choose: journald's own `_` fields, the kubelet's folder names and static
manifests, the owners of a file and of every folder above it, the executable and cgroup of a process, and the uid of a
socket. The text of a line never outranks them. This module is the only one that knows the rule; readers and probes bring
the facts.

    system    a unit of root's or of the control plane, or a static pod of kube-system: evidence for messages and actions
    cluster   another pod of kube-system: evidence for messages, never for an action by itself
    stranger  everything else: counted and shown on request, never evidence
"""

from __future__ import annotations

import re
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ROOT: Final = 0
# Units that are allowed to run as a user of their own and are the control plane all the same. A unit of root's needs no entry.
CONTROL_PLANE: Final = re.compile(
    r"(?:etcd[\w.-]*|kubelet|kube-[\w-]+|k3s(?:-[\w-]+)?|rke2(?:-[\w-]+)?|containerd|docker|crio|cri-docker"
    r"|protokube|kops-configuration|snap\.(?:microk8s|etcd)\.[\w.-]+)\.service"
)
# Programs that write what containers print: the containers are the origin of their entries.
RUNTIMES: Final = frozenset({"dockerd", "containerd-shim", "containerd-shim-runc-v2", "conmon"})
KUBE_SYSTEM: Final = "kube-system"
# The kubelet names a static pod's folder and cgroup by a hash of its manifest; the API server gives UUIDs.
STATIC_POD_UID: Final = re.compile(r"[0-9a-f]{32}")
_POD_CGROUP: Final = re.compile(r"/(?:kubepods[^/]*-)?pod([0-9a-f_-]{32,36})(?:\.slice)?(?:/|$)")


class Trust(StrEnum):
    """How far certmedic believes an origin, most trusted first."""

    SYSTEM = "system"
    CLUSTER = "cluster"
    STRANGER = "stranger"


def least(trusts: Iterable[Trust]) -> Trust:
    """Return the least trusted of several origins; STRANGER for none."""
    order = list(Trust)
    return max(trusts, key=order.index, default=Trust.STRANGER)


# ---------------------------------------------------------------- lines


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFields:
    """The fields of a journal entry that journald itself writes; empty or None where the entry has none."""

    uid: int | None = None  # _UID
    pid: int | None = None  # _PID
    unit: str = ""  # _SYSTEMD_UNIT
    cgroup: str = ""  # _SYSTEMD_CGROUP
    transport: str = ""  # _TRANSPORT
    comm: str = ""  # _COMM
    exe: str = ""  # _EXE


def of_journal(fields: JournalFields) -> Trust:
    """Judge an entry by journald's own fields. An entry that a runtime wrote for a container is judged by `of_pod`."""
    if fields.transport in ("kernel", "driver"):
        return Trust.SYSTEM
    if fields.pid == 1 and fields.uid == ROOT:
        return Trust.SYSTEM
    if fields.uid is None or not is_system_unit(fields.unit, fields.cgroup):
        return Trust.STRANGER
    if fields.uid == ROOT or CONTROL_PLANE.fullmatch(fields.unit):
        return Trust.SYSTEM
    return Trust.STRANGER


def is_system_unit(unit: str, cgroup: str) -> bool:
    """Whether a process runs in a service below system.slice: no login session, user manager, scope or container."""
    return (
        unit.endswith(".service")
        and not unit.startswith("user@")
        and (
            not cgroup
            or re.match(r"/system\.slice/(?:[^/]+\.slice/)*" + re.escape(unit) + r"(?:/|$)", cgroup) is not None
        )
        and _POD_CGROUP.search(cgroup) is None
    )


def writes_for_containers(fields: JournalFields) -> bool:
    """Whether an entry comes from a container runtime, which writes what its containers print."""
    return fields.uid == ROOT and (fields.exe.rpartition("/")[2] or fields.comm) in RUNTIMES


def of_pod(namespace: str, pod: str, uid: str, static_pods: Collection[str]) -> Trust:
    """Judge a pod by the kubelet's names for it; `static_pods` are the names in manifests that only root can write.

    A static pod is named `<name in the manifest>-<node>`. `uid` is that of the pod's folder or cgroup; empty where the
    runtime does not give it, and then the pod is at most `cluster`.
    """
    if namespace != KUBE_SYSTEM:
        return Trust.STRANGER
    static = STATIC_POD_UID.fullmatch(uid) is not None
    named = any(pod == name or pod.startswith(f"{name}-") for name in static_pods)
    return Trust.SYSTEM if static and named else Trust.CLUSTER


# ---------------------------------------------------------------- files


@dataclass(frozen=True, slots=True)
class Owner:
    """Who may change one file or folder."""

    path: str
    uid: int
    gid: int
    mode: int  # st_mode


def of_file(chain: Iterable[Owner]) -> tuple[Trust, str]:
    """Judge a file by its owner and by that of every folder above it, `chain` from the file up to "/".

    Returns SYSTEM with "", or STRANGER with the reason, for a person.
    """
    for owner in chain:
        if stat.S_ISLNK(owner.mode):
            return Trust.STRANGER, f"{owner.path} is a symbolic link"
        if owner.uid != ROOT:
            return Trust.STRANGER, f"{owner.path} belongs to uid {owner.uid}, not to root"
        if owner.mode & stat.S_IWOTH:
            return Trust.STRANGER, f"{owner.path} is writable by everybody"
        if owner.mode & stat.S_IWGRP and owner.gid != ROOT:
            return Trust.STRANGER, f"{owner.path} is writable by the group {owner.gid}"
    return Trust.SYSTEM, ""


# ---------------------------------------------------------------- processes and listeners


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process by what it cannot choose."""

    uid: int
    exe: str  # /proc/PID/exe
    cgroup: str  # from /proc/PID/cgroup, of the unified hierarchy or of systemd's


def of_process(process: Process, static_uids: Collection[str]) -> Trust:
    """Judge a process: a service of the system, or a container of a static pod.

    `static_uids` are the uids of the pods that are static on this machine, from the kubelet's folders.
    """
    pod = _POD_CGROUP.search(process.cgroup)
    if pod is not None:
        return Trust.SYSTEM if pod[1].replace("_", "-") in static_uids else Trust.STRANGER
    unit = next((part for part in reversed(process.cgroup.split("/")) if part.endswith(".service")), "")
    if not is_system_unit(unit, process.cgroup):
        return Trust.STRANGER
    return Trust.SYSTEM if process.uid == ROOT or CONTROL_PLANE.fullmatch(unit) else Trust.STRANGER
