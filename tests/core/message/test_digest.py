"""The digest of incidents that were held back: its severity, their number and their causes."""

import pytest

from certmedic.core.message.digest import digest
from certmedic.core.model import Cause, MessageKind, Severity

CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO


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
    message = digest(held, host="h")
    assert (message.kind, message.severity, message.title) == (
        MessageKind.DIGEST,
        severity,
        f"[{severity.upper()}] {title}",
    )


def test_digest_counts_each_cause_and_begins_with_the_most_frequent():
    message = digest([(INFO, Cause.USAGE), (INFO, Cause.EXPIRED), (INFO, Cause.EXPIRED)], host="<h>")
    counted = [line for line in message.plain.split("\n") if " x " in line]
    assert [line.split(" x ")[0] for line in counted] == ["2", "1"]
    assert counted[0] == "2 x certificate expired"
    assert all(f"- {line}" in message.markdown and f"<li>{line}</li>" in message.html for line in counted)
    for form in (message.plain, message.markdown, message.html):
        assert "sudo certmedic incidents" in form
    assert "<h>" not in message.html
