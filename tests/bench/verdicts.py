"""What came out of a row: the figures of each contender, and how they compare with what is to be reached."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.measure import Figures


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One comparison. `at_most`: less is better."""

    what: str
    reached: float
    to_reach: float
    unit: str = "times"
    at_most: bool = False
    note: str = ""

    @property
    def good(self) -> bool:
        """Whether it is reached."""
        return self.reached <= self.to_reach if self.at_most else self.reached >= self.to_reach


@dataclass(frozen=True)
class Row:
    """One piece of work."""

    work: str
    figures: dict[str, Figures]
    verdicts: list[Verdict]
    more: dict[str, object] = field(default_factory=dict)  # for the JSON file
