"""Whether this machine or a member goes down by itself at this moment, as in a rolling restart or upgrade.

A cordon or a drain is known to the API server alone, which certmedic does not ask. It sees this machine's own shutdown, and
that a member stopped answering a short time ago.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from certmedic.core.decision.gates import Context, closed, opened
from certmedic.core.decision.quorum import of_group
from certmedic.core.model import Gate, GateName, Member
from certmedic.core.text import stamp

SOON = timedelta(minutes=30)  # before a shutdown of this machine, an action might not be verified
BACK_WITHIN = timedelta(
    minutes=3
)  # a machine that restarts; a member that is away for longer counts by its state alone


def away(members: Sequence[Member], before: Mapping[str, datetime], now: datetime) -> Mapping[str, datetime]:
    """Return the other members that do not answer now -> since when; `before` is the result of the last look."""
    silent = [_key(member) for member in members if member.serves is None and not member.is_self]
    return {key: min(before.get(key, now), now) for key in silent}


def steady(context: Context) -> Gate | None:
    """This machine is not about to go down, no other restart of certmedic is under way, and no member of the group has just gone."""
    facts, name = context.facts, GateName.STEADY
    ends = facts.shutdown_at
    if ends is not None and ends - facts.at <= SOON:
        when = f"goes down {stamp(ends)}" if ends > facts.at else "is going down"
        return closed(name, f"this machine {when}", opens="wait until it is up again, or cancel the shutdown")
    if not context.restarts:
        return None
    if other := context.history.under_way:
        why = f"certmedic restarts {other} and has not verified that yet"
        return closed(name, why, opens="wait until that is verified")
    since = {_key(member): member for member in of_group(facts.members, context.diagnosis.group)}
    gone = [(facts.away[key], member) for key, member in since.items() if key in facts.away]
    fresh = [(at, member) for at, member in gone if facts.at - at < BACK_WITHIN]
    if fresh:
        at, member = max(fresh, key=lambda item: item[0])
        why = f"{member.name} ({member.address}:{member.port}) does not answer since {stamp(at)}, and may be restarting"
        return closed(name, why, opens=f"wait until it answers, or until {stamp(at + BACK_WITHIN)}")
    return opened(name, "this machine is not going down, and no other member has just gone")


def _key(member: Member) -> str:
    return f"{member.group}/{member.name}"
