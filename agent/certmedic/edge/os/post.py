"""One POST of JSON to a web address, over TLS or not, with an absolute deadline."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from certmedic.edge.os import http

MOST_REPLY = 64 * 1024  # bytes
# Alerts about a client certificate. For a missing one, Alertmanager 0.25 sends BAD_CERTIFICATE and 0.28 CERTIFICATE_REQUIRED.
REFUSALS = frozenset(
    {"BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_REQUIRED", "CERTIFICATE_UNKNOWN", "UNKNOWN_CA"}
)


def post(
    url: str,
    body: bytes,
    *,
    headers: Mapping[str, str],
    seconds: float,
    context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
) -> http.Reply:
    """Post JSON and return the reply. User and password of the address are not sent. Raises OSError."""
    deadline = time.monotonic() + seconds
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    with socket.create_connection((host, parts.port or (443 if secure else 80)), timeout=seconds) as plain:
        http.left(plain, deadline)
        with context().wrap_socket(plain, server_hostname=host) if secure else plain as sock:
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            name = parts.netloc.rpartition("@")[2]
            return http.exchange(
                sock, "POST", path, deadline=deadline, most=MOST_REPLY, body=body, host=name, headers=headers
            )


def failure(error: Exception) -> str:
    """Return why a post failed, without the address."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and (alert := str(error.reason).partition("_ALERT_")[2]) in REFUSALS:
        return f"it refuses the client certificate, or needs one: {alert.lower().replace('_', ' ')}"
    return (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
