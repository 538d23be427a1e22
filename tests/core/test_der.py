"""Slices of DER: malformed input raises IndexError or returns None."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from certmedic.core import der
from labs import pki

CA = pki.authority("ca")


def element(tag, *contents):
    """Encode one element with a long-form length."""
    content = b"".join(contents)
    return bytes([tag, 0x84]) + len(content).to_bytes(4, "big") + content


SERIAL, ALGORITHM, NAME, DATES, KEY = (element(0x30, bytes([number])) for number in range(5))
EXTENSIONS = element(0xA3, element(0x30, element(0x30, element(0x06, b"id"), element(0x04, b"held"))))


def certificate(*fields):
    return element(0x30, element(0x30, *fields), ALGORITHM, element(0x03, b"\0signature"))


@pytest.mark.parametrize(
    ("before", "after", "extensions"),
    [
        ((element(0xA0, b"\2"),), (EXTENSIONS,), ((b"id", b"held"),)),
        ((), (), ()),  # version 1
        (
            (element(0xA0, b"\2"),),
            (element(0x81, b"issuer"), element(0x82, b"subject"), EXTENSIONS),
            ((b"id", b"held"),),
        ),
        ((element(0xA0, b"\2"),), (element(0x81, b"issuer"),), ()),
    ],
)
def test_pieces_are_read_from_every_version(before, after, extensions):
    data = certificate(*before, SERIAL, ALGORITHM, element(0x30, b"issuer"), DATES, NAME, KEY, *after)
    assert der.pieces(data) == der.Pieces(element(0x30, b"issuer"), NAME, KEY, extensions)


def test_pieces_of_a_truncated_certificate_raise_an_error():
    whole = certificate(SERIAL, ALGORITHM, NAME, DATES, NAME, KEY)
    assert der.pieces(whole).public_key == KEY
    for length in range(whole.index(KEY) + len(KEY)):
        with pytest.raises(IndexError):
            der.pieces(whole[:length])


def test_element_that_is_longer_than_its_container_raises_an_error():
    with pytest.raises(IndexError, match="longer than"):
        der.inside(b"\x30\x03\x02\x02\x01")


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_public_numbers_are_equal_in_certificate_and_private_key(kind):
    key = pki.kept_key(0, kind=kind)
    leaf = CA.leaf("x", key=key)
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    assert der.public_numbers(leaf.der) in private
    held = der.rsa_numbers(private)
    assert held is None if kind == "ec" else held.startswith(der.public_numbers(leaf.der))


NUMBERS = element(0x02, b"modulus") + element(0x02, b"exponent")
PKCS1 = element(0x30, b"\x02\x01\x00", NUMBERS)
RSA = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"


def pkcs8(algorithm, key):
    return element(0x30, b"\x02\x01\x00", element(0x30, algorithm), element(0x04, key))


@pytest.mark.parametrize(
    ("key", "numbers"),
    [
        (PKCS1, NUMBERS),
        (pkcs8(RSA, PKCS1), NUMBERS),
        (pkcs8(b"\x06\x01\x2a", PKCS1), None),
        (PKCS1 + b"\0", None),
        (element(0x31, b"\x02\x01\x00", NUMBERS), None),
        (element(0x30, b"\x02\x01\x01", NUMBERS), None),
        (element(0x30, b"\x02\x01\x00", element(0x04, b"x")), None),
        (element(0x30, b"\x02\x01\x00"), None),  # ends before its numbers
        (b"\x30", None),
        (b"", None),
    ],
)
def test_rsa_numbers_are_read_from_pkcs1_and_pkcs8(key, numbers):
    assert der.rsa_numbers(key) == numbers


def test_key_of_another_kind_has_no_rsa_numbers():
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert der.rsa_numbers(key) is None


@pytest.mark.parametrize(
    ("data", "is_archive"),
    [
        (element(0x30, b"\x02\x01\x03"), True),
        (element(0x30, b"\x02\x01\x02"), False),
        (CA.der, False),
        (b"\x30", False),
    ],
)
def test_pkcs12_is_recognised_by_its_version(data, is_archive):
    assert der.is_pkcs12(data) is is_archive
