"""Whether an etcd member may be restarted now: what it does to the quorum, and whose turn it is.

What a handshake tells of a member is all that is known here. Two facts about etcd decide (measured, three members of 3.5.16):

* A session outlives its certificates, so members that all expired still form a group, until one of them is restarted.
* A restarted member reaches only members with good certificates, and is reached only by such.

So where all have expired at once, one after the other is restarted: the first ones leave a group that still holds by its old
sessions, the middle one makes the quorum of the cured ones. Between the two there is one gap, the restart of that middle one,
which no order of restarts avoids. Where the files are renewed in place first there is none.

Where their number is even, one member more has to be cured to make the quorum, so that the gap would last from one member's restart
to the end of another's, who may never come: that is not begun here, but left to renewing in place or to a person. A group of one or
two has no member to spare at any time; where all is well, its restart costs just its own time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from certmedic.core.examine import stamp
from certmedic.core.model import Certificate, Gate, Member

PATIENCE = timedelta(minutes=5)  # for each member whose turn comes first; the kubelet's longest back-off
SAFE, TURN = "member safe", "turn"


def of_group(members: Sequence[Member], group: str) -> list[Member]:
    """Return the members of a group; where none is known to be of it, those whose group is not known."""
    return [one for one in members if one.group == group] or [one for one in members if not one.group]


def quorum(size: int) -> int:
    """Return how many members of a group are needed."""
    return size // 2 + 1


def good(member: Member, at: datetime) -> bool:
    """Whether a member shows only certificates that are valid, and one on its peer port."""
    return member.serves is not None and all(_valid(shown, at) for shown in _shown(member))


def safe_to_restart(members: Sequence[Member], self_name: str, now: datetime) -> Gate:
    """Whether the group loses nothing by a restart that gives this member good certificates, or nothing that can be kept.

    `members` are all of one group, this one included. Fails closed: a member that could not be seen counts as none at all.
    """
    me, others, unsure = _told_apart(members, self_name)
    if me is None:
        return Gate(name=SAFE, passed=False, why=unsure)
    seen = _Group(me, others, now)
    why = seen.keeps_quorum() or seen.has_none_to_lose() or seen.makes_quorum() or seen.has_none_to_spare()
    return Gate(name=SAFE, passed=bool(why), why=why or seen.why_not())


class _Group:
    """A group as it is seen now. Only peer ports count here, since the quorum is made among members."""

    def __init__(self, me: Member, others: Sequence[Member], now: datetime) -> None:
        self.me = me
        self.now = now
        self.size = len(others) + 1
        self.needed = quorum(self.size)
        self.well = [other for other in others if other.serves is not None and _valid(other.serves, now)]
        # Bad by their age alone: one whose time has not come has never been in a group.
        self.expired = [other for other in others if other.serves is not None and other.serves.not_after < now]
        self.unseen = [one for one in (me, *others) if one.serves is None or one.serves.not_before > now]
        self.have = f"without this one {len(self.well)} of {self.size} members show good certificates, and {self.needed} are needed"

    @property
    def am_well(self) -> bool:
        return self.me.serves is not None and _valid(self.me.serves, self.now)

    def keeps_quorum(self) -> str:
        """Return why the group can do without this member, if so."""
        if len(self.well) >= self.needed:
            return f"the group keeps its quorum: {self.have}"
        if not self.am_well and len(self.expired) >= self.needed:
            return f"{_names(self.expired)}, also expired, hold the quorum by the sessions that they still have, if anybody does"
        return ""

    def has_none_to_lose(self) -> str:
        """Return why the group has nothing of this member now, if so."""
        if self.me.refused:
            return "this member does not run, so the group has not got it now"
        if self.size == 1 and not self.unseen and not good(self.me, self.now):
            return "it is the only member, and clients refuse it as it is"
        refused = [other for other in self.unseen if other.refused]
        if not self.am_well and self.size - len(refused) < self.needed:
            return f"the quorum is lost already: {_names(refused)} do not run"
        return ""

    def makes_quorum(self) -> str:
        """Return why the one gap is to be taken, if so: without it there is no way on."""
        if self.am_well or self.unseen or len(self.well) + 1 < self.needed:
            return ""
        return (
            f"with {_names(self.well)}, good already, this member makes the quorum; until it is back the group cannot be written to."
            " Restarts alone cannot avoid this one gap; renewing in place would"
        )

    def has_none_to_spare(self) -> str:
        """Return why a restart costs what it will cost at any other time too, if so: a group of one or two never does without one."""
        if self.size > 2 or self.unseen or self.expired or not self.am_well:
            return ""
        return (
            f"a group of {self.size} has no member to spare: it cannot be written to for as long as the restart takes, whenever that is;"
            " renewing in place would take none down"
        )

    def why_not(self) -> str:
        """Return why nothing speaks for it, and what would."""
        if self.unseen:
            why = f"{self.have}, and how {_names(self.unseen)} fares is not known: {_why(self.unseen)}"
            return f"{why}; opens when {_show_good(self.unseen)}"
        if self.am_well:
            return f"this member is good, and {self.have}; opens when {_show_good(self.expired) if self.expired else 'there are more members'}"
        even = "" if self.size % 2 else f", which restarts alone cannot avoid in a group of {self.size}"
        return (
            f"{self.have}; with this one they would still be too few, and the group without a quorum until another is cured{even};"
            f" opens when {_show_good(self.expired)}. Renewing in place needs no order"
        )


def turn(  # noqa: PLR0913 - each is one thing that the order depends on
    members: Sequence[Member],
    self_name: str,
    now: datetime,
    jitter: timedelta,
    *,
    waiting_since: datetime,
    good_until: datetime | None = None,
) -> Gate:
    """Whether it is this member's turn: the order is that of the names, and each waits until those before it are good.

    `waiting_since` is when this member first wanted to. It waits for `PATIENCE` for each member before it at most, and for
    `jitter`, which the caller draws once, in any case. `good_until`: who ends before that still has its turn to come, as where
    cures are planned; by default that is `now`. Of all who see the same, one is told to go, but for those who lost patience.
    """
    at = good_until or now

    def answer(passed: bool, why: str) -> Gate:  # noqa: FBT001 - the gate's own field
        return Gate(name=TURN, passed=passed, why=why)

    me, _, unsure = _told_apart(members, self_name)
    if me is None:
        return answer(passed=False, why=unsure)
    if waiting_since > now:
        return answer(
            passed=False, why=f"the clock went back behind {stamp(waiting_since)}, when it began to wait; opens then"
        )
    first = waiting_since + jitter
    if now < first:
        return answer(passed=False, why=f"others may want to at the same moment; opens {stamp(first)}")
    ordered = sorted(members, key=lambda member: member.name)
    before = ordered[: ordered.index(me)]
    late = first + PATIENCE * max(len(before), 1)
    waited_for = [member for member in before if not good(member, at)]
    mine = good(me, at)
    if not waited_for and not mine:
        return answer(
            passed=True, why=f"{_names(before)} come first and are good" if before else "it comes first by name"
        )
    if now >= late:
        return answer(passed=True, why=f"its turn has not come by {stamp(late)}, so it waits no longer")
    if waited_for:
        why = f"{_names(waited_for)} come first: {_why(waited_for)}; opens when {_show_good(waited_for)}, or {stamp(late)}"
        return answer(passed=False, why=why)
    # What the others cannot see they cannot wait for, so that only time keeps apart those who would go for such a reason.
    return answer(
        passed=False,
        why=f"what it shows on its ports is good, so others do not see that it is due; opens {stamp(late)}",
    )


# ---------------------------------------------------------------- what a handshake tells


def _told_apart(members: Sequence[Member], self_name: str) -> tuple[Member | None, list[Member], str]:
    """Return this member and the others; None, and why, where they cannot be told apart."""
    mine = [member for member in members if member.name == self_name]
    if len({member.name for member in members}) != len(members):
        return None, [], "two members have the same name; opens when each has its own"
    if len(mine) != 1:
        known = _names(members) if members else "none was found"
        return (
            None,
            [],
            f"this member, {self_name}, is not among those that are known ({known}), so their number is not sure; opens when it is",
        )
    return mine[0], [member for member in members if member is not mine[0]], ""


def _shown(member: Member) -> list[Certificate]:
    return [shown for shown in (member.serves, member.serves_clients) if shown is not None]


def _valid(shown: Certificate, at: datetime) -> bool:
    return shown.not_before <= at <= shown.not_after


def _names(members: Sequence[Member]) -> str:
    return ", ".join(sorted(member.name for member in members))


def _why(members: Sequence[Member]) -> str:
    return "; ".join(
        f"{member.name} ({member.address}:{member.port}) "
        + (
            f"shows no certificate: {member.error}"
            if member.serves is None
            else f"shows one that ends {stamp(_ends(member))}"
        )
        for member in members
    )


def _ends(member: Member) -> datetime:
    return min(shown.not_after for shown in _shown(member))


def _show_good(members: Sequence[Member]) -> str:
    return f"{_names(members)} {'shows' if len(members) == 1 else 'show'} a good certificate"
