"""A kill in each phase of an action: the next start of the actor finishes the action or undoes it, and nothing is done twice."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.actor.record import Record, RecordError
from certmedic.actor.renew import RenewError
from certmedic.core.incident import ActState
from certmedic.core.request import Reissue, Renew, Restart
from labs.played import BOTH, ME, SERVER, old_manager, renewed_by
from labs.values import DAY, NOW, container, member

BOTH_EXPIRED = member(peer_ends=NOW - DAY, server_ends=NOW - DAY)


class Killed(BaseException):
    """The actor is killed here."""


class Killer:
    """Kills the actor after its nth write to the record or effect on the machine."""

    def __init__(self, made, number, monkeypatch):
        self.left = number
        for name in ("renew", "move_aside", "put_back", "restart"):
            monkeypatch.setattr(made.world, name, self.counted(getattr(made.world, name)))
        monkeypatch.setattr(Record, "_write", self.counted(Record._write))

    def counted(self, do):
        def done(*arguments, **named):
            answer = do(*arguments, **named)
            self.left -= 1
            if self.left == 0:
                raise Killed
            return answer

        return done


def acts(made):
    return Record(made.path.with_suffix(".actor")).acts


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("kind", ["restart", "renew", "reissue"])
def test_action_that_was_killed_is_finished_or_undone_at_the_next_start(lab, kind, number, monkeypatch):
    if kind == "reissue":
        made = old_manager(lab)
        request = Reissue(ref=1, runtime="docker", target="c1", paths=(ME, SERVER))
    elif kind == "renew":
        made = lab(BOTH_EXPIRED, remedy={"renew": True}, signable=BOTH)
        request = Renew(ref=1, paths=(ME, SERVER))
    else:
        made, request = lab(), Restart(ref=1, runtime="docker", target="c1")
    killer = Killer(made, number, monkeypatch)
    with suppress(Killed):
        made.hands.ask(request)
    killed = killer.left <= 0
    made.hands.actor().take_up()

    states = [act.state for act in acts(made)]
    assert states in ([], [ActState.DONE], [ActState.WITHDRAWN])
    if states == [ActState.WITHDRAWN]:
        assert made.world.aside == {}
        assert made.world.restarts == []
    reply = made.hands.ask(request)  # as the agent does, which had no reply
    assert reply.result == "done"
    assert not made.ails
    assert len(made.world.restarts) == (kind != "renew")
    assert killed or number > 3


def test_command_that_may_have_run_is_not_run_again(lab):
    made = renewed_by(lab, "command")
    made.world.restart = _killed

    with pytest.raises(Killed):
        made.hands.ask(Restart(ref=1, runtime="command", target="kubeadm"))
    made.hands.actor().take_up()

    (act,) = acts(made)
    assert act.state is ActState.FAILED
    assert "it is not known whether that ran" in act.detail


def _killed(*_):
    raise Killed


def test_stopped_container_is_left_alone_if_the_kill_was_long_ago(lab):
    made = lab()
    made.world.restart = _killed
    with pytest.raises(Killed):
        made.hands.ask(Restart(ref=1, runtime="docker", target="c1"))
    made.world.containers = (container(state="exited", started_at=None),)
    made.now += timedelta(hours=1)
    made.hands.actor().take_up()

    (act,) = acts(made)
    assert act.state is ActState.FAILED
    assert "which does not run" in act.detail


def test_file_that_cannot_be_moved_leaves_nothing_moved(lab):
    made = old_manager(lab)
    move = made.world.move_aside

    def second_fails(aside):
        if aside.path == SERVER:
            raise RenewError(f"{SERVER}: Read-only file system")
        move(aside)

    made.world.move_aside = second_fails
    reply = made.hands.ask(Reissue(ref=1, runtime="docker", target="c1", paths=(ME, SERVER)))

    assert reply.result == "failed"
    assert "Read-only file system" in reply.why
    assert f"{ME} was put back" in reply.why
    assert made.world.restarts == []


def test_record_that_is_damaged_stops_the_actor(lab, tmp_path):
    folder = tmp_path / "actor"
    folder.mkdir()
    (folder / "record.json").write_text('{"acts": [')

    with pytest.raises(RecordError, match=r"record\.json: cannot be read"):
        Record(folder)


def test_record_keeps_what_was_written_and_only_the_last_hundred(lab, tmp_path):
    made = lab()
    made.hands.ask(Restart(ref=1, runtime="docker", target="c1"))
    (act,) = acts(made)
    folder = tmp_path / "actor"
    folder.mkdir()
    record = Record(folder)
    for number in range(120):
        record.intend(number + 1, act.target, act.action, boot_id="b", now=NOW)
    again = Record(folder)

    assert len(again.acts) == 100
    assert again.acts[-1] == replace(act, id=120, incident=120, state=ActState.INTENT, ended_at=None, detail="", at=NOW)
    assert (folder / "record.json").stat().st_mode & 0o777 == 0o600
