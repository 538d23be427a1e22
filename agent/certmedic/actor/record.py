"""The actor's own memory: its actions, the resets by root, and the members that etcd named. One small file, replaced in one step.

The agent cannot write here, so that no agent can give itself another action.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from certmedic.core import codec
from certmedic.core.incident import Act, ActState
from certmedic.core.incident.state import moved
from certmedic.core.model import Action, Attempt, VoterList
from certmedic.edge.os.readfile import read_bytes

FILE = "record.json"
MOST_ACTS = 100
MOST_BYTES = 4 * 1024 * 1024
DAY = timedelta(days=1)


class RecordError(Exception):
    """The record cannot be read or written; the text says why. Without it the actor does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    acts: tuple[Act, ...] = ()  # oldest first. `Act.incident` is the agent's number for the action
    reset_at: datetime | None = None
    reset_by: str = ""
    members: Mapping[str, VoterList] = field(default_factory=dict)  # peer certificate -> the last answer of its etcd
    away: Mapping[str, datetime] = field(
        default_factory=dict
    )  # member that did not answer at the last look -> since when


class Record:
    """The record in a folder. Each method that changes it has written it to disk when it returns. Raises RecordError."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._content = self._read()

    def _read(self) -> _Content:
        try:
            return codec.load(_Content, read_bytes(str(self._path), MOST_BYTES).decode())
        except FileNotFoundError:
            return _Content()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{self._path}: cannot be read: {error}") from error

    def _write(self, content: _Content) -> None:
        beside = self._path.with_suffix(".new")
        try:
            with contextlib.suppress(FileNotFoundError):
                beside.unlink()
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(codec.dump(content).encode())
                file.flush()
                os.fsync(handle)
            beside.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise RecordError(f"{self._path}: cannot be written: {error.strerror}") from error
        self._content = content

    # ------------------------------------------------------------ actions

    @property
    def acts(self) -> tuple[Act, ...]:
        """All recorded actions, oldest first."""
        return self._content.acts

    def latest(self, ref: int) -> Act | None:
        """Return the last action with the agent's number `ref`."""
        return next((act for act in reversed(self.acts) if act.incident == ref), None)

    def attempts(self, now: datetime) -> tuple[Attempt, ...]:
        """Return the actions of the last day that were begun, for the gates. Each counts as another incident."""
        return tuple(
            Attempt(incident=act.id, target=act.target, at=act.at, state=act.state, in_place=act.in_place)
            for act in self.acts
            if act.state is not ActState.WITHDRAWN and now - act.at < DAY
        )

    def intend(self, ref: int, target: str, action: Action, *, boot_id: str, now: datetime) -> Act:
        """Record an action before it is done."""
        number = max((act.id for act in self.acts), default=0) + 1
        act = Act(
            id=number,
            incident=ref,
            target=target,
            action=action,
            state=ActState.INTENT,
            boot_id=boot_id,
            at=now,
            ended_at=None,
            detail="",
            undo=(),
        )
        self._write(replace(self._content, acts=(*self.acts, act)[-MOST_ACTS:]))
        return act

    def can_undo(self, act: Act, replaced: Sequence[dict[str, str]]) -> Act:
        """Record the files that an action is about to replace."""
        return self._put(replace(act, undo=tuple(replaced)))

    def move(self, act: Act, state: ActState, detail: str, now: datetime) -> Act:
        """Record the new state of an action."""
        return self._put(replace(act, state=moved(act.state, state), detail=detail, ended_at=now))

    def _put(self, act: Act) -> Act:
        acts = tuple(act if other.id == act.id else other for other in self.acts)
        self._write(replace(self._content, acts=acts))
        return act

    # ------------------------------------------------------------ all else

    def tripped(self) -> str:
        """Return the last action that failed since the last reset, in a sentence; "" if none did."""
        since = self._content.reset_at
        failed = [act for act in self.acts if act.state is ActState.FAILED]
        after = [act for act in failed if since is None or (act.ended_at or act.at) > since]
        return f"{after[-1].target}: {after[-1].detail}" if after else ""

    def reset(self, author: str, now: datetime) -> None:
        """Allow actions again after one has failed."""
        self._write(replace(self._content, reset_at=now, reset_by=author))

    @property
    def members(self) -> Mapping[str, VoterList]:
        """The members of this machine's etcd groups, as etcd last named them."""
        return self._content.members

    def keep_members(self, members: Mapping[str, VoterList]) -> None:
        """Remember the members."""
        if members != self.members:
            self._write(replace(self._content, members=dict(members)))

    @property
    def away(self) -> Mapping[str, datetime]:
        """The members that did not answer at the last look, as in `Facts.away`."""
        return self._content.away

    def keep_away(self, away: Mapping[str, datetime]) -> None:
        """Remember the members that do not answer."""
        if away != self.away:
            self._write(replace(self._content, away=dict(away)))

    def clock_went_back(self, now: datetime) -> None:
        """Move times of the future back to `now`: the clock was ahead. The budget of a day is not given back by that."""

        def clamped(moment: datetime | None) -> datetime | None:
            return moment if moment is None else min(moment, now)

        acts = tuple(replace(act, at=min(act.at, now), ended_at=clamped(act.ended_at)) for act in self.acts)
        content = replace(self._content, acts=acts, reset_at=clamped(self._content.reset_at))
        if content != self._content:
            self._write(content)
