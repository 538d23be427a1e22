"""The start of the service: `certmedic run`, without the command line's library."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from certmedic.cli import main
from labs import ROOT

# Only other commands, errors and few configurations need these; each takes 0.1 to 1 MiB of a process that stays. cryptography.x509 is
# loaded once the service is ready.
ABSENT = {
    "apprise",
    "click",
    "cryptography.x509",
    "difflib",
    "html",
    "http.client",
    "shutil",
    "sysconfig",
    "urllib.request",
    "zoneinfo",
}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "agent")}


@pytest.mark.slow
def test_service_loads_no_library_that_it_does_not_need():
    code = "import sys; before = set(sys.modules); import certmedic.__main__, certmedic.daemon; print(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )

    assert ABSENT.intersection(done.stdout.split()) == set()


@pytest.mark.slow
def test_service_and_its_command_refuse_a_wrong_configuration_alike(tmp_path):
    config = tmp_path / "certmedic.toml"
    config.write_text('mode = "remdy"\nstate = 7\n')
    config.chmod(0o644)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "certmedic", "run", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )
    command = CliRunner().invoke(main, ["run", "--config", str(config)])

    assert done.returncode == command.exit_code == 2
    assert done.stderr == command.output
    assert "did you mean remedy?" in done.stderr
