"""The page on a fleet: open incidents, silent masters, the next expiries, clusters and cures."""

from __future__ import annotations

from collections.abc import Iterator

from certmedic.core.fleet import SOON, Cluster, Expiry, Fleet, Incident, Week, renewed, whose, wrong
from certmedic.core.pages.markup import Markup, badge, element, joined, page, table
from certmedic.core.text import ago, count, stamp

MOST = 25  # certificates and cures that are listed
WIDEST = 70  # percent of a track that the longest bar takes
NO_NAME = "(no name)"


def fleet_page(fleet: Fleet) -> str:
    """Return a fleet as one HTML page."""
    return page(
        "certmedic: the fleet",
        element("h1", _headline(fleet)),
        element("p", f"{count(fleet.masters, 'master')}, as of {stamp(fleet.at)}", class_="dim"),
        *_figures(fleet),
        *_incidents(fleet),
        *_silent(fleet),
        *_weeks(fleet),
        *_next(fleet),
        *_clusters(fleet),
        *_cures(fleet),
    )


def _headline(fleet: Fleet) -> str:
    open_now = [incident for incident in fleet.incidents if incident.severity in ("critical", "warning")]
    if open_now:
        clusters = count(len({incident.cluster for incident in open_now}), "cluster")
        return f"{count(len(open_now), 'open incident')} in {clusters} of {len(fleet.clusters)}"
    return f"{count(len(fleet.clusters), 'cluster')}: no open incident"


def _figures(fleet: Fleet) -> Iterator[Markup]:
    soon = sum(not e.by_itself and fleet.at < e.not_after <= fleet.at + SOON for e in fleet.expiries)
    gone = sum(expiry.not_after <= fleet.at for expiry in fleet.expiries)
    critical = sum(incident.severity == "critical" for incident in fleet.incidents)
    silent = len(fleet.silent)
    figures = (
        (critical, "critical incident" if critical == 1 else "critical incidents", "critical"),
        (gone, "certificate has expired" if gone == 1 else "certificates have expired", "critical"),
        (soon, f"to expire within {SOON.days} days, renewed by nothing", "warning"),
        (silent, "master has gone silent" if silent == 1 else "masters have gone silent", "warning"),
        (sum(cure.verified for cure in fleet.cures), "fixed and verified", ""),
    )
    yield element(
        "div",
        *(
            element("div", element("b", number), text, class_=f"figure {colour if number else ''}".strip())
            for number, text, colour in figures
        ),
        class_="figures",
    )


def _incidents(fleet: Fleet) -> Iterator[Markup]:
    if not fleet.incidents:
        return
    yield element("h2", "Open incidents")
    heads = ("State", "Cluster", "Whose", "What", "Since", "Reported by")
    yield table(heads, [_incident(incident, fleet) for incident in fleet.incidents])


def _incident(incident: Incident, fleet: Fleet) -> tuple[object, ...]:
    text = element("div", incident.text, class_="dim") if incident.text else None
    command = element("code", incident.command) if incident.command else None
    return (
        badge(incident.severity or "unknown"),
        incident.cluster or NO_NAME,
        whose(incident),
        joined([wrong(incident), text, command]),
        element("time", ago(fleet.at - incident.since)) if incident.since else "",
        ", ".join(incident.reporters),
    )


def _silent(fleet: Fleet) -> Iterator[Markup]:
    if not fleet.silent:
        return
    yield element("h2", "Masters that have gone silent")
    yield element("p", "Nothing came from them for more than an hour. Nobody watches their certificates.", class_="dim")
    rows = [
        (master.cluster or NO_NAME, master.name, ago(fleet.at - master.heard) if master.heard else "")
        for master in fleet.silent
    ]
    yield table(("Cluster", "Master", "Last sign of life"), rows)


def _weeks(fleet: Fleet) -> Iterator[Markup]:
    if not fleet.weeks:
        return
    yield element("h2", "Certificates by the week in which they expire")
    yield element("p", "Striped: nothing renews them by itself. Plain: they are renewed in time.", class_="dim")
    longest = max(1, *(week.count for week in fleet.weeks))
    yield element("div", *(piece for week in fleet.weeks for piece in _week(week, longest)), class_="weeks")


def _week(week: Week, longest: int) -> Iterator[Markup]:
    yield element(
        "span", f"{week.start:%d %b %Y}" if week.start else "expired", class_=None if week.start else "critical"
    )
    parts = (
        ("bar alone" if week.start else "bar expired", week.alone if week.start else week.count),
        ("bar", week.count - week.alone if week.start else 0),
    )
    bars = [
        element("span", class_=name, style=f"width:{max(number / longest * WIDEST, 0.5):.1f}%")
        for name, number in parts
        if number
    ]
    yield element("span", *bars, element("span", week.count or "", class_="dim"), class_="track")


def _next(fleet: Fleet) -> Iterator[Markup]:
    if not fleet.expiries:
        return
    yield element("h2", "What expires next")
    rows = [
        (
            _until(expiry, fleet),
            expiry.cluster or NO_NAME,
            expiry.master,
            element("code", expiry.path),
            renewed(expiry, fleet.at),
        )
        for expiry in fleet.expiries[:MOST]
    ]
    yield table(("Expires", "Cluster", "Master", "File", "Renewed by"), rows)
    if len(fleet.expiries) > MOST:
        yield element("p", f"And {len(fleet.expiries) - MOST} more.", class_="dim")


def _until(expiry: Expiry, fleet: Fleet) -> Markup:
    """Return when a certificate expires, and how far off that is."""
    end = expiry.not_after
    return joined([element("time", f"{end:%Y-%m-%d}"), ", ", element("time", ago(fleet.at - end))])


def _clusters(fleet: Fleet) -> Iterator[Markup]:
    yield element("h2", "Clusters")
    heads = ("State", "Cluster", "Masters", "Open", "Silent", "Next expiry")
    yield table(heads, [_cluster(cluster, fleet) for cluster in fleet.clusters])


def _cluster(cluster: Cluster, fleet: Fleet) -> tuple[object, ...]:
    return (
        badge(cluster.state),
        cluster.name or NO_NAME,
        ", ".join(master.name for master in cluster.masters),
        cluster.incidents or "",
        ", ".join(cluster.silent),
        _until(cluster.next, fleet) if cluster.next else "",
    )


def _cures(fleet: Fleet) -> Iterator[Markup]:
    if not fleet.cures:
        return
    yield element("h2", "What was fixed")
    rows = [
        (
            element("time", f"{cure.at:%Y-%m-%d %H:%M}"),
            cure.cluster or NO_NAME,
            cure.master,
            cure.what,
            badge("verified", "good") if cure.verified else badge("failed", "critical"),
        )
        for cure in fleet.cures[:MOST]
    ]
    yield table(("When (UTC)", "Cluster", "Master", "What", "Verified"), rows)
