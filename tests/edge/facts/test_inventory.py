"""The inventory of certificate files: real files, and every way in which they are bad."""

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
from certmedic.edge.facts import Inventory
from certmedic.edge.os.owners import Tree
from labs.pki import authority, key_pem, kops_master, kops_volume, new_key
from labs.waiting import until

NOW = datetime.now(UTC)


def look(*globs: str | Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """The inventory as {path: stored} (a file's first certificate) and {path: reason}."""
    stored, faults = Inventory([str(glob) for glob in globs]).look()
    return (
        {one.certificate.path: one for one in reversed(stored)},
        {fault.path: fault.reason for fault in faults},
    )


@pytest.fixture
def master(tmp_path) -> Path:
    return kops_master(tmp_path)


def test_a_whole_master(master):
    stored, faults = Inventory(planes.patterns("kops", root=str(master))).look()
    assert faults == ()
    uses = sorted((one.place.group, one.place.use) for one in stored)
    of_one = ["ca", "ca", "ca", "ca", "ca", "manager-client", "manager-server", "peer", "server"]
    assert uses == [(group, use) for group in ("events", "main") for use in of_one]
    known = {one.certificate.path: one.certificate for one in stored}
    for one in stored:
        if one.place.use != "ca":
            assert one.key_matches is True
            assert certificates.issued_by(one.certificate, known[one.place.ca_path])
        assert abs(one.modified - datetime.now(UTC)) < timedelta(minutes=10)


FAULTS = {
    "empty.crt": (b"", "empty"),
    "half.crt": (None, "broken"),
    "garbage.crt": (b"\x00\x01\x02garbage", "not_a_certificate"),
    "error-page.crt": (b"<html>404</html>", "not_a_certificate"),
    "huge.crt": (b"x" * (1024 * 1024 + 1), "too_large"),
    "key-in-its-place.crt": (key_pem(new_key()), "not_a_certificate"),
}


def test_bad_files_are_named_and_blind_nothing(tmp_path, leaf):
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


def test_each_fault_says_what_it_is(tmp_path):
    (tmp_path / "a.crt").symlink_to("b.crt")
    _, (fault,) = Inventory([str(tmp_path / "*.crt")]).look()
    assert fault.detail == "it is a link to b.crt, which is not there"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_and_a_folder_that_may_not_be_read(tmp_path, leaf):
    leaf.write(tmp_path / "shut.crt").chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    _, faults = look(tmp_path / "*.crt", tmp_path / "closed" / "*.crt")
    assert faults == {str(tmp_path / "shut.crt"): "unreadable", str(tmp_path / "closed"): "unreadable"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else to try it")
def test_somebody_else_is_told_what_may_not_be_read(tmp_path, leaf):
    leaf.write(tmp_path / "shut.crt").chmod(0o600)
    (tmp_path / "closed").mkdir(mode=0o700)
    shutil.copytree(Path(facts.__file__).parents[3] / "certmedic", tmp_path / "agent" / "certmedic")
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    program = (
        f"import os, sys; sys.path.insert(0, {str(tmp_path / 'agent')!r})\n"
        "import certmedic.edge.facts as facts, cryptography.x509\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"globs = [{str(tmp_path / '*.crt')!r}, {str(tmp_path / 'closed' / '*.crt')!r}]\n"
        "print(sorted((f.path, f.reason, f.detail) for f in facts.Inventory(globs).look()[1]))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    told = "Permission denied; run as root"
    assert run.stdout.strip() == str(
        [(str(tmp_path / "closed"), "unreadable", told), (str(tmp_path / "shut.crt"), "unreadable", told)]
    )


def test_what_was_put_aside_does_not_cry_wolf(tmp_path, leaf):
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
    # What the user names in so many words is wanted.
    assert len(look(tmp_path / "backup-2026" / "*.crt")[0]) == 1


def test_keys_under_a_wide_glob_are_no_fault(tmp_path, leaf):
    leaf.write(tmp_path / "member-m1.pem", tmp_path / "member-m1-key.pem")
    (tmp_path / "other.pem").write_bytes(leaf.key_pem)
    stored, faults = look(tmp_path / "*.pem")
    assert [Path(path).name for path in stored] == ["member-m1.pem"]
    assert stored[str(tmp_path / "member-m1.pem")].key_matches is True
    assert faults == {}


def test_a_key_that_belongs_to_another(tmp_path, leaf):
    leaf.write(tmp_path / "me.crt")
    (tmp_path / "me.key").write_bytes(key_pem(new_key()))
    leaf.write(tmp_path / "none.crt").with_suffix(".key").unlink()
    (tmp_path / "both.pem").write_bytes(leaf.cert_pem + leaf.key_pem)
    stored, _ = look(tmp_path / "*.crt", tmp_path / "*.pem")
    assert {Path(path).name: one.key_matches for path, one in stored.items()} == {
        "me.crt": False,
        "none.crt": None,
        "both.pem": True,
    }


def test_links_are_followed_and_a_file_is_listed_once(tmp_path, leaf):
    leaf.write(tmp_path / "kubelet-client-2026.pem", tmp_path / "k")
    (tmp_path / "kubelet-client-current.pem").symlink_to("kubelet-client-2026.pem")
    stored, faults = Inventory([str(tmp_path / "*-current.pem"), str(tmp_path / "*.pem")]).look()
    assert [Path(one.certificate.path).name for one in stored] == ["kubelet-client-current.pem"]
    assert faults == ()


def test_a_ca_that_is_a_link_is_found_under_the_name_it_is_listed_by(tmp_path, peers_ca, clients_ca):
    token = kops_volume(tmp_path / "v", peers_ca=peers_ca, clients_ca=clients_ca)
    (tmp_path / "a-ca.crt").write_bytes(peers_ca.pem)
    (token / "peers/ca.crt").unlink()
    (token / "peers/ca.crt").symlink_to(tmp_path / "a-ca.crt")
    stored, _ = look(tmp_path / "*.crt", token / "peers" / "*.crt")
    assert stored[str(token / "peers/me.crt")].place.ca_path == str(tmp_path / "a-ca.crt") in stored


def test_the_ca_beside_a_leaf_is_read_though_no_glob_names_it(tmp_path, peers_ca, clients_ca):
    token = kops_volume(tmp_path / "v", peers_ca=peers_ca, clients_ca=clients_ca)
    stored, _ = look(token / "peers" / "me.crt")
    assert set(stored) == {str(token / "peers/me.crt"), str(token / "peers/ca.crt")}


def test_the_group_comes_from_a_sibling(tmp_path, clients_ca):
    peers = authority("etcd-peers-ca-events")
    volume = tmp_path / "v"
    token = kops_volume(volume, member="wyBAl5vPUhXt", peers_ca=peers, clients_ca=clients_ca)
    moved = token.rename(token.with_name("UMkjoE9YcxRZwt16EBkyew"))
    stored, _ = look(moved / "*" / "*.crt")
    assert {one.place.group for one in stored.values()} == {"events"}
    assert stored[str(moved / "clients/server.crt")].place.ports == (4002,)


def test_an_archive_with_its_password_beside_it(tmp_path, leaf):
    data = pkcs12.serialize_key_and_certificates(
        b"me", leaf.key, leaf.cert, None, serialization.BestAvailableEncryption(b"s3cret")
    )
    (tmp_path / "me.p12").write_bytes(data)
    assert look(tmp_path / "*.p12")[1] == {str(tmp_path / "me.p12"): "unreadable"}
    (tmp_path / "me.p12.password").write_text("s3cret\n")
    stored, faults = look(tmp_path / "*")
    assert [one.certificate.subject_cn for one in stored.values()] == ["etcd-a"]
    assert faults == {}


def test_what_did_not_change_is_not_read_again(tmp_path, clients_ca, leaf):
    path = leaf.write(tmp_path / "me.crt")
    hour_ago = time.time() - 3600
    inventory = Inventory([str(tmp_path / "*.crt")])
    # A file is trusted to be what it was once its last change is a little while ago.
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


def test_a_file_that_is_being_written_is_read_again_at_once(tmp_path, leaf):
    path = tmp_path / "me.crt"
    inventory = Inventory([str(path)])
    path.write_bytes(leaf.cert_pem[:400])
    assert [fault.reason for fault in inventory.look()[1]] == ["broken"]
    path.write_bytes(leaf.cert_pem)
    assert [one.certificate.subject_cn for one in inventory.look()[0]] == ["etcd-a"]
    assert inventory.look()[1] == ()


def test_what_a_process_was_seen_to_use_a_file_for(tmp_path, leaf):
    path = str(leaf.write(tmp_path / "site.crt"))
    used: dict[str, str] = {}
    inventory = Inventory([str(tmp_path / "*.crt")], used)
    until(lambda: inventory.look()[0][0] is inventory.look()[0][0])
    assert inventory.look()[0][0].place.use == ""
    used[path] = "server"
    assert inventory.look()[0][0].place.use == "server"


def test_a_time_and_a_name_that_somebody_made_up(tmp_path, leaf):
    os.utime(leaf.write(tmp_path / "me.crt"), (2**40, 2**40))
    evil = os.fsencode(tmp_path) + b"/red\x1b[31m\nhead\xff.crt"
    Path(os.fsdecode(evil)).write_bytes(leaf.cert_pem)
    (tmp_path / "bad\n.crt").touch()
    stored, faults = look(tmp_path / "*.crt")
    assert sorted(Path(path).name for path in stored) == ["me.crt", "red\ufffd[31m\ufffdhead\ufffd.crt"]
    assert [Path(path).name for path in faults] == ["bad\ufffd.crt"]
    assert stored[str(tmp_path / "me.crt")].modified > NOW


def test_a_bundle_that_is_cut_short_gives_what_it_holds_and_a_fault(tmp_path, peers_ca, leaf):
    (tmp_path / "ca.crt").write_bytes(peers_ca.pem + leaf.cert_pem[:200])
    stored, faults = Inventory([str(tmp_path / "*.crt")]).look()
    assert [one.certificate.subject_cn for one in stored] == ["etcd-peers-ca-main"]
    assert [fault.reason for fault in faults] == ["broken"]


@pytest.mark.slow
def test_many_certificates(tmp_path, peers_ca):
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
    assert all(one.key_matches for one in stored)
    # The aim is 0.2 ms for each; the bound leaves room for a slow and busy machine, and none for an RSA key that is loaded (45 ms).
    assert took / count < 0.001
    began = time.process_time()
    again, _ = first.look()
    assert (time.process_time() - began) / count < 0.0002
    assert all(one is two for one, two in zip(stored, again, strict=True))


# ---------------------------------------------------------------- who may change a file


def stand(path, root, **more):
    """What is thought of a file, by a machine whose root is a folder of the test."""
    inventory = Inventory([str(path)], tree=Tree(root=str(root), owner=os.geteuid()), **more)
    one = inventory.look()[0][0]
    return one.trust, one.authorised, one.doubt


def test_a_file_in_folders_of_root_alone_is_authorised(tmp_path, leaf):
    path = leaf.write(tmp_path / "a/b/me.crt")
    assert stand(path, tmp_path) == (Trust.SYSTEM, True, "")
    copy = Inventory([str(path)], live=False).look()[0][0]
    assert (copy.trust, copy.authorised) == (Trust.SYSTEM, False)


@pytest.mark.parametrize("mode", [0o777, 0o702])
def test_a_folder_that_everybody_may_write_to_takes_all_trust(tmp_path, leaf, mode):
    path = leaf.write(tmp_path / "a/b/me.crt")
    (tmp_path / "a").chmod(mode)
    assert stand(path, tmp_path) == (Trust.STRANGER, False, f"{tmp_path}/a is writable by everybody")


def test_a_sticky_folder_leaves_trust_and_takes_authority(tmp_path, leaf):
    path = leaf.write(tmp_path / "a/b/me.crt")
    (tmp_path / "a").chmod(0o1777)
    assert stand(path, tmp_path) == (Trust.SYSTEM, False, f"{tmp_path}/a is writable by everybody")


def test_a_file_in_a_sticky_folder_itself_is_not_trusted(tmp_path, leaf):
    path = leaf.write(tmp_path / "a/me.crt")  # it may be another's hard link
    (tmp_path / "a").chmod(0o1777)
    assert stand(path, tmp_path) == (Trust.STRANGER, False, f"{tmp_path}/a is writable by everybody")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")
@pytest.mark.parametrize("part", ["a", "a/b", "a/b/me.crt"])
def test_a_file_or_folder_of_another_user_takes_all_trust(tmp_path, leaf, part):
    path = leaf.write(tmp_path / "a/b/me.crt")
    os.chown(tmp_path / part, 65534, 65534)
    assert stand(path, tmp_path) == (Trust.STRANGER, False, f"{tmp_path / part} belongs to uid 65534, not to root")


def test_a_link_keeps_trust_and_loses_authority(tmp_path, leaf):
    leaf.write(tmp_path / "real/me.crt")
    (tmp_path / "link").symlink_to("real")
    assert stand(tmp_path / "link/me.crt", tmp_path) == (
        Trust.SYSTEM,
        False,
        f"{tmp_path}/link is a symbolic link",
    )


def test_what_only_a_process_names_is_no_authority(tmp_path, leaf):
    path = str(leaf.write(tmp_path / "me.crt"))
    one = Inventory([], {path: "peer"}, tree=Tree(root=str(tmp_path), owner=os.geteuid())).look()[0][0]
    assert (one.trust, one.authorised) == (Trust.SYSTEM, False)


def test_a_bundle_of_strangers_is_read_in_part_and_blinds_nobody(tmp_path, leaf):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for number in range(4):
        (tmp_path / f"open/{number}.crt").write_bytes(leaf.cert_pem * 300)
    good = leaf.write(tmp_path / "shut/me.crt")
    tree = Tree(root=str(tmp_path), owner=os.geteuid())
    stored, faults = Inventory([str(tmp_path / "open/*.crt"), str(good)], tree=tree).look()
    assert len(stored) == 201
    assert [one.certificate.path for one in stored if one.trust is Trust.SYSTEM] == [str(good)]
    assert {fault.reason for fault in faults} == {"too_large"}
