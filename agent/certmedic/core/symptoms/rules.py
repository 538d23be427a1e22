"""What programs say when a certificate fails, as a table.

A rule knows words, not lines: the message of a line, without its dress, is brought to one spelling (`plain`), so that
`CERT_HAS_EXPIRED`, `cert has expired` and `Cert-Has-Expired` are the same words. The first rule whose words are in a
message is its rule; so the order of the table is from what settles a verdict to what merely hints at one:

1. faults of this machine's own files, which quote the verdicts of the other kinds;
2. alerts that were received: the other side refused our certificate;
3. verdicts of this process on the other side's certificate, the telling ones before the vague;
4. alerts that this process sent, and verdicts without a reason.

Who was refused is told by the words (`remote error`, `received fatal alert`, `... alert ...` in what OpenSSL reports)
and never by the address: FIELD 4.2 has the truth table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from certmedic.core.model import RejectedBy, Suspect, Symptom

OWN, PEER = Suspect.OWN, Suspect.PEER
LOCAL, REMOTE = RejectedBy.LOCAL, RejectedBy.REMOTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that a line can say. `says`, `heard` and `sent` are in the spelling of `plain`; one of them suffices.

    `heard` are names of an alert behind the words by which a program reports one that came in, `sent` of one that it
    sent itself. `unless` names words that take the sense away.
    """

    name: str
    meaning: str  # ends the sentence that `parse.meaning` begins: "<whose certificate>: <meaning>"
    symptom: Symptom
    rejected_by: RejectedBy
    suspect: Suspect
    samples: tuple[str, ...]
    says: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    unless: tuple[str, ...] = ()

    def matches(self, message: "Words") -> bool:
        """Whether the message says this."""
        text = message.text
        for words in self.says:
            if words in text:
                break
        else:
            if not (
                (message.heard and self.heard and named(message.heard, self.heard))
                or (message.sent and self.sent and named(message.sent, self.sent))
                or (self.pattern is not None and self.pattern.search(text))
            ):
                return False
        for words in self.unless:
            if words in text:
                return False
        return True


@dataclass(frozen=True, slots=True)
class Words:
    """A message in the spelling of the rules; `heard` and `sent` are what follows the report of an alert, or empty."""

    text: str
    heard: str
    sent: str


SPELLING: Final = str.maketrans({"_": " ", "-": " ", "’": "'", "‘": "'", "`": "'", "“": '"', "”": '"', "\t": " "})

# How programs report an alert that came in: Go, OpenSSL (also when it names its error in capitals), Java and rustls,
# rustls in Debug form, Erlang, GnuTLS.
HEARD: Final = re.compile(
    r"remote error: (?:tls: )?|(?:sslv3|tlsv1|tlsv13|ssl/tls|tlsv1\.[123]) (?:alert )?(?=[a-z])|received (?:a )?(?:fatal|warning) alert: ?"
    r"|alertreceived\(|received (?:client|server) alert: fatal +|(?<=received )alert \[\d+\]: |alert has been received\.?: (?=\w)"
    r"|ssl alert\.erl:\d+:fatal error: "
)
SENT: Final = re.compile(
    r"local error: (?:tls: )?|generated (?:client|server) alert: fatal +|ssl handshake\.erl:\d+:fatal error: "
    r"|tls connection\.erl:\d+:fatal error: "
)
GO_VERDICTS: Final = (
    "certificate has expired or is not yet valid",
    "certificate signed by unknown authority",
    "certificate is valid for ",
    "certificate relies on legacy common name",
    "certificate specifies an incompatible key usage",
    "cannot validate certificate for ",
)
ALERT_WORDS: Final = ("remote error", "alert", "fatal error", "local error", "tlsv13 ", "tlsv1 ")


def plain(text: str) -> Words:
    """Bring a message to the one spelling, and find the alert that it reports."""
    text = completed(text.lower().translate(SPELLING))
    heard = sent = ""
    for words in ALERT_WORDS:
        if words in text:
            found = HEARD.search(text)
            heard = text[found.end() :] if found else ""
            found = SENT.search(text)
            sent = text[found.end() :] if found else ""
            break
    return Words(text=text, heard=heard, sent=sent)


