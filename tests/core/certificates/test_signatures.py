"""Signatures and private keys: which certificate signed which, and which signatures verify nothing."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, x25519
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import SignatureAlgorithmOID

from certmedic.core import certificates, examine
from certmedic.core.certificates import NotACertificate, fields, parse, signing
from certmedic.core.certificates.reading import LARGEST
from certmedic.core.model import Certificate
from labs import AGENT
from labs.pki import Authority, Leaf, authority, kept_key, key_pem, new_key

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


# ---------------------------------------------------------------- signatures and keys


def test_issuer_is_proven_by_the_signature(ca, certificate):
    authority_ = parse(ca.pem, "ca.crt")[0]
    assert certificates.issued_by(certificate, authority_)
    assert certificates.issued_by(authority_, authority_)
    assert not certificates.issued_by(authority_, certificate)


def test_authority_with_the_same_name_and_another_key_is_no_issuer(ca, certificate):
    namesake = parse(authority("etcd-peers-ca-main").pem, "ca.crt")[0]
    assert not certificates.issued_by(certificate, namesake)


def test_renewed_authority_with_the_same_key_is_still_the_issuer(ca, certificate):
    renewed = parse(authority("etcd-peers-ca-main", key=ca.key).pem, "ca.crt")[0]
    assert certificates.issued_by(certificate, renewed)


def test_rsa_signatures_are_verified(tmp_path):
    rsa_ca = authority("rsa", key=kept_key(0))
    leaf = parse(rsa_ca.leaf("x").cert_pem, "x")[0]
    assert certificates.issued_by(leaf, parse(rsa_ca.pem, "x")[0])
    assert not certificates.issued_by(leaf, parse(authority("rsa", key=kept_key(1)).pem, "x")[0])


@pytest.mark.parametrize(
    "arguments",
    [
        ["-newkey", "ed25519"],
        ["-newkey", "ed448"],
        ["-newkey", "rsa:2048", "-sigopt", "rsa_padding_mode:pss"],
        ["-newkey", "rsa:2048", "-sha1"],
        ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp521r1", "-sha512"],
    ],
    ids=" ".join,
)
def test_signatures_made_by_openssl_are_verified(tmp_path, arguments):
    for name in ("one", "two"):
        argv = ["openssl", "req", "-x509", "-nodes", "-subj", "/CN=ca", "-keyout", f"{name}.key", "-out", f"{name}.crt"]
        subprocess.run([*argv, *arguments], cwd=tmp_path, capture_output=True, check=True)
    first, second = (parse((tmp_path / f"{name}.crt").read_bytes(), name)[0] for name in ("one", "two"))
    # Debian 12's library does not verify PSS on certificates: matching key identifiers then prove nothing.
    verified = certificates.signature(first, first)
    assert verified == "verified" or ("rsa_padding_mode:pss" in arguments and verified == "unverifiable")
    assert certificates.issued_by(first, first) is (verified == "verified")
    assert not certificates.issued_by(first, second)
    assert certificates.key_matches(first, (tmp_path / "one.key").read_bytes()) is True
    assert certificates.key_matches(first, (tmp_path / "two.key").read_bytes()) is False


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("pkcs8", [False, True])
def test_key_matches_only_its_certificate(ca, kind, pkcs8):
    mine, other = kept_key(0, kind=kind), kept_key(1, kind=kind)
    leaf = parse(ca.leaf("x", key=mine).cert_pem, "x")[0]
    assert certificates.key_matches(leaf, key_pem(mine, pkcs8=pkcs8)) is True
    assert certificates.key_matches(leaf, key_pem(other, pkcs8=pkcs8)) is False


def test_key_of_another_kind_does_not_match_and_unreadable_key_is_unknown(ca, leaf, certificate):
    assert certificates.key_matches(certificate, key_pem(kept_key(0))) is False
    assert certificates.key_matches(certificate, b"") is None
    assert certificates.key_matches(certificate, leaf.key_pem[:60]) is None
    encrypted = leaf.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    assert certificates.key_matches(certificate, encrypted) is None


def test_key_after_an_ec_parameters_block_is_read(tmp_path, ca):
    subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-out", "k.pem"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    pem = (tmp_path / "k.pem").read_bytes()
    assert pem.startswith(b"-----BEGIN EC PARAMETERS")
    key = serialization.load_pem_private_key(pem[pem.index(b"-----BEGIN EC PRIVATE") :], None)
    assert certificates.key_matches(parse(ca.leaf("x", key=key).cert_pem, "x")[0], pem) is True


def _library_says(cert):
    """Return the library's values of the extensions that our parser reads without it."""

    def of(kind):
        try:
            return cert.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    names, basic, own, above = (
        of(x509.SubjectAlternativeName),
        of(x509.BasicConstraints),
        of(x509.SubjectKeyIdentifier),
        of(x509.AuthorityKeyIdentifier),
    )
    return {
        "dns_names": tuple(names.get_values_for_type(x509.DNSName)) if names else (),
        "ip_addresses": tuple(map(str, names.get_values_for_type(x509.IPAddress))) if names else (),
        "is_ca": bool(basic and basic.ca),
        "subject_key_id": own.digest.hex() if own else "",
        "authority_key_id": (above.key_identifier or b"").hex() if above else "",
    }


