"""The state of one machine, and what is remembered from one look to the next."""

from __future__ import annotations

import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from certmedic.core import planes
from certmedic.core.decision import away
from certmedic.core.model import Facts, FileFault, Origin, Served, Stored, Trust, VoterList
from certmedic.core.origin import ROOT, Process, least, of_process
from certmedic.edge.facts.dates import Dates
from certmedic.edge.facts.etcds import Endpoint
from certmedic.edge.facts.inventory import Inventory
from certmedic.edge.facts.listeners import Listener, Proof, listeners, own_addresses, shake_hands
from certmedic.edge.facts.members import Ask, MembersSeen, meet, members, peer_addresses
from certmedic.edge.facts.memory import Memory
from certmedic.edge.facts.processes import clock_synchronised
from certmedic.edge.facts.programs import ProcessSeen, programs
from certmedic.edge.facts.quiet import Brief, Settled, files_by_port
from certmedic.edge.facts.shutdown import shutdown_at
from certmedic.edge.facts.sight import Direct, Pods, Sight
from certmedic.edge.facts.units import units
from certmedic.edge.os.network import OWN, Network
from certmedic.edge.os.owners import Tree

HANDSHAKE = 2.0  # seconds for one listener
HANDSHAKES = 6.0  # seconds for all of them
MOST_HANDSHAKES = 64
REMEMBERED_PROBES = 1024
REMEMBERED_FILES = 256
PEERS_FOR = 60.0  # seconds for which the addresses of peers are remembered
NO_PEERS_FOR = 5.0  # the same if none of their hosts has an address yet
ASK_EVERY = 600.0  # seconds
MEMBERS_FOR = 30.0  # seconds for which the agent remembers a handshake with a member, which the member logs
LONGEST_PATH = 1024
PODS_FOR = 1.0  # seconds for which the static pods are remembered


