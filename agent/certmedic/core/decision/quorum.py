"""Whether an etcd member may be restarted now: by the quorum of its group, and by the order of its members.

Only handshakes tell about a member. One that does not prove by its certificate that it is a member of the group (`verified`) is
never counted as good. Two facts about etcd decide (measured, three members of 3.5.16):

* A session outlives its certificates, so members that have all expired still form a group, until one of them is restarted.
* A restarted member reaches only members with good certificates, and only such members reach it.

If all have expired at once, they are restarted one after the other. The first ones leave a group that still holds by its old
sessions; the middle one makes the quorum of the renewed ones. Its restart is the one outage, which no order of restarts avoids.
Renewing the files in place first avoids it.

In a group of even size, one more renewed member is needed for the quorum, so the outage would last until another member comes
back, which may be never. certmedic does not begin that: it is left to renewing in place or to a person. A group of one or two has
no member to spare at any time; if all is well, a restart costs only its own time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zlib import crc32

from certmedic.core.decision.gates import Context, closed, opened
from certmedic.core.model import Cause, Certificate, Gate, GateName, Lease, Member
from certmedic.core.text import stamp

PATIENCE = timedelta(minutes=5)  # for each member whose turn comes first; the kubelet's longest back-off
LONGEST_JITTER = 5  # seconds


# ---------------------------------------------------------------- gates


def others_untroubled(context: Context) -> Gate | None:
    """No other member is known to be in trouble; asked if the members themselves cannot be seen."""
    if not context.restarts or of_group(context.facts.members, context.diagnosis.group):
        return None
    troubled = ", ".join(dict.fromkeys(context.facts.names.get(name, name) for name in context.history.troubled))
    if troubled:
        why = f"other members are refused too ({troubled}): restarting this one could cost the quorum"
        return closed(GateName.MEMBERS, why, opens="fix those members first, or restart by hand in an order of yours")
    return opened(GateName.MEMBERS, "no other member's certificate is refused here")


def member_safe(context: Context) -> Gate | None:
    """The group can do without this member for a moment."""
    members = of_group(context.facts.members, context.diagnosis.group)
    if not context.restarts or not members:
        return None
    mine = [member.name for member in members if member.is_self]
    if len(mine) > 1:
        why = f"{' and '.join(mine)} both run here, and the fault may be of either"
        return closed(GateName.SAFE, why, opens="stop one of them")
    return safe_to_restart(members, mine[0] if mine else "", context.facts.at)


def member_turn(context: Context) -> Gate | None:
    """It is this member's turn, and no other master holds the lease."""
    members = of_group(context.facts.members, context.diagnosis.group)
    if not context.restarts:
        return None
    if not members:
        if context.facts.lease is None:
            return None
        return with_lease(opened(GateName.TURN, "the other members are not known"), context.facts.lease)
    mine = [member.name for member in members if member.is_self]
    if len(mine) > 1:
        return None  # `member_safe` says so
    now, policy = context.facts.at, context.policy
    gate = turn(
        members,
        mine[0] if mine else "",
        now,
        timedelta(seconds=crc32(context.facts.host.encode()) % LONGEST_JITTER),
        waiting_since=context.history.waiting_since or now,
        good_until=now + policy.plan_ahead if context.diagnosis.cause is Cause.EXPIRES_SOON else None,
    )
    return with_lease(gate, context.facts.lease)


def with_lease(gate: Gate, lease: Lease | None) -> Gate:
    """Return a member's turn with what the lease says to it; None: nobody asked for the lease."""
    if lease is None or not gate.passed:
        return gate
    if lease.state == "theirs":
        return closed(GateName.TURN, lease.why, opens="wait until the other master gives the lease back")
    return opened(GateName.TURN, f"{gate.why}; {lease.why}")


# ---------------------------------------------------------------- the quorum


def of_group(members: Sequence[Member], group: str) -> list[Member]:
    """Return the members of a group; if none is known to be of it, those whose group is not known."""
    return [member for member in members if member.group == group] or [m for m in members if not m.group]


def quorum(size: int) -> int:
    """Return how many members of a group are needed."""
    return size // 2 + 1


