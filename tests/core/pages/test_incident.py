"""The report on an incident, as a page and as Markdown, and its time line as a picture."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core.incident import IncidentState
from certmedic.core.model import Decision, Gate, Helps, Remedy, RemedyKind
from certmedic.core.pages import incident_markdown, incident_page
from certmedic.core.pages.timeline import MOST, drawn, picture
from certmedic.core.postmortem import Lane, Moment, story
from labs.exposed import incident
from labs.html import Tags
from labs.values import DAY, NOW, member

SECOND = timedelta(seconds=1)
HOSTILE = "</svg><script>alert(1)</script> `x` [a](http://b) @all \x1b[2J\u202e <img src=x>"
COMMANDS = Remedy(kind=RemedyKind.RESTART, helps=Helps.YES, why="why")


def told(text="text", *, gates=2, resolved=True, count=1, certificates=True, since=NOW - DAY, effect="effect"):
    case = incident()
    diagnosis = replace(
        case.diagnosis,
        certificates=tuple(each.certificate for each in member(peer_ends=NOW - DAY)[:1]) if certificates else (),
        evidence=(text,),
        effect=effect,
        since=since,
        remedy=COMMANDS,
    )
    object.__setattr__(diagnosis.remedy, "command", "sudo true" if gates else "")
    decision = Decision(reason=text, gates=tuple(Gate(name="mode", passed=not n, why=text) for n in range(gates)))
    case = replace(
        case,
        diagnosis=diagnosis,
        decision=decision if gates != 1 else None,
        state=IncidentState.RESOLVED if resolved else IncidentState.OPEN,
        resolved_at=NOW + 90 * SECOND if resolved else None,
    )
    events = [{"at": (NOW + n * SECOND).isoformat(), "what": "decided", "said": text} for n in range(count)]
    fold = {"count": 2, "sample": text, "first_seen": NOW.isoformat(), "last_seen": (NOW + SECOND).isoformat()}
    message = {"id": 1, "kind": "opened", "created_at": NOW.isoformat(), "title": text, "label": text}
    state = {"state": "expired", "attempts": 3, "error": text}
    return story(
        case,
        host="master-a",
        events=events,
        folds=[fold] if count else [],
        messages=[message | state] if count else [],
        now=NOW + DAY,
    )


def test_page_has_every_part_of_the_story():
    tags = Tags(incident_page(told()))

    assert tags.open == []
    for text in (
        "master-a: etcd main: certificate expired",
        "1 minutefrom the first sighting to the end",
        "1 dayfrom the fault to its first sighting",
        "effect",
        "So that it does not happen again",
        "Restart each one at least once a year.",
        "Time line",
        "Certificates",
        "modeclosed",
        "sudo true",
        "Evidence",
        "Messages that were not delivered",
    ):
        assert text in tags.text


def test_page_of_an_incident_without_parts_is_a_page():
    bare = told(gates=0, resolved=False, count=0, certificates=False, since=None, effect="")
    bare = replace(bare, incident=replace(bare.incident, decision=None))
    tags = Tags(incident_page(bare))

    assert tags.open == []
    assert "since the first sighting: it lasts" in tags.text
    assert not any(head in tags.text for head in ("Certificates", "Decision", "not delivered"))
    assert "still open" in incident_markdown(bare)


def test_decision_without_gates_has_its_reason_only():
    tags = Tags(incident_page(told("reason", gates=0)))
    assert "Decisionreason" in tags.text
    assert "Gate" not in tags.text


def test_markdown_has_every_part_of_the_story():
    text = incident_markdown(told())

    assert text.startswith(
        "# master-a: etcd main: certificate expired\n\nIncident 1, critical, resolved, lasted 1 minute."
    )
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert heads == [
        "So that it does not happen again",
        "Time line (UTC)",
        "Certificates",
        "Decision",
        "Fix",
        "Evidence",
        "Messages that were not delivered",
    ]
    assert "\n\nwhy\n\n    sudo true\n" in text
    assert "to 15:40:01: *2 log lines*: text" in text


def test_hostile_lines_stay_text_on_the_page():
    text, plain = incident_page(told(HOSTILE)), Tags(incident_page(told()))
    tags = Tags(text)

    assert tags.open == []
    assert tags.names == plain.names
    assert tags.attributes == plain.attributes
    assert "\u202e" not in text
    assert "\x1b" not in text


def test_hostile_lines_stay_text_in_markdown():
    text = incident_markdown(told(HOSTILE))
    assert not re.search(r"<|@|\]\(|\x1b|\u202e", text)
    assert all(line.count("`") % 2 == 0 for line in text.splitlines())


# ---------------------------------------------------------------- picture


def moments(number, step=SECOND):
    return [Moment(at=NOW + place * step, lane=Lane.DECISION, what="w", text=str(place)) for place in range(number)]


def test_each_moment_has_a_mark_with_its_number():
    assert re.findall(r'<circle class="decision"', picture(moments(3))) == ['<circle class="decision"'] * 3
    assert re.findall(r'y="\d+">(\d)</text></g>', picture(moments(3))) == ["1", "2", "3"]


def test_picture_of_a_long_story_has_its_beginning_and_its_end():
    numbers = [number for number, _ in drawn(moments(MOST + 10))]
    assert len(numbers) == MOST
    assert (numbers[:16], numbers[-1], numbers[16]) == (list(range(1, 17)), MOST + 10, MOST + 10 - 7)
    assert len(drawn(moments(MOST))) == MOST


def test_page_says_what_its_picture_leaves_out():
    assert "leaves out 1 moment in the middle" in incident_page(told(count=MOST - 2))
    assert "leaves out" not in incident_page(told(count=MOST - 3))


@pytest.mark.parametrize(("step", "dashes", "days"), [(SECOND, 0, 1), (61 * 60 * SECOND, 1, 1), (DAY, 1, 2)])
def test_axis_marks_gaps_and_days(step, dashes, days):
    text = picture(moments(2, step))
    assert text.count("stroke-dasharray") == dashes
    assert len(re.findall(r"\d\d Nov<", text)) == days


def test_time_stands_once_below_moments_of_the_same_second():
    assert len(re.findall(r"\d\d:\d\d:\d\d<", picture(moments(3, SECOND / 10)))) == 1


@pytest.mark.parametrize(("until", "width"), [(0, 11), (1, 62), (9, 124)])
def test_span_of_log_lines_ends_at_the_last_moment_before_their_end(until, width):
    line = Moment(at=NOW, until=NOW + until * SECOND, lane=Lane.LINES, what="w", text="")
    text = picture([line, *moments(3)[1:]])
    assert re.search(r'<rect class="span"[^>]* width="(\d+)"', text)[1] == str(width)


def test_bad_news_is_red_and_a_picture_of_nothing_is_drawn():
    assert '<circle class="bad"' in picture([replace(moments(1)[0], is_bad=True)])
    assert picture([]).startswith("<svg")


@pytest.mark.parametrize(("resolved", "colour"), [(True, "good"), (False, "warning")])
def test_incident_that_lasts_is_not_green(resolved, colour):
    assert f'<span class="badge {colour}">{"resolved" if resolved else "open"}</span>' in incident_page(
        told(resolved=resolved)
    )
