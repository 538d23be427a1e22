"""Listeners and processes of strangers delay nothing, get no key of this master and hide nothing."""

import sys
import time
from datetime import timedelta

import pytest

from labs import pki
from labs.hostile import DRIPPING, ETCD
from labs.house import expired_line, refused_line
from labs.namespaces import STORY, ip

pytestmark = STORY
REMEDY = '[remedy]\nrestart = ["etcd-manager"]\n'


def own_files(home):
    """Let a stranger make a certificate and copy the peer CA of the master; return (certificate, key) as paths on the master."""
    folder = home.strangers_folder("mnt/disks/pv1")
    ca = pki.authority("stranger")
    ca.leaf("etcd-a", dns=("localhost",), ips=("127.0.0.1",)).write(folder / "own.crt")
    (folder / "own-ca.crt").write_bytes(ca.pem)
    (folder / "ca.crt").write_bytes(home.peers_ca.pem)
    home.hand_over(folder)
    return "/mnt/disks/pv1/own.crt", "/mnt/disks/pv1/own.key"


def test_listener_that_drips_bytes_delays_nothing(home, watchdog):  # H4
    folder = home.volume(ends=-timedelta(hours=1))
    home.serve(folder / "peers/me.crt", 2380)
    cert, key = own_files(home)
    for port in (4001, 3996):
        home.stranger(sys.executable, "-c", DRIPPING, "127.0.0.1", str(port), cert, key)
    time.sleep(0.5)
    home.start(**watchdog.environ(8))
    home.unit_logs(refused_line())
    home.wait_for_message("expired", seconds=30)
    time.sleep(10)
    assert home.alive
    assert watchdog.longest_gap() <= 8


def fake_etcds(home, folder, *, count, name="etcd-x", answer="[]"):
    """Start processes of a stranger named etcd that claim the peer certificate of the machine."""
    cert, key = own_files(home)
    volume = "/" + str(folder.relative_to(home.home))
    for n in range(count):
        port = 7001 + n
        cluster = ",".join(f"{name}{i}=https://127.0.0.1:{7001 + i}" for i in range(count))
        home.stranger(
            *[sys.executable, "-c", ETCD, f"/mnt/disks/pv1/record{n}", cert, key, "/mnt/disks/pv1/ca.crt", str(port), answer],
            *[f"--name={name}{n}", f"--initial-cluster={cluster}", f"--initial-advertise-peer-urls=https://127.0.0.1:{port}"],
            *[f"--peer-cert-file={volume}/peers/me.crt", f"--peer-key-file={volume}/peers/me.key"],
            *["--peer-trusted-ca-file=/mnt/disks/pv1/own-ca.crt", "--trusted-ca-file=/mnt/disks/pv1/own-ca.crt"],
            *["--listen-client-urls=https://127.0.0.1:4001"],
        )  # fmt: skip
    time.sleep(1)


def member_whose_server_certificate_expired(home):
    """Write a volume whose peer certificate is good, so that a listener takes it, and whose server certificate expired; returns its folder."""
    folder = home.volume(ends=-timedelta(hours=1))
    server = home.clients_ca.leaf("etcd-a", not_after=home.ends)
    pki.kops_volume(home.home / "mnt/master-vol-a", peers_ca=home.peers_ca, clients_ca=home.clients_ca, server=server)
    home.serve(folder / "peers/me.crt", 2380)
    return folder


@pytest.mark.parametrize("name", ["etcd-x0", "\\ud800"], ids=["a name", "half a surrogate pair"])
def test_fake_etcd_is_shown_no_key(home, watchdog, name):  # H5
    folder = member_whose_server_certificate_expired(home)
    members = f'[{{"id":"1","peerURLs":["https://127.0.0.1:7001"],"name":"{name}","clientURLs":[]}}]'
    fake_etcds(home, folder, count=4, answer=members)
    home.start('mode = "remedy"', REMEDY, **watchdog.environ(20))
    home.unit_logs(expired_line(home.ends, remote="127.0.0.1:40001"))
    home.wait_for_message("expired", seconds=30)
    time.sleep(5)
    assert home.alive, home.log[-3000:]
    shown = [path.name for path in (home.home / "mnt/disks/pv1").glob("record*")]
    assert shown == [], "the machine's peer key was used with a stranger"


def test_fake_etcd_has_no_vote(home):  # H5
    folder = member_whose_server_certificate_expired(home)
    fake_etcds(home, folder, count=4)
    home.member("10.0.0.8", "10.0.0.9", peer_certificate=f"/{(folder / 'peers/me.crt').relative_to(home.home)}")
    safe = asked_whether_safe(home)
    assert [gate["passed"] for gate in safe] == [False], safe
    assert "of 3 members" in safe[0]["why"], safe


