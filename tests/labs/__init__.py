"""Labs: certificates, programs and machines that tests start and stop."""

from pathlib import Path

LABS = Path(__file__).resolve().parent  # this folder, for containers that run the stand-in
TESTS = LABS.parent
ROOT = TESTS.parent  # the root of the repository
AGENT = ROOT / "agent"  # the code under test, for programs that tests start
