"""Entries for the journal: one structured entry for each event that a person would look for.

Every kind of event has a MESSAGE_ID that never changes; the opening of an incident has one for each cause, so that its catalog
text (systemd/certmedic.catalog, shown by `journalctl -x`) is a run-book for that fault.
Fields are named CERTMEDIC_*; fields without a value are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from certmedic.core.command import is_plain_path
from certmedic.core.decision.gates import explain
from certmedic.core.message.words import WHAT, harmless, whose
from certmedic.core.model import (
    Cause,
    Decision,
    Diagnosis,
    Helps,
    Severity,
    SourceDown,
    SourceUp,
)
from certmedic.core.text import cut, printable

MESSAGE_IDS: Mapping[str, str] = {
    "decided": "5dfcec41c36247a4b162e048694227b3",
    "intent": "9aaa7889edaa400196065955aea2401c",
    "acted": "4d912c98d3c54f898adc54c9e3b0ab3e",
    "resolved": "de95b9f422e341b6bb1981a038af75b3",
    "escalated": "eca99ba235ca4bc29a688028c8d0d4e2",
    "reminder": "c88ce72e5fec43c9a33f3ec3e144142f",
    "source-blind": "f9268732f6ca48858a0137a60c88401c",
    "source-back": "9a9e60b5cece4f14964897cb75ca57c6",
    "service-started": "b58324c49e7f4c31b101625d7484bd9b",
    "config-refused": "8a0199471c074b2f8640f239949d56e6",
    "undelivered": "3dfa85c77c9748d688d8160b744461ff",
    "channels-faulty": "bae5e64762ed4c429c618eb1625b4c6d",
    "heartbeat-lost": "660e197fce7d476184d59a4c17e97395",
    "alertmanager-lost": "6d443082e4b446dfbdb6ffda65df88b3",
    "alertmanager-back": "c752228f9be14df7a8a6972f2aa009f2",
    "strangers": "4f5d7c0f6f9e4f0d9c3a9f0b7f2a6c1e",
    "heartbeat-back": "6e985af66f95448d8e0651f23d082b6a",
    "actor-answered": "bfd386b7eeba4ee689d51ca284e5171c",
    "actor-refused": "7d462177e71a4679bed8d1be6c1c5f91",
    "actor-began": "c9f703d5a0544bec91a209e444af939f",
    "actor-performed": "8f027dc8b2124b1ca0c910bdc32fee16",
    "actor-undone": "ce15c4281cf54757bc76256b9e29f872",
    "actor-failed": "652bb9169ce345b6bba1cc0ccf676033",
    "actor-taken-up": "eff6cc9fbe984e5786d1a0be968a4278",
}
OPENED_IDS: Mapping[Cause, str] = {
    Cause.EXPIRED: "bda18c898b4a4b0a8ff56c45cac77db0",
    Cause.CA_EXPIRED: "9a2ba4f4e83b4f458a4dd9c63fc88c40",
    Cause.NOT_YET_VALID: "3cb6f481ef3244488e6a56beca886294",
    Cause.CLOCK: "55a62505ac8a4fcbb7dd4ce3aef10172",
    Cause.NAME_MISMATCH: "5496b20cc3bf4678b580e5a5ed553fb8",
    Cause.UNKNOWN_AUTHORITY: "e9f5c91c1493481482b0cf1088b1b847",
    Cause.KEY_MISMATCH: "c541150f47bf42fca93481df4928189d",
    Cause.USAGE: "c7ab9de8a3674d6ba5d2dadfc46d1d1b",
    Cause.MISSING_CLIENT_CERT: "7b9aafab02694c738ccbaf19ac8fc471",
    Cause.REVOKED: "c8a26017c0c5474c9aa6ec0c9e409d38",
    Cause.CRL_EXPIRED: "5f0c9a4e7d5b4b0e9a356f1f5f2be8c1",
    Cause.STALE_IN_MEMORY: "5013182894964213bf9255c4c7290b8c",
    Cause.DISTRUSTED: "e593b2a2149243068da642cfb0353781",
    Cause.EXPIRES_SOON: "81bd77373fb34decb426ff1d202d03da",
    Cause.UNEXPLAINED: "811ecbe3bcde45a68b07c3a78f9683e0",
    Cause.BLIND: "628bb55c5c50a20e622a1befd51b92d2",
}
PRIORITY: Mapping[Severity, str] = {Severity.CRITICAL: "2", Severity.WARNING: "4", Severity.INFO: "6"}
HELPS: Mapping[Helps, str] = {
    Helps.YES: "A restart fixes it.",
    Helps.NO: "A restart does NOT fix it.",
    Helps.UNKNOWN: "A restart may not fix it.",
}
LONGEST = 1000  # characters of one field; `certmedic show` has the rest


def event_fields(
    event: str, diagnosis: Diagnosis, *, incident: int, decision: Decision | None, outcome: str = ""
) -> dict[str, str]:
    """Return one event of an incident as a journal entry.

    `event` is opened, decided, intent or a MessageKind; `outcome` is the result of an action or a check, in a sentence.
    """
    files = tuple(dict.fromkeys(leaf.path for leaf in diagnosis.certificates if leaf.path))
    ends = diagnosis.certificates[0].not_after if diagnosis.certificates else diagnosis.since
    first = files[0] if files else ""
    seen = first or (diagnosis.evidence[0] if diagnosis.cause is Cause.BLIND else "")
    detail = outcome or (decision.reason if event in ("decided", "intent") and decision else seen)
    # The catalog needs these fields: for a missing field journalctl shows its name.
    certificate, day = first or "no-file-on-this-machine", ends.isoformat() if ends else "not known"
    verdict = f"incident {incident} {event}: {whose(diagnosis)}: {WHAT[diagnosis.cause]}"
    return _tidy(
        {
            "MESSAGE": f"{verdict}: {detail}" if detail else verdict,
            "MESSAGE_ID": OPENED_IDS[diagnosis.cause] if event == "opened" else MESSAGE_IDS[event],
            "PRIORITY": "5" if event == "resolved" else PRIORITY[diagnosis.severity],
            "CERTMEDIC_EVENT": event,
            "CERTMEDIC_INCIDENT": str(incident),
            "CERTMEDIC_CAUSE": str(diagnosis.cause),
            "CERTMEDIC_SUSPECT": str(diagnosis.suspect),
            "CERTMEDIC_WHOSE": whose(diagnosis),
            "CERTMEDIC_PLANE": diagnosis.plane,
            "CERTMEDIC_GROUP": diagnosis.group,
            "CERTMEDIC_SOURCE": diagnosis.source,
            "CERTMEDIC_CERT": certificate,
            "CERTMEDIC_FILE": first if is_plain_path(first) else "CERTIFICATE-FILE",  # for the catalog's commands
            "CERTMEDIC_CERTS": " ".join(files) if len(files) > 1 else "",
            "CERTMEDIC_NOT_AFTER": day,
            "CERTMEDIC_EFFECT": diagnosis.effect or "not known",
            "CERTMEDIC_REMEDY": f"{HELPS[diagnosis.remedy.helps]} {diagnosis.remedy.why}",
            "CERTMEDIC_COMMAND": _typed(diagnosis.remedy.command, incident),
            "CERTMEDIC_DECISION": decision.reason if decision else "",
            "CERTMEDIC_GATES": _gates(decision) if decision else "",
            "CERTMEDIC_OUTCOME": outcome,
            "CERTMEDIC_EVIDENCE": diagnosis.evidence[0] if diagnosis.evidence else "(none)",
        }
    )


def _gates(decision: Decision) -> str:
    """Return every gate by name, closed ones first, with the reason and how it opens."""
    blocking = [f"{gate.name}: BLOCKED: {explain(gate)}" for gate in decision.blocked_by]
    return "; ".join([*blocking, *(f"{gate.name}: pass" for gate in decision.gates if gate.passed)])


def _typed(command: str, incident: int) -> str:
    """Return a command for a field. It is never cut, because a cut command is another command."""
    if len(command) > LONGEST:
        return f"sudo certmedic show {incident}"
    return command or "(nothing to type)"


def source_fields(item: SourceDown | SourceUp) -> dict[str, str]:
    """Return the journal entry that a source is blind or back."""
    if isinstance(item, SourceUp):
        return news("source-back", "5", f"{item.source} is read again", {"CERTMEDIC_SOURCE": item.source})
    text = f"blind: {item.source} cannot be read: {item.reason}"
    return news("source-blind", "4", text, {"CERTMEDIC_SOURCE": item.source, "CERTMEDIC_REASON": item.reason})


def started_fields(*, mode: str, sources: str) -> dict[str, str]:
    """Return the journal entry that the service has started."""
    fields = {"CERTMEDIC_SOURCES": sources, "CERTMEDIC_MODE": mode}
    return news("service-started", "6", f"watching {sources}; mode {mode}", fields)


def config_refused_fields(faults: Sequence[str]) -> dict[str, str]:
    """Return the journal entry that a configuration was refused."""
    listed = "; ".join(faults)
    text = f"the new configuration is wrong, the old one stays: {listed}"
    return news("config-refused", "3", text, {"CERTMEDIC_FAULTS": listed})


def undelivered_fields(incident: int, kind: str, channel: str, reason: str) -> dict[str, str]:
    """Return the journal entry that a message was given up. `channel` is the label of its channel."""
    text = f'incident {incident}: the message "{kind}" never reached {channel}: {reason}'
    fields = {"CERTMEDIC_INCIDENT": str(incident), "CERTMEDIC_CHANNEL": channel, "CERTMEDIC_REASON": reason}
    return news("undelivered", "3", text, fields)


def channels_faulty_fields(faults: Sequence[str]) -> dict[str, str]:
    """Return the journal entry on faults in the files of channels."""
    listed = "; ".join(faults)
    return news("channels-faulty", "3", f"some channels do not work: {listed}", {"CERTMEDIC_FAULTS": listed})


def strangers_fields() -> dict[str, str]:
    """Return the journal entry that strangers exceed their budget."""
    return news("strangers", "5", "untrusted programs log more than certmedic parses: it only counts the rest", {})


def alertmanager_fields(instance: str, reason: str) -> dict[str, str]:
    """Return the journal entry that an Alertmanager gets no alerts, or without a reason that it gets them again."""
    if not reason:
        return news("alertmanager-back", "5", f"Alertmanager {instance} takes alerts again", {})
    text = f"Alertmanager {instance} takes no alerts: {reason}"
    return news("alertmanager-lost", "4", text, {"CERTMEDIC_CHANNEL": instance, "CERTMEDIC_REASON": reason})


def heartbeat_fields(reason: str) -> dict[str, str]:
    """Return the journal entry that the heartbeat is refused, or without a reason that it is accepted again."""
    if not reason:
        return news("heartbeat-back", "5", "the heartbeat is accepted again", {})
    return news("heartbeat-lost", "4", f"the heartbeat is refused: {reason}", {"CERTMEDIC_REASON": reason})


def news(event: str, priority: str, text: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Return the journal entry of an event of the service itself."""
    head = {"MESSAGE": text, "MESSAGE_ID": MESSAGE_IDS[event], "PRIORITY": priority, "CERTMEDIC_EVENT": event}
    return _tidy({**head, **fields})


def _tidy(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields that have a value, each on one line and harmless."""
    exact = (
        "CERTMEDIC_CERT",
        "CERTMEDIC_CERTS",
        "CERTMEDIC_FILE",
        "CERTMEDIC_COMMAND",
    )  # people search for these or type them
    return {
        name: cut(printable(value) if name in exact else harmless(value), LONGEST)
        for name, value in fields.items()
        if value
    }
