"""Who a line, path, process, container or listener comes from, and so whether certmedic believes it.

Origins are decided by what a stranger cannot choose: journald's own `_` fields, the kubelet's folder names and static
manifests, the owners of a file and of every folder above it, the executable and cgroup of a process, and the uid of a
socket. The text of a line never outranks them. This module is the only one that knows the rule; readers and probes bring
the facts.

    system    a unit of the control plane, or a static pod of kube-system: evidence for messages and actions
    cluster   another pod of kube-system: evidence for messages, never for an action by itself
    stranger  everything else: counted and shown on request, never evidence

root alone is not enough for a line. sshd, cron, sudo, log shippers and the kernel run as root and quote what strangers
choose: user names, commands, other programs' lines. So only the units below, and those that the operator names in
`watch.units`, are believed. A name may lower trust (a file that collects everybody's lines); a name alone never raises it.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from certmedic.core import planes
from certmedic.core.vocabulary import Trust as Trust  # noqa: PLC0414 - importers of origin.Trust

ROOT: Final = 0
# Units of the control plane, whatever user they run as. Only root can start a unit of the system's manager by such a name.
CONTROL_PLANE: Final = re.compile(
    "(?:"
    r"kubelet|hyperkube|kube-(?:apiserver|controller-manager|scheduler|proxy)|k0s(?:controller|worker)"
    r"|containerd|docker|crio|cri-dockerd?"
    rf"|{'|'.join(planes.UNITS)})\.service"
)
OWN_UNIT: Final = re.compile(r"certmedic(?:-(?:reader|actor)(?:@[\w.:-]+)?)?\.service")
# What the kernel and auditd log quotes names and arguments of any process, and no program's TLS failure.
QUOTING: Final = frozenset({"kernel", "audit"})
KUBE_SYSTEM: Final = "kube-system"
# Outside kube-system anybody may create these namespaces on other planes, so only a manifest counts there.
STATIC_NAMESPACES: Final = frozenset({KUBE_SYSTEM, *planes.NAMESPACES})
# The kubelet names a static pod's folder and cgroup by a hash of its manifest; the API server gives UUIDs.
STATIC_POD_UID: Final = re.compile(r"[0-9a-f]{32}")
# Files in which syslog daemons and the API server's audit collect what anybody says or asks for.
COLLECTED: Final = re.compile(
    r"(?:messages|syslog|auth|authpriv|secure|daemon|user|kern|cron|mail|maillog|debug|all)(?:\.log)?(?:[.-]\d[\w.-]*)?"
    r"|.*audit.*"
)

# The unit is the first part of a cgroup that is no slice. Further parts are made by the unit's own processes: a service to
# which a cgroup is delegated names them as it likes, and containerd puts pods there if its cgroup driver is not the kubelet's.
_SERVICE_CGROUP: Final = re.compile(
    r"/(?P<slices>(?:[^/]+\.slice/)*)(?P<unit>[^/]+\.service)(?:/(?:init|main|supervisor|control|\.control))?/?"
)
_FOREIGN_SLICE: Final = re.compile(r"(?:^|/)(?:user|machine|(?:[^/]+-)?kubepods)(?:-[^/]*)?\.slice/")
# Anchored at the top, where only root makes cgroups: below its own part of the tree a user can make any name.
_POD_CGROUP: Final = re.compile(
    r"/(?:kubelet(?:\.slice)?/)?(?:kubelet-)?kubepods(?:\.slice)?/"
    r"(?:(?:(?:kubelet-)?kubepods-)?(?:burstable|besteffort)(?:\.slice)?/)?"
    r"(?:(?:kubelet-)?kubepods-(?:(?:burstable|besteffort)-)?)?pod(?P<uid>[0-9a-f_-]{32,36})(?:\.slice)?(?:/|$)"
)


OPERATOR: Final = Trust.SYSTEM  # a line that a person at the command line hands over, with its file


def least(trusts: Iterable[Trust]) -> Trust:
    """Return the least trusted of several origins; STRANGER for none."""
    order = list(Trust)
    return max(trusts, key=order.index, default=Trust.STRANGER)


# ---------------------------------------------------------------- units


def unit_of_cgroup(cgroup: str) -> str:
    """Return the service of the system's manager that owns a cgroup; "" for a session, user manager, scope or container."""
    match = _SERVICE_CGROUP.fullmatch(cgroup)
    if match is None or _FOREIGN_SLICE.search(match["slices"]):
        return ""
    return match["unit"]


