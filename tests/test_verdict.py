"""Findings as diagnoses: the gravest first, strangers' facts left out, and when a fault is over."""

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import verdict
from certmedic.core.examine import Finding
from certmedic.core.model import Cause, Confidence, Severity, Suspect, Trust
from labs.values import DAY, NOW, PEERS_CA, VOLUME, facts, member, stored

ME = f"{VOLUME}/peers/me.crt"
ORDER = [Cause.CA_EXPIRED, Cause.EXPIRED, Cause.CLOCK, Cause.NOT_YET_VALID]


def finding(cause):
    leaf = member()[0]
    return Finding(stored=leaf, culprit=leaf.certificate, cause=cause, confidence=Confidence.PROVEN, said=cause)


def expired():
    (found,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
    return found


@pytest.mark.parametrize(("grave", "light"), [*itertools.pairwise(ORDER), *((cause, Cause.USAGE) for cause in ORDER)])
def test_the_graver_cause_is_the_message(grave, light):
    for both in itertools.permutations([finding(grave), finding(light)]):
        assert [found.cause for found in verdict.gravest(both)] == [grave]


def test_evidence_and_neighbours_of_joined_diagnoses_are_bounded():
    many = replace(expired(), evidence=tuple(map(str, range(9))), neighbours=tuple("abcdef"))
    more = replace(many, evidence=tuple(map(str, range(9, 20))), neighbours=tuple("ghijkl"))
    joined = verdict.joined_diagnosis(many, more)
    assert joined.evidence == tuple(map(str, range(12)))
    assert joined.neighbours == tuple("abcdefgh")


def test_a_joined_diagnosis_rests_on_the_more_trusted_one():
    system, other = expired(), replace(expired(), trust=Trust.CLUSTER, provokable=True)
    for a, b in ((system, other), (other, system)):
        joined = verdict.joined_diagnosis(a, b)
        assert (joined.trust, joined.provokable) == (Trust.SYSTEM, False)


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
        ({"cause": Cause.DISTRUSTED, "trust": Trust.CLUSTER, "confidence": Confidence.LIKELY}, Severity.INFO),
    ],
)
def test_severity_by_origin_and_proof(change, severity):
    assert replace(expired(), **change).severity is severity


@pytest.mark.parametrize("trust", [Trust.CLUSTER, Trust.STRANGER])
def test_files_of_others_are_not_surveyed(trust):
    files = tuple(replace(one, trust=trust) for one in member(peer_ends=NOW - DAY))
    assert verdict.survey(facts(files), warn_within=9 * DAY) == ()


def test_a_name_that_is_missing_is_not_over_while_the_same_file_lies_there():
    files = member()
    leaf = files[0].certificate
    found = replace(expired(), cause=Cause.NAME_MISMATCH, confidence=Confidence.LIKELY, certificates=(leaf,))
    assert verdict.is_over(found, facts(files)) is None
    other = stored(PEERS_CA.leaf("etcd-a", not_after=NOW + DAY), ME, ca_path=f"{VOLUME}/peers/ca.crt")
    good, _ = verdict.is_over(found, facts((other, *files[1:])))
    assert good


def test_an_expired_file_is_over_once_it_is_renewed():
    assert verdict.is_over(expired(), facts(member(peer_ends=NOW - DAY)))[0] is False
    assert verdict.is_over(expired(), facts(member()))[0] is True
