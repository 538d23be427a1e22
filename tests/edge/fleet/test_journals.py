"""A fleet in journals: files as the real systemd-journal-remote writes them."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certmedic.core.fleet import view
from certmedic.core.message import event_fields
from certmedic.core.model import Suspect
from certmedic.edge.fleet import FleetError, from_journals, journals
from labs.exposed import incident
from labs.journal import REMOTE, Record, write_journal

pytestmark = pytest.mark.skipif(not Path(REMOTE).exists(), reason="needs systemd-journal-remote")

NOW = datetime.now(UTC).replace(microsecond=0)


def record(host, event="", *, hours=0, suspect=Suspect.OWN, unit="certmedic.service", cluster="eu-1"):
    fields = {"MESSAGE": "x"}
    if event:
        fields = event_fields(event, incident(suspect=suspect).diagnosis, incident=1, decision=None)
    own = {"_HOSTNAME": host, "_SYSTEMD_UNIT": unit, "CERTMEDIC_CLUSTER": cluster}
    usec = int((NOW - timedelta(hours=hours)).timestamp() * 1_000_000)
    return Record(message=None, usec=usec, fields={**fields, **own}, boot=host.encode().hex().zfill(32))


def test_masters_of_two_files_with_one_incident_and_a_cure(tmp_path):
    write_journal(tmp_path / "remote-a.journal", [record("a", "opened", hours=3), record("a", unit="etcd.service")])
    peers = [record(name, "opened", hours=2, suspect=Suspect.PEER) for name in "bc"]
    cured = [record("d", event, hours=1, cluster="us-1") for event in ("opened", "acted", "resolved")]
    write_journal(tmp_path / "remote-b.journal", [*peers, *cured, record("c", unit="etcd.service")])
    seen = view(from_journals(tmp_path, NOW), NOW)

    (opened,) = seen.incidents
    assert (opened.cluster, opened.culprit, opened.reporters) == ("eu-1", "a", ("a", "b", "c"))
    assert [(cure.cluster, cure.master, cure.verified) for cure in seen.cures] == [("us-1", "d", True)]
    assert [(master.name, master.heard) for master in seen.silent] == [("b", NOW - timedelta(hours=2))]


def systemd(host, message_id, *, hours, pid="1"):
    usec = int((NOW - timedelta(hours=hours)).timestamp() * 1_000_000)
    fields = {"_HOSTNAME": host, "_PID": pid, "UNIT": "certmedic.service", "MESSAGE_ID": message_id}
    return Record(message=b"x", usec=usec, fields=fields, boot=host.encode().hex().zfill(32))


def test_master_whose_agent_ended_is_silent_though_its_journal_goes_on(tmp_path):
    ended = [systemd(name, journals.ENDED[0], hours=5) for name in "abd"]
    again = systemd("b", journals.STARTED, hours=4)
    failed = systemd("c", journals.ENDED[2], hours=3, pid="700")  # any program may say so; it is not systemd
    others = [record(name, unit="etcd.service") for name in "abcd"]
    opened = [record(name, "opened", hours=6) for name in "abcd"]
    write_journal(tmp_path / "1.journal", [*opened, *ended, again, failed, *others])
    write_journal(tmp_path / "2.journal", [systemd("d", journals.STARTED, hours=2), record("d", unit="etcd.service")])
    seen = view(from_journals(tmp_path, NOW), NOW)
    assert [(master.name, master.heard) for master in seen.silent] == [("a", NOW - timedelta(hours=5))]


def test_entry_that_another_unit_wrote_decides_nothing(tmp_path):
    forged = record("a", "opened", unit="pod.scope")
    write_journal(tmp_path / "a.journal", [forged, record("b", "opened")])
    assert [report.master for report in from_journals(tmp_path, NOW).reports] == ["b"]


def test_folder_without_our_entries_says_what_to_do(tmp_path):
    with pytest.raises(FleetError, match="no journal file of the last 30 days"):
        from_journals(tmp_path, NOW)
    write_journal(tmp_path / "a.journal", [record("a", unit="etcd.service")])
    with pytest.raises(FleetError, match=r"no entry of certmedic\.service: systemd-journal-upload"):
        from_journals(tmp_path, NOW)


def test_damaged_file_does_not_hide_another(tmp_path):
    (tmp_path / "x.journal").write_bytes(b"no journal" * 100)
    with pytest.raises(FleetError, match="no journal file can be opened"):
        from_journals(tmp_path, NOW)
    write_journal(tmp_path / "a.journal", [record("a", "opened")])
    assert len(from_journals(tmp_path, NOW).reports) == 1


def test_laptop_without_python_systemd_is_told_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "systemd", None)
    with pytest.raises(FleetError, match="needs python-systemd"):
        from_journals(tmp_path, NOW)


def test_too_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "MOST_ENTRIES", 2)
    write_journal(tmp_path / "a.journal", [record("a", "opened")] * 3)
    with pytest.raises(FleetError, match="more than 2 entries"):
        from_journals(tmp_path, NOW)
