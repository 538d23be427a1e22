"""`certmedic status`: the version, the mode, and whether messages can reach people."""

import json

import pytest

from certmedic import __version__
from labs import commandline


@pytest.mark.parametrize(
    ("config", "lacking"),
    [
        ("", True),
        ('[notify]\napprise = ["json://example.org/"]\n', False),
    ],
)
def test_status_names_the_mode_and_the_lack_of_a_channel(lab, config, lacking):
    done = commandline.run(lab(), "status", config=f'mode = "observe"\n{config}')

    assert done.output.splitlines()[0] == f"certmedic    {__version__}, mode observe, NOT RUNNING"
    assert ("channel      none is configured: set notify.apprise" in done.output.splitlines()) is lacking
    assert done.exit_code == 0


def test_status_shows_the_same_as_json(lab):
    answer = json.loads(commandline.run(lab(), "status", "--json").stdout)

    assert (answer["version"], answer["mode"], answer["open"]) == (__version__, "notify", [])


def test_status_counts_one_attempt_and_two_attempts(lab):
    lab = lab(mode="notify", dead={"good"})
    lab.suffer(5)
    once = commandline.run(lab, "status").output
    lab.step(seconds=400)
    lab.step(seconds=400)
    more = commandline.run(lab, "status").output

    assert "json://good: 1 waiting after 1 attempt: refused; no delivery yet" in once
    assert " attempts: refused" in more
    assert "json://other: last delivery " in once
