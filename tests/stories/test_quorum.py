"""The order among real etcd members, as certmedic sees it on each master."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from certmedic.core import certificates
from certmedic.core.model import Member
from labs import AGENT, pki
from labs.drill import etcd
from labs.drill.master import free_ports
from labs.masters import masters, until
from labs.units import control_groups, within
from labs.values import DAY, NOW, PEERS_CA


def shown(ends, begins=NOW - 400 * DAY):
    return certificates.parse(PEERS_CA.leaf("etcd", not_before=begins, not_after=ends).cert_pem, "")[0]


GOOD, LATER, BAD, EARLY = shown(NOW + DAY), shown(NOW + 400 * DAY), shown(NOW - DAY), shown(NOW + 9 * DAY, NOW + DAY)
# Member states: good, good for long, expired, not yet valid, refused, silent, good to peers but expired to clients
LOOKS = {"G": GOOD, "L": LATER, "E": BAD, "N": EARLY, "R": None, "S": None, "C": GOOD}


def group(looks, me="a"):
    """Return members a, b, c, ... in the states `looks`, as `me` sees them."""
    return [
        Member(
            name=name,
            group="main",
            address=f"etcd-{name}",
            port=2380,
            serves=LOOKS[look],
            serves_clients=BAD if look == "C" else LOOKS[look],
            error={"R": "Connection refused", "S": "no answer within 2 s"}.get(look, ""),
            refused=look == "R",
            is_self=name == me,
            verified=LOOKS[look] is not None,
        )
        for name, look in zip("abcdefg", looks, strict=False)
    ]


LOOK = """
import json, time
from datetime import UTC, datetime
from certmedic.core.decision.quorum import safe_to_restart
from certmedic.edge.facts.machine import Machine
began = time.monotonic()
machine = Machine(globs=[])
facts = machine.gather(now=datetime.now(UTC), with_members=True)
me = next((m.name for m in facts.members if m.is_self), "")
print(json.dumps({
    "seconds": time.monotonic() - began,
    "members": {
        m.name: [m.group, m.address, m.port, m.is_self, m.refused, m.error, *(
            c and c.not_after.isoformat() for c in (m.serves, m.serves_clients)
        )]
        for m in facts.members
    },
    "safe": safe_to_restart(facts.members, me, facts.at).passed,
    "blind": facts.blind,
}))
"""


def look(master):
    """Return the members and their safety as certmedic on a master sees them."""
    with master.run(
        [sys.executable, "-c", LOOK], env={**os.environ, "PYTHONPATH": str(AGENT)}, stdout=subprocess.PIPE
    ) as asked:
        return json.loads(asked.communicate(timeout=60)[0])


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces and dockerd")
@pytest.mark.timeout(300)
def test_real_members_are_seen_with_health_address_and_expiry():
    with masters() as lab:
        lab.start_etcd(life=20.0, sick="b")
        a, b, c = (lab.members[name] for name in "abc")
        every = {"etcd-a", "etcd-b", "etcd-c"}
        assert until(lambda: {m for m, view in look(a)["members"].items() if view[6] and view[7]} == every, seconds=60)
        seen = look(a)
        for name, master in zip(sorted(every), (a, b, c), strict=True):
            assert seen["members"][name][:6] == ["main", master.address, 2380, name == "etcd-a", False, ""]
        assert seen["blind"] == []
        # Each master sees the same members, and only its own as itself.
        assert [name for name, view in look(c)["members"].items() if view[3]] == ["etcd-c"]
        ends = pki.ends(pki.read(b.me))
        assert seen["members"]["etcd-b"][6:] == [ends.isoformat()] * 2
        # b expires: the others must not act meanwhile; b itself may.
        assert until(lambda: not look(a)["safe"], seconds=60)
        assert look(b)["safe"]
        # c is stopped: its port refuses connections, which differs from silence.
        c.docker("stop", "-t", "0", c.container)
        gone = look(b)
        assert gone["members"]["etcd-c"][4:] == [True, "Connection refused", None, None]
        assert not gone["safe"]
        assert look(c)["members"] == {}
        # The link of a is down: no answer within the deadline.
        subprocess.run(["ip", "-n", lab.hub, "link", "set", "va", "down"], check=True)
        silent = look(b)
        assert silent["members"]["etcd-a"][4] is False
        assert silent["members"]["etcd-a"][6] is None
        assert "no answer" in silent["members"]["etcd-a"][5] or "No route" in silent["members"]["etcd-a"][5]
        assert silent["seconds"] < 15


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to give up its powers")
def test_etcd_configured_by_environment_is_found_with_its_cluster(tmp_path):
    token = pki.kops_volume(
        tmp_path / "mnt/master-vol-1",
        group="events",
        peers_ca=pki.authority("etcd-peers-ca-events"),
        clients_ca=pki.authority("etcd-clients-ca"),
    )
    peer, clients = free_ports(2)
    environ = {
        "ETCD_NAME": f"etcd-{os.getpid()}",
        "ETCD_DATA_DIR": str(tmp_path / "data"),
        "ETCD_INITIAL_CLUSTER": f"etcd-{os.getpid()}=https://localhost:{peer}",
        "ETCD_LISTEN_PEER_URLS": f"https://127.0.0.1:{peer}",
        "ETCD_INITIAL_ADVERTISE_PEER_URLS": f"https://localhost:{peer}",
        "ETCD_LISTEN_CLIENT_URLS": f"https://127.0.0.1:{clients}",
        "ETCD_ADVERTISE_CLIENT_URLS": f"https://localhost:{clients}",
        "ETCD_PEER_CERT_FILE": str(token / "peers/me.crt"),
        "ETCD_PEER_KEY_FILE": str(token / "peers/me.key"),
        "ETCD_PEER_TRUSTED_CA_FILE": str(token / "peers/ca.crt"),
        "ETCD_CERT_FILE": str(token / "clients/server.crt"),
        "ETCD_KEY_FILE": str(token / "clients/server.key"),
    }

    groups = control_groups(f"etcd@{os.getpid()}.service")  # the agent trusts processes of this unit

    def look(*before):
        command = [*before, sys.executable, "-c", LOOK]
        return json.loads(
            subprocess.run(
                command, env={**os.environ, "PYTHONPATH": str(AGENT)}, check=True, stdout=subprocess.PIPE
            ).stdout
        )

    with (
        (tmp_path / "etcd.log").open("wb") as log,
        subprocess.Popen(
            within(groups, str(etcd.find())), env=environ, stdout=log, stderr=log, cwd=tmp_path
        ) as running,
    ):
        try:
            me = environ["ETCD_NAME"]
            assert until(lambda: look()["members"].get(me, [None] * 8)[7], seconds=60), (
                tmp_path / "etcd.log"
            ).read_text()
            assert look()["members"][me][:6] == ["events", "localhost", peer, True, False, ""]
            # Without CAP_SYS_PTRACE the agent cannot read the environment of a process with more capabilities.
            poor = look("setpriv", "--bounding-set=-all,+dac_read_search", "--no-new-privs")
            assert me not in poor["members"]
            (reason,) = (sentence for sentence in poor["blind"] if f"process {running.pid})" in sentence)
            assert "its environment is closed to us (Permission denied)" in reason
            # The packaged unit has CAP_SYS_PTRACE, so the agent can read it.
            unit = look("setpriv", "--bounding-set=-all,+dac_read_search,+sys_ptrace", "--no-new-privs")
            assert unit["members"][me][:2] == ["events", "localhost"]
        finally:
            running.kill()
