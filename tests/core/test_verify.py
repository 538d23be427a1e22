"""An action succeeded if NotAfter is later, on disk and in a handshake, and the program was restarted."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import verify
from certmedic.core.model import Action, RemedyKind, Served, Trust
from certmedic.core.verdict import survey
from labs.values import CLIENTS_CA, DAY, NOW, PEERS_CA, VOLUME, container, facts, member, stored, unit

SECOND = timedelta(seconds=1)
ME = f"{VOLUME}/peers/me.crt"
CLIENT = "/etc/kubernetes/pki/kube-apiserver/etcd-client.crt"
OLD_END, NEW_END = NOW - DAY, NOW + 300 * DAY
COMMAND = replace(container(), runtime="command", id="renew-certs --all", state="ready")


def serving(certificate, port=2380):
    return Served(address="127.0.0.1", port=port, certificate=certificate, trust=Trust.SYSTEM)


def test_files_of_a_diagnosis_are_listed_once():
    (diagnosis,) = survey(facts(member(peer_ends=OLD_END)), warn_within=timedelta())
    twice = replace(diagnosis, certificates=(*diagnosis.certificates, *diagnosis.certificates))
    pathless = replace(diagnosis, certificates=(replace(diagnosis.certificates[0], path=""),))
    assert verify.files_of(twice) == (ME,)
    assert verify.files_of(pathless) == ()


@pytest.mark.parametrize(
    ("change", "is_another"),
    [
        ({}, False),
        ({"state": "exited"}, False),
        ({"id": "c2"}, True),
        ({"started_at": NOW}, True),
        ({"invocation": "i2"}, True),
    ],
)
def test_container_is_another_by_its_id_or_its_start(change, is_another):
    assert verify.is_another(container(), replace(container(), **change)) is is_another


@pytest.mark.parametrize(
    ("now", "follows"),
    [
        (unit(), True),
        (unit(state="failed"), True),
        (unit(state="deactivating"), False),
        (unit(state="inactive"), False),
        (unit("rke2-server.service"), False),
        (replace(unit(), runtime="docker"), False),
    ],
)
def test_successor_of_a_unit_has_its_name_and_is_not_stopped(now, follows):
    assert verify.successors(unit(), facts(containers=(now,))) == ([now] if follows else [])


@pytest.mark.parametrize(
    ("now", "follows"),
    [
        (container(number="c2"), True),
        (container(number="c2", state="exited"), False),
        (container("events", number="c2"), False),
        (replace(container(number="c2"), container_name="sidecar"), False),
    ],
)
def test_successor_of_a_container_runs_in_the_same_pod_and_place(now, follows):
    assert verify.successors(container(), facts(containers=(now,))) == ([now] if follows else [])


@pytest.mark.parametrize(
    ("before", "is_observable"),
    [(container(), True), (unit(), True), (unit(invocation=""), False), (COMMAND, False)],
)
def test_start_is_observable_except_for_a_command_or_an_unstarted_unit(before, is_observable):
    assert verify.shows_restarts(before) is is_observable


@pytest.mark.parametrize(
    ("state", "same", "is_stopped"),
    [
        ("exited", True, True),
        ("created", True, True),
        ("running", True, False),
        ("restarting", True, False),
        ("exited", False, False),
    ],
)
def test_container_of_the_same_id_is_stopped_unless_it_runs(state, same, is_stopped):
    now = container(number="c1" if same else "c2", state=state)
    assert verify.is_stopped(container(), now) is is_stopped


@pytest.mark.parametrize(
    ("before", "ends", "moved"),
    [
        (OLD_END, NEW_END, True),
        (OLD_END, NOW + SECOND, True),
        (OLD_END, NOW, False),  # later than before, but not in the future
        (OLD_END, NOW - SECOND, False),
        (NOW + DAY, NOW + DAY, False),
        (NOW + DAY, NOW + DAY - SECOND, False),
        (NOW + DAY, NOW + DAY + SECOND, True),
    ],
)
def test_file_is_renewed_if_its_not_after_is_later_and_in_the_future(before, ends, moved):
    assert verify.moved([(ME, before)], facts(member(peer_ends=ends))) is moved


def test_every_watched_file_must_be_renewed():
    looked = facts(member(peer_ends=NEW_END))
    assert verify.moved([(ME, OLD_END), ("/gone.crt", OLD_END)], looked) is False
    assert verify.moved([(ME, OLD_END), (f"{VOLUME}/clients/server.crt", NEW_END)], looked) is False


@pytest.mark.parametrize(
    ("before", "there", "awaits"),
    [
        (container(), (), True),
        (container(), (container(state="exited"),), True),
        (container(), (container(number="c2"),), False),
        (replace(container(), pod=""), (), False),  # no kubelet starts it
        (unit(), (), False),
        (None, (), False),
    ],
)
def test_stopped_container_of_a_pod_awaits_the_kubelet(before, there, awaits):
    assert verify.awaits_kubelet(before, facts(containers=there)) is awaits


@pytest.mark.parametrize(
    ("kind", "there", "late"),
    [
        (RemedyKind.REISSUE_AND_RESTART, (), True),
        (
            RemedyKind.REISSUE_AND_RESTART,
            (container(state="exited", started_at=NOW - SECOND),),
            True,
        ),  # it has not started since
        (RemedyKind.REISSUE_AND_RESTART, (container(state="exited", started_at=NOW),), False),
        (RemedyKind.REISSUE_AND_RESTART, (container(state="exited", number="c2", started_at=NOW + SECOND),), False),
        (
            RemedyKind.REISSUE_AND_RESTART,
            (container("events", state="exited", number="c2", started_at=NOW + SECOND),),
            True,
        ),
        (RemedyKind.REISSUE_AND_RESTART, (container(number="c2", started_at=NOW + SECOND),), False),  # it runs
        (RemedyKind.RESTART, (container(state="exited", number="c2", started_at=NOW + SECOND),), True),
    ],
)
def test_manager_that_started_without_its_files_and_ended_is_not_waited_for(kind, there, late):
    action = Action(kind=kind, container=container(), watched=())
    assert verify.may_start_late(action, NOW, facts(containers=there)) is late


@pytest.mark.parametrize(
    ("before", "there", "started"),
    [
        (container(), container(number="c2", started_at=NOW + DAY), NOW + DAY),
        (container(), container(number="c2", started_at=NOW - DAY), NOW),
        (container(), replace(container(number="c2"), started_at=None), NOW),
        (container(), container(), NOW),
        (unit(), unit(invocation="i2"), NOW),
    ],
)
def test_restarted_container_has_its_time_from_its_start_on(before, there, started):
    assert verify.started_since(before, NOW, facts(containers=(there,))) == started


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        (container(), container(number="c2"), ""),
        (container(), container(), f"{container().name} still runs as before and was not restarted"),
        (
            container(),
            container("events", number="c2"),
            f"{container().name} does not run, or cannot be seen; {verify.BACK_OFF_ENDS}",
        ),
        (unit(), unit(invocation="i2", state="reloading"), ""),
        (unit(), unit(invocation="i2", state="failed"), "k3s.service does not run, or cannot be seen"),
        (COMMAND, unit(), ""),
    ],
)
def test_restart_is_verified_by_a_new_start(before, now, reason):
    assert verify.why_not_running(before, facts(containers=(now,))).partition(", and was not")[0] == reason


def cure_of(files, *, served=(), path=ME, before=OLD_END):
    return verify.cure_took([(path, before)], facts(files, served=served))


def test_cure_is_verified_if_the_new_certificate_is_on_disk_and_served():
    files = member(peer_ends=NEW_END)
    took, why = cure_of(files, served=(serving(files[0].certificate), serving(files[2].certificate, 4001)))
    assert (took, why) == (
        True,
        f"{ME} is now valid until 2027-09-20 15:40:00 UTC; served on 127.0.0.1:2380",
    )


def test_cure_of_a_client_certificate_needs_no_listener():
    leaf = CLIENTS_CA.leaf("kube-apiserver", not_before=NOW - DAY, not_after=NEW_END, server=False)
    files = (stored(leaf, CLIENT, "apiserver-etcd-client", renewer="nodeup"),)
    took, why = cure_of(files, path=CLIENT)
    assert (took, why.partition("; ")[2]) == (True, "it is a client certificate, which no listener serves")


@pytest.mark.parametrize("ends", [OLD_END - SECOND, OLD_END, NOW - SECOND, NOW])
def test_cure_is_not_verified_while_not_after_is_unchanged_or_past(ends):
    took, why = cure_of(member(peer_ends=ends))
    assert (took, why.partition("UTC")[0].startswith(f"{ME} was not renewed: its expiry is still")) == (False, True)


def test_cure_is_not_verified_if_the_file_is_gone():
    assert cure_of(member(), path="/gone.crt") == (False, "/gone.crt cannot be read")


def test_cure_is_not_verified_if_the_new_certificate_is_not_valid_yet():
    strange = PEERS_CA.leaf("etcd-a", not_before=NOW + SECOND, not_after=NEW_END)
    took, why = cure_of(member(peer=strange))
    assert (took, "is valid only from" in why) == (False, True)


def test_cure_is_not_verified_before_the_new_certificate_is_served():
    files = member(peer_ends=NEW_END)
    foreign = files[2].certificate
    reason = "the new certificate is on disk, but no listener serves it yet"
    assert cure_of(files) == (False, reason)
    assert cure_of(files, served=(serving(None), serving(foreign))) == (False, reason)


def test_cure_is_not_verified_while_the_old_certificate_is_still_served():
    old, new = member(peer_ends=OLD_END)[0].certificate, member(peer_ends=NEW_END)
    elsewhere = serving(old, 9999)
    fresh = serving(new[0].certificate)
    assert cure_of(new, served=(fresh, elsewhere))[0] is True
    took, why = cure_of(new, served=(fresh, serving(old)))
    assert (took, why) == (
        False,
        "127.0.0.1:2380 still serves the certificate that expires 2026-11-23 15:40:00 UTC to some clients",
    )
    assert cure_of(new, served=(fresh, serving(replace(old, subject="CN=other"))))[0] is True


def test_authority_before_the_leaf_in_a_kubeconfig_is_not_taken_for_it():
    path = "/etc/kubernetes/admin.conf"
    old, new = (
        CLIENTS_CA.leaf("kubernetes-admin", not_before=NOW - 365 * DAY, not_after=end) for end in (OLD_END, NEW_END)
    )
    ca = stored(CLIENTS_CA, path)
    assert verify.moved([(path, OLD_END)], facts((ca, stored(old, path)))) is False
    assert verify.moved([(path, OLD_END)], facts((ca, stored(new, path)))) is True
    assert verify.moved([(path, OLD_END)], facts((ca,))) is False
