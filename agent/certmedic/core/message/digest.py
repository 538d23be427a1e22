"""The digest: one message for the incidents that are too many to report one by one."""

from __future__ import annotations

from collections.abc import Sequence

from certmedic.core.message.words import WHAT, harmless, whose
from certmedic.core.model import Cause, Diagnosis, Message, MessageKind, Severity
from certmedic.core.text import cut, in_html

LIST = "certmedic incidents --open"
MOST_NAMES = 5  # of one cause


def digest(held: Sequence[tuple[Severity, Diagnosis]], *, host: str) -> Message:
    """Return the message about incidents that are held back, each with its severity; at least one."""
    severity = min((severity for severity, _ in held), key=list(Severity).index)
    names: dict[Cause, list[str]] = {}
    for _, diagnosis in held:
        names.setdefault(diagnosis.cause, []).append(harmless(cut(whose(diagnosis), 40)))
    title = (
        f"[{severity.upper()}] {host}: {len(held)} more incident{'s' if len(held) > 1 else ''}, not reported one by one"
    )
    lines = [
        f"{len(of_cause)} x {WHAT[cause]}: {listed(of_cause)}"
        for cause, of_cause in sorted(names.items(), key=lambda item: -len(item[1]))
    ]
    opening = f"{host}: these incidents are open too. certmedic sends no further message about them:"
    closing = f"To see all incidents, type on {host}:"
    return Message(
        kind=MessageKind.DIGEST,
        severity=severity,
        title=title,
        plain="\n".join([opening, *lines, "", closing, f"sudo {LIST}"]),
        markdown="\n".join([opening, "", *(f"- {line}" for line in lines), "", closing, f"`sudo {LIST}`"]),
        html=f"<p><b>{in_html(opening)}</b></p>\n<ul>{''.join(f'<li>{in_html(line)}</li>' for line in lines)}</ul>\n"
        f"<p><b>{in_html(closing)}</b><br/><code>sudo {LIST}</code></p>",
    )


def listed(names: Sequence[str]) -> str:
    """Return names for a sentence, each once; all but the first few are counted."""
    known = list(dict.fromkeys(names))
    rest = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    return ", ".join(known[:MOST_NAMES]) + rest
