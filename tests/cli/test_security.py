"""`certmedic status --security` prints the protections that the running systemd does not know."""

import json

import pytest

from certmedic.edge.facts import units
from certmedic.edge.os.run import RunError
from labs import commandline

AGENT = ("[Service]\nProtectClock=yes\nPrivateIPC=yes\n", {"ProtectClock": "yes"})
ACTOR = ("[Service]\nProtectClock=yes\n", {"ProtectClock": "yes"})


@pytest.fixture
def systemd_247(monkeypatch):
    """systemd's answers on Debian 11; the real ones come from whole machines."""
    installed = {"certmedic.service": AGENT, "certmedic-actor.service": ACTOR}
    monkeypatch.setattr(units, "version", lambda: "247.3-7")
    monkeypatch.setattr(units, "text_and_properties", installed.get)


def test_status_security_prints_what_this_systemd_ignores(lab, systemd_247):
    done = commandline.run(lab(), "status", "--security")

    assert done.output.splitlines() == [
        "systemd      247.3-7",
        "certmedic.service: systemd does not know 1 of 2 protections.",
        "  PrivateIPC= needs systemd 248; without it the process shares IPC objects with other programs",
        "certmedic-actor.service: systemd knows all 1 protection.",
    ]


def test_status_security_as_json_has_the_version_and_each_unit(lab, systemd_247):
    answer = json.loads(commandline.run(lab(), "status", "--security", "--json").stdout)

    assert answer["systemd"] == "247.3-7"
    assert [loss["directive"] for loss in answer["units"]["certmedic.service"]] == ["PrivateIPC="]
    assert answer["units"]["certmedic-actor.service"] == []


def test_status_security_fails_if_systemd_does_not_answer(lab, monkeypatch):
    def fail():
        raise RunError("systemctl cannot be run")

    monkeypatch.setattr(units, "version", fail)
    done = commandline.run(lab(), "status", "--security")

    assert (done.exit_code, "systemctl cannot be run" in done.output) == (1, True)


def test_status_security_says_that_no_unit_is_installed(lab, monkeypatch):
    monkeypatch.setattr(units, "version", lambda: "252")
    monkeypatch.setattr(units, "text_and_properties", lambda name: None)

    assert "No unit of certmedic is installed.\n" in commandline.run(lab(), "status", "--security").output
