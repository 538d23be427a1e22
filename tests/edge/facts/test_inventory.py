"""The inventory of certificate files: real files with every fault."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from certmedic.core import certificates, planes
from certmedic.core.model import Stored, Trust
from certmedic.edge import facts
from certmedic.edge.facts.inventory import Inventory
from certmedic.edge.os.owners import Tree
from labs.pki import authority, key_pem, kops_master, kops_volume, new_key
from labs.waiting import until

NOW = datetime.now(UTC)


def look(*globs: str | Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """Return {path: first certificate of the file} and {path: reason of its fault}."""
    stored, faults = Inventory([str(glob) for glob in globs]).look()
    return (
        {file.certificate.path: file for file in reversed(stored)},
        {fault.path: fault.reason for fault in faults},
    )


@pytest.fixture
def master(tmp_path) -> Path:
    return kops_master(tmp_path)


def test_inventory_lists_every_certificate_of_a_master_with_its_use(master):
    stored, faults = Inventory(planes.patterns("kops", root=str(master))).look()
    assert faults == ()
    uses = sorted((file.place.group, file.place.use) for file in stored)
    of_one = ["ca", "ca", "ca", "ca", "ca", "manager-client", "manager-server", "peer", "server"]
    assert uses == [(group, use) for group in ("events", "main") for use in of_one]
    known = {file.certificate.path: file.certificate for file in stored}
    for file in stored:
        if file.place.use != "ca":
            assert file.key_matches is True
            assert certificates.issued_by(file.certificate, known[file.place.ca_path])
        assert abs(file.modified - datetime.now(UTC)) < timedelta(minutes=10)


FAULTS = {
    "empty.crt": (b"", "empty"),
    "half.crt": (None, "broken"),
    "garbage.crt": (b"\x00\x01\x02garbage", "not_a_certificate"),
    "error-page.crt": (b"<html>404</html>", "not_a_certificate"),
    "huge.crt": (b"x" * (1024 * 1024 + 1), "too_large"),
    "key-in-its-place.crt": (key_pem(new_key()), "not_a_certificate"),
}


def test_bad_files_are_reported_and_hide_no_other_file(tmp_path, leaf):
    leaf.write(tmp_path / "good.crt")
    for name, (data, _) in FAULTS.items():
        (tmp_path / name).write_bytes(leaf.cert_pem[:300] if data is None else data)
    (tmp_path / "gone.crt").symlink_to("nowhere.crt")
    os.mkfifo(tmp_path / "pipe.crt")
    (tmp_path / "folder.crt").mkdir()
    stored, faults = look(tmp_path / "*.crt")
    assert list(stored) == [str(tmp_path / "good.crt")]
    expected = {name: reason for name, (_, reason) in FAULTS.items()}
    expected |= {"gone.crt": "missing", "pipe.crt": "not_a_certificate"}
    assert {Path(path).name: reason for path, reason in faults.items()} == expected


def test_each_fault_has_its_reason(tmp_path):
    (tmp_path / "a.crt").symlink_to("b.crt")
    _, (fault,) = Inventory([str(tmp_path / "*.crt")]).look()
    assert fault.detail == "it is a link to b.crt, which is not there"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_and_folder_are_faults(tmp_path, leaf):
    leaf.write(tmp_path / "shut.crt").chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    _, faults = look(tmp_path / "*.crt", tmp_path / "closed" / "*.crt")
    assert faults == {str(tmp_path / "shut.crt"): "unreadable", str(tmp_path / "closed"): "unreadable"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else to try it")
def test_unprivileged_user_gets_a_fault_for_each_unreadable_path(tmp_path, leaf):
    leaf.write(tmp_path / "shut.crt").chmod(0o600)
    (tmp_path / "closed").mkdir(mode=0o700)
    shutil.copytree(Path(facts.__file__).parents[3] / "certmedic", tmp_path / "agent" / "certmedic")
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    program = (
        f"import os, sys; sys.path.insert(0, {str(tmp_path / 'agent')!r})\n"
        "import certmedic.edge.facts.inventory as facts, cryptography.x509\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"globs = [{str(tmp_path / '*.crt')!r}, {str(tmp_path / 'closed' / '*.crt')!r}]\n"
        "print(sorted((f.path, f.reason, f.detail) for f in facts.Inventory(globs).look()[1]))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    detail = "Permission denied; run as root"
    assert run.stdout.strip() == str(
        [(str(tmp_path / "closed"), "unreadable", detail), (str(tmp_path / "shut.crt"), "unreadable", detail)]
    )


def test_copies_and_backups_are_not_listed(tmp_path, leaf):
    for name in (
        "me.crt",
        "old/me.crt",
        "expired/2024/me.crt",
        "backup-2026/me.crt",
        "Backup/me.crt",
        "me.crt.bak",
        "me.crt.expired",
        "me.crt~",
    ):
        leaf.write(tmp_path / name, tmp_path / "k")
    stored, faults = look(tmp_path / "**" / "me.crt*")
    assert [Path(path).relative_to(tmp_path).as_posix() for path in stored] == ["me.crt"]
    assert faults == {}
    # A path without a wildcard is listed in any case.
    assert len(look(tmp_path / "backup-2026" / "*.crt")[0]) == 1


def test_keys_under_a_wide_glob_are_no_fault(tmp_path, leaf):
    leaf.write(tmp_path / "member-m1.pem", tmp_path / "member-m1-key.pem")
    (tmp_path / "other.pem").write_bytes(leaf.key_pem)
    stored, faults = look(tmp_path / "*.pem")
    assert [Path(path).name for path in stored] == ["member-m1.pem"]
    assert stored[str(tmp_path / "member-m1.pem")].key_matches is True
    assert faults == {}


def test_key_of_another_certificate_does_not_match(tmp_path, leaf):
    leaf.write(tmp_path / "me.crt")
    (tmp_path / "me.key").write_bytes(key_pem(new_key()))
    leaf.write(tmp_path / "none.crt").with_suffix(".key").unlink()
    (tmp_path / "both.pem").write_bytes(leaf.cert_pem + leaf.key_pem)
    stored, _ = look(tmp_path / "*.crt", tmp_path / "*.pem")
    assert {Path(path).name: file.key_matches for path, file in stored.items()} == {
        "me.crt": False,
        "none.crt": None,
        "both.pem": True,
    }


def test_links_are_followed_and_a_file_is_listed_once(tmp_path, leaf):
    leaf.write(tmp_path / "kubelet-client-2026.pem", tmp_path / "k")
    (tmp_path / "kubelet-client-current.pem").symlink_to("kubelet-client-2026.pem")
    stored, faults = Inventory([str(tmp_path / "*-current.pem"), str(tmp_path / "*.pem")]).look()
    assert [Path(file.certificate.path).name for file in stored] == ["kubelet-client-current.pem"]
    assert faults == ()


def test_linked_ca_is_recorded_under_its_listed_path(tmp_path, peers_ca, clients_ca):
    token = kops_volume(tmp_path / "v", peers_ca=peers_ca, clients_ca=clients_ca)
    (tmp_path / "a-ca.crt").write_bytes(peers_ca.pem)
    (token / "peers/ca.crt").unlink()
    (token / "peers/ca.crt").symlink_to(tmp_path / "a-ca.crt")
    stored, _ = look(tmp_path / "*.crt", token / "peers" / "*.crt")
    assert stored[str(token / "peers/me.crt")].place.ca_path == str(tmp_path / "a-ca.crt") in stored


def test_ca_beside_a_leaf_is_read_even_if_no_glob_matches(tmp_path, peers_ca, clients_ca):
    token = kops_volume(tmp_path / "v", peers_ca=peers_ca, clients_ca=clients_ca)
    stored, _ = look(token / "peers" / "me.crt")
    assert set(stored) == {str(token / "peers/me.crt"), str(token / "peers/ca.crt")}


def test_group_is_taken_from_a_neighbouring_file(tmp_path, clients_ca):
    peers = authority("etcd-peers-ca-events")
    volume = tmp_path / "v"
    token = kops_volume(volume, member="wyBAl5vPUhXt", peers_ca=peers, clients_ca=clients_ca)
    moved = token.rename(token.with_name("UMkjoE9YcxRZwt16EBkyew"))
    stored, _ = look(moved / "*" / "*.crt")
    assert {file.place.group for file in stored.values()} == {"events"}
    assert stored[str(moved / "clients/server.crt")].place.ports == (4002,)


def test_archive_is_opened_with_the_password_beside_it(tmp_path, leaf):
    data = pkcs12.serialize_key_and_certificates(
        b"me", leaf.key, leaf.cert, None, serialization.BestAvailableEncryption(b"s3cret")
    )
    (tmp_path / "me.p12").write_bytes(data)
    assert look(tmp_path / "*.p12")[1] == {str(tmp_path / "me.p12"): "password"}
    (tmp_path / "me.p12.password").write_text("s3cret\n")
    stored, faults = look(tmp_path / "*")
    assert [file.certificate.subject_cn for file in stored.values()] == ["etcd-a"]
    assert faults == {}


def test_unchanged_file_is_not_read_again(tmp_path, clients_ca, leaf):
    path = leaf.write(tmp_path / "me.crt")
    hour_ago = time.time() - 3600
    inventory = Inventory([str(tmp_path / "*.crt")])
    # The inventory does not read a file again once its last change is old enough.
    until(lambda: inventory.look()[0][0] is inventory.look()[0][0])
    (before,) = inventory.look()[0]
    os.utime(path, (hour_ago, hour_ago))
    (touched,) = inventory.look()[0]
    assert touched is not before
    renewed = clients_ca.leaf("etcd-a", key=leaf.key, not_after=NOW.replace(microsecond=0) + timedelta(days=800))
    path.write_bytes(renewed.cert_pem)
    os.utime(path, (hour_ago, hour_ago))
    (after,) = inventory.look()[0]
    assert after.certificate.not_after > before.certificate.not_after
    (tmp_path / "me.key").write_bytes(key_pem(new_key()))
    assert inventory.look()[0][0].key_matches is False
    path.unlink()
    assert inventory.look() == ((), ())


def test_recently_written_file_is_read_again_at_once(tmp_path, leaf):
    path = tmp_path / "me.crt"
    inventory = Inventory([str(path)])
    path.write_bytes(leaf.cert_pem[:400])
    assert [fault.reason for fault in inventory.look()[1]] == ["broken"]
    path.write_bytes(leaf.cert_pem)
    assert [file.certificate.subject_cn for file in inventory.look()[0]] == ["etcd-a"]
    assert inventory.look()[1] == ()


def test_use_of_a_file_is_taken_from_its_process(tmp_path, leaf):
    path = str(leaf.write(tmp_path / "site.crt"))
    used: dict[str, str] = {}
    inventory = Inventory([str(tmp_path / "*.crt")], used)
    until(lambda: inventory.look()[0][0] is inventory.look()[0][0])
    assert inventory.look()[0][0].place.use == ""
    used[path] = "server"
    assert inventory.look()[0][0].place.use == "server"


def test_forged_mtime_and_strange_name_do_no_harm(tmp_path, leaf):
    os.utime(leaf.write(tmp_path / "me.crt"), (2**40, 2**40))
    evil = os.fsencode(tmp_path) + b"/red\x1b[31m\nhead\xff.crt"
    Path(os.fsdecode(evil)).write_bytes(leaf.cert_pem)
    (tmp_path / "bad\n.crt").touch()
    stored, faults = look(tmp_path / "*.crt")
    assert sorted(Path(path).name for path in stored) == ["me.crt", "red\ufffd[31m\ufffdhead\ufffd.crt"]
    assert [Path(path).name for path in faults] == ["bad\ufffd.crt"]
    assert stored[str(tmp_path / "me.crt")].modified > NOW


def test_truncated_bundle_yields_its_whole_certificates_and_a_fault(tmp_path, peers_ca, leaf):
    (tmp_path / "ca.crt").write_bytes(peers_ca.pem + leaf.cert_pem[:200])
    stored, faults = Inventory([str(tmp_path / "*.crt")]).look()
    assert [file.certificate.subject_cn for file in stored] == ["etcd-peers-ca-main"]
    assert [fault.reason for fault in faults] == ["broken"]


@pytest.mark.slow
def test_thousands_of_files_are_read_in_time(tmp_path, peers_ca):
    leaf = peers_ca.leaf(
        "etcd-a", dns=("etcd-a.internal.example", "localhost"), ips=("127.0.0.1",), key=new_key(kind="rsa")
    )
    count = 3000
    for number in range(count):
        folder = tmp_path / f"v{number}" / "peers"
        folder.mkdir(parents=True)
        (folder / "me.crt").write_bytes(leaf.cert_pem)
        (folder / "me.key").write_bytes(leaf.key_pem)
    tree = Tree(root=str(tmp_path), owner=os.geteuid())
    inventory = Inventory([str(tmp_path / "*" / "peers" / "*.crt")], tree=tree)
    inventory.look()
    first = Inventory([str(tmp_path / "*" / "peers" / "*.crt")], tree=tree)
    began = time.process_time()
    stored, faults = first.look()
    took = time.process_time() - began
    assert len(stored) == count
    assert faults == ()
    assert all(file.key_matches for file in stored)
    # The aim is 0.2 ms per file. The bound allows for a busy machine, but not for loading RSA keys (45 ms each).
    assert took / count < 0.001
    began = time.process_time()
    again, _ = first.look()
    assert time.process_time() - began < 0.75 * took  # a third to a half was measured
    assert all(earlier is later for earlier, later in zip(stored, again, strict=True))


# ---------------------------------------------------------------- owners and permissions of a file


def stand(path, root, **more):
    """Return the trust, authority and doubt of a file on a machine whose root is `root`."""
    inventory = Inventory([str(path)], tree=Tree(root=str(root), owner=os.geteuid()), **more)
    file = inventory.look()[0][0]
    return file.trust, file.authorised, file.doubt


def test_file_in_folders_of_root_alone_is_authorised(tmp_path, leaf):
    path = leaf.write(tmp_path / "a/b/me.crt")
    assert stand(path, tmp_path) == (Trust.SYSTEM, True, "")
    copy = Inventory([str(path)], live=False).look()[0][0]
    assert (copy.trust, copy.authorised) == (Trust.SYSTEM, False)


@pytest.mark.parametrize("mode", [0o777, 0o702])
def test_world_writable_folder_removes_trust(tmp_path, leaf, mode):
    path = leaf.write(tmp_path / "a/b/me.crt")
    (tmp_path / "a").chmod(mode)
    assert stand(path, tmp_path) == (Trust.STRANGER, False, f"{tmp_path}/a is writable by everybody")


def test_sticky_folder_above_keeps_trust_and_removes_authority(tmp_path, leaf):
    path = leaf.write(tmp_path / "a/b/me.crt")
    (tmp_path / "a").chmod(0o1777)
    assert stand(path, tmp_path) == (Trust.SYSTEM, False, f"{tmp_path}/a is writable by everybody")


def test_file_directly_in_a_sticky_folder_is_not_trusted(tmp_path, leaf):
    path = leaf.write(tmp_path / "a/me.crt")  # it may be a hard link to a file of another user
    (tmp_path / "a").chmod(0o1777)
    assert stand(path, tmp_path) == (Trust.STRANGER, False, f"{tmp_path}/a is writable by everybody")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")
@pytest.mark.parametrize("part", ["a", "a/b", "a/b/me.crt"])
def test_file_or_folder_of_another_user_is_not_trusted(tmp_path, leaf, part):
    path = leaf.write(tmp_path / "a/b/me.crt")
    os.chown(tmp_path / part, 65534, 65534)
    assert stand(path, tmp_path) == (Trust.STRANGER, False, f"{tmp_path / part} belongs to uid 65534, not to root")


def test_link_keeps_trust_and_removes_authority(tmp_path, leaf):
    leaf.write(tmp_path / "real/me.crt")
    (tmp_path / "link").symlink_to("real")
    assert stand(tmp_path / "link/me.crt", tmp_path) == (
        Trust.SYSTEM,
        False,
        f"{tmp_path}/link is a symbolic link",
    )


def test_file_named_only_by_a_process_is_not_authorised(tmp_path, leaf):
    path = str(leaf.write(tmp_path / "me.crt"))
    file = Inventory([], {path: "peer"}, tree=Tree(root=str(tmp_path), owner=os.geteuid())).look()[0][0]
    assert (file.trust, file.authorised) == (Trust.SYSTEM, False)


def test_large_bundle_of_a_stranger_is_read_in_part_and_hides_no_file(tmp_path, leaf):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for number in range(4):
        (tmp_path / f"open/{number}.crt").write_bytes(leaf.cert_pem * 300)
    good = leaf.write(tmp_path / "shut/me.crt")
    tree = Tree(root=str(tmp_path), owner=os.geteuid())
    stored, faults = Inventory([str(tmp_path / "open/*.crt"), str(good)], tree=tree).look()
    assert len(stored) == 201
    assert [file.certificate.path for file in stored if file.trust is Trust.SYSTEM] == [str(good)]
    assert {fault.reason for fault in faults} == {"too_large"}


def test_list_of_revoked_certificates_is_read_and_is_no_fault(tmp_path):
    ca = authority("ca")
    (tmp_path / "crl.pem").write_bytes(ca.revoking(number=3))
    inventory = Inventory([f"{tmp_path}/*.pem"])
    for _ in range(2):  # the second look reads nothing again
        assert inventory.look() == ((), ())
        assert [(crl.path, crl.issuer, crl.number) for crl in inventory.revocations] == [
            (str(tmp_path / "crl.pem"), "CN=ca", 3)
        ]
    (tmp_path / "crl.pem").unlink()
    inventory.look()
    assert inventory.revocations == ()


def test_list_of_revoked_certificates_in_the_place_of_a_certificate_is_a_fault(tmp_path):
    folder = tmp_path / "etc/kubernetes/pki"
    folder.mkdir(parents=True)
    (folder / "apiserver.crt").write_bytes(authority("ca").revoking())
    (fault,) = Inventory([f"{folder}/apiserver.crt"]).look()[1]
    assert fault.reason == "not_a_certificate"
