"""Needles: every line that matches a rule contains a needle, and no line of a healthy master does."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from certmedic.core import symptoms
from certmedic.core.model import LogEntry, Origin, Sighting

WHEN = datetime(2026, 11, 24, 15, 32, 49, tzinfo=UTC)


def seen(text: str, **origin: object) -> Sighting | None:
    return symptoms.parse(LogEntry(stream="t", position="1", time=WHEN, text=text, origin=Origin(**origin)))


def sure(text: str, **origin: object) -> Sighting:
    sighting = seen(text, **origin)
    assert sighting is not None, text
    return sighting


@pytest.mark.parametrize(
    "chatter",
    [
        "2026-11-24 15:32:45.012345 I | embed: peerTLS: cert = /etc/etcd/me.crt, key = /etc/etcd/me.key, client-cert-auth = true",
        "2026-11-24 15:32:45.012345 I | rafthttp: established a TCP streaming connection with peer 8211f1d0f64f3269",
        '{"level":"info","ts":"2026-11-24T15:32:45.012Z","caller":"embed/etcd.go:124","msg":"configuring peer listeners"}',
        'I1124 15:32:45.012345       1 trace.go:236] Trace[1]: "Update" url:/apis/coordination.k8s.io/v1/leases (total 512ms)',
        'I1124 15:32:45.012345    9 kubelet.go:2407] "SyncLoop (PLEG): event for pod" pod="cert-manager/cert-manager-abc"',
        "I1124 15:32:45.012345    9 etcdserver.go:534] starting etcd with state tls_enabled:true nodes:<name:a>",
    ],
)
def test_lines_of_a_healthy_master_contain_no_needle(chatter):
    assert not symptoms.interesting(chatter.encode())
    assert seen(chatter) is None


@pytest.mark.parametrize(
    "line",
    [
        "open /etc/etcd/pki/server.key: permission denied",
        '"It has been 5m0s since a valid client cert was found, but the server is not responsive. A restart may be necessary to retrieve new initial credentials."',
        'E1124 15:32:49.012345    9 cert_rotation.go:92] "Loading client cert failed" err="EOF"',
        'embed: rejected connection from "10.0.0.7:40122" (error "CommonName authentication failed", ServerName "m1.internal")',
        "KeyFile and CertFile must both be present[key: , cert: /etc/etcd/pki/server.crt]",
        "TLS error: WebPKIError(CertExpired)",
        "VERIFY ERROR: depth=0, error=CRL has expired: CN=laptop",
        "VERIFY EKU ERROR",
        "npm ERR! Error: UNABLE_TO_VERIFY_LEAF_SIGNATURE",
        "ssl.SSLError: [X509: KEY_VALUES_MISMATCH] key values mismatch (_ssl.c:4067)",
        "java.security.cert.CertPathValidatorException: timestamp check failed",
    ],
)
def test_failures_without_the_usual_words_also_contain_a_needle(line):
    assert symptoms.interesting(line.encode())
    sure(line)
