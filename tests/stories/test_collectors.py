"""The snippets for programs that collect logs keep every field of our journal entries."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from certmedic.core import message
from certmedic.core.diagnose import diagnose
from certmedic.core.model import Fold
from certmedic.core.symptoms import parse
from labs import monitoring
from labs.journal import REMOTE, Record, write_journal
from labs.played import REFUSED, sick
from labs.values import NOW, entry, facts

EXAMPLES = monitoring.EXAMPLES
UNITS = ("certmedic.service", "certmedic-actor.service", "certmedic-reader.service")


def an_entry():
    """Return the fields of a real entry: an incident was opened."""
    fold = Fold(sighting=parse(entry(REFUSED.format(1))), count=1, first_seen=NOW, last_seen=NOW)
    return message.event_fields("opened", diagnose(fold, facts(sick())), incident=7, decision=None)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: folders mounted at the usual paths")
@pytest.mark.skipif(
    not (shutil.which("rsyslogd") and Path(REMOTE).exists() and Path("/etc/machine-id").exists()),
    reason="needs rsyslog, systemd-journal-remote and a machine id",
)
def test_rsyslog_writes_every_field_of_our_entries_and_no_entry_of_others(tmp_path):
    fields, start = an_entry(), time.time_ns() // 1000
    text = fields.pop("MESSAGE")
    write_journal(
        tmp_path / "system.journal",
        [
            Record(message=b"forged", usec=start, fields={**fields, "_SYSTEMD_UNIT": "user@1000.service"}),
            *(
                Record(message=text.encode(), usec=start + number, fields={**fields, "_SYSTEMD_UNIT": unit})
                for number, unit in enumerate(UNITS, 1)
            ),
        ],
    )
    out = tmp_path / "certmedic.json"
    snippet = (EXAMPLES / "rsyslog.conf").read_text().replace("/var/log/certmedic.json", str(out))
    assert str(out) in snippet
    (tmp_path / "rsyslog.conf").write_text(f'global(workDirectory="{tmp_path}")\n{snippet}')
    # A namespace of mounts hides the machine's own journals.
    inside = f"""
        mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/log
        folder=/run/log/journal/$(cat /etc/machine-id) && mkdir -p "$folder" && cp {tmp_path}/system.journal "$folder"
        exec rsyslogd -n -f {tmp_path}/rsyslog.conf -i {tmp_path}/pid
    """
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec", inside], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while not (out.exists() and out.read_text().count("\n") == len(UNITS)):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
    finally:
        process.terminate()
        process.wait(30)
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["_SYSTEMD_UNIT"] for row in written] == list(UNITS)
    for row in written:
        assert {name: row.get(name) for name in fields} == fields
        assert row["MESSAGE"] == text


@pytest.mark.parametrize("name", ["vector.yaml", "fluent-bit.yaml", "otel-collector.yaml", "alloy.alloy"])
def test_untested_snippet_says_so_and_names_the_unit(name):
    text = (EXAMPLES / name).read_text()
    assert "UNTESTED" in text.split("\n\n")[0]
    assert all(unit in text for unit in UNITS)
    if name.endswith(".yaml"):
        assert re.search(r"CERTMEDIC_|json", json.dumps(yaml.safe_load(text)))
