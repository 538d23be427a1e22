"""The needles are there without the rules."""

import subprocess
import sys

from certmedic.core import needles, symptoms
from labs import ROOT


def test_needles_are_bytes_that_the_samples_of_the_rules_hold():
    samples = [sample for rule in symptoms.RULES for sample in rule.samples]
    assert all(any(needle in sample.encode() for needle in needles.NEEDLES) for sample in samples)


def test_needles_load_no_rules():
    code = "import sys; from certmedic.core import needles; sys.exit('certmedic.core.symptoms' in sys.modules)"
    environment = {"PYTHONPATH": str(ROOT / "agent")}
    assert subprocess.run([sys.executable, "-P", "-c", code], env=environment, check=False).returncode == 0
