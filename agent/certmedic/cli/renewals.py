"""Who renews each certificate, and whether certmedic would act if nobody did (`check-config --explain`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from certmedic import app
from certmedic.cli import output
from certmedic.config import Config, policy_of
from certmedic.core.decision import Policy, explain, renews_by_itself
from certmedic.core.message.words import role
from certmedic.core.model import Decision, Facts, Stored
from certmedic.core.rehearse import rehearse
from certmedic.core.text import ago, minute


def tell_renewals(config: Config, now: datetime) -> None:
    """Print who renews each certificate of this machine, and whether certmedic may act once it has expired."""
    facts, policy = app.machine(config).gather(now=now), policy_of(config)
    decisions = rehearsed(facts, policy, now)
    leaves = sorted(facts.stored, key=lambda stored: stored.certificate.not_after)
    for stored in leaves:
        leaf = stored.certificate
        output.say(leaf.path, bold=True)
        output.item("  is          ", role(leaf))
        output.item("  expires     ", f"{minute(leaf.not_after)} ({ago(now - leaf.not_after)})")
        output.item("  renewed by  ", renewer(stored, facts, policy))
        output.item("  certmedic   ", would(decisions.get((leaf.path, leaf.index))))
    if not leaves:
        output.say("No certificate was read: run this on a master, as root.", colour="yellow")


def rehearsed(facts: Facts, policy: Policy, now: datetime) -> Mapping[tuple[str, int], Decision]:
    """Return the decision on each certificate at the moment of its expiry, by path and index."""
    ends = [stored.certificate.not_after for stored in facts.stored]
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
    if renews_by_itself(stored, facts, policy):
        return f"{name}, before it expires, without your help"
    return "not known" if name == "unknown" else f"{name}, not before it expires by itself"


def would(decision: Decision | None) -> str:
    """Return what certmedic would do about an expired certificate, in words."""
    if decision is None:
        return "judges it only"
    if decision.action is not None:
        return f"would act: {decision.reason}"
    blocked = decision.blocked_by
    rest = f" (and {len(blocked) - 1} more)" if len(blocked) > 1 else ""
    return (
        f"would not act. {blocked[0].name}: {explain(blocked[0])}{rest}"
        if blocked
        else f"would not act: {decision.reason}"
    )
