from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import planes
from certmedic.core.decision import Policy, cure_of, is_used, renews_by_itself
from certmedic.core.means import Means
from certmedic.core.model import Place, Served, Trust
from labs import pki
from labs.values import DAY, NEW_IMAGE, NOW, OLD_IMAGE, container, facts, k3s, kubeadm, member, stored

NOTHING = Policy(mode="notify", restart=("etcd-manager",), cooldown=timedelta(0), per_day=2)
PLANS = replace(NOTHING, mode="remedy", plan_ahead=7 * DAY)
PEER = member()[0]
CA = member()[1]


def place(path):
    return planes.place(path)


@pytest.mark.parametrize(
    ("where", "image", "cure"),
    [
        (PEER.place, NEW_IMAGE, "restart"),
        (PEER.place, OLD_IMAGE, "reissue"),
        (CA.place, NEW_IMAGE, "manual"),
        (k3s()[0].place, "", "restart"),
        (kubeadm()[0].place, "", "renew"),
        (place("/etc/kubernetes/kubelet.conf"), "", "manual"),
        (Place(plane="", group="", use="", renewer="unknown"), "", "manual"),
    ],
)
def test_cure_is_what_renews_an_expired_certificate_there(where, image, cure):
    assert cure_of(where, facts(containers=(container(image=image),) if image else ())) == cure


def shown(stored, port=2380):
    """Return facts in which the port of an etcd serves another certificate than the stored one."""
    other = member()[0]
    return facts(
        (stored, replace(other, certificate=replace(other.certificate, path="/other.crt"))),
        served=(Served(address="127.0.0.1", port=port, certificate=other.certificate, trust=Trust.SYSTEM),),
    )


@pytest.mark.parametrize(
    ("path", "by_itself"),
    [
        ("/etc/kubernetes/kubelet.conf", True),
        ("/var/lib/kubelet/pki/kubelet-server-current.pem", True),
        ("/var/lib/rancher/k3s/server/tls/dynamic-cert.json", True),
        ("/var/lib/rancher/k3s/server/tls/client-admin.crt", False),
        ("/etc/kubernetes/pki/apiserver.crt", False),
        ("/etc/kubernetes/pki/ca.crt", False),
    ],
)
def test_program_that_renews_while_it_runs_needs_no_help(path, by_itself):
    where = replace(PEER, place=place(path))
    assert renews_by_itself(where, facts((where,)), NOTHING) is by_itself


MEANS = (Means(renewer="kubeadm", command=("/x",), renews=True),)


@pytest.mark.parametrize(
    ("stored", "policy", "by_itself"),
    [
        (PEER, PLANS, True),
        (PEER, NOTHING, False),
        (PEER, replace(PLANS, mode="approve"), False),
        (PEER, replace(PLANS, plan_ahead=timedelta(0)), False),
        (PEER, replace(PLANS, restart=()), False),
        (CA, PLANS, False),
        (replace(PEER, trust=Trust.STRANGER), PLANS, False),
        (kubeadm()[0], PLANS, False),
        (kubeadm()[0], replace(PLANS, restart=("kubeadm",), means=MEANS), True),
        (kubeadm()[0], replace(PLANS, restart=("kubeadm",), means=(replace(MEANS[0], renews=False),)), False),
        (k3s(NOW + DAY)[0], replace(PLANS, restart=("k3s",)), True),
    ],
)
def test_certmedic_renews_what_the_configuration_lets_it_plan(stored, policy, by_itself):
    assert renews_by_itself(stored, facts((stored,)), policy) is by_itself


@pytest.mark.parametrize(
    ("policy", "signable", "authorised", "by_itself"),
    [
        (replace(PLANS, restart=(), renew=True), True, True, True),
        (replace(PLANS, restart=(), renew=True), False, True, False),
        (replace(PLANS, restart=(), renew=True), True, False, False),
        (replace(PLANS, restart=()), True, True, False),
    ],
)
def test_certmedic_signs_in_place_where_it_may_and_has_the_key(policy, signable, authorised, by_itself):
    stored = replace(PEER, authorised=authorised)
    keys = frozenset({stored.certificate.path} if signable else ())
    assert renews_by_itself(stored, facts((stored,), signable=keys), policy) is by_itself


def test_certificate_that_is_not_in_use_is_renewed_by_nothing():
    assert not renews_by_itself(PEER, shown(PEER), PLANS)


def ca(days, *, name="etcd-ca", path="/ca.crt", index=0):
    return stored(pki.authority(name, not_before=NOW - 400 * DAY, not_after=NOW + days * DAY), path, "ca", index=index)


@pytest.mark.parametrize(
    ("others", "used"),
    [
        ((), True),
        ((ca(900, index=1),), False),
        ((ca(-9, index=1),), True),
        ((ca(900, index=1, name="other"),), True),
        ((ca(900, path="/elsewhere.crt"),), True),
        ((replace(PEER, certificate=replace(PEER.certificate, path="/ca.crt", subject="CN=etcd-ca")),), True),
    ],
)
def test_ca_is_superseded_by_a_later_one_of_its_name_in_its_file(others, used):
    old = ca(-1)
    assert is_used(old, facts((old, *others))) is used


def test_leaf_is_used_unless_its_port_serves_another_certificate():
    assert is_used(PEER, facts((PEER,)))
    assert not is_used(PEER, shown(PEER))
    copy = replace(PEER, certificate=replace(PEER.certificate, path="/mnt/copy/peers/me.crt"))
    assert is_used(copy, facts((PEER, copy)))  # which of the two is used is not known
    assert all(is_used(own, facts(member())) for own in member())
