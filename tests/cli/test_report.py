"""`certmedic show ID --html` and `--markdown` write a report on an incident that was really cured."""

import pytest

from labs import commandline
from labs.html import Tags


@pytest.fixture
def cured(lab):
    """Return a lab in which a restart has cured incident 1; one of two channels is dead."""
    lab = lab(dead={"other"})
    lab.suffer(5)
    lab.go(20)
    assert lab.incidents()[0].state == "resolved"
    return lab


def test_html_is_a_whole_page_with_the_time_line(cured):
    done = commandline.run(cured, "show", "1", "--html")
    tags = Tags(done.stdout)

    assert (done.exit_code, tags.open) == (0, [])
    assert "svg" in tags.names
    for text in (
        "certificate expired",
        "action done",
        "resolved",
        "reached 1 of 2 channels",
        "So that it does not happen again",
    ):
        assert text in tags.text


def test_markdown_has_the_time_line_and_the_command(cured):
    done = commandline.run(cured, "show", "1", "--markdown")

    assert done.exit_code == 0
    assert "## Time line (UTC)\n\n1. " in done.stdout
    assert "\n    sudo docker stop $(sudo docker ps -q" in done.stdout


@pytest.mark.parametrize("form", ["--html", "--markdown"])
def test_only_one_form_is_printed(cured, form):
    done = commandline.run(cured, "show", "1", "--json", form)
    assert done.exit_code == 2
    assert f"--json and {form}: choose one" in done.output


def test_report_on_an_unknown_incident_is_refused(cured):
    assert "there is no incident 7" in commandline.run(cured, "show", "7", "--html").output
