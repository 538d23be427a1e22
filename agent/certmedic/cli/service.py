"""`status`: the health of the service."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from certmedic import __version__, app
from certmedic.cli import inputs, output
from certmedic.cli.incidents import row, silence_of, silences_of
from certmedic.cli.security import show_protections
from certmedic.config import Config
from certmedic.core import message
from certmedic.core.examine import replaced
from certmedic.core.model import Facts, Severity, Silence
from certmedic.core.text import ago, count, minute, span
from certmedic.edge import actor
from certmedic.edge.alertmanager import name_of
from certmedic.edge.store import Incident
from certmedic.edge.store.claim import is_claimed

NO_LINES = ("certificates", "reader")  # what reports its state as a source does, and reads no log
STOPPED = 3  # the exit status if the service does not run, as that of `systemctl status`


@inputs.command(
    "status",
    "Show in one screen how things stand.",
    "certmedic status",
    "certmedic status --security",
)
@inputs.JSON
@inputs.CONFIG
@click.option("--security", is_flag=True, help="Only: which protections of the units this systemd does not know.")
def status(*, as_json: bool, security: bool, config_path: Path | None) -> None:
    """Show what is watched and found, what is open, whether certmedic may act, and whether messages arrive.

    Exits with 3 if the service does not run, as systemctl does.
    """
    inputs.need_linux("status")
    if security:
        show_protections(as_json=as_json)
        return
    settings, now = inputs.config(config_path, looks=True), datetime.now(UTC)
    with inputs.state(settings) as state:
        sources, opened, channels = state.sources(), state.incidents(unresolved=True), state.channels()
        configured = {name_of(url.reveal()) for url in settings.notify.alertmanager}
        receivers = [row for row in state.receivers() if row["instance"] in configured] if configured else []
        silences = [silence for silence in silences_of(settings, state, now) if silence.starts_at <= now]
        tripped = state.tripped()
    running = is_claimed(settings.state)
    cluster = app.identity(settings).name
    waiting = sum(channel["waiting"] for channel in channels)
    oldest = min((channel["oldest"] for channel in channels if channel["oldest"]), default=None)
    rows = [(incident, silence_of(incident, silences, now)) for incident in opened]
    if as_json:
        age = max((now - datetime.fromisoformat(oldest)).total_seconds(), 0.0) if oldest else 0
        output.as_json(
            version=__version__,
            cluster=cluster,
            mode=settings.mode,
            running=running,
            acts=idle_reason(settings.mode, tripped) is None,
            acts_not=idle_reason(settings.mode, tripped),
            actor=actor.is_installed(),
            sources=sources,
            open=[row(*pair) for pair in rows],
            outbox={"pending": waiting, "oldest": oldest, "age_seconds": age},
            channels=channels,
            alertmanagers=receivers,
            silences=[silence.id for silence in silences if silence.id],
            maintenance=[
                {"window": silence.comment, "ends_at": output.when(silence.ends_at)}
                for silence in silences
                if not silence.id
            ],
        )
        sys.exit(0 if running else STOPPED)
    stopped = "" if running else ", NOT RUNNING: sudo systemctl start certmedic"
    part = f", cluster {cluster}" if cluster else ""
    output.say(f"certmedic    {__version__}, mode {settings.mode}{part}{stopped}", colour=None if running else "red")
    tell_found(app.inspector(settings, None).gather(now=now), now)
    idle = idle_reason(settings.mode, tripped)
    output.item(
        "acts         ", f"no: {idle}" if idle else "yes, if every gate passes", colour="yellow" if tripped else None
    )
    for source in sources:
        tell_source(source)
    if not sources:
        output.say("No source has reported yet.")
    late = f", the oldest for {since(oldest, now)}" if oldest else ""
    output.say(f"outbox       {waiting} waiting{late}", colour="yellow" if waiting else None)
    tell_channels(settings, channels, receivers, now)
    for silence in silences:
        output.item("silence      ", message.silence_text(silence))
    tell_open(rows, now, acts=not idle)
    sys.exit(0 if running else STOPPED)


def tell_open(rows: Sequence[tuple[Incident, Silence | None]], now: datetime, *, acts: bool) -> None:
    """Print the open incidents, the gravest first, each with what it waits for, and the next step."""
    for incident, hush in sorted(rows, key=lambda pair: gravity(pair[0])):
        output.item(
            f"incident {incident.id}  ".ljust(13),
            f"{incident.severity.upper()} {message.in_few_words(incident.diagnosis, now)}{', silenced' if hush else ''},"
            f" last seen {ago(now - incident.last_seen)}",
            colour=output.COLOURS[incident.severity],
        )
        if incident.decision is not None and acts:
            output.item("             ", incident.decision.reason)
    if rows:
        output.say(f"next         sudo certmedic show {min((incident for incident, _ in rows), key=gravity).id}")
    else:
        output.say("No open incident.", colour="green")


def tell_channels(
    settings: Config, channels: Sequence[dict[str, Any]], receivers: Sequence[dict[str, str]], now: datetime
) -> None:
    """Print whether messages reach their channels, and alerts the instances of Alertmanager."""
    last = max((channel["last_sent"] for channel in channels if channel["last_sent"]), default=None)
    output.say(f"last message {f'delivered {since(last, now)} ago' if last else 'none was delivered yet'}")
    for channel in channels:
        output.item(
            "channel      ",
            health(channel, now),
            colour="red" if channel["waiting"] and channel["error"] else None,
        )
    for receiver in receivers:
        state_of = (
            f"fails for {since(receiver['since'], now)}: {receiver['error']}" if receiver["error"] else "takes alerts"
        )
        output.item("alertmanager ", f"{receiver['instance']}: {state_of}", colour="red" if receiver["error"] else None)
    if not (settings.notify.apprise or settings.notify.pager or settings.notify.alertmanager):
        output.say("channel      none is configured: set notify.apprise", colour="yellow")
    elif not channels and not receivers:
        output.say("channel      configured; no message was needed yet; sudo certmedic test-notify tries it")


def gravity(incident: Incident) -> tuple[int, int]:
    """Return the order of an incident: the gravest first, the oldest of equals."""
    return list(Severity).index(incident.severity), incident.id


def idle_reason(mode: str, tripped: str) -> str | None:
    """Return why certmedic acts on no incident at all, and how to change that; None if it may act."""
    if mode not in ("approve", "remedy"):
        return f'mode is "{mode}"; mode = "remedy" in the configuration allows actions'
    if not actor.is_installed():
        return f"{actor.ABSENT}; install the package certmedic-actor"
    return f"an action failed ({tripped}); run: sudo certmedic reset" if tripped else None


def tell_found(facts: Facts, now: datetime) -> None:
    """Print how many certificates were found, and which expires next."""
    used = [stored.certificate for stored in facts.stored if not replaced(stored, facts)]
    ends = sorted(used, key=lambda certificate: certificate.not_after)
    coming = [certificate for certificate in ends if certificate.not_after > now]
    gone = len(ends) - len(coming)
    output.say(
        f"found        {count(len(ends), 'certificate')}{f', {gone} expired' if gone else ''}",
        colour="red" if gone else None,
    )
    if coming:
        left = ago(now - coming[0].not_after)
        output.item("next expiry  ", f"{minute(coming[0].not_after)} ({left}): {coming[0].path}")
    if not ends:
        output.say("             none in the usual places, or none that you may read: sudo certmedic status")


def tell_source(source: dict[str, Any]) -> None:
    """Print how far a source is read, or why it cannot be read."""
    position, seen, examined = source.get("position"), source.get("seen", 0), source.get("matched", 0)
    if source["source"] in NO_LINES:
        text = position or ""
    else:
        where = f", at {position}" if position else ""
        text = f"{seen} lines read, {examined} examined, lag {source.get('lag_seconds', 0):.0f} s{where}"
    text = f"BLIND: {source['down']}" if source["down"] else f"{text}  {source.get('detail', '')}".rstrip()
    output.say(f"{source['source']:<12} {text}", colour="red" if source["down"] else None)


def since(moment: str, now: datetime) -> str:
    """Return how long ago a stored time was, in words."""
    return span(now - datetime.fromisoformat(moment))


def health(channel: dict[str, Any], now: datetime) -> str:
    """Return the state of a channel, in words."""
    parts = [f"{channel['waiting']} waiting"] if channel["waiting"] else []
    if channel["waiting"] and channel["error"]:
        parts[0] += f" after {count(channel['attempts'], 'attempt')}: {channel['error']}"
    last = channel["last_sent"]
    parts.append(f"last delivery {since(last, now)} ago" if last else "no delivery yet")
    if channel["expired"]:
        parts.append(f"{channel['expired']} not delivered")
    return f"{channel['label']}: {'; '.join(parts)}"
