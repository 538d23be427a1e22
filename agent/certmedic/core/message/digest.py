"""The digest: one message for the incidents that are too many to report one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from certmedic.core.message.words import WHAT
from certmedic.core.model import Cause, Message, MessageKind, Severity

LIST = "certmedic incidents"


def digest(held: Sequence[tuple[Severity, Cause]], *, host: str) -> Message:
    """Return the message about incidents that are held back, one (severity, cause) each; at least one."""
    severity = min((severity for severity, _ in held), key=list(Severity).index)
    causes = Counter(WHAT[cause] for _, cause in held)
    title = (
        f"[{severity.upper()}] {host}: {len(held)} more incident{'s' if len(held) > 1 else ''}, not reported one by one"
    )
    lines = [f"{count} x {what}" for what, count in causes.most_common()]
    opening = "Too many incidents are open to report each one. These are held back:"
    closing = f"To see all of them, type on {host}:"
    return Message(
        kind=MessageKind.DIGEST,
        severity=severity,
        title=title,
        plain="\n".join([opening, *lines, "", closing, f"sudo {LIST}"]),
        markdown="\n".join([opening, "", *(f"- {line}" for line in lines), "", closing, f"`sudo {LIST}`"]),
        html=f"<p>{escape(opening)}</p><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
        f"<p>{escape(closing)}</p><pre>sudo {LIST}</pre>",
    )
