"""From a line through its envelopes to a sighting. test_table.py tests the rules."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from certmedic.core import codec, lines, symptoms
from certmedic.core.diagnose.others import neighbours_of
from certmedic.core.model import LogEntry, Origin, RejectedBy, Role, Sighting, Suspect, Symptom, Trust

WHEN = datetime(2026, 11, 24, 15, 32, 49, tzinfo=UTC)

OWN, PEER = Suspect.OWN, Suspect.PEER
LOCAL, REMOTE = RejectedBy.LOCAL, RejectedBy.REMOTE
SERVER, CLIENT = Role.SERVER, Role.CLIENT


def seen(text: str, **origin: object) -> Sighting | None:
    return symptoms.parse(LogEntry(stream="t", position="1", time=WHEN, text=text, origin=Origin(**origin)))


def sure(text: str, **origin: object) -> Sighting:
    sighting = seen(text, **origin)
    assert sighting is not None, text
    return sighting


SAMPLES = [sample for rule in symptoms.RULES for sample in rule.samples]

# ---------------------------------------------------------------- who rejected whom (FIELD 4.2)

AFTER = "current time 2026-11-24T15:32:49Z is after 2026-11-19T15:16:51Z"
BEFORE = "current time 2026-11-24T15:32:49Z is before 2026-12-14T15:29:59Z"


def as_server(error: str) -> str:
    quoted = error.replace('"', '\\"')
    return f'embed: rejected connection from "10.0.0.7:40122" (error "{quoted}", ServerName "m1.internal")'


def as_client(error: str) -> str:
    return f"rafthttp: health check for peer 8211f1d0f64f3269 could not connect: {error}"


@pytest.mark.parametrize(
    ("error", "symptom", "rejected_by", "suspect"),
    [
        ("remote error: tls: bad certificate", Symptom.BAD_CERTIFICATE_ALERT, REMOTE, OWN),
        ("remote error: bad certificate", Symptom.BAD_CERTIFICATE_ALERT, REMOTE, OWN),
        ("remote error: tls: expired certificate", Symptom.EXPIRED_ALERT, REMOTE, OWN),
        ("remote error: tls: unknown certificate authority", Symptom.UNKNOWN_CA_ALERT, REMOTE, OWN),
        ("remote error: tls: unknown certificate", Symptom.BAD_CERTIFICATE_ALERT, REMOTE, OWN),
        ("remote error: tls: revoked certificate", Symptom.REVOKED, REMOTE, OWN),
        ("remote error: tls: certificate required", Symptom.MISSING_CLIENT_CERT, REMOTE, OWN),
        (f"x509: certificate has expired or is not yet valid: {AFTER}", Symptom.EXPIRED, LOCAL, PEER),
        (f"x509: certificate has expired or is not yet valid: {BEFORE}", Symptom.NOT_YET_VALID, LOCAL, PEER),
        ("x509: certificate has expired or is not yet valid", Symptom.EXPIRED_OR_NOT_YET_VALID, LOCAL, PEER),
        ("x509: certificate signed by unknown authority", Symptom.UNKNOWN_AUTHORITY, LOCAL, PEER),
        ("x509: certificate is valid for a.internal, not b.internal", Symptom.NAME_MISMATCH, LOCAL, PEER),
        ("x509: certificate specifies an incompatible key usage", Symptom.USAGE, LOCAL, PEER),
        ("x509: unhandled critical extension", Symptom.OTHER, LOCAL, PEER),
    ],
)
@pytest.mark.parametrize(
    "before", ["", "tls: failed to verify client's certificate: ", "tls: failed to verify client certificate: "]
)
def test_error_text_says_who_rejected_whom(before, error, symptom, rejected_by, suspect):
    for role, line in ((SERVER, as_server(before + error)), (CLIENT, as_client(error))):
        if before and rejected_by is REMOTE:
            continue
        sighting = sure(line)
        assert (sighting.symptom, sighting.rejected_by, sighting.suspect) == (symptom, rejected_by, suspect)
        assert (sighting.role, sighting.program) == (role, "etcd")


def test_role_comes_from_the_context_of_an_error_that_both_sides_log_alike():
    error = f"tls: failed to verify certificate: x509: certificate has expired or is not yet valid: {AFTER}"
    assert sure(as_server(error)).role is SERVER
    assert sure(as_client(error)).role is CLIENT
    assert sure(f'Get "https://10.0.0.1:6443/api": {error}').role is CLIENT
    assert sure(f"http: TLS handshake error from 10.0.0.1:4444: {error}").role is SERVER


@pytest.mark.parametrize(
    "error",
    [
        "EOF",
        "read tcp 10.0.0.1:2379->10.0.0.7:40122: read: connection reset by peer",
        "tls: first record does not look like a TLS handshake",
        "tls: client offered only unsupported versions: [302 301]",
        "tls: no cipher suite supported by both client and server",
        "tls: client requested unsupported application protocols ([http/0.9])",
        "remote error: tls: handshake failure",
        "remote error: tls: protocol version not supported",
        "remote error: tls: unrecognized name",
        "remote error: tls: internal error",
        "local error: tls: bad record MAC",
        "context deadline exceeded",
    ],
)
def test_other_handshake_errors_are_no_sighting(error):
    assert seen(as_server(error)) is None
    assert seen(f"http: TLS handshake error from 10.0.0.7:40122: {error}") is None


@pytest.mark.parametrize(
    "line",
    [
        "I1124 15:21:01.355242   24143 certs.go:183] generating certificate for etcd-manager-server-etcd-a",
        "I1124 15:21:01.355242   24143 certs.go:151] existing certificate not valid after 2026-11-01T00:00:00Z; will regenerate",
        "certificate_manager.go:356] Certificate expiration is 2026-11-01 00:00:00 +0000 UTC, rotation deadline is 2026-10-01",
        "apiserver                  May 23, 2027 01:45 UTC   364d            ca                      no",
        "[certs] Using existing ca certificate authority",
        "Node certificates require attention: etcd/client.crt: certificate CN=etcd-client will expire within 90 days at 2027-01-01T00:00:00Z",
        "csr.go:262] certificate signing request csr-abcde is approved, waiting to be issued",
        'level=info msg="Generating self-signed certificate"',
        'E1124 15:32:49.012345    9 serving.go:380] "failed to generate self-signed certificate for loopback connection: mkdir /var/run/kubernetes: read-only file system"',
        'I1124 15:32:49.012345    9 certificate_manager.go:412] "Current certificate CN does not match requested CN" current="a" requested="b"',
        'W1124 15:32:49.012345    9 main.go:99] failed to parse ETCD_MANAGER_CERT_DURATION="two years"',
        "ssh: handshake failed: ssh: cert has expired",
        "VERIFY OK: depth=1, CN=ca",
        "*  SSL certificate verify ok.",
        "    Verify return code: 0 (ok)",
        "CA certificate ca.pem is self signed.",
        "failed to run Kubelet: unable to load bootstrap kubeconfig: stat /etc/kubernetes/bootstrap-kubelet.conf: no such file or directory",
        "open /run/flannel/subnet.env: no such file or directory",
        "OpenSSL SSL_connect: error:0A00010B:SSL routines::wrong version number",
    ],
)
def test_healthy_lines_and_other_errors_are_no_sighting(line):
    assert seen(line) is None
    assert symptoms.explanation(seen(line))["failure"] is False


@pytest.mark.parametrize(
    "line",
    [
        '10.0.0.7 - - [24/Nov/2026:15:32:49 +0000] "GET /search?q=certificate+has+expired HTTP/1.1" 200 5 "-" "curl/7.88.1"',
        '10.0.0.7 - - [24/Nov/2026:15:32:49 +0000] "GET /x509-certificate-has-expired.html HTTP/2.0" 200 5 "https://a.internal/certificate-revoked" "-"',
        'Get "https://a.internal/why/certificate_has_expired": EOF',
        "sshd[812]: error: Certificate invalid: expired",
        "authentication: x509: enabled, webhook: disabled",
        "LOG4[1]: CERT: accepting expired certificate",
    ],
)
def test_requested_urls_and_unrelated_certificates_are_no_sighting(line):
    assert seen(line) is None


def test_url_in_a_line_does_not_hide_the_error():
    line = 'Get "https://a.internal/certificate-revoked?at=1": x509: certificate signed by unknown authority'
    assert sure(line).symptom is Symptom.UNKNOWN_AUTHORITY
    assert sure(line).fields["endpoint"] == "https://a.internal/certificate-revoked?at=1"
    assert sure(line).role is CLIENT


@pytest.mark.parametrize(
    ("way", "rejected_by", "suspect"), [("read:fatal:", REMOTE, OWN), ("write:fatal:", LOCAL, PEER)]
)
@pytest.mark.parametrize("name", ["certificate expired", "unknown CA", "bad certificate", "certificate revoked"])
def test_openssl_alerts_that_are_read_and_written_are_distinguished(way, rejected_by, suspect, name):
    for line in (f"SSL3 alert {way}{name}", f"LOG4[5]: TLS alert ({way[:-7]}): fatal: {name}"):
        assert (sure(line).rejected_by, sure(line).suspect) == (rejected_by, suspect)
    assert seen(f"SSL3 alert {way}handshake failure") is None
    assert seen(f"SSL3 alert {way.replace('fatal', 'warning')}close notify") is None


@pytest.mark.parametrize(
    ("line", "symptom"),
    [
        ("Error: host name verification failed.", Symptom.NAME_MISMATCH),
        ("connect failed: ,hostname verification failed at -e line 1.", Symptom.NAME_MISMATCH),
        ("reason: \"Host: localhost. is not in the cert's altnames: DNS:elsewhere.internal\",", Symptom.NAME_MISMATCH),
        ("  code: 'INVALID_PURPOSE'", Symptom.USAGE),
        ("Error in handshake: Certificate is required.", Symptom.MISSING_CLIENT_CERT),
        ("Could not open file or uri for loading server certificate private key from lab/nofile.key", Symptom.OTHER),
        ("error setting private key", Symptom.OTHER),
    ],
)  # fmt: skip
def test_other_wordings_of_a_fault_have_the_same_symptom(line, symptom):
    assert sure(line).symptom is symptom


@pytest.mark.parametrize(
    ("dumped", "symptom"),
    [
        ('x509.CertificateInvalidError{Cert:(*x509.Certificate)(0xc0000ef080), Reason:1, Detail:"current time 2026-11-24T15:32:49Z is after 2026-11-19T15:16:51Z"}', Symptom.EXPIRED),
        ('x509.CertificateInvalidError{Cert:(*x509.Certificate)(0xc0000ef080), Reason:1, Detail:"current time 2026-11-24T15:32:49Z is before 2026-12-14T15:29:59Z"}', Symptom.NOT_YET_VALID),
        ('x509.CertificateInvalidError{Cert:(*x509.Certificate)(0xc0000c3080), Reason:4, Detail:""}', Symptom.USAGE),
        ('x509.CertificateInvalidError{Cert:(*x509.Certificate)(0xc0000c3080), Reason:3, Detail:""}', Symptom.OTHER),
        ("x509.UnknownAuthorityError{Cert:(*x509.Certificate)(0xc0000c3080), hintErr:error(nil), hintCert:(*x509.Certificate)(nil)}", Symptom.UNKNOWN_AUTHORITY),
        ('x509.HostnameError{Certificate:(*x509.Certificate)(0xc0000ef080), Host:"localhost"}', Symptom.NAME_MISMATCH),
    ],
)  # fmt: skip
def test_go_errors_printed_with_their_fields_have_the_same_symptom(dumped, symptom):
    sighting = sure(f'received an error: &url.Error{{Op:"Get", URL:"https://localhost:10250/x", Err:{dumped}}}')
    assert (sighting.symptom, sighting.rejected_by, sighting.suspect) == (symptom, LOCAL, PEER)
    assert sighting.fields["endpoint"] == "https://localhost:10250/x"
    assert ("not_after" in sighting.fields) == (symptom is Symptom.EXPIRED)


@pytest.mark.parametrize(
    ("line", "rule", "path"),
    [
        ('embed: rejected connection from "10.0.0.7:1" (error "open /etc/etcd/peers.crl: no such file or directory", ServerName "", IPAddresses [], DNSNames [])', "own-file-missing", "/etc/etcd/peers.crl"),
        ("etcdmain: open /etc/etcd/peers/me.key: permission denied", "own-file-missing", "/etc/etcd/peers/me.key"),
        ('{"level":"warn","caller":"etcdmain/etcd.go:146","msg":"failed to start etcd","error":"open /etc/etcd/peers/ca.crt: no such file or directory"}', "own-file-missing", "/etc/etcd/peers/ca.crt"),
        ("etcdmain: KeyFile and CertFile must both be present[key: , cert: /etc/etcd/server.crt]", "own-file-unusable", "/etc/etcd/server.crt"),
        ("etcdmain: KeyFile and CertFile must both be present[key: /etc/etcd/me.key, cert: ]", "own-file-unusable", "/etc/etcd/me.key"),
        ("etcdmain: cannot listen on TLS for 10.0.0.1:2380: KeyFile and CertFile are not presented", "own-file-unusable", None),
        ("etcdmain: asn1: structure error: tags don't match (16 vs {class:0 tag:0 length:0 isCompound:false}) {optional:false} certificate @2", "own-file-unusable", None),
        ('{"level":"fatal","caller":"etcdmain/etcd.go:219","msg":"listener failed","error":"x509: malformed certificate"}', "own-file-unusable", None),
        ('embed: rejected connection from "10.0.0.7:1" (error "asn1: structure error: tags don\'t match (16 vs {class:1 tag:8 length:101 isCompound:true}) {optional:false} CertificateList @2", ServerName "")', "own-unusable-crl", None),
    ],
)  # fmt: skip
def test_etcd_reports_faults_of_its_own_files(line, rule, path):
    assert symptoms.interesting(line.encode())
    sighting = sure(line)
    assert (sighting.rule, sighting.rejected_by, sighting.suspect, sighting.program) == (rule, LOCAL, OWN, "etcd")
    assert sighting.fields.get("cert_file") == path


def test_malformed_certificate_that_a_peer_sent_is_the_fault_of_the_peer():
    for sent in ("x509: malformed certificate", "asn1: structure error: tags don't match"):
        for line in (
            as_server(f"tls: failed to parse client certificate: {sent}"),
            as_client(f"tls: failed to parse certificate from server: {sent}"),
        ):
            assert sure(line).suspect is PEER


@pytest.mark.parametrize(
    ("line", "symptom", "suspect"),
    [
        ("wget: the certificate of m1-a.my-cluster.internal has expired", Symptom.EXPIRED, PEER),
        ("the certificate for m1-a.my-cluster.internal is not valid", Symptom.OTHER, PEER),
        ("Error: ENOENT: no such file or directory, open '/app/data/mqtt-ca.crt'", Symptom.OTHER, OWN),
        ("certificate /etc/my-app/tls-1.pem does not match private key /etc/my-app/tls-1.key", Symptom.OTHER, OWN),
    ],
)
def test_dashes_in_names_and_paths_do_not_hide_the_fault(line, symptom, suspect):
    assert (sure(line).symptom, sure(line).suspect) == (symptom, suspect)


# ---------------------------------------------------------------- a process that calls itself


def own_call(url: str) -> str:
    return f'Get "{url}": x509: certificate has expired or is not yet valid: {AFTER}'


def test_api_server_that_rejects_itself_is_at_fault():
    assert sure(own_call("https://[::1]:6443/api/v1/namespaces")).suspect is OWN
    for host in ("127.0.0.1:6443", "localhost:443", "localhost"):
        line = own_call(f"https://{host}/api/v1/namespaces")
        assert sure(line, container="k8s_kube-apiserver_kube-apiserver-m1_kube-system_1a2b_3").suspect is OWN
        assert sure(line, program="kube-scheduler").suspect is PEER
        assert sure(line).suspect is PEER
    etcd = own_call("https://127.0.0.1:2379/health")
    assert sure(etcd, program="kube-apiserver").suspect is PEER


def test_etcd_gateway_that_sends_the_server_certificate_is_our_fault():
    error = "tls: failed to verify client certificate: x509: certificate specifies an incompatible key usage"
    line = as_server(error)
    assert sure(line).suspect is PEER
    assert sure(line.replace("10.0.0.7", "127.0.0.1")).suspect is OWN
    other = f"http: TLS handshake error from 127.0.0.1:40122: {error}"  # not etcd, so the caller is no gateway
    assert sure(other).suspect is PEER
    expired = line.replace("specifies an incompatible key usage", "has expired or is not yet valid")
    assert sure(expired.replace("10.0.0.7", "127.0.0.1")).suspect is PEER


@pytest.mark.parametrize(
    ("line", "symptom"),
    [
        (
            f"[certs] certificate apiserver not signed by CA certificate ca: x509: certificate has expired or is not yet valid: {AFTER}",
            Symptom.EXPIRED,
        ),
        (
            "[certs] certificate apiserver is invalid: x509: certificate is valid for 10.96.0.1, not 10.0.0.3",
            Symptom.NAME_MISMATCH,
        ),
        (
            "[certs] certificate etcd/server not signed by CA certificate etcd/ca: x509: certificate signed by unknown authority",
            Symptom.UNKNOWN_AUTHORITY,
        ),
        (
            "error execution phase certs/apiserver: [certs] certificate apiserver not signed by CA certificate ca: crypto/rsa: verification error",
            Symptom.UNKNOWN_AUTHORITY,
        ),
        ("failure loading ca certificate: the certificate is not valid yet", Symptom.NOT_YET_VALID),
        ('I1124 15:32:49.012345    9 certificate_manager.go:398] "Current certificate is expired"', Symptom.EXPIRED),
        (
            'level=warning msg="the current TLS certificate is expired, so an attempt to renew it will be made immediately"',
            Symptom.EXPIRED,
        ),
        ('E1124 15:32:49.012345    9 cert_rotation.go:92] "Loading client cert failed" err="EOF"', Symptom.OTHER),
        ("failed to load certificate: the certificate has expired", Symptom.EXPIRED),
        (
            "admin.conf                 Nov 19, 2026 15:16 UTC   <invalid>       ca                      no",
            Symptom.EXPIRED,
        ),
        ("!MISSING! front-proxy-client", Symptom.OTHER),
        (
            "août 24 15:32:49 m1 renew.sh[812]: apiserver      Nov 19, 2026 15:16 UTC   <invalid>       ca      no",
            Symptom.EXPIRED,
        ),
    ],
)
def test_kubeadm_reports_faults_of_its_own_files(line, symptom):
    sighting = sure(line)
    assert (sighting.symptom, sighting.rejected_by, sighting.suspect) == (symptom, LOCAL, OWN)


# ---------------------------------------------------------------- envelopes

REJECTED = 'rejected connection from "10.0.0.7:40122" (error "tls: failed to verify client certificate: x509: certificate has expired or is not yet valid: current time 2026-11-24T15:32:49Z is after 2026-11-19T15:16:51Z", ServerName "m1.internal")'
ZAP = {
    "level": "warn",
    "ts": "2026-11-24T15:32:49.255145Z",
    "caller": "embed/config_logging.go:169",
    "msg": "rejected connection",
    "remote-addr": "10.0.0.7:40122",
    "server-name": "m1.internal",
    "error": f"tls: failed to verify certificate: x509: certificate has expired or is not yet valid: {AFTER}",
}
GRPC = f'grpc: addrConn.createTransport failed to connect to {{Addr: "10.0.0.7:2379", ServerName: "m1.internal", }}. Err: connection error: desc = "transport: authentication handshake failed: x509: certificate has expired or is not yet valid: {AFTER}"'

BODIES = {
    "capnslog": f"2026-11-24 15:32:49.255145 I | embed: {REJECTED}",
    "capnslog without head": f"embed: {REJECTED}",
    "zap JSON": json.dumps(ZAP),
    "zap JSON of 3.6": json.dumps({**ZAP, "msg": "rejected connection on peer endpoint"}),
    "zap console": "2026-11-24T15:32:49.255Z\twarn\tembed/config_logging.go:169\trejected connection\t"
    + json.dumps({key: ZAP[key] for key in ("remote-addr", "server-name", "error")}),
    "pingcap": '[2026/11/24 15:32:49.255 +00:00] [WARN] [config_logging.go:279] ["rejected connection"] [remote-addr=10.0.0.7:40122] '
    f'[server-name=m1.internal] [error="{ZAP["error"]}"]',
    "logfmt": f'time="2026-11-24T15:32:49Z" level=warning msg="rejected connection" remote-addr="10.0.0.7:40122" server-name=m1.internal error="{ZAP["error"]}"',
    "klog": f"W1124 15:32:49.255145       1 logging.go:59] [core] {GRPC}",
    "klog structured": 'E1124 15:32:49.255145       1 run.go:74] "cannot connect" err=' + json.dumps(GRPC),
    "gRPC": f"WARNING: 2026/11/24 15:32:49 [core] {GRPC}",
}  # fmt: skip
TRANSPORTS = {
    "bare": lambda text: text,
    "docker": lambda text: json.dumps(
        {"log": text + "\n", "stream": "stderr", "time": "2026-11-24T15:32:49.255145Z"}, separators=(",", ":")
    ),
    "CRI": lambda text: f"2026-11-24T15:32:49.255145123Z stderr F {text}",
    "journal JSON": lambda text: json.dumps(
        {"_PID": "812", "SYSLOG_IDENTIFIER": "etcd", "_CMDLINE": "etcd --cert-file=x", "MESSAGE": text}
    ),
    "journal JSON, bytes": lambda text: json.dumps(
        {"_PID": "812", "SYSLOG_IDENTIFIER": "etcd", "MESSAGE": list(text.encode())}
    ),
    "journal export": lambda text: f"MESSAGE={text}",
    "syslog": lambda text: f"Nov 24 15:32:49 m1 etcd[812]: {text}",
    "syslog, ISO": lambda text: f"2026-11-24T15:32:49.255145+00:00 m1 etcd[812]: {text}",
    "syslog, RFC 5424": lambda text: f"<30>1 2026-11-24T15:32:49.255Z m1 etcd 812 - - {text}",
    "syslog in French": lambda text: f"août 24 15:32:49 m1 etcd[812]: {text}",
    "a JSON string": json.dumps,
    "syslog, no pid": lambda text: f"Nov 24 15:32:49 m1 etcd: {text}",
    "compose": lambda text: f"etcd-1  | {text}",
    "kernel": lambda text: f"[  564.855099] etcd[5]: {text}",
    "colours": lambda text: f"\x1b[33m{text}\x1b[0m",
}
NESTED = {
    "docker in syslog": lambda text: TRANSPORTS["syslog"](TRANSPORTS["docker"](text)),
    "syslog in docker": lambda text: TRANSPORTS["docker"](TRANSPORTS["syslog"](text)),
    "journal in CRI": lambda text: TRANSPORTS["CRI"](TRANSPORTS["journal JSON"](text)),
    "docker in docker": lambda text: TRANSPORTS["docker"](TRANSPORTS["docker"](text)),
    "docker in journal in compose": lambda text: TRANSPORTS["compose"](
        TRANSPORTS["journal JSON"](TRANSPORTS["docker"](text))
    ),
}


@pytest.mark.parametrize("wrap", [*TRANSPORTS.values(), *NESTED.values()], ids=[*TRANSPORTS, *NESTED])
@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
def test_every_nesting_of_envelopes_is_unwrapped(body, wrap):
    sighting = sure(wrap(body))
    assert (sighting.symptom, sighting.suspect) == (Symptom.EXPIRED, PEER)
    assert sighting.not_after == datetime(2026, 11, 19, 15, 16, 51, tzinfo=UTC)
    assert sighting.fields["current_time"] == "2026-11-24T15:32:49Z"
    assert sighting.fields["server_name"] == "m1.internal"
    address = sighting.fields.get("remote_addr") or sighting.fields["endpoint"]
    assert address.startswith("10.0.0.7:")
    assert sighting.message == sure(body).message
    assert not sighting.message.startswith(("{", "W1124", "2026", "Nov", "[2026", "MESSAGE", "WARNING"))


@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_quote_is_recognised_at_any_level_of_escaping(times):
    issuer = "x509: certificate signed by unknown authority (possibly because of {q}crypto/rsa: verification error{q} while trying to verify candidate authority certificate {q}etcd-ca{q})"
    for mark in ("\\" * (2**times - 1), "\\x5c" * times):
        sighting = sure(
            f'embed: rejected connection from {mark}"10.0.0.7:1{mark}" (error {mark}"{issuer}{mark}")'.replace(
                "{q}", mark + '"'
            )
        )
        assert (sighting.fields["issuer"], sighting.fields["remote_addr"]) == ("etcd-ca", "10.0.0.7:1")


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
def test_truncated_line_is_read_up_to_the_cut(body):
    verdict = "x509: certificate ha"
    for end in range(len(body)):
        for wrap in (TRANSPORTS["bare"], TRANSPORTS["CRI"]):
            sighting = seen(wrap(body[:end]))
            if verdict in body[:end]:
                assert sighting is not None, body[:end]
                assert sighting.symptom in (Symptom.EXPIRED, Symptom.EXPIRED_OR_NOT_YET_VALID), body[:end]
                assert sighting.suspect is PEER


@pytest.mark.parametrize(
    ("cut", "symptom"),
    [
        ("x509: certificate signed b", Symptom.UNKNOWN_AUTHORITY),
        ("x509: certificate is val…", Symptom.NAME_MISMATCH),
        ("x509: cannot val>", Symptom.NAME_MISMATCH),
        ("x509: certificate spec...", Symptom.USAGE),
        ("remote error: tls: expired cer", Symptom.EXPIRED_ALERT),
        ("remote error: tls: bad certifi", Symptom.BAD_CERTIFICATE_ALERT),
        ("remote error: tls: unknown certificate au", Symptom.UNKNOWN_CA_ALERT),
        ("tls: failed to verify client certificate: x50", Symptom.OTHER),
    ],
)
def test_truncated_error_is_completed_if_only_one_error_fits(cut, symptom):
    assert sure(as_client(cut)).symptom is symptom
    assert (
        sure(
            json.dumps({"msg": "prober detected unhealthy status", "error": cut, "remote-peer-id": "8211f1d0f64f3269"})
        ).symptom
        is symptom
    )


def test_docker_record_without_its_beginning_is_read():
    whole = TRANSPORTS["docker"](BODIES["capnslog"])
    sighting = sure(whole[whole.index("embed") :])
    assert sighting.message == f"embed: {REJECTED}"


def test_fragment_of_a_json_object_is_read():
    sighting = sure(
        '"rejected connection on peer endpoint","remote-addr":"10.0.0.7:1","error":"remote error: tls: bad certificate"}'
    )
    assert sighting.message == "rejected connection on peer endpoint: remote error: tls: bad certificate"
    assert sighting.fields["remote_addr"] == "10.0.0.7:1"


# ---------------------------------------------------------------- fields of a line


@pytest.mark.parametrize(
    ("line", "name", "value", "moment"),
    [
        ("part of the existing bootstrap client certificate is expired: 2026-11-19 15:16:51 +0000 UTC", "not_after", "2026-11-19 15:16:51 +0000 UTC", (2026, 11, 19, 15, 16, 51)),
        ("the certificate has expired: NotBefore: 2025-11-19 15:16:51 +0000 UTC, NotAfter: 2026-11-19 15:16:51 +0000 UTC", "not_before", "2025-11-19 15:16:51 +0000 UTC", (2025, 11, 19, 15, 16, 51)),
        ("apiserver   Nov 19, 2026 15:16 UTC   <invalid>   ca   no", "not_after", "Nov 19, 2026 15:16 UTC", (2026, 11, 19, 15, 16, 0)),
        ("CertificateExpiredException: NotAfter: Thu Nov 19 16:16:51 CET 2026", "not_after", "Thu Nov 19 16:16:51 CET 2026", (2026, 11, 19, 15, 16, 51)),
        ("CertificateExpiredException: NotAfter: Thu Nov 19 15:16:51 CST 2026", "not_after", "Thu Nov 19 15:16:51 CST 2026", None),
        ("verify error:certificate has expired notAfter=Nov  9 15:16:51 2026 GMT", "not_after", "Nov  9 15:16:51 2026 GMT", (2026, 11, 9, 15, 16, 51)),
        ("certificate (1 - node) not valid after Thu, 19 Nov 2026 15:16:51 UTC, and it is currently Tue, 24 Nov 2026 01:22:14 UTC: x509: certificate has expired or is not yet valid", "not_after", "Thu, 19 Nov 2026 15:16:51 UTC", (2026, 11, 19, 15, 16, 51)),
        ("invalid peer certificate: certificate expired: verification time 1795447969 (UNIX), but certificate is not valid after 1795015011 (1 day ago)", "not_after", "1795015011", (2026, 11, 18, 15, 16, 51)),
        ("x509: certificate has expired or is not yet valid: current time 2026-11-24T16:32:49+01:00 is after 2026-11-19T15:16:51Z", "not_after", "2026-11-19T15:16:51Z", (2026, 11, 19, 15, 16, 51)),
        ("x509: certificate has expired or is not yet valid: current time 2026-11-24T16:32:49+01:00 is after 9999-99-99T99:99:99Z", "not_after", "9999-99-99T99:99:99Z", None),
    ],
)  # fmt: skip
def test_dates_are_kept_verbatim_and_parsed(line, name, value, moment):
    sighting = sure(line)
    assert sighting.fields[name] == value
    assert getattr(sighting, name) == (datetime(*moment, tzinfo=UTC) if moment else None)


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (
            'rejected connection from "10.0.0.7:1" (error "tls: \\"10.0.0.7\\" does not match any of DNSNames [\\"a\\" \\"b\\"]", ServerName "m1", IPAddresses ["10.0.0.9"], DNSNames ["a" "b"])',
            {"remote_addr": "10.0.0.7:1", "server_name": "m1", "dns_names": "a b", "ip_addresses": "10.0.0.9"},
        ),
        (
            'health check for peer 8211f1d0f64f3269 could not connect: x509: certificate is valid for a, b, not c (prober "ROUND_TRIPPER_SNAPSHOT")',
            {"remote_peer_id": "8211f1d0f64f3269", "prober": "ROUND_TRIPPER_SNAPSHOT", "cert_names": "a, b", "wanted_name": "c"},
        ),
        (
            '"Unable to authenticate the request" err="verifying certificate SN=42, SKID=, AKID=AA:BB failed: x509: certificate signed by unknown authority"',
            {"serial": "42", "akid": "AA:BB"},
        ),
        ("http: TLS handshake error from [fd00::7]:4001: remote error: tls: bad certificate", {"remote_addr": "[fd00::7]:4001"}),
        ("http: TLS handshake error from 10.0.0.7:4001: remote error: tls: bad certificate", {"remote_addr": "10.0.0.7:4001"}),
        ("client SSL certificate verify error: (10:certificate has expired) while reading client request headers, client: 10.0.0.7, server: a", {"remote_addr": "10.0.0.7"}),
        ("10.0.0.7:4001 VERIFY ERROR: depth=0, error=certificate has expired: C=DE, CN=m1, serial=42", {"remote_addr": "10.0.0.7:4001", "subject": "C=DE, CN=m1", "serial": "42"}),
        ('Get "https://10.0.0.7:6443/api?limit=5": x509: certificate signed by unknown authority', {"endpoint": "https://10.0.0.7:6443/api?limit=5"}),
        ("Get https://10.0.0.7:6443/api: x509: certificate signed by unknown authority", {"endpoint": "https://10.0.0.7:6443/api"}),
        ("unable to grpc-ping discovered peer 10.0.0.7:3996: x509: certificate signed by unknown authority", {"endpoint": "10.0.0.7:3996"}),
        ("failed to reach the peerURL(https://10.0.0.7:2380) of member 8211f1d0f64f3269 (x509: certificate signed by unknown authority)", {"endpoint": "https://10.0.0.7:2380", "remote_peer_id": "8211f1d0f64f3269"}),
        ("[certs] certificate apiserver not signed by CA certificate ca: x509: certificate signed by unknown authority", {"subject": "apiserver"}),
    ],
)  # fmt: skip
def test_fields_of_a_line_are_read(line, fields):
    read = sure(line).fields
    assert {name: read.get(name) for name in fields} == fields


def test_harmless_phrase_does_not_hide_an_error_of_go():
    line = 'error checking if the node will expire (using self signed certificates?): Get "https://10.0.0.1:6443/": x509: certificate signed by unknown authority'
    assert sure(line).symptom is Symptom.UNKNOWN_AUTHORITY


def test_empty_server_name_is_a_field():
    assert sure(as_server("remote error: tls: bad certificate").replace("m1.internal", "")).fields["server_name"] == ""
    assert "server_name" not in sure(as_client("remote error: tls: bad certificate")).fields


# ---------------------------------------------------------------- the program that logged

ALERT = "http: TLS handshake error from 10.0.0.7:4001: remote error: tls: bad certificate"


@pytest.mark.parametrize(
    ("line", "origin", "program"),
    [
        (ALERT, {}, ""),
        (ALERT, {"program": "kube-apiserver"}, "kube-apiserver"),
        (ALERT, {"program": "/usr/local/bin/kubelet"}, "kubelet"),
        (ALERT, {"program": "nginx"}, "nginx"),
        (ALERT, {"unit": "rke2-server.service"}, "rke2"),
        (ALERT, {"container": "k8s_kube-scheduler_kube-scheduler-m1_kube-system_1a2b_0"}, "kube-scheduler"),
        (ALERT, {"pod": "kube-controller-manager-m1"}, "kube-controller-manager"),
        (ALERT, {"path": "/var/log/kube-apiserver.log"}, "kube-apiserver"),
        (ALERT, {"path": "/var/log/etcd-events.log.1"}, "etcd"),
        (ALERT, {"path": "/var/log/pods/kube-system_etcd-manager-main-m1_1a2b/etcd-manager/3.log"}, "etcd-manager"),
        (ALERT, {"path": f"/var/log/containers/kube-apiserver-m1_kube-system_kube-apiserver-{'0a' * 32}.log"}, "kube-apiserver"),
        (f"Nov 24 15:32:49 m1 k3s[812]: {ALERT}", {}, "k3s"),
        (f"Nov 24 15:32:49 m1 k3s[812]: {BODIES['zap JSON']}", {}, "k3s"),
        (BODIES["capnslog"], {"container": "k8s_etcd-manager_etcd-manager-main-m1_kube-system_1a2b_0"}, "etcd"),
        (BODIES["zap JSON"], {"program": "bash"}, "etcd"),
        (f"Unable to connect to the server: {BEFORE} x509: certificate signed by unknown authority", {}, "kubectl"),
        ("Unable to authenticate the request due to an error: x509: certificate has expired", {}, "kube-apiserver"),
    ],
)  # fmt: skip
def test_program_comes_from_the_line_or_its_origin(line, origin, program):
    assert sure(line, **origin).program == program


# ---------------------------------------------------------------- hostile input

HOSTILE = {
    "quotes": '"',
    "escaped quotes": '\\"',
    "backslashes": "\\",
    "x5c": "\\x5c",
    "line ends": "\\n",
    "open objects": '{"a":',
    "open arrays": "[",
    "one key again": "a=[ ",
    "brackets": "[2026/11/24 15:32:49.255 +00:00] [WARN] [",
    "digits": "1",
    "colons": "a:",
    "slashes": "/A=",
    "x509": "x509: ",
    "verdicts": "certificate is valid for ",
    "alerts": "remote error: tls: ",
    "received": "received fatal alert: ",
    "expired": "certificate a expired ",
    "crt": "a.crt: certificate b ",
    "times": "current time 2026-11-24T15:32:49Z is after ",
    "urls": 'Get "https://',
    "syslog": "Nov 24 15:32:49 m1 etcd[812]: ",
    "compose": "a | ",
    "no such file": "open /a.crt: no such file ",
    "errors": "error=a: ",
    "serials": "serial ",
    "blanks": " ",
    "controls": "\x00\x1b[",
    "surrogates": "\udcff",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=list(HOSTILE))
@pytest.mark.parametrize(
    "head", ["", "x509: certificate has expired", '{"log":"', 'msg="', '"', "remote error: tls: bad certificate "]
)
def test_any_64_kib_are_parsed_in_linear_time(head, piece):
    line = (head + piece * (lines.LIMIT // len(piece)))[: lines.LIMIT]
    began = time.process_time()
    sighting = seen(line)
    # Quadratic time takes minutes here, on any machine.
    assert time.process_time() - began < 2
    if sighting is not None:
        assert len(sighting.message) <= 1024
        assert all(len(value) <= 512 for value in sighting.fields.values())


# Lone surrogates included: a JSON string may contain them, and no encoding accepts them.
ANY_CHARACTER = st.characters(categories=None, exclude_categories=())
FAILURES = st.sampled_from(SAMPLES)
SHAPES = st.sampled_from([*TRANSPORTS.values(), *NESTED.values()])


@given(
    st.text(ANY_CHARACTER)
    | st.binary().map(lambda raw: raw.decode(errors="replace"))
    | st.builds("{}{}{}".format, st.text(ANY_CHARACTER), FAILURES, st.text(ANY_CHARACTER))
)
@example("\udcff x509: certificate has expired \x00\x07")
@example('{"msg": 5, "error": {"x509: ": null}}')
@example('{"MESSAGE": [300, -1, "x"]}')
@example('{"msg": "\\ud800 x509: certificate has expired", "error": "\\udfff"}')
@example('rejected connection from "\ud800" (error "remote error: tls: bad certificate", ServerName "\udfff")')
@example("[" * 5000)
@example('{"log": ""}')
def test_parse_never_raises_and_returns_printable_text(text):
    sighting = seen(text)
    answer = symptoms.explanation(sighting)
    assert json.loads(json.dumps(answer, ensure_ascii=False).encode()) == answer
    if sighting is not None:
        assert codec.load(Sighting, codec.dump(sighting).encode().decode()) == sighting
        sighting.fold.encode()
        for words in (
            sighting.message,
            sighting.meaning,
            sighting.program,
            *sighting.fields,
            *sighting.fields.values(),
        ):
            assert words.isprintable(), words


@given(FAILURES, SHAPES, st.integers(0, 400))
def test_line_cut_anywhere_in_any_envelope_raises_nothing(sample, wrap, end):
    seen(wrap(sample)[:end])


@given(st.text(ANY_CHARACTER, max_size=100), st.sampled_from(Trust))
def test_any_origin_gives_a_printable_program_of_at_most_64_characters(name, trust):
    sighting = sure(ALERT, program=name, unit=name, container=name, pod=name, path=name, trust=trust)
    assert sighting.program.isprintable()
    assert len(sighting.program) <= 64
    assert symptoms.ParseCache().parse(sighting.entry) == sighting


# ---------------------------------------------------------------- origins

MANAGER = "k8s_etcd-manager_etcd-manager-main-m1_kube-system_1a2b_0"


@pytest.mark.parametrize(
    ("line", "origin", "program"),
    [
        (f"Nov 24 15:32:49 m1 etcd[812]: {ALERT}", {"unit": "kubelet.service", "program": "kube-apiserver"}, "kubelet"),
        (f"Nov 24 15:32:49 m1 kubelet[812]: {ALERT}", {"container": MANAGER}, "etcd-manager"),
        (BODIES["capnslog"], {"container": MANAGER, "program": "kubelet"}, "etcd"),
        (BODIES["capnslog"], {"unit": "kubelet.service"}, "kubelet"),
        (BODIES["zap JSON"], {"unit": "k3s.service", "program": "etcd"}, "k3s"),
        (f"Nov 24 15:32:49 m1 kubelet[812]: {ALERT}", {"pod": "kube-scheduler-m1"}, "kube-scheduler"),
        (f"Nov 24 15:32:49 m1 kubelet[812]: {ALERT}", {"path": "/var/log/kube-apiserver.log"}, "kube-apiserver"),
        (f"Nov 24 15:32:49 m1 kubelet[812]: {ALERT}", {"unit": "backup.service"}, "kubelet"),
    ],
)  # fmt: skip
def test_trusted_origin_outranks_program_names_in_the_line(line, origin, program):
    assert sure(line, trust=Trust.SYSTEM, **origin).program == program


def test_400_program_names_of_one_stranger_share_one_fold():
    lines = [f"Nov 24 15:32:49 m1 {prefix}{n}[812]: {ALERT}" for n in range(200) for prefix in ("etcd", "x")]
    assert len({sure(line, uid=1000).program for line in lines}) == 400
    assert len({sure(line, uid=1000).fold for line in lines}) == 1
    assert len({sure(ALERT, program=f"app-{n}", unit=f"{n}.service", uid=1000).fold for n in range(400)}) == 1


def test_lines_of_different_trust_or_strangers_share_no_fold():
    origins = [{"trust": trust, "program": "etcd"} for trust in Trust]
    origins += [{"uid": 1000}, {"uid": 1001}, {"namespace": "shop", "uid": 1000}]
    folds = [sure(ALERT, **origin).fold for origin in origins]
    assert len(set(folds)) == len(folds)


def test_system_programs_do_not_share_a_fold():
    first, second = (sure(ALERT, unit=f"{name}.service", trust=Trust.SYSTEM) for name in ("kubelet", "kube-apiserver"))
    assert first.fold != second.fold


def test_long_line_is_read_at_both_ends_and_cut():
    far = "x" * 11_000 + f" {as_client('x509: certificate signed by unknown authority')} " + "y" * 60_000
    assert "certificate signed by unknown authority" in sure(far).message
    end = "x" * 60_000 + " remote error: tls: bad certificate"
    assert "bad certificate" in sure(end).message
    assert len(sure(end).message) <= 1024


@pytest.mark.parametrize(("length", "kept"), [(1023, 1023), (1024, 1024), (1025, 1024), (3000, 1024)])
def test_message_is_cut_at_1024_characters(length, kept):
    error = " remote error: tls: bad certificate"
    assert len(sure("x" * (length - len(error)) + error).message) == kept


# ---------------------------------------------------------------- explain --json


def test_explanation_has_all_fields_of_the_json_schema():
    answer = symptoms.explanation(seen(BODIES["zap JSON"]))
    assert answer == {
        "schema": 1,
        "failure": True,
        "fault": "expired",
        "rejected_by": "local",
        "suspect": "peer",
        "role": "server",
        "fields": {
            "remote_addr": "10.0.0.7:40122",
            "server_name": "m1.internal",
            "current_time": "2026-11-24T15:32:49Z",
            "not_after": "2026-11-19T15:16:51Z",
        },
        "meaning": answer["meaning"],
    }
    assert answer["meaning"].startswith("etcd refused the certificate of the client 10.0.0.7:40122: ")
    assert {type(value) for value in answer.values()} == {int, bool, str, dict}
    nothing = symptoms.explanation(None)
    assert set(nothing) == set(answer)
    assert (nothing["failure"], nothing["fault"], nothing["rejected_by"], nothing["suspect"], nothing["role"]) == (
        False,
        "none",
        "unknown",
        "unknown",
        "unknown",
    )


def test_lines_that_differ_only_in_the_port_share_a_fold():
    first, second = (
        sure(as_server("remote error: tls: bad certificate")),
        sure(as_server("remote error: tls: bad certificate").replace("40122", "40123")),
    )
    assert first.fold == second.fold
    assert first.fold != sure(as_server("remote error: tls: expired certificate")).fold


def test_calls_of_one_server_share_a_fold():
    first, second = (
        sure(f'Get "https://10.0.0.1:6443/{path}": x509: certificate signed by unknown authority')
        for path in ("api/v1/pods", "version")
    )
    assert first.fold == second.fold
    other = sure('Get "https://10.0.0.2:6443/version": x509: certificate signed by unknown authority')
    assert first.fold != other.fold


@pytest.mark.parametrize("client", ["endpoint://client-{}", "etcd-endpoints://{}"])
def test_clients_of_one_etcd_share_a_fold_and_name_the_server(client):
    error = "latest balancer error: connection error: x509: certificate signed by unknown authority"
    first, second, other = (
        sure(json.dumps({"level": "warn", "caller": "clientv3/retry_interceptor.go:62", "msg": "retrying of unary invoker failed", "target": f"{client.format(number)}/{host}:2379", "error": error}))
        for number, host in (("0x2a31", "10.0.0.1"), ("0x9f00", "10.0.0.1"), ("0x2a31", "10.0.0.2"))
    )  # fmt: skip
    assert first.fold == second.fold != other.fold
    assert neighbours_of(first) == ("10.0.0.1:2379",)
