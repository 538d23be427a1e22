"""Whether this machine or a member goes down by itself at this moment, as in a rolling restart or upgrade.

A cordon or a drain is known to the API server alone, which certmedic does not ask, and an announced shutdown to its own machine alone.
It sees this machine's own shutdown, that kubeadm or nodeup runs here, that a member stopped answering a short time ago, and that
one answers again only since then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from certmedic.core import planes
from certmedic.core.decision.gates import Context, closed, opened
from certmedic.core.decision.quorum import of_group
from certmedic.core.model import Facts, Gate, GateName, Member, Trust
from certmedic.core.text import stamp

SOON = timedelta(minutes=30)  # before a shutdown of this machine, an action might not be verified
# A machine that restarts. A member that is away for longer counts by its state alone.
BACK_WITHIN = timedelta(minutes=3)
SETTLES = timedelta(minutes=1)  # a member that answers again, before it has caught up and a rolling restart goes on
_BACK = "back "  # begins the key of a member that answers again


def away(members: Sequence[Member], before: Mapping[str, datetime], now: datetime) -> Mapping[str, datetime]:
    """Return the other members that do not answer now -> since when, and those that answer again; `before`: of the last look."""
    silent = {_key(member) for member in members if member.serves is None and not member.is_self}
    answers = {_key(member) for member in members} - silent
    back = {f"{_BACK}{key}" for key in answers if key in before or f"{_BACK}{key}" in before}
    since = {key: min(before.get(key, now), now) for key in sorted(silent | back)}
    return {key: at for key, at in since.items() if key in silent or now - at < SETTLES}


def silence_of(member: Member, facts: Facts) -> timedelta:
    """Return for how long another member has not answered at any look; 0 if it answers."""
    return facts.at - min(facts.away.get(_key(member), facts.at), facts.at)


def steady(context: Context) -> Gate | None:
    """This machine is not about to go down, no other restart or renewal is under way, and no member of the group has just gone."""
    facts, name = context.facts, GateName.STEADY
    ends = facts.shutdown_at
    if ends is not None and ends - facts.at <= SOON:
        when = f"goes down {stamp(ends)}" if ends > facts.at else "is going down"
        return closed(name, f"this machine {when}", opens="wait until it is up again, or cancel the shutdown")
    for tool in (tool for tool in facts.programs if tool.name in planes.TOOLS and tool.trust is Trust.SYSTEM):
        why = f"{tool.name} runs here (process {tool.pid}) and may renew or restart the same"
        return closed(name, why, opens="wait until it ends")
    if not context.restarts:
        return None
    if other := context.history.under_way:
        why = f"certmedic restarts {other} and has not verified that yet"
        return closed(name, why, opens="wait until that is verified")
    others = {_key(member): member for member in of_group(facts.members, context.diagnosis.group)}
    gone = [(facts.away[key], member) for key, member in others.items() if key in facts.away]
    fresh = [(at, member) for at, member in gone if facts.at - at < BACK_WITHIN]
    if fresh:
        at, member = max(fresh, key=lambda item: item[0])
        why = f"{_shown(member)} does not answer since {stamp(at)}, and may be restarting"
        return closed(name, why, opens=f"wait until it answers, or until {stamp(at + BACK_WITHIN)}")
    for key, member in others.items():
        at = facts.away.get(f"{_BACK}{key}", facts.at - SETTLES)
        if facts.at - at < SETTLES:
            why = f"{_shown(member)} answers again only since {stamp(at)}"
            return closed(name, why, opens=f"wait until {stamp(at + SETTLES)}")
    return opened(name, "this machine is not going down, and no other member has just gone")


def _key(member: Member) -> str:
    return f"{member.group}/{member.name}"


def _shown(member: Member) -> str:
    return f"{member.name} ({member.address}:{member.port})"
