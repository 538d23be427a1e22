"""The reader's answers about files: the same as a look by this process, and never a private key."""

import json
import os
import socket
from datetime import UTC, datetime

import pytest

from certmedic.core import codec
from certmedic.core.model import Origin, Trust
from certmedic.edge.facts.machine import Machine
from certmedic.edge.facts.sight import KEPT, Direct, Remote, answer
from certmedic.edge.os.owners import Tree
from certmedic.edge.source import UnseenError
from labs.pki import kops_master

NOW = datetime.now(UTC)


class Wire:
    """Carries questions and answers as JSON, and keeps all that was said."""

    def __init__(self, sight):
        self.sight, self.carried = sight, ""

    def __call__(self, method, arguments):
        reply = json.dumps(answer(self.sight, method, json.loads(json.dumps(arguments))))
        self.carried += reply
        return json.loads(reply)


@pytest.fixture
def master(tmp_path):
    kops_master(tmp_path)
    manifest = tmp_path / "etc/kubernetes/manifests/etcd-manager-main.manifest"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text("metadata:\n  name: etcd-manager-main\n  namespace: kube-system\nimage: x/etcd-manager:3.0\n")
    return tmp_path


def globs(master):
    return [f"{master}/**/*.crt", f"{master}/**/*.pem", f"{master}/**/*.key"]


def test_machine_that_asks_the_reader_sees_what_the_reader_sees(master):
    tree = Tree(root=str(master), owner=os.geteuid())
    wire = Wire(Direct(tree=tree, live=False))
    direct = Machine(globs=globs(master), root=str(master), live=False, owner=os.geteuid())
    remote = Machine(globs=globs(master), root=str(master), live=False, owner=os.geteuid(), sight=Remote(wire))

    facts = direct.gather(now=NOW)
    assert facts.stored
    assert any(stored.key_matches for stored in facts.stored)
    assert remote.gather(now=NOW) == facts


def test_no_answer_holds_a_private_key(master):
    wire = Wire(Direct(tree=Tree(root=str(master)), live=False))
    remote = Remote(wire)
    files = remote.survey(globs(master), ()).files
    keys = [file.path for file in files if file.path.endswith(".key")] + [str(path) for path in master.rglob("*.key")]
    contents = remote.contents([*(file.path for file in files), *keys])

    assert keys
    assert all(b"PRIVATE KEY-----" not in content.data or len(content.data) < 100 for content in contents)
    lines = {line for path in master.rglob("*.key") for line in path.read_bytes().splitlines() if b"-----" not in line}
    assert not any(line in content.data for line in lines for content in contents)


def test_files_that_did_not_change_are_not_asked_for_again(master):
    wire = Wire(Direct(tree=Tree(root=str(master)), live=False))
    for path in master.rglob("*"):  # as if written long ago: a change within the same tick would not show
        os.utime(path, (1, 1))
    machine = Machine(globs=globs(master), root=str(master), live=False, sight=Remote(wire))
    first = machine.gather(now=NOW).stored
    before, wire.carried = len(wire.carried), ""
    assert machine.gather(now=NOW).stored == first
    assert len(wire.carried) <= before


