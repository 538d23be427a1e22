"""A rehearsal lists warnings on their days and each fault once, in order of time."""

from dataclasses import replace
from datetime import timedelta

from certmedic.core.decision import Policy
from certmedic.core.model import Cause
from certmedic.core.rehearse import rehearse
from labs.values import DAY, NOW, facts, k3s, member

POLICY = Policy(mode="remedy", restart=("etcd-manager", "k3s"), cooldown=timedelta(minutes=15), per_day=2)
SECOND = timedelta(seconds=1)


def moments(files, until=NOW + 60 * DAY, *, warn_days=(30,), of_plane=None):
    played = rehearse(facts(files), until, policy=POLICY, warn_days=warn_days, of_plane=of_plane)
    return [(moment.at - NOW, str(moment.diagnosis.cause), moment.decision is not None) for moment in played]


def test_warning_comes_before_the_fault_and_only_the_fault_has_a_decision():
    files = member(peer_ends=NOW + 40 * DAY)
    assert moments(files) == [
        (10 * DAY, Cause.EXPIRES_SOON, False),
        (40 * DAY + SECOND, Cause.EXPIRED, True),
    ]


def test_fault_is_reported_once_and_again_only_with_more_files():
    files = (*member(peer_ends=NOW - DAY, server_ends=NOW + 20 * DAY), *k3s(NOW + 10 * DAY))
    played = rehearse(facts(files), NOW + 60 * DAY, policy=POLICY, warn_days=())
    assert [(moment.at - NOW, moment.diagnosis.plane, len(moment.diagnosis.certificates)) for moment in played] == [
        (timedelta(0), "kops", 1),
        (10 * DAY + SECOND, "k3s", 1),
        (20 * DAY + SECOND, "kops", 2),
    ]


def test_certificate_that_expires_as_the_rehearsal_ends_only_gets_a_warning():
    files = member(peer_ends=NOW + 40 * DAY)
    assert [cause for _, cause, _ in moments(files, NOW + 40 * DAY)] == [Cause.EXPIRES_SOON]
    assert [cause for _, cause, _ in moments(files, NOW + 40 * DAY + SECOND)] == [Cause.EXPIRES_SOON, Cause.EXPIRED]


def test_warning_at_the_boundaries_of_the_rehearsal():
    files = member(peer_ends=NOW + 40 * DAY)
    assert moments(files, NOW + 10 * DAY) == [(10 * DAY, Cause.EXPIRES_SOON, False)]
    assert moments(files, NOW + 10 * DAY - SECOND) == []
    assert moments(files, NOW + DAY, warn_days=(40,)) == []  # already due when the rehearsal begins


def test_warning_comes_on_the_day_configured_for_the_plane():
    files = (*member(peer_ends=NOW + 40 * DAY), *k3s(NOW + 40 * DAY))
    warned = rehearse(facts(files), NOW + 39 * DAY, policy=POLICY, warn_days=(30,), of_plane={"k3s": (5,)})
    assert [(moment.at - NOW, moment.diagnosis.plane) for moment in warned] == [(10 * DAY, "kops"), (35 * DAY, "k3s")]


def test_certificate_that_expires_a_second_later_is_judged_a_second_later():
    files = (*member(peer_ends=NOW + 40 * DAY), *k3s(NOW + 40 * DAY + SECOND))
    assert moments(files, warn_days=()) == [(40 * DAY + n * SECOND, Cause.EXPIRED, True) for n in (1, 2)]


def test_certificate_in_memory_expires_too():
    (api,) = member(peer_ends=NOW + 40 * DAY)[:1]
    leaf = replace(api.certificate, path="(memory of kube-apiserver)")
    place = replace(api.place, plane="kubeadm", use="memory", renewer="kube-apiserver")
    held = replace(api, certificate=leaf, place=place)
    played = rehearse(facts((), memory=(held,)), NOW + 60 * DAY, policy=POLICY, warn_days=(30,))
    assert [(moment.at - NOW, moment.diagnosis.cause, moment.decision is not None) for moment in played] == [
        (10 * DAY, Cause.EXPIRES_SOON, False),
        (40 * DAY + SECOND, Cause.STALE_IN_MEMORY, True),
    ]
