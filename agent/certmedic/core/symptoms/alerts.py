"""Rules: the other side refused our certificate, and sent an alert that says so.

Go's clients send `bad certificate` whatever they dislike; its servers name expiry and authority since Go 1.21; OpenSSL,
Java and GnuTLS name most reasons (FIELD 4.1).
"""

from __future__ import annotations

from typing import Final

from certmedic.core.symptoms.rule import OWN, PEER, REMOTE, Rule, Symptom

ALERTS: Final = (
    Rule(
        name="alert-expired",
        meaning="it has expired, says the alert that came back",
        symptom=Symptom.EXPIRED_ALERT,
        rejected_by=REMOTE,
        suspect=OWN,
        heard=("expired certificate", "certificate expired", "certificateexpired", "certificate is expired"),
        says=("rejected your certificate as expired",),
        samples=(
            "health check for peer 1c9c1a2b3c4d5e6f could not connect: remote error: tls: expired certificate",
            "error:0A000415:SSL routines::sslv3 alert certificate expired:SSL alert number 45",
            "javax.net.ssl.SSLHandshakeException: Received fatal alert: certificate_expired",
            "*** Received alert [45]: Certificate is expired",
            "SSL3 alert read:fatal:certificate expired",
        ),
    ),
    Rule(
        name="alert-unknown-ca",
        meaning="its issuer is not known there, says the alert that came back",
        symptom=Symptom.UNKNOWN_CA_ALERT,
        rejected_by=REMOTE,
        suspect=OWN,
        heard=("unknown certificate authority", "unknown ca", "unknownca", "ca is unknown"),
        says=("peer does not recognize and trust the ca that issued your certificate",),
        samples=(
            "http: TLS handshake error from 10.9.8.7:40000: remote error: tls: unknown certificate authority",
            "could not accept SSL connection: tlsv1 alert unknown ca",
            "TLS server: In state certify received CLIENT ALERT: Fatal - Unknown CA",
            "received fatal alert: UnknownCA",
        ),
    ),
    Rule(
        name="alert-revoked",
        meaning="it is revoked, says the alert that came back",
        symptom=Symptom.REVOKED,
        rejected_by=REMOTE,
        suspect=OWN,
        heard=("revoked certificate", "certificate revoked", "certificaterevoked", "certificate was revoked"),
        says=("rejected your certificate as revoked",),
        samples=("could not accept SSL connection: sslv3 alert certificate revoked",),
    ),
    Rule(
        name="alert-certificate-required",
        meaning="none was shown, and the other side asks for one",
        symptom=Symptom.MISSING_CLIENT_CERT,
        rejected_by=REMOTE,
        suspect=OWN,
        heard=(
            "certificate required",
            "certificaterequired",
            "certificate is required",
            "alert certificate required",
            "no certificate",
            "alert number 116",
        ),
        samples=(
            'connection error: desc = "error reading server preface: remote error: tls: certificate required"',
            "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:2578)",
        ),
    ),
    Rule(
        name="alert-bad-certificate",
        meaning="the alert that came back does not say why: it may have expired, be of another CA, or lack the name; and the other side's clock or CA may be wrong instead",
        symptom=Symptom.BAD_CERTIFICATE_ALERT,
        rejected_by=REMOTE,
        suspect=OWN,
        heard=(
            "bad certificate",
            "badcertificate",
            "certificate is bad",
            "certificate unobtainable",
        ),
        says=(
            "did not trust this server's certificate",
            "did not trust server's certificate",
            "ssl peer cannot verify your certificate",
            "peer had some unspecified issue with the certificate it received",
        ),
        samples=(
            'rejected connection from "10.3.2.1:55100" (error "remote error: tls: bad certificate", ServerName "m1.internal")',
            "TLS_error:|268436498:SSL routines:OPENSSL_internal:SSLV3_ALERT_BAD_CERTIFICATE:TLS_error_end",
            "javax.net.ssl.SSLException: Received fatal alert: bad_certificate",
            "AuthenticationException: Authentication failed because the remote party sent a TLS alert: 'BadCertificate'.",
            "TLS client: In state connection received SERVER ALERT: Fatal - Bad Certificate",
            "error: AlertReceived(BadCertificate)",
            "* Received alert '42': Certificate is bad.",
        ),
    ),
    Rule(
        name="alert-certificate-unknown",
        meaning="the other side does not accept it, for a reason of its own (browsers and Java say it so when they do not trust the issuer)",
        symptom=Symptom.BAD_CERTIFICATE_ALERT,
        rejected_by=REMOTE,
        suspect=OWN,
        heard=("unknown certificate", "certificate unknown", "certificateunknown"),
        samples=(
            "http: TLS handshake error from 10.0.5.5:39001: remote error: tls: unknown certificate",
            "SSL_do_handshake() failed (SSL: error:0A000416:SSL routines::ssl/tls alert certificate unknown:SSL alert number 46) while SSL handshaking, client: 10.0.5.5, server: 0.0.0.0:443",
        ),
    ),
    Rule(
        name="alert-unsupported-certificate",
        meaning="it is not made for this use, or of a kind that the other side does not know",
        symptom=Symptom.BAD_CERTIFICATE_ALERT,
        rejected_by=REMOTE,
        suspect=OWN,
        heard=("unsupported certificate", "unsupportedcertificate", "certificate is not supported"),
        samples=("read tcp 10.0.0.1:33001->10.0.0.2:2379: remote error: tls: unsupported certificate",),
    ),
    Rule(
        name="alert-not-proven",
        meaning="the signature by which its key is proven, or that its CA put on it, does not verify there",
        symptom=Symptom.OTHER,
        rejected_by=REMOTE,
        suspect=OWN,
        heard=("error decrypting message", "decrypt error", "decrypterror", "access denied", "accessdenied"),
        samples=("rejected connection: remote error: tls: error decrypting message",),
    ),
    Rule(
        name="peer-lacks-certificate",
        meaning="it broke the handshake off with an internal error; a kubelet does so while it has no serving certificate",
        symptom=Symptom.OTHER,
        rejected_by=REMOTE,
        suspect=PEER,
        says=("remote error: tls: internal error",),
        unless=("handshake error from", "rejected connection"),
        samples=('Get "https://10.0.0.12:10250/metrics/cadvisor": remote error: tls: internal error',),
    ),
)
