"""Which running programs still hold what their files held before."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certmedic.core import holders, planes
from certmedic.core.model import Trust
from labs.held import CA, CA_FILE, CONF, LEAF, OF, old, program, scheduler
from labs.values import DAY, NOW, facts, stored


@pytest.mark.parametrize(
    ("running", "is_behind"),
    [
        (program(), True),
        (program(started=NOW - timedelta(seconds=2)), False),  # the start is known to the second
        (program(started=NOW + DAY), False),
        (program(trust=Trust.STRANGER), False),
        (program("kube-apiserver"), False),
    ],
)
def test_program_that_started_before_its_file_changed_is_behind(running, is_behind):
    here = facts((scheduler(),), programs=(running,))
    assert bool(holders.behind(scheduler(), here)) is is_behind
    assert bool(holders.held([CONF, "/other"], here)) is is_behind
    assert holders.held(["/other"], here) == {}


@pytest.mark.parametrize("use", ["apiserver", "peer", "server", "kubelet-client", "ca", "kubectl"])
def test_program_that_reads_the_file_again_is_never_behind(use):
    file = scheduler()
    other = stored(CA if use == "ca" else LEAF, CONF, use, **OF)
    names = {holders.holder_of(file), holders.holder_of(other), "kube-apiserver", "etcd", "kubelet"} - {""}
    assert not holders.behind(other, facts((other,), programs=tuple(map(program, names))))


@pytest.mark.parametrize(
    ("plane", "use", "holder", "at_start"),
    [
        ("k3s", "scheduler-client", "k3s", True),
        ("k3s", "peer", "k3s", False),
        ("k3s", "dynamic-listener", "k3s", False),
        ("rke2", "scheduler-client", "kube-scheduler", True),
        ("kops", "manager-client", "etcd-manager", True),
        ("kops", "apiserver-healthcheck", "kube-apiserver-healthcheck", True),
        ("kubeadm", "apiserver", "kube-apiserver", False),
        ("", "", "", False),
    ],
)
def test_holder_and_its_way_to_take_up_a_file_depend_on_plane_and_use(plane, use, holder, at_start):
    file = stored(LEAF, "/f.crt", use, plane=plane, group="")
    assert (holders.holder_of(file), planes.reads_at_start(file.place)) == (holder, at_start)
    assert holder in {*planes.watched_programs(), ""}


def test_moment_of_a_file_is_when_it_was_seen_to_change():
    assert holders.moment_of(scheduler(), facts((), replaced=(old(),))) == NOW - 2 * DAY
    assert holders.moment_of(scheduler(), facts((), replaced=(old(path="/other"),))) == NOW  # the time of the file


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("7385935559219004232", {"7385935559219004232", "66801d423d2cc348"}),
        ("66:80:1D:42:3D:2C:C3:48", {"66801d423d2cc348"}),
        ("0066801d423d2cc348", {"66801d423d2cc348"}),
        ("1234567", set()),  # too short to prove anything
        ("", set()),
    ],
)
def test_serial_is_read_in_decimal_and_hexadecimal(text, forms):
    assert holders.serials(text) == forms


def test_serial_and_key_id_of_the_issuer_identify_a_certificate():
    file = scheduler()
    here = facts((file,))
    number = str(int(file.certificate.serial, 16))
    key = file.certificate.authority_key_id
    assert [s.certificate.path for s in holders.with_serial(number, here)] == [CONF]
    assert holders.with_serial(number, here, key.upper()) == [file]
    assert holders.with_serial(number, here, "00:11") == ([] if key else [file])
    assert holders.with_serial("9" * 19, here) == []


def test_replaced_certificate_is_found_by_serial_before_its_date():
    first, other = old(serial="66801d423d2cc348"), old(serial="1234567890ab", path="/other")
    here = facts((), replaced=(first, other))
    assert holders.replaced_by(NOW - DAY, "7385935559219004232", here) == [first]
    assert holders.replaced_by(NOW - DAY, "", here) == [first, other]
    assert holders.replaced_by(NOW, "", here) == []
    assert holders.replaced_by(None, "", here) == []


@pytest.mark.parametrize(
    ("name", "running", "has_old"),
    [
        ("kube-scheduler", (program(),), True),
        ("kube-scheduler", (program(started=NOW + DAY),), False),
        ("kube-scheduler", (), False),
        ("kube-controller-manager", (program("kube-controller-manager"),), False),  # has no file here
        ("kube-apiserver", (program("kube-apiserver"),), False),
    ],
)
def test_ca_file_that_changed_after_the_start_is_an_old_pool(name, running, has_old):
    ca = stored(CA, CA_FILE, "ca", **OF)
    pools = holders.with_old_pool(name, facts((scheduler(), ca), programs=running))
    assert pools == ([ca] if has_old else [])


@pytest.mark.parametrize(("use", "has_old"), [("apiserver-etcd-client", True), ("apiserver-kubelet-client", False)])
def test_api_server_reads_only_the_ca_of_etcd_at_its_start(use, has_old):
    path = "/etc/kubernetes/pki/etcd/ca.crt"
    file, ca = stored(LEAF, "/f.crt", use, ca_path=path, **OF), stored(CA, path, "ca", **OF)
    here = facts((file, ca), programs=(program("kube-apiserver"),))
    assert bool(holders.held([path], here)) is has_old
    assert bool(holders.with_old_pool("kube-apiserver", here)) is has_old
