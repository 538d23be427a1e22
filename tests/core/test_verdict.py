"""Findings become diagnoses: the gravest comes first, facts of strangers are ignored, and a fault ends."""

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import planes, verdict
from certmedic.core.examine import Finding
from certmedic.core.model import Cause, Confidence, FileFault, Served, Severity, Suspect, Trust
from labs import pki
from labs.values import DAY, NOW, PEERS_CA, VOLUME, container, facts, member, stored

SECOND = timedelta(seconds=1)
ME = f"{VOLUME}/peers/me.crt"
ORDER = [Cause.CA_EXPIRED, Cause.EXPIRED, Cause.CLOCK, Cause.NOT_YET_VALID]


def finding(cause):
    leaf = member()[0]
    return Finding(stored=leaf, culprit=leaf.certificate, cause=cause, confidence=Confidence.PROVEN, evidence=cause)


def expired():
    (diagnosis,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
    return diagnosis


@pytest.mark.parametrize(("grave", "light"), [*itertools.pairwise(ORDER), *((cause, Cause.USAGE) for cause in ORDER)])
def test_only_the_gravest_cause_is_kept(grave, light):
    for both in itertools.permutations([finding(grave), finding(light)]):
        assert [kept.cause for kept in verdict.gravest(both)] == [grave]


CLIENTS_CAS = (
    "/etc/kubernetes/pki/etcd-manager-main/etcd-clients-ca.crt",
    "/etc/kubernetes/pki/etcd-manager-events/etcd-clients-ca.crt",
    "/srv/kubernetes/kube-apiserver/etcd-ca.crt",
    "/mnt/master-vol-1/pki/etcd-cluster-token-etcd/clients/ca.crt",
    "/mnt/master-vol-2/pki/etcd-cluster-token-etcd-events/clients/ca.crt",
)
KUBEADM_CAS = tuple(f"/etc/kubernetes/pki/{name}.crt" for name in ("ca", "etcd/ca", "front-proxy-ca"))


@pytest.mark.parametrize("ends", [NOW - DAY, NOW + DAY])
@pytest.mark.parametrize(("paths", "cas"), [(CLIENTS_CAS, 1), (KUBEADM_CAS, 3)])
def test_cas_that_expire_together_and_their_copies_are_one_diagnosis(paths, cas, ends):
    made = [pki.authority(f"ca-{n}", not_before=NOW - 400 * DAY, not_after=ends) for n in range(cas)]
    files = [stored(made[n % cas], path) for n, path in enumerate(paths)]
    placed = [replace(file, place=planes.place(file.certificate.path, file.certificate)) for file in files]
    (diagnosis,) = verdict.merge(verdict.survey(facts(tuple(placed)), warn_within=timedelta(days=7)))
    assert {leaf.path for leaf in diagnosis.certificates} == set(paths)
    assert diagnosis.cause is (Cause.CA_EXPIRED if ends < NOW else Cause.EXPIRES_SOON)


def test_evidence_and_neighbours_of_joined_diagnoses_are_limited():
    many = replace(expired(), evidence=tuple(map(str, range(9))), neighbours=tuple("abcdef"))
    more = replace(many, evidence=tuple(map(str, range(9, 20))), neighbours=tuple("ghijkl"))
    joined = verdict.joined_diagnosis(many, more)
    assert joined.evidence == tuple(map(str, range(12)))
    assert joined.neighbours == tuple("abcdefgh")


def test_joined_diagnosis_takes_the_higher_trust():
    system, other = expired(), replace(expired(), trust=Trust.CLUSTER, provokable=True)
    for a, b in ((system, other), (other, system)):
        joined = verdict.joined_diagnosis(a, b)
        assert (joined.trust, joined.provokable) == (Trust.SYSTEM, False)


def test_joined_diagnosis_has_the_remedy_for_the_most_files():
    one_file, two_files = expired(), replace(expired(), remedy=replace(expired().remedy, why="Both."))
    two_files = replace(two_files, certificates=(*two_files.certificates, *two_files.certificates))
    for a, b in itertools.permutations((one_file, two_files)):
        assert verdict.joined_diagnosis(a, b).remedy.why == "Both."
    assert verdict.joined_diagnosis(one_file, replace(two_files, confidence=Confidence.LIKELY)).remedy.why != "Both."


@pytest.mark.parametrize(
    ("change", "severity"),
    [
        ({}, Severity.CRITICAL),
        ({"trust": Trust.STRANGER}, Severity.INFO),
        ({"trust": Trust.CLUSTER}, Severity.CRITICAL),
        ({"trust": Trust.CLUSTER, "confidence": Confidence.LIKELY}, Severity.WARNING),
        ({"provokable": True}, Severity.CRITICAL),
        ({"provokable": True, "confidence": Confidence.LIKELY}, Severity.INFO),
        ({"confidence": Confidence.LIKELY}, Severity.CRITICAL),
        ({"suspect": Suspect.PEER}, Severity.WARNING),
        ({"is_unused": True}, Severity.WARNING),
        ({"is_idle": True}, Severity.WARNING),
        ({"cause": Cause.DISTRUSTED, "trust": Trust.CLUSTER, "confidence": Confidence.LIKELY}, Severity.INFO),
    ],
)
def test_severity_depends_on_origin_and_proof(change, severity):
    assert replace(expired(), **change).severity is severity


@pytest.mark.parametrize("trust", [Trust.CLUSTER, Trust.STRANGER])
def test_untrusted_files_are_not_surveyed(trust):
    files = tuple(replace(file, trust=trust) for file in member(peer_ends=NOW - DAY))
    assert verdict.survey(facts(files), warn_within=9 * DAY) == ()


def test_name_mismatch_ends_only_with_another_file():
    files = member()
    leaf = files[0].certificate
    missing = replace(expired(), cause=Cause.NAME_MISMATCH, confidence=Confidence.LIKELY, certificates=(leaf,))
    assert verdict.is_over(missing, facts(files)) is None
    other = stored(PEERS_CA.leaf("etcd-a", not_after=NOW + DAY), ME, ca_path=f"{VOLUME}/peers/ca.crt")
    good, _ = verdict.is_over(missing, facts((other, *files[1:])))
    assert good


def test_expiry_is_over_once_the_file_is_renewed():
    assert verdict.is_over(expired(), facts(member(peer_ends=NOW - DAY)))[0] is False
    assert verdict.is_over(expired(), facts(member()))[0] is True


@pytest.mark.parametrize(
    "change",
    [{"suspect": Suspect.PEER}, {"certificates": ()}, {"cause": Cause.STALE_IN_MEMORY}],
    ids=lambda change: next(iter(change)),
)
def test_end_of_a_fault_that_no_file_proves_is_unknown(change):
    assert verdict.is_over(replace(expired(), **change), facts()) is None


def test_vouched_facts_are_trusted():
    foreign = facts(
        tuple(replace(stored, trust=Trust.STRANGER) for stored in member(peer_ends=NOW - DAY)),
        served=(Served(address="::1", port=1, certificate=None),),
        containers=(replace(container(), trust=Trust.CLUSTER),),
    )
    assert verdict.survey(foreign, warn_within=timedelta()) == ()
    vouched = verdict.vouched(foreign)
    assert verdict.trusted(vouched) == vouched
    assert [fault.cause for fault in verdict.survey(vouched, warn_within=timedelta())] == [Cause.EXPIRED]


def test_survey_judges_only_dates():
    files = tuple(replace(stored, key_matches=False) for stored in member())
    assert verdict.survey(facts(files), warn_within=timedelta()) == ()


@pytest.mark.parametrize(
    ("ends", "of_plane", "warned"),
    [
        (NOW + 30 * DAY, {}, True),
        (NOW + 30 * DAY + SECOND, {}, False),
        (NOW + 30 * DAY, {"kops": 30 * DAY - SECOND}, False),
        (NOW + 40 * DAY, {"kops": 40 * DAY}, True),
        (NOW + 40 * DAY, {"k3s": 40 * DAY}, False),
    ],
)
def test_survey_warns_within_the_days_of_the_plane(ends, of_plane, warned):
    soon = verdict.survey(facts(member(peer_ends=ends)), warn_within=30 * DAY, of_plane=of_plane)
    assert [warning.cause for warning in soon] == ([Cause.EXPIRES_SOON] if warned else [])


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"cause": Cause.EXPIRES_SOON}, False),  # less severe
        ({"suspect": Suspect.PEER}, False),
        ({"cause": Cause.CA_EXPIRED}, False),  # the same severity: by the order of the causes
        ({"cause": Cause.REVOKED}, False),
        ({"count": 4}, True),  # the same cause: the more frequent first
        ({"count": 2}, False),
        ({"key": "a"}, True),  # equal otherwise: by the key
        ({"key": "z"}, False),
    ],
)
def test_most_serious_diagnosis_comes_first(change, first):
    usual = replace(expired(), key="k", count=3)
    other = replace(usual, **({"key": "other"} | change))
    for both in itertools.permutations([usual, other]):
        assert verdict.merge(both) == ((other, usual) if first else (usual, other))


