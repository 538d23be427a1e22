"""Certificates are read from files that openssl and the programs of a master write."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import given, settings
from hypothesis import strategies as st

from certmedic.core import certificates
from certmedic.core.certificates import NotACertificate, parse
from certmedic.core.model import Certificate
from labs.pki import Authority, Leaf, authority

NOW = datetime(2026, 11, 24, 15, 40, tzinfo=UTC)


@pytest.fixture(scope="module")
def ca() -> Authority:
    return authority("etcd-peers-ca-main", not_before=NOW - timedelta(days=400))


@pytest.fixture(scope="module")
def leaf(ca) -> Leaf:
    return ca.leaf(
        "etcd-a",
        dns=("etcd-a.internal.example", "*.wild.example"),
        ips=("127.0.0.1", "::1"),
        not_after=NOW + timedelta(days=20),
    )


@pytest.fixture(scope="module")
def certificate(leaf) -> Certificate:
    return parse(leaf.cert_pem, "/pki/me.crt")[0]


# ---------------------------------------------------------------- readable files


def test_every_field_of_a_certificate_is_read(ca, leaf, certificate):
    assert certificate.path == "/pki/me.crt"
    assert (certificate.subject, certificate.subject_cn) == ("CN=etcd-a", "etcd-a")
    assert (certificate.issuer, certificate.issuer_cn) == ("CN=etcd-peers-ca-main", "etcd-peers-ca-main")
    assert certificate.not_before == NOW - timedelta(days=400)
    assert certificate.not_after == NOW + timedelta(days=20)
    assert certificate.dns_names == ("etcd-a.internal.example", "*.wild.example")
    assert certificate.ip_addresses == ("127.0.0.1", "::1")
    assert certificate.usages == {"server", "client"}
    assert not certificate.is_ca
    authority_ = parse(ca.pem, "ca.crt")[0]
    assert authority_.is_ca
    assert authority_.usages == frozenset()
    assert certificate.authority_key_id == authority_.subject_key_id != ""


def test_serial_and_fingerprints_agree_with_openssl(tmp_path, leaf, certificate):
    leaf.write(tmp_path / "me.crt")

    def openssl(*arguments: str, stdin: bytes = b"") -> str:
        run = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True)
        return run.stdout.decode()

    printed = openssl("x509", "-in", str(tmp_path / "me.crt"), "-noout", "-serial", "-fingerprint", "-sha256")
    assert int(printed.split("serial=")[1].split()[0], 16) == int(certificate.serial, 16)
    assert printed.split("ingerprint=")[1].strip().replace(":", "").lower() == certificate.fingerprint
    public = openssl("x509", "-in", str(tmp_path / "me.crt"), "-noout", "-pubkey")
    run = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"], input=public.encode(), capture_output=True, check=True
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(run.stdout)
    assert certificate.key_fingerprint == digest.finalize().hex()


def test_der_and_pem_give_the_same_certificate(leaf, certificate):
    assert parse(leaf.der, "/pki/me.crt") == (certificate,)


def test_bundle_is_read_in_order_despite_text_between_blocks(ca, leaf):
    data = b"# the leaf\n" + leaf.key_pem + leaf.cert_pem + b"\r\nBag Attributes\r\n" + ca.pem.replace(b"\n", b"\r\n")
    read = parse(data, "bundle.pem")
    assert [(c.index, c.subject_cn) for c in read] == [(0, "etcd-a"), (1, "etcd-peers-ca-main")]


def test_kubeconfig_gives_its_embedded_certificates(ca, leaf):
    embedded = base64.b64encode(leaf.cert_pem).decode()
    text = (
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: "
        f"{base64.b64encode(ca.pem).decode()}\n    server: https://m0:6443\n  name: k\nusers:\n- name: admin\n  user:\n"
        f"    client-certificate-data: {embedded}\n    client-key-data: {base64.b64encode(leaf.key_pem).decode()}\n"
    )
    assert [c.subject_cn for c in parse(text.encode(), "admin.conf")] == ["etcd-peers-ca-main", "etcd-a"]
    as_json = json.dumps({"users": [{"user": {"client-certificate-data": embedded}}], "kind": "Config"})
    assert [c.subject_cn for c in parse(as_json.encode(), "kubeconfig")] == ["etcd-a"]


def test_kubeconfig_that_only_names_files_is_empty_and_no_fault():
    text = b"kind: Config\nclusters:\n- name: k\nusers:\n- user:\n    client-certificate: /var/lib/kubelet/pki/current.pem\n"
    assert parse(text, "kubelet.conf") == ()


def test_secret_that_k3s_writes_as_a_file_is_read(ca, leaf):
    secret = {
        "kind": "Secret",
        "data": {"tls.crt": base64.b64encode(leaf.cert_pem + ca.pem).decode(), "tls.key": "eA=="},
    }
    read = parse(json.dumps(secret).encode(), "dynamic-cert.json")
    assert [c.subject_cn for c in read] == ["etcd-a", "etcd-peers-ca-main"]


def test_pkcs12_is_read_only_with_its_password(ca, leaf):
    data = pkcs12.serialize_key_and_certificates(
        b"me", leaf.key, leaf.cert, [ca.cert], serialization.BestAvailableEncryption(b"secret")
    )
    assert [c.subject_cn for c in parse(data, "me.p12", b"secret")] == ["etcd-a", "etcd-peers-ca-main"]
    with pytest.raises(NotACertificate, match="needs a password"):
        parse(data, "me.p12")
    with pytest.raises(NotACertificate, match="password does not open it"):
        parse(data, "me.p12", b"guess")


def test_pkcs12_without_a_password_is_read():
    ca = authority("ca")
    data = pkcs12.serialize_key_and_certificates(None, ca.key, ca.cert, None, serialization.NoEncryption())
    assert parse(data, "ca.p12")[0].subject_cn == "ca"


# ---------------------------------------------------------------- files without a certificate


FAULTS = [
    (b"", "empty", "empty"),
    (b" \n\r\n", "empty", "empty"),
    (b"<html><body>404</body></html>", "not_a_certificate", "HTML"),
    (b"\n<?xml version='1.0'?>", "not_a_certificate", "HTML or XML"),
    (b"hello\n", "not_a_certificate", "text without"),
    (bytes(4096), "not_a_certificate", "zero bytes"),
    (b"\x7fELF\x02\x01\x01\0\0", "not_a_certificate", "binary"),
    (b"\x1f\x8b\x08\0", "not_a_certificate", "gzip"),
    (b"\xfe\xed\xfe\xed\0\0\0\x02", "not_a_certificate", "Java keystore"),
    ("-----BEGIN".encode("utf-16"), "not_a_certificate", "UTF-16"),
    (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not_a_certificate", "no CERTIFICATE block"),
    (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "not_a_certificate", "request"),
    (b"-----BEGIN CERTIFICATE-----\n", "broken", "cut short"),
    (b"-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n", "broken", "certificate 1"),
    (b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n", "broken", "base64"),
    (b"\x30\x82", "broken", "DER"),
    (b"\x30\x03\x02\x01\x03", "not_a_certificate|password", "PKCS#12"),
]


@pytest.mark.parametrize(("data", "reason", "detail"), FAULTS)
def test_fault_names_what_a_file_without_a_certificate_contains(data, reason, detail):
    with pytest.raises(NotACertificate, match=detail) as caught:
        parse(data, "x")
    assert caught.value.reason in reason.split("|")
    assert caught.value.certificates == ()


def test_private_key_is_recognised_and_never_quoted(leaf):
    with pytest.raises(NotACertificate, match="private key and no certificate") as caught:
        parse(leaf.key_pem, "me.key")
    assert leaf.key_pem.splitlines()[1].decode() not in str(caught.value)


def test_half_written_certificate_is_broken(leaf):
    with pytest.raises(NotACertificate, match="cut short") as caught:
        parse(leaf.cert_pem[:-40], "me.crt")
    assert caught.value.reason == "broken"


def test_certificates_beside_a_broken_block_are_kept(ca, leaf):
    with pytest.raises(NotACertificate, match=r"certificate 2: .*cut short") as caught:
        parse(ca.pem + leaf.cert_pem[:200], "ca.crt")
    assert [c.subject_cn for c in caught.value.certificates] == ["etcd-peers-ca-main"]
    with pytest.raises(NotACertificate, match=r"certificate 1: .*\(and 1 more") as caught:
        parse(leaf.cert_pem[:200] + b"\n" + leaf.cert_pem[:300] + b"\n" + ca.pem, "ca.crt")
    assert [c.subject_cn for c in caught.value.certificates] == ["etcd-peers-ca-main"]


def reason(data: bytes) -> str:
    """Return why the bytes are no certificate, or "" if they are."""
    try:
        parse(data, "x")
    except NotACertificate as fault:
        return fault.reason if str(fault) else "no message"
    return ""


def test_damaged_der_raises_only_the_documented_error(leaf):
    for at in range(2, len(leaf.der), 7):
        data = bytearray(leaf.der)
        data[at] ^= 0xFF
        assert reason(bytes(data)) in ("", "broken", "unreadable")


@settings(max_examples=3 * settings.default.max_examples, deadline=None)
@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: b"\x30" + data))
def test_random_bytes_raise_only_the_documented_error(data):
    assert reason(data) in ("", "empty", "unreadable", "not_a_certificate", "broken")


def test_file_of_pem_markers_alone_is_parsed_in_linear_time():
    started = time.perf_counter()
    for marker in (b"-----BEGIN CERTIFICATE-----\n", b"-----BEGIN CERTIFICATE-----\n-----END CERT", b"tls.crt:" * 3):
        with pytest.raises(NotACertificate):
            parse(marker * (1024 * 1024 // len(marker)), "x")
    assert time.perf_counter() - started < 10  # quadratic time would take minutes


def test_control_characters_in_names_are_replaced(ca):
    evil = parse(ca.leaf("red\x1b[31m\nhead", dns=("a.example",)).cert_pem, "x")[0]
    assert evil.subject_cn == "red\ufffd[31m\ufffdhead"
    assert evil.subject.isprintable()


@pytest.mark.parametrize(
    "subject",
    [
        "/CN=etcd-a",
        "/CN=system:node:m0",
        "/O=system:masters/CN=admin",
        "/CN=a, b",
        "/CN=Jos\u00e9",
        "/O=only",
        "/CN=a/CN=b",
        "/CN=" + "x" * 60,
    ],
)
def test_names_agree_with_those_of_the_library(tmp_path, subject):
    argv = [
        "openssl",
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ed25519",
        "-utf8",
        "-subj",
        subject,
        "-keyout",
        "k",
        "-out",
        "c",
    ]
    subprocess.run(argv, cwd=tmp_path, capture_output=True, check=True)
    pem = (tmp_path / "c").read_bytes()
    read, cert = parse(pem, "c")[0], x509.load_pem_x509_certificate(pem)
    common = cert.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert read.subject == read.issuer == cert.subject.rfc4514_string()
    assert read.subject_cn == (common[0].value if common else "")


# ---------------------------------------------------------------- dates


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (timedelta(days=-401), "not_yet_valid"),
        (timedelta(days=-400), "ok"),
        (timedelta(days=-10, seconds=-1), "ok"),
        (timedelta(days=-10), "expiring"),
        (timedelta(days=20), "expiring"),
        (timedelta(days=20, seconds=1), "expired"),
    ],
)
def test_status_at_the_boundaries_of_the_dates(certificate, now, status):
    assert certificates.status(certificate, NOW + now) == status


def test_residual_time_and_configured_warning_days(certificate):
    assert certificates.residual(certificate, NOW) == timedelta(days=20)
    assert certificates.residual(certificate, NOW + timedelta(days=21)) == timedelta(days=-1)
    assert certificates.status(certificate, NOW, warn_days=14) == "ok"


def test_certificate_without_expiry_ends_at_the_latest_date():
    forever = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    ca = parse(authority("forever", not_after=forever).pem, "x")[0]
    assert ca.not_after == certificates.LATEST
    assert ca.not_after + timedelta(days=3650 - 1) <= datetime.max.replace(tzinfo=UTC)
    assert certificates.status(ca, datetime.now(UTC)) == "ok"


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("etcd-a.internal.example", True),
        ("ETCD-A.internal.Example", True),
        ("etcd-a.internal.example.", True),
        ("etcd-b.internal.example", False),
        ("etcd-a", False),  # the common name does not count
        ("one.wild.example", True),
        ("two.one.wild.example", False),
        ("wild.example", False),
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("::1", True),
        ("[::1]", True),
        ("0:0:0:0:0:0:0:1", True),
        ("", False),
        (".", False),
        ("..example", False),
    ],
)
def test_names_are_matched_as_go_matches_them(certificate, name, covered):
    assert certificates.covers(certificate, name) is covered


def test_names_are_dns_names_then_addresses(certificate):
    assert certificates.names(certificate) == ("etcd-a.internal.example", "*.wild.example", "127.0.0.1", "::1")


def test_dns_name_that_looks_like_an_address_covers_no_address(ca):
    odd = parse(ca.leaf("x", dns=("10.0.0.1",)).cert_pem, "x")[0]
    assert not certificates.covers(odd, "10.0.0.1")
