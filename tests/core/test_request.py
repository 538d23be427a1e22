"""Requests to the actor: each comes back as it was sent, and whatever is odd is refused."""

from __future__ import annotations

import json

import pytest

from certmedic.core.model import Action, Container, RemedyKind
from certmedic.core.request import (
    LONGEST_PATH,
    MOST_BYTES,
    MOST_PATHS,
    MOST_REF,
    MalformedError,
    Members,
    Reissue,
    Release,
    Renew,
    Restart,
    Take,
    Undo,
    asks_for,
    cure_of,
    pack,
    parse,
    verb_of,
)
from labs.values import DAY, NOW, container, unit

ME, SERVER = "/mnt/v/peers/me.crt", "/mnt/v/clients/server.crt"
REQUESTS = [
    Restart(ref=1, runtime="docker", target="0123abcd"),
    Restart(ref=2, runtime="systemd", target="rke2-server.service"),
    Renew(ref=3, paths=(ME,)),
    Reissue(ref=MOST_REF - 1, runtime="containerd", target="k8s_x.1", paths=(ME, SERVER)),
    Undo(ref=4),
    Members(),
    Take(group="main"),
    Release(group=""),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=verb_of)
def test_request_comes_back_as_it_was_sent(request_):
    assert parse(pack(request_)) == request_


def packet(**fields):
    return json.dumps({"v": 1, **fields}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" " * (MOST_BYTES + 1),
        b"\xff\xfe",
        b"not json",
        b"[" * 10_000,
        b"[]",
        b'{"v": 1, "v": 1, "verb": "members"}',
        b'{"verb": "members"}',
        b'{"v": true, "verb": "members"}',
        b'{"v": 2, "verb": "members"}',
        packet(),
        packet(verb="run"),
        packet(verb=["members"]),
        packet(verb="members", command="id"),
        packet(verb="undo"),
        packet(verb="undo", ref=True),
        packet(verb="undo", ref=0),
        packet(verb="undo", ref=MOST_REF),
        packet(verb="undo", ref="1"),
        packet(verb="take", group="a/b"),
        packet(verb="take", group="g" * 64),
        packet(verb="take", group=None),
        packet(verb="restart", ref=1, runtime="podman", target="x"),
        packet(verb="restart", ref=1, runtime=[], target="x"),
        packet(verb="restart", ref=1, runtime="docker", target="-x"),
        packet(verb="restart", ref=1, runtime="docker", target="x;id"),
        packet(verb="restart", ref=1, runtime="docker", target=""),
        packet(verb="restart", ref=1, runtime="docker", target=7),
        packet(verb="renew", ref=1, paths=[]),
        packet(verb="renew", ref=1, paths=ME),
        packet(verb="renew", ref=1, paths=[ME, ME]),
        packet(verb="renew", ref=1, paths=[7]),
        packet(verb="renew", ref=1, paths=["mnt/x"]),
        packet(verb="renew", ref=1, paths=["//mnt/x"]),
        packet(verb="renew", ref=1, paths=["/mnt/../etc/shadow"]),
        packet(verb="renew", ref=1, paths=["/mnt/x\n"]),
        packet(verb="renew", ref=1, paths=["/"]),
        packet(verb="renew", ref=1, paths=["/" + "x" * LONGEST_PATH]),
        packet(verb="renew", ref=1, paths=[f"/{number}" for number in range(MOST_PATHS + 1)]),
    ],
)
def test_odd_request_is_refused_without_repeating_it(data):
    with pytest.raises(MalformedError) as refused:
        parse(data)
    assert "id" not in str(refused.value).split()


def action(kind=RemedyKind.RESTART, target=None, paths=(ME,)):
    return Action(kind=kind, container=target, watched=tuple((path, NOW - DAY) for path in paths))


COMMAND = Container(id="/usr/sbin/renew 'all etcd'", name="kubeadm", image="", runtime="command")


@pytest.mark.parametrize(
    ("done", "request_"),
    [
        (action(target=container()), Restart(ref=5, runtime="docker", target="c1")),
        (action(target=unit()), Restart(ref=5, runtime="systemd", target="k3s.service")),
        (action(target=COMMAND), Restart(ref=5, runtime="command", target="kubeadm")),
        (action(RemedyKind.RENEW), Renew(ref=5, paths=(ME,))),
        (
            action(RemedyKind.REISSUE_AND_RESTART, container()),
            Reissue(ref=5, runtime="docker", target="c1", paths=(ME,)),
        ),
    ],
)
def test_action_is_asked_for_by_names_alone(done, request_):
    assert cure_of(5, done) == request_
    assert asks_for(request_, done)


@pytest.mark.parametrize(
    ("request_", "decided"),
    [
        (Restart(ref=1, runtime="docker", target="c1"), action(RemedyKind.RENEW)),
        (Restart(ref=1, runtime="docker", target="c2"), action(target=container())),
        (Restart(ref=1, runtime="containerd", target="c1"), action(target=container())),
        (Restart(ref=1, runtime="command", target=COMMAND.id), action(target=COMMAND)),
        (Renew(ref=1, paths=(ME, SERVER)), action(RemedyKind.RENEW)),
        (
            Reissue(ref=1, runtime="docker", target="c1", paths=(SERVER,)),
            action(RemedyKind.REISSUE_AND_RESTART, container()),
        ),
    ],
)
def test_other_action_than_the_decided_is_not_asked_for(request_, decided):
    assert not asks_for(request_, decided)
    assert asks_for(Renew(ref=1, paths=(ME,)), action(RemedyKind.RENEW, paths=(ME, SERVER)))
