"""Write the output of a container that `ctr` runs to a pod log, as the kubelet's runtime does.

A shim starts this program for `--log-uri=binary://`: file descriptors 3 and 4 carry the output of the container, and the program
closes 5 once it is ready. The file is FOLDER/CONTAINER/0.log, in the kubelet's format `TIME STREAM F TEXT`.

    python3 crilog.py FOLDER
"""

from __future__ import annotations

import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path


def copy(stream: str, number: int, file: int) -> None:
    """Write each line of a stream with its time."""
    with os.fdopen(number, "rb") as lines:
        for line in lines:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
            os.write(file, f"{now} {stream} F ".encode() + line.rstrip(b"\n") + b"\n")


def main(folder: Path) -> None:
    """Copy both streams to their ends."""
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / "0.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    threads = [threading.Thread(target=copy, args=(stream, n, file)) for stream, n in (("stdout", 3), ("stderr", 4))]
    for thread in threads:
        thread.start()
    os.close(5)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
