"""`explain`: the meaning of a log line."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import click

from certmedic.cli import inputs, output
from certmedic.core import symptoms
from certmedic.core.entries import LogEntry, Origin
from certmedic.core.origin import OPERATOR


def entry_of(line: bytes, *, origin: Origin | None = None, now: datetime) -> LogEntry:
    """Return a line that a person hands over as a log entry."""
    text = line.decode(errors="replace").rstrip("\r\n")
    return LogEntry(stream="-", position="", time=now, text=text, origin=origin or Origin(trust=OPERATOR))


# The words of `--json` for a person.
REJECTED_BY = {
    "remote": "the other side",
    "local": "the program that wrote this line",
    "unknown": "not known",
}
LOOK_AT = {
    "own": "the certificate of the program that wrote this line",
    "peer": "the certificate of the other side",
    "unknown": "both certificates: the line does not say whose it is",
}


@inputs.command(
    "explain",
    "Explain what a log line means.",
    "certmedic explain 'remote error: tls: bad certificate'",
    "journalctl -u kubelet -o cat | certmedic explain --json -",
)
@inputs.JSON
@click.argument("lines", nargs=-1, required=True, metavar="LINE... | -")
def explain(lines: tuple[str, ...], *, as_json: bool) -> None:
    """Explain what a log line means: which side rejected the certificate, whose it is, and why.

    "-" reads lines from stdin. With --json each line of input gets one line of output.
    """
    piped = lines == ("-",)
    raw: Iterable[bytes] = sys.stdin.buffer if piped else (line.encode(errors="surrogateescape") for line in lines)
    for line in raw:
        entry = entry_of(line, now=datetime.now(UTC))
        answer = symptoms.explanation(symptoms.parse(entry))
        if as_json:
            output.json_line(answer)
        else:
            tell(answer, entry.text if piped else "")


def tell(answer: dict[str, Any], line: str) -> None:
    """Print an explanation for a person, below the line if several are explained."""
    if line:
        output.say(f"> {line}")
    if not answer["failure"]:
        output.say("No TLS certificate failure in this line.")
        return
    output.say(str(answer["meaning"]), bold=True)
    output.say(f"  symptom      {answer['fault']}")
    output.say(f"  rejected by  {REJECTED_BY[answer['rejected_by']]}")
    output.say(f"  look at      {LOOK_AT[answer['suspect']]}")
    if answer["role"] in ("server", "client"):
        output.say(f"  logged by    the {answer['role']} of the connection")
    for name, value in answer["fields"].items():
        output.say(f"  {name:<12} {value}")
