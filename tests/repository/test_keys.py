"""The repository is signed; a wrong signature is refused; a key that ends within 90 days fails this test.

No key is shipped in this tree yet: the keyrings here are made by the tests. One put into packaging/keys is checked against today.
"""

import os
import shutil
import subprocess
import time

import pytest

from labs import ROOT

DAY = 86400
NOW = int(time.time())
SCRIPT = ROOT / "packaging" / "repository"
SHIPPED = sorted((ROOT / "packaging" / "keys").glob("*.gpg"))

pytestmark = pytest.mark.skipif(shutil.which("gpg") is None, reason="needs gpg")


def do(*words, check=True, **environ):
    done = subprocess.run(
        [str(word) for word in words],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0 or not check, done.stdout
    return done if not check else done.stdout


@pytest.fixture(scope="module")
def gpg(tmp_path_factory):
    """Return a folder with two keys: the first ends in 100 days, the second in 400."""
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    for name, days in (("old", 100), ("new", 400)):
        words = ["--batch", "--passphrase", "", "--quick-gen-key", f"{name} <{name}@example.org>", "rsa2048", "sign"]
        do("gpg", "--homedir", home, *words, f"{days}d")
    yield home
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


def keyring(gpg, path, *names):
    path.write_bytes(subprocess.check_output(["gpg", "--homedir", str(gpg), "--export", *names]))
    return path


@pytest.mark.parametrize(
    ("names", "days", "good"),
    [
        (("old",), 9, True),
        (("old",), 11, False),
        (("old", "new"), 11, True),
        (("old", "new"), 311, False),
        (("old",), 101, False),
    ],
)
def test_key_must_last_ninety_days(gpg, tmp_path, names, days, good):
    done = do(SCRIPT, "--ends", keyring(gpg, tmp_path / "keys.gpg", *names), NOW + days * DAY, check=False)
    assert ("the last key ends in" in done.stdout, done.returncode == 0) == (True, good)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_key_lasts_ninety_days(path):
    do(SCRIPT, "--ends", path)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt")
def test_apt_reads_the_signed_tree_and_refuses_another_signature(gpg, tmp_path):
    dist, package = tmp_path / "dist", tmp_path / "package"
    (package / "DEBIAN").mkdir(parents=True)
    dist.mkdir()
    (package / "DEBIAN/control").write_text(
        "Package: certmedic\nVersion: 9\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: a stand-in\n"
    )
    do("dpkg-deb", "--build", package, dist / "certmedic_9_all.deb")
    do(
        SCRIPT,
        "old",
        "new",
        GNUPGHOME=str(gpg),
        CERTMEDIC_DIST=str(dist),
        CERTMEDIC_REPOSITORY_URL=f"file://{dist}/repository",
    )
    tree = dist / "repository"
    wrong = keyring(gpg, tmp_path / "wrong.gpg", "new")

    def apt(name, key, *words):
        home = tmp_path / name
        for folder in ("lists/partial", "cache/archives/partial", "etc", "dpkg"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        (home / "dpkg/status").touch()
        text = (tree / "certmedic.sources").read_text()
        (home / "etc/a.sources").write_text(text.replace("/usr/share/keyrings/certmedic-archive-keyring.gpg", str(key)))
        options = {
            "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": home / "etc",
            "Dir::State::Lists": home / "lists",
            "Dir::State::Status": home / "dpkg/status",
            "Dir::Cache": home / "cache",
            "APT::Sandbox::User": "root",
        }
        return do("apt-get", *(f"-o{key}={value}" for key, value in options.items()), *words, check=False)

    assert apt("good", tree / "certmedic-archive-keyring.gpg", "update").returncode == 0
    simulated = apt(
        "good",
        tree / "certmedic-archive-keyring.gpg",
        "install",
        "--simulate",
        "certmedic",
        "certmedic-archive-keyring",
    )
    assert "Inst certmedic (9 certmedic:stable [all])" in simulated.stdout
    refused = apt("wrong", wrong, "update")
    assert (refused.returncode, "NO_PUBKEY" in refused.stdout) == (100, True)
    packages = tree / "apt/dists/stable/main/binary-amd64/Packages"
    packages.write_text(packages.read_text().replace("Version: 9", "Version: 8"))
    forged = apt("forged", tree / "certmedic-archive-keyring.gpg", "update")
    assert forged.returncode == 100, forged.stdout