def is_believed_unit(unit: str, cgroup: str, named: Collection[str] = ()) -> bool:
    """Whether a process belongs to a service of the control plane, or to one that the operator named."""
    return bool(unit) and unit == unit_of_cgroup(cgroup) and (unit in named or bool(CONTROL_PLANE.fullmatch(unit)))


# ---------------------------------------------------------------- lines


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFields:
    """The fields of a journal entry that journald itself writes; empty or None where the entry has none."""

    uid: int | None = None  # _UID
    pid: int | None = None  # _PID
    unit: str = ""  # _SYSTEMD_UNIT
    cgroup: str = ""  # _SYSTEMD_CGROUP
    transport: str = ""  # _TRANSPORT
    comm: str = ""  # _COMM, which a process chooses: for display only
    exe: str = ""  # _EXE


def of_journal(fields: JournalFields, named: Collection[str] = ()) -> Trust:
    """Judge an entry by journald's own fields; `named` are units that the operator believes.

    If the process has ended before journald looks it up, the cgroup is missing and the line is a stranger's. An entry that a
    runtime wrote for a container is judged by `of_container`, see `is_of_container`.
    """
    if fields.transport in QUOTING or fields.uid is None:
        return Trust.STRANGER
    return Trust.SYSTEM if is_believed_unit(fields.unit, fields.cgroup, named) else Trust.STRANGER


def is_of_container(fields: JournalFields, container: str) -> bool:
    """Whether a runtime wrote an entry for the container that CONTAINER_NAME or CONTAINER_ID names.

    Any process can add these fields. Only those of a believed unit tell where the text comes from.
    """
    return bool(container) and of_journal(fields) is Trust.SYSTEM


# ---------------------------------------------------------------- pods and containers


@dataclass(frozen=True, slots=True, kw_only=True)
class PodName:
    """A pod by the kubelet's own names, which nobody in the cluster can choose as a whole; empty if it is none."""

    namespace: str = ""
    pod: str = ""
    uid: str = ""  # of the log's folder: a UUID, or of a static pod the hash of its manifest
    container: str = ""


def pod_of_folder(folder: str) -> PodName:
    """Read the name of a folder in /var/log/pods, `<namespace>_<pod>_<uid>`."""
    parts = folder.split("_")
    return PodName(namespace=parts[0], pod=parts[1], uid=parts[2]) if len(parts) == 3 else PodName()


def pod_of_container(name: str) -> PodName:
    """Read a container's name as the kubelet makes it: `k8s_<container>_<pod>_<namespace>_<uid>_<attempt>`.

    None of the parts can hold an underscore. A second attempt at one name adds a random part.
    """
    parts = name.split("_")
    if len(parts) < 6 or parts[0] != "k8s":
        return PodName()
    return PodName(container=parts[1], pod=parts[2], namespace=parts[3], uid=parts[4])


def of_pod(namespace: str, pod: str, uid: str, static_pods: Collection[str]) -> Trust:
    """Judge a pod by the kubelet's names for it; `static_pods` are the names in manifests that only root can write.

    A static pod is named `<name in the manifest>-<node>`. `uid` is that of the pod's folder or cgroup; empty where the
    runtime does not give it, and then the pod is at most `cluster`.
    """
    if namespace not in STATIC_NAMESPACES:
        return Trust.STRANGER
    static = STATIC_POD_UID.fullmatch(uid) is not None
    if static and any(pod == name or pod.startswith(f"{name}-") for name in static_pods):
        return Trust.SYSTEM
    return Trust.CLUSTER if namespace == KUBE_SYSTEM else Trust.STRANGER


def of_container(name: str, static_pods: Collection[str], *, configured: bool = False) -> Trust:
    """Judge a container by the name that its runtime gives. Labels do not count: an image brings its own.

    A container that no kubelet made is `configured` if a glob of `watch.docker_names` matches its name. Only root can start
    one, but its text is its image's: it is evidence for a message, never for an action.
    """
    pod = pod_of_container(name)
    if pod.pod:
        return of_pod(pod.namespace, pod.pod, pod.uid, static_pods)
    return Trust.CLUSTER if configured and not name.startswith("k8s_") else Trust.STRANGER


def static_uids(folders: Iterable[str], static_pods: Collection[str]) -> frozenset[str]:
    """Return the uids of this machine's static pods, from the names of root's folders in /var/log/pods."""
    pods = map(pod_of_folder, folders)
    return frozenset(pod.uid for pod in pods if of_pod(pod.namespace, pod.pod, pod.uid, static_pods) is Trust.SYSTEM)


_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_YAML_KEY: Final = re.compile(r"[ \t]+[\"']?(name|namespace)[\"']?:[ \t]*[\"']?([^\s\"'#]{1,253})")
_YAML_METADATA: Final = re.compile(r"^metadata:[ \t]*(?:#.*)?\n((?:[ \t]+.*\n?|[ \t]*(?:#.*)?\n)*)", re.MULTILINE)


