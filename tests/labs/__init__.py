"""Real things for tests: certificates, and programs that are started and stopped."""

from pathlib import Path

LABS = Path(__file__).resolve().parent  # these, for containers that run the stand-in
TESTS = LABS.parent
ROOT = TESTS.parent  # of the repository
AGENT = ROOT / "agent"  # what is tested, for programs that are started beside the tests
