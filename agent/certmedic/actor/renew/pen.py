"""The actions on the certificate files of one machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from certmedic.actor.ports import Aside, Renewed
from certmedic.actor.renew import aside
from certmedic.actor.renew.sign import renew, undo
from certmedic.core import planes
from certmedic.core.model import Stored
from certmedic.core.origin import ROOT
from certmedic.edge.os.owners import Tree


class Pen:
    """Renews certificates with the CAs of this machine, and keeps the old files in `backups`."""

    def __init__(self, backups: Path, root: str = "/", owner: int = ROOT) -> None:
        self.backups = backups
        self.root = root
        self.tree = Tree(root=root, owner=owner)

    def renew(self, stored: Stored, *, now: datetime, about_to: Callable[[Renewed], None]) -> Renewed:
        """Reissue one leaf in its place; `about_to` is called first. Raises RenewError; the file is then unchanged."""
        authorities = [pair for pair in planes.signing_authorities(stored.place, self.root) if Path(pair[1]).exists()]
        return renew(stored, authorities=authorities, backups=self.backups, now=now, tree=self.tree, about_to=about_to)

    def undo(self, renewed: Renewed) -> None:
        """Put one file back. Raises RenewError."""
        undo(renewed)

    def plan_aside(self, stored: Stored) -> Aside:
        """Plan to move one file aside, without doing it. Raises RenewError."""
        return aside.planned(stored, self.backups)

    def move_aside(self, plan: Aside) -> None:
        """Move one file aside unless that was done already. Raises RenewError; the file is then unchanged."""
        aside.move_aside(plan)

    def put_back(self, plan: Aside) -> bool:
        """Put one file back unless its path is taken; return whether it was put back. Raises RenewError."""
        return aside.put_back(plan)
