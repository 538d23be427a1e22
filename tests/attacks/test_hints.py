"""Commands in messages select the entries of the agent by its unit: any program can write fields with the same names."""

import re

import pytest

from labs import ROOT

PLACES = ("README.md", "agent/**/*.py", "agent/*.md", "packaging/**/*", "systemd/*", ".github/*.md")
FILES = [path for place in PLACES for path in sorted(ROOT.glob(place)) if path.is_file()]
OURS = re.compile(r"-u certmedic|--unit[= ]certmedic|_SYSTEMD_UNIT=certmedic")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_journalctl_hint_names_the_unit(path):
    hints = [
        line for line in path.read_text(errors="replace").splitlines() if "journalctl" in line and "CERTMEDIC_" in line
    ]
    assert [line for line in hints if not OURS.search(line)] == []
