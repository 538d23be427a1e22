"""The report on an incident as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator

from certmedic.core.decision.gates import explain
from certmedic.core.message.words import WHAT, whose
from certmedic.core.model import Decision
from certmedic.core.pages.markup import Markup, badge, element, joined, page, table
from certmedic.core.pages.timeline import drawn, picture
from certmedic.core.postmortem import Moment, Story
from certmedic.core.text import count, span, stamp

# Incident state -> the state of things whose colour it has; any other state lasts.
STATE = {"resolved": "good", "superseded": "silent"}


def incident_page(story: Story) -> str:
    """Return the story of an incident as an HTML page."""
    incident, diagnosis = story.incident, story.incident.diagnosis
    title = f"{story.host}: {whose(diagnosis)}: {WHAT[diagnosis.cause]}"
    return page(
        f"incident {incident.id}: {title}",
        element("h1", title),
        element(
            "p",
            badge(incident.severity),
            " ",
            badge(incident.state, STATE.get(incident.state, "warning")),
            class_="dim",
        ),
        _figures(story),
        element("p", diagnosis.effect) if diagnosis.effect else None,
        *_again(story),
        *_time_line(story),
        *_certificates(story),
        *(_decision(incident.decision) if incident.decision else ()),
        *_cure(story),
        *_evidence(story),
        *_undelivered(story),
        element("p", f"Incident {incident.id} of {story.host}. Written by certmedic, {stamp(story.at)}.", class_="dim"),
    )


def _figures(story: Story) -> Markup:
    incident = story.incident
    lasted = span(story.end - incident.opened_at)
    since = incident.diagnosis.since
    figures = [
        (
            lasted,
            "from the first sighting to the end" if incident.resolved_at else "since the first sighting: it lasts",
        ),
        (count(incident.count, "line"), "in the logs"),
    ]
    if since is not None and since < incident.opened_at:
        figures.insert(0, (span(incident.opened_at - since), "from the fault to its first sighting"))
    return element(
        "div",
        *(element("div", element("b", number), text, class_="figure") for number, text in figures),
        class_="figures",
    )


def _again(story: Story) -> Iterator[Markup]:
    yield element("h2", "So that it does not happen again")
    yield element("ol", *(element("li", *_coded(text)) for text in story.lessons))


def _coded(text: str) -> Iterator[object]:
    """Yield a sentence in pieces; what stands between backticks is set as code."""
    for number, piece in enumerate(text.split("`")):
        yield element("code", piece) if number % 2 else piece


def _time_line(story: Story) -> Iterator[Markup]:
    yield element("h2", "Time line")
    yield element("div", picture(story.moments), class_="picture")
    left = len(story.moments) - len(drawn(story.moments))
    if left:
        yield element("p", f"The picture leaves out {count(left, 'moment')} in the middle.", class_="dim")
    yield table(("No.", "When (UTC)", "What", "Details"), map(_moment, range(1, len(story.moments) + 1), story.moments))


def _moment(number: int, moment: Moment) -> tuple[object, ...]:
    until = f"until {moment.until:%H:%M:%S}" if moment.until and moment.until != moment.at else None
    what = element("span", moment.what, class_="bad") if moment.is_bad else moment.what
    return (
        number,
        joined([element("time", f"{moment.at:%Y-%m-%d %H:%M:%S}"), until and element("div", until, class_="dim")]),
        what,
        moment.text,
    )


def _certificates(story: Story) -> Iterator[Markup]:
    certificates = story.incident.diagnosis.certificates
    if not certificates:
        return
    yield element("h2", "Certificates")
    rows = [
        (
            element("code", certificate.path or "(in memory)"),
            certificate.subject,
            certificate.issuer,
            joined(
                [
                    element("time", stamp(certificate.not_before)),
                    " to ",
                    element("time", stamp(certificate.not_after)),
                ]
            ),
        )
        for certificate in certificates
    ]
    yield table(("File", "Subject", "Issuer", "Valid"), rows)


def _decision(decision: Decision) -> Iterator[Markup]:
    yield element("h2", "Decision")
    yield element("p", decision.reason)
    if decision.gates:
        rows = [(gate.name, badge("open" if gate.passed else "closed"), explain(gate)) for gate in decision.gates]
        yield table(("Gate", "State", "Why"), rows)


def _cure(story: Story) -> Iterator[Markup]:
    remedy = story.incident.diagnosis.remedy
    yield element("h2", "What fixes it")
    yield element("p", remedy.why)
    if remedy.command:
        yield element("pre", remedy.command)


def _evidence(story: Story) -> Iterator[Markup]:
    yield element("h2", "Evidence")
    yield element("ul", *(element("li", sentence) for sentence in story.incident.diagnosis.evidence))
    if story.lines:
        rows = [
            (line.count, element("time", f"{line.first:%Y-%m-%d %H:%M:%S}"), element("code", line.text))
            for line in story.lines
        ]
        yield table(("Times", "First (UTC)", "Line"), rows)


def _undelivered(story: Story) -> Iterator[Markup]:
    if story.undelivered:
        yield element("h2", "Messages that were not delivered")
        yield element("ul", *(element("li", sentence) for sentence in story.undelivered))
