"""`test-notify`: whether messages reach their channels."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from certmedic import app
from certmedic.cli import inputs, output
from certmedic.config import policy_of
from certmedic.core import message
from certmedic.core.message.sample import CAUSES, sample
from certmedic.core.model import Cause, Message, MessageKind, Severity
from certmedic.edge.notify import AppriseNotifier
from certmedic.ports import Channel


@inputs.command(
    "test-notify",
    "Send a test message to every channel.",
    "certmedic test-notify --severity critical",
    "certmedic test-notify --sample ca_expired",
)
@inputs.JSON
@inputs.CONFIG
@click.option(
    "--severity", type=inputs.Choice([str(level) for level in Severity]), help="Only channels for this severity."
)
@click.option("--tag", help="Only channels with this apprise tag, and those without tags.")
@click.option(
    "--sample",
    "cause",
    type=inputs.Choice([str(cause) for cause in CAUSES]),
    metavar="CAUSE",
    help="Send the message of a real incident of this cause, marked as a test, to the channels that would get it."
    f" CAUSE is one of: {', '.join(CAUSES)}.",
)
def test_notify(
    *, as_json: bool, config_path: Path | None, severity: str | None, tag: str | None, cause: str | None
) -> None:
    """Send a test message to every channel and print the result of each."""
    if cause and (severity or tag):
        raise click.UsageError("--sample finds its channels as a real incident does: leave out --severity and --tag")
    config = inputs.config(config_path)
    way = app.notifier(config)
    host, cluster, now = socket.gethostname(), app.identity(config).name, datetime.now(UTC)
    test = message.test_message(message.machine(cluster, host), now)
    levels = [Severity(severity)] if severity else list(Severity)
    if cause:
        diagnosis, test = sample(Cause(cause), host=host, cluster=cluster, now=now, policy=policy_of(config))
        route = message.tag_of(test.kind, diagnosis, config.notify.route, test.severity)
        channels = {channel.id: channel for channel in way.channels(test.severity, route)}
    elif tag:
        channels = {channel.id: channel for channel in way.tagged(tag)}
    else:
        channels = {channel.id: channel for level in levels for channel in way.channels(level)}
        routed = {} if severity else {c.id: c for route in config.notify.route for c in way.tagged(route.tag)}
        channels |= routed
    test = replace(test, key=message.key_of(cluster=cluster, host=host, incident=0, opened_at=now.isoformat()))
    faults = app.channel_faults(config, way)
    for fault in faults if not as_json else ():
        output.say(f"FAILED  {fault}", colour="red")
    if not channels and tag and (config.notify.apprise or config.notify.pager):
        output.fail(f"no channel carries the tag {tag!r}, and none is for everything")
    if not channels:
        output.fail("no channel is configured; set notify.apprise, see certmedic.toml(5)")
    sent = [tried(way, channel, test) for channel in channels.values()]
    if as_json:
        output.as_json(channels=sent, faults=faults)
    for row in sent if not as_json else ():
        word = "sent  " if row["sent"] else "FAILED"
        output.say(f"{word}  {row['channel']}  {row['error'] or ''}".rstrip(), colour="green" if row["sent"] else "red")
    raise SystemExit(1 if faults or not all(row["sent"] for row in sent) else 0)


def tried(way: AppriseNotifier, channel: Channel, test: Message) -> dict[str, Any]:
    """Send a test message to a channel; return what `--json` says of it."""
    result = way.send(channel.id, test)
    if result.ok and channel.keeps_incidents:  # the incident that the test opened ends at once
        result = way.send(channel.id, replace(test, kind=MessageKind.RESOLVED))
    return {"channel": channel.label, "sent": result.ok, "error": result.error or None}