def test_self_signed_listeners_open_no_gate(home):  # H5
    folder = member_whose_server_certificate_expired(home)
    cert, key = own_files(home)
    listening = [f"127.0.0.1:{port}" for port in range(7001, 7005)]
    for address in listening:
        home.stranger("openssl", "s_server", "-quiet", "-accept", address, "-cert", cert, "-key", key)
    # etcd itself does not run: a stranger's process takes its part, and names three members that nobody sees.
    members = enumerate(("127.0.0.1:2380", "10.0.0.8:2380", "10.0.0.9:2380", *listening))
    home.stranger(
        *[sys.executable, "-c", 'open("/proc/self/comm", "w").write("etcd"); import time; time.sleep(600)'],
        *["--name=etcd-0", "--initial-cluster=" + ",".join(f"etcd-{n}=https://{address}" for n, address in members)],
        f"--peer-cert-file=/{(folder / 'peers/me.crt').relative_to(home.home)}",
    )
    safe = asked_whether_safe(home)
    assert not [gate for gate in safe if gate["passed"]], safe


def asked_whether_safe(home):
    """Start the agent, have its own certificate refused, and return what the gate "member safe" answered."""
    home.start('mode = "remedy"', REMEDY)
    home.unit_logs(expired_line(home.ends, remote="127.0.0.1:40001"))
    home.wait_for_message("expired", seconds=30)
    time.sleep(5)
    gates = [gate for incident in home.incidents() if incident["decision"] for gate in incident["decision"]["gates"]]
    assert gates
    return [gate for gate in gates if gate["name"] == "member safe"]


def test_fifo_as_a_certificate_blocks_nothing(home, watchdog):  # H5
    folder = home.volume(ends=-timedelta(hours=1))
    home.serve(folder / "peers/me.crt", 2380)
    own_files(home)
    home.stranger("mkfifo", "/mnt/disks/pv1/fifo").wait(10)
    for n in range(3):
        home.stranger(
            *[sys.executable, "-c", 'open("/proc/self/comm", "w").write("etcd"); import time; time.sleep(600)'],
            *[f"--name=f{n}", f"--initial-cluster=f{n}=https://127.0.0.1:7001", f"--initial-advertise-peer-urls=https://127.0.0.1:700{n}"],
            *["--peer-cert-file=/mnt/disks/pv1/fifo", "--peer-trusted-ca-file=/mnt/disks/pv1/fifo"],
        )  # fmt: skip
    time.sleep(0.5)
    home.start('mode = "remedy"', REMEDY, **watchdog.environ(8))
    home.unit_logs(expired_line(home.ends, remote="127.0.0.1:40001"))
    home.wait_for_message("expired", seconds=30)
    time.sleep(9)
    assert home.alive
    assert watchdog.longest_gap() <= 8


def test_listener_on_loopback_hides_no_true_listener(home):  # M1
    folder = home.volume()
    expired = home.peers_ca.leaf(
        "etcd-a", dns=("etcd-a",), ips=("127.0.0.1",), not_after=home.ends - timedelta(days=301)
    )
    expired.write(folder / "peers/me.crt")
    ip("-n", home.namespace, "address", "add", "10.0.0.1/32", "dev", "lo")
    home.serve(folder / "peers/me.crt", 2380, "10.0.0.1")
    home.serve(folder / "clients/server.crt", 4001, "10.0.0.1")
    cert, key = own_files(home)
    home.stranger("openssl", "s_server", "-quiet", "-accept", "127.0.0.1:2380", "-cert", cert, "-key", key)
    time.sleep(0.5)
    home.start()
    home.unit_logs(refused_line())
    home.wait_for_message("expired", seconds=20)
    (critical,) = [incident for incident in home.incidents() if incident["severity"] == "critical"]
    assert "not in use" not in " ".join(critical["diagnosis"]["evidence"]) + critical["diagnosis"]["remedy"]["why"]


def test_control_characters_in_a_member_name_reach_no_terminal(home):  # M4
    folder = home.volume(ends=-timedelta(hours=1))
    home.serve(folder / "peers/me.crt", 2380)
    fake_etcds(home, folder, count=3, name="\x1b]0;owned\x07\x1b[31m")
    home.start('mode = "remedy"', REMEDY)
    home.unit_logs(refused_line())
    home.wait_for_message("expired", seconds=30)
    home.settle(1)
    output = b"".join(
        home.output_of(*words) for words in (("incidents",), ("show", "1"), ("show", "2"), ("status",), ("certs",))
    )
    assert b"\x1b" not in output.replace(b"\x1b[0m", b""), output
    assert b"\x07" not in output