class Machine:
    """One machine.

    `globs` are paths as they are here, so below `root` if that is not "/". With `live=False`, only files are read, as for a copy
    of another machine: no handshakes, containers, clock or addresses. `docker_url` and `containerd` (a socket) name the
    runtimes that are asked; None means not to ask. A containerd whose socket does not exist yet is not asked either.
    `units` are systemd's units that may be restarted; processes of the units in `believed` are trusted like the control
    plane's. `owner` is the uid whose files count as root's: other than 0 only for a scratch master in a folder, where `trusts`
    judges processes in the place of `of_process`, since neither systemd nor a kubelet starts them. `sight` reads the files, and the
    runtimes; without it, this process does. `ask` asks an etcd here for its members, and only the actor has it; the agent has `met`,
    which asks the actor for all of them. Listeners and members are those of `network`.
    """

    def __init__(  # noqa: PLR0913 - each is one kind of fact
        self,
        *,
        globs: Sequence[str],
        root: str = "/",
        live: bool = True,
        docker_url: str | None = None,
        containerd: str | None = None,
        units: Sequence[str] = (),
        believed: Sequence[str] = (),
        owner: int = ROOT,
        trusts: Callable[[Process], Trust] | None = None,
        sight: Sight | None = None,
        ask: Ask | None = None,
        met: Callable[[], Mapping[str, VoterList]] | None = None,
        network: Network = OWN,
    ) -> None:
        self._network = network
        self._ask = ask
        self._met = met
        self._trusts = trusts
        self._believed = tuple(believed)
        self.root = root
        self.live = live
        self.units = tuple(units)
        self._used: OrderedDict[str, str] = OrderedDict()  # path -> use, of files that programs use
        self._sight = sight or Direct(
            tree=Tree(root=root, owner=owner), live=live, docker_url=docker_url, containerd=containerd
        )
        self._inventory = Inventory(globs, self._used, sight=self._sight, live=live)
        self._memory = Memory(
            self._trust_at,
            lambda address, port: self._remember_probes([(address, port)]),
            network,
        )
        self._pods = Pods()
        self._pods_until = 0.0
        self._probes: OrderedDict[str, None] = OrderedDict()
        self._asked: dict[str, float] = {}  # container or log -> when it may be asked again, on the monotonic clock
        self._peers: tuple[frozenset[str], Mapping[str, str]] = (frozenset(), {})
        self._peers_until = 0.0
        self._peers_of: frozenset[int] = frozenset()  # the etcds here that named them
        self._told: dict[str, VoterList] = {}  # peer certificate -> the last answer of its etcd
        self._away: Mapping[str, datetime] = {}
        self._settled = Settled()
        self._dates = Dates(network)
        # The actor repeats every handshake before an action.
        self._shaken: Brief[Endpoint, tuple[Served, Proof]] = Brief(0.0 if ask else MEMBERS_FOR)

    def inventory(self) -> tuple[tuple[Stored, ...], tuple[FileFault, ...]]:
        """Return the certificates on disk, and the files that could not be used."""
        self._learn([(use, path) for path, use in self._static_pods().files.items()])
        return self._inventory.look()

    def look_at_pods(self) -> None:
        """Look at the static pods. Raises UnseenError."""
        self._static_pods()

    @property
    def cluster(self) -> str:
        """The name that kops or kubeadm gave the cluster, by the last look; "" if neither did."""
        return self._pods.cluster

    def _static_pods(self) -> Pods:
        if time.monotonic() >= self._pods_until:
            self._pods = self._sight.pods()
            self._pods_until = time.monotonic() + PODS_FOR
        return self._pods

    def gather(
        self, *, now: datetime, ports: Sequence[int] = (), with_members: bool = False, nameless: bool = False
    ) -> Facts:
        """Return the facts of this moment.

        Handshakes go to the listeners that serve the certificates on disk, and to `ports`; with `nameless`, a second time without SNI.
        `with_members`: ask the other members of this machine's etcd groups, over the network.
        """
        stored, faults = self.inventory()
        images, known = self._static_pods().images, self._static_pods().master
        if not self.live:
            return Facts(
                at=now,
                host=known.host,  # empty if only files are named and no root: they may be those of several machines
                addresses=known.addresses,
                stored=stored,
                faults=faults,
                revocations=self._inventory.revocations,
                images=images,
                kubernetes=known.kubernetes,
            )
        running = self._sight.running()
        seen, blind = running.containers, list(running.blind)
        more, unseen = units(self.units)
        seen += more
        blind += [unseen] if unseen else []
        served = self._shake_hands(stored, ports, nameless=nameless)
        blind += [f"{s.address}:{s.port} listens and shows no certificate: {s.error}" for s in served if s.error]
        at_work = self._sight.programs()
        peers, names = self._peer_addresses(at_work)
        around = self._members(stored) if with_members else MembersSeen()
        if with_members:
            self._away = away(around.members, self._away, now)
        blind += around.blind
        self._remember_probes(around.probes)
        running_programs = programs(at_work, self.trust_of_process)
        facts = Facts(
            at=now,
            memory=self._memory.look(stored, running_programs, now),
            host=socket.gethostname(),
            addresses=own_addresses(self._network),
            stored=stored,
            faults=faults,
            revocations=self._inventory.revocations,
            served=served,
            containers=seen,
            signable=self._signable(stored),
            members=around.members,
            away=self._away if with_members else {},
            shutdown_at=shutdown_at(),
            peers=peers,
            names=names,
            images=images,
            programs=running_programs,
            kubernetes=known.kubernetes,
            clock_synchronised=clock_synchronised(),
            blind=tuple(blind),
        )
        return self._dates.witnessed(facts) if with_members and not self._ask else facts  # the actor needs no witness

    def meet(self, known: Mapping[str, VoterList]) -> Mapping[str, VoterList]:
        """Ask the etcds here for their members and return all that is known; `known` is the answer to an earlier run.

        An etcd stops answering once its own certificate has expired, so ask while that is good.
        """
        if self.live:
            self._told = {**known, **self._told, **(self._met() if self._met else {})}
            embedded = _embedded(self.inventory()[0])
            trusts, network = self.trust_of_process, self._network
            meet(self._sight, self._told, embedded, [], trusts=trusts, ask=self._ask, network=network)
        return dict(self._told)

    def _members(self, stored: Sequence[Stored]) -> MembersSeen:
        return members(
            self._sight,
            remembered=self._told,
            embedded=_embedded(stored),
            trusts=self.trust_of_process,
            ask=self._ask,
            brief=self._shaken,
            network=self._network,
        )

    def _peer_addresses(self, at_work: Sequence[ProcessSeen]) -> tuple[frozenset[str], Mapping[str, str]]:
        """Return addresses and names of the other members; asked every minute and of an etcd that started, kept while none runs."""
        etcds = frozenset(at.pid for at in at_work if at.is_etcd and self.trust_of_process(at) is Trust.SYSTEM)
        if etcds != self._peers_of or time.monotonic() >= self._peers_until:
            if etcds:
                self._peers = peer_addresses(self._sight, self._told, self.trust_of_process, self._network)
            self._peers_of = etcds
            unresolved = self._peers[1] and not self._peers[0]
            self._peers_until = time.monotonic() + (NO_PEERS_FOR if unresolved else PEERS_FOR)
        return self._peers

    def _signable(self, stored: Sequence[Stored]) -> frozenset[str]:
        """Return the paths of the leaves that could be signed again here, since the key of their CA exists."""
        keys = {
            s.certificate.path: [key for _, key in planes.signing_authorities(s.place, self.root)]
            for s in stored
            if not s.certificate.is_ca
        }
        wanted = list(dict.fromkeys(key for named in keys.values() for key in named))
        there = self._sight.exist(wanted) if wanted else ()
        return frozenset(path for path, named in keys.items() if any(key in there for key in named))

    def is_own_probe(self, address: str) -> bool:
        """Whether "host:port" was our end of a handshake."""
        return address in self._probes

    def learn(self, origin: Origin) -> None:
        """Add the certificate files of the program that wrote a line to the inventory.

        They are read from its process; if that has ended or is unknown, from its container and the start-up lines in its log,
        at most once in `ASK_EVERY`, since such lines may come by the hundred.
        """
        if not self.live or origin.trust is not Trust.SYSTEM:
            return  # files that strangers name are not read
        for known in self._sight.details([origin.pid]) if origin.pid is not None else ():
            if known.named and self.trust_of_process(known.seen) is Trust.SYSTEM:
                self._learn(known.named)
                return
        who = origin.container_id or origin.path
        if not who or time.monotonic() < self._asked.get(who, 0.0):
            return
        if len(self._asked) >= REMEMBERED_FILES:
            self._asked.clear()
        self._asked[who] = time.monotonic() + ASK_EVERY
        self._learn(self._sight.named_by(origin))

    def _learn(self, named: Sequence[tuple[str, str]]) -> None:
        for use, path in named:
            if not path.isprintable() or len(path) > LONGEST_PATH:
                continue  # a log line can hold anything
            self._used[path] = use
            self._used.move_to_end(path)
            if len(self._used) > REMEMBERED_FILES:
                self._used.popitem(last=False)

    def _shake_hands(self, stored: Sequence[Stored], ports: Sequence[int], *, nameless: bool) -> tuple[Served, ...]:
        # With SNI, as real clients do: without it, etcd before 3.2.19 serves the certificate that it loaded at startup.
        names: dict[int, str | None] = dict.fromkeys(ports)
        for item in stored:
            plain = (name for name in item.certificate.dns_names if "*" not in name)
            names.update(dict.fromkeys(item.place.ports, next(plain, None)))
        until = time.monotonic() + HANDSHAKES
        served: list[Served] = []
        sockets = listeners(names, self._network)
        held = self._sight.holders([listener.inode for listener in sockets])
        trusts = self._trust_of(sockets, held)
        files = files_by_port(stored)
        states: dict[tuple[str, int], frozenset[object]] = {}
        for at in sockets:
            states[at.address, at.port] = states.get((at.address, at.port), frozenset()) | {
                (at.inode, *(by.pid for by in held.get(at.inode, ())))
            }
        calls = [(address, port, names[port]) for address, port in trusts]
        calls += [(address, port, None) for address, port, name in calls if nameless and name]
        # Trusted listeners first: those of strangers must not use up the time.
        calls.sort(key=lambda call: trusts[call[:2]] is not Trust.SYSTEM)
        for address, port, name in calls[:MOST_HANDSHAKES]:
            left = min(HANDSHAKE, until - time.monotonic())
            trust = trusts[address, port]
            call, marks = (address, port, name), files.get(port, frozenset())
            state = states[address, port], marks
            if (known := self._settled.get(call, state)) is not None:
                served.append(replace(known, trust=trust))
                continue
            if left <= 0:
                error = "others took all the time"
                served.append(Served(address=address, port=port, certificate=None, error=error, trust=trust))
                continue
            seen = shake_hands(address, port, server_name=name, deadline=left, network=self._network)
            seen = replace(seen, trust=trust)
            self._settled.keep(call, state, seen, marks)
            served.append(seen)
            self._remember_probes([(address, seen.local_port)])
        return tuple(served)

    def _trust_at(self, ports: Sequence[int]) -> dict[tuple[str, int], Trust]:
        sockets = listeners(ports, self._network)
        return self._trust_of(sockets, self._sight.holders([listener.inode for listener in sockets]))

    def _trust_of(
        self, sockets: Sequence[Listener], held: Mapping[int, Sequence[ProcessSeen]]
    ) -> dict[tuple[str, int], Trust]:
        """Judge listeners by the processes that hold their sockets. Without a visible process, root's socket is CLUSTER."""
        trusts: dict[tuple[str, int], list[Trust]] = {}
        for listener in sockets:
            unseen = Trust.CLUSTER if listener.uid == ROOT else Trust.STRANGER
            those = [self.trust_of_process(by) for by in held.get(listener.inode, ()) if by.pid != 1] or [unseen]
            trusts.setdefault((listener.address, listener.port), []).extend(those)
        return {where: least(those) for where, those in trusts.items()}

    def trust_of_process(self, seen: ProcessSeen) -> Trust:
        """Judge a process by its uid, executable and cgroup."""
        if self._trusts is not None:
            return self._trusts(seen.process)
        return of_process(seen.process, self._static_pods().uids, self._believed)

    def _remember_probes(self, ends: Iterable[tuple[str, int]]) -> None:
        for address, port in ends:
            self._probes[f"{_our_end(address)}:{port}"] = None
            if len(self._probes) > REMEMBERED_PROBES:
                self._probes.popitem(last=False)


def _embedded(stored: Sequence[Stored]) -> list[Stored]:
    return [
        s
        for s in stored
        if s.trust is Trust.SYSTEM and s.place.ports and planes.etcd_config(s.place, s.certificate.path)
    ]


def _our_end(address: str) -> str:
    """Return our address, as the other end logs it, of a connection from this machine to itself: the same, but for loopback."""
    if ":" in address:
        return f"[{address}]"
    return "127.0.0.1" if address.startswith("127.") else address
