"""`fleet`: all clusters at a glance, from the Prometheus, the Alertmanager or the journals that have them already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from certmedic.cli import inputs, output
from certmedic.core.fleet import Cluster, Expiry, Fleet, Master, Records, joined, renewed, view, whose, wrong
from certmedic.core.text import ago, count, span, stamp
from certmedic.edge.fleet import FleetError, from_alertmanager, from_journals, from_prometheus

MOST = 10  # certificates and cures that a person sees
WIDEST = 40  # columns of a bar
ROOMY = 100  # columns; a narrower terminal shows the number of masters, and no date beside the days that are left
NO_NAME = "(no name)"
NOTHING_GIVEN = (
    "give --prometheus URL, --alertmanager URL or --journal DIR: certmedic asks what you have, and has no server"
)
COLOURS = {**output.COLOURS, "silent": "yellow"}


@inputs.command(
    "fleet",
    "Show all clusters at a glance.",
    "certmedic fleet --prometheus http://localhost:9090",
    "certmedic fleet --journal /var/log/journal/remote --html > fleet.html",
)
@click.option("--prometheus", metavar="URL", help="A Prometheus that has the agents' metrics.")
@click.option("--alertmanager", metavar="URL", help="An Alertmanager that gets the agents' incidents.")
@click.option(
    "--journal",
    "folder",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Journals of the masters, as systemd-journal-remote writes them.",
)
@inputs.JSON
@click.option("--html", "as_html", is_flag=True, help="Print one HTML page that loads nothing.")
def fleet(
    *, prometheus: str | None, alertmanager: str | None, folder: Path | None, as_json: bool, as_html: bool
) -> None:
    """Show all clusters at a glance: open incidents once each, what expires next, masters that have gone silent, and cures.

    It asks what you have already. Several sources add up, if they name clusters and masters alike.
    """
    if as_json and as_html:
        raise click.UsageError("--json and --html: choose one")
    now = datetime.now(UTC)
    records, errors = gathered(prometheus, alertmanager, folder, now)
    if not records:
        for error in errors[:-1]:
            output.write(f"certmedic: {error}", err=True)
        output.fail(errors[-1])
    seen = view(joined(records), now)
    if as_json:
        output.as_json(**as_values(seen), errors=errors)
    elif as_html:
        from certmedic.core.pages import fleet_page  # noqa: PLC0415 - only this needs it

        output.page(fleet_page(seen))
    else:
        tell(seen)
    for error in errors:
        output.write(f"certmedic: {error}", err=True)
    raise SystemExit(1 if errors else 0)


def gathered(
    prometheus: str | None, alertmanager: str | None, folder: Path | None, now: datetime
) -> tuple[list[Records], list[str]]:
    """Return the records of each source that can be read, and for each other one why not."""
    sources: list[Callable[[], Records]] = [
        *([partial(from_prometheus, prometheus)] if prometheus else []),
        *([partial(from_alertmanager, alertmanager)] if alertmanager else []),
        *([partial(from_journals, folder, now)] if folder else []),
    ]
    if not sources:
        raise click.UsageError(NOTHING_GIVEN)
    records, errors = [], []
    for source in sources:
        try:
            records.append(source())
        except FleetError as error:
            errors.append(str(error))
    return records, errors


# ---------------------------------------------------------------- JSON


def as_values(seen: Fleet) -> dict[str, Any]:
    """Return a fleet as `--json` shows it."""
    return {
        "at": output.when(seen.at),
        "clusters": [
            {
                "name": cluster.name or None,
                "state": cluster.state,
                "incidents": cluster.incidents,
                "next_expiry": expiry_values(cluster.next) if cluster.next else None,
                "masters": [
                    {
                        "name": master.name,
                        "version": master.version or None,
                        "mode": master.mode or None,
                        "last_heard": output.when(master.heard),
                        "silent": master.name in cluster.silent,
                    }
                    for master in cluster.masters
                ],
            }
            for cluster in seen.clusters
        ],
        "incidents": [
            {
                "cluster": incident.cluster or None,
                "culprit": incident.culprit or None,
                "cause": incident.cause,
                "severity": incident.severity,
                "plane": incident.plane,
                "group": incident.group,
                "since": output.when(incident.since),
                "reporters": list(incident.reporters),
                "text": incident.text,
                "command": incident.command,
            }
            for incident in seen.incidents
        ],
        "expiries": [expiry_values(expiry) for expiry in seen.expiries],
        "cures": [
            {
                "cluster": cure.cluster or None,
                "master": cure.master,
                "at": output.when(cure.at),
                "what": cure.what,
                "verified": cure.verified,
            }
            for cure in seen.cures
        ],
    }


def expiry_values(expiry: Expiry) -> dict[str, Any]:
    """Return a certificate of a fleet as `--json` shows it."""
    return {
        "cluster": expiry.cluster or None,
        "master": expiry.master,
        "path": expiry.path,
        "not_after": output.when(expiry.not_after),
        "plane": expiry.plane,
        "used_as": expiry.use,
        "cure": expiry.cure or None,
        "by_itself": expiry.by_itself,
    }


# ---------------------------------------------------------------- for people


def tell(seen: Fleet) -> None:
    """Print a fleet for a person: incidents first, the table of clusters last."""
    opened = count(len(seen.incidents), "open incident")
    gone = f", {count(len(seen.silent), 'silent master')}" if seen.silent else ""
    output.say(f"{count(len(seen.clusters), 'cluster')}, {count(seen.masters, 'master')}: {opened}{gone}", bold=True)
    output.say(stamp(seen.at))
    tell_incidents(seen)
    tell_expiries(seen)
    if seen.silent:
        output.say("\nSILENT FOR MORE THAN AN HOUR", bold=True)
        rows = [
            [master.cluster or NO_NAME, master.name, ago(seen.at - master.heard) if master.heard else ""]
            for master in seen.silent
        ]
        output.table(("CLUSTER", "MASTER", "LAST HEARD"), rows, colours=["yellow"] * len(rows))
    if seen.cures:
        output.say("\nFIXED", bold=True)
        rows = [
            [f"{c.at:%Y-%m-%d %H:%M}", c.cluster or NO_NAME, c.master, "verified" if c.verified else "FAILED", c.what]
            for c in seen.cures[:MOST]
        ]
        colours = [None if cure.verified else "red" for cure in seen.cures[:MOST]]
        output.table(("WHEN (UTC)", "CLUSTER", "MASTER", "RESULT", "WHAT"), rows, colours=colours)
        more(len(seen.cures), MOST)
    output.say("\nCLUSTERS", bold=True)
    narrow = 0 < output.columns() < ROOMY
    output.table(
        ("STATE", "CLUSTER", "OPEN", "MASTERS", "NEXT EXPIRY"),
        [
            [
                cluster.state,
                cluster.name or NO_NAME,
                str(cluster.incidents or "-"),
                masters_of(cluster, narrow=narrow),
                left(cluster.next, seen.at, short=narrow) if cluster.next else "-",
            ]
            for cluster in seen.clusters
        ],
        colours=[COLOURS.get(cluster.state) for cluster in seen.clusters],
    )


def masters_of(cluster: Cluster, *, narrow: bool) -> str:
    """Return the masters of a cluster; where there is little room their number, and those that are silent."""
    if not narrow:
        return ", ".join(map(partial(master_of, cluster), cluster.masters)) or "-"
    silent = [master_of(cluster, master) for master in cluster.masters if master.name in cluster.silent]
    return ", ".join([str(len(cluster.masters) or "-"), *silent])


def master_of(cluster: Cluster, master: Master) -> str:
    """Return a master's name without its domain, and whether it is silent."""
    is_address = ":" in master.name or master.name.replace(".", "").isdigit()
    name = master.name if is_address else master.name.partition(".")[0]
    return f"{name} SILENT" if master.name in cluster.silent else name


