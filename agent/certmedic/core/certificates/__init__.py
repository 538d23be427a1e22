"""Bytes to certificates, and the checks that a TLS library makes on them. Whether a date has passed is asked with `now`.

The library cryptography is loaded with the first certificate, since loading it takes a tenth of the start of the service.
"""

from certmedic.core.certificates.attributes import attributes
from certmedic.core.certificates.checks import Status, covers, names, residual, status
from certmedic.core.certificates.crl import revocations
from certmedic.core.certificates.fields import EARLIEST, LATEST
from certmedic.core.certificates.reading import NotACertificate, parse, parse_der
from certmedic.core.certificates.signing import issued_by, key_matches, load_library, signature

__all__ = [
    "EARLIEST",
    "LATEST",
    "NotACertificate",
    "Status",
    "attributes",
    "covers",
    "issued_by",
    "key_matches",
    "load_library",
    "names",
    "parse",
    "parse_der",
    "residual",
    "revocations",
    "signature",
    "status",
]
