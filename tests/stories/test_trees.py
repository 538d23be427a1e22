"""The signed trees of `./dev repository`, used by the real apt and dnf: they install what was signed and refuse everything else.

`./dev full` runs these. A stand-in rpm provides what the requirements of certmedic's rpm name: the root file system is a Debian.
"""

import os
import shutil
import subprocess

import pytest

from certmedic import __version__
from labs import ROOT
from labs import machine as machines
from labs.command import do
from labs.packages import all_packages, wanted

pytestmark = [
    pytest.mark.real,
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts and changed roots"),
]
KEYS = ("ours", "other")


@pytest.fixture(scope="module")
def gpg(tmp_path_factory):
    """Return a folder with two keys."""
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    for name in KEYS:
        words = [
            "--batch",
            "--passphrase",
            "",
            "--quick-gen-key",
            f"{name} <{name}@example.org>",
            "rsa2048",
            "sign",
            "1y",
        ]
        do("gpg", "--homedir", home, *words)
    yield home
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    dist = all_packages(tmp_path_factory)
    return [*dist.glob("certmedic*.deb"), *dist.glob("certmedic*.rpm")]


@pytest.fixture(scope="module")
def trees(gpg, packages, tmp_path_factory):
    """Return {key: tree that it signed}."""
    made = {}
    for name in KEYS:
        dist = tmp_path_factory.mktemp(name)
        for package in packages:
            shutil.copy(package, dist)
        given = {
            "GNUPGHOME": str(gpg),
            "CERTMEDIC_DIST": str(dist),
            "CERTMEDIC_REPOSITORY_URL": f"file://{dist}/repository",
        }
        do(ROOT / "packaging" / "repository", name, env={**os.environ, **given})
        made[name] = dist / "repository"
    return made


@pytest.fixture
def root(tmp_path):
    """Return a Debian 12: a new layer over the cached one, in which the trees are at their paths."""
    lower = machines.root_file_system("bookworm", wanted("bookworm"))
    for name in ("upper", "work", "root"):
        (tmp_path / name).mkdir()
    place = tmp_path / "root"
    layers = f"lowerdir={lower},upperdir={tmp_path / 'upper'},workdir={tmp_path / 'work'}"
    do("mount", "-t", "overlay", "overlay", "-o", layers, place)
    yield place
    do("umount", "-l", place)


def refused(*command, why):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode != 0, done.stdout
    assert why in done.stdout + done.stderr, done.stdout + done.stderr


