"""The origin of a line, path, process, container or listener, and so whether certmedic believes it.

An origin follows from facts that a stranger cannot choose: the `_` fields of journald, the folder names of the kubelet and static
manifests, the owners of a file and of every folder above it, the executable and cgroup of a process, and the uid of a socket. The
text of a line never outranks them. Only this module knows the rule; sources and probes supply the facts.

    system    a unit of the control plane, or a static pod of kube-system: evidence for messages and actions
    cluster   another pod of kube-system: evidence for messages, never for an action by itself
    stranger  everything else: counted and shown on request, never evidence

root alone is not enough for a line. sshd, cron, sudo, log shippers and the kernel run as root and quote strangers: user names,
commands, lines of other programs. So only the units below and those in `watch.units` are believed. A name may lower trust (a file
that collects everybody's lines), but a name alone never raises it.
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
_UNITS: Final = "|".join(planes.every(lambda plane: plane.units))
CONTROL_PLANE: Final = re.compile(
    "(?:"
    r"kubelet|hyperkube|kube-(?:apiserver|controller-manager|scheduler|proxy)|k0s(?:controller|worker)"
    r"|containerd|docker|crio|cri-dockerd?"
    rf"|{_UNITS})\.service"
)
OWN_UNIT: Final = re.compile(r"certmedic(?:-(?:reader|actor)(?:@[\w.:-]+)?)?\.service")
# Transports of the kernel and auditd, which quote names and arguments of any process and report no TLS failures.
QUOTING: Final = frozenset({"kernel", "audit"})
KUBE_SYSTEM: Final = "kube-system"
# Outside kube-system anybody may create these namespaces on other planes, so only a manifest counts there.
STATIC_NAMESPACES: Final = frozenset({KUBE_SYSTEM, *planes.every(lambda plane: plane.namespaces)})
# The kubelet names a static pod's folder and cgroup by a hash of its manifest; the API server gives UUIDs.
STATIC_POD_UID: Final = re.compile(r"[0-9a-f]{32}")
# Files in which syslog daemons and the audit of the API server collect the words of anybody.
COLLECTED: Final = re.compile(
    r"(?:messages|syslog|auth|authpriv|secure|daemon|user|kern|cron|mail|maillog|debug|all)(?:\.log)?(?:[.-]\d[\w.-]*)?"
    r"|.*audit.*"
)

# The unit is the first part of a cgroup that is no slice. The processes of the unit make all further parts: a service with a
# delegated cgroup chooses their names, and containerd puts pods there if its cgroup driver is not that of the kubelet.
_SERVICE_CGROUP: Final = re.compile(
    r"/(?P<slices>(?:[^/]+\.slice/)*)(?P<unit>[^/]+\.service)(?:/(?:init|main|supervisor|control|\.control))?/?"
)
_FOREIGN_SLICE: Final = re.compile(r"(?:^|/)(?:user|machine|(?:[^/]+-)?kubepods)(?:-[^/]*)?\.slice/")
# Anchored at the top, where only root makes cgroups: users can choose any name in their part of the tree.
_POD_CGROUP: Final = re.compile(
    r"/(?:kubelet(?:\.slice)?/)?(?:kubelet-)?kubepods(?:\.slice)?/"
    r"(?:(?:(?:kubelet-)?kubepods-)?(?:burstable|besteffort)(?:\.slice)?/)?"
    r"(?:(?:kubelet-)?kubepods-(?:(?:burstable|besteffort)-)?)?pod(?P<uid>[0-9a-f_-]{32,36})(?:\.slice)?(?:/|$)"
)


OPERATOR: Final = Trust.SYSTEM  # of lines that a person passes on the command line, and of their file


def least(trusts: Iterable[Trust]) -> Trust:
    """Return the least trusted of several origins; STRANGER for none."""
    order = list(Trust)
    return max(trusts, key=order.index, default=Trust.STRANGER)


# ---------------------------------------------------------------- units


def unit_of_cgroup(cgroup: str) -> str:
    """Return the service of the system manager that owns a cgroup; "" for a session, user manager, scope or container."""
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
    """The fields of a journal entry that journald writes; empty or None if the entry has none."""

    uid: int | None = None  # _UID
    pid: int | None = None  # _PID
    unit: str = ""  # _SYSTEMD_UNIT
    cgroup: str = ""  # _SYSTEMD_CGROUP
    transport: str = ""  # _TRANSPORT
    comm: str = ""  # _COMM, which a process chooses: for display only
    exe: str = ""  # _EXE


def of_journal(fields: JournalFields, named: Collection[str] = ()) -> Trust:
    """Return the trust of an entry by the fields of journald; `named` are units that the operator believes.

    If the process ends before journald looks it up, the entry has no cgroup and is a stranger's. `of_container` judges the entries
    that a runtime wrote for a container, see `is_of_container`.
    """
    if fields.transport in QUOTING or fields.uid is None:
        return Trust.STRANGER
    return Trust.SYSTEM if is_believed_unit(fields.unit, fields.cgroup, named) else Trust.STRANGER


def is_of_container(fields: JournalFields, container: str) -> bool:
    """Whether a runtime wrote an entry for the container that CONTAINER_NAME or CONTAINER_ID names.

    Any process can add these fields, so they count only in entries of a believed unit.
    """
    return bool(container) and of_journal(fields) is Trust.SYSTEM


# ---------------------------------------------------------------- pods and containers


@dataclass(frozen=True, slots=True, kw_only=True)
class PodName:
    """A pod by the names that the kubelet gives, which nobody in the cluster can fully choose; empty if it is no pod."""

    namespace: str = ""
    pod: str = ""
    uid: str = ""  # a UUID, or for a static pod the hash of its manifest
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
    """Return the trust of a pod by the kubelet's names; `static_pods` are the names in manifests that only root can write.

    A static pod is named `<name in the manifest>-<node>`. `uid` is from the folder or cgroup of the pod; without it
    the pod is at most `cluster`.
    """
    if namespace not in STATIC_NAMESPACES:
        return Trust.STRANGER
    static = STATIC_POD_UID.fullmatch(uid) is not None
    if static and any(pod == name or pod.startswith(f"{name}-") for name in static_pods):
        return Trust.SYSTEM
    return Trust.CLUSTER if namespace == KUBE_SYSTEM else Trust.STRANGER


def of_container(name: str, static_pods: Collection[str], *, configured: bool = False) -> Trust:
    """Return the trust of a container by the name that the runtime gives it. Labels do not count: an image can set them.

    A container that no kubelet made is `configured` if a glob of `watch.docker_names` matches its name. Only root can start it, but the
    image chooses its text, so it is evidence for a message, never for an action.
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
    """Return namespace and name in the manifest of a static pod, in JSON or YAML; empty strings if it has none.

    No YAML is parsed: the least indented keys of `metadata` count.
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
    """Return the trust of a file by its owner and the owners of all folders above, `chain` from the file up to "/".

    `groups` may also write to the folders: groups of the system, such as `syslog` for /var/log on Ubuntu. For the folders of
    certificates there are none. `owners` are root and the user that runs certmedic. A sticky folder that everybody may write to,
    such as /tmp, protects the folders in it, but not the files, which may be hard links.

    Returns SYSTEM with "", or STRANGER with the reason, for people.
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
    """Return the trust of a log file, as `of_file`; `path` has no links, and the `links` that led to it must be root's too."""
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
    """The facts about a process that it cannot choose."""

    uid: int
    exe: str  # /proc/PID/exe
    cgroup: str  # from /proc/PID/cgroup, of the unified hierarchy or of systemd's


def of_process(process: Process, static_uids: Collection[str], named: Collection[str] = ()) -> Trust:
    """Return the trust of a process: it must belong to a believed service or to a container of a static pod.

    `static_uids` are the uids of the static pods on this machine, see `static_uids`; `named` as in `of_journal`. root alone does
    not count: cron and sshd run the commands of users as root.
    """
    pod = _POD_CGROUP.match(process.cgroup)
    if pod is not None:
        return Trust.SYSTEM if pod["uid"].replace("_", "-") in static_uids else Trust.STRANGER
    unit = unit_of_cgroup(process.cgroup)
    return Trust.SYSTEM if is_believed_unit(unit, process.cgroup, named) else Trust.STRANGER


_BY_ROOT: Final = re.compile(r"/system\.slice/[^/]+\.service|/user\.slice/user-\d+\.slice/session-\w+\.scope")


def is_of_root(process: Process) -> bool:
    """Whether root runs a process in a session or a service. In a container anybody may be root."""
    return process.uid == ROOT and bool(_BY_ROOT.fullmatch(process.cgroup))
