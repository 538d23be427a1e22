"""Lookups over the records of all planes: by path, place, use and renewer. No other module searches them."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

from certmedic.core.place import Place
from certmedic.core.planes.etcd import ETCD
from certmedic.core.planes.kops import KOPS
from certmedic.core.planes.kubeadm import KUBEADM
from certmedic.core.planes.microk8s import MICROK8S
from certmedic.core.planes.openshift import OPENSHIFT
from certmedic.core.planes.rancher import K3S, RKE2
from certmedic.core.planes.record import Case, Effect, FileKind, Plane, Renewer, Use, always
from certmedic.core.planes.uses import USES
from certmedic.core.vocabulary import Role

if TYPE_CHECKING:
    from certmedic.core.evidence import Certificate, Container

PLANES: Mapping[str, Plane] = {plane.name: plane for plane in (KOPS, KUBEADM, K3S, RKE2, ETCD, MICROK8S, OPENSHIFT)}

_NO_PLANE = Plane(name="", files=())
_NO_RENEWER = Renewer(
    name="unknown", effect=always(Effect(kind="unknown", why="Who renews this file is not known.")), restartable=False
)

Known = tuple[Plane, FileKind]


class Index:
    """Records by the keys under which they are looked up."""

    def __init__(self, planes: Iterable[Plane]) -> None:
        self.planes = {plane.name: plane for plane in planes}
        self.renewers = {renewer.name: renewer for plane in self.planes.values() for renewer in plane.renewers}
        self.uses = {use.name: use for use in (*USES, *(use for plane in self.planes.values() for use in plane.uses))}
        self.kinds: list[Known] = [(plane, kind) for plane in self.planes.values() for kind in plane.files]
        # By the last part of a path, or by its folder if that part has a wildcard: a master may hold thousands of files.
        self.by_name: dict[str, list[Known]] = {}
        self.by_folder: dict[str, list[Known]] = {}
        self.others: list[Known] = []
        for known in self.kinds:
            *_, folder, name = ("", *known[1].parts)
            if "*" not in name:
                self.by_name.setdefault(name, []).append(known)
            elif known[1].tail > 1 and "*" not in folder:
                self.by_folder.setdefault(folder, []).append(known)
            else:
                self.others.append(known)


INDEX = Index(PLANES.values())

# ---------------------------------------------------------------- files


def patterns(planes: str | Sequence[str] = "auto", root: str = "/") -> tuple[str, ...]:
    """Return the globs to read for these planes (`auto`: all of them) on a machine whose root is at `root`."""
    chosen = INDEX.planes if planes == "auto" else [planes] if isinstance(planes, str) else planes
    base = root.rstrip("/")
    return tuple(dict.fromkeys(base + kind.glob for name in chosen for kind in INDEX.planes[name].files))


def host_path(path: str) -> str:
    """Return a path as it is on the host: etcd-manager's container sees the host under /rootfs."""
    return path.removeprefix("/rootfs") if path.startswith("/rootfs/") else path


def place(
    path: str, certificate: Certificate | None = None, *, siblings: Iterable[Certificate] = (), use: str = ""
) -> Place:
    """Return the place of a certificate file: by its path, else by its content.

    `siblings` are other certificates of the same etcd volume: if neither path nor certificate names the etcd group, the first
    sibling that does decides. `use` is how a running process uses the file.
    """
    path = host_path(path)
    known, prefix = _recognise(path)
    is_ca = certificate is not None and certificate.is_ca
    if known is None:
        return Place(plane="", group="", use="ca" if is_ca else use, renewer="unknown")
    plane, kind = known
    purpose = kind.use or use or _use_by_name(posixpath.basename(path).lower())
    if (
        certificate is not None
        and is_ca
        and (not kind.use or certificate.index > 0 or path.endswith((".conf", "/kubeconfig")))
    ):
        purpose = "ca"  # the file of a leaf may hold its chain, and a kubeconfig its CA
    group = plane.group_of(path, kind, certificate, siblings) if plane.group_of else ""
    if purpose == "ca":
        return Place(plane=plane.name, group=group, use=purpose, renewer=kind.renewer)
    return Place(
        plane=plane.name,
        group=group,
        use=purpose,
        renewer=kind.renewer,
        ca_path=_beside(path, prefix, kind.ca),
        ports=_ports(plane, kind, group),
    )


