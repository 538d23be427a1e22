"""What is so: certificates, where they lie, who serves them, and what else of a machine bears on a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from certmedic.core.vocabulary import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One X.509 certificate, read from a file or seen in a handshake."""

    path: str  # the file; "" for one that was only seen served
    index: int = 0  # place in a bundle
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
class Place:
    """What a certificate file is for, by what is known of the plane it belongs to."""

    plane: str  # kops, kubeadm, k3s, rke2, etcd, ... ; "" for a file that only a configured glob names
    group: str  # etcd group on kops: main, events, cilium, leases; "" elsewhere or where nothing tells
    use: str  # peer | server | client | manager-server | manager-client | apiserver-etcd-client | kubelet | ca | ...
    renewer: str  # etcd-manager | nodeup | kubelet | kubeadm | k3s | rke2 | operator | unknown
    ca_path: str = ""  # the CA file that its users check it against
    ports: tuple[int, ...] = ()  # where it is served on this machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A certificate in a file, with what the file is for."""

    certificate: Certificate
    place: Place
    modified: datetime
    key_matches: bool | None = None  # against the private key beside it; None where that could not be read
    trust: Trust = Trust.STRANGER  # SYSTEM: evidence for messages
    authorised: bool = False  # at its place by a static glob or the configuration, regular, no link, root's up to "/": may be renewed or moved
    doubt: str = ""  # why it is not authorised, for a person


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFault:
    """A file that should hold a certificate and does not, or cannot be read."""

    path: str
    reason: str  # missing | unreadable | empty | too_large | not_a_certificate | broken
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a listener on this machine showed in a handshake."""

    address: str
    port: int
    certificate: Certificate | None
    error: str = ""  # why there is none
    local_port: int = 0  # our end of the connection: what the listener logs about it is our own doing
    trust: Trust = Trust.STRANGER  # of the process that listens


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container on this machine, or what else can be restarted: of a unit `id` is its name, of a command its argv as a shell would take it."""

    id: str
    name: str
    image: str
    pod: str = ""
    namespace: str = ""
    container_name: str = ""  # io.kubernetes.container.name
    state: str = ""  # running | exited | restarting | ...; of a unit its ActiveState, or `ready` where it runs to its end whenever it is started
    started_at: datetime | None = None
    runtime: str = "docker"  # docker | containerd | systemd | command
    invocation: str = ""  # of a unit: another one with each start
    trust: Trust = Trust.STRANGER  # SYSTEM: a static pod of kube-system, or a unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An etcd member as it shows itself to this machine, found by handshakes and never through the API server.

    Where it shows no certificate, `error` says why. Only `refused` is proof that it does not run: a silence may be the
    network's, or ours.
    """

    name: str
    group: str  # as in Place
    address: str  # as its peers dial it, a name or an address
    port: int
    serves: Certificate | None  # on its peer port
    serves_clients: Certificate | None = None  # on its client port; None also where that is not known
    error: str = ""
    refused: bool = False  # its machine answers, and nothing listens on the peer port
    is_self: bool = False
    clients: tuple[str, int] | None = None  # where its clients' door was reached
    version: str = ""  # of etcd, where its program tells: only of one that runs here
    verified: bool = False  # its certificate chains to the group's CA, and it proved that it has the key


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Who the members of a group are, as an etcd here said while its certificate was good."""

    by: str  # which start of which process said so; "" where that cannot be told
    voters: tuple[tuple[str, str, int], ...]  # name, host and port of peers


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who has the lease in etcd by which one master acts at a time."""

    state: str  # ours | theirs | none: it could not be had, by whomever
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that was looked up to judge a sighting. `at` is the moment they hold for."""

    at: datetime
    host: str
    addresses: frozenset[str] = frozenset()  # this machine's own, loopback included
    stored: tuple[Stored, ...] = ()
    faults: tuple[FileFault, ...] = ()
    served: tuple[Served, ...] = ()
    containers: tuple[Container, ...] = ()
    signable: frozenset[str] = frozenset()  # leaves whose authority's private key is on this machine
    members: tuple[Member, ...] = ()  # of every etcd that runs here, this one included; empty where not asked for
    lease: Lease | None = None  # None: not asked for
    used: Mapping[str, str] = field(default_factory=dict)  # file -> use, as etcd's start-up lines in a saved log say
    called: tuple[tuple[str, str], ...] = ()  # (use, host): the names that a trusted etcd advertises for itself
    peers: frozenset[str] = frozenset()  # addresses of the other members of the etcd groups here, from trusted sources
    images: Mapping[str, str] = field(default_factory=dict)  # etcd group -> etcd-manager image, from static manifests
    clock_synchronised: bool | None = None  # None: could not tell
    blind: tuple[str, ...] = ()  # what could not be looked at, in sentences
    by_path: Mapping[str, tuple[Certificate, ...]] = field(init=False, repr=False, compare=False)  # of `stored`

    def __post_init__(self) -> None:
        found: dict[str, list[Certificate]] = {}
        for one in self.stored:
            found.setdefault(one.certificate.path, []).append(one.certificate)
        object.__setattr__(self, "by_path", {path: tuple(those) for path, those in found.items()})
