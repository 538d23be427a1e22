"""The incident of a source that cannot be read: which logs are missed, and how a person finds out why."""

import pytest

from certmedic.core import blind
from certmedic.core.model import Cause, Helps, RemedyKind, Severity, Suspect
from labs.values import NOW


@pytest.mark.parametrize("source", list(blind.SOURCES))
def test_blind_source_is_a_warning_with_commands_to_type(source):
    diagnosis = blind.diagnose(source, "Connection refused", NOW)

    assert diagnosis.key == blind.key(source) == f"blind|{source}"
    assert (diagnosis.cause, diagnosis.suspect, diagnosis.severity) == (Cause.BLIND, Suspect.OWN, Severity.WARNING)
    assert (diagnosis.evidence, diagnosis.since, diagnosis.source) == (("Connection refused",), NOW, source)
    _, unseen, command = blind.SOURCES[source]
    assert diagnosis.effect == f"certmedic does not see {unseen}."
    assert (diagnosis.remedy.kind, diagnosis.remedy.helps) == (RemedyKind.MANUAL, Helps.UNKNOWN)
    assert diagnosis.remedy.command.replace(" && ", "; ") == command
