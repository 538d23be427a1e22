"""The pinned inputs of the self-contained package: looked at in time, without a known weakness, the bytes that were pinned, all told."""

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from datetime import date, timedelta

import pytest

from labs import ROOT

INPUTS = ROOT / "packaging" / "full" / "inputs"
LOCK = tomllib.loads(INPUTS.with_suffix(".toml").read_text())
PINS = [*LOCK["debian"], *LOCK["pypi"]]


def loaded():
    """Return the script as a module."""
    loader = importlib.machinery.SourceFileLoader("inputs", str(INPUTS))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("inputs", loader))
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = written
    return module


inputs = loaded()


def check(day):
    return subprocess.run(
        [sys.executable, INPUTS, "check", day.isoformat()], capture_output=True, text=True, check=False
    )


def test_check_fails_90_days_after_the_last_look():
    first, last = min(pin["looked"] for pin in PINS), max(pin["looked"] for pin in PINS)
    in_time = check(last)
    assert (in_time.returncode, in_time.stderr) == (0, "")
    late = check(first + timedelta(days=91))
    assert late.returncode == 1
    assert "nobody has looked for 91 days" in late.stderr
    assert inputs.faults(LOCK, first + timedelta(days=90)) == [] or last > first


@pytest.mark.parametrize(
    ("kind", "pinned", "fixed", "weak"),
    [
        ("pypi", "2.5.9", "2.6.0", True),
        ("pypi", "2.10.0", "2.6.0", False),
        ("pypi", "2.6.0", "2.6.0", False),
        ("debian", "3.0.20-1~deb12u2", "3.0.20-1~deb12u10", True),
        ("debian", "1:1.2.13.dfsg-1", "1:1.2.11.dfsg-4.1", False),
    ],
)
def test_check_fails_for_a_pin_with_a_known_weakness(kind, pinned, fixed, weak):
    pin = {"name": "it", "version": pinned, "fixed": fixed, "looked": date(2026, 11, 29)}
    faults = inputs.faults({"debian": [], "pypi": [], kind: [pin]}, date(2026, 11, 30))
    assert faults == ([f"it {pinned}: has a known weakness, which {fixed} fixes"] if weak else [])


def test_a_file_with_other_bytes_is_not_taken(tmp_path):
    (tmp_path / "a").write_bytes(b"what was pinned")
    (tmp_path / "b").write_bytes(b"something else")
    good = "5c6a1ad3a7b5a3c2d1f0"
    digest = inputs.hashlib.sha256(b"what was pinned").hexdigest()
    assert inputs.wrong(tmp_path, {"a": digest, "b": digest, "c": good}) == ["b", "c"]


def test_every_library_that_certmedic_needs_is_pinned_and_told():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["agent"]]
    assert {line.split(">=")[0].lower() for line in needed} <= {pin["name"] for pin in LOCK["pypi"]}
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, INPUTS, "bill", "1.2.3", "1780000000"]
    bill = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
    named = {(part["name"], part["version"]) for part in bill["components"]}
    assert named == {(pin["name"], pin["version"]) for pin in PINS}
    assert all(len(digest["content"]) == 64 for part in bill["components"] for digest in part["hashes"])
    held = [
        property_["value"]
        for part in bill["components"]
        for property_ in part["properties"]
        if property_["name"] == "certmedic:holds"
    ]
    assert any(value.startswith("OpenSSL ") for value in held)
