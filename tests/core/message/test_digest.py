"""The digest of incidents that were held back: its severity, their number and their causes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import verdict
from certmedic.core.message.digest import digest
from certmedic.core.model import Cause, MessageKind, Severity
from labs.values import DAY, NOW, facts, member

CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
(OWN,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())


def held_back(*faults):
    """Return incidents of (severity, cause), each of another etcd group."""
    return [(severity, replace(OWN, cause=cause, group=f"g{n}")) for n, (severity, cause) in enumerate(faults)]


@pytest.mark.parametrize(
    ("held", "severity", "title"),
    [
        ([(INFO, Cause.DISTRUSTED)], INFO, "h: 1 more incident, not reported one by one"),
        ([(INFO, Cause.EXPIRED), (WARNING, Cause.EXPIRED)], WARNING, "h: 2 more incidents, not reported one by one"),
        (
            [(WARNING, Cause.EXPIRED), (CRITICAL, Cause.EXPIRED)],
            CRITICAL,
            "h: 2 more incidents, not reported one by one",
        ),
    ],
)
def test_digest_is_as_grave_as_the_gravest_incident(held, severity, title):
    message = digest(held_back(*held), host="h")
    assert (message.kind, message.severity, message.title) == (
        MessageKind.DIGEST,
        severity,
        f"[{severity.upper()}] {title}",
    )


def test_digest_counts_each_cause_and_begins_with_the_most_frequent():
    message = digest(held_back((INFO, Cause.USAGE), (INFO, Cause.EXPIRED), (INFO, Cause.EXPIRED)), host="<h>")
    counted = [line for line in message.plain.split("\n") if " x " in line]
    assert [line.split(" x ")[0] for line in counted] == ["2", "1"]
    assert counted[0] == "2 x certificate expired: etcd g1, etcd g2"
    assert all(f"- {line}" in message.markdown and f"<li>{line}</li>" in message.html for line in counted)
    for form in (message.plain, message.markdown, message.html):
        assert "sudo certmedic incidents" in form
    assert "<h>" not in message.html


def test_digest_names_five_of_a_cause_and_counts_the_rest():
    message = digest(held_back(*[(CRITICAL, Cause.EXPIRED)] * 18), host="h")
    assert "18 x certificate expired: etcd g0, etcd g1, etcd g2, etcd g3, etcd g4 and 13 more\n" in message.plain
