"""Lessons of an incident, by cause and plane."""

from dataclasses import replace

import pytest

from certmedic.core.model import Cause, Decision, Gate, Helps, Remedy, RemedyKind, Suspect
from certmedic.core.planes.lookup import PLANES
from certmedic.core.postmortem import lessons
from certmedic.core.postmortem.prevention import AHEAD, CAUSES, CHANNELS, EARLIER, MODE, NOBODY
from labs.exposed import incident


def learned(cause=Cause.EXPIRED, kind=RemedyKind.RESTART, *, closed=(), undelivered=0, decided=True, **more):
    diagnosis = replace(incident(cause=cause).diagnosis, remedy=Remedy(kind=kind, helps=Helps.YES, why=""), **more)
    gates = (Gate(name="fresh", passed=True, why=""), *(Gate(name=name, passed=False, why="") for name in closed))
    return lessons(diagnosis, Decision(reason="", gates=gates) if decided else None, undelivered=undelivered)


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause not in (Cause.EXPIRED, Cause.EXPIRES_SOON)])
def test_each_cause_has_a_lesson(cause):
    assert learned(cause)[: len(CAUSES[cause])] == CAUSES[cause]


@pytest.mark.parametrize("plane", [*PLANES, ""])
@pytest.mark.parametrize("kind", list(RemedyKind))
def test_expired_certificate_has_a_lesson_on_its_renewer(plane, kind):
    first, *rest = learned(plane=plane, kind=kind)
    assert first == NOBODY[0] if plane in ("etcd", "") else first != NOBODY[0]
    assert "{" not in first
    assert EARLIER in rest
    assert (AHEAD in rest) == (kind is not RemedyKind.MANUAL)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (RemedyKind.RESTART, "only when it starts"),
        (RemedyKind.REISSUE_AND_RESTART, "3.0.20200428 or later"),
        (RemedyKind.MANUAL, "nodeup issues"),
    ],
)
def test_lesson_on_kops_depends_on_what_cured_it(kind, text):
    assert text in learned(kind=kind)[0]


def test_lesson_on_rancher_names_the_program():
    assert learned(plane="rke2")[0].startswith("rke2 renews only when it starts")


@pytest.mark.parametrize(("peers", "whom"), [(("10.0.0.2",), "10.0.0.2"), ((), "the other machine")])
def test_fault_of_a_peer_is_prevented_there(peers, whom):
    first, *rest = learned(suspect=Suspect.PEER, neighbours=peers)
    assert whom in first
    assert rest == [EARLIER]


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({"closed": ("mode",)}, True),
        ({"closed": ("mode", "members")}, False),
        ({"closed": ("members",)}, False),
        ({"closed": ()}, False),
        ({"decided": False}, False),
    ],
)
def test_mode_is_named_if_it_alone_forbade_the_action(more, shown):
    assert (MODE in learned(**more)) == shown


@pytest.mark.parametrize("undelivered", [0, 1])
def test_undelivered_messages_are_a_lesson(undelivered):
    assert (CHANNELS in learned(undelivered=undelivered)) == bool(undelivered)


def test_sentences_have_at_most_twenty_words():
    every = {
        text for kind in RemedyKind for plane in PLANES for cause in Cause for text in learned(cause, kind, plane=plane)
    }
    sentences = [sentence for text in every for sentence in text.split(". ")]
    assert [sentence for sentence in sentences if len(sentence.split()) > 20] == []