def completed(text: str) -> str:
    """Write out a verdict of Go's that was cut off at the end of a line, where what is left of it fits one only."""
    at = text.rfind("x509: ") + 6
    if at > 5 and len(text) - at < 48:
        left = text[at:].rstrip(" .>…")
        fits = [verdict for verdict in GO_VERDICTS if verdict.startswith(left)] if len(left) > 3 else []
        if len(fits) == 1:
            return text[:at] + fits[0]
    return text


def named(tail: str, names: tuple[str, ...]) -> bool:
    """Whether a text begins with one of the names, or is cut off within one."""
    for name in names:
        if tail.startswith(name):
            return True
    cut = tail.rstrip(" .>…\"')}")
    return 5 <= len(cut) and cut not in WHOLE_NAMES and any(name.startswith(cut) for name in names)


# Names that are the beginning of another name.
WHOLE_NAMES: Final = frozenset(("unknown certificate", "bad certificate", "certificate", "unknown"))


# ------------------------------------------------------------------------------------------------ no failure after all

# Words of good news, of plans and of start-up that stand beside the words of the rules.
CHATTER: Final = (
    "about to expire",
    "will expire",
    "expires in",
    "expires soon",
    "near expiry",
    "not expired",
    "certificate verify ok",
    "verify return code: 0 (ok)",
    "verify ok",
    "generated self signed",
    "generating self signed",
    "generating a self signed",
    "creating self signed",
    "creating a self signed",
    "created self signed",
    "using self signed",
    "using a self signed",
    "will regenerate",
    "successfully rotated",
    "disabling certificate verification",
    "certificate verification is disabled",
    "expired certs are permitted",
    "not trusted by the host ca bundle",
)

# ------------------------------------------------------------------------------------------------ 1. our own files

FILES: Final = ("crt", "key", "pem", "cert", "cer", "p12", "pfx", "jks")