def _built(key, extensions):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA256())


def test_extensions_are_read_as_the_library_reads_them():
    key = new_key()
    names = x509.SubjectAlternativeName(
        [
            *(x509.UniformResourceIdentifier("https://x.example/"), x509.RFC822Name("a@x.example")),
            *(
                x509.DNSName("a.example"),
                x509.DNSName("*.b.example"),
                x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
            ),
            *(x509.IPAddress(ipaddress.ip_address(address)) for address in ("10.0.0.1", "::1", "2001:db8::5")),
        ]
    )
    above = x509.AuthorityKeyIdentifier(b"\x01" * 20, [x509.DirectoryName(x509.Name([]))], 5)
    for extensions in (
        [],
        [(names, True), (x509.BasicConstraints(ca=True, path_length=3), True), (above, False)],
        [(x509.BasicConstraints(ca=True, path_length=None), True), (x509.KeyUsage(*[True] * 9), True)],
        [(x509.BasicConstraints(ca=False, path_length=None), False), (x509.SubjectKeyIdentifier(b"\x02" * 20), False)],
        [
            (x509.CRLNumber(5), False),
            (x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(x509.Name([]))], 5), False),
        ],
    ):
        cert = _built(key, extensions)
        read = parse(cert.public_bytes(serialization.Encoding.DER), "x")[0]
        expected = _library_says(cert)
        assert {field: getattr(read, field) for field in expected} == expected


def test_broken_extensions_count_as_absent():
    alternative_names = x509.ObjectIdentifier("2.5.29.17")
    broken = (
        b"",
        b"\x30",
        b"\x30\x82\xff\xff\x82\x01a",
        b"\x30\x03\x82\x05a",
        b"\x30\x03\x87\x01\x01",
        b"\x30\x03\x82\x01\xff",
    )
    for held in broken:
        cert = _built(new_key(), [(x509.UnrecognizedExtension(alternative_names, held), False)])
        read = parse(cert.public_bytes(serialization.Encoding.DER), "x")[0]
        assert (read.dns_names, read.ip_addresses, read.not_after) == ((), (), NOW + timedelta(days=1))


def test_signature_of_an_unknown_algorithm_proves_no_issuer(ca):
    leaf = ca.leaf("x")
    oid = bytes.fromhex("06082a8648ce3d040302")  # ecdsa-with-SHA256, replaced by an unknown algorithm
    forged = certificates.parse_der(leaf.der.replace(oid, bytes.fromhex("06082a8648ce3d04037f")))
    authority_ = parse(ca.pem, "ca")[0]
    assert forged.authority_key_id == authority_.subject_key_id
    assert certificates.signature(forged, authority_) == "unverifiable"
    assert not certificates.issued_by(forged, authority_)


def test_verifications_are_limited_for_many_authorities_of_one_name(monkeypatch):
    key = new_key()
    cas = [parse(authority("ca", key=new_key()).pem, "ca")[0] for _ in range(60)]
    leaves = [parse(authority("ca", key=key).leaf(f"l{n}", key=key).cert_pem, "l")[0] for n in range(20)]
    counted = []
    verify = signing._signature_verifies
    monkeypatch.setattr(signing, "_signature_verifies", lambda a, b: counted.append(1) or verify(a, b))
    signing._remembered_signature.cache_clear()
    for leaf in leaves:
        assert examine.chain(leaf, cas, cas) == []
    assert (
        len(counted)
        <= len(leaves) * examine.MOST_CANDIDATES + (examine.LONGEST_CHAIN + 1) ** 2 * examine.MOST_CANDIDATES
    )


def test_number_of_blocks_in_a_file_is_limited(ca, leaf):
    bundle = leaf.cert_pem + ca.pem
    assert len(parse(bundle, "b", most=2)) == 2
    with pytest.raises(NotACertificate, match="more than 1 certificates") as fault:
        parse(bundle, "b", most=1)
    assert fault.value.reason == "too_large"
    assert [read.subject_cn for read in fault.value.certificates] == ["etcd-a"]


@pytest.mark.parametrize(("size", "message"), [(LARGEST, "cannot be read"), (LARGEST + 1, "more than")])
def test_size_of_der_is_limited(size, message):
    with pytest.raises(NotACertificate, match=message):
        certificates.parse_der(b"\x30" * size)