def tell_incidents(seen: Fleet) -> None:
    """Print each open incident once, with the machines that report it."""
    if not seen.incidents:
        output.say("No open incident.", colour="green")
        return
    output.say("\nOPEN INCIDENTS", bold=True)
    output.table(
        ("STATE", "CLUSTER", "WHOSE", "WHAT", "SINCE", "REPORTED BY"),
        [
            [
                incident.severity or "unknown",
                incident.cluster or NO_NAME,
                whose(incident),
                wrong(incident),
                span(seen.at - incident.since) if incident.since else "-",
                names(incident.reporters),
            ]
            for incident in seen.incidents
        ],
        colours=[COLOURS.get(incident.severity) for incident in seen.incidents],
        stacked=["SINCE", "REPORTED BY"],
        cuts="CLUSTER",
    )


def names(masters: Sequence[str]) -> str:
    """Return the first of several names, and how many more there are."""
    return f"{masters[0]} +{len(masters) - 1}" if len(masters) > 1 else masters[0]


def tell_expiries(seen: Fleet) -> None:
    """Print how many certificates expire in each week as bars, and those that expire first."""
    if not seen.expiries:
        return
    output.say("\nEXPIRIES BY WEEK   (# nothing renews them by itself, = renewed in time)", bold=True)
    longest = max(week.count for week in seen.weeks)
    room = min(WIDEST, max((output.columns() or 80) - 20, 10))
    for week in seen.weeks:
        name = f"{week.start:%Y-%m-%d}" if week.start else "expired"
        bar = bars(week.alone if week.start else week.count, week.count, longest, room)
        colour = "red" if week.start is None else "yellow" if week.alone else None
        output.say(f"  {name:<10}  {bar} {week.count}" if week.count else f"  {name}", colour=colour)
    output.say()
    output.table(
        ("FILE", "EXPIRES", "CLUSTER", "MASTER", "RENEWED BY"),
        [
            [
                expiry.path,
                left(expiry, seen.at),
                expiry.cluster or NO_NAME,
                expiry.master,
                renewed(expiry, seen.at) or "-",
            ]
            for expiry in seen.expiries[:MOST]
        ],
        colours=["red" if expiry.not_after <= seen.at else None for expiry in seen.expiries[:MOST]],
        stacked=["FILE"],
    )
    more(len(seen.expiries), MOST)


def bars(alone: int, number: int, longest: int, room: int) -> str:
    """Return a bar of `number`, at least one column wide; its first part stands for `alone` of them."""
    width = max(1, round(number / max(longest, 1) * room))
    first = min(width, max(1, round(alone / number * width))) if alone else 0
    return "#" * first + "=" * (width - first)


def left(expiry: Expiry, now: datetime, *, short: bool = False) -> str:
    """Return when a certificate expires, and how far off that is; if `short`, only that."""
    far = ago(now - expiry.not_after)
    return far if short else f"{expiry.not_after:%Y-%m-%d}, {far}"


def more(number: int, shown: int) -> None:
    """Print how many rows are left out."""
    if number > shown:
        output.say(f"and {number - shown} more: --json has all")
