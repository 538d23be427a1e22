"""The members of this machine's etcd groups and the certificates that they serve, by handshakes, never through the API server.

etcd lists the members while its certificate is good; the answer is remembered. Otherwise its flags and environment, or the file
that k3s and rke2 write, list the members of the time when it joined, and its connections lead to those that joined later. A handshake shows the certificate on the peer port of each
member, and on its client port if that is the same on all members, as control planes set it up.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from certmedic.core import planes
from certmedic.core.certificates import NotACertificate, parse, parse_der
from certmedic.core.examine import chain
from certmedic.core.model import Certificate, Member, Served, Stored, Trust, VoterList
from certmedic.edge.facts.endpoints import addresses, handshakes
from certmedic.edge.facts.etcds import MOST_IN_FILE, MOST_MEMBERS, Endpoint, Etcd, Trusts, etcds, is_address
from certmedic.edge.facts.listeners import Proof, connections, listeners, own_addresses
from certmedic.edge.facts.programs import ProcessSeen
from certmedic.edge.facts.quiet import Brief
from certmedic.edge.facts.sight import Named, Sight
from certmedic.edge.os.network import OWN, Network

DEADLINE = 2.0  # seconds for one handshake; all are made at once

Voters = tuple[tuple[str, str, int], ...]  # name, host and port of peers

_REFUSED = os.strerror(errno.ECONNREFUSED)


class Ask(Protocol):
    """Asks an etcd of this machine for its members, with a peer certificate and its key. Only the actor may do that."""

    def __call__(self, host: str, port: int, *, certificate: str, cas: Sequence[str]) -> Voters:
        """Return the voting members; empty if etcd does not answer. Never raises."""


def _nobody(_: ProcessSeen) -> Trust:
    return Trust.STRANGER


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersSeen:
    """The members, and how they were seen."""

    members: tuple[Member, ...] = ()
    probes: tuple[tuple[str, int], ...] = ()  # (address, port) of our ends, which a listener here may log
    blind: tuple[str, ...] = ()  # what could not be seen, in sentences


def members(  # noqa: PLR0913 - each is one way to know them
    sight: Sight,
    deadline: float = DEADLINE,
    *,
    remembered: dict[str, VoterList] | None = None,
    embedded: Sequence[Stored] = (),
    trusts: Trusts = _nobody,
    ask: Ask | None = None,
    brief: Brief[Endpoint, tuple[Served, Proof]] | None = None,
    network: Network = OWN,
) -> MembersSeen:
    """Return the members of every etcd in a network namespace, each with the certificates that it serves. Raises UnseenError.

    The handshakes take at most `deadline` seconds and a little; before them, the etcds here are asked for their members. For
    `sight`, `remembered`, `embedded`, `trusts` and `ask` see `meet`. A handshake that `brief` remembers is not repeated.
    """
    blind: list[str] = []
    known = meet(
        sight, {} if remembered is None else remembered, embedded, blind, trusts=trusts, ask=ask, network=network
    )
    pairs = [(etcd, member, *etcd.endpoints(member)) for etcd in known for member in etcd.cluster.members]
    endpoints = dict.fromkeys(endpoint for _, _, *both in pairs for endpoint in both if endpoint is not None)
    seen = (brief or Brief(0.0)).ask(list(endpoints), lambda wanted: handshakes(wanted, deadline, network))
    result = []
    for etcd, (name, host, port), for_peers, for_clients in pairs:
        peers, proof = seen[for_peers]
        clients = seen[for_clients][0] if for_clients else None
        is_self = name == etcd.cluster.name
        result.append(
            Member(
                name=name,
                group=etcd.group,
                address=host,
                port=port,
                serves=peers.certificate,
                serves_clients=clients.certificate if clients else None,
                clients=(clients.address, clients.port) if clients else None,
                error=peers.error,
                refused=peers.error == _REFUSED,
                is_self=is_self,
                dialled=peers.address if is_address(peers.address) else "",
                version=etcd.version if is_self else "",
                verified=is_verified(proof, etcd.cas),
            )
        )
    probes = tuple((served.address, served.local_port) for served, _ in seen.values() if served.local_port)
    return MembersSeen(members=renamed(result), probes=probes, blind=tuple(blind))


def renamed(seen: Sequence[Member]) -> tuple[Member, ...]:
    """Return members; one of which only the address is known has the name in its certificate, if this member's has its name too.

    kubeadm does so. All masters must know a member by the same name, since they agree on an order by it.
    """
    own = {member.group for member in seen if member.is_self and _shown_name(member) == member.name}
    taken = {member.name for member in seen}

    def name(member: Member) -> str:
        is_known = member.name != f"{member.address}:{member.port}" or member.group not in own
        shown = _shown_name(member)
        return member.name if is_known or shown in taken or not planes.is_host(shown) else shown

    return tuple(replace(member, name=name(member)) for member in seen)


def _shown_name(member: Member) -> str:
    return member.serves.subject_cn if member.serves and (member.verified or member.is_self) else ""


def dialled(sight: Sight, etcd: Etcd, network: Network = OWN) -> Voters:
    """Return the peers that an etcd process here is connected to and that its flags do not name, with their addresses for names.

    kubeadm starts the first member alone, so that its flags name it alone for ever. etcd itself connects to members only.
    """
    named = {host for _, host, _ in etcd.cluster.members}
    port = next((port for name, _, port in etcd.cluster.members if name == etcd.cluster.name), 0)
    if not port or not all(is_address(host) for host in named):
        return ()
    found_at = {inode: host for inode, host in connections(port, network).items() if host not in named}
    held = sight.holders(list(found_at)) if found_at else {}
    own = {found_at[inode] for inode, by in held.items() if {seen.pid for seen in by} - {1} == {etcd.pid}}
    return tuple((f"{host}:{port}", host, port) for host in sorted(own))[:MOST_MEMBERS]


def peer_addresses(
    sight: Sight, remembered: Mapping[str, VoterList], trusts: Trusts, network: Network = OWN
) -> tuple[frozenset[str], dict[str, str]]:
    """Return the addresses of the other members of the trusted etcds here, and their names. Raises UnseenError.

    Connects to no member. Each name stands under address, host and the id in etcd's log.
    """
    others: dict[Endpoint, str] = {}
    names: dict[str, str] = {}
    for etcd in etcds([], trusts, sight, network):
        peer = _peer_certificate(etcd.named)
        known = remembered[peer].voters if peer in remembered else dialled(sight, etcd, network)
        for name, host, port in (*etcd.cluster.members, *known):
            if name != etcd.cluster.name:
                others[etcd.endpoint(host, port)] = names[host] = host if name == f"{host}:{port}" else name
        names |= {number: name for number, name in etcd.cluster.ids.items() if name != etcd.cluster.name}
    resolved = addresses(list(others), DEADLINE, network)
    names |= {address: others[endpoint] for endpoint, address in resolved.items()}
    return frozenset(resolved.values()), names


def is_verified(proof: Proof, cas: Sequence[Certificate]) -> bool:
    """Whether a listener proved that it has the key of its certificate, a server's, whose chain ends at one of these CAs."""
    if not proof.proven or not cas:
        return False
    try:
        leaf, *sent = (parse_der(der) for der in proof.chain)
    except NotACertificate:
        return False
    usable = not leaf.is_ca and (not leaf.usages or "server" in leaf.usages)
    return usable and bool(chain(leaf, cas, [ca for ca in sent if ca.is_ca]))


