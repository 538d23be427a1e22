"""A real shell runs the printed commands: nothing runs except the intended argv."""

import re
import subprocess
from dataclasses import replace
from html import unescape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certmedic.core import codec, message, remedies
from certmedic.core.command import Command, fixed, is_plain, is_plain_path, run, shell
from certmedic.core.examine import Finding
from certmedic.core.model import Cause, Confidence, Helps, MessageKind, Remedy, RemedyKind, Suspect
from certmedic.core.verdict import verdict
from labs.values import NOW, PEERS_CA, VOLUME, facts, stored

PIECES = [
    "`touch canary`", "$(touch canary)", "; touch canary", "\ntouch canary\n", "' ; touch canary '", '" ; touch canary "', "&& touch canary",
    "| touch canary", "> canary", "${IFS}", "\\", "*", "~", "ä", "\u202e", "\x00", "@everyone", "-rf", " ", "#", "!", "me.crt", "peers",
]  # fmt: skip
names = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join) | st.text(max_size=30)


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """Return a folder with a program for each name that a command may call; a program only records its argv."""
    folder = tmp_path_factory.mktemp("box")
    programs = folder / "bin"
    programs.mkdir()
    for name in ("sudo", "openssl", "certmedic", "timedatectl", "kops"):
        program = programs / name
        program.write_text('#!/bin/sh\nfor word in "$0" "$@"; do printf "%s\\n" "$word"; done >> ran\n')
        program.chmod(0o755)
    (programs / "touch").symlink_to("/usr/bin/touch")
    return folder


def ran(box, typed):
    """Run a line as a person pastes it, and return the programs that ran with their arguments."""
    record = box / "ran"
    record.unlink(missing_ok=True)
    environ = {"PATH": str(box / "bin")}
    subprocess.run(["/bin/sh", "-c", typed], cwd=box, env=environ, check=False, timeout=10, capture_output=True)
    assert not (box / "canary").exists(), typed
    assert {entry.name for entry in box.iterdir()} <= {"bin", "ran"}, typed
    return record.read_text().splitlines() if record.exists() else []


def printed(composed):
    """Return the command after "Type" in each of the three formats."""
    plain = re.search(r"^Type: (.*)$", composed.plain, re.MULTILINE)
    marked = re.search(r"^- \*Type:\* `(.*)`$", composed.markdown, re.MULTILINE)
    html = re.search(r"<p><b>Type:</b><br/><code>(.*?)</code></p>", composed.html)
    return [plain and plain[1], marked and marked[1], html and unescape(html[1])]


def of_file(cause, path):
    leaf = stored(PEERS_CA.leaf("etcd-a", not_after=NOW), path, "peer", ca_path=f"{path}/ca.crt", ports=(2380,))
    fault = Finding(stored=leaf, culprit=leaf.certificate, cause=cause, confidence=Confidence.PROVEN, evidence=path)
    return verdict([fault], facts((leaf,)))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=names, cause=st.sampled_from([Cause.EXPIRED, *remedies.MANUAL]))
def test_hostile_path_runs_nothing_in_any_message_format(box, name, cause):
    diagnosis = of_file(cause, f"/mnt/{name}")

    composed = message.compose(MessageKind.OPENED, diagnosis, incident=1, host="a", now=NOW)

    assert len(set(printed(composed))) == 1
    typed = printed(composed)[0]
    if typed is not None:
        words = ran(box, typed)
        assert all(is_plain(word) for command in diagnosis.remedy.commands for word in command.argv)
        if all(command.argv for command in diagnosis.remedy.commands):
            meant = [
                word
                for command in diagnosis.remedy.commands
                for word in (f"{box}/bin/{command.argv[0]}", *command.argv[1:])
            ]
            assert words == meant


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(whom=names, cause=st.sampled_from(list(Cause)))
def test_no_command_contains_a_name_that_the_peer_chose(box, whom, cause):
    for remedy in (
        remedies.for_peer(cause, whom),
        remedies.for_distrust(whom),
        remedies.for_unseen(whom, is_known=False),
    ):
        diagnosis = replace(of_file(Cause.EXPIRED, "/x/me.crt"), suspect=Suspect.PEER, remedy=remedy)
        composed = message.compose(MessageKind.OPENED, diagnosis, incident=1, host="a", now=NOW)
        typed = printed(composed)
        assert len(set(typed)) == 1
        assert typed[0] in (None, "sudo certmedic certs --wide", "timedatectl")


@pytest.mark.parametrize(
    "path", ["/a/b.crt", "/mnt/master-vol-01/pki/T0k_en-x/peers/me.crt", "/etc/x@y:z+1,2%=.pem".replace(",", "")]
)
def test_plain_path_is_unquoted_in_a_command(path):
    assert is_plain_path(path)
    assert shell((run("mv", path, f"{path}.expired"),)) == f"mv {path} {path}.expired"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "me.crt",
        "-rf",
        "/a b",
        "/a'b",
        "/ä",
        "/a\n",
        "/a`b",
        "/a$b",
        "/x/@everyone/y",
        "/x/http://y",
        "/x/WWW.y",
        "/x@Here",
        "/@a",
        "/a@",
        "/a@/b",
        "/a;b",
    ],
)
def test_path_with_characters_special_to_a_shell_or_chat_is_not_plain(path):
    assert not is_plain_path(path)


def test_command_is_empty_if_one_step_cannot_be_typed():
    assert shell((run("true"), run("mv", "/a b", "/c"))) == ""
    assert shell((run("mv", "", "/c"),)) == ""
    assert shell((Command(script="echo `id`"),)) == ""
    assert shell((Command(script="a\nb"),)) == ""
    assert shell((run("a"), *fixed("b $(c)"))) == "a && b $(c)"
    assert fixed("") == ()


def test_remedy_of_an_older_version_loads_without_its_command():
    old = '{"kind":"restart","helps":"yes","why":"So.","command":"sudo `id`","target":"kops/main"}'
    assert codec.load(Remedy, old) == Remedy(kind=RemedyKind.RESTART, helps=Helps.YES, why="So.", target="kops/main")
    new = Remedy(kind=RemedyKind.RESTART, helps=Helps.YES, why="So.", commands=(run("sudo", "x"),))
    assert codec.load(Remedy, codec.dump(new)) == new
    assert '"command": "sudo x"' in codec.dump(new)  # an older version reads this field


def test_path_known_only_from_a_log_line_is_in_the_text_and_in_no_command():
    remedy = remedies.for_unseen(f"{VOLUME}/peers/me.crt", is_known=False)
    assert remedy.command == ""
    assert "peers/me.crt" in remedy.why
    assert remedies.for_unseen(f"{VOLUME}/peers/me.crt", is_known=True).command == f"sudo ls -l {VOLUME}/peers/me.crt"
