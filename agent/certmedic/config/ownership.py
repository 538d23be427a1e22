"""Who may change the files that steer certmedic: its configuration, and the files of people's addresses."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from certmedic.core.command import run, shell
from certmedic.core.origin import ROOT, Owner, Trust, of_file
from certmedic.edge.os import owners

MOST_BYTES: Final = 1024 * 1024  # of one file


def writable_by_others(path: Path) -> str | None:
    """Return why a file cannot be believed and how to mend that; None if only root, or the user who runs this, can change it.

    Raises OSError if the file cannot be looked at.
    """
    ours = {ROOT, os.geteuid()}
    standing = owners.resolve(os.path.abspath(path))  # noqa: PTH100 - it must not follow links
    for link in standing.links:
        if link.uid not in ours:
            return f"{path}: {link.path} is a link of uid {link.uid}; put a file of root's in its place"
    chain = [_without_private_group(owner) for owner in standing.chain]
    trust, reason = of_file(chain, owners=ours)
    if trust is Trust.SYSTEM:
        return None
    culprit = next(owner.path for owner in chain if reason.startswith(f"{owner.path} "))
    mend = shell([run("sudo", "chown", "root:", culprit), run("sudo", "chmod", "go-w", culprit)])
    how = f"to mend it: {mend}" if mend else "give it to root, and let nobody else write to it"
    return f"{path}: {reason}, so others could steer certmedic by it; {how}"


def readable_by_everybody(path: Path) -> bool:
    """Whether everybody may read a file that exists."""
    with suppress(OSError):
        return bool(path.stat().st_mode & stat.S_IROTH)
    return False


def _without_private_group(owner: Owner) -> Owner:
    """Return an owner whose group may not write if that group is the private one of the user who runs this."""
    private = owner.gid == os.getegid() == os.geteuid()
    return replace(owner, mode=owner.mode & ~stat.S_IWGRP) if private else owner