def in_its_place(path: str) -> bool:
    """Whether a file has the whole path of its kind, and not only the end of that path."""
    return _recognise(host_path(path))[1] == "/"


def key_beside(path: str) -> str:
    """Return the customary path of the private key of a PEM certificate; "" if there is no custom."""
    stem, end = posixpath.splitext(path)
    if end in (".crt", ".cert", ".cer"):
        return f"{stem}.key"
    if end == ".pem":
        return f"{stem.removesuffix('cert')}key.pem" if stem.endswith("cert") else f"{stem}-key.pem"
    return ""


def etcd_config(place: Place, path: str) -> str:
    """Return the configuration of the etcd that serves a peer certificate, if its plane runs etcd inside its own process; else ""."""
    config = plane_of(place.plane).etcd_config if place.use == "peer" else ""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), config)) if config else ""


@lru_cache(maxsize=1024)
def _named(index: Index, end: tuple[str, ...]) -> tuple[Known, ...]:
    """Return the kinds of file that fit the last two parts of a path; cached, because few names recur."""
    likely = [*index.by_name.get(end[-1], ()), *index.by_folder.get(end[0], ()), *index.others]
    # A path of one part may be the end of any kind.
    if len(end) == 1:
        likely = index.kinds
    return tuple(known for known in likely if _common_end(end, known[1].parts) >= min(len(end), known[1].tail))


def _recognise(path: str) -> tuple[Known | None, str | None]:
    """Return the kind of file that fits most parts of a path, and the prefix before them if the whole kind fits."""
    parts = path.strip("/").split("/")
    best: Known | None = None
    most = 0
    for known in _named(INDEX, tuple(parts[-2:])):
        common = _common_end(parts, known[1].parts)
        if common >= known[1].tail and common > most:
            best, most = known, common
    if best is None or most < len(best[1].parts):
        return best, None
    before = "/".join(parts[: len(parts) - most])
    return best, f"/{before}" if path.startswith("/") else before


def _common_end(parts: Sequence[str], wanted: Sequence[str]) -> int:
    common = 0
    for part, pattern in zip(reversed(parts), reversed(wanted), strict=False):
        if part != pattern and not ("*" in pattern and fnmatchcase(part, pattern)):
            break
        common += 1
    return common


def _beside(path: str, prefix: str | None, ca: str) -> str:
    if ca.startswith("/"):
        return "" if prefix is None else posixpath.join(prefix, ca.lstrip("/"))
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), ca)) if ca else ""


def _ports(plane: Plane, kind: FileKind, group: str) -> tuple[int, ...]:
    listens = plane.groups.get(group)
    if listens is None:
        return kind.ports
    by_use = {"peer": listens.peer, "server": listens.client, "manager-server": listens.manager}
    return (by_use[kind.use],) if kind.use in by_use else kind.ports


def _use_by_name(name: str) -> str:
    for part, use in (("peer", "peer"), ("member", "peer"), ("server", "server"), ("client", "client"), ("ca.", "ca")):
        if part in name:
            return use
    return ""


# ---------------------------------------------------------------- uses


def use_of(name: str) -> Use:
    """Return the record of a use; without one, a use with nothing but a name."""
    return INDEX.uses.get(name) or Use(name=name)


def holders() -> frozenset[str]:
    """Return the programs whose certificates are known."""
    return frozenset(use.holder for use in INDEX.uses.values() if use.holder)


def holder_in(place: Place) -> str:
    """Return the program that has the certificate of a place in memory; "" if that is not known."""
    if place.plane in _ONE_PROCESS:
        return place.plane
    return use_of(place.use).holder