OWN_FILES: Final = (
    Rule(
        name="own-expired-crl",
        meaning="the certificate revocation list it checks against has run out, so it refuses everybody",
        symptom=Symptom.EXPIRED,
        rejected_by=LOCAL,
        suspect=OWN,
        says=("crl has expired",),
        samples=("10.1.2.3:40112 VERIFY ERROR: depth=0, error=CRL has expired: CN=laptop, serial=4711",),
    ),
    Rule(
        name="own-future-crl",
        meaning="the certificate revocation list it checks against is not valid yet: a clock is wrong, or the list is newer than now",
        symptom=Symptom.NOT_YET_VALID,
        rejected_by=LOCAL,
        suspect=OWN,
        says=("crl is not yet valid",),
        samples=("SSL certificate problem: CRL is not yet valid (certificate 0)",),
    ),
    Rule(
        name="own-unusable-crl",
        meaning="it is told to check a certificate revocation list, and has none that fits or can be used",
        symptom=Symptom.OTHER,
        rejected_by=LOCAL,
        suspect=OWN,
        says=("unable to get certificate crl", "unable to get crl issuer", "crl signature failure", "decrypt crl's signature", "in crl's", "crl path validation", "different crl scope"),
        samples=("VERIFY ERROR: depth=0, error=unable to get certificate CRL: CN=laptop",),
    ),
    Rule(
        name="own-client-certificate-expired",
        meaning="the kubelet's own client certificate has expired: it cannot speak to the API server until it is given a new one",
        symptom=Symptom.EXPIRED,
        rejected_by=LOCAL,
        suspect=OWN,
        says=("active client certificate has expired",),
        pattern=re.compile(r"bootstrap client certificate .{0,300}?is expired"),
        samples=(
            "bootstrap.go:266] part of the existing bootstrap client certificate in /etc/kubernetes/kubelet.conf is expired: 2026-02-11 09:14:07 +0000 UTC",
            "transport.go:112] The currently active client certificate has expired and the server is responsive, exiting.",
        ),
    ),
    Rule(
        name="own-client-certificate-lacking",
        meaning="the kubelet holds no valid client certificate and cannot get one",
        symptom=Symptom.OTHER,
        rejected_by=LOCAL,
        suspect=OWN,
        says=("no valid client certificate is found", "since a valid client cert was found", "no valid client certificate found"),
        samples=('transport.go:147] "No valid client certificate is found but the server is not responsive. A restart may be necessary to retrieve new initial credentials."',),
    ),
    Rule(
        name="own-certificate-expired",
        meaning="a certificate file of its own has expired",
        symptom=Symptom.EXPIRED,
        rejected_by=LOCAL,
        suspect=OWN,
        says=(
            "the certificate has expired: notbefore",
            "swarm certificates have expired",
            "not valid anymore. expired on",
            "your certificate has expired",
        ),
        pattern=re.compile(
            r"^\W{0,3}!?[a-z][\w. ]{1,40}? [a-z]{3} \d{1,2}, \d{4} \d\d:\d\d [a-z]{3,4} +<invalid>"
            r"|\.(?:crt|pem): certificate .{1,300}? (?:has )?expired at "
            r"|(?:own|our|server|serving|local|provided|this node's) (?:ssl |tls |x509 )?certificate (?:\S{1,300} )?(?:has|is) expired (?:on|at|since)"
        ),
        samples=(
            "failure loading front-proxy-client certificate: the certificate has expired: NotBefore: 2024-05-02 10:00:00 +0000 UTC, NotAfter: 2025-05-02 10:00:00 +0000 UTC",
            "etcd-healthcheck-client    Oct 03, 2025 07:45 UTC   <invalid>       etcd-ca                 no",
            "WARNING: Your certificate has expired!",
            "kubelet/client-kubelet.crt: certificate CN=system:node:m1,O=system:nodes expired at 2026-01-05T08:00:00Z",
        ),
    ),
    Rule(
        name="own-certificate-not-yet-valid",
        meaning="a certificate file of its own is not valid yet: this machine's clock is behind, or the file was issued for later",
        symptom=Symptom.NOT_YET_VALID,
        rejected_by=LOCAL,
        suspect=OWN,
        says=("the certificate is not valid yet: notbefore", "your certificate is not yet valid"),
        pattern=re.compile(r"\.(?:crt|pem): certificate .{1,300}? is not valid before "),
        samples=(
            "W1124 10:00:00.000000    1234 certs.go:500] WARNING: could not validate bounds for certificate apiserver: the certificate is not valid yet: NotBefore: 2026-11-25 10:00:00 +0000 UTC, NotAfter: 2027-11-25 10:00:00 +0000 UTC",
            "WARNING: Your certificate is not yet valid!",
        ),
    ),
    Rule(
        name="own-certificate-outside-validity",
        meaning="a certificate file of its own has expired or is not valid yet",
        symptom=Symptom.EXPIRED_OR_NOT_YET_VALID,
        rejected_by=LOCAL,
        suspect=OWN,
        says=("certificate is expired or not yet valid",),
        samples=("The provided SSL certificate is expired or not yet valid.",),
    ),
    Rule(
        name="own-serving-certificate-lacking",
        meaning="it has no certificate to serve, so every client is turned away",
        symptom=Symptom.OTHER,
        rejected_by=LOCAL,
        suspect=OWN,
        says=("no serving certificate available", "tls: no certificates configured", "tls: neither certificates, getcertificate"),
        samples=("http: TLS handshake error from 10.0.0.7:51612: no serving certificate available for the kubelet",),
    ),
    Rule(
        name="own-key-mismatch",
        meaning="its certificate and its private key do not belong together",
        symptom=Symptom.OTHER,
        rejected_by=LOCAL,
        suspect=OWN,
        says=("private key does not match", "key values mismatch", "private key and certificate do not match", "certificate and private key do not match", "certificate and the given key do not match"),
        samples=(
            'failed to load key pair "/etc/etcd/server.crt": tls: private key does not match public key',
            'SSL_CTX_use_PrivateKey("/etc/nginx/tls.key") failed (SSL: error:05800074:x509 certificate routines::key values mismatch)',
        ),
    ),
    Rule(
        name="own-file-missing",
        meaning="a certificate or key file of its own is not where it looks for it",
        symptom=Symptom.OTHER,
        rejected_by=LOCAL,
        suspect=OWN,
        says=("!missing!", *(f".{kind}{quote}: no such file" for kind in FILES for quote in ("", '"')), *(f".{kind}: permission denied" for kind in FILES)),
        samples=(
            "open /etc/kubernetes/pki/apiserver-etcd-client.crt: no such file or directory",
            "!MISSING! certificate apiserver-kubelet-client",
        ),
    ),
    Rule(
        name="own-file-unusable",
        meaning="a certificate or key file of its own cannot be read or understood",
        symptom=Symptom.OTHER,
        rejected_by=LOCAL,
        suspect=OWN,
        says=(
            "pem data in certificate input",
            "pem data in key input",
            "tls: failed to parse private key",
            "tls: found a certificate rather than a key",
            "error setting certificate verify locations",
            "error adding our certificate",
            "trustanchors parameter must be non empty",
            "ssl context is not usable without certificate",
        ),
        pattern=re.compile(
            r"(?:cannot|can't|couldn't|could not|unable to|failed to|failure|failed|error while|error|errors?:?) (?:to )?"
            r"(?:load|loading|read|reading|open|opening|parse|parsing|use|using|find) (?:the )?(?:\S{1,60} ){0,3}?"
            r"(?:certificate|certificates|cert|client ca|ca cert|ca file|private key|key pair|keypair|x509 key pair|tls key)\b(?! (?:signing|request|expiration|authority data|from (?:server|peer|client)))"
        ),
        unless=("not signed by ca", "x509: certificate ", "verify failed", "certificate has expired", "the certificate has", "the certificate is", "certificate crl", "issuer certificate", "root certificate in the chain", "certification path", "signature algorithm"),
        samples=(
            'nginx: [emerg] cannot load certificate "/etc/nginx/tls/server.pem": BIO_new_file() failed',
            "error: unable to read client-cert /var/lib/minikube/client.crt for minikube due to empty file",
            "tls: failed to find any PEM data in certificate input",
        ),
    ),
)  # fmt: skip

