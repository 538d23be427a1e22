"""Three masters with real etcds and agents, and Debian's Alertmanager with the shipped example, times and all."""

import contextlib
import shutil
import sqlite3
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from certmedic.config import Notify
from certmedic.core.incident.accusation import rest_after
from certmedic.core.incident.circumstances import SILENT
from certmedic.core.message.alert import LASTS, QUIET
from certmedic.edge.store.database import text_of
from labs.alertmanager import alertmanager, described, notifications
from labs.masters import kill, masters, until
from labs.namespaces import STORY
from labs.receivers import Hook
from labs.story import Story, incidents, own

pytestmark = [
    *STORY,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not shutil.which("prometheus-alertmanager"), reason="needs prometheus-alertmanager"),
]

WITHIN = timedelta(seconds=15)  # from the verified cure to the notification that it is over
LATE = rest_after(Notify().remind_every)  # after which one that answered is accused
DEAD = 600.0  # seconds for which an agent is dead
MOST = 3  # messages of one trouble
ROUNDS = 25  # seconds: two rounds of the group
SICK = "b"
FIRING, OVER = ("firing", ["master-b"]), ("resolved", ["master-b"])


def follows(hook, expected, *, seconds=60):
    """Wait for these notifications, and for two more rounds of the group in which nothing follows; return when the last was seen."""
    until(lambda: len(notifications(hook)) >= len(expected), seconds=seconds)
    seen = datetime.now(UTC)
    until(lambda: len(notifications(hook)) > len(expected), seconds=ROUNDS, every=1)
    assert notifications(hook) == expected
    return seen


def resolved_at(lab):
    """Return when the sick master's incident was resolved."""
    return datetime.fromisoformat(own(lab.members[SICK])[0]["resolved_at"])


def cure(lab, story):
    """Restart the sick master's etcd as a person does, and wait until its agent has verified that."""
    sick = lab.members[SICK]
    sick.docker("restart", "--time", "1", sick.container)
    assert until(lambda: story.resolved(SICK), seconds=180, every=1), story.context()


def age(master, by):
    """Have the incidents of a master, and what happened to them, begin earlier."""
    with contextlib.closing(sqlite3.connect(master.home / "state/state.sqlite3", 60)) as state, state:
        for number, opened in state.execute("SELECT id, opened_at FROM incidents").fetchall():
            at = datetime.fromisoformat(opened) - by
            state.execute("UPDATE incidents SET opened_at = ? WHERE id = ?", (text_of(at), number))
        for number, happened in state.execute("SELECT id, at FROM events").fetchall():
            at = datetime.fromisoformat(happened) - by
            state.execute("UPDATE events SET at = ? WHERE id = ?", (text_of(at), number))


def saw_silence(master):
    """Whether a master recorded that another one does not answer."""
    with contextlib.closing(sqlite3.connect(master.home / "state/state.sqlite3", 60)) as state:
        return state.execute("SELECT count(*) FROM events WHERE what = ?", (SILENT,)).fetchone()[0] > 0


def say(text):
    sys.stdout.write(f"{text}\n")


@contextlib.contextmanager
def monitored(folder, **story):
    """Run a story on three masters whose agents post to a chat and to Alertmanager; yield it with them and with the hook of Alertmanager."""
    with (
        masters() as lab,
        Hook(lab.listener()) as chat,
        Hook(lab.listener()) as hook,
        alertmanager(folder, hook, network=lab.hub) as running,
    ):
        notify = f'alertmanager = ["{running.url}"]\n'
        played = Story(lab, chat, seed=0, kill_within=(0, 0), notify=notify, **story)
        try:
            yield lab, chat, hook, played
        finally:
            played.end()


def test_sick_master_gives_one_notification_and_one_when_it_is_over(tmp_path):
    with monitored(tmp_path, sick=SICK) as (lab, _, hook, story):
        assert until(lambda: story.resolved(SICK), seconds=180, every=1), story.context()
        arrived = follows(hook, [FIRING, OVER])
        say(f"told {(arrived - resolved_at(lab)).total_seconds():.1f} s after the verified cure")
        assert arrived - resolved_at(lab) <= WITHIN, notifications(hook)


def test_three_expired_masters_give_one_notification_and_one_when_the_last_is_fixed(tmp_path):
    """The first reports for all, and its alert lasts until it sees the others serve good certificates."""
    with monitored(tmp_path, verify_for="3m") as (lab, chat, hook, story):  # the default
        assert until(story.resolved, seconds=300, every=1), story.context()
        last = max(datetime.fromisoformat(own(master)[0]["resolved_at"]) for master in lab.members.values())
        assert until(lambda: len(notifications(hook)) > 1, seconds=90), described(hook)
        over = datetime.now(UTC)
        until(lambda: len(notifications(hook)) > 2, seconds=ROUNDS, every=1)
        say(
            f"{described(hook)}\nmessages: {chat.titles}\ntold {(over - last).total_seconds():.1f} s after the last cure"
        )
        (fired, ended) = notifications(hook)
        assert (fired[0], ended[0], len(fired[1]), ended[1]) == ("firing", "resolved", 1, fired[1]), story.context()
        assert len(chat.titles) <= MOST, chat.titles


