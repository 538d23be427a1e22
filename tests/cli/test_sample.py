"""`certmedic test-notify --sample CAUSE` sends the message of a real incident, marked as a test."""

import re

import pytest
from click.testing import CliRunner

from certmedic.cli import main
from certmedic.core.message.sample import CAUSES
from certmedic.core.model import Cause

IN_TITLE = {
    Cause.EXPIRED: "etcd main: certificate expired: restart etcd-manager",
    Cause.CA_EXPIRED: "etcd main: CA certificate expired: renew the CA (a restart does NOT fix it)",
    Cause.NOT_YET_VALID: "etcd main: certificate not valid yet: ",
    Cause.CLOCK: "etcd main: clock is wrong: ",
    Cause.NAME_MISMATCH: "etcd main: certificate lacks a name: ",
    Cause.UNKNOWN_AUTHORITY: "etcd main: certificate from an untrusted CA: ",
    Cause.KEY_MISMATCH: "etcd main: certificate and key do not match: ",
    Cause.USAGE: "etcd main: certificate issued for another use: ",
    Cause.REVOKED: "10.0.0.12: certificate revoked: fix it there, not here",
    Cause.CRL_EXPIRED: "etcd main: list of revoked certificates (CRL) expired: install a new list",
    Cause.STALE_IN_MEMORY: "etcd main: old certificate still in memory: restart etcd-manager",
    Cause.EXPIRES_SOON: "etcd main: certificate expires in 7 days: plan a restart",
    Cause.UNEXPLAINED: "etcd main: TLS failure, not explained: ",
    Cause.BLIND: "the journal cannot be read: find out why",
}
WARNINGS = (Cause.REVOKED, Cause.EXPIRES_SOON, Cause.UNEXPLAINED, Cause.BLIND)


@pytest.fixture
def send(tmp_path, hook, other_hook, monkeypatch):
    """Run `test-notify` with a channel for critical messages (`hook`) and a channel for warnings (`other_hook`)."""
    monkeypatch.setattr("socket.gethostname", lambda: "master-a")
    apprise, config = tmp_path / "apprise.conf", tmp_path / "certmedic.toml"
    apprise.write_text(f"oncall=json://127.0.0.1:{hook.port}/\nteam=json://127.0.0.1:{other_hook.port}/\n")

    def _send(*words, mode="notify", route="[]"):
        config.write_text(f'mode = "{mode}"\n[notify]\napprise = ["{apprise}"]\nroute = {route}\n')
        config.chmod(0o640)
        return CliRunner().invoke(main, ["test-notify", "--config", str(config), *words])

    return _send


@pytest.mark.parametrize("cause", CAUSES)
def test_sample_is_marked_as_a_test_and_sent_to_the_channel_of_its_severity(cause, send, hook, other_hook):
    done = send("--sample", str(cause))

    assert done.exit_code == 0, done.output
    there, elsewhere = (other_hook, hook) if cause in WARNINGS else (hook, other_hook)
    assert not elsewhere.requests
    (message,) = there.messages
    mark = "[TEST] Nothing is wrong: master-a: "
    assert message["title"].startswith(mark + IN_TITLE[cause])
    assert message["message"].replace("`", "").startswith(mark)
    assert message["type"] == ("warning" if cause in WARNINGS else "failure")
    assert message["message"].endswith("sudo certmedic show 0")  # no real incident


def test_sample_shows_certificate_and_mode_of_a_kops_master(send, hook, other_hook):
    send("--sample", "expired")
    send("--sample", "expired", mode="remedy")

    (watching,), (acting,) = hook.messages, other_hook.messages  # certmedic fixes the second by itself: a warning
    assert re.search(r"/mnt/master-vol-\w+/pki/etcd-cluster-token-etcd/peers/me\.crt", watching["message"])
    assert 'certmedic: does not act: mode is "notify" (to pass: set mode = "remedy").' in watching["message"]
    assert acting["title"].endswith("certmedic restarts etcd-manager")


def test_sample_takes_the_route_of_its_cause(send, hook, other_hook):
    send("--sample", "expired", route='[{ cause = "expired", tag = "team" }]')

    assert (len(hook.requests), len(other_hook.requests)) == (0, 1)


@pytest.mark.parametrize("word", ["expird", "distrusted", "missing_client_cert", ""])
def test_unknown_cause_is_refused_with_a_list_of_all_causes(word, send, hook):
    done = send("--sample", word)

    assert done.exit_code == 2
    assert "'--sample'" in done.output
    assert f"found {word!r}; allowed: {', '.join(CAUSES)}" in done.output
    assert done.output.rstrip().endswith("; did you mean expired?") is (word == "expird")
    assert not hook.requests


@pytest.mark.parametrize("words", [("--tag", "team"), ("--severity", "info")])
def test_sample_with_a_choice_of_channels_is_refused(words, send, hook):
    done = send("--sample", "expired", *words)

    assert done.exit_code == 2
    assert "leave out --severity and --tag" in done.output
    assert not hook.requests


def test_every_cause_that_is_announced_has_a_sample():
    assert set(Cause) - set(CAUSES) == {Cause.MISSING_CLIENT_CERT, Cause.DISTRUSTED}