def meet(  # noqa: PLR0913 - as for `members`
    sight: Sight,
    remembered: dict[str, VoterList],
    embedded: Sequence[Stored],
    blind: list[str],
    *,
    trusts: Trusts = _nobody,
    ask: Ask | None = None,
    network: Network = OWN,
) -> list[Etcd]:
    """Return the etcds of a network namespace that `trusts` judges SYSTEM, with their members.

    `sight` reads files and processes. `remembered` maps a peer certificate to the last answer of its etcd, and is updated. `embedded`
    are the peer certificates of etcds inside other programs. CA files count only if only root may write them. Without `ask`, no etcd
    is asked. Raises UnseenError.
    """
    known = []
    separate = set()  # peer certificates of etcds that are processes, which are not looked for inside other programs
    for etcd in etcds(blind, trusts, sight, network):
        own = next((member for member in etcd.cluster.members if member[0] == etcd.cluster.name), None)
        peer = _peer_certificate(etcd.named)
        separate.add(peer)
        if own is not None and peer:
            host, port = etcd.endpoint(own[1], own[2]).address, own[2]
            ca_files = _trusted_files(sight, peer, [path for use, path in etcd.named if use == "ca"])
            cas = _certificates_in(sight, ca_files)
            # The peer key is used only towards the socket of this very process; TLS verifies its chain before that.
            answer: Voters = ()
            if ask is not None and host and _listens(sight, etcd.pid, port, network) and _can_ask(sight, peer):
                answer = ask(host, port, certificate=peer, cas=ca_files)
            voting = _remembered(remembered, peer, answer, etcd.start, etcd.cluster.members)
            voting = voting or (*etcd.cluster.members, *dialled(sight, etcd, network))
            cluster = replace(etcd.cluster, members=voting)
            known.append(replace(etcd, cas=cas, cluster=cluster))
        else:
            known.append(etcd)
    inside = [
        _inside(sight, stored, remembered, trusts, ask, network)
        for stored in embedded
        if stored.certificate.path not in separate
    ]
    return known + [etcd for etcd in inside if etcd is not None]


