"""Journal entries of the actor: the request, its caller and its result, and the files of its action."""

from __future__ import annotations

import pytest

from certmedic.core.incident import Act, ActState
from certmedic.core.message.events import MESSAGE_IDS
from certmedic.core.message.requests import PRIORITY, request_fields
from certmedic.core.model import Action, RemedyKind
from certmedic.core.request import Members, Reissue, Release, Renew, Restart, Take, Undo
from labs.values import DAY, NOW, VOLUME, container

ME, SERVER = f"{VOLUME}/peers/me.crt", f"{VOLUME}/clients/server.crt"


def act(*watched) -> Act:
    """Return action 7: a restart of etcd-manager that renews the watched files."""
    return Act(
        id=7,
        incident=3,
        target="etcd-manager-main",
        action=Action(kind=RemedyKind.RESTART, container=container(), watched=watched),
        state=ActState.INTENT,
        boot_id="b",
        at=NOW,
        ended_at=None,
        detail="",
        undo=(),
    )


@pytest.mark.parametrize(
    ("request_", "verb", "target"),
    [
        (Restart(ref=7, runtime="systemd", target="k3s.service"), "restart", "systemd k3s.service"),
        (Reissue(ref=7, runtime="docker", target="c1", paths=(ME,)), "reissue", "docker c1"),
        (Renew(ref=7, paths=(ME, SERVER)), "renew", f"{ME} {SERVER}"),
        (Undo(ref=7), "undo", "7"),
        (Take(group="events"), "take", "events"),
        (Take(group=""), "take", "etcd"),
        (Release(group="main"), "release", "main"),
        (Members(), "members", "(none)"),
    ],
)
def test_entry_names_the_verb_and_the_target_of_a_request(request_, verb, target):
    fields = request_fields("began", request_, 998, 4711, why="the gates passed")

    assert fields["MESSAGE"] == f"{verb} began by uid 998: the gates passed"
    assert (fields["CERTMEDIC_VERB"], fields["CERTMEDIC_TARGET"]) == (verb, target)
    assert (fields["CERTMEDIC_CALLER_UID"], fields["CERTMEDIC_CALLER_PID"]) == ("998", "4711")
    assert fields["CERTMEDIC_REASON"] == "the gates passed"


@pytest.mark.parametrize(("uid", "verb", "whose"), [(0, "unknown", " by uid 0"), (None, "none", "")])
def test_entry_without_a_request_tells_a_caller_from_the_actor_itself(uid, verb, whose):
    fields = request_fields("refused", None, uid, why="it is no JSON object")

    assert fields["MESSAGE"] == f"{verb} refused{whose}: it is no JSON object"
    assert (fields["CERTMEDIC_VERB"], fields["CERTMEDIC_TARGET"]) == (verb, "(none)")
    assert fields.get("CERTMEDIC_CALLER_UID") == (None if uid is None else str(uid))
    assert "CERTMEDIC_CALLER_PID" not in fields


def test_entry_without_a_reason_says_so():
    assert request_fields("answered", Members(), 998)["CERTMEDIC_REASON"] == "(none)"


@pytest.mark.parametrize(
    ("watched", "named"),
    [
        (
            ((ME, NOW - DAY), (SERVER, NOW + DAY)),
            {"CERTMEDIC_CERTS": f"{ME} {SERVER}", "CERTMEDIC_NOT_AFTER": "2026-11-23T15:40:00+00:00"},
        ),
        ((), {}),
    ],
)
def test_entry_of_an_action_names_its_files_and_their_expiry(watched, named):
    fields = request_fields("performed", Restart(ref=7, runtime="docker", target="c1"), 998, act=act(*watched))

    assert fields["CERTMEDIC_ACT"] == "7"
    assert {name: fields[name] for name in ("CERTMEDIC_CERTS", "CERTMEDIC_NOT_AFTER") if name in fields} == named


@pytest.mark.parametrize("event", list(PRIORITY))
def test_every_event_of_the_actor_has_its_id_and_priority(event):
    fields = request_fields(event, Undo(ref=7), 0)

    assert fields["CERTMEDIC_EVENT"] == f"actor-{event}"
    assert (fields["MESSAGE_ID"], fields["PRIORITY"]) == (MESSAGE_IDS[f"actor-{event}"], PRIORITY[event])


def test_failed_and_undone_actions_stand_out_in_the_journal():
    grave = {event for event in PRIORITY if int(request_fields(event, None, None)["PRIORITY"]) <= 4}

    assert grave == {"failed", "undone", "taken-up"}