# ------------------------------------------------------------------------------------------------ 2. alerts that came in

ALERTS: Final = (
    Rule(
        name="alert-expired",
        meaning="it has expired, says the alert that came back",
        symptom=Symptom.EXPIRED_ALERT,
        rejected_by=REMOTE,
        suspect=OWN,
        heard=("expired certificate", "certificate expired", "certificateexpired", "certificate is expired"),
        says=("peer rejected your certificate as expired",),
        samples=(
            "health check for peer 1c9c1a2b3c4d5e6f could not connect: remote error: tls: expired certificate",
            "error:0A000415:SSL routines::sslv3 alert certificate expired:SSL alert number 45",
            "javax.net.ssl.SSLHandshakeException: Received fatal alert: certificate_expired",
            "*** Received alert [45]: Certificate is expired",
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
        says=("peer rejected your certificate as revoked",),
        samples=("could not accept SSL connection: sslv3 alert certificate revoked",),
    ),
    Rule(
        name="alert-certificate-required",
        meaning="none was shown, and the other side asks for one",
        symptom=Symptom.MISSING_CLIENT_CERT,
        rejected_by=REMOTE,
        suspect=OWN,
        heard=("certificate required", "certificaterequired", "certificate is required", "alert certificate required", "no certificate", "alert number 116"),
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
        heard=("bad certificate", "badcertificate", "certificate is bad", "bad certificate status response", "certificate unobtainable"),
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
            "TLS client: In state connection received SERVER ALERT: Fatal - Bad Certificate",
            "error: AlertReceived(BadCertificate)",
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
)  # fmt: skip

# ------------------------------------------------------------------------------------------------ 3. verdicts of this process

VERDICTS: Final = (
    Rule(
        name="refused-revoked",
        meaning="it is revoked",
        symptom=Symptom.REVOKED,
        rejected_by=LOCAL,
        suspect=PEER,
        says=(
            "certificate revoked",
            "cert revoked",
            "certificate is revoked",
            "certificate was revoked",
            "has been revoked",
            "certificate chain is revoked",
            "invalid peer certificate: revoked",
            "invalidcertificate(revoked)",
            "certrevoked",
            "status \"revoked\"",
        ),
        pattern=re.compile(r"certificate (?:with )?serial \S{1,80} (?:is |was )?revoked"),
        samples=(
            "VERIFY ERROR: depth=0, error=certificate revoked: CN=phone",
            'rejected connection from "10.0.0.4:1234" (error "transport: certificate serial 1f2e revoked", ServerName "")',
            "java.security.cert.CertPathValidatorException: Certificate has been revoked, reason: KEY_COMPROMISE",
        ),
    ),
    Rule(
        name="refused-name",
        meaning="it is not made for the name or address that was called",
        symptom=Symptom.NAME_MISMATCH,
        rejected_by=LOCAL,
        suspect=PEER,
        says=(
            # Go
            "x509: certificate is valid for ",
            "certificate relies on legacy common name",
            "certificate is not valid for any names",
            "cannot validate certificate for",
            "does not match any of dnsnames",
            "common name is not a valid hostname",
            "commonname authentication failed",
            "client certificate authentication failed",
            # OpenSSL, curl, wget, nginx, PostgreSQL, MySQL, Ruby, PHP
            "hostname mismatch",
            "ip address mismatch",
            "email address mismatch",
            "no alternative certificate subject name matches",
            "no certificate subject alternative name",
            "certificate subject doesn't match",
            "certificate subject does not match",
            "does not match target host",
            "doesn't match requested host name",
            "upstream ssl certificate does not match",
            "does not match host name",
            "does not match the host name",
            "does not match the server certificate",
            "does not match hostname",
            "did not match expected cn",
            "subject checks failed",
            "no matching host name found",
            "certificate peer name verification failed",
            "certificate authentication failed for user",
            "verify x509name error",
            "verify san list",
            "san matcher",
            # Python, Node
            "certificate's altnames",
            "altname invalid",
            "certificate is not valid for '",
            # Java, .NET
            "no subject alternative",
            "no name matching ",
            "doesn't match any of the subject alternative names",
            "does not match the certificate subject",
            "remotecertificatenamemismatch",
            # GnuTLS, NSS, OpenLDAP, rsyslog
            "name in the certificate does not match",
            "certificate's owner does not match",
            "does not match common name in certificate",
            "peer name not authorized",
            "bad cert domain",
            "cert common name invalid",
            # rustls, Erlang
            "not valid for name",
            "notvalidforname",
            "hostname check failed",
        ),
        pattern=re.compile(r"hostname '?\S{1,255} (?:doesn't|does not) match|hostname \S{1,255} not verified|certificate contains \d+ names, none matched"),
        samples=(
            'Get "https://10.0.0.3:10250/": tls: failed to verify certificate: x509: certificate is valid for 10.0.0.2, not 10.0.0.3',
            'rejected connection from "10.0.0.9:2380" (error "tls: \\"10.0.0.9\\" does not match any of DNSNames [\\"m2.internal\\"]", ServerName "m1.internal")',
            "curl: (60) SSL: no alternative certificate subject name matches target host name 'db.internal'",
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch, certificate is not valid for 'db.internal'. (_ssl.c:1129)",
            "Error [ERR_TLS_CERT_ALTNAME_INVALID]: Hostname/IP does not match certificate's altnames: Host: a. is not in the cert's altnames: DNS:b",
            "javax.net.ssl.SSLHandshakeException: No subject alternative DNS name matching db.internal found.",
            "hostname 'a.internal' doesn't match 'b.internal': SSLCertVerificationError",
            "invalid peer certificate: NotValidForName",
        ),
    ),
    Rule(
        name="refused-usage",
        meaning="it is not made for this use: a server's was shown as a client's, a client's as a server's, or a leaf signed like a CA",
        symptom=Symptom.USAGE,
        rejected_by=LOCAL,
        suspect=PEER,
        says=(
            "incompatible key usage",
            "key usage doesn't permit",
            "key usage does not permit",
            "key usage does not include",
            "keyusage does not allow",
            "does not have key usage extension",
            "does not have extended key usage extension",
            "certificate purpose",
            "not authorized to sign other certificates",
            "not authorized for an extended key usage",
            "verify ku error",
            "verify eku error",
            "verify nscerttype error",
            "netscape cert type does not permit",
            "invalidpurpose",
            "cert inadequate key usage",
            "inadequate cert type",
            "invalid ext key usage",
            "key usage violation",
            "does not match the intended purpose",
        ),
        sent=("unsupported certificate",),
        samples=(
            'rejected connection from "10.0.0.5:40001" (error "tls: failed to verify client certificate: x509: certificate specifies an incompatible key usage", ServerName "")',
            "curl: (60) SSL certificate problem: unsuitable certificate purpose",
            "Extended key usage does not permit use for TLS client authentication: sun.security.validator.ValidatorException: certificate",
            "VERIFY EKU ERROR: certificate of CN=server",
            "TLS server: In state wait_cert at ssl_handshake.erl:2117 generated SERVER ALERT: Fatal - Unsupported Certificate",
        ),
    ),
    Rule(
        name="refused-not-yet-valid",
        meaning="it is not valid yet: one of the two clocks is wrong, or it was issued a moment ago; no restart cures that",
        symptom=Symptom.NOT_YET_VALID,
        rejected_by=LOCAL,
        suspect=PEER,
        says=(
            "certificate is not yet valid",
            "certificate not yet valid",
            "certificate is not yet activated",
            "not yet valid certificate",
            "certificate not valid yet",
            "cert not yet valid",
            "notvalidyet",
            "certnotvalidyet",
            "certificatenotyetvalidexception",
        ),
        pattern=re.compile(r"current time .{1,60}? is before |exception: notbefore: "),
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
            "certificate is expired",
            "certificate expired",
            "cert has expired",
            "cert expired",
            "certs have expired",
            "certificates have expired",
            "certificate validity has expired",
            "expired certificate",
            "certexpired",
            "certificateexpiredexception",
            "invalid peer certificate: expired",
            "invalidcertificate(expired)",
            "asn: after date in the past",
            "received certificate has expired",
        ),
        pattern=re.compile(
            r"current time .{1,60}? is a|certificate (?:\S{1,120} |of '?\S{1,255} )?(?:has|had|is|was) ?(?:already )?expired(?! or )"
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
            "certificate has expired or is not",
            "x509: certificate has",
            "validity check failed",
            "timestamp check failed",
            "cert date invalid",
            "nottimevalid",
            "certificate is expired or not yet valid",
            "certificate expired or not yet valid",
        ),
        samples=(
            'Get "https://10.0.0.1:6443/version": x509: certificate has expired or is not yet valid',
            "PKIX path validation failed: java.security.cert.CertPathValidatorException: validity check failed",
            "net_error -201 ERR_CERT_DATE_INVALID",
        ),
    ),
    Rule(
        name="missing-client-certificate",
        meaning="it showed none, and this process asks for one; port scanners and health checks do the same",
        symptom=Symptom.MISSING_CLIENT_CERT,
        rejected_by=LOCAL,
        suspect=PEER,
        says=(
            "didn't provide a certificate",
            "did not provide a certificate",
            "did not return a certificate",
            "peer sent no certificate",
            "peer did not send any certificate",
            "client sent no required ssl certificate",
            "no required ssl certificate was sent",
            "no required certificate sent",
            "requires a valid client certificate",
            "no ssl certificate provided by peer",
            "nocertificatespresented",
            "empty client certificate chain",
            "null cert chain",
            "no client certificate presented",
            "no client certificate provided",
            "received empty certificates message",
            "client certificate is required",
            "client certificate required",
            "no certificate was found",
        ),
        samples=(
            'rejected connection from "10.0.0.6:50000" (error "tls: client didn\'t provide a certificate", ServerName "")',
            "error:0A0000C7:SSL routines::peer did not return a certificate",
            "client sent no required SSL certificate while reading client request headers, client: 10.0.0.6",
            "javax.net.ssl.SSLHandshakeException: Empty client certificate chain",
            "error: peer sent no certificates",
        ),
    ),
    Rule(
        name="refused-unknown-authority",
        meaning="its issuer is not trusted here: it is of another CA, the CA file here is old, or a link of the chain is missing",
        symptom=Symptom.UNKNOWN_AUTHORITY,
        rejected_by=LOCAL,
        suspect=PEER,
        says=(
            # Go, and kubeadm and k3s, which pin the CA by a hash
            "certificate signed by unknown",
            "x509: certificate signed",
            "system roots and no roots provided",
            "issuer name does not match subject",
            "public keys \"sha256",
            "are pinned",
            "does not match the cluster ca certificate hash",
            "got the wrong ca cert",
            # OpenSSL and what is built upon it
            "self signed certificate in certificate chain",
            "self signed certificate",
            "unable to get local issuer certificate",
            "unable to get issuer certificate",
            "unable to verify the first certificate",
            "unable to verify leaf signature",
            "unable to locally verify the issuer",
            "unable to get issuer cert",
            "self signed cert in chain",
            "depth zero self signed cert",
            "certificate signature failure",
            "key identifier mismatch",
            "issuer serial number mismatch",
            "subject issuer mismatch",
            "certificate not trusted",
            "client ca chain cannot be verified",
            "invalid ca certificate",
            "untrusted issuer",
            "server certificate not trusted",
            # Java
            "pkix path building failed",
            "unable to find valid certification path",
            "path does not chain with any of the trust anchors",
            "trust anchor for certification path not found",
            "no trusted certificate found",
            "signature check failed",
            "is not trusted in this ssl context",
            # GnuTLS, NSS, macOS, .NET, browsers
            "certificate issuer is unknown",
            "certificate is not trusted",
            "issuer has been marked as not trusted",
            "untrusted issuer",
            "unknown issuer",
            "signer not found",
            "peer cert untrusted",
            "not correctly signed by the trusted ca",
            "untrustedroot",
            "untrusted root",
            "partialchain",
            "cert authority invalid",
            # rustls, Erlang
            "unknownissuer",
            "badsignature",
            "selfsigned peer",
            "{bad cert,unknown ca",
        ),
        sent=("unknown ca", "unknown certificate authority"),
        pattern=re.compile(r"certificate of '\S{1,255} is not trusted"),
        samples=(
            'Post "https://hook.default.svc:443/mutate": tls: failed to verify certificate: x509: certificate signed by unknown authority',
            "curl: (60) SSL certificate problem: unable to get local issuer certificate",
            "Error: self-signed certificate in certificate chain, code: 'SELF_SIGNED_CERT_IN_CHAIN'",
            "ValidatorException: PKIX path building failed: unable to find valid certification path to requested target",
            "The certificate is NOT trusted. The certificate issuer is unknown.",
            "TLS server: In state certify at ssl_handshake.erl:1880 generated SERVER ALERT: Fatal - Unknown CA",
            "invalid peer certificate: UnknownIssuer",
            "10.0.0.4:40100 [24/Nov/2026:10:00:00.000] fe/1: SSL client CA chain cannot be verified",
        ),
    ),
)  # fmt: skip

# ------------------------------------------------------------------------------------------------ 4. without a reason

VAGUE: Final = (
    Rule(
        name="sent-alert",
        meaning="the alert that this process sent does not say why",
        symptom=Symptom.BAD_CERTIFICATE_ALERT,
        rejected_by=LOCAL,
        suspect=PEER,
        sent=("bad certificate", "certificate unknown", "unknown certificate", "certificate revoked", "certificate required"),
        samples=("rejected connection: local error: tls: bad certificate",),
    ),
    Rule(
        name="refused-unstated",
        meaning="the line does not say why",
        symptom=Symptom.OTHER,
        rejected_by=LOCAL,
        suspect=PEER,
        says=(
            "certificate verify failed",
            "certificate verification failed",
            "certificate verification error",
            "certificate validation failed",
            "certificate validation failure",
            "certificate verify error",
            "failed to verify certificate",
            "failed to verify client",
            "error in the certificate",
            "error in certificate",
            "certificate verification of peer failed",
            "remote certificate is invalid",
            "invalid ssl certificate",
            "certificate invalid",
            "peer not authenticated",
            "invalid peer certificate",
            "server certificate not verified",
            "peer certificate verification failed",
            "validation of ssl server certificate failed",
            "rejected by cert at depth",
            "invalid signature by the client certificate",
            "invalid signature by the server certificate",
            "failed to parse certificate from server",
            "certificate chain too long",
            "cannot validate certificate",
            "certificate key too weak",
            "ca md too weak",
            "certificate is not standards compliant",
            "certificate problem:",
            "verify error: depth=",
            "verify error:num=",
            "we are not permitted to talk to it",
            "not permitted to talk to peer",
        ),
        pattern=re.compile(r"x509: (?=[a-z])|failed to verify (?:\w+ ){1,2}certificate|cannot verify \S{1,255} certificate|error \d+ at \d+ depth lookup"),
        samples=(
            "error:0A000086:SSL routines::certificate verify failed",
            "http: TLS handshake error from 10.0.0.2:3000: tls: failed to verify certificate: x509: unhandled critical extension",
            "fatal: unable to access 'https://git.internal/x.git/': server certificate verification failed. CAfile: none CRLfile: none",
            "omrelp[m1:20514]: authentication error 'certificate validation failed', peer is ''",
        ),
    ),
)  # fmt: skip

RULES: Final[tuple[Rule, ...]] = (*OWN_FILES, *ALERTS, *VERDICTS, *VAGUE)
