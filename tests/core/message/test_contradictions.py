"""No message contradicts itself: every cause, remedy, decision and kind of message, checked against rules."""

import re
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from certmedic.core import blind, message, verdict
from certmedic.core.command import run
from certmedic.core.decision import History, Policy, decide
from certmedic.core.model import (
    Action,
    Cause,
    Decision,
    Gate,
    GateName,
    Helps,
    MessageKind,
    Remedy,
    RemedyKind,
    Severity,
    Suspect,
    WaitsFor,
)
from labs import letters, pki
from labs.values import DAY, NEW_IMAGE, NOW, OLD_IMAGE, VOLUME, container, facts, k3s, member, stored

(EXPIRED,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
REMEDIES = [
    (RemedyKind.RESTART, Helps.YES),
    (RemedyKind.RENEW, Helps.NO),
    (RemedyKind.REISSUE_AND_RESTART, Helps.NO),
    (RemedyKind.MANUAL, Helps.NO),
    (RemedyKind.MANUAL, Helps.UNKNOWN),
    (RemedyKind.NONE, Helps.NO),
]
KINDS = [MessageKind.OPENED, MessageKind.REMINDER, MessageKind.ESCALATED, MessageKind.RESOLVED]


def decisions():
    """Return decisions by name: none, each gate closed alone, an approval or a turn to wait for, and each kind of action."""
    gates = {name: (Gate(name=name, passed=False, why=f"the gate {name} is shut", opens="wait"),) for name in GateName}
    watched = (("/x", NOW),)
    return {
        "none": None,
        **{f"closed {name}": Decision(reason="no action", gates=shut) for name, shut in gates.items()},
        "approval": Decision(reason="ask", gates=gates[GateName.MODE], waits_for=WaitsFor.APPROVAL),
        "turn": Decision(reason="later", gates=gates[GateName.TURN], waits_for=WaitsFor.TURN),
        "restart": Decision(
            reason="restart", action=Action(kind=RemedyKind.RESTART, container=container(), watched=watched)
        ),
        "renew": Decision(reason="renew", action=Action(kind=RemedyKind.RENEW, container=None, watched=watched)),
    }


DECISIONS = decisions()
FIXES = re.compile(r"[Rr]estart \S+ \(command below\)|A restart fixes it\.|: restart etcd-manager$", re.MULTILINE)
FIXES_NOT = re.compile(r"does (?:NOT|not) fix it")
FORBIDS = re.compile(r"(?i)do not restart")
ASKS_NOTHING = "Nothing for you to do"
# A rule, and the two texts that must not be in one message together.
NEVER_TOGETHER = {
    "a restart helps, and must not be done": (FIXES, FORBIDS),
    "a restart helps, and does not": (FIXES, FIXES_NOT),
    "a restart helps, and may not": (FIXES, re.compile(r"may not fix it")),
    "nothing to do, and something to do": (
        re.compile(ASKS_NOTHING),
        re.compile(r"(?m)^Type: |do not restart|Fix it there"),
    ),
    "certmedic acts, and does not": (
        re.compile(r"certmedic (?:restarts|renews)"),
        re.compile(r"does not act|cannot fix|does nothing more"),
    ),
    "it is over, and a person is needed": (re.compile(r"resolved"), re.compile(r"a person is needed")),
    "it is over, and asks for a fix": (re.compile(r"resolved"), re.compile(r"(?m)^Type|^Fix: ")),
}


def messages(kind, cause):
    """Return the messages of one kind about one cause, each with the values that led to it."""
    source = {"source": "journal"} if cause is Cause.BLIND else {}
    for suspect, (remedy, helps), (name, decision) in product(Suspect, REMEDIES, DECISIONS.items()):
        if suspect is not Suspect.OWN and (remedy is not RemedyKind.NONE or decision is not None):
            continue  # no fix of this machine mends another one
        if suspect is Suspect.OWN and remedy is RemedyKind.NONE:
            continue
        diagnosis = replace(
            EXPIRED,
            cause=cause,
            suspect=suspect,
            remedy=Remedy(kind=remedy, helps=helps, why="So it is.", commands=(run("true"),)),
            **source,
        )
        more = {"outcome": "It is so.", "opened_at": NOW - DAY, "decision": decision}
        for failed in (False, True) if kind is MessageKind.RESOLVED else (False,):
            written = message.compose(kind, diagnosis, incident=1, host="a", now=NOW, failed=failed, **more)
            yield (suspect, remedy, helps, name, failed), decision, written


def check(text, values):
    for rule, (one_text, other_text) in NEVER_TOGETHER.items():
        assert not (one_text.search(text) and other_text.search(text)), (rule, values, text)


@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize("kind", KINDS)
def test_no_message_contradicts_itself(kind, cause):
    for values, decision, written in messages(kind, cause):
        text = f"{written.title}\n{written.plain}"
        check(text, values)
        acts = decision is not None and (decision.action is not None or decision.waits_for is WaitsFor.TURN)
        if ASKS_NOTHING in text:
            assert acts, (values, text)
            assert written.severity is not Severity.CRITICAL, (values, text)


@pytest.mark.parametrize("gate", GateName)
def test_no_pair_of_closed_gates_leads_to_a_contradiction(gate):
    first = DECISIONS[f"closed {gate}"].gates
    for other, (remedy, helps) in product(set(GateName) - {gate}, REMEDIES):
        decision = Decision(reason="no action", gates=(*first, *DECISIONS[f"closed {other}"].gates))
        diagnosis = replace(EXPIRED, remedy=Remedy(kind=remedy, helps=helps, why="So it is.", commands=(run("true"),)))
        written = message.compose(MessageKind.OPENED, diagnosis, incident=1, host="a", now=NOW, decision=decision)
        check(f"{written.title}\n{written.plain}", (other, remedy))


IMAGES = {
    "before 3.0.20200428": OLD_IMAGE,
    "3.0.20200428": "kopeio/etcd-manager:3.0.20200428",
    "after": NEW_IMAGE,
    "no date": "etcd-manager:latest",
}
MODES = ("observe", "notify", "approve", "remedy")


@pytest.mark.parametrize("version", [*IMAGES, "no container"])
@pytest.mark.parametrize("mode", MODES)
def test_no_version_and_mode_lead_to_a_contradiction(version, mode):
    """The real remedies and gates of each plane, with every version of the renewer."""
    around = (container(image=IMAGES[version]),) if version in IMAGES else ()
    ca = stored(
        pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=NOW - DAY),
        f"{VOLUME}/peers/ca.crt",
        "ca",
    )
    machines = {
        "expired": member(peer_ends=NOW - DAY, server_ends=NOW - DAY),
        "expires soon": member(peer_ends=NOW + DAY),
        "the CA": (*member()[2:], ca),
        "kubeadm": letters.of_kubeadm(ends=NOW - DAY),
        "k3s": k3s(NOW - DAY),
    }
    policy = Policy(mode=mode, restart=("etcd-manager", "k3s"), cooldown=timedelta(), per_day=2)
    for name, files in machines.items():
        here = facts(files, containers=around)
        diagnoses = verdict.survey(here, warn_within=timedelta(days=15))
        for diagnosis, kind in product(diagnoses, KINDS):
            decision = decide(diagnosis, here, History(started_at=NOW - DAY), policy)
            more = {"outcome": "It is so.", "opened_at": NOW - DAY, "decision": decision}
            written = message.compose(kind, diagnosis, incident=1, host="a", now=NOW, **more)
            check(f"{written.title}\n{written.plain}", (name, kind))


@pytest.mark.parametrize("gate", [GateName.MEMBERS, GateName.SAFE, GateName.TURN])
def test_restart_that_could_cost_the_quorum_is_offered_for_later_only(gate):
    written = message.compose(
        MessageKind.OPENED, EXPIRED, incident=1, host="a", now=NOW, decision=DECISIONS[f"closed {gate}"]
    )
    assert "do NOT restart it now" in written.title
    assert "\nType later, not now: " in written.plain


def test_end_of_a_blind_source_asks_nothing():
    diagnosis = blind.diagnose("journal", "no", NOW - DAY)
    text = message.compose(MessageKind.RESOLVED, diagnosis, incident=1, host="a", now=NOW, outcome="It reads.").plain
    assert "Type" not in text