def _inside(  # noqa: PLR0913, PLR0917 - as for `members`
    sight: Sight, stored: Stored, remembered: dict[str, VoterList], trusts: Trusts, ask: Ask | None, network: Network
) -> Etcd | None:
    """Return the etcd inside k3s or rke2 that has this peer certificate; None if no trusted program listens."""
    path, place = stored.certificate.path, stored.place
    listening = listeners(place.ports, network)
    held = sight.holders([listener.inode for listener in listening])
    trusted = [
        (listener.address, listener.port)
        for listener in listening
        if (by := held.get(listener.inode)) and all(trusts(seen) is Trust.SYSTEM for seen in by if seen.pid != 1)
    ]
    if not trusted:
        return None
    ca_files = _trusted_files(sight, path, [place.ca_path])
    cas = _certificates_in(sight, ca_files)
    answer: Voters = ()
    if ask is not None and len(trusted) == len(listening) and _can_ask(sight, path):
        answer = ask(*trusted[0], certificate=path, cas=ca_files)
    voting = _remembered(remembered, path, answer)
    here = own_addresses(network)
    name = next((name for name, host, port in voting if (host, port) == trusted[0] or host in here), "")
    if name:
        return Etcd(0, place.group, planes.Cluster(name=name, members=voting, client_port=2379), cas=cas)
    # Nothing names the other members: none of them is taken for this one, so that nothing is restarted.
    unknown = planes.Cluster(name="", members=(("of an unknown name", *trusted[0]),), client_port=None)
    written = sight.clusters([planes.etcd_config(place, path)])
    return Etcd(0, place.group, written[0] if written else unknown, cas=cas)


def _remembered(remembered: dict[str, VoterList], peer: str, now: Voters, by: str = "", flags: Voters = ()) -> Voters:
    """Return the members by an etcd's answer now, else by its last one; () if it never answered.

    The answer of an earlier start, before an upgrade or a boot, counts together with the flags: too many members close the
    gates, too few could open them.
    """
    if now and len(now) <= MOST_MEMBERS:
        remembered[peer] = VoterList(by=by, voters=now)
    if peer not in remembered:
        return ()
    known = remembered[peer]
    return known.voters if known.by == by else tuple(sorted({*known.voters, *flags}))


def _peer_certificate(files: Named) -> str:
    return next((path for use, path in files if use == "peer"), "")


def _trusted_files(sight: Sight, peer: str, files: Sequence[str]) -> list[str]:
    """Return the CA files that only root may write and that hold a CA of the peer certificate."""
    trusts = {file.path: file.standing.trust for file in sight.survey((), (peer, *files)).files}
    if trusts.get(peer) is not Trust.SYSTEM:
        return []
    leaf, *sent = _read(sight, peer) or [None]
    return [
        path
        for path in dict.fromkeys(files)
        if leaf is not None
        and trusts.get(path) is Trust.SYSTEM
        and chain(
            leaf, [ca for ca in _read(sight, path) if ca.is_ca], [ca for ca in sent if ca is not None and ca.is_ca]
        )
    ]


def _certificates_in(sight: Sight, files: Sequence[str]) -> tuple[Certificate, ...]:
    return tuple(ca for path in files for ca in _read(sight, path) if ca.is_ca)


def _read(sight: Sight, path: str) -> tuple[Certificate, ...]:
    (content,) = sight.contents([path])
    try:
        return parse(content.data, path, most=MOST_IN_FILE) if not content.reason else ()
    except NotACertificate as fault:
        return fault.certificates


def _listens(sight: Sight, pid: int, port: int, network: Network) -> bool:
    """Whether every listener on a port here is a socket of this process alone."""
    listening = listeners([port], network)
    held = sight.holders([listener.inode for listener in listening])
    return bool(listening) and all(
        {seen.pid for seen in held.get(listener.inode, ())} - {1} == {pid} for listener in listening
    )


def _can_ask(sight: Sight, peer: str) -> bool:
    """Whether the peer certificate is valid now, so that etcd accepts it. A refused connection would be a line in etcd's log."""
    leaf, now = next(iter(_read(sight, peer)), None), datetime.now(UTC)
    return leaf is not None and leaf.not_before <= now <= leaf.not_after
