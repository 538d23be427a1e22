"""The actor's journal entries: one for each request, refused ones too, and one for what it did by itself.

Nothing of a request stands here but its verb, and numbers and names that passed the check of their form.
"""

from __future__ import annotations

from certmedic.core.incident.state import Act
from certmedic.core.message.events import news
from certmedic.core.request import Cure, Release, Renew, Request, Take, Undo, verb_of

PRIORITY = {
    "answered": "6",
    "refused": "5",
    "began": "5",
    "performed": "5",
    "undone": "4",
    "failed": "3",
    "taken-up": "4",
}


def request_fields(  # noqa: PLR0913 - each is one field
    event: str,
    request: Request | None,
    uid: int | None,
    pid: int | None = None,
    *,
    act: Act | None = None,
    why: str = "",
) -> dict[str, str]:
    """Return one event of the actor as a journal entry.

    `event` is a key of PRIORITY. `request` is None if none was understood, or if the actor acts by itself.
    """
    verb = verb_of(request) if request is not None else "unknown" if uid is not None else "none"
    fields = {
        "CERTMEDIC_VERB": verb,
        "CERTMEDIC_TARGET": _target(request),
        "CERTMEDIC_REASON": why or "(none)",
        "CERTMEDIC_CALLER_UID": "" if uid is None else str(uid),
        "CERTMEDIC_CALLER_PID": "" if pid is None else str(pid),
    }
    if act is not None:
        fields["CERTMEDIC_ACT"] = str(act.id)
        fields["CERTMEDIC_CERTS"] = " ".join(path for path, _ in act.action.watched)
        fields["CERTMEDIC_NOT_AFTER"] = act.action.watched[0][1].isoformat() if act.action.watched else ""
    who = "" if uid is None else f" by uid {uid}"
    return news(f"actor-{event}", PRIORITY[event], f"{verb} {event}{who}: {why}", fields)


def _target(request: Request | None) -> str:
    """Return what a request is about."""
    if isinstance(request, Take | Release):
        return request.group or "etcd"
    if isinstance(request, Renew):
        return " ".join(request.paths)
    if isinstance(request, Undo):
        return str(request.ref)
    return f"{request.runtime} {request.target}" if isinstance(request, Cure) else "(none)"