@pytest.mark.parametrize(
    ("sentences", "kept"),
    [
        (["from 10.0.0.2:41000", "from 10.0.0.2:41001"], 1),
        (["from [::1]:41000", "from [::1]:41001"], 1),
        (["from 10.0.0.2:41000", "from 10.0.0.3:41000"], 2),
        (["at 12:30", "at 12:31"], 2),
        (["on :123", "on :124"], 2),
        (["on h:1234", "on h:1235"], 1),
        (["on h:123456", "on h:123457"], 2),
    ],
)
def test_sentences_that_differ_only_in_a_port_are_deduplicated(sentences, kept):
    assert verdict.distinct(sentences) == tuple(sentences[:kept])


@pytest.mark.parametrize(
    ("a", "b", "joined"),
    [
        ((None, None), (None, None), (None, None)),
        ((NOW, NOW), (None, None), (NOW, NOW)),
        ((NOW, NOW + DAY), (NOW - DAY, NOW), (NOW - DAY, NOW + DAY)),
    ],
)
def test_joined_diagnosis_spans_both(a, b, joined):
    first, second = (replace(expired(), first_seen=begin, last_seen=end, count=2) for begin, end in (a, b))
    both = verdict.joined_diagnosis(first, second)
    assert (both.first_seen, both.last_seen, both.count) == (*joined, 4)


