"""Renewal in place: on real etcd members that keep running, and on files with faults, which must stay untouched."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from certmedic.actor.renew import Pen, RenewError, backup_path, renew, sign, undo
from certmedic.core import certificates
from certmedic.core.model import Place, Stored
from certmedic.core.planes import signing_authorities
from certmedic.edge.facts.inventory import Inventory
from certmedic.edge.facts.listeners import shake_hands
from certmedic.edge.os.owners import Tree
from labs import etcd as lab
from labs import pki
from labs.waiting import until

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts and other owners")


class Node:
    """The files of one etcd member of a kops master; both leaves expired five days ago."""

    def __init__(self, root: Path, *, ca_ends: datetime | None = None) -> None:
        self.root = root
        self.tree = Tree(root=str(root), owner=os.geteuid())
        self.backups = root / "state/backups"
        self.peers_ca = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=ca_ends)
        self.clients_ca = pki.authority("etcd-clients-ca", not_before=NOW - 400 * DAY, not_after=ca_ends)
        token = pki.kops_volume(
            root / "mnt/master-vol-1",
            peers_ca=self.peers_ca,
            clients_ca=self.clients_ca,
            not_before=NOW - 400 * DAY,
            not_after=NOW - 5 * DAY,
        )
        self.authorities = root / "etc/kubernetes/pki/etcd-manager-main"
        self.peers_ca.write(self.authorities / "etcd-peers-ca.crt")
        self.clients_ca.write(self.authorities / "etcd-clients-ca.crt")
        self.me = token / "peers/me.crt"
        self.server = token / "clients/server.crt"

    def stored(self, path: Path | None = None) -> Stored:
        path = path or self.me
        stored, _ = Inventory([str(path)], tree=self.tree).look()
        return next(file for file in stored if file.certificate.path == str(path))

    def renew(self, path: Path | None = None, *, stored: Stored | None = None, **more: object):
        stored = stored or self.stored(path)
        known = signing_authorities(stored.place, str(self.root))
        return renew(stored, **{"authorities": known, "backups": self.backups, "now": NOW, "tree": self.tree, **more})

    def refuses(self, match: str, path: Path | None = None, **more: object) -> None:
        """Assert that renewal is refused with this reason and changes no file."""
        path = path or self.me
        stored = more.pop("stored", None) or self.stored(path)
        before, state, listed = path.read_bytes(), path.lstat(), sorted(path.parent.iterdir())
        with pytest.raises(RenewError, match=match):
            self.renew(stored=stored, **more)
        assert path.read_bytes() == before
        assert (path.lstat().st_ino, path.lstat().st_mtime_ns) == (state.st_ino, state.st_mtime_ns)
        assert sorted(path.parent.iterdir()) == listed


@pytest.fixture
def node(tmp_path) -> Node:
    return Node(tmp_path)


# ---------------------------------------------------------------- the renewed certificate


def test_renewal_changes_only_dates_and_serial(node):
    for path, ca in ((node.me, node.peers_ca), (node.server, node.clients_ca)):
        before = path.read_bytes()
        renewed = node.renew(path)
        old, new = (x509.load_pem_x509_certificate(pem) for pem in (before, path.read_bytes()))
        stored = node.stored(path)
        assert stored.certificate.not_before == certificates.parse(ca.pem, "")[0].not_before
        assert stored.certificate.not_after == NOW + 395 * DAY == renewed.not_after
        assert stored.certificate.fingerprint == renewed.fingerprint
        assert stored.key_matches
        assert (new.subject, new.issuer, new.public_key().public_numbers()) == (
            old.subject,
            old.issuer,
            old.public_key().public_numbers(),
        )
        assert new.serial_number != old.serial_number
        kept = {(e.oid, e.critical, e.value) for e in new.extensions}
        assert {(e.oid, e.critical, e.value) for e in old.extensions} <= kept
        assert {e.oid for e in new.extensions} - {e.oid for e in old.extensions} == {
            x509.KeyUsage.oid,
            x509.SubjectKeyIdentifier.oid,
        }
        assert renewed.path == str(path)
        assert renewed.ca_path.startswith(str(node.authorities))
        assert Path(renewed.backup).read_bytes() == before


def test_extensions_are_accepted_in_any_order():
    # The agent writes the authority key identifier last. Go and labs/pki.py write it before the names.
    ca = pki.authority("etcd-peers-ca-main")
    old = ca.leaf("etcd-a", dns=("etcd-a",), ips=("127.0.0.1",))
    leaf, signer = (certificates.parse(pem, "x.crt")[0] for pem in (old.cert_pem, ca.pem))
    later = leaf.not_after + timedelta(days=1)

    new = sign._signed(
        leaf,
        sign._Authority("ca.crt", signer, ca.key),
        later,
        Place(plane="kops", group="", use="peer", renewer="etcd-manager"),
    )

    assert (new.dns_names, new.usages, new.not_after) == (leaf.dns_names, leaf.usages, later)


def test_openssl_verifies_the_renewed_certificate(node):
    node.renew()
    for purpose in ("sslserver", "sslclient"):
        command = [
            "openssl",
            "verify",
            "-purpose",
            purpose,
            "-CAfile",
            node.me.with_name("ca.crt"),
            node.me,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_renewed_certificate_does_not_outlive_its_ca(tmp_path):
    node = Node(tmp_path, ca_ends=NOW + 30 * DAY)
    assert node.renew().not_after == NOW + 30 * DAY


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_rsa_and_ed25519_cas_sign_and_unknown_extensions_are_dropped(node, kind):
    key = pki.kept_key(0) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()
    ca = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, key=key) if kind == "rsa" else _ed25519(key)
    mine = ec.generate_private_key(ec.SECP384R1())
    unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x0c\x02hi")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "etcd-a")])
    old = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.subject if kind == "ed25519" else ca.cert.subject)
        .public_key(mine.public_key())
        .serial_number(7)
        .not_valid_before(NOW - 10 * DAY)
        .not_valid_after(NOW - DAY)
        .add_extension(unknown, critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True
        )
        .sign(key, None if kind == "ed25519" else hashes.SHA256())
    )
    pki.Leaf(old, mine).write(node.me)
    ca_pem = (ca if kind == "ed25519" else ca.cert).public_bytes(serialization.Encoding.PEM)
    node.me.with_name("ca.crt").write_bytes(ca_pem)
    (node.authorities / "etcd-peers-ca.crt").write_bytes(ca_pem)
    (node.authorities / "etcd-peers-ca.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    node.renew()
    new = x509.load_pem_x509_certificate(node.me.read_bytes())
    assert new.subject == subject
    kept = {e.oid: (e.critical, e.value) for e in new.extensions}
    assert unknown.oid not in kept
    assert list(kept[x509.ExtendedKeyUsage.oid][1]) == [
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    ]
    assert certificates.issued_by(*(certificates.parse(pem, "")[0] for pem in (node.me.read_bytes(), ca_pem)))


def _ed25519(key) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "etcd-peers-ca-main")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - 400 * DAY)
        .not_valid_after(NOW + 400 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
    )


# ---------------------------------------------------------------- the file


def test_chain_in_the_certificate_file_survives_renewal(node):
    rest = b"# the chain\r\n" + node.peers_ca.pem
    node.me.write_bytes(b"subject=etcd-a\n" + node.me.read_bytes() + rest)
    node.renew()
    assert node.me.read_bytes().startswith(b"subject=etcd-a\n-----BEGIN")
    assert node.me.read_bytes().endswith(rest)
    assert node.stored().certificate.not_after == NOW + 395 * DAY


def test_key_in_the_certificate_file_survives_renewal(node):
    key = node.me.with_suffix(".key")
    node.me.write_bytes(key.read_bytes() + node.me.read_bytes())
    kept = key.read_bytes()
    key.unlink()
    node.renew()
    assert node.me.read_bytes().startswith(kept)
    assert node.stored().key_matches


@needs_root
def test_owner_and_mode_survive_renewal_and_undo(node):
    os.chown(node.me, 0, 4321)
    node.me.chmod(0o640)
    before = node.me.read_bytes()
    renewed = node.renew()
    for path in (node.me, Path(renewed.backup)):
        assert (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o7777) == (0, 4321, 0o640)
    assert node.backups.stat().st_mode & 0o7777 == 0o700
    undo(renewed)
    assert node.me.read_bytes() == before
    assert (node.me.stat().st_uid, node.me.stat().st_gid, node.me.stat().st_mode & 0o7777) == (0, 4321, 0o640)
    undo(renewed)  # again, as after a crash
    assert node.me.read_bytes() == before


def test_link_is_not_renewed(node, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    real = node.me.rename(elsewhere / "me.crt")
    node.me.symlink_to(real)
    node.refuses("me.crt is a symbolic link")


def test_undo_keeps_a_file_written_since(node):
    renewed = node.renew()
    node.peers_ca.leaf("etcd-a").write(node.me)
    theirs = node.me.read_bytes()
    with pytest.raises(RenewError, match="another has replaced it since"):
        undo(renewed)
    assert node.me.read_bytes() == theirs


def test_undo_without_a_backup_fails_with_a_reason(node):
    renewed = node.renew()
    Path(renewed.backup).unlink()
    with pytest.raises(RenewError, match="No such file"):
        undo(renewed)
    assert node.stored().certificate.fingerprint == renewed.fingerprint


# ---------------------------------------------------------------- moved aside, and put back


def test_file_moved_aside_is_kept_and_put_back_unchanged(node):
    node.me.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(node.me, 0, 4321)
    before, state = node.me.read_bytes(), node.me.stat()
    pen = Pen(node.backups, str(node.root), os.geteuid())
    aside = pen.plan_aside(node.stored())
    assert not node.backups.exists()  # planning changes no file

    for _ in range(2):  # again, as after a kill
        pen.move_aside(aside)
        assert not node.me.exists()
        assert Path(aside.backup).read_bytes() == before
        assert stat.S_IMODE(Path(aside.backup).stat().st_mode) == 0o640

    assert [pen.put_back(aside), pen.put_back(aside)] == [True, False]
    now = node.me.stat()
    assert node.me.read_bytes() == before
    assert (now.st_mode, now.st_uid, now.st_gid) == (state.st_mode, state.st_uid, state.st_gid)
    assert [path.name for path in sorted(node.me.parent.iterdir())] == ["ca.crt", "me.crt", "me.key"]


def test_file_that_appeared_meanwhile_is_never_overwritten(node):
    pen = Pen(node.backups, str(node.root), os.geteuid())
    aside = pen.plan_aside(node.stored())
    pen.move_aside(aside)
    node.me.write_text("new")

    assert not pen.put_back(aside)
    assert node.me.read_text() == "new"
    with pytest.raises(RenewError, match="it changed since"):
        pen.move_aside(aside)


def test_file_that_cannot_be_backed_up_is_not_moved(node):
    pen = Pen(node.backups, str(node.root), os.geteuid())
    aside = pen.plan_aside(node.stored())
    node.backups.parent.mkdir(parents=True)
    node.backups.write_text("no folder")
    before = node.me.read_bytes()

    with pytest.raises(RenewError):
        pen.move_aside(aside)
    assert node.me.read_bytes() == before


def test_putting_back_keeps_an_unmoved_file_and_reports_a_lost_one(node):
    pen = Pen(node.backups, str(node.root), os.geteuid())
    aside = pen.plan_aside(node.stored())
    assert not pen.put_back(aside)

    node.me.unlink()
    with pytest.raises(RenewError, match="it is gone, and so is its copy"):
        pen.put_back(aside)


def test_ca_is_never_moved_aside(node):
    pen = Pen(node.backups, str(node.root), os.geteuid())
    with pytest.raises(RenewError, match="no leaf"):
        pen.plan_aside(node.stored(node.me.parent / "ca.crt"))


# ---------------------------------------------------------------- refusals


def test_ca_is_never_renewed(node):
    node.refuses("only leaves", node.me.with_name("ca.crt"))
    node.refuses(
        "only leaves", node.me.with_name("ca.crt"), authorities=[(str(node.authorities / "etcd-peers-ca.crt"),) * 2]
    )


def test_expired_ca_signs_nothing(tmp_path):
    Node(tmp_path, ca_ends=NOW - DAY).refuses("signed it, but is valid only from")


def test_key_of_another_ca_signs_nothing(node):
    (node.authorities / "etcd-peers-ca.key").write_bytes(pki.authority("etcd-peers-ca-main").key_pem)
    node.refuses("etcd-peers-ca.key is not the private key of")


def test_ca_with_the_same_name_that_did_not_sign_is_refused(node):
    pki.authority("etcd-peers-ca-main").write(node.authorities / "etcd-peers-ca.crt")
    node.refuses("etcd-peers-ca.crt did not sign it")


def test_ca_that_peers_do_not_trust_is_refused(node):
    node.me.with_name("ca.crt").write_bytes(pki.authority("etcd-peers-ca-main").pem)
    node.refuses("not what others check it against")


def test_encrypted_ca_key_is_refused(node):
    secret = serialization.BestAvailableEncryption(b"secret")
    shape = serialization.PrivateFormat.PKCS8
    (node.authorities / "etcd-peers-ca.key").write_bytes(
        node.peers_ca.key.private_bytes(serialization.Encoding.PEM, shape, secret)
    )
    node.refuses("is not the private key of .* or cannot be read")


def test_missing_files_are_refused_by_name(node):
    (node.authorities / "etcd-peers-ca.key").rename(node.authorities / "away")
    node.refuses("etcd-peers-ca.key: No such file")
    (node.authorities / "away").rename(node.authorities / "etcd-peers-ca.key")
    node.refuses("none is known", authorities=[])
    stored = node.stored()
    node.me.with_name("ca.crt").unlink()
    node.refuses("ca.crt: No such file", stored=stored)


def test_missing_or_foreign_key_beside_the_leaf_is_refused(node):
    node.me.with_suffix(".key").write_bytes(pki.key_pem(pki.new_key()))
    node.refuses("does not belong to")
    node.me.with_suffix(".key").unlink()
    node.refuses("me.key: No such file")


def test_pipe_in_place_of_a_key_does_not_hang(node):
    key = node.authorities / "etcd-peers-ca.key"
    key.unlink()
    os.mkfifo(key)
    node.refuses("no regular file")


def test_file_changed_since_the_look_is_refused(node):
    stored = node.stored()
    node.peers_ca.leaf("etcd-a", not_before=NOW - 400 * DAY, not_after=NOW - DAY).write(node.me)
    node.refuses("changed since it was looked at", stored=stored)
    node.me.write_bytes(b"")
    node.refuses("no file of PEM certificates", stored=stored)
    node.me.write_bytes(b"-----BEGIN CERTIFICATE-----\nMIIB")
    node.refuses("no file of PEM certificates", stored=stored)


def test_file_that_changes_during_renewal_is_left_alone(node, monkeypatch):
    stored, theirs = node.stored(), node.peers_ca.leaf("etcd-a")
    fsync = os.fsync

    def slowly(handle):  # etcd-manager writes in between
        fsync(handle)
        if node.me.parent in Path(f"/proc/self/fd/{handle}").readlink().parents:
            node.me.write_bytes(theirs.cert_pem)

    monkeypatch.setattr(os, "fsync", slowly)
    with pytest.raises(RenewError, match="it changed while it was being replaced"):
        node.renew(stored=stored)
    assert node.me.read_bytes() == theirs.cert_pem
    assert sorted(p.name for p in node.me.parent.iterdir()) == ["ca.crt", "me.crt", "me.key"]


def test_renewal_that_expires_no_later_is_refused(node):
    node.renew()
    node.refuses("no later than the present one", now=NOW - 399 * DAY)


def test_chain_behind_a_leaf_is_not_renewed(node):
    node.me.write_bytes(node.me.read_bytes() + node.clients_ca.leaf("other").cert_pem)
    stored, _ = Inventory([str(node.me)], tree=node.tree).look()
    second = next(file for file in stored if file.certificate.index == 1)
    node.refuses("only the first", stored=second)


@pytest.mark.real
@needs_root
def test_read_only_folder_is_refused_with_its_remedy(node):
    folder = str(node.me.parent)
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        node.refuses("Read-only file system; .*ReadWritePaths=")
    finally:
        subprocess.run(["umount", folder], check=True)
    node.renew()


@contextlib.contextmanager
def full(folder: Path):
    """Mount a small disk over the folder, copy its files there and fill the disk."""
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", str(folder)], check=True)
    try:
        for name, data in kept.items():
            (folder / name).write_bytes(data)
        with contextlib.suppress(OSError), (folder / "fill").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.real
@needs_root
def test_full_disk_is_refused_and_leaves_no_file(node):
    with full(node.me.parent):
        node.refuses("No space left")
    shutil.rmtree(node.backups)
    node.backups.mkdir()
    with full(node.backups):
        node.refuses("No space left")
        assert [path.name for path in node.backups.iterdir()] == ["fill"]
    node.renew()


# ---------------------------------------------------------------- kills

AGAIN_AND_AGAIN = """
import os, sys, time
from datetime import UTC, datetime
from certmedic.edge.os.owners import Tree
from pathlib import Path
from certmedic.core.planes import signing_authorities
from certmedic.edge.facts.inventory import Inventory
from certmedic.actor.renew import renew, undo
path, root = sys.argv[1:]
tree = Tree(root=root, owner=os.geteuid())
while True:
    stored = next(s for s in Inventory([path], tree=tree).look()[0] if s.certificate.path == path)
    known = signing_authorities(stored.place, root)
    renewed = renew(stored, authorities=known, backups=Path(root, "state/backups"), now=datetime.now(UTC), tree=tree)
    print(".", end="", flush=True)
    time.sleep(0.01)
    undo(renewed)
