"""Plain log files, by glob."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from certmedic.core.model import Origin, Trust
from certmedic.edge.files.formats import Plain
from certmedic.edge.files.rotation import Content
from certmedic.edge.files.source import Files
from certmedic.edge.files.tail import Tail


class FileSource(Files):
    """Follow plain files that match `globs`. Their lines are trusted like their owners.

    A file below one of the folders in `elsewhere`, links followed, belongs to another source.
    """

    name = "files"

    def __init__(
        self,
        needles: tuple[bytes, ...],
        globs: Sequence[str],
        *,
        elsewhere: Sequence[str] = ("/var/log/pods", "/var/lib/docker/containers"),
        required: bool = False,
    ) -> None:
        super().__init__(needles, globs, required=required)
        self._elsewhere = tuple(elsewhere)

    def _log(self, path: str) -> Tail | None:
        if any(Path(path).resolve().is_relative_to(folder) for folder in self._elsewhere):
            return None
        return Tail(path, f"file:{path}", Origin(path=path), Plain(self._needles), self._status.say, self._judge)

    def _judge(self, content: Content) -> Trust:
        trust, doubt = self._owned(content)
        if doubt:
            self._status.say(f"the lines of {content.path} are recorded and not believed: {doubt}")
        return trust
