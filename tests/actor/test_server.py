"""The actor's socket, in the real process: who may ask, and what becomes of hostile requests on a healthy master."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from certmedic.core import codec
from certmedic.core.model import Action, RemedyKind
from certmedic.core.request import Members, Reply, Undo, pack
from certmedic.edge.actor import ABSENT, ActorClient
from labs import AGENT
from labs.activation import ACTOR, activated, actor_beside
from labs.pki import kops_master
from labs.requests import at_random, by_hand
from labs.trusted import trusted_folder
from labs.values import NOW, container
from labs.waiting import until

RANDOM = int(os.environ.get("CERTMEDIC_HOSTILE", "300"))  # ./dev fuzz asks for more
SEED = 13
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: asks as another user")


@pytest.fixture
def folder():
    """Return a folder of root's with a healthy master and a configuration that allows everything."""
    with trusted_folder() as made:
        root = kops_master(made / "master")
        globs = [f"{root}/mnt/*/pki/*/*/*.crt", f"{root}/etc/kubernetes/pki/*/*.crt"]
        (made / "certmedic.toml").write_text(
            'mode = "remedy"\n[certificates]\nplanes = []\n'
            f"paths = {json.dumps(globs)}\n[remedy]\nrenew = true\nreissue = true\nper_day = 100\n"
        )
        (made / "certmedic.toml").chmod(0o640)
        yield made


@pytest.fixture
def actor(folder):
    """Return the real actor on a healthy master."""
    lab = actor_beside(folder / "certmedic.toml", environment={"DOCKER_HOST": "unix:///nonexistent.sock"})
    yield lab
    lab.close()


def ask(path, data):
    """Send a packet; return the reply."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        if data:
            connection.sendall(data)
        else:
            connection.shutdown(socket.SHUT_WR)
        return codec.load(Reply, connection.recv(65536).decode())


def entries(folder):
    log = folder / "actor.log"
    return log.read_text().splitlines() if log.exists() else []


def state_of(folder):
    """Return every file of the master with its content."""
    return {path: path.read_bytes() for path in (folder / "master").rglob("*") if path.is_file()}


def test_there_are_two_hundred_requests_by_hand():
    assert len({*by_hand()}) >= 200


@pytest.mark.slow
def test_every_hostile_request_is_refused_with_an_entry_and_changes_nothing(actor, folder):
    before = state_of(folder)
    requests = [*by_hand(), *at_random(RANDOM, SEED)]

    replies = [ask(actor.path, data) for data in requests]

    assert {reply.result for reply in replies} == {"refused"}
    refused = [line for line in entries(folder) if " refused by uid " in line]
    assert len(refused) == len(requests) == len(entries(folder))
    assert not (folder / "actor/record.json").exists() or '"acts": []' in (folder / "actor/record.json").read_text()
    assert state_of(folder) == before
    assert actor.starts == 1


AS_NOBODY = """
import socket, sys
for data in sys.stdin.buffer.read().split(b"\\0\\0--\\0"):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(sys.argv[1])
        try:
            connection.sendall(data or b"x")
            print(connection.recv(65536).decode())
        except OSError:
            print('{"result": "refused"}')  # the actor hung up before it read anything
"""


@needs_root
@pytest.mark.slow
def test_another_user_is_refused_whatever_it_asks(actor, folder):
    folder.chmod(0o755)
    before = state_of(folder)
    requests = [pack(Members()), pack(Undo(ref=1)), *by_hand()]

    done = subprocess.run(
        [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            sys.executable,
            "-c",
            AS_NOBODY,
            str(actor.path),
        ],
        input=b"\0\0--\0".join(requests),
        capture_output=True,
        check=True,
        timeout=100,
    )

    replies = [codec.load(Reply, line) for line in done.stdout.decode().splitlines()]
    assert {reply.why for reply in replies} <= {"this user may not ask the actor", ""}
    assert {reply.result for reply in replies} == {"refused"}
    assert len([line for line in entries(folder) if "refused by uid 65534" in line]) == len(replies) == len(requests)
    assert state_of(folder) == before


@pytest.mark.slow
def test_caller_that_sends_nothing_is_dropped_and_the_next_is_served(actor, folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as mute:
        mute.connect(str(actor.path))
        assert ask(actor.path, pack(Members())).result == "answered"

    assert any("no request came in time" in line for line in entries(folder))


@pytest.mark.slow
def test_actor_with_a_wrong_configuration_does_nothing(actor, folder):
    (folder / "actor.toml").write_text("renew = 7\n")

    reply = ask(actor.path, pack(Members()))

    assert reply.result == "refused"
    assert "actor.toml: remedy.renew: found 7" in reply.why


@needs_root
@pytest.mark.slow
def test_actor_does_not_believe_a_configuration_that_others_can_write(actor, folder):
    (folder / "actor.toml").write_text("renew = true\n")
    os.chown(folder / "actor.toml", 65534, 65534)

    assert "so others could steer certmedic by it" in ask(actor.path, pack(Members())).why


def test_actor_without_its_socket_says_how_it_is_started(tmp_path):
    done = subprocess.run(
        [*ACTOR, f"--state={tmp_path}", "serve"],
        env={**os.environ, "PYTHONPATH": str(AGENT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "systemctl start certmedic-actor.socket" in done.stderr


@pytest.mark.slow
def test_actor_ends_when_nobody_asks(tmp_path):
    code = (
        "from certmedic.actor.listen import inherited\n"
        "from certmedic.actor.server import serve, allowed_users\n"
        "from certmedic.core.request import Reply\n"
        "from certmedic.edge.service import Journal\n"
        "serve(inherited(), lambda *_: Reply(result='answered'), Journal(), allowed=allowed_users(), idle=0.5)\n"
    )
    with activated(tmp_path / "s", [sys.executable, "-c", code]) as lab:
        assert ask(lab.path, pack(Members())).result == "answered"
        assert until(lambda: lab.process.poll() == 0, seconds=30) is not False
        assert ask(lab.path, pack(Members())).result == "answered"
        assert lab.starts == 2


ACTION = Action(kind=RemedyKind.RESTART, container=container(), watched=(("/x", NOW),))


def test_client_without_an_actor_refuses_at_once(tmp_path):
    client = ActorClient(str(tmp_path / "none"))

    began = time.monotonic()
    assert client.cure(1, ACTION) == Reply(result="refused", why=ABSENT)
    assert client.members() == {}
    assert client.take("main").state == "none"
    assert time.monotonic() - began < 1


@pytest.mark.slow
def test_client_asks_again_if_the_actor_is_killed_and_says_when_no_reply_came(tmp_path):
    dies = "import os, socket; s = socket.socket(fileno=3).accept()[0]; s.recv(99999); os.kill(os.getpid(), 9)"
    with activated(tmp_path / "s", [sys.executable, "-c", dies]) as lab:
        reply = ActorClient(str(lab.path), cure=4).cure(1, ACTION)

    assert reply.result == "late"
    assert lab.starts > 1