def good(member: Member, at: datetime) -> bool:
    """Whether a member is known to be one, and serves only valid certificates, one of them on its peer port."""
    proven = member.verified or member.is_self
    return proven and member.serves is not None and all(_valid(shown, at) for shown in _shown(member))


def safe_to_restart(members: Sequence[Member], self_name: str, now: datetime) -> Gate:
    """Whether the group loses nothing by a restart that gives this member good certificates, or nothing that can be kept.

    `members` are all of one group, this one included. Fails closed: a member that could not be seen counts as absent.
    """
    parts = _split(members, self_name)
    if isinstance(parts, _Unsure):
        return closed(GateName.SAFE, parts.why, opens=parts.opens)
    seen = _Group(*parts, now)
    why = seen.keeps_quorum() or seen.has_none_to_lose() or seen.makes_quorum() or seen.has_none_to_spare()
    return opened(GateName.SAFE, why) if why is not None else seen.why_not()


class _Group:
    """A group as it is seen now. Only peer ports count here, since members make the quorum among themselves."""

    def __init__(self, me: Member, others: Sequence[Member], now: datetime) -> None:
        self.me = me
        self.now = now
        self.size = len(others) + 1
        self.needed = quorum(self.size)
        proven = [other for other in others if other.verified]
        self.well = [other for other in proven if other.serves is not None and _valid(other.serves, now)]
        # Bad by their age alone: a member whose certificate is not valid yet has never been in a group.
        self.expired = [other for other in proven if other.serves is not None and other.serves.not_after < now]
        self.unseen = [
            member
            for member in (me, *others)
            if member.serves is None or member.serves.not_before > now or not (member.verified or member is me)
        ]
        self.have = f"without this one {len(self.well)} of {self.size} members serve good certificates, and {self.needed} are needed"

    @property
    def am_well(self) -> bool:
        return self.me.serves is not None and _valid(self.me.serves, self.now)

    def keeps_quorum(self) -> str | None:
        """Return why the group can do without this member, if so."""
        if len(self.well) >= self.needed:
            return f"the group keeps its quorum: {self.have}"
        if not self.am_well and len(self.expired) >= self.needed:
            return f"{_names(self.expired)}, also expired, may hold the quorum by their old sessions"
        return None

    def has_none_to_lose(self) -> str | None:
        """Return why the group has nothing of this member now, if so."""
        if self.me.refused:
            return "this member does not run, so the group does not have it now"
        if self.size == 1 and not self.unseen and not good(self.me, self.now):
            return "it is the only member, and clients refuse it as it is"
        refused = [other for other in self.unseen if other.refused]
        if not self.am_well and self.size - len(refused) < self.needed:
            return f"the quorum is lost already: {_names(refused)} {'does' if len(refused) == 1 else 'do'} not run"
        return None

    def makes_quorum(self) -> str | None:
        """Return why this restart, which costs the quorum once, is still right, if so."""
        if self.am_well or self.unseen or len(self.well) + 1 < self.needed:
            return None
        return (
            f"with {_names(self.well)}, good already, this member makes the quorum; etcd takes no writes until it is back."
            " Restarts cannot avoid this one outage; renewing in place would"
        )

    def has_none_to_spare(self) -> str | None:
        """Return why a restart costs now what it costs at any time, if so: a group of one or two never does without one."""
        if self.size > 2 or self.unseen or self.expired or not self.am_well:
            return None
        return (
            f"a group of {self.size} has no member to spare: etcd takes no writes while it restarts, whenever that is;"
            " renewing in place avoids that"
        )

    def why_not(self) -> Gate:
        """Return the closed gate: why nothing speaks for it, and what would."""
        if self.unseen:
            why = f"{self.have}; the state of {_names(self.unseen)} is unknown: {_why(self.unseen)}"
            return closed(GateName.SAFE, why, opens=f"first see that {_serve_good(self.unseen)}")
        if self.am_well:
            opens = f"wait until {_serve_good(self.expired)}" if self.expired else "add members"
            return closed(GateName.SAFE, f"this member is good, and {self.have}", opens=opens)
        even = "" if self.size % 2 else f"; restarts alone cannot avoid that in a group of {self.size}"
        return closed(
            GateName.SAFE,
            f"{self.have}; with this one they are still too few, and the quorum is lost until another is fixed{even}",
            opens=f"renew in place, which needs no order, or wait until {_serve_good(self.expired)}",
        )


