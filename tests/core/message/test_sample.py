"""Sample incidents: the agent's own diagnosis and message for each cause, marked as a test."""

from datetime import timedelta

import pytest

from certmedic.core.decision import Policy
from certmedic.core.message import sample
from certmedic.core.model import Cause, Severity, Suspect
from labs.values import NOW

POLICY = Policy(mode="remedy", restart=("etcd-manager",), cooldown=timedelta(minutes=15), per_day=2)
CRITICAL = {
    *(Cause.EXPIRED, Cause.CA_EXPIRED, Cause.NOT_YET_VALID, Cause.CLOCK, Cause.NAME_MISMATCH),
    *(Cause.UNKNOWN_AUTHORITY, Cause.KEY_MISMATCH, Cause.USAGE, Cause.STALE_IN_MEMORY),
    Cause.CRL_EXPIRED,
}


@pytest.mark.parametrize("cause", sample.CAUSES)
def test_sample_shows_its_cause_and_is_marked_as_a_test(cause):
    diagnosis, message = sample.sample(cause, host="master-a", now=NOW, policy=POLICY)
    assert diagnosis.cause is cause
    assert diagnosis.suspect is (Suspect.PEER if cause is Cause.REVOKED else Suspect.OWN)
    assert diagnosis.severity is (Severity.CRITICAL if cause in CRITICAL else Severity.WARNING)
    assert message.title.startswith(f"{sample.MARK}master-a: ")
    assert message.plain.startswith(sample.MARK)


NOISE = (
    'embed: rejected connection from "127.0.0.1:1" (error "tls: client didn\'t provide a certificate", ServerName "")'
)


@pytest.mark.parametrize("line", ["all is well", NOISE])
def test_line_that_shows_nothing_is_no_sample(monkeypatch, line):
    monkeypatch.setattr(sample, "LINES", {Cause.REVOKED: line})
    with pytest.raises(ValueError, match="no sample shows revoked"):
        sample.diagnosis_of(Cause.REVOKED, sample.facts_of(Cause.REVOKED, NOW))