def test_apt_installs_what_was_signed_and_nothing_else(trees, root):
    for tree in trees.values():
        (root / str(tree)[1:]).parent.mkdir(parents=True)
        shutil.copytree(tree, root / str(tree)[1:])
    apt = ("chroot", root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get")
    for file in (root / "etc/apt").glob("sources.list*/*"):
        file.unlink()
    (root / "etc/apt/sources.list").write_text("")
    source, keyring = root / "etc/apt/sources.list.d/certmedic.sources", root / "usr/share/keyrings"
    keyring.mkdir(parents=True, exist_ok=True)
    shutil.copy(trees["ours"] / "certmedic-archive-keyring.gpg", keyring)
    shutil.copy(trees["other"] / "certmedic.sources", source)
    refused(*apt, "update", "-o", "APT::Update::Error-Mode=any", why="NO_PUBKEY")
    shutil.copy(trees["ours"] / "certmedic.sources", source)
    do(*apt, "update")
    do(*apt, "install", "-y", "certmedic-full", "certmedic-archive-keyring")
    assert do("chroot", root, "certmedic", "--version").strip() == f"certmedic, version {__version__}"
    do(*apt, "install", "-y", "certmedic")
    assert (root / "usr/bin/certmedic").read_text().startswith("#!/usr/bin/python3 ")
    # A package that was changed after the tree was signed.
    package = next((root / str(trees["ours"])[1:]).glob("apt/pool/certmedic-full_*.deb"))
    data = bytearray(package.read_bytes())
    data[-1] ^= 1
    package.write_bytes(data)
    do(*apt, "clean")
    refused(*apt, "install", "-y", "certmedic-full", why="Hash Sum mismatch")


STAND_IN = """
Name: stand-in
Version: 1
Release: 1
Summary: Names that a Fedora provides
License: none
BuildArch: noarch
{provides}
%description
It is empty.
%files
"""


def stand_in(place, packages):
    """Make a repository with a package that provides whatever certmedic's rpms require of a machine."""
    wants = set()
    for package in (each for each in packages if each.suffix == ".rpm"):
        for line in do("rpm", "-qp", "--nosignature", "--requires", package).splitlines():
            if not line.startswith(("rpmlib(", "certmedic", "config(")):
                wants.add(line.strip().replace(" >= ", " = "))
    provides = "".join(f"Provides: {want}\n" for want in sorted(wants))
    place.mkdir()
    (place / "stand-in.spec").write_text(STAND_IN.format(provides=provides))
    do(
        "rpmbuild",
        "-bb",
        "--quiet",
        "--define",
        f"_topdir {place}/work",
        "--define",
        f"_rpmdir {place}",
        place / "stand-in.spec",
    )
    do("createrepo_c", "--quiet", place)


def test_dnf_installs_what_was_signed_and_nothing_else(trees, packages, root, tmp_path):
    stand_in(tmp_path / "machine", packages)
    repositories = tmp_path / "repositories"
    repositories.mkdir()
    shutil.copy(trees["ours"] / "dnf/RPM-GPG-KEY-certmedic", tmp_path)
    (repositories / "machine.repo").write_text(
        f"[machine]\nname=machine\nbaseurl=file://{tmp_path}/machine\ngpgcheck=0\n"
    )
    (tmp_path / "dnf.conf").write_text("[main]\n")

    def use(name, *replaced):
        text = (trees[name] / "certmedic.repo").read_text()
        for old, new in (("/etc/pki/rpm-gpg/RPM-GPG-KEY-certmedic", f"{tmp_path}/RPM-GPG-KEY-certmedic"), *replaced):
            assert old in text
            text = text.replace(old, new)
        (repositories / "certmedic.repo").write_text(text)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)

    dnf = (
        *("dnf", "-y", "--config", tmp_path / "dnf.conf", "--installroot", root, "--releasever=9"),
        *(f"--setopt=reposdir={repositories}", f"--setopt=cachedir={tmp_path}/cache", f"--setopt=logdir={tmp_path}"),
    )
    use("other")
    refused(*dnf, "install", "certmedic", why="GPG")  # repomd.xml
    use("other", ("repo_gpgcheck=1", "repo_gpgcheck=0"))
    refused(*dnf, "install", "certmedic", why="GPG")  # the packages
    assert not (root / "usr/bin/certmedic").exists()
    use("ours")
    print(do(*dnf, "install", "certmedic"))  # noqa: T201 - worth seeing
    assert do("chroot", root, "certmedic", "--version").strip() == f"certmedic, version {__version__}"
    (root / "etc/certmedic/certmedic.toml").write_text("# mine\n")
    print(do(*dnf, "swap", "certmedic", "certmedic-full"))  # noqa: T201
    assert (root / "usr/bin/certmedic").read_text().startswith("#!/usr/lib/certmedic/bin/python ")
    assert do("chroot", root, "certmedic", "--version").strip() == f"certmedic, version {__version__}"
    assert (root / "etc/certmedic/certmedic.toml").read_text() == "# mine\n"
    print(do(*dnf, "swap", "certmedic-full", "certmedic"))  # noqa: T201
    assert (root / "usr/bin/certmedic").read_text().startswith("#!/usr/bin/python3 ")
    assert (root / "etc/certmedic/certmedic.toml").read_text() == "# mine\n"
    do(*dnf, "remove", "certmedic")
    assert not (root / "usr/share/certmedic").exists()
