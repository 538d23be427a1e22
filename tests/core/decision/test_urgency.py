"""Severity: one test for each row of the table in certmedic(8)."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certmedic.core import blind, verdict
from certmedic.core.decision import urgency
from certmedic.core.model import Action, Cause, Confidence, Decision, RemedyKind, Severity, Suspect, Trust, WaitsFor
from labs.values import DAY, NOW, facts, member

MANUAL = Path(__file__).parents[3] / "packaging" / "man" / "certmedic.8"
(EXPIRED,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
(FORECAST,) = verdict.survey(facts(member(peer_ends=NOW + DAY)), warn_within=30 * DAY)
ADMIN = replace(EXPIRED, is_idle=True)
NOTHING = Decision(reason="no action")
RESTART = Decision(reason="restart", action=Action(kind=RemedyKind.RESTART, container=None, watched=()))
WAITS = Decision(reason="later", waits_for=WaitsFor.TURN)
APPROVAL = Decision(reason="ask", waits_for=WaitsFor.APPROVAL)
BLIND = blind.diagnose("journal", "no", NOW)
# Row of the manual -> diagnosis, decision, whether a fix failed, severity.
ROWS = {
    "A certificate of this machine is bad, and certmedic does not fix it": (EXPIRED, NOTHING, False, "critical"),
    "A fix waits for an approval": (EXPIRED, APPROVAL, False, "critical"),
    "A fix of certmedic failed": (EXPIRED, RESTART, True, "critical"),
    "A planned renewal failed": (FORECAST, RESTART, True, "critical"),
    "certmedic fixes it now": (EXPIRED, RESTART, False, "warning"),
    "certmedic fixes it when its turn comes": (EXPIRED, WAITS, False, "warning"),
    "A certificate expires soon": (FORECAST, NOTHING, False, "warning"),
    "Only the administrator's kubeconfig has expired": (ADMIN, NOTHING, False, "warning"),
    "An expired file is not in use": (replace(EXPIRED, is_unused=True), NOTHING, False, "warning"),
    "A certificate of another machine is bad": (replace(EXPIRED, suspect=Suspect.PEER), None, False, "warning"),
    "A program cannot use one of its files, and no certificate explains it": (
        replace(EXPIRED, cause=Cause.UNEXPLAINED),
        None,
        False,
        "warning",
    ),
    "A log cannot be read": (BLIND, None, False, "warning"),
    "Anyone who reaches the port can cause it, and no file proves it": (
        replace(EXPIRED, provokable=True, confidence=Confidence.LIKELY),
        None,
        False,
        "info",
    ),
    "A client calls without a certificate": (replace(EXPIRED, cause=Cause.MISSING_CLIENT_CERT), None, False, "info"),
    "A stranger logged it": (replace(EXPIRED, trust=Trust.STRANGER), None, False, "info"),
}


@pytest.mark.parametrize("row", ROWS)
def test_severity_of_each_row_of_the_manual(row):
    diagnosis, decision, failed, severity = ROWS[row]
    assert urgency(diagnosis, decision, failed=failed) == severity


def test_fault_that_pages_nobody_pages_nobody_after_a_failed_fix():
    stranger = replace(EXPIRED, trust=Trust.STRANGER)
    assert urgency(stranger, RESTART, failed=True) is Severity.INFO


def test_manual_has_the_rows_of_this_table():
    text = MANUAL.read_text().replace("\\-", "-")
    table = text[text.index(".SS Severity") : text.index(".SS What it does")]
    listed = re.findall(r"^\.IP \\\(bu 2\n(.*)\.$", table, re.MULTILINE)
    assert sorted(listed) == sorted(ROWS)
    for severity in Severity:
        part = table.split(f".B {severity}\n", 1)[1].split(".B ", 1)[0]
        mine = [row for row, (*_, wanted) in ROWS.items() if wanted == severity]
        assert all(f"{row}." in part for row in mine)
