"""Lines of no interest into a journal, so many a second, evenly, until it is ended.

SOCKET RATE
"""

from __future__ import annotations

import random
import socket
import sys
import time
from datetime import UTC, datetime

from bench import lines


def main() -> None:
    """Write them."""
    path, rate = sys.argv[1], float(sys.argv[2])
    out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    out.connect(path)
    dice, due = random.Random(5), time.monotonic()  # noqa: S311 - the same noise each time
    while True:
        text = lines.written(dice.choice(lines.CHATTER), datetime.now(UTC), dice)
        out.send(f"SYSLOG_IDENTIFIER=kubelet\nPRIORITY=6\nMESSAGE={text}\n".encode())
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))


main()
