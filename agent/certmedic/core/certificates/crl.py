"""Lists of revoked certificates (RFC 5280, 5): issuer and dates. The revoked certificates are not read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from certmedic.core.certificates.fields import EARLIEST, LATEST, printable
from certmedic.core.model import Revocations
from certmedic.core.pem import contents

if TYPE_CHECKING:
    from cryptography import x509

MOST = 20  # lists of one file
LARGEST = 8 * 1024 * 1024  # bytes of one list


def revocations(data: bytes, path: str) -> tuple[Revocations, ...]:
    """Return the lists of revoked certificates in PEM; lists that cannot be read are left out. Raises nothing."""
    if b"-----BEGIN X509 CRL-----" not in data:
        return ()
    return tuple(_read(data, path))


def _read(data: bytes, path: str) -> Iterator[Revocations]:
    from cryptography import x509  # noqa: PLC0415 - see __init__.py

    for number, block in enumerate(contents(data, b"X509 CRL")):
        if number >= MOST:
            return
        if len(block) > LARGEST:
            continue
        try:
            crl = x509.load_der_x509_crl(block)
            yield Revocations(
                path=path,
                issuer=printable(crl.issuer.rfc4514_string()),
                number=_number(crl),
                this_update=_moment(crl, "last_update") or EARLIEST,
                next_update=_moment(crl, "next_update"),
            )
        except Exception:  # noqa: BLE001, S112 - the exceptions differ from version to version of the library
            continue


def _number(crl: x509.CertificateRevocationList) -> int | None:
    from cryptography import x509  # noqa: PLC0415 - see __init__.py

    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return None


def _moment(crl: x509.CertificateRevocationList, name: str) -> datetime | None:
    """Return "last_update" or "next_update", clamped; None if the list has none."""
    # cryptography has the aware attribute since version 42 and warns of the naive one since then.
    moment: Any = getattr(crl, f"{name}_utc") if hasattr(crl, f"{name}_utc") else getattr(crl, name)
    return None if moment is None else min(max(moment.replace(tzinfo=UTC), EARLIEST), LATEST)