def test_expired_file_that_only_a_person_uses_pages_nobody():
    leaf = PEERS_CA.leaf("kubernetes-admin", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    admin = stored(leaf, "/etc/kubernetes/admin.conf", "kubectl", plane="kubeadm", renewer="kubeadm", group="")
    scheduler = replace(admin, place=replace(admin.place, use="scheduler-client"))
    alone, both = (verdict.survey(facts(files), warn_within=DAY)[0] for files in ((admin,), (admin, scheduler)))
    assert (alone.is_idle, alone.severity) == (True, Severity.WARNING)
    assert (both.is_idle, both.severity) == (False, Severity.CRITICAL)


def empty(reason="empty"):
    return FileFault(path=f"{VOLUME}/peers/me.crt", reason=reason, detail="why", trust=Trust.SYSTEM)


def test_file_without_a_certificate_is_a_fault_until_it_holds_one_or_is_gone():
    (diagnosis,) = verdict.unusable(facts(faults=(empty(),)))
    still = verdict.is_over(diagnosis, facts(faults=(empty("broken"),)))
    assert still == (False, f"{VOLUME}/peers/me.crt: broken: why")
    assert verdict.is_over(diagnosis, facts(()))[0]
    assert verdict.is_over(diagnosis, facts(member()))[0]
    assert not verdict.is_over(diagnosis, facts(member(peer_ends=NOW - DAY)))[0]
