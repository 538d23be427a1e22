"""Path and certificate to what the file is for."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

from certmedic.core.model import Certificate, Place
from certmedic.core.planes.table import ETCD_GROUPS, PLANES, Pattern


def patterns(planes: str | Sequence[str] = "auto", root: str = "/") -> tuple[str, ...]:
    """Return the globs to read for these planes (`auto`: all of them) on a machine whose root is at `root`."""
    chosen = PLANES if planes == "auto" else [planes] if isinstance(planes, str) else planes
    base = root.rstrip("/")
    return tuple(dict.fromkeys(base + pattern.glob for plane in chosen for pattern in PLANES[plane]))


def host_path(path: str) -> str:
    """Return a path as it is on the host: etcd-manager's container sees the host under /rootfs."""
    return path.removeprefix("/rootfs") if path.startswith("/rootfs/") else path


def place(
    path: str, certificate: Certificate | None = None, *, siblings: Iterable[Certificate] = (), use: str = ""
) -> Place:
    """Return what a certificate file is for: by its path, else by its content.

    `siblings` are other certificates of the same etcd volume: if neither path nor certificate names the etcd group, the first
    sibling that does decides. `use` is what a running process uses the file for.
    """
    path = host_path(path)
    pattern, prefix = _recognise(path)
    is_ca = certificate is not None and certificate.is_ca
    if pattern is None:
        return Place(plane="", group="", use="ca" if is_ca else use, renewer="unknown")
    purpose = pattern.use or use or _use_by_name(posixpath.basename(path).lower())
    # The chain of a leaf in the leaf's file, the authority inside a kubeconfig.
    if is_ca and (not pattern.use or _may_hold_chain(path, certificate)):
        purpose = "ca"
    group = _group(path, pattern, certificate, siblings) if pattern.plane == "kops" else ""
    if purpose == "ca":
        return Place(plane=pattern.plane, group=group, use=purpose, renewer=pattern.renewer)
    return Place(
        plane=pattern.plane,
        group=group,
        use=purpose,
        renewer=pattern.renewer,
        ca_path=_beside(path, prefix, pattern.ca),
        ports=_ports(pattern, group),
    )


def in_its_place(path: str) -> bool:
    """Whether a file lies where its plane has it on a master, and not only under the same name elsewhere."""
    return _recognise(host_path(path))[1] == "/"


def _may_hold_chain(path: str, certificate: Certificate | None) -> bool:
    return (certificate is not None and certificate.index > 0) or path.endswith((".conf", "/kubeconfig"))


# Patterns by the last part of their path, or by its folder if that part has a wildcard: a master may hold thousands of files.
_BY_NAME: dict[str, list[Pattern]] = {}
_BY_FOLDER: dict[str, list[Pattern]] = {}
_OTHERS: list[Pattern] = []
for _pattern in (pattern for plane in PLANES.values() for pattern in plane):
    if "*" not in _pattern.parts[-1]:
        _BY_NAME.setdefault(_pattern.parts[-1], []).append(_pattern)
    elif _pattern.tail > 1 and "*" not in _pattern.parts[-2]:
        _BY_FOLDER.setdefault(_pattern.parts[-2], []).append(_pattern)
    else:
        _OTHERS.append(_pattern)


@lru_cache(maxsize=1024)
def _named(end: tuple[str, ...]) -> tuple[Pattern, ...]:
    """Return the patterns that fit a path's last two parts; cached, because the same few names recur."""
    likely = (*_BY_NAME.get(end[-1], ()), *_BY_FOLDER.get(end[0], ()), *_OTHERS)
    # A path of one part, which is both here, may end any pattern.
    if len(end) == 1:
        likely = tuple(pattern for plane in PLANES.values() for pattern in plane)
    return tuple(pattern for pattern in likely if _common_end(end, pattern.parts) >= min(len(end), pattern.tail))


def _recognise(path: str) -> tuple[Pattern | None, str | None]:
    """Return the pattern that knows most of a path's end, and what stands before it where all of the pattern fits."""
    parts = path.strip("/").split("/")
    best: Pattern | None = None
    most = 0
    for pattern in _named(tuple(parts[-2:])):
        known = _common_end(parts, pattern.parts)
        if known >= pattern.tail and known > most:
            best, most = pattern, known
    if best is None or most < len(best.parts):
        return best, None
    before = "/".join(parts[: len(parts) - most])
    return best, f"/{before}" if path.startswith("/") else before


def _common_end(parts: Sequence[str], wanted: Sequence[str]) -> int:
    known = 0
    for part, pattern in zip(reversed(parts), reversed(wanted), strict=False):
        if part != pattern and not ("*" in pattern and fnmatchcase(part, pattern)):
            break
        known += 1
    return known


def _beside(path: str, prefix: str | None, ca: str) -> str:
    if ca.startswith("/"):
        return "" if prefix is None else posixpath.join(prefix, ca.lstrip("/"))
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), ca)) if ca else ""


def _ports(pattern: Pattern, group: str) -> tuple[int, ...]:
    listens = ETCD_GROUPS.get(group)
    if pattern.plane != "kops" or listens is None:
        return pattern.ports
    by_use = {"peer": listens.peer, "server": listens.client, "manager-server": listens.manager}
    return (by_use[pattern.use],) if pattern.use in by_use else pattern.ports


def _use_by_name(name: str) -> str:
    for part, use in (("peer", "peer"), ("member", "peer"), ("server", "server"), ("client", "client"), ("ca.", "ca")):
        if part in name:
            return use
    return ""


_OF_FOLDER = re.compile(r"/etcd-manager-([a-z0-9]+)/[^/]+$")
_OF_TOKEN = re.compile(r"/pki/etcd-cluster-token-etcd(?:-([a-z0-9]+))?/(?:peers|clients)/")
_OF_ISSUER = re.compile(r"etcd-(?:peers|manager|clients)-ca-([a-z0-9-]+)")
_OF_MEMBER = re.compile(r"(?:etcd-manager-(?:server|client)-)?etcd-(?:(events|cilium|leases)-)?.+")


def _group(path: str, pattern: Pattern, certificate: Certificate | None, siblings: Iterable[Certificate]) -> str:
    """Return the etcd group of a file on a kops master: main, events, cilium, leases; "" for those of none or of several."""
    if "cilium" in pattern.parts:
        return "cilium"
    if match := _OF_FOLDER.search(path) or _OF_TOKEN.search(path):
        return match[1] or "main"
    if "peers" not in pattern.parts and "clients" not in pattern.parts:
        return ""
    for known in (certificate, *siblings):
        if known is None:
            continue
        if match := _OF_ISSUER.fullmatch(known.subject_cn if known.is_ca else known.issuer_cn):
            return match[1]
        # All groups but cilium share one authority for clients; then the member's name tells.
        if not known.is_ca and (match := _OF_MEMBER.fullmatch(known.subject_cn)):
            return match[1] or "main"
    return ""
