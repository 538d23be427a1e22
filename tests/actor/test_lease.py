"""Leases and member lists of real etcd 3.4 and 3.5: the lease is a lock that lets one master act at a time."""

import contextlib
import os
import re
import signal
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from certmedic.actor.dial import Dialled
from certmedic.actor.dialer import serve
from certmedic.actor.lease import EtcdLock, _AskError, _Endpoint
from certmedic.actor.roster import voters
from certmedic.cli import main
from certmedic.config import Config, Notify, RemedyPolicy
from certmedic.core import certificates, window
from certmedic.core.decision.quorum import safe_to_restart
from certmedic.core.lease import Access
from certmedic.core.model import Member, Place, Stored, Trust
from certmedic.edge.facts.members import meet, members
from certmedic.edge.facts.sight import Direct
from certmedic.edge.os.network import OWN
from certmedic.edge.os.owners import Tree
from certmedic.edge.store import Store
from labs import etcd as lab
from labs import pki
from labs.played import Lab, Played
from labs.values import DAY, NOW, container
from labs.waiting import until

# ---------------------------------------------------------------- real members


class Group:
    """Three members, and each master's access to them."""

    def __init__(self, directory, version):
        plan = lab.Plan.healthy()
        self.members = {key: lab.Member(directory / key / "etcd.log", directory / key / "pki") for key in lab.KEYS}
        for key, member in self.members.items():
            plan.peer[key].write(member.pki / "peers/me.crt")
            plan.server[key].write(member.pki / "clients/server.crt")
            (member.pki / "peers/ca.crt").write_bytes(plan.peers_ca.pem)
            (member.pki / "clients/ca.crt").write_bytes(plan.clients_ca.pem)
        self.api = directory / "api/etcd-client.crt"
        plan.api_client.write(self.api)
        self.plan = plan
        self.running = lab._running(lab.etcd_binary(version), self.members, ["--logger=zap"])

    def __enter__(self):
        self.ports = self.running.__enter__()
        until(
            lambda: all(self._peer_port(key) for key in lab.KEYS), seconds=30
        )  # the command line appears once the process has started
        self.peers = {key: self._peer_port(key) for key in lab.KEYS}
        until(lambda: all(lab._ask_health(lab.ADDRESSES[k], self.ports[k], self.api) for k in lab.KEYS), seconds=60)
        return self

    def __exit__(self, *error):
        self.running.__exit__(*error)

    def _peer_port(self, key):
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (process / "cmdline").read_bytes()
                if str(self.members[key].pki).encode() in command:
                    return int(re.search(rb"--listen-peer-urls=https://[^:]+:(\d+)", command)[1])
        return 0

    def voters(self, key, certificate=None, network=OWN):
        """Return the voters as one member lists them."""
        pki = self.members[key].pki / "peers"
        return voters(
            lab.ADDRESSES[key],
            self.peers[key],
            certificate=str(certificate or pki / "me.crt"),
            cas=[str(pki / "ca.crt")],
            network=network,
        )

    def access(self, holder, *, client=None, endpoints=lab.KEYS):
        client = client or self.api
        return Access(
            holder=holder,
            endpoints=tuple((lab.ADDRESSES[key], self.ports[key]) for key in endpoints),
            credentials=((str(client), str(client.with_suffix(".key"))),),
            ca_path=str(self.members["a"].pki / "clients/ca.crt"),
        )

    def stop(self, *keys):
        """Kill members by SIGKILL."""
        for key in keys:
            needle = f"--name=etcd-{key}\0".encode()
            home = str(self.members[key].log.parent).encode()
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    command = (process / "cmdline").read_bytes()
                    if needle in command and home in command:
                        os.kill(int(process.name), signal.SIGKILL)


@pytest.fixture(autouse=True)
def every_etcd_of_the_machine(monkeypatch):
    """Look at all etcds: other tests run theirs beside these."""
    monkeypatch.setattr("certmedic.edge.facts.etcds.MOST_ETCDS", 99)


def dialled(folder):
    """Return the network as the packaged actor has it, through a dialer."""
    there = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    there.bind(str(folder / "dialer"))
    there.listen()
    options = {"allowed": {os.geteuid()}, "idle": 600}
    threading.Thread(target=serve, args=(there,), kwargs=options, daemon=True).start()
    return Dialled(str(folder / "dialer"))


@pytest.fixture(params=["3.4", "3.5"])
def group(tmp_path, request):
    with Group(tmp_path, request.param) as made:
        yield made


