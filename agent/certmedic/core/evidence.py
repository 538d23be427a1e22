"""Facts about a machine: certificates, who serves them, and everything else that a verdict rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from certmedic.core.place import Place
from certmedic.core.vocabulary import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One X.509 certificate, read from a file or seen in a handshake."""

    path: str  # the file; "" if it was only seen in a handshake
    index: int = 0  # place in a bundle
    embedded_kind: str = ""  # the entry of a kubeconfig that holds it: user | cluster; "" if no entry does
    embedded_key: str = ""  # the name of that entry
    subject: str  # RFC 4514
    subject_cn: str
    issuer: str
    issuer_cn: str
    serial: str  # hexadecimal, lower case
    not_before: datetime
    not_after: datetime
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    is_ca: bool = False
    usages: frozenset[str] = frozenset()  # "server", "client"; empty means any
    fingerprint: str  # SHA-256 of the DER, hexadecimal
    key_fingerprint: str  # SHA-256 of the SubjectPublicKeyInfo, hexadecimal
    subject_key_id: str = ""
    authority_key_id: str = ""
    der: bytes = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A certificate in a file, and its place."""

    certificate: Certificate
    place: Place
    modified: datetime
    key_matches: bool | None = None  # the private key beside it; None if the key could not be read
    trust: Trust = Trust.STRANGER  # SYSTEM: evidence for messages
    authorised: bool = False  # may be renewed or moved: at a known place, a regular file, root's up to "/"
    doubt: str = ""  # why it is not authorised, for people


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFault:
    """A certificate file that holds no certificate or cannot be read."""

    path: str
    reason: str  # missing | unreadable | empty | too_large | not_a_certificate | broken | password
    detail: str
    trust: Trust = Trust.STRANGER  # SYSTEM: only root can change the file


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocations:
    """A list of revoked certificates (CRL) in a file."""

    path: str
    issuer: str  # RFC 4514
    number: int | None
    this_update: datetime
    next_update: datetime | None  # after which TLS libraries may refuse every certificate of the issuer; None: no end
    trust: Trust = Trust.STRANGER  # SYSTEM: only root can change the file


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The certificate that a listener on this machine serves."""

    address: str
    port: int
    certificate: Certificate | None
    error: str = ""  # why no certificate was seen
    local_port: int = 0  # our end of the connection, so that lines about our probe are recognised
    trust: Trust = Trust.STRANGER  # of the listening process


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container, unit or command that can be restarted. The `id` of a unit is its name, that of a command its line for a shell."""

    id: str
    name: str
    image: str
    pod: str = ""
    namespace: str = ""
    container_name: str = ""  # io.kubernetes.container.name
    state: str = ""  # running | exited | ...; a unit has its ActiveState, or `ready` if it is a oneshot
    started_at: datetime | None = None
    runtime: str = "docker"  # docker | containerd | systemd | command
    invocation: str = ""  # of a unit: differs for each start
    trust: Trust = Trust.STRANGER  # SYSTEM: a static pod of kube-system, or a unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An etcd member, as this machine sees it in handshakes; no API server lists the members.

    If the member serves no certificate, `error` says why. Only `refused` proves that it does not run: a time-out may be a
    fault of the network or of this machine.
    """

    name: str
    group: str  # as in Place
    address: str  # the name or address that its peers dial
    port: int
    serves: Certificate | None  # on its peer port
    serves_clients: Certificate | None = None  # on its client port; None also if that port is not known
    error: str = ""
    refused: bool = False  # its machine answers, and nothing listens on the peer port
    is_self: bool = False
    dialled: str = ""  # the IP address at which the handshake was tried; "" if its name has none
    clients: tuple[str, int] | None = None  # host and port at which its client port answered
    version: str = ""  # of etcd, if this machine runs it and its path shows it
    verified: bool = False  # its certificate chains to the group's CA, and it proved that it holds the key


@dataclass(frozen=True, slots=True, kw_only=True)
class VoterList:
    """The voting members of a group, as an etcd on this machine listed them while its certificate was good."""

    by: str  # marks one start of one process; "" if that is not known
    voters: tuple[tuple[str, str, int], ...]  # name, host, peer port


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A running process of the control plane."""

    name: str  # as in Use.holder: kube-scheduler, etcd, kubelet, k3s, ...
    pid: int
    started_at: datetime  # to the second
    trust: Trust = Trust.STRANGER


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """A certificate that a file held before it was replaced."""

    path: str
    serial: str  # hexadecimal, lower case
    authority_key_id: str
    not_after: datetime
    fingerprint: str
    at: datetime  # when the file got its successor


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who holds the lease in etcd by which one master acts at a time."""

    state: str  # ours | theirs | none (nobody could take it)
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All facts that a sighting is judged by, for the moment `at`."""

    at: datetime
    host: str
    addresses: frozenset[str] = frozenset()  # this machine's own, loopback included
    stored: tuple[Stored, ...] = ()
    faults: tuple[FileFault, ...] = ()
    revocations: tuple[Revocations, ...] = ()
    served: tuple[Served, ...] = ()
    containers: tuple[Container, ...] = ()
    signable: frozenset[str] = frozenset()  # files of leaves whose CA's private key is on this machine
    members: tuple[Member, ...] = ()  # of every etcd group here, this machine included; empty if not looked up
    lease: Lease | None = None  # None: not looked up
    used: Mapping[str, str] = field(default_factory=dict)  # file -> use, from etcd's start-up lines in a saved log
    called: tuple[tuple[str, str], ...] = ()  # (use, host) that a trusted etcd advertises
    peers: frozenset[str] = frozenset()  # addresses of the other members of the etcd groups here, from trusted sources
    names: Mapping[str, str] = field(default_factory=dict)  # of those members, by address, host or id in etcd's log
    programs: tuple[Program, ...] = ()  # of the control plane, running; empty if not looked up, as for saved logs
    kubernetes: str = ""  # version of the API server, from its static pod's image, e.g. v1.20.2; "" if not known
    memory: tuple[Stored, ...] = ()  # certificates that only a program's memory holds, at "(memory of PROGRAM)"
    replaced: tuple[Replaced, ...] = ()  # certificates that files here held before, latest last
    images: Mapping[str, str] = field(default_factory=dict)  # etcd group -> etcd-manager image, from static manifests
    away: Mapping[str, datetime] = field(default_factory=dict)  # members that do not answer -> since when, from `away`
    shutdown_at: datetime | None = None  # when this machine is to go down; in the past: it goes down now
    clock_synchronised: bool | None = None  # None: not known
    clocks: Mapping[str, timedelta] = field(default_factory=dict)  # member -> how far its clock is ahead of this one
    blind: tuple[str, ...] = ()  # sentences on facts that could not be looked up
    by_path: Mapping[str, tuple[Certificate, ...]] = field(
        init=False, repr=False, compare=False
    )  # of `stored` and `memory`

    def __post_init__(self) -> None:
        by_path: dict[str, list[Certificate]] = {}
        for stored in (*self.stored, *self.memory):
            by_path.setdefault(stored.certificate.path, []).append(stored.certificate)
        object.__setattr__(self, "by_path", {path: tuple(listed) for path, listed in by_path.items()})
