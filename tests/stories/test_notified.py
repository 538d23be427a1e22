"""Three masters with real etcds and agents, and Debian's Alertmanager with the shipped example, times and all."""

import shutil
import sys
from datetime import UTC, datetime, timedelta

import pytest

from labs.alertmanager import alertmanager, notifications
from labs.masters import masters, until
from labs.namespaces import STORY
from labs.receivers import Hook
from labs.story import Story, own

pytestmark = [
    *STORY,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which("prometheus-alertmanager"), reason="needs prometheus-alertmanager"),
]

WITHIN = timedelta(seconds=15)  # from the verified cure to the notification that it is over


def test_sick_master_gives_one_notification_and_one_when_it_is_over(tmp_path):
    sick = "b"
    with (
        masters() as lab,
        Hook(lab.listener()) as chat,
        Hook(lab.listener()) as hook,
        alertmanager(tmp_path, hook, network=lab.hub) as running,
    ):
        notify = f'alertmanager = ["{running.url}"]\n'
        story = Story(lab, chat, seed=0, sick=sick, kill_within=(0, 0), notify=notify)
        try:
            assert until(lambda: story.resolved(sick), seconds=180, every=1), story.context()
            assert until(lambda: len(notifications(hook)) > 1, seconds=60), notifications(hook)
            arrived = datetime.now(UTC)
            # The group has two more rounds, in which nothing follows.
            assert not until(lambda: len(notifications(hook)) > 2, seconds=25, every=1), notifications(hook)
            firing, over = notifications(hook)
            assert (firing[0], over[0]) == ("firing", "resolved"), notifications(hook)
            ended = datetime.fromisoformat(own(lab.members[sick])[0]["resolved_at"])
            sys.stdout.write(f"told {(arrived - ended).total_seconds():.1f} s after the verified cure\n")
            assert arrived - ended <= WITHIN, notifications(hook)
        finally:
            story.end()
