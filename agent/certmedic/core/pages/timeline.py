"""The time line of an incident as an inline SVG: a lane for each kind of event, a numbered mark for each moment.

Moments stand at equal distances, because minutes and months would not fit on one scale. A dashed axis marks a gap of over an hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from certmedic.core.pages.markup import Markup, element
from certmedic.core.postmortem import Lane, Moment
from certmedic.core.text import cut

MOST = 24  # marks; of a longer story the beginning and the end are drawn
HEAD = 16  # of these, marks of the beginning
GAP = timedelta(hours=1)
LEFT, STEP, ROW, TOP, RADIUS = 122, 62, 36, 14, 11  # in pixels
COLOURS = {
    Lane.CERTIFICATE: "file",
    Lane.LINES: "line",
    Lane.DECISION: "decision",
    Lane.ACTION: "action",
    Lane.MESSAGE: "message",
    Lane.CHECK: "check",
}


def drawn(moments: Sequence[Moment]) -> list[tuple[int, Moment]]:
    """Return the moments that the picture shows, each with its number in the story."""
    numbered = list(enumerate(moments, 1))
    return numbered if len(numbered) <= MOST else [*numbered[:HEAD], *numbered[HEAD - MOST :]]


def picture(moments: Sequence[Moment]) -> Markup:
    """Return the time line as an SVG element."""
    marks = drawn(moments)
    width, height = LEFT + STEP * len(marks), TOP + ROW * len(Lane) + 44
    return element(
        "svg",
        *_lanes(width),
        *_axis(marks),
        *(_span(place, moment, marks) for place, (_, moment) in enumerate(marks) if moment.until),
        *(_mark(place, number, moment) for place, (number, moment) in enumerate(marks)),
        role="img",
        aria_label="Time line of the incident. The table below has the same moments.",
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height}",
    )


def _x(place: int) -> int:
    return LEFT + STEP // 2 + STEP * place


def _y(lane: Lane) -> int:
    return TOP + ROW * list(Lane).index(lane) + ROW // 2


def _lanes(width: int) -> Iterator[Markup]:
    for lane in Lane:
        yield element("line", class_="lane", x1=LEFT, x2=width, y1=_y(lane), y2=_y(lane))
        yield element("text", lane, class_="dim", x=14, y=_y(lane) + 4)


def _axis(marks: Sequence[tuple[int, Moment]]) -> Iterator[Markup]:
    """Draw times below the lanes, each once, with the day where it changes."""
    y = TOP + ROW * len(Lane) + 6
    before = None
    for place, (_, moment) in enumerate(marks):
        if before is not None:
            gap = "4 4" if moment.at - before > GAP else None
            yield element("line", class_="axis", x1=_x(place - 1), x2=_x(place), y1=y, y2=y, stroke_dasharray=gap)
        if before is None or f"{before:%H:%M:%S}" != f"{moment.at:%H:%M:%S}" or before.date() != moment.at.date():
            yield element("text", f"{moment.at:%H:%M:%S}", class_="time", x=_x(place), y=y + 16)
        if before is None or before.date() != moment.at.date():
            yield element("text", f"{moment.at:%d %b}", class_="time dim", x=_x(place), y=y + 32)
        before = moment.at


def _span(place: int, moment: Moment, marks: Sequence[tuple[int, Moment]]) -> Markup:
    """Draw how long log lines went on, up to the last moment before their end."""
    last = max(
        (other for other, (_, each) in enumerate(marks) if moment.until and each.at <= moment.until), default=place
    )
    end = max(_x(max(last, place)), _x(place) + RADIUS)
    return element("rect", class_="span", x=_x(place), y=_y(moment.lane) - 5, width=end - _x(place), height=10, rx=5)


def _mark(place: int, number: int, moment: Moment) -> Markup:
    colour = "bad" if moment.is_bad else COLOURS[moment.lane]
    return element(
        "g",
        element("title", cut(f"{moment.what}: {moment.text}", 300)),
        element("circle", class_=colour, cx=_x(place), cy=_y(moment.lane), r=RADIUS),
        element("text", number, x=_x(place), y=_y(moment.lane) + 4),
        class_="mark",
    )