def reads_at_start(place: Place) -> bool:
    """Whether the holder reads the file of a place only when it starts (FIELD 8.1)."""
    if place.plane in _ONE_PROCESS:
        return place.use not in ("peer", "server", "dynamic-listener", "kubectl")
    return use_of(place.use).at_start


_ONE_PROCESS = ("k3s",)  # runs the whole control plane in one process
TOOLS = frozenset({"kubeadm", "nodeup"})  # renew certificates and restart programs while they run


def watched_programs() -> frozenset[str]:
    """Return the names of the programs that are looked for."""
    return holders() | frozenset(_ONE_PROCESS) | TOOLS


def uses_sent(program: str, role: Role) -> frozenset[str]:
    """Return the uses of the certificates that a program may send in a role of the handshake; empty if that is not known.

    A container of etcd-manager also runs etcd. Role.UNKNOWN stands for both roles.
    """
    starts_etcd = {renewer.container for renewer in INDEX.renewers.values() if renewer.container}
    runs = {program, "etcd"} if program in starts_etcd else {program}
    return frozenset(
        use.name
        for use in INDEX.uses.values()
        if use.holder and use.holder in runs and (role in use.roles or role is Role.UNKNOWN)
    )


# ---------------------------------------------------------------- renewers


def plane_of(name: str) -> Plane:
    """Return the record of a plane; an empty one for a plane that is not known."""
    return INDEX.planes.get(name, _NO_PLANE)


def renewer_of(name: str) -> Renewer:
    """Return the record of a renewer; one of unknown effect for a renewer that is not known."""
    return INDEX.renewers.get(name, _NO_RENEWER)


def unit_of(renewer: str) -> str:
    """Return the systemd unit whose start issues a renewer's certificates; "" if no unit does."""
    return renewer_of(renewer).unit


def runs_renewer(container: Container, group: str) -> bool:
    """Whether a container runs, by its names, a renewer of an etcd group."""
    return bool(group) and any(renewer.runs_in(container, group) for renewer in INDEX.renewers.values())


def restart_effect(
    place: Place, image: str | None, *, path: str = "", residual: timedelta | None = None, runtime: str = "docker"
) -> Effect:
    """Return the effect of a restart on the certificate at `place`.

    `image` is that of the renewer's container, if it has one; `path` is the file, for the command; `residual` is how long the
    certificate is still valid, which decides for k3s and rke2.
    """
    if place.use == "ca":
        return plane_of(place.plane).ca
    case = Case(place=place, path=path, image=image or "", residual=residual, runtime=runtime)
    return renewer_of(place.renewer).effect(case)


def signing_authorities(place: Place, root: str = "/") -> tuple[tuple[str, str], ...]:
    """Return (certificate, private key) of each CA that may have signed the certificate at `place`, likeliest first.

    The caller checks whether the files exist and which CA signed. Empty if the plane keeps no such keys on its masters.
    """
    base = root.rstrip("/")
    return tuple((f"{base}{stem}.crt", f"{base}{stem}.key") for stem in plane_of(place.plane).authorities(place))


# ---------------------------------------------------------------- all planes together


def every(items: Callable[[Plane], tuple[str, ...]]) -> tuple[str, ...]:
    """Return items of all planes together, each once."""
    return tuple(dict.fromkeys(item for plane in PLANES.values() for item in items(plane)))


def accounts() -> tuple[int, ...]:
    """Return the uids that planes give to their own programs."""
    return tuple(uid for plane in PLANES.values() for uid in plane.accounts)


_RENEWERS = tuple(INDEX.renewers.values())
# The names that remedy.restart may list: first the renewers that certmedic can restart, then those that need a remedy.means.
HAVE_MEANS = tuple(renewer.name for renewer in _RENEWERS if renewer.unit or renewer.container)
RESTARTABLE = (
    *HAVE_MEANS,
    *(renewer.name for renewer in _RENEWERS if renewer.restartable and renewer.name not in HAVE_MEANS),
    "unknown",
)
