"""The types of a plane's record. A plane is added by one record and by its name in lookup.PLANES."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from certmedic.core.vocabulary import Role

if TYPE_CHECKING:
    from certmedic.core.evidence import Certificate, Container
    from certmedic.core.place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """One kind of certificate file."""

    parts: tuple[str, ...]  # of its path from the root, each perhaps with wildcards
    tail: int  # how many of them, from the end, are enough to recognise it
    use: str  # as in Place; "" if file name and certificate must tell
    renewer: str  # as in Place
    ca: str  # beside the file, or from the root if it starts with "/"; "" if there is none or it is not known
    ports: tuple[int, ...]  # where it is served; those of etcd on kops are in Plane.groups

    @property
    def glob(self) -> str:
        """Its path on a master."""
        return "/" + "/".join(self.parts)


def files(table: str, **choices: tuple[str, ...]) -> tuple[FileKind, ...]:
    """Read a table of files, one a line: path, use, renewer, CA file, ports.

    The part of a path after `|` is enough to recognise the file, so that copies elsewhere are recognised too. The CA is the file
    that the certificate's users check it against: beside the certificate, or from the root of the machine. A use of `?` means
    that file name and certificate must tell; `-` means none. Each `<name>` in a path stands for every one of its choices, and in other
    columns for the first.
    """
    return tuple(kind for line in table.strip().splitlines() for kind in _kinds(line, choices))


def _kinds(line: str, choices: Mapping[str, tuple[str, ...]]) -> Iterator[FileKind]:
    path, use, renewer, ca, ports = line.split()
    for name, values in choices.items():
        renewer, ca, ports = (text.replace(f"<{name}>", values[0]) for text in (renewer, ca, ports))
    for chosen in _expanded(path, choices):
        start, _, end = chosen.partition("|")
        yield FileKind(
            parts=tuple((start + end).strip("/").split("/")),
            tail=end.count("/") + 1,
            use="" if use == "?" else use,
            renewer=renewer,
            ca="" if ca == "-" else ca,
            ports=() if ports == "-" else tuple(int(port) for port in ports.split(",")),
        )


def _expanded(path: str, choices: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for name, values in choices.items():
        if f"<{name}>" in path:
            for value in values:
                yield from _expanded(path.replace(f"<{name}>", value.strip("/")), choices)
            return
    yield path


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One purpose of certificates: who holds them, which usages they need, and what breaks without them."""

    name: str  # as in Place
    holder: str = ""  # the program that has it in memory; "" if several may
    roles: frozenset[Role] = frozenset()  # the role of the holder in handshakes in which it sends the certificate
    needs: frozenset[str] = frozenset()  # required extended key usages: "server", "client"
    may_have: frozenset[str] = frozenset()  # further usages that a renewed certificate keeps
    renewable: bool = False  # certmedic may sign it again in place, if the CA's key is on the machine
    is_idle: bool = False  # only commands of a person use it: its expiry stops no program
    at_start: bool = False  # the holder reads the file only when it starts (FIELD 8.1)
    rereads: bool = False  # the holder reads the file at every handshake (FIELD 3.1)
    reloads_since: tuple[int, int] | None = (
        None  # the Kubernetes from which the holder reads it within a minute (FIELD 8.1)
    )
    refused: str = ""  # what stops working when it is refused, for people
    will_break: str = ""  # the same before it expires, where the tense differs


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The effect that a restart of the holder has on a certificate file.

    * `renews`: the program reissues it at its start
    * `keeps_expired`: the program reissues it only if the file is missing
    * `rereads`: the program issues nothing; `why` says how it takes up a renewed file
    * `nothing`: another program issues it, or none does
    * `unknown`: not known
    """

    kind: Literal["renews", "keeps_expired", "rereads", "nothing", "unknown"]
    why: str  # one or two sentences
    command: str = ""  # the cure as a line for a shell; "" if there is nothing to type


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A certificate for which the effect of a restart is asked."""

    place: Place
    path: str  # of the file, for commands; "" if it may stand in none
    image: str  # of the renewer's container; "" if there is none or it is not known
    residual: timedelta | None  # how long the certificate is still valid; None if that is not known
    runtime: str  # the container runtime, for commands: docker | containerd


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewer:
    """A program that issues certificates."""

    name: str  # as in Place
    effect: Callable[[Case], Effect]  # the effect of its restart on a leaf
    unit: str = ""  # the systemd unit whose start issues them
    container: str = ""  # the container whose start issues them, in one static pod for each etcd group
    restartable: bool = True  # remedy.restart and remedy.means may name it
    issues_missing: bool = False  # its start issues a certificate whose file is missing
    # The uses of certificates that it renews by itself before they expire, while it runs; "*" stands for all.
    renews_running: frozenset[str] = frozenset()

    @property
    def is_grouped(self) -> bool:
        """Whether it runs once for each etcd group and has one certificate of each use there."""
        return bool(self.container)

    def runs_in(self, container: Container, group: str) -> bool:
        """Whether a container is that of this renewer for an etcd group: its pod is <container>-<group>-<node>."""
        names = container.container_name, container.pod.startswith(f"{self.container}-{group}-")
        return self.is_grouped and names == (self.container, True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A subject that certmedic may sign again for files of a use."""

    common_name: str
    organisation: str = ""


def always(effect: Effect) -> Callable[[Case], Effect]:
    """Return the effect of a renewer that does not depend on the case."""
    return lambda _case: effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One etcd cluster of a master that runs several, and the ports on which it listens."""

    client: int
    peer: int
    manager: int  # etcd-manager's gRPC, between masters


ANY_CA = Effect(
    kind="nothing",
    why="No restart reissues a CA. Make a new CA, give it to every master, then reissue all leaves.",
)
# (path, kind, certificate, other certificates of the same volume) -> etcd group, "" if not known
GroupOf = Callable[[str, FileKind, "Certificate | None", "Iterable[Certificate]"], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """All that certmedic knows of one way to run a control plane."""

    name: str
    files: tuple[FileKind, ...]  # of two that fit a path equally well, the first counts
    renewers: tuple[Renewer, ...] = ()
    uses: tuple[Use, ...] = ()  # those that no other plane has; the others are in uses.py
    ca: Effect = ANY_CA  # the effect of a restart on a CA
    groups: Mapping[str, Group] = field(default_factory=dict)  # etcd group -> its ports
    group_of: GroupOf | None = None  # None: a master runs one etcd
    # CAs that may have signed a certificate at a place and whose keys a master holds, likeliest first: paths without .crt and .key
    authorities: Callable[[Place], tuple[str, ...]] = lambda _place: ()
    # use -> subjects of the certificates that may be renewed in place; for a use without an entry, a common name in plain letters
    subjects: Mapping[str, tuple[Subject, ...]] = field(default_factory=dict)
    etcd_config: str = ""  # of an etcd inside the plane's own process; relative to the folder of the peer certificate
    manifests: tuple[str, ...] = ()  # folders of static pods
    logs: tuple[str, ...] = ()  # globs of log files to read by default
    accounts: tuple[int, ...] = ()  # uids that the plane gives to its own programs, which own some of its files
    programs: tuple[str, ...] = ()  # that no other plane has, as log lines and units name them
    units: tuple[str, ...] = ()  # patterns of its systemd units, without ".service": their lines are evidence
    namespaces: tuple[str, ...] = ()  # of its static pods, beside kube-system

    @property
    def issues_missing(self) -> bool:
        """Whether one of its renewers does."""
        return any(renewer.issues_missing for renewer in self.renewers)
