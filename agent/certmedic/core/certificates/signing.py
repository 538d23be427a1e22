"""Who signed a certificate, and whether a private key belongs to it."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from certmedic.core.keys import key_fits
from certmedic.core.model import Certificate

if TYPE_CHECKING:
    from cryptography import x509

Signature = Literal["verified", "wrong", "unverifiable"]
REMEMBERED = 2048  # pairs of certificates whose signature was verified


def load_library() -> None:
    """Load the library now, instead of with the first signature, which may be verified within a transaction."""
    from cryptography import x509  # noqa: F401, PLC0415 - see __init__.py
    from cryptography.hazmat.backends import default_backend  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import padding  # noqa: F401, PLC0415 - as above
    from cryptography.hazmat.primitives.serialization import pkcs12  # noqa: F401, PLC0415 - as above

    default_backend()


def issued_by(leaf: Certificate, ca: Certificate) -> bool:
    """Whether `ca` signed `leaf`: the subject of `ca` is the issuer of `leaf`, and its key verifies the signature.

    The name alone proves nothing, because a reissued CA keeps its name. Key identifiers prove nothing, because anybody can write them.
    """
    return signature(leaf, ca) == "verified"


def signature(leaf: Certificate, ca: Certificate) -> Signature:
    """Verify the signature on `leaf` with the key of `ca`; `unverifiable` if the library does not know its algorithm."""
    return _remembered_signature(_Bytes(leaf), _Bytes(ca)) if leaf.issuer == ca.subject else "wrong"


class _Bytes:
    """The DER of a certificate, as half of a key of the cache of signatures."""

    __slots__ = ("der", "mark")

    def __init__(self, certificate: Certificate) -> None:
        self.der = certificate.der
        self.mark = hashlib.sha256(certificate.der).digest()  # a caller may have set the fingerprint field to anything

    def __hash__(self) -> int:
        return hash(self.mark)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bytes) and self.mark == other.mark


@lru_cache(maxsize=REMEMBERED)
def _remembered_signature(leaf: _Bytes, ca: _Bytes) -> Signature:
    from cryptography import x509  # noqa: PLC0415 - see __init__.py
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415 - as above

    try:
        signed = x509.load_der_x509_certificate(leaf.der)
        signer = x509.load_der_x509_certificate(ca.der)
        if signed.issuer != signer.subject:
            return "wrong"
        return "verified" if _signature_verifies(signed, signer) else "wrong"
    except InvalidSignature:
        return "wrong"
    except UnsupportedAlgorithm:
        return "unverifiable"
    except ValueError:
        return "wrong"  # the library refuses to load the key: a broken point, a tiny modulus


def _signature_verifies(signed: x509.Certificate, signer: x509.Certificate) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - see __init__.py
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa  # noqa: PLC0415 - as above
    from cryptography.x509.oid import SignatureAlgorithmOID  # noqa: PLC0415 - as above

    # cryptography has verify_directly_issued_by only since version 40.
    key = signer.public_key()
    signature, body = signed.signature, signed.tbs_certificate_bytes
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        key.verify(signature, body)
        return True
    algorithm = signed.signature_hash_algorithm
    if algorithm is None:
        return False
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, body, ec.ECDSA(algorithm))
        return True
    if isinstance(key, rsa.RSAPublicKey):
        if signed.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
            pss = padding.PSS(mgf=padding.MGF1(algorithm), salt_length=padding.PSS.AUTO)
            key.verify(signature, body, pss, algorithm)
        else:
            key.verify(signature, body, padding.PKCS1v15(), algorithm)
        return True
    raise UnsupportedAlgorithm(f"keys of type {type(key).__name__}")


def key_matches(certificate: Certificate, private_key_pem: bytes) -> bool | None:
    """Whether the private key belongs to the certificate; None if the key cannot be read (encrypted, broken)."""
    return key_fits(certificate.der, private_key_pem)


def loaded_key_fits(certificate: bytes, private_key_pem: bytes) -> bool | None:
    """Like `key_fits` of `core/keys.py`, for keys that only the library can read."""
    from cryptography import x509  # noqa: PLC0415 - see __init__.py
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above

    try:
        mine = serialization.load_pem_private_key(private_key_pem, None).public_key()
        theirs = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    encoding, shape = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return mine.public_bytes(encoding, shape) == theirs.public_bytes(encoding, shape)
