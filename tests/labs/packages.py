"""The packages of this tree: building them, and preparing a machine for them."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from certmedic import __version__
from labs import ROOT
from labs.command import do
from labs.machine import Machine

PACKAGING = ROOT / "packaging"
# Packages that the tests need in a machine beside the dependencies of the package.
LAB = ("docker.io", "iptables", "etcd-server", "man-db", "bash-completion", "zsh", "libpam-systemd")
# Debian 11 as a master of an old kops: Docker, etcd, what the stand-in of etcd-manager needs, curl, and what Ansible needs.
OLD_MASTER = (
    *(
        "libpam-systemd",
        "python3-cryptography",
        "python3-apt",
        "docker.io",
        "iptables",
        "etcd-server",
        "openssl",
        "curl",
    ),
)


def tree(place: Path, version: str = __version__) -> Path:
    """Copy the contents of the packages to a folder, optionally as another version."""
    for part in ("agent", "packaging", "systemd", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"):
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, place / part)
    (place / ".github").mkdir()
    shutil.copy(ROOT / ".github" / "SECURITY.md", place / ".github")
    init = place / "agent" / "certmedic" / "__init__.py"
    init.write_text(init.read_text().replace(f'"{__version__}"', f'"{version}"'))
    return place


def build(place: Path, out: Path, **environment: str) -> Path:
    """Build the packages of a tree into a folder."""
    do(place / "packaging" / "build", out, env={**os.environ, "SOURCE_DATE_EPOCH": "1780000000", **environment})
    return out


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that `make` fills once, even for several workers of this run."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            making = place.with_suffix(".making")
            making.mkdir()
            make(making)
            making.rename(place)
    return place


def all_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the packages of this tree, the self-contained ones too, or the one that CERTMEDIC_DIST names."""
    if "CERTMEDIC_DIST" in os.environ:
        return Path(os.environ["CERTMEDIC_DIST"])

    def make(out: Path) -> None:
        source = tree(tmp_path_factory.mktemp("source"))
        build(source, out)
        build_full(source, out)

    return once(tmp_path_factory, "dist-full", make)


def build_full(place: Path, out: Path) -> None:
    """Build the self-contained packages of a tree into a folder; the first time for a quarter of an hour."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1780000000"}
    subprocess.run([place / "packaging" / "full" / "build", out], check=True, env=environment, stdin=subprocess.DEVNULL)


def depends() -> dict[str, str]:
    """Return {package: lowest version} of the dependencies of the deb."""
    text = (PACKAGING / "debian" / "control").read_text()
    listed, _ = re.findall(r"^Depends: (.*)$", text, re.MULTILINE)  # of certmedic, and of certmedic-actor
    return dict(re.findall(r"([a-z0-9][\w.+-]+) \(>= ([\w.~]+)\)", listed))


def wanted(release: str) -> tuple[str, ...]:
    """Return the packages that a machine must have before the installation: apt has no network there."""
    return (
        *depends(),
        *LAB,
        *(["docker-cli"] if release != "bookworm" else []),
    )  # Debian 13 packages the client separately


def property_of(machine: Machine, name: str) -> str:
    """Return a property of the unit on a machine."""
    return machine("systemctl", "show", "--value", "--property", name, "certmedic").strip()


def install(machine: Machine, *packages: Path) -> None:
    """Install debs on a machine, with apt."""
    for package in packages:
        machine.put(package, f"/root/{package.name}")
    machine("apt-get", "install", "-y", *(f"/root/{package.name}" for package in packages), timeout=180)


def actor_of(deb: Path) -> Path:
    """Return the deb of the actor that was built with the deb of the agent."""
    return deb.with_name(deb.name.replace("certmedic_", "certmedic-actor_"))
