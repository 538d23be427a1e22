"""Real things for tests: certificates, and programs that are started and stopped."""

from pathlib import Path

AGENT = Path(__file__).resolve().parents[2] / "agent"  # what is tested, for programs that are started beside the tests
