"""Who renews each certificate, and whether certmedic would act if nobody did (`check-config --explain`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from certmedic import app
from certmedic.cli import output
from certmedic.config import Config
from certmedic.core import remedies
from certmedic.core.decision import Policy, explain, renews_by_itself
from certmedic.core.message.words import role
from certmedic.core.model import Decision, Facts, Helps, RemedyKind, Stored
from certmedic.core.rehearse import rehearse
from certmedic.core.text import ago, count, minute

HOW = {
    RemedyKind.RESTART: "when it restarts",
    RemedyKind.REISSUE_AND_RESTART: "when it restarts and the old file is gone",
    RemedyKind.RENEW: "only on command",
}


def tell_renewals(config: Config, now: datetime) -> None:
    """Print who renews the certificates of this machine, and whether certmedic may act once they have expired.

    Certificates with the same answers are printed together, those that expire first on top.
    """
    facts, policy = app.machine(config).gather(now=now), app.policy_here(config)
    decisions = rehearsed(facts, policy, now)
    alike: dict[tuple[str, str, tuple[str, ...]], list[Stored]] = {}
    for stored in sorted((*facts.stored, *facts.memory), key=lambda stored: stored.certificate.not_after):
        leaf = stored.certificate
        answers = would(stored, decisions.get((leaf.path, leaf.index)))
        alike.setdefault((renewer(stored, facts, policy), *answers), []).append(stored)
    for (by, answer, gates), files in alike.items():
        output.say(count(len(files), "certificate"), bold=True)
        output.item("  renewed by  ", by)
        output.item("  if expired  ", answer)
        for gate in gates:
            output.item("    - ", gate)
        for stored in files:
            leaf = stored.certificate
            output.write(f"  {leaf.path}")
            output.item("    ", f"{role(leaf)}, {minute(leaf.not_after)} ({ago(now - leaf.not_after)})")
        output.say()
    if not alike:
        output.say("No certificate was read: run this on a master, as root.", colour="yellow")


def rehearsed(facts: Facts, policy: Policy, now: datetime) -> Mapping[tuple[str, int], Decision]:
    """Return the decision on each certificate at the moment of its expiry, by path and index."""
    ends = [known.certificate.not_after for known in (*facts.stored, *facts.memory)]
    until = max([*ends, now]) + timedelta(seconds=1)
    decisions: dict[tuple[str, int], Decision] = {}
    for moment in rehearse(facts, until, policy=policy, warn_days=()):
        for leaf in moment.diagnosis.certificates:
            if moment.decision is not None:
                decisions.setdefault((leaf.path, leaf.index), moment.decision)
    return decisions


def renewer(stored: Stored, facts: Facts, policy: Policy) -> str:
    """Return who renews a certificate, in words."""
    name = stored.place.renewer
    if stored.place.use == "ca":
        return "a person (CA)"
    if stored.place.use == "memory":
        return f"{name}, which signs a new one at its start"
    if renews_by_itself(stored, facts, policy):
        return f"{name}, before it expires, without your help"
    if name == "unknown":
        return "not known"
    remedy = remedies.for_place(stored.place, facts, residual=timedelta())  # when it has expired
    how = "perhaps when it restarts" if remedy.helps is Helps.UNKNOWN else HOW.get(remedy.kind, "only by hand")
    return f"{name}, {how}"


def would(stored: Stored, decision: Decision | None) -> tuple[str, tuple[str, ...]]:
    """Return what certmedic would do about an expired certificate, and the gates that are closed, in words."""
    if stored.place.use == "ca":
        return "certmedic reports it, and never replaces a CA", ()
    if stored.place.use == "memory":
        return f"certmedic reports it, with the command that restarts {stored.place.renewer}", ()
    if decision is None:
        return "certmedic reports it", ()
    if decision.action is not None:
        # In place, the reason names every file that has expired by then: the list below does.
        _, in_place, rest = decision.reason.partition(" in place")
        return f"certmedic would {f'renew it{in_place}{rest}' if in_place else decision.reason}", ()
    if not decision.blocked_by:
        return f"certmedic would not act: {decision.reason}", ()
    gates = tuple(f"{gate.name}: {explain(gate)}" for gate in decision.blocked_by)
    return f"certmedic would not act, since {count(len(gates), 'gate')} would block it:", gates