def test_pkcs12_with_only_a_key_has_no_certificate(leaf):
    data = pkcs12.serialize_key_and_certificates(b"me", leaf.key, None, None, serialization.NoEncryption())
    with pytest.raises(NotACertificate, match="without a certificate"):
        parse(data, "me.p12")


@pytest.mark.parametrize(
    ("dates", "read"),
    [
        ({"not_valid_after_utc": NOW}, NOW),
        ({"not_valid_after": NOW.replace(tzinfo=None)}, NOW),  # before version 42 of the library
        ({"not_valid_after_utc": datetime(1901, 1, 1, tzinfo=UTC)}, certificates.EARLIEST),
        ({"not_valid_after_utc": datetime(9999, 12, 31, tzinfo=UTC)}, certificates.LATEST),
    ],
)
def test_date_from_either_library_version_is_clamped(dates, read):
    assert fields.moment_of(SimpleNamespace(**dates), "not_valid_after") == read


def test_undecodable_block_in_a_key_file_is_skipped(leaf, certificate):
    broken = b"-----BEGIN EC PRIVATE KEY-----\nA\n-----END EC PRIVATE KEY-----\n"
    assert certificates.key_matches(certificate, broken + leaf.key_pem) is True
    assert certificates.key_matches(certificate, broken) is None


# ---------------------------------------------------------------- signatures that verify nothing


def signed_by(key, issuer, *, public_key=None, subject="leaf"):
    """Sign a certificate for `subject` with `key` in the name of `issuer`."""
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    cert = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(public_key or key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, algorithm)
    )
    return certificates.parse_der(cert.public_bytes(serialization.Encoding.DER))


def test_signature_is_wrong_if_the_issuers_name_only_looks_equal():
    key = new_key()
    leaf, authority_ = signed_by(key, "ca\x01"), signed_by(key, "ca\x02", subject="ca\x02")
    assert leaf.issuer == authority_.subject
    assert certificates.signature(leaf, authority_) == "wrong"


def test_signature_of_another_kind_than_the_authoritys_key_is_wrong():
    leaf = signed_by(ed25519.Ed25519PrivateKey.generate(), "ca")
    assert certificates.signature(leaf, signed_by(new_key(), "ca", subject="ca")) == "wrong"


def test_signature_by_a_key_that_cannot_sign_is_unverifiable():
    key = new_key()
    agreement = signed_by(key, "ca", public_key=x25519.X25519PrivateKey.generate().public_key(), subject="ca")
    assert certificates.signature(signed_by(key, "ca"), agreement) == "unverifiable"


def test_signature_by_an_authority_with_a_broken_key_is_wrong():
    key = new_key()
    sound = signed_by(key, "ca", subject="ca")
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    broken = certificates.parse_der(sound.der.replace(point, b"\x04" + b"\x01" * 64))
    assert certificates.signature(signed_by(key, "ca"), sound) == "verified"
    assert certificates.signature(signed_by(key, "ca"), broken) == "wrong"


@pytest.mark.parametrize(
    ("padding_used", "oid"),
    [
        (padding.PKCS1v15(), SignatureAlgorithmOID.RSA_WITH_SHA256),
        (padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32), SignatureAlgorithmOID.RSASSA_PSS),
    ],
)
def test_rsa_signature_of_either_padding(padding_used, oid):
    """Older libraries do not read the padding from a certificate, so the test gives its parts."""
    key, body = kept_key(0), b"to be signed"
    signed = SimpleNamespace(
        signature=key.sign(body, padding_used, hashes.SHA256()),
        tbs_certificate_bytes=body,
        signature_hash_algorithm=hashes.SHA256(),
        signature_algorithm_oid=oid,
    )
    signer = SimpleNamespace(public_key=key.public_key)
    assert signing._signature_verifies(signed, signer) is True
    signed.tbs_certificate_bytes = b"another body"
    with pytest.raises(InvalidSignature):
        signing._signature_verifies(signed, signer)


VERIFIED = """
import sys
from certmedic.core import certificates
certificates.load_library()
before = set(sys.modules)
leaf, ca = (certificates.parse(pem.encode(), "")[0] for pem in sys.argv[1:])
assert certificates.issued_by(leaf, ca)
print(*(set(sys.modules) - before))
"""


def test_signature_loads_nothing_more_once_the_library_is_loaded(ca, leaf):
    """A signature may be verified within a transaction, in which no file is read."""
    certificates.load_library()
    done = subprocess.run(
        [sys.executable, "-P", "-c", VERIFIED, leaf.cert_pem.decode(), ca.cert_pem.decode()],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(AGENT)},
    )
    assert done.stdout.split() == []
