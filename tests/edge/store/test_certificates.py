"""The memory of what certificate files held before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core.model import Trust
from certmedic.edge.store import Store
from labs.held import CA, CONF, OF, scheduler
from labs.values import DAY, NOW, stored

OTHER = stored(CA.leaf("x", not_before=NOW - 9 * DAY, not_after=NOW - DAY), CONF, "scheduler-client", **OF)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "state.sqlite") as opened:
        yield opened


def keep(store, *files, now=NOW):
    with store.transaction():
        store.keep_certificates(files, now=now)


def test_replaced_certificate_is_remembered_until_the_file_gets_it_back(store, tmp_path):
    keep(store, OTHER)
    assert store.replaced() == ()
    keep(store, scheduler(), now=NOW + DAY)
    (old,) = store.replaced()
    assert (old.path, old.serial, old.not_after, old.at) == (CONF, OTHER.certificate.serial, NOW - DAY, NOW)
    with Store(tmp_path / "state.sqlite") as again:
        assert again.replaced() == (old,)
    keep(store, OTHER)
    assert [entry.fingerprint for entry in store.replaced()] == [scheduler().certificate.fingerprint]


def kubeconfig(leaf):
    """Return a kubeconfig as it is read: the CA of the cluster, then the certificates of two users."""
    of_user = replace(leaf, certificate=replace(leaf.certificate, index=1, embedded_kind="user"))
    cluster = stored(CA, CONF, "ca", **OF)
    other = stored(CA.leaf("y", not_before=NOW - DAY, not_after=NOW + DAY), CONF, "scheduler-client", index=2, **OF)
    return (
        replace(cluster, certificate=replace(cluster.certificate, embedded_kind="cluster")),
        of_user,
        replace(other, certificate=replace(other.certificate, embedded_kind="user")),
    )


def test_certificate_of_the_first_user_of_a_kubeconfig_is_remembered(store):
    keep(store, *kubeconfig(OTHER))
    keep(store, *kubeconfig(OTHER))
    assert store.replaced() == ()
    keep(store, *kubeconfig(scheduler()), now=NOW + DAY)
    assert [old.serial for old in store.replaced()] == [OTHER.certificate.serial]


def test_time_of_a_replacement_is_never_in_the_future(store):
    keep(store, OTHER)
    keep(store, replace(scheduler(), modified=NOW + DAY))
    assert store.replaced()[0].at == NOW


@pytest.mark.parametrize(
    "change", [{"trust": Trust.STRANGER}, {"certificate": replace(scheduler().certificate, index=1)}]
)
def test_files_of_strangers_and_chains_are_not_remembered(store, change):
    keep(store, replace(OTHER, **change))
    keep(store, replace(scheduler(), **change))
    assert store.replaced() == ()


def test_replaced_certificates_are_forgotten_after_400_days(store):
    keep(store, OTHER)
    keep(store, scheduler())
    keep(store, scheduler(), now=NOW + timedelta(days=399))
    assert len(store.replaced()) == 1
    keep(store, scheduler(), now=NOW + timedelta(days=401))
    assert store.replaced() == ()
