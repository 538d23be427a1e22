"""A folder that only root can change, up to "/": its files are trusted, unlike files below /tmp.

    def test_something(trusted_dir):                  # the fixture of conftest.py; skips unless root runs the tests
        log = trusted_dir / "etcd.log"

pytest's `tmp_path` is in /tmp, which everybody can write to, so every file there has origin stranger.
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
    """Make an empty folder of root with mode 0755 below /var/lib; remove it afterwards with its contents."""
    made = Path(tempfile.mkdtemp(prefix="certmedic-tests-", dir=PARENT))
    try:
        made.chmod(0o755)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
