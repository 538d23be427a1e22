"""The start of the service: `certmedic run`, without the command line's library."""

import os
import subprocess
import sys
from itertools import chain, repeat

import pytest
from click.testing import CliRunner

from certmedic import daemon
from certmedic.cli import main
from certmedic.core.model import Progress
from certmedic.edge.inbox import Inbox
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


class Waits(Inbox):
    """An inbox that notes how long it is waited for, and waits for nothing."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def drain(self, timeout):
        self.waits.append(timeout)
        return super().drain(0.0)


@pytest.mark.parametrize(
    ("seconds", "pause", "waits"),
    [
        (10.0, 60.0, [2.0] * 5),
        (10.0, 3.0, [2.0, 1.0]),
        (3.5, 60.0, [2.0, 1.5]),
        (2.0, 60.0, [2.0]),
        (0.2, 60.0, [0.2]),
        (0.0, 60.0, [0.0]),
        (10.0, float("inf"), [2.0] * 5),
    ],
)
def test_service_waits_for_items_by_steps_of_two_seconds(seconds, pause, waits):
    inbox = Waits()
    assert daemon.taker(inbox, lambda: pause, lambda: None)(seconds) == []
    assert inbox.waits == waits


def test_service_waits_no_longer_once_a_stop_is_wanted_or_the_state_is_written():
    inbox, signs = Waits(), chain([1, 1, 1, 2, 3], repeat(3))
    take = daemon.taker(inbox, lambda: 60.0, lambda: next(signs))
    take(10.0)
    assert inbox.waits == [2.0] * 3
    take(10.0)  # the sign changed again since
    assert inbox.waits == [2.0] * 4
    take(10.0)
    assert inbox.waits == [2.0] * 9


def test_service_waits_no_longer_once_items_come():
    inbox = Waits()
    inbox.put(Progress(stream="a", position="1"))
    take = daemon.taker(inbox, lambda: 60.0, lambda: None)
    assert take(10.0) == [Progress(stream="a", position="1")]
    assert inbox.waits == [2.0]
