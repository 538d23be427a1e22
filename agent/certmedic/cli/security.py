"""`status --security`: which protections of certmedic's units the running systemd does not know."""

from __future__ import annotations

from certmedic.cli import output
from certmedic.core import sandbox
from certmedic.core.text import count
from certmedic.edge.facts import units
from certmedic.edge.os.run import RunError

UNITS = ("certmedic.service", "certmedic-reader.service", "certmedic-actor.service", "certmedic-actor-dialer.service")


def show_protections(*, as_json: bool) -> None:
    """Print each installed unit with the protections that this machine's systemd ignores."""
    try:
        version = units.version()
        read = {name: unit for name in UNITS if (unit := units.text_and_properties(name)) is not None}
    except RunError as error:
        output.fail(str(error))
    missing = {name: sandbox.lost(*unit) for name, unit in read.items()}
    if as_json:
        output.as_json(
            systemd=version,
            units={name: [loss._asdict() for loss in losses] for name, losses in missing.items()},
        )
        return
    output.say(f"systemd      {version}")
    if not read:
        output.say("No unit of certmedic is installed.", colour="yellow")
    for name, losses in missing.items():
        total = sandbox.known(read[name][0])
        if not losses:
            output.say(f"{name}: systemd knows all {count(total, 'protection')}.", colour="green")
            continue
        output.say(f"{name}: systemd does not know {len(losses)} of {count(total, 'protection')}.", colour="yellow")
        for loss in losses:
            output.item("  ", f"{loss.directive} needs systemd {loss.since}; without it {loss.without}")
