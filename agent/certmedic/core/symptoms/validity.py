"""Rules: this process refused the other side's certificate for its dates."""

from __future__ import annotations

import re
from typing import Final

from certmedic.core.symptoms.rule import LOCAL, NAME, PEER, Rule, Symptom

VALIDITY: Final = (
    Rule(
        name="refused-not-yet-valid",
        meaning="it is not valid yet: one of the two clocks is wrong, or it was issued a moment ago; no restart cures that",
        symptom=Symptom.NOT_YET_VALID,
        rejected_by=LOCAL,
        suspect=PEER,
        says=(
            "x509: certificate is not yet valid: current time",
            "certificate is not yet valid",
            "certificate not yet valid",
            "certificate is not yet activated",
            "not yet valid certificate",
            "certificate not valid yet",
            "cert not yet valid",
            "notvalidyet",
            "activation date failed",
            "asn date error, current date before",
            "validity starts in the future",
            "certificate is not valid yet",
            "activation date verify failed",
            "certificatenotyetvalidexception",
        ),
        pattern=re.compile(r"exception: notbefore: "),
        samples=(
            "x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is before 2026-01-01T00:10:00Z",
            "verify error:num=9:certificate is not yet valid",
            "java.security.cert.CertificateNotYetValidException: NotBefore: Fri Jan 02 10:00:00 UTC 2026",
            "invalid peer certificate: NotValidYet",
        ),
    ),
    Rule(
        name="refused-expired",
        meaning="it, or a CA above it, has expired",
        symptom=Symptom.EXPIRED,
        rejected_by=LOCAL,
        suspect=PEER,
        says=(
            "x509: certificate has expired: current time",
            "certificate is expired",
            "certificate expired",
            "cert has expired",
            "cert expired",
            "certs have expired",
            "certificates have expired",
            "certificate validity has expired",
            "error expired certificate",
            "certexpired",
            "cert e expired",
            "certificateexpiredexception",
            "invalid peer certificate: expired",
            "invalidcertificate(expired)",
            "asn: after date in the past",
            "asn date error, current date after",
            "received certificate has expired",
            "expiration date failed",
            "expiration date verify failed",
        ),
        hints=("expired", "notafter: "),
        sent=("certificate expired", "expired certificate", "certificateexpired"),
        pattern=re.compile(
            r"(?:uses?|using|with|presented|sent|shows|showed|received) (?:an )?expired (?:\w{1,20} ){0,2}cert"
            rf"|certificate (?:\S{{1,120}} |(?:of|for|from) {NAME} )?(?:has|had|is|was) ?(?:already )?expired(?! or )"
            r"|(?:exception: |[\"(])notafter: "
        ),
        samples=(
            "x509: certificate has expired or is not yet valid: current time 2026-01-02T00:00:00Z is after 2026-01-01T00:00:00Z",
            "client SSL certificate verify error: (10:certificate has expired) while reading client request headers, client: 10.0.0.8, server: api",
            "Error: certificate has expired { code: 'CERT_HAS_EXPIRED' }",
            "java.security.cert.CertificateExpiredException: NotAfter: Fri Jan 02 10:00:00 UTC 2026",
            "The certificate is NOT trusted. The certificate chain uses expired certificate.",
            "TLS client: In state certify at ssl_handshake.erl:2017 generated CLIENT ALERT: Fatal - Certificate Expired",
            "invalid peer certificate: Expired",
        ),
    ),
    Rule(
        name="refused-outside-validity",
        meaning="it, or a CA above it, has expired or is not valid yet; this Go does not say which",
        symptom=Symptom.EXPIRED_OR_NOT_YET_VALID,
        rejected_by=LOCAL,
        suspect=PEER,
        says=(
            "x509: certificate has",
            "certificate has expired or is not",
            "exception: validity check failed",
            "exception: timestamp check failed",
            "cert date invalid",
            "nottimevalid",
            "certificate invalid (valid from ",
            "certificate is expired or not yet valid",
            "certificate expired or not yet valid",
        ),
        samples=(
            'Get "https://10.0.0.1:6443/version": x509: certificate has expired or is not yet valid',
            "SSLHandshakeException: PKIX path validation failed: java.security.cert.CertPathValidatorException: validity check failed",
            "net_error -201 ERR_CERT_DATE_INVALID",
        ),
    ),
)