"""


@pytest.mark.slow
def test_renewal_killed_at_any_moment_leaves_a_whole_file(node):
    chance = random.Random(5)  # noqa: S311 - no secret hangs on it
    stored, old = node.stored(), node.me.read_bytes()
    seen: list[bool] = []
    deadline = time.monotonic() + 90
    path = os.pathsep.join(sys.path)
    while len(seen) < 12 or set(seen) != {True, False}:  # often, with kills before and after the replacement
        assert time.monotonic() < deadline
        worker = subprocess.Popen(
            [sys.executable, "-c", AGAIN_AND_AGAIN, str(node.me), str(node.root)],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
        )
        assert worker.stdout is not None
        assert worker.stdout.read(1) == b"."
        time.sleep(chance.uniform(0, 0.05))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
        now = node.stored()  # it parses, so it is neither empty nor truncated
        assert now.key_matches
        seen.append(node.me.read_bytes() == old)
        assert backup_path(stored, node.backups).read_bytes() == old
        node.me.write_bytes(old)
    node.renew()
    left = {path.name for path in (*node.me.parent.iterdir(), *node.backups.iterdir())}
    assert not [name for name in left if name.endswith(".tmp")]


# ---------------------------------------------------------------- real members


def _authorities(plan: lab.Plan, root: Path) -> None:
    folder = root / "etc/kubernetes/pki/etcd-manager-main"
    plan.peers_ca.write(folder / "etcd-peers-ca.crt")
    plan.clients_ca.write(folder / "etcd-clients-ca.crt")


@pytest.mark.real
@pytest.mark.parametrize("version", ["3.4", "3.5"])
def test_expired_member_recovers_by_renewal_without_a_restart(tmp_path, version):
    plan = lab.Plan.healthy()
    lab._both_expired(plan)
    _authorities(plan, tmp_path)
    members = {key: lab.Member(tmp_path / key / "etcd.log", tmp_path / key / "pki") for key in lab.KEYS}
    for key, member in members.items():
        plan.peer[key].write(member.pki / "peers/me.crt")
        plan.server[key].write(member.pki / "clients/server.crt")
        (member.pki / "peers/ca.crt").write_bytes(plan.peers_ca.pem)
        (member.pki / "clients/ca.crt").write_bytes(plan.clients_ca.pem)
    api = tmp_path / "kube-apiserver"
    plan.api_client.write(api / "etcd-client.crt")
    (api / "etcd-ca.crt").write_bytes(plan.clients_ca.pem)
    sick, backups = members["b"], tmp_path / "backups"
    with lab._running(lab.etcd_binary(version), members, ["--logger=zap"]) as ports:

        def healthy(key: str) -> bool:
            return lab._ask_health(lab.ADDRESSES[key], ports[key], api / "etcd-client.crt")

        until(lambda: healthy("a") and healthy("c"))
        until(lambda: sick.log.read_text().count("bad certificate") >= lab.LINES)
        assert not healthy("b")  # it started with expired certificates and never joined its group
        tree = Tree(root=str(tmp_path), owner=os.geteuid())
        stored, _ = Inventory([str(sick.pki / "*/*.crt")], tree=tree).look()
        leaves = [leaf for leaf in stored if leaf.place.use in ("peer", "server")]
        assert {leaf.certificate.path.removeprefix(str(sick.pki)) for leaf in leaves} == {
            "/peers/me.crt",
            "/clients/server.crt",
        }
        fresh = {}
        for leaf in leaves:
            known = signing_authorities(leaf.place, str(tmp_path))
            renewed = renew(leaf, authorities=known, backups=backups, now=datetime.now(UTC), tree=tree)
            fresh[leaf.place.use] = renewed.fingerprint
        until(lambda: healthy("b"), seconds=30)
        shown = shake_hands(lab.ADDRESSES["b"], ports["b"], server_name="etcd-b", deadline=5).certificate
        assert shown is not None
        assert shown.fingerprint == fresh["server"]

        # etcd refuses the expired client certificate of kube-apiserver and accepts the renewed one.
        expired = plan.clients_ca.leaf(
            "kube-apiserver", server=False, not_before=NOW - 400 * DAY, not_after=NOW - 5 * DAY
        )
        expired.write(api / "etcd-client.crt")
        assert not healthy("a")
        (leaf,) = Inventory([str(api / "etcd-client.crt")], tree=tree).look()[0][:1]
        assert leaf.place.use == "apiserver-etcd-client"
        known = signing_authorities(leaf.place, str(tmp_path))
        done = renew(leaf, authorities=known, backups=backups, now=datetime.now(UTC), tree=tree)
        until(lambda: healthy("a") and healthy("b"), seconds=10)
        undo(done)
        assert not healthy("a")
    shutil.rmtree(tmp_path)


# ---------------------------------------------------------------- attacks


def test_unauthorised_file_is_neither_renewed_nor_moved(node):
    stored = replace(node.stored(), authorised=False, doubt="/tmp is writable by everybody")
    node.refuses("it is not renewed: /tmp is writable by everybody", stored=stored)
    with pytest.raises(RenewError, match="it is not moved aside: /tmp is writable by everybody"):
        Pen(node.backups, str(node.root), os.geteuid()).plan_aside(stored)


def test_folder_made_world_writable_since_the_look_is_refused(node):
    stored = node.stored()
    node.me.parent.chmod(0o777)
    node.refuses("peers is writable by everybody", stored=stored)


def test_world_writable_ca_key_is_refused(node):
    (node.authorities / "etcd-peers-ca.key").chmod(0o666)
    node.refuses("etcd-peers-ca.key is writable by everybody")


@pytest.mark.parametrize(
    ("leaf", "match"),
    [
        ({"cn": "system:masters"}, "common name is not that of"),
        ({"cn": "etcd-a", "server": False}, "does not fit its place"),
        ({"cn": "etcd-a", "dns": ("a b",)}, "neither a DNS name nor an address"),
        ({"cn": "etcd-a", "dns": ("x;reboot",)}, "neither a DNS name nor an address"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_leaf_that_does_not_fit_its_place_is_not_signed(node, leaf, match):
    node.peers_ca.leaf(**leaf, not_before=NOW - 400 * DAY, not_after=NOW - DAY).write(node.me)
    node.refuses(match)


def test_backup_holds_no_key_and_undo_keeps_the_key(node):
    key = node.me.with_suffix(".key")
    before = key.read_bytes() + node.me.read_bytes()
    node.me.write_bytes(before)
    key.unlink()
    renewed = node.renew()
    assert b"PRIVATE KEY" not in Path(renewed.backup).read_bytes()
    undo(renewed)
    assert node.me.read_bytes() == before
    with pytest.raises(RenewError, match="holds its private key"):
        Pen(node.backups, str(node.root), os.geteuid()).plan_aside(node.stored())


def test_old_backups_are_pruned(node):
    node.backups.mkdir(parents=True)
    for number in range(40):
        backup = node.backups / f"old.{number}"
        backup.touch()
        os.utime(backup, (NOW.timestamp() - 60 * number,) * 2)
    old = node.backups / "old.1"
    os.utime(old, (NOW.timestamp() - 200 * 86400,) * 2)
    renewed = node.renew()
    assert Path(renewed.backup).exists()
    assert len(list(node.backups.iterdir())) == 21
    assert not old.exists()