def pod_of_manifest(text: str) -> tuple[str, str]:
    """Return namespace and name of a static pod's manifest, in JSON or YAML; empty strings if it tells none.

    No YAML is parsed: `metadata` is cut out, and of it the keys that are indented least.
    """
    if text.lstrip().startswith("{"):
        return _of_json(text)
    block = _YAML_METADATA.search(text)
    lines = [line for line in (block[1] if block else "").splitlines() if line.strip() and line.strip()[0] != "#"]
    indent = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    keys = [_YAML_KEY.match(line) for line in lines if len(line) - len(line.lstrip()) == indent]
    return _named_pod({key[1]: key[2] for key in keys if key})


def _of_json(text: str) -> tuple[str, str]:
    try:
        metadata = json.loads(text)["metadata"]
        return _named_pod({key: str(metadata.get(key, "")) for key in ("name", "namespace")})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", ""


def _named_pod(metadata: dict[str, str]) -> tuple[str, str]:
    name, namespace = metadata.get("name", ""), metadata.get("namespace") or "default"
    return (namespace, name) if _NAME.fullmatch(name) else ("", "")


# ---------------------------------------------------------------- files


@dataclass(frozen=True, slots=True)
class Owner:
    """Who may change one file or folder."""

    path: str
    uid: int
    gid: int
    mode: int  # st_mode


def of_file(
    chain: Iterable[Owner], *, groups: Collection[int] = (), owners: Collection[int] = (ROOT,)
) -> tuple[Trust, str]:
    """Judge a file by its owner and by that of every folder above it, `chain` from the file up to "/".

    `groups` may write to the folders beside root: the system's own, as Ubuntu's `syslog` may to /var/log. A certificate's
    folders tolerate none. `owners` are root, and the user that runs certmedic if that is another. A sticky folder that
    everybody may write to, as /tmp, protects the folders in it and not the files, which may be hard links.

    Returns SYSTEM with "", or STRANGER with the reason, for a person.
    """
    below_is_folder = False
    for owner in chain:
        is_folder = stat.S_ISDIR(owner.mode)
        if stat.S_ISLNK(owner.mode):
            return Trust.STRANGER, f"{owner.path} is a symbolic link"
        if owner.uid not in owners:
            return Trust.STRANGER, f"{owner.path} belongs to uid {owner.uid}, not to root"
        sticky = is_folder and below_is_folder and bool(owner.mode & stat.S_ISVTX)
        if owner.mode & stat.S_IWOTH and not sticky:
            return Trust.STRANGER, f"{owner.path} is writable by everybody"
        known = owner.gid == ROOT or (is_folder and owner.gid in groups) or sticky
        if owner.mode & stat.S_IWGRP and not known:
            return Trust.STRANGER, f"{owner.path} is writable by the group {owner.gid}"
        below_is_folder = is_folder
    return Trust.SYSTEM, ""


def of_log(
    path: str, chain: Iterable[Owner], *, links: Iterable[Owner] = (), groups: Collection[int], owners: Collection[int]
) -> tuple[Trust, str]:
    """Judge a log file: as `of_file`, by `path` without its links, each of which must be root's too."""
    name = path.rpartition("/")[2]
    if COLLECTED.fullmatch(name):
        return Trust.STRANGER, f"{path} collects the lines of every program"
    for link in links:
        if link.uid not in owners:
            return Trust.STRANGER, f"{link.path} is a link of uid {link.uid}, not of root"
    return of_file(chain, groups=groups, owners=owners)


# ---------------------------------------------------------------- processes and listeners


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process by what it cannot choose."""

    uid: int
    exe: str  # /proc/PID/exe
    cgroup: str  # from /proc/PID/cgroup, of the unified hierarchy or of systemd's


def of_process(process: Process, static_uids: Collection[str], named: Collection[str] = ()) -> Trust:
    """Judge a process: one of a believed service, or of a container of a static pod.

    `static_uids` are the uids of the pods that are static on this machine, see `static_uids`; `named` as in `of_journal`.
    root alone does not count: cron and sshd run as root what a user tells them to.
    """
    pod = _POD_CGROUP.match(process.cgroup)
    if pod is not None:
        return Trust.SYSTEM if pod["uid"].replace("_", "-") in static_uids else Trust.STRANGER
    unit = unit_of_cgroup(process.cgroup)
    return Trust.SYSTEM if is_believed_unit(unit, process.cgroup, named) else Trust.STRANGER