# ---------------------------------------------------------------- the order


def turn(  # noqa: PLR0913 - each is one thing that the order depends on
    members: Sequence[Member],
    self_name: str,
    now: datetime,
    jitter: timedelta,
    *,
    waiting_since: datetime,
    good_until: datetime | None = None,
) -> Gate:
    """Whether it is this member's turn: members go in the order of their names, and each waits for those before it to be good.

    `waiting_since` is when this member first wanted to restart. It waits at most `PATIENCE` for each member before it, and
    always for `jitter`, which the caller draws once. `good_until`: members whose certificate expires before this are still due
    (planned actions); default `now`. Of all members that see the same, one is free to go, except for those out of patience.
    """
    name, at = GateName.TURN, good_until or now
    parts = _split(members, self_name)
    if isinstance(parts, _Unsure):
        return closed(name, parts.why, opens=parts.opens)
    me = parts[0]
    if waiting_since > now:
        why = f"the clock went back: it began to wait at {stamp(waiting_since)}"
        return closed(name, why, opens="wait until then")
    first = waiting_since + jitter
    if now < first:
        return closed(name, "other members may start at the same moment", opens=f"wait until {stamp(first)}")
    ordered = sorted(members, key=lambda member: member.name)
    before = ordered[: ordered.index(me)]
    late = first + PATIENCE * max(len(before), 1)
    waited_for = [member for member in before if not good(member, at)]
    mine = good(me, at)
    if not waited_for and not mine:
        return opened(
            name,
            f"{_names(before)} {'comes first and is' if len(before) == 1 else 'come first and are'} good"
            if before
            else "it comes first by name",
        )
    if now >= late:
        return opened(name, f"its turn has not come by {stamp(late)}, so it waits no longer")
    if waited_for:
        why = f"{_names(waited_for)} {'comes' if len(waited_for) == 1 else 'come'} first: {_why(waited_for)}"
        return closed(name, why, opens=f"wait until {_serve_good(waited_for)}, or {stamp(late)}")
    # Other members cannot see this reason and so cannot wait for us; only the timeout keeps us apart.
    why = "what it serves is good, so other members do not see that it is due"
    return closed(name, why, opens=f"wait until {stamp(late)}")


# ---------------------------------------------------------------- members


@dataclass(frozen=True, slots=True)
class _Unsure:
    """Why this member cannot be told from the others, and what would help."""

    why: str
    opens: str


def _split(members: Sequence[Member], self_name: str) -> tuple[Member, list[Member]] | _Unsure:
    """Return this member and the others."""
    mine = [member for member in members if member.name == self_name]
    if len({member.name for member in members}) != len(members):
        return _Unsure("two members have the same name", "give each member its own name")
    if len(mine) != 1:
        known = _names(members) if members else "none was found"
        why = f"this member, {self_name}, is not among the known ones ({known}), so their number is not sure"
        return _Unsure(why, "wait until it is found")
    return mine[0], [member for member in members if member is not mine[0]]


def _shown(member: Member) -> list[Certificate]:
    return [shown for shown in (member.serves, member.serves_clients) if shown is not None]


def _valid(shown: Certificate, at: datetime) -> bool:
    return shown.not_before <= at <= shown.not_after


def _names(members: Sequence[Member]) -> str:
    return ", ".join(sorted(member.name for member in members))


def _why(members: Sequence[Member]) -> str:
    return "; ".join(f"{member.name} ({member.address}:{member.port}) {_state(member)}" for member in members)


def _state(member: Member) -> str:
    if member.serves is None:
        return f"serves no certificate: {member.error}"
    if not (member.verified or member.is_self):
        return "does not prove that it is a member"
    return f"serves a certificate that expires {stamp(min(shown.not_after for shown in _shown(member)))}"


def _serve_good(members: Sequence[Member]) -> str:
    return f"{_names(members)} {'serves' if len(members) == 1 else 'serve'} a good certificate"
