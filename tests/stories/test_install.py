"""`pip install` into an empty environment, with the oldest and the newest allowed libraries, from wheel and source archive.

The oldest allowed versions are those of Debian 12, taken from PyPI; the newest are those that pip finds. pip builds systemd-python,
which only the extra "agent" needs, from source: with a compiler and libsystemd-dev.
"""

import functools
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

from certmedic import __version__
from labs import ROOT, command, pki

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(600)]
# The versions in Debian 12 of the libraries that certmedic names, and of their dependencies that must not be later.
DEBIAN_12 = {
    "apprise": "1.2.0",
    "click": "8.1.3",
    "cryptography": "38.0.4",
    "prometheus-client": "0.16.0",
    "pyOpenSSL": "23.0.0",
    "rich": "13.3.1",
    "systemd-python": "235",
    "requests": "2.28.1",
    "urllib3": "1.26.12",
}
LINE = 'rejected connection from "10.0.1.7:4511" (error "remote error: tls: bad certificate", ServerName "etcd-a")'


# Run outside this tree, so that no module is imported from it.
do = functools.partial(
    command.do, cwd="/", env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
)


def environment(home):
    """Make an empty virtual environment with the distribution's Python; return its folder of programs."""
    do(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}", "-m", "venv", home)
    return home / "bin"


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Return the wheel and the source archive, built by the backend that pyproject.toml names."""
    home = tmp_path_factory.mktemp("archives")
    bin_ = environment(home / "venv")
    do(bin_ / "pip", "install", "--quiet", "hatchling")
    do(bin_ / "hatchling", "build", "-d", home / "out", cwd=ROOT)
    (wheel,) = (home / "out").glob("*.whl")
    (source,) = (home / "out").glob("*.tar.gz")
    return {"wheel": wheel, "source": source}


def tracked():
    """Return the paths of all files of the import package in the repository."""
    files = (path for path in (ROOT / "agent" / "certmedic").rglob("*") if path.is_file())
    return {path.relative_to(ROOT / "agent").as_posix() for path in files if "__pycache__" not in path.parts}


def test_wheel_and_source_archive_hold_every_file_of_the_package(archives):
    with zipfile.ZipFile(archives["wheel"]) as wheel:
        in_wheel = {name for name in wheel.namelist() if name.startswith("certmedic/")}
        metadata = wheel.read(f"certmedic-{__version__}.dist-info/METADATA").decode()
    with tarfile.open(archives["source"]) as source:
        inside = {name.partition("/")[2] for name in source.getnames()}
    assert "certmedic/edge/store/schema.sql" in in_wheel
    assert in_wheel == tracked()
    assert {f"agent/{name}" for name in tracked()} <= inside
    assert {"systemd/certmedic.service", "systemd/certmedic.catalog", "packaging/certmedic.toml", "LICENSE"} <= inside
    assert f"\nVersion: {__version__}\n" in metadata


def test_lowest_versions_in_pyproject_are_those_of_debian_12():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["agent"]]
    floor = dict(line.split(">=") for line in wanted)
    assert set(floor) <= set(DEBIAN_12)
    for name, oldest in floor.items():
        assert re.fullmatch(rf"{re.escape(oldest)}(\..*)?", DEBIAN_12[name]), name


@pytest.mark.parametrize(("kind", "pins"), [("wheel", DEBIAN_12), ("source", {})], ids=["oldest", "newest"])
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to read what the service reads")
def test_service_installed_by_pip_runs(archives, kind, pins, tmp_path):
    bin_ = environment(tmp_path / "venv")
    (tmp_path / "pins.txt").write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
    do(bin_ / "pip", "install", "--quiet", "-c", tmp_path / "pins.txt", f"{archives[kind]}[agent]")
    if pins:
        there = dict(line.split("==") for line in do(bin_ / "pip", "list", "--format=freeze").lower().split())
        assert {name: there[name.lower()] for name in pins} == pins
    do(bin_ / "pip", "check")
    certmedic = bin_ / "certmedic"

    assert do(certmedic, "--version").strip() == f"certmedic, version {__version__}"
    assert "refused" in do(certmedic, "explain", LINE)
    pki.authority("a-ca").write(tmp_path / "ca.crt")
    config = tmp_path / "certmedic.toml"
    config.write_text(
        f'state = "{tmp_path / "state"}"\n[watch]\njournal = false\ndocker = false\npods = false\nfiles = ["{tmp_path}/*.log"]\n'
        f'[certificates]\npaths = ["{tmp_path}/ca.crt"]\n[notify]\nwall = false\napprise = ["json://127.0.0.1:9/"]\n'
    )
    config.chmod(0o640)
    assert "good" in do(certmedic, "check-config", "--config", config)
    assert "a-ca" in do(certmedic, "certs", "--config", config)
    # The service creates its state from the installed schema and stops on SIGTERM.
    service = subprocess.Popen([certmedic, "run", "--config", config], cwd="/", stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "state" / "state.sqlite3").exists():
            assert service.poll() is None, service.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1)
        service.send_signal(signal.SIGTERM)
        assert service.wait(60) == 0, service.stderr.read()
    finally:
        service.kill()
        service.communicate()


def test_wheel_installs_without_a_compiler_and_answers_without_systemd(archives, tmp_path):
    bin_ = environment(tmp_path / "venv")
    # No program but those of the environment: neither a compiler nor pkg-config can be found.
    bare = {"PATH": str(bin_), "HOME": str(tmp_path), "CC": "/nonexistent"}
    more = {
        name: value for name, value in os.environ.items() if name.lower().endswith(("_proxy", "_index_url", "_cert"))
    }
    do(bin_ / "pip", "install", "--quiet", archives["wheel"], env=bare | more)
    assert "systemd" not in do(bin_ / "pip", "list", "--format=freeze", env=bare)
    assert "refused" in do(bin_ / "certmedic", "explain", LINE, env=bare)
    (tmp_path / "master").mkdir()
    assert "No certificate found" in do(bin_ / "certmedic", "certs", "--root", tmp_path / "master", env=bare)
