"""Every snippet of packaging/rollout holds the script and the unit that were tried; the script installs nothing but the pinned bytes."""

import hashlib
import os
import subprocess

import pytest
import yaml

from labs import ROOT

ROLLOUT = ROOT / "packaging" / "rollout"
SCRIPT = (ROLLOUT / "certmedic-install").read_text()
UNIT = (ROLLOUT / "certmedic-install.service").read_text()
WITH_UNIT = ("kops", "cluster-api", "cloud-init")


def texts(value):
    """Yield every text in a value of YAML."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


@pytest.mark.parametrize("name", [*WITH_UNIT, "system-upgrade-controller"])
def test_snippet_holds_the_script_and_the_unit(name):
    inside = list(texts(list(yaml.safe_load_all((ROLLOUT / f"{name}.yaml").read_text()))))
    assert SCRIPT in inside
    assert (UNIT in inside) == (name in WITH_UNIT)


def test_hook_of_kops_has_another_name_than_the_unit_of_the_package():
    names = {hook["name"] for hook in yaml.safe_load((ROLLOUT / "kops.yaml").read_text())["hooks"]}
    assert names.isdisjoint(path.name for path in (ROOT / "systemd").iterdir())


@pytest.mark.parametrize(
    ("there", "served", "code", "installed"),
    [
        ("", b"deb", 0, True),
        ("", b"other", 1, False),
        ("", None, 37, False),
        ("installed 1", b"deb", 0, False),
        ("installed 10", b"deb", 0, True),
        ("config-files 1", b"deb", 0, True),
    ],
    ids=["pinned", "other bytes", "nothing served", "there already", "other version", "removed"],
)
def test_only_the_pinned_package_is_installed(tmp_path, there, served, code, installed):
    """Stand-ins for dpkg-query and apt-get: apt-get records its last argument's content."""
    programs, file = tmp_path / "bin", tmp_path / "served.deb"
    programs.mkdir()
    if served is not None:
        file.write_bytes(served)
    for name, body in (("dpkg-query", f"echo {there}; exit 1"), ("apt-get", f'cat "${{@: -1}}" >{tmp_path}/installed')):
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    values = {
        "REPLACE_VERSION": "1",
        "REPLACE_SHA256": hashlib.sha256(b"deb").hexdigest(),
        "REPLACE_URL": f"file://{file}",
    }
    script = SCRIPT
    for word, value in values.items():
        script = script.replace(word, value)
    (tmp_path / "script").write_text(script)
    (tmp_path / "tmp").mkdir()
    environ = {"PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run(["bash", tmp_path / "script"], env=environ, capture_output=True, check=False, timeout=60)

    assert (done.returncode, (tmp_path / "installed").exists()) == (code, installed), done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []
