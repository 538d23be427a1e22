"""Listeners and processes of strangers delay nothing, get no key of this master and hide nothing."""

import sys
import time
from datetime import timedelta

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
    home.wait_for_message("has expired", seconds=30)
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


def test_fake_etcd_gets_no_key_and_no_vote(home, watchdog):  # H5
    folder = home.volume(ends=-timedelta(hours=1))
    pki.kops_volume(
        home.home / "mnt/master-vol-a",
        peers_ca=home.peers_ca,
        clients_ca=home.clients_ca,
        server=home.clients_ca.leaf("etcd-a", not_after=home.ends),
    )
    home.serve(folder / "peers/me.crt", 2380)
    members = '[{"id":"1","peerURLs":["https://127.0.0.1:7001"],"name":"\\ud800","clientURLs":[]}]'
    fake_etcds(home, folder, count=4, answer=members)
    home.start('mode = "remedy"', REMEDY, **watchdog.environ(20))
    home.unit_logs(expired_line(home.ends, remote="127.0.0.1:40001"))
    home.wait_for_message("has expired", seconds=30)
    time.sleep(5)
    assert home.alive, home.log[-3000:]
    shown = [path.name for path in (home.home / "mnt/disks/pv1").glob("record*")]
    assert shown == [], "the machine's peer key was used with a stranger"
    gates = [g for incident in home.incidents() if incident["decision"] for g in incident["decision"]["gates"]]
    assert not [gate for gate in gates if "etcd-x" in gate["why"]]


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
    home.wait_for_message("has expired", seconds=30)
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
    home.wait_for_message("has expired", seconds=20)
    (critical,) = [incident for incident in home.incidents() if incident["severity"] == "critical"]
    assert "not in use" not in " ".join(critical["diagnosis"]["evidence"]) + critical["diagnosis"]["remedy"]["why"]


def test_control_characters_in_a_member_name_reach_no_terminal(home):  # M4
    folder = home.volume(ends=-timedelta(hours=1))
    home.serve(folder / "peers/me.crt", 2380)
    fake_etcds(home, folder, count=3, name="\x1b]0;owned\x07\x1b[31m")
    home.start('mode = "remedy"', REMEDY)
    home.unit_logs(refused_line())
    home.wait_for_message("has expired", seconds=30)
    home.settle(1)
    output = b"".join(
        home.output_of(*words) for words in (("incidents",), ("show", "1"), ("show", "2"), ("status",), ("certs",))
    )
    assert b"\x1b" not in output.replace(b"\x1b[0m", b""), output
    assert b"\x07" not in output