@pytest.mark.real
def test_lease_has_one_holder_until_it_is_released_or_expires(group, tmp_path):
    locks = {key: EtcdLock(ttl=60, deadline=20, network=dialled(tmp_path) if key == "c" else OWN) for key in lab.KEYS}
    asked = {key: group.access(f"etcd-{key}", endpoints=(key,)) for key in lab.KEYS}

    def take(key, answers):
        answers[key] = locks[key].take("main", asked[key])

    for _ in range(5):
        answers = {}
        threads = [threading.Thread(target=take, args=(key, answers)) for key in locks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (first,) = [key for key, lease in answers.items() if lease.state == "ours"]
        assert {lease.state for key, lease in answers.items() if key != first} == {"theirs"}, answers
        assert all(f"etcd-{first} holds" in lease.why for key, lease in answers.items() if key != first)
        assert locks[first].take("main", asked[first]).state == "ours"  # again, as after a kill
        assert locks[first].take("events", asked[first]).state == "ours"  # each group has a separate lease
        for key, lock in locks.items():
            lock.release("main", asked[key])  # a release without the lease does no harm
        locks[first].release("events", asked[first])

    short = EtcdLock(ttl=2, deadline=20)
    assert short.take("main", asked["a"]).state == "ours"
    assert locks["b"].take("main", asked["b"]).state == "theirs"
    until(lambda: locks["b"].take("main", asked["b"]).state == "ours", seconds=60)


@pytest.mark.real
def test_members_come_from_etcd_and_not_from_its_flags(group, tmp_path):
    every = tuple((f"etcd-{key}", lab.ADDRESSES[key], group.peers[key]) for key in lab.KEYS)
    assert group.voters("a") == group.voters("c") == every
    assert group.voters("a", network=dialled(tmp_path)) == every

    late = group.plan.leaf(group.plan.peers_ca, "a", not_before=NOW - 9 * DAY, not_after=datetime.now(UTC) - DAY)
    late.write(tmp_path / "late/me.crt")
    assert group.voters("a", tmp_path / "late/me.crt") == ()
    assert group.voters("a", tmp_path / "none/me.crt") == ()

    # Add a member that has not started yet: from now on quorum is three of four.
    etcd = _Endpoint(lab.ADDRESSES["a"], group.ports["a"], context(group), time.monotonic() + 60)

    def added():
        # etcd accepts no new member until the group has been healthy for some seconds.
        with contextlib.suppress(_AskError):
            return etcd.post("/cluster/member/add", {"peerURLs": ["https://10.0.0.4:2380"]})

    until(added, seconds=50)
    until(lambda: ("10.0.0.4:2380", "10.0.0.4", 2380) in group.voters("b"), seconds=30)
    assert len(group.voters("b")) == 4


@pytest.mark.real
@pytest.mark.parametrize("group", ["3.5"], indirect=True)
def test_stored_members_count_beside_those_of_the_flags(group):
    peer = str(group.members["a"].pki / "peers/me.crt")

    every = {f"etcd-{key}" for key in lab.KEYS}
    rosters = {}
    assert members_of(group, rosters) == every
    now = rosters[peer]
    assert (bool(now.by), {name for name, _, _ in now.voters}) == (True, every)

    # Its peer certificate has expired, so etcd cannot be asked. The stored list holds a further member.
    bad = group.plan.leaf(group.plan.peers_ca, "a", not_before=NOW - 9 * DAY, not_after=datetime.now(UTC) - DAY)
    bad.write(group.members["a"].pki / "peers/me.crt")
    more = (("etcd-d", "10.0.0.4", 2380), *(voter for voter in now.voters if voter[0] != "etcd-c"))
    mine = {"etcd-a", "etcd-b"}
    assert members_of(group, {peer: replace(now, voters=more)}) == {*mine, "etcd-d"}  # stored since this start of etcd
    assert members_of(group, {peer: replace(now, voters=more, by="an earlier one")}) == {*every, "etcd-d"}
    assert members_of(group, {}) == every


def members_of(group, rosters):
    """Return the names of the members that the facts give for the etcd of member a."""
    etcds = meet(
        Direct(tree=Tree(root=str(group.members["a"].pki.parents[1]))),
        rosters,
        (),
        [],
        trusts=lambda _: Trust.SYSTEM,
        ask=voters,
    )
    mine = [
        etcd
        for etcd in etcds
        if etcd.cluster.name == "etcd-a" and group.peers["a"] in {m[2] for m in etcd.cluster.members}
    ]
    return {name for name, _, _ in mine[0].cluster.members}


@pytest.mark.real
@pytest.mark.parametrize("group", ["3.5"], indirect=True)
def test_embedded_etcd_is_found_by_its_peer_certificate(group, tmp_path):
    peers = group.members["a"].pki / "peers"
    place = Place(
        plane="k3s", group="", use="peer", renewer="k3s", ca_path=str(peers / "ca.crt"), ports=(group.peers["a"],)
    )

    def seen(path, rosters):
        certificate = certificates.parse(path.read_bytes(), str(path))[0]
        view = members(
            Direct(tree=Tree(root=str(tmp_path))),
            20,
            remembered=rosters,
            embedded=[Stored(certificate=certificate, place=place, modified=NOW)],
            trusts=lambda _: Trust.SYSTEM,
            ask=voters,
        )
        return {(m.name, m.is_self) for m in view.members if m.port in group.peers.values()}, view.members

    rosters = {}
    every = {("etcd-a", True), ("etcd-b", False), ("etcd-c", False)}
    assert every <= seen(peers / "me.crt", rosters)[0]
    # rke2 runs etcd as a separate process. It is seen twice, but must count once.
    assert sum(m.is_self and m.port == group.peers["a"] for m in seen(peers / "me.crt", rosters)[1]) == 1

    # Its certificate has expired: the stored list counts. Without a stored list, no restart is safe.
    bad = group.plan.leaf(group.plan.peers_ca, "a", not_before=NOW - 9 * DAY, not_after=datetime.now(UTC) - DAY)
    bad.write(tmp_path / "server/tls/etcd/peer.crt")
    late = tmp_path / "server/tls/etcd/peer.crt"
    unknown = [m for m in seen(late, {})[1] if m.name == "of an unknown name"]
    assert len(unknown) == 1
    assert not safe_to_restart(unknown, "", datetime.now(UTC)).passed
    assert every <= seen(late, {str(late): rosters[str(peers / "me.crt")]})[0]

    # The configuration file that k3s wrote counts as well.
    config = tmp_path / "server/db/etcd/config"
    config.parent.mkdir(parents=True)
    urls = ",".join(f"etcd-{key}=https://{lab.ADDRESSES[key]}:{group.peers[key]}" for key in lab.KEYS)
    config.write_text(f"name: etcd-a\ninitial-cluster: {urls}\n")
    assert every <= seen(late, {})[0]


def context(group):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.load_verify_locations(group.members["a"].pki / "clients/ca.crt")
    made.load_cert_chain(group.api, group.api.with_suffix(".key"))
    return made


@pytest.mark.real
def test_unavailable_lease_is_reported_in_time_with_a_reason(group, tmp_path):
    lock = EtcdLock(ttl=60, deadline=4)
    stranger = pki.authority("etcd-clients-ca").leaf("kube-apiserver", server=False)
    stranger.write(tmp_path / "stranger/client.crt")
    late = group.plan.clients_ca.leaf(
        "kube-apiserver", server=False, not_before=datetime.now(UTC) - 9 * DAY, not_after=datetime.now(UTC) - DAY
    )
    late.write(tmp_path / "late/client.crt")

    def refused(asked):
        began = time.monotonic()
        lease = lock.take("main", asked)
        assert (lease.state, "so handshakes alone decide" in lease.why) == ("none", True)
        assert time.monotonic() - began < 4 + 15  # the deadline, and slack for a busy machine
        return lease.why

    for refuses in ("stranger", "late"):
        assert str(group.ports["c"]) in refused(group.access("a", client=tmp_path / refuses / "client.crt"))
    assert "No such file" in refused(group.access("a", client=tmp_path / "none/client.crt"))
    assert "no certificate here" in refused(replace(group.access("a"), credentials=()))
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # accepts a connection and never answers
        mute = hanging.getsockname()
        refused(replace(group.access("a"), endpoints=(mute,)))
        lease = lock.take("main", replace(group.access("a"), endpoints=(mute, *group.access("a").endpoints)))
        assert lease.state == "ours"  # a hanging endpoint does not hide the others
    lock.release("main", group.access("a"))

    group.stop("b", "c")
    refused(group.access("a", endpoints=("a",)))


# ---------------------------------------------------------------- two agents and one lease

AHEAD = timedelta(days=400)  # all certificates of the lab expire sooner


@dataclass
class Master(Played):
    """One master of a real etcd group: its files and the lease are real; the restart is simulated and takes 0.5 s."""

    key: str = ""
    group: Group | None = None
    shown: dict = field(
        default_factory=dict
    )  # the certificate that each member serves to its peers, shared by all masters
    story: list = field(default_factory=list)  # the actions of all masters, in order
    locks: EtcdLock = field(default_factory=lambda: EtcdLock(ttl=300, deadline=20))

    def gather(self, *, now, with_members=False, nameless=False):
        seen = super().gather(now=now, with_members=with_members)
        around = tuple(
            Member(
                name=f"etcd-{key}",
                group="main",
                address=lab.ADDRESSES[key],
                port=self.group.peers[key],
                serves=shown,
                is_self=key == self.key,
                verified=True,
            )
            for key, shown in sorted(self.shown.items())
        )
        here = lab.ADDRESSES[self.key]
        served = tuple(replace(listener, address=here) for listener in seen.served)
        return replace(seen, host=f"master-{self.key}", served=served, members=around if with_members else ())

    def take(self, group, access):
        return self.locks.take(group, access)

    def release(self, group, access):
        self.story.append((self.key, "gives back"))
        self.locks.release(group, access)

    def restart(self, target):
        self.story.append((self.key, "restarts"))
        time.sleep(0.5)
        ends = datetime.now(UTC) + 2 * AHEAD
        fresh = {
            file.place.use: self.group.plan.leaf(ca, self.key, not_after=ends)
            for file, ca in zip(self.files, (self.group.plan.peers_ca, self.group.plan.clients_ca), strict=False)
        }
        self.files = tuple(
            replace(file, certificate=certificates.parse(fresh[file.place.use].cert_pem, file.certificate.path)[0])
            if file.place.use in fresh
            else file
            for file in self.files
        )
        self.shown[self.key] = self.files[0].certificate
        self.containers = (container(number=f"new-{self.key}"),)
        return f"restarted {target.name}"


def files_of(group, key):
    """Return the certificate files of a master, leaves first."""
    pki = group.members[key].pki

    def read(path, use, **more):
        certificate = certificates.parse(path.read_bytes(), str(path))[0]
        place = {"plane": "kops", "group": "main", "use": use, "renewer": "etcd-manager", **more}
        return Stored(certificate=certificate, place=Place(**place), modified=NOW, trust=Trust.SYSTEM, authorised=True)

    peers, clients = str(pki / "peers/ca.crt"), str(pki / "clients/ca.crt")
    return (
        read(pki / "peers/me.crt", "peer", ca_path=peers, ports=(group.peers[key],)),
        read(pki / "clients/server.crt", "server", ca_path=clients, ports=(group.ports[key],)),
        read(pki / "peers/ca.crt", "ca"),
        read(pki / "clients/ca.crt", "ca"),
        read(group.api, "apiserver-etcd-client", renewer="nodeup", group=""),
    )


@pytest.mark.real
@pytest.mark.parametrize("group", ["3.5"], indirect=True)
def test_lease_lets_one_of_two_agents_act_and_the_other_reports_its_holder(group, tmp_path):
    """The window opens for both at the same moment, after the timeout. Only the lease keeps them apart."""
    begins = datetime.now(UTC).replace(microsecond=0)
    hours = f"{begins + timedelta(minutes=20):%H:%M}-{begins - timedelta(minutes=5):%H:%M}"
    remedy = RemedyPolicy(
        restart=("etcd-manager",),
        plan_ahead=AHEAD,
        window=window.parse(hours),
        verify_for=timedelta(minutes=2),
    )
    shown = {key: files_of(group, key)[0].certificate for key in lab.KEYS}
    story, labs, faults = [], {}, []
    together = threading.Barrier(2, timeout=120)

    def live(key):
        config = Config(
            mode="remedy", state=tmp_path / key, notify=Notify(group_for=timedelta(seconds=2)), remedy=remedy
        )
        world = Master(files=files_of(group, key), key=key, group=group, shown=shown, story=story, lease="real")
        master = labs[key] = Lab(world, tmp_path / key / "state.sqlite3", config, now=begins)
        while master.now < begins + timedelta(minutes=22):
            master.step(seconds=30)
        together.wait()
        for _ in range(200):
            master.step()
            if [act.state for act in master.store.acts()] == ["verified"] and len(story) == 4:
                break
            time.sleep(0.02)
        master.store.close()

    def reported(key):
        try:
            live(key)
        except BaseException as error:
            faults.append(error)
            together.abort()
            raise

    threads = [threading.Thread(target=reported, args=(key,)) for key in "bc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert not faults, faults

    first, second = story[0][0], story[2][0]
    assert {first, second} == {"b", "c"}
    assert story == [(first, "restarts"), (first, "gives back"), (second, "restarts"), (second, "gives back")]
    with Store(tmp_path / second / "state.sqlite3", readonly=True) as store:
        (act,) = store.acts()
        reasons = [event["said"] for event in store.events(act.incident) if event["what"] == "decided"]
    waits = (
        f"no action: etcd-{first} holds the lease in etcd and acts; opens when it gives it back, or after 300 s of its silence"
        " (to pass: wait until the other master gives the lease back)"
    )
    assert waits in reasons
    assert [
        entry
        for entry in labs[second].world.journal
        if f"turn: BLOCKED: {waits[11:]}" in entry.get("CERTMEDIC_GATES", "")
    ]
    config = tmp_path / "certmedic.toml"
    config.write_text(f'state = "{tmp_path / second}"\n')
    config.chmod(0o640)
    shows = CliRunner().invoke(main, ["show", str(act.incident), "--config", str(config)])
    assert waits[8:40] in " ".join(shows.output.split())
