"""The words of the agent, each with one meaning in code, configuration, messages and documents (agent/ARCHITECTURE.md)."""

from __future__ import annotations

from enum import StrEnum


class Trust(StrEnum):
    """How far certmedic believes an origin, most trusted first."""

    SYSTEM = "system"
    CLUSTER = "cluster"
    STRANGER = "stranger"


class Symptom(StrEnum):
    """The failure that a line reports."""

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
    """Who refused: `remote` refused our certificate; `local`, the logging process, refused that of the other side."""

    REMOTE = "remote"
    LOCAL = "local"
    UNKNOWN = "unknown"


class Suspect(StrEnum):
    """Whose certificate is at fault, from the view of this machine."""

    OWN = "own"  # this machine
    PEER = "peer"  # another member of the etcd group, or another master's API server
    OUTSIDE = "outside"  # a client, user, webhook or database that is neither
    UNKNOWN = "unknown"


class Role(StrEnum):
    """The role of the logging process in the handshake."""

    SERVER = "server"
    CLIENT = "client"
    UNKNOWN = "unknown"


class Cause(StrEnum):
    """The fault, once certificates were read."""

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
    CRL_EXPIRED = "crl_expired"  # a list of revoked certificates has expired, no certificate
    STALE_IN_MEMORY = "stale_in_memory"
    DISTRUSTED = "distrusted"
    EXPIRES_SOON = "expires_soon"
    UNEXPLAINED = "unexplained"
    BLIND = "blind"  # no certificate is at fault: a log cannot be read


class Confidence(StrEnum):
    """How sure a diagnosis is: a certificate that was read makes it `proven`, else it is `likely` or `possible`."""

    PROVEN = "proven"
    LIKELY = "likely"
    POSSIBLE = "possible"


class RemedyKind(StrEnum):
    """The kind of fix."""

    RESTART = "restart"
    RENEW = "renew"
    REISSUE_AND_RESTART = "reissue_and_restart"
    MANUAL = "manual"
    NONE = "none"


class Helps(StrEnum):
    """Whether a restart of the holder fixes the fault."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class GateName(StrEnum):
    """The conditions for acting, in the order in which people see them."""

    EVIDENCE = "evidence"
    CURE = "fix known"
    VERSION = "version"
    AUTHORITY = "CA valid"
    CLOCK = "clock"
    FRESH = "fresh"
    WINDOW = "window"
    TARGET = "target"
    MEMBERS = "members"
    SAFE = "member safe"
    TURN = "turn"
    STEADY = "steady"
    BREAKER = "breaker"
    COOLDOWN = "cool-down"
    BUDGET = "budget"
    ACTOR = "actor"
    MODE = "mode"


class WaitsFor(StrEnum):
    """The only thing that an action still waits for."""

    APPROVAL = "approval"
    TURN = "turn"


class Severity(StrEnum):
    """How urgent an incident is; routes choose by it."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class MessageKind(StrEnum):
    """The kind of a message. Only reminders are sent more than once per incident."""

    OPENED = "opened"
    ACTED = "acted"
    RESOLVED = "resolved"
    ESCALATED = "escalated"
    REMINDER = "reminder"
    DIGEST = "digest"  # one message for incidents that are held back
