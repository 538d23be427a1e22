from datetime import UTC, datetime

import pytest

from certmedic.core.certificates import EARLIEST, LATEST, revocations
from certmedic.core.model import Revocations
from labs import pki

CA = pki.authority("etcd-ca")
BEGINS, ENDS = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
LIST = CA.revoking(CA.leaf("a"), begins=BEGINS, ends=ENDS, number=2**70)
READ = Revocations(path="x.pem", issuer="CN=etcd-ca", number=2**70, this_update=BEGINS, next_update=ENDS)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (LIST, [READ]),
        (CA.pem + LIST + CA.pem, [READ]),
        (LIST + LIST, [READ, READ]),
        (LIST * 30, [READ] * 20),
        (CA.pem, []),
        (b"", []),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n" + LIST, [READ]),
        (b"-----BEGIN X509 CRL-----\n", []),
    ],
)
def test_lists_of_revoked_certificates_are_read_from_pem(data, expected):
    assert list(revocations(data, "x.pem")) == expected


def test_list_without_a_number_has_none():
    (crl,) = revocations(CA.revoking(ends=ENDS, begins=BEGINS), "x.pem")
    assert crl.number is None


class Parsed:
    """A list as the library shows it, with dates that its builder does not take."""

    def __init__(self, begins, ends):
        self.issuer, self.extensions = CA.cert.subject, CA.cert.extensions
        self.last_update_utc, self.next_update_utc = begins, ends


class Older:
    """The same with a library before 42, whose dates are naive."""

    def __init__(self, begins, ends):
        self.issuer, self.extensions = CA.cert.subject, CA.cert.extensions
        self.last_update, self.next_update = begins, ends


@pytest.mark.parametrize(
    ("parsed", "expected"),
    [
        (Parsed(None, None), (EARLIEST, None)),
        (Parsed(BEGINS, datetime(9999, 12, 31, tzinfo=UTC)), (BEGINS, LATEST)),
        (Older(BEGINS.replace(tzinfo=None), None), (BEGINS, None)),
    ],
)
def test_missing_and_endless_dates_are_bounded(monkeypatch, parsed, expected):
    monkeypatch.setattr("cryptography.x509.load_der_x509_crl", lambda _data: parsed)
    (crl,) = revocations(LIST, "x.pem")
    assert (crl.this_update, crl.next_update) == expected


def test_list_that_is_too_large_is_left_out(monkeypatch):
    monkeypatch.setattr("certmedic.core.certificates.crl.LARGEST", 10)
    assert revocations(LIST, "x.pem") == ()
