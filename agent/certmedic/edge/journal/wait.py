"""How long to wait for new entries."""

from __future__ import annotations

from certmedic.edge.source import TICK

BUSY_TICK = 0.02  # the shortest wait, in seconds
# The less comes, the less the wake-ups are worth: wait = FACTOR * interval^2, which is 25 ms at 200 entries a second and 100 ms
# at 100.
FACTOR = 1000


class Wait:
    """Learns the interval between entries, in seconds."""

    def __init__(self) -> None:
        self._interval = TICK
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
        """The wait for the next entries, in seconds; `TICK` at most."""
        return min(max(BUSY_TICK, FACTOR * self._interval**2), TICK)
