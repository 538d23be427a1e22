"""The versions that `status --security` tells are those of systemd's own NEWS, and systemd 237 knows all that is no protection."""

import gzip
import re
from pathlib import Path

import pytest

from certmedic.core.sandbox import PROTECTIONS
from labs import ROOT

NEWS = Path("/usr/share/doc/systemd/NEWS.gz")
OLDEST = 237  # Ubuntu 18.04
# Older than the first release whose news names them: these came without a word, or as a new name of a group of directives.
EARLIER = {"CPUWeight", "Description", "IOWeight", "MemoryHigh", "MemoryMax", "WantedBy", "Wants"}
# Named first as a setting of logind; written there as InaccessiblePath=.
OTHERWISE = {"RemoveIPC", "InaccessiblePaths"}
# Not protections, and unknown to 237: journald's own limit for a service's lines holds, and Type=exec is like simple.
LATER = {"LogRateLimitIntervalSec": 240, "Type=exec": 240}

pytestmark = pytest.mark.skipif(not NEWS.exists(), reason="needs the documentation of Debian's systemd")


def first_named():
    """Return {directive: number of the first release whose news names it}."""
    with gzip.open(NEWS, "rt", errors="replace") as file:
        parts = re.split(r"^CHANGES WITH (\d+)", file.read(), flags=re.MULTILINE)
    named = {}
    for number, text in zip(parts[1::2], parts[2::2], strict=True):
        for name in re.findall(r"\b(Type=exec|[A-Z]\w+)(?==|\b)", text):
            named[name] = min(int(number), named.get(name, 9999))
    return named


def test_versions_are_those_of_systemds_news():
    named = first_named()
    versions = {name: known.since for name, known in PROTECTIONS.items() if known.since and name not in OTHERWISE}
    assert {name: named[name] for name in versions} == versions


def test_an_old_systemd_knows_every_directive_that_is_no_protection():
    units = [*(ROOT / "systemd").glob("*.service"), *(ROOT / "systemd").glob("*.socket")]
    texts = [path.read_text() for path in (*units, ROOT / "packaging" / "rollout" / "certmedic-install.service")]
    used = {name for text in texts for name in re.findall(r"^(Type=exec|[A-Z]\w+)", text, re.MULTILINE)}
    named = first_named()
    later = {name: named[name] for name in used - PROTECTIONS.keys() - EARLIER if named.get(name, 0) > OLDEST}
    assert later == LATER
