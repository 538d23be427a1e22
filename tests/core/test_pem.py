"""The blocks of PEM text."""

import base64

import pytest

from certmedic.core.pem import certificate_blocks, contents, has_certificate_blocks


def block(label, data):
    return f"-----BEGIN {label}-----\n{base64.b64encode(data).decode()}\n-----END {label}-----\n".encode()


def test_certificate_blocks_are_yielded_in_order_without_other_blocks():
    data = block("PRIVATE KEY", b"k") + block("CERTIFICATE", b"a") + b"text\n" + block("X509 CERTIFICATE", b"b")
    assert list(certificate_blocks(data)) == [b"a", b"b"]


def test_block_that_is_cut_short_or_broken_is_a_sentence():
    cut = b"-----BEGIN CERTIFICATE-----\nAAAA\n"
    broken = b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n"
    first, second, third = certificate_blocks(cut + broken + cut)
    assert "cut short" in first
    assert "base64" in second
    assert "cut short" in third


def test_contents_are_those_of_labels_with_the_ending():
    broken = b"-----BEGIN EC PRIVATE KEY-----\nAAA\n-----END EC PRIVATE KEY-----\n"
    data = block("CERTIFICATE", b"c") + broken + block("EC PRIVATE KEY", b"k")
    assert list(contents(data, b"PRIVATE KEY")) == [b"k"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        b"-----BEGIN X509 CERTIFICATE-----\nMAA=\n-----END X509 CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nMAA=\n",
        b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END PRIVATE KEY-----\n",
        b"-----END CERTIFICATE-----\n",
        b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
    ],
)
def test_whether_text_has_blocks_is_told_without_decoding_them(text):
    assert has_certificate_blocks(text) is bool(list(certificate_blocks(text)))