def test_agent_dead_for_ten_minutes_ends_nothing_early_and_repeats_nothing(tmp_path):
    with monitored(tmp_path, sick=SICK, mode="notify") as (lab, chat, hook, story):
        follows(hook, [FIRING], seconds=180)
        kill(story.agents[SICK])
        story.start(SICK)
        follows(hook, [FIRING])

        kill(story.agents[SICK])
        died = time.monotonic()
        follows(hook, [FIRING, OVER], seconds=LASTS.total_seconds() + 60)
        after = time.monotonic() - died - ROUNDS
        say(f"resolved {after:.0f} s after the agent's death")
        # Its last post was at most a minute old.
        assert after > LASTS.total_seconds() - 65
        until(lambda: len(notifications(hook)) > 2, seconds=DEAD - (time.monotonic() - died), every=1)

        story.start(SICK)
        follows(hook, [FIRING, OVER, FIRING])
        cure(lab, story)
        arrived = follows(hook, [FIRING, OVER, FIRING, OVER])
        say(f"told {(arrived - resolved_at(lab)).total_seconds():.1f} s after the verified cure")
        assert arrived - resolved_at(lab) <= WITHIN, notifications(hook)
        assert until(lambda: chat.kinds == ["opened", "resolved"], seconds=30), chat.titles


def test_one_of_two_alertmanagers_that_is_down_loses_nothing(tmp_path):
    """Both run when the trouble begins, the first is dead when it ends, and comes back."""
    with (
        masters() as lab,
        Hook(lab.listener()) as chat,
        Hook(lab.listener()) as hook,
        alertmanager(tmp_path / "second", hook, network=lab.hub, joins=()) as second,
    ):
        with alertmanager(tmp_path / "first", hook, network=lab.hub, joins=(second,)) as first:
            notify = f'alertmanager = ["{first.url}", "{second.url}"]\n'
            story = Story(lab, chat, seed=0, sick=SICK, kill_within=(0, 0), notify=notify, mode="notify")
            try:
                follows(hook, [FIRING], seconds=180)
            except BaseException:
                story.end()
                raise
        try:
            cure(lab, story)
            arrived = follows(hook, [FIRING, OVER])
            say(
                f"told {(arrived - resolved_at(lab)).total_seconds():.1f} s after the verified cure, one of two being down"
            )
            with alertmanager(tmp_path / "first", hook, network=lab.hub, joins=(second,)):
                follows(hook, [FIRING, OVER])
        finally:
            story.end()


def test_accuser_of_a_master_that_a_person_cures_late_is_not_heard(tmp_path):
    """The hours pass by setting the start of the incidents back. The accuser tells the chat only that it is refused."""
    with monitored(tmp_path, sick=SICK, mode="notify") as (lab, chat, hook, story):
        follows(hook, [FIRING], seconds=180)
        assert until(lambda: any(i["decision"] for i in incidents(lab.members["a"])), seconds=60), story.context()
        for master in lab.members.values():
            age(master, LATE)
        assert until(lambda: any(i["announced_at"] for i in incidents(lab.members["a"])), seconds=120), story.context()
        follows(hook, [FIRING])
        cure(lab, story)
        arrived = follows(hook, [FIRING, OVER])
        say(
            f"told {(arrived - resolved_at(lab)).total_seconds():.1f} s after the verified cure; messages: {chat.titles}"
        )
        assert arrived - resolved_at(lab) <= WITHIN, described(hook)
        assert not until(lambda: len(notifications(hook)) > 2, seconds=QUIET.total_seconds() + 70, every=1), described(
            hook
        )


@pytest.mark.parametrize("etcd", ["serves", "dead"])
def test_one_accuser_speaks_for_a_dead_agent_after_the_deadline(tmp_path, etcd):
    """The deadline passes by setting the start of the incidents back. A reminder does not wait for one that is silent."""
    sick, accusers = SICK, "ac"
    with monitored(tmp_path, sick=sick, mode="notify") as (lab, chat, hook, story):
        kill(story.agents[sick])

        def all_accuse():
            return all(any(i["decision"] for i in incidents(lab.members[name])) for name in accusers)

        assert until(all_accuse, seconds=180, every=1), story.context()
        if etcd == "dead":
            lab.members[sick].docker("stop", "--time", "1", lab.members[sick].container)
            assert until(lambda: all(saw_silence(lab.members[name]) for name in accusers), seconds=180, every=1)
        until(lambda: chat.titles or notifications(hook), seconds=ROUNDS, every=1)
        assert (chat.titles, notifications(hook)) == ([], []), story.context()

        for name in accusers:
            age(lab.members[name], LATE)
        follows(hook, [("firing", ["master-a"])], seconds=180)
        assert len(chat.titles) == 1, story.context()
        assert "master-a" in chat.titles[0]
