"""The words of the agent, each with one meaning in code, configuration, messages and documents (agent/ARCHITECTURE.md)."""

from __future__ import annotations

from enum import StrEnum


class Trust(StrEnum):
    """How far certmedic believes an origin, most trusted first."""

    SYSTEM = "system"
    CLUSTER = "cluster"
    STRANGER = "stranger"


class Symptom(StrEnum):
    """What a line says."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED_OR_NOT_YET_VALID = "expired_or_not_yet_valid"
    UNKNOWN_AUTHORITY = "unknown_authority"
    NAME_MISMATCH = "name_mismatch"
    MISSING_CLIENT_CERT = "missing_client_cert"
    BAD_CERTIFICATE_ALERT = "bad_certificate_alert"
    UNKNOWN_CA_ALERT = "unknown_ca_alert"
    EXPIRED_ALERT = "expired_alert"
    REVOKED = "revoked"
    USAGE = "usage"
    OTHER = "other"


class RejectedBy(StrEnum):
    """Who refused: `remote` refused ours, `local` (the logging process) refused theirs."""

    REMOTE = "remote"
    LOCAL = "local"
    UNKNOWN = "unknown"


class Suspect(StrEnum):
    """Whose certificate is at fault, seen from this machine."""

    OWN = "own"
    PEER = "peer"
    UNKNOWN = "unknown"


class Role(StrEnum):
    """The part that the logging process played in the handshake."""

    SERVER = "server"
    CLIENT = "client"
    UNKNOWN = "unknown"


class Cause(StrEnum):
    """What is wrong, once certificates were looked at."""

    EXPIRED = "expired"
    CA_EXPIRED = "ca_expired"
    NOT_YET_VALID = "not_yet_valid"
    CLOCK = "clock"
    NAME_MISMATCH = "name_mismatch"
    UNKNOWN_AUTHORITY = "unknown_authority"
    KEY_MISMATCH = "key_mismatch"
    USAGE = "usage"
    MISSING_CLIENT_CERT = "missing_client_cert"
    REVOKED = "revoked"
    STALE_IN_MEMORY = "stale_in_memory"
    DISTRUSTED = "distrusted"
    EXPIRES_SOON = "expires_soon"
    UNEXPLAINED = "unexplained"
    BLIND = "blind"  # no certificate's fault: a log that is to be read cannot be


class Confidence(StrEnum):
    """How sure a diagnosis is: `proven` by a certificate that was read, else `likely` or `possible`."""

    PROVEN = "proven"
    LIKELY = "likely"
    POSSIBLE = "possible"


class RemedyKind(StrEnum):
    """What would be done."""

    RESTART = "restart"
    RENEW = "renew"
    REISSUE_AND_RESTART = "reissue_and_restart"
    MANUAL = "manual"
    NONE = "none"


class Helps(StrEnum):
    """Whether a restart of the program that holds the certificate cures it."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class GateName(StrEnum):
    """The conditions for acting, in the order in which people see them."""

    EVIDENCE = "evidence"
    CURE = "cure known"
    VERSION = "version"
    AUTHORITY = "CA valid"
    CLOCK = "clock"
    FRESH = "fresh"
    WINDOW = "window"
    TARGET = "target"
    MEMBERS = "members"
    SAFE = "member safe"
    TURN = "turn"
    BREAKER = "breaker"
    COOLDOWN = "cool-down"
    BUDGET = "budget"
    MODE = "mode"


class WaitsFor(StrEnum):
    """The one thing that still keeps certmedic from acting, if it is one that comes by itself or by a person's word."""

    APPROVAL = "approval"
    TURN = "turn"


class Severity(StrEnum):
    """How loud to be; also the first part of routing."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class MessageKind(StrEnum):
    """Each is sent once per incident, but for reminders."""

    OPENED = "opened"
    ACTED = "acted"
    RESOLVED = "resolved"
    ESCALATED = "escalated"
    REMINDER = "reminder"
    DIGEST = "digest"  # of incidents that are held back
