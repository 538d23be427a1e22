"""A folder that only root can change, up to "/": what lies there is trusted, unlike anything below /tmp.

    def test_something(trusted_dir):                  # the fixture of conftest.py; skips where the tests do not run as root
        log = trusted_dir / "etcd.log"

pytest's `tmp_path` lies in /tmp, which everybody may write to, so the agent calls every file there a stranger's.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PARENT = Path("/var/lib")


@contextlib.contextmanager
def trusted_folder() -> Iterator[Path]:
    """Make an empty folder of root's with mode 0755 below /var/lib; remove it afterwards with all that it holds."""
    made = Path(tempfile.mkdtemp(prefix="certmedic-tests-", dir=PARENT))
    try:
        made.chmod(0o755)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
