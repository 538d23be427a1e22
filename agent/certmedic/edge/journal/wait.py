"""How long to wait for new entries."""

from __future__ import annotations

BUSY_TICK = 0.02  # the shortest wait, in seconds
# On a quiet journal, latency matters less than wake-ups: wait = FACTOR * interval^2, which is 25 ms at 200 entries a second and
# 100 ms at 100.
FACTOR = 1000
# journald announces entries 0.25 to 0.5 s late, so that a journal with OFTEN entries a second is looked at without waiting for that.
OFTEN = 4
SOON = 0.15  # seconds


class Wait:
    """Learns the interval between entries, in seconds; `longest` is the longest wait."""

    def __init__(self, longest: float) -> None:
        self._longest = self._interval = longest
        self._since = 0.0  # seconds since the last entry

    def learn(self, seconds: float, new: int) -> None:
        """Note that `new` entries came in `seconds`. Shorten the wait at once, lengthen it slowly (EWMA, 1/8)."""
        self._since += seconds
        interval = self._since / max(new, 1)
        if interval > self._interval:
            self._interval += (interval - self._interval) / 8
        elif new:
            self._interval = interval
        if new:
            self._since = 0.0

    @property
    def seconds(self) -> float:
        """The wait for the next entries, in seconds."""
        longest = min(SOON, self._longest) if self._interval <= 1 / OFTEN else self._longest
        return min(max(BUSY_TICK, FACTOR * self._interval**2), longest)
