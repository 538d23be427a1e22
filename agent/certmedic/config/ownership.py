"""Who may change the files that steer certmedic: its configuration, and the files of people's addresses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from certmedic.core.command import run, shell
from certmedic.core.origin import ROOT, Trust, of_file
from certmedic.edge import owners

MOST_BYTES: Final = 1024 * 1024  # of one file


def writable_by_others(path: Path) -> str | None:
    """Return why a file cannot be believed and how to mend that; None if only root can change it.

    Only a run of root's is protected: another user has nothing to lose to those who may write to that user's files. Raises
    OSError if the file cannot be looked at.
    """
    if os.geteuid() != ROOT:
        return None
    found = owners.resolve(os.path.abspath(path))  # noqa: PTH100 - it must not follow links
    for link in found.links:
        if link.uid != ROOT:
            return f"{path}: {link.path} is a link of uid {link.uid}; put a file of root's in its place"
    trust, reason = of_file(found.chain)
    if trust is Trust.SYSTEM:
        return None
    culprit = next(owner.path for owner in found.chain if reason.startswith(f"{owner.path} "))
    mend = shell([run("sudo", "chown", "root:", culprit), run("sudo", "chmod", "go-w", culprit)])
    how = f"to mend it: {mend}" if mend else "give it to root, and let nobody else write to it"
    return f"{path}: {reason}, so others could steer certmedic by it; {how}"
