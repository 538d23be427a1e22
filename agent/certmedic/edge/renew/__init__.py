"""The hand on certificate files: leaves are signed anew in place, or moved aside, and put back where that did not cure.

sign.py    a leaf signed anew by the authority that signed it
aside.py   a leaf moved away, so that a new one is issued
allowed.py what a renewed certificate may hold
files.py   files that are replaced, kept and put back
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from certmedic.core import planes
from certmedic.core.model import Stored
from certmedic.core.origin import ROOT
from certmedic.edge.os.owners import Tree
from certmedic.edge.renew import aside
from certmedic.edge.renew.files import RenewError, backup_path
from certmedic.edge.renew.sign import renew, undo
from certmedic.ports import Aside, Renewed

__all__ = ["Pen", "RenewError", "backup_path", "renew", "undo"]


class Pen:
    """Renews what is asked for, with the authorities of this machine, and keeps what was before in `backups`."""

    def __init__(self, backups: Path, root: str = "/", owner: int = ROOT) -> None:
        self.backups = backups
        self.root = root
        self.tree = Tree(root=root, owner=owner)

    def renew(self, stored: Stored, *, now: datetime, about_to: Callable[[Renewed], None]) -> Renewed:
        """Sign one leaf anew in its place; `about_to` hears it before. Raises RenewError, and then the file is as it was."""
        authorities = [pair for pair in planes.signing_authorities(stored.place, self.root) if Path(pair[1]).exists()]
        return renew(stored, authorities=authorities, backups=self.backups, now=now, tree=self.tree, about_to=about_to)

    def undo(self, renewed: Renewed) -> None:
        """Put one file back. Raises RenewError."""
        undo(renewed)

    def plan_aside(self, stored: Stored) -> Aside:
        """Return what moving one file aside will be; nothing is done. Raises RenewError."""
        return aside.planned(stored, self.backups)

    def move_aside(self, one: Aside) -> None:
        """Move one file aside, if that was not done. Raises RenewError, and then it is where it was."""
        aside.move_aside(one)

    def put_back(self, one: Aside) -> bool:
        """Put one file back, unless something is there; whether it was. Raises RenewError."""
        return aside.put_back(one)
