"""Lines of strangers call nobody, hide no true incident and cause no unlimited growth."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from labs import pki
from labs.house import ORDINARY, STATIC, expired_line, refused_line
from labs.namespaces import STORY

pytestmark = STORY
ENDED = datetime(2026, 11, 19, 15, 30, 41, tzinfo=UTC)


SECOND = "2026-11-24T15:32:44.000Z"


def zap(remote, second):
    """Return etcd's line in JSON about a client whose certificate has expired."""
    why = f"tls: failed to verify client certificate: x509: certificate has expired or is not yet valid: current time {second[:19]}Z is after {ENDED:%Y-%m-%dT%H:%M:%SZ}"
    return json.dumps(
        {
            "level": "warn",
            "ts": second,
            "msg": "rejected connection",
            "remote-addr": remote,
            "server-name": "etcd-a",
            "error": why,
        }
    )


def above_info(home):
    return [incident for incident in home.incidents() if incident["severity"] != "info"]


def healthy(home):
    folder = home.volume()
    home.serve(folder / "peers/me.crt", 2380)
    home.serve(folder / "clients/server.crt", 4001)
    return folder


def test_four_hundred_program_names_call_nobody(home):  # H7
    healthy(home)
    home.start()
    lines = [
        (f"etcd-{n}", f"open /etc/pki/{n}.crt: x509: certificate has expired or is not yet valid") for n in range(200)
    ]
    lines += [(f"prog{n}", expired_line(ENDED + timedelta(seconds=n), remote=f"10.0.{n}.9:40000")) for n in range(200)]
    home.stranger_logs(*lines)
    home.settle(5)
    assert home.received.titles == []
    assert above_info(home) == []
    assert len(home.incidents()) <= 40


def test_true_line_behind_forged_copies_is_reported(home):  # H6
    healthy(home)
    home.member("10.0.0.9")
    home.start()
    # In JSON the address of the client is a separate field: the copies name another client.
    home.pod("default", "web-1", ORDINARY, *[zap("203.0.113.1:40000", SECOND)] * 5, container="web")
    home.settle(1, seconds=2)
    home.unit_logs(zap("10.0.0.9:40000", SECOND))
    home.wait_for(lambda: "opened: etcd-1 at 10.0.0.9" in home.log, seconds=20)  # the member reports itself


def test_copies_in_a_pod_named_like_a_static_pod_hide_nothing(home):  # H6, M2
    healthy(home)
    home.member("10.0.0.9")
    home.start()
    second = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}.000001 W | embed: "
    true = second + expired_line(ENDED, remote="10.0.0.9:40000")
    home.pod("tenant", "etcd-manager-main-m1", STATIC, *[true] * 5)
    home.settle(1, seconds=3)
    assert home.received.titles == []  # the lines of the tenant call nobody
    home.unit_logs(true)
    home.wait_for(lambda: "opened: etcd-1 at 10.0.0.9" in home.log, seconds=20)  # the member reports itself


def test_forged_program_name_gives_a_stranger_no_trust(
    home,
):  # L: SYSLOG_IDENTIFIER and the text must not override _UID
    healthy(home)
    home.start()
    own = "x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-19T15:30:41Z"
    home.stranger_logs(
        ("kubelet", f'"Unable to authenticate the request" err="[{own}]"'),
        ("etcd", expired_line(ENDED)),
        ("etcd-manager", f"existing certificate not valid after {ENDED:%Y-%m-%dT%H:%M:%SZ}; will regenerate"),
        ("kube-apiserver", f'grpc: addrConn.createTransport failed to connect to {{https://127.0.0.1:4001}}. Err: connection error: desc = "transport: authentication handshake failed: {own}"'),
    )  # fmt: skip
    home.settle(3)
    assert home.received.titles == []
    assert above_info(home) == []


def test_forged_neighbours_leave_room_for_the_true_neighbour(home):  # L: forged neighbours come first
    folder = home.volume(ends=-timedelta(hours=1))
    home.serve(folder / "peers/me.crt", 2380)
    home.serve(folder / "clients/server.crt", 4001)
    home.start(more='remind_every = "1h"')
    forged = [("etcd", refused_line(f"198.51.100.{n}:40001")) for n in range(40)]
    home.stranger_logs(*forged)
    home.settle(1, seconds=0)
    home.unit_logs(refused_line("10.0.0.77:40001"))
    home.settle(2)
    incidents = json.dumps(home.incidents())
    assert "10.0.0.77" in incidents
    assert "198.51.100." not in " ".join(n for i in above_info(home) for n in i["diagnosis"]["neighbours"])


def test_tenant_cannot_close_a_true_warning(home):  # M2
    folder = home.volume(ends=timedelta(hours=20))
    home.serve(folder / "peers/me.crt", 2380)
    home.serve(folder / "clients/server.crt", 4001)
    home.start(more="[certificates.plane.kops]\nwarn_days = [1]")
    home.wait_for_message("expire", seconds=30)
    home.pod("tenant", "etcd-manager-main-m1", STATIC, *(refused_line(f"10.0.0.2:4{n:04}") for n in range(20)))
    home.pod("tenant", "etcd-manager-main-m1", STATIC, refused_line(server_name="evil"), expired_line(home.ends))
    home.settle(22)
    warnings = [incident for incident in home.incidents() if incident["diagnosis"]["cause"] == "expires_soon"]
    assert [incident["state"] for incident in warnings] == ["open"]
    assert not [title for title in home.received.titles if "RESOLVED" in title]


@pytest.mark.parametrize("mood", ["late", "drip"])
def test_slow_receiver_does_not_starve_the_watchdog(home, watchdog, mood):  # H7
    folder = home.volume(ends=-timedelta(hours=1))
    cas = {"peers_ca": home.peers_ca, "clients_ca": home.clients_ca}
    for group in ("events", "cilium", "leases"):
        pki.kops_volume(home.home / f"mnt/master-vol-{group}", group=group, not_after=home.ends, **cas)
    home.serve(folder / "peers/me.crt", 2380)
    home.received.mood = mood
    home.start(**watchdog.environ(8))
    home.stranger_logs(*((f"prog{n}", expired_line(ENDED, remote=f"10.0.{n}.9:40000")) for n in range(20)))
    home.unit_logs(*(expired_line(ENDED + timedelta(days=n), remote=f"10.0.0.{n}:40000") for n in range(20)))
    home.wait_for(lambda: home.received.requests, seconds=20)
    time.sleep(14)
    assert home.alive
    assert watchdog.longest_gap() <= 8