CHANGES = {
    "mode": lambda crt, key: crt.chmod(0o666),
    "content": lambda crt, key: crt.write_bytes(crt.read_bytes() + b"\n"),
    "key": lambda crt, key: key.write_bytes(b"another"),
    "key removed": lambda crt, key: key.unlink(),
    "link": lambda crt, key: (crt.rename(crt.with_name("real")), crt.symlink_to("real")),
    "removed": lambda crt, key: crt.unlink(),
    "folder": lambda crt, key: crt.parent.chmod(0o777),
    "another": lambda crt, key: crt.with_name("another.crt").write_bytes(crt.read_bytes()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_survey_is_sent_again_only_after_a_change(trusted_dir, change):
    kops_master(trusted_dir)
    key = next(trusted_dir.rglob("*.key"))
    crt = key.with_suffix(".crt")
    direct = Direct()
    wire = Wire(direct)
    remote = Remote(wire)
    first = remote.survey(globs(trusted_dir), (str(crt),))
    wire.carried = ""

    assert remote.survey(globs(trusted_dir), (str(crt),)) is first
    assert len(wire.carried) < 100
    CHANGES[change](crt, key)
    assert remote.survey(globs(trusted_dir), (str(crt),)) == direct.survey(globs(trusted_dir), (str(crt),)) != first


def test_survey_is_sent_whole_by_another_reader(master):
    wire = Wire(Direct())
    remote = Remote(wire)
    first = remote.survey(globs(master), ())
    wire.sight = Direct()

    again = remote.survey(globs(master), ())
    assert again == first
    assert again is not first


def test_surveys_of_many_questions_are_not_kept(master):
    direct = Direct()
    remote = Remote(Wire(direct))
    for number in range(20):
        assert remote.survey((), (f"/{number}",)) == direct.survey((), ())
    assert len(remote._surveys) == len(direct._surveys) == KEPT


def test_methods_without_a_master_answer_with_nothing(tmp_path):
    remote = Remote(Wire(Direct(tree=Tree(root=str(tmp_path)))))
    assert not remote.pods().names
    assert remote.running().containers == ()
    assert remote.exist([str(tmp_path), f"{tmp_path}/none"]) == {str(tmp_path)}
    assert remote.named_by(Origin(path=f"{tmp_path}/none.log", trust=Trust.SYSTEM)) == ()


def test_processes_are_seen_through_the_reader_as_they_are(tmp_path):
    direct, config = Direct(), tmp_path / "config"
    remote = Remote(Wire(direct))
    config.write_text("name: a\ninitial-cluster: a=https://10.0.0.1:2380,b=https://10.0.0.2:2380\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        inode = os.fstat(server.fileno()).st_ino
        held = remote.holders([inode])
        assert os.getpid() in {seen.pid for seen in held[inode]}
        assert {inode: tuple(by) for inode, by in held.items()} == direct.holders([inode])
    assert remote.holders([]) == {}
    assert tuple(remote.details([os.getpid(), 2**22 + 1])) == direct.details([os.getpid()])
    assert {seen.pid for seen in remote.programs()} == {seen.pid for seen in direct.programs()}
    (cluster,) = remote.clusters([str(config), str(tmp_path / "none")])
    assert (cluster.name, len(cluster.members)) == ("a", 2)


def test_log_of_a_stranger_names_no_file(tmp_path):
    log = tmp_path / "x.log"
    log.write_text("embed: ClientTLS: cert = /mnt/x/server.crt, key = , trusted-ca = \n")
    direct = Direct()
    assert direct.named_by(Origin(path=str(log), trust=Trust.SYSTEM)) != ()
    assert direct.named_by(Origin(path=str(log), trust=Trust.STRANGER)) == ()


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("reboot", []), ("_answer", []), ("__init__", []), ("survey", []), ("contents", [None]), ("contents", [[1]])],
)
def test_question_that_makes_no_sense_is_refused(method, arguments):
    with pytest.raises((ValueError, KeyError, TypeError)):
        answer(Direct(), method, arguments)


@pytest.mark.parametrize(
    "reply", [None, 5, [{}], ["", None], ["x", None], ["x", {"files": 1}], ["x", {"files": [{"path": "/x"}]}]]
)
def test_survey_that_makes_no_sense_is_no_answer(reply):
    with pytest.raises(UnseenError, match="makes no sense"):
        Remote(lambda *_: reply).survey((), ())


@pytest.mark.parametrize("reply", [None, 5, [], [{}, {}], [{"data": 7}]])
def test_contents_that_make_no_sense_are_no_answer(reply):
    with pytest.raises(UnseenError, match="makes no sense"):
        Remote(lambda *_: reply).contents(["/x"])


def test_survey_is_bounded_for_files_of_strangers(tmp_path, monkeypatch):
    monkeypatch.setattr("certmedic.edge.facts.survey.MOST_OF_STRANGERS", 3)
    tmp_path.chmod(0o777)
    for number in range(9):
        (tmp_path / f"{number}.crt").touch()
    survey = Direct().survey([f"{tmp_path}/*.crt"], ())
    assert len(survey.files) == 3
    assert json.dumps(codec.plain(survey))
