"""How far a clock is wrong if a certificate is refused for its dates, who witnesses that, and when the fault ends by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from certmedic.core.model import Certificate, Facts
from certmedic.core.text import span, stamp

YOUNG = timedelta(days=2)  # a certificate: clocks that differ by more are rare
SAME = timedelta(seconds=2)  # precision of a Date, and the time that its reply takes


def behind(starts: datetime, now: datetime) -> str:
    """Return how far a clock is behind if a certificate is refused as not yet valid, and when that ends, in a sentence."""
    if starts <= now:
        return f"that certificate is valid since {stamp(starts)} by this machine's clock: the fault is over, or the other clock is behind"
    return f"a clock is behind by at least {span(starts - now)}: the fault ends by itself {stamp(starts)}; renewing is useless"


def of_other(leaves: Sequence[Certificate], there: str, now: datetime) -> str:
    """Return how far the clock of `there` must be wrong to refuse certificates that are good by this machine's, in a sentence."""
    starts, ends = max(leaf.not_before for leaf in leaves), min(leaf.not_after for leaf in leaves)
    return (
        f"our certificates are valid from {stamp(starts)} until {stamp(ends)}: by this machine's clock they are good."
        f" The clock of {there} is behind by more than {span(now - starts)}, which ends by itself when it passes {stamp(starts)},"
        f" or ahead by more than {span(ends - now)}"
    )


def in_doubt(facts: Facts) -> bool:
    """Whether this clock or another one may be wrong: it is not synchronised, or a certificate here or of a member has just begun."""
    shown = [member.serves for member in facts.members if member.serves is not None]
    leaves = [*shown, *(stored.certificate for stored in facts.stored)]
    return facts.clock_synchronised is False or any(leaf.not_before > facts.at - YOUNG for leaf in leaves)


def witnesses(facts: Facts) -> Iterator[str]:
    """Yield what shows whether this machine's clock is right, in sentences: NTP, and certificates that start in the future."""
    if facts.clock_synchronised is not None:
        synchronised = (
            "is synchronised (NTP): the other clock is wrong"
            if facts.clock_synchronised
            else "is not synchronised (NTP): look at it first"
        )
        yield f"this machine's clock {synchronised}"
    for name, ahead in sorted(facts.clocks.items()):
        how = (
            f"{span(abs(ahead))} {'ahead of' if ahead > SAME else 'behind'} this one"
            if abs(ahead) > SAME
            else "equal to this one"
        )
        yield f"by the Date that its API server sends, the clock of {name} is {how}"
    shown = [(member.name, member.serves) for member in facts.members if not member.is_self and member.verified]
    for name, leaf in shown:
        if leaf is not None and leaf.not_before > facts.at:
            yield (
                f"{name} serves a certificate that is valid only from {stamp(leaf.not_before)}: if it was issued just now,"
                f" this machine's clock is behind by at least {span(leaf.not_before - facts.at)}"
            )
