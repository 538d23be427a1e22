"""Rules: a program finds fault with certificates, keys and lists of its own machine."""

from __future__ import annotations

import re
from typing import Final

from certmedic.core.symptoms.rule import LOCAL, NAME, OWN, Rule, Symptom

FILES: Final = ("crt", "key", "pem", "cert", "cer", "crl", "p12", "pfx", "jks")

OWN_FILES: Final = (
    Rule(
        name="own-expired-crl",
        meaning="the certificate revocation list it checks against has run out, so it refuses everybody",
        symptom=Symptom.EXPIRED,
        rejected_by=LOCAL,
        suspect=OWN,
        says=("crl has expired", "certificate revocation list expired", "crl is not valid after", "crl is expired"),
        samples=(
            "client SSL certificate verify error: (12:CRL has expired) while reading client request headers, client: 10.1.2.3",
        ),
    ),
    Rule(
        name="own-future-crl",
        meaning="the certificate revocation list it checks against is not valid yet: a clock is wrong, or the list is newer than now",
        symptom=Symptom.NOT_YET_VALID,
        rejected_by=LOCAL,
        suspect=OWN,
        says=("crl is not yet valid", "crl is from the future"),
        samples=("SSL certificate problem: CRL is not yet valid (certificate 0)",),
    ),
    Rule(
        name="own-unusable-crl",
        meaning="it is told to check a certificate revocation list, and has none that fits or can be used",
        symptom=Symptom.OTHER,
        rejected_by=LOCAL,
        suspect=OWN,
        says=(
            "unable to get certificate crl",
            "unable to get crl issuer",
            "crl signature failure",
            "decrypt crl's signature",
            "in crl's",
            "crl path validation",
            "different crl scope",
            "x509: malformed crl",
        ),
        hints=("certificatelist",),
        pattern=re.compile(r"asn1: (?:structure|syntax) error: [^\n]{0,400} certificatelist\b"),
        samples=("VERIFY ERROR: depth=0, error=unable to get certificate CRL: CN=laptop",),
    ),
    Rule(
        name="own-client-certificate-expired",
        meaning="the kubelet's own client certificate has expired: it cannot speak to the API server until it is given a new one",
        symptom=Symptom.EXPIRED,
        rejected_by=LOCAL,
        suspect=OWN,
        says=("active client certificate has expired", "current certificate is expired"),
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
        says=(
            "no valid client certificate is found",
            "since a valid client cert was found",
            "no valid client certificate found",
        ),
        samples=(
            'transport.go:147] "No valid client certificate is found but the server is not responsive. A restart may be necessary to retrieve new initial credentials."',
        ),
    ),
    Rule(
        name="own-certificate-expired",
        meaning="a certificate file of its own has expired",
        symptom=Symptom.EXPIRED,
        rejected_by=LOCAL,
        suspect=OWN,
        says=(
            "the certificate has expired: notbefore",
            "certificate: the certificate has expired",
            "swarm certificates have expired",
            "not valid anymore. expired on",
            "your certificate has expired",
            "certificate is now invalid. it expired",
            "current tls certificate is expired",
        ),
        hints=("expired", "<invalid>"),
        pattern=re.compile(
            r"\b[a-z]{3} \d{1,2}, \d{4} \d\d:\d\d [a-z]{3,4} +<invalid>"
            r"|\.(?:crt|pem): certificate .{1,300}? (?:has )?expired at "
            rf"|certificate ['\"]?/{NAME}\.(?:{'|'.join(FILES)})['\"]? (?:has|is) expired"
            rf"|(?:own|our|server|serving|local|provided|this node's) (?:ssl |tls |x509 )?certificate (?:{NAME} )?(?:has|is) expired (?:on|at|since)"
        ),
        samples=(
            "failure loading front-proxy-client certificate: the certificate has expired: NotBefore: 2024-05-02 10:00:00 +0000 UTC, NotAfter: 2025-05-02 10:00:00 +0000 UTC",
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
        says=(
            "the certificate is not valid yet: notbefore",
            "certificate: the certificate is not valid yet",
            "your certificate is not yet valid",
        ),
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
        says=(
            "no serving certificate available",
            "tls: no certificates configured",
            "tls: neither certificates, getcertificate",
        ),
        samples=("http: TLS handshake error from 10.0.0.7:51612: no serving certificate available for the kubelet",),
    ),
    Rule(
        name="own-key-mismatch",
        meaning="its certificate and its private key do not belong together",
        symptom=Symptom.OTHER,
        rejected_by=LOCAL,
        suspect=OWN,
        says=(
            "private key does not match",
            "key values mismatch",
            "private key and certificate do not match",
            "certificate and private key do not match",
            "certificate and the given key do not match",
            "key type does not match public key",
            "cert and key do not match",
            "certificate does not match private key",
            "certificate does not match key",
        ),
        pattern=re.compile(
            r"certificate and (?:private )?key [^\n]{1,600}? do not match"
            rf"|certificate {NAME} does not match (?:the )?(?:private )?key "
        ),
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
        says=(
            "!missing!",
            *(f".{kind}{quote}: no such file" for kind in FILES for quote in ("", '"', "'")),
            *(f".{kind}: permission denied" for kind in FILES),
            *(f".{kind}{quote} does not exist" for kind in FILES for quote in ("", '"', "'")),
        ),
        pattern=re.compile(rf"no such file or directory, \w{{4,8}} ['\"][^'\"\n]{{1,300}}\.(?:{'|'.join(FILES)})['\"]"),
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
            "pem block in certificate input",
            "in key input after skipping",
            "tls: found unknown private key type",
            "tls: unsupported certificate: private key is",
            "tls: certificate private key",
            "x509: failed to parse private key",
            "x509: decryption password incorrect",
            "has group or world access",
            "client cert failed",
            "no valid certificate authority data seen",
            "contain any valid rsa or ecdsa certificates",
            "does not include a valid x509 cert",
            "keyfile and certfile must both be present",
            "keyfile and certfile are not presented",
            "x509: malformed certificate",
            "etcdmain: asn1: ",
            "no server certificate was specified",
            "no key found, wrong pass phrase",
            "pem lib",
            "pem routines:",
        ),
        pattern=re.compile(
            r"ssl ctx use (?:certificate|privatekey)[^\n]{0,300}?(?:failed|error:)|(?:unable to|cannot|error|failed to) set(?:ting)? (?:certificate|private key)\b"
            r"|for loading (?:\w{1,20} ){0,3}(?:certificate|private key)|unable to get (?:certificate|private key)(?: file)?:? (?:from )?['\"/]"
            r"|(?:cannot|can not|can't|couldn't|could not|unable to|failed to|failure|failed|error while|error|errors?:?) (?:to )?"
            r"(?:load|loading|read|reading|open|opening|parse|parsing|use|using|stat|append|appending|set up|setting up|configure) (?:the )?(?:\S{1,60} ){0,3}?"
            r"(?:certificate|certificates|cert|client ca|ca cert|ca file|ca data|ca contents|ca bundle|private key|pem key file|key pair|keypair|x509 key pair|tls key)\b(?! (?:signing|request|expiration|rotation|manager|controller|renewal|duration|min time|authority data|from (?:server|peer|client)))"
        ),
        unless=(
            "not signed by ca",
            "tls: failed to parse client",
            "failed to parse certificate from server",
            "certificate request",
            "get server certificate",
            "get client certificate",
            "get peer certificate",
            "get issuer",
            "get local issuer",
            "x509: certificate ",
            "verify failed",
            "certificate has expired",
            "the certificate has",
            "the certificate is",
            "certificate crl",
            "issuer certificate",
            "root certificate in the chain",
            "certification path",
            "configmap based",
            "dh parameters",
        ),
        samples=(
            'nginx: [emerg] cannot load certificate "/etc/nginx/tls/server.pem": BIO_new_file() failed',
            'FATAL:  could not load server certificate file "server.crt": Permission denied',
            "tls: failed to find any PEM data in certificate input",
            "[!] SSL_CTX_use_certificate_chain_file: ../crypto/pem/pem_lib.c:966: error:04800064:PEM routines::bad base64 decode",
        ),
    ),
)
