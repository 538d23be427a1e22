"""Files of strangers are never signed, never read because a stranger names them, and call nobody."""

import base64
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from labs import pki
from labs.house import ORDINARY, expired_line
from labs.namespaces import STORY

pytestmark = STORY
ECDSA_SHA256 = bytes.fromhex("06082a8648ce3d040302")
UNKNOWN_SIGNATURE = bytes.fromhex("06082a8648ce3d04037f")
CLIENT = {"kind": "kube-apiserver/etcd-client.crt", "ca": "etcd-ca.crt"}
RENEW = '[remedy]\nrenew = true\nrestart = ["etcd-manager"]\nverify_for = "10s"\n'


def healthy(home):
    folder = home.volume()
    home.serve(folder / "peers/me.crt", 2380)
    home.serve(folder / "clients/server.crt", 4001)
    return folder


def forged(ca, key, cn="system:masters"):
    """Return a certificate in PEM that names a CA as its issuer, with a signature that no library can verify."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(ca.cert.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now - timedelta(hours=2))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    der = builder.sign(pki.new_key(), hashes.SHA256()).public_bytes(pki.serialization.Encoding.DER)
    der = der.replace(ECDSA_SHA256, UNKNOWN_SIGNATURE)
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def plant(home, name, certificate, key, *, kind="pki/etcd-cluster-token-etcd/clients/server.crt", ca="ca.crt"):
    """Let a stranger write a certificate and its key at a known kind of path; return (file, its path on the master)."""
    folder = home.strangers_folder(f"mnt/disks/{name}")
    file = folder / kind
    file.parent.mkdir(parents=True)
    file.write_bytes(certificate)
    file.with_suffix(".key").write_bytes(pki.key_pem(key))
    (file.parent / ca).write_bytes(home.clients_ca.pem)
    home.hand_over(folder)
    return file, "/" + str(file.relative_to(home.home))


def is_signed_again(file, before):
    return file.read_bytes() != before


def test_ca_signs_nothing_for_a_stranger(home):  # C1
    healthy(home)
    key = pki.new_key()
    now = datetime.now(UTC).replace(microsecond=0)
    genuine = home.clients_ca.leaf(
        "old-client", server=False, not_before=now - timedelta(days=30), not_after=now - timedelta(hours=3)
    )
    planted = [
        plant(home, "pv1", forged(home.clients_ca, key), key, **CLIENT),
        plant(home, "pv2", genuine.cert_pem, genuine.key, **CLIENT),
    ]
    before = [file.read_bytes() for file, _ in planted]
    home.start('mode = "remedy"', RENEW)
    for (_, path), ended in zip(planted, (now - timedelta(hours=2), now - timedelta(hours=3)), strict=True):
        argv = [f"--etcd-certfile={path}", f"--etcd-cafile={path.rpartition('/')[0]}/etcd-ca.crt"]
        home.stranger_logs(
            ("etcd", expired_line(ended)), ("etcd", expired_line(ended, remote="127.0.0.1:40001")), argv=argv, stay=True
        )
        home.pod(
            "default", "web-1", ORDINARY, f"ClientTLS: cert = {path}, key = x, trusted-ca = {path}", expired_line(ended)
        )
    home.settle(2, seconds=2)
    for ended in (
        now - timedelta(hours=2),
        now - timedelta(hours=3),
    ):  # repeat the lines after the look at the files
        home.stranger_logs(("etcd", expired_line(ended, remote="127.0.0.1:40001")))
    home.settle(4, seconds=8)
    assert [file.read_bytes() for file, _ in planted] == before, "the cluster's CA signed a stranger's key"
    assert not [incident for incident in home.incidents() if incident["decision"] and incident["decision"]["action"]]
    assert home.received.titles == []


def test_file_and_lines_of_a_pod_call_nobody(home):  # H2
    healthy(home)
    now = datetime.now(UTC).replace(microsecond=0)
    ca = pki.authority("web-ca", not_before=now - timedelta(days=30))
    leaf = ca.leaf("web", not_before=now - timedelta(days=30), not_after=now - timedelta(hours=2), dns=("web",))
    file, path = plant(home, "pv1", leaf.cert_pem, leaf.key)
    os.utime(file, (0, time.time()))
    home.start()
    startup = f"ClientTLS: cert = {path}, key = {path[:-3]}key, ca = , trusted-ca = {path.rpartition('/')[0]}/ca.crt, client-cert-auth = true, crl-file = "
    home.pod("default", "web-1", ORDINARY, f"2026-11-24 15:32:44.000000 I | embed: {startup}", container="etcd")
    home.pod("default", "web-1", ORDINARY, expired_line(now - timedelta(hours=2)), container="etcd")
    home.settle(1, seconds=6)
    assert home.received.titles == []
    incidents = home.incidents()
    assert [incident["severity"] for incident in incidents if incident["severity"] != "info"] == []
    assert not [c for incident in incidents for c in incident["diagnosis"]["certificates"] if c["path"] == path]
    assert file.stat().st_atime == 0, "a file was read because a stranger named it"


def test_certificate_that_never_expires_does_not_stop_the_agent(home, watchdog):  # H3
    healthy(home)
    end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    cas = {"peers_ca": home.peers_ca, "clients_ca": home.clients_ca}
    pki.kops_volume(home.home / "mnt/master-vol-b", group="events", not_after=end, **cas)
    home.member("10.0.0.9")
    home.start(**watchdog.environ(8))
    home.wait_for(lambda: watchdog.pings or not home.alive, seconds=20)
    home.unit_logs(expired_line(datetime(2026, 11, 19, 15, 30, 41, tzinfo=UTC)))
    time.sleep(4)
    assert home.alive, home.log[-3000:]
    home.wait_for(lambda: "opened: etcd-1 at 10.0.0.9" in home.log, seconds=20)


def test_name_with_shell_code_is_in_no_command(home):  # H1
    healthy(home)
    home.start()
    bad = "/etc/ssl/`'$(touch /tmp/pwned)';id`/server.crt"
    home.pod(
        "default",
        "web-1",
        ORDINARY,
        f"2026-11-24 15:32:44.000000 C | etcdmain: open {bad}: no such file or directory",
        f"open {bad}: x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-19T15:30:41Z",
        f"tls: failed to find any PEM data in certificate input: {bad}",
        f'"Failed to load" err="x509: certificate signed by unknown authority" file="{bad}"',
        'rejected connection from "10.0.0.9:40000" (error "remote error: tls: bad certificate", ServerName "`\'$(id)\'")',
        "x509: certificate is valid for a`'$(id)', not b`';id;'",
    )
    home.settle(1, seconds=4)
    assert home.received.titles == []
    commands = [incident["diagnosis"]["remedy"]["command"] for incident in home.incidents()]
    assert not [command for command in commands if "pwned" in command or "$(" in command or "`" in command], commands


def test_backups_hold_no_private_key(home):  # L
    folder = home.volume(ends=-timedelta(hours=1))
    server = folder / "clients/server.crt"
    both = server.read_bytes() + server.with_suffix(".key").read_bytes()
    server.write_bytes(both)
    home.start('mode = "remedy"', RENEW)
    home.unit_logs(expired_line(home.ends), refused_line_of_own())
    home.wait_for(lambda: is_signed_again(server, both) or "no act" in home.log, seconds=25)
    time.sleep(1)
    kept = [path for path in (home.home / "state").rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert kept == []


def refused_line_of_own():
    return 'rejected connection from "10.0.0.2:40001" (error "remote error: tls: bad certificate", ServerName "etcd-a")'


def test_configuration_that_others_can_write_is_refused(home):  # L
    healthy(home)
    home.start()
    home.process.terminate()
    home.process.wait(30)
    for spoil in (
        lambda: home.config_path.chmod(0o666),
        lambda: os.chown(home.config_path, 65534, 65534),
        lambda: (drop_in(home) / "a.toml").chmod(0o666),
        lambda: (home.home / "apprise.conf").chmod(0o666),
    ):
        home.config_path.chmod(0o640)
        os.chown(home.config_path, 0, 0)
        (home.home / "apprise.conf").chmod(0o640)
        shutil.rmtree(home.home / "conf.d", ignore_errors=True)
        spoil()
        check = [sys.executable, "-m", "certmedic", "check-config", "--config", str(home.config_path)]
        checking = home.run(*check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out = checking.communicate(timeout=30)[0].decode()
        assert checking.returncode != 0, out


def drop_in(home):
    folder = home.home / "conf.d"
    folder.mkdir()
    (folder / "a.toml").write_text('mode = "observe"\n')
    return folder
