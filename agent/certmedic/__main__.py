"""`certmedic` and `python -m certmedic`: starts the service, or one of the other commands.

The service stays in memory, so it starts without the library of the command line and what that imports.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path


def main() -> None:
    """Run the command of the command line."""
    match sys.argv[1:]:
        case ["run", *rest] if sys.platform == "linux" and (not rest or (len(rest) == 2 and rest[0] == "--config")):
            from certmedic.edge.os import spawn  # noqa: PLC0415 - the other commands need none of it

            begun = None
            with contextlib.suppress(OSError):  # the service reports it when it tries again
                begun = spawn.reader()  # which loads its modules while this process does
            from certmedic.daemon import run  # noqa: PLC0415 - as above

            run(Path(rest[1]) if rest else None, begun)
        case _:
            from certmedic.cli import main as commands  # noqa: PLC0415 - see above

            commands(prog_name="certmedic")


if __name__ == "__main__":
    main()
