"""The contents that a renewed certificate may have. Everything else is dropped or refused.

The use of its place (core/planes/uses.py) says whether it may be renewed here and which extended key usages it may have. Of
these the new certificate has those that the old one had; they are never widened. Every use allows one common name in plain letters
that does not begin with "system:", no organisation, or a subject that the record of the plane lists for this use; DNS names and addresses only, no CA, digital signature and key encipherment.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from certmedic.actor.renew.files import RenewError
from certmedic.core import planes
from certmedic.core.model import Place
from certmedic.core.planes import Subject

_USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}

_COMMON_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_DNS_NAME = re.compile(
    r"(?:\*\.)?(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?"
)
_MOST_NAMES = 64


def subject(old: x509.Certificate, place: Place, path: str) -> x509.Name:
    """Return the subject. Raises RenewError if it is not allowed: where the plane's record lists subjects, it must be one of them."""
    names = list(old.subject)
    listed = planes.plane_of(place.plane).subjects.get(place.use)
    if listed is not None:
        held = sorted((name.oid.dotted_string, str(name.value)) for name in names)
        if held not in [sorted(_attributes(known)) for known in listed]:
            raise RenewError(
                f"{path}: its subject is not one that {place.plane} gives to such a file, so it is not renewed here"
            )
        return old.subject
    if len(names) != 1 or names[0].oid != NameOID.COMMON_NAME:
        raise RenewError(f"{path}: its subject holds more than a common name, so it is not renewed here")
    if not _COMMON_NAME.fullmatch(str(names[0].value)):
        raise RenewError(f"{path}: its common name is not that of a member or program, so it is not renewed here")
    return old.subject


def _attributes(listed: Subject) -> list[tuple[str, str]]:
    named = [(NameOID.COMMON_NAME.dotted_string, listed.common_name)]
    return named + [(NameOID.ORGANIZATION_NAME.dotted_string, listed.organisation)] * bool(listed.organisation)


def extensions(old: x509.Certificate, use: str, path: str) -> Iterator[tuple[x509.ExtensionType, bool]]:
    """Yield each extension of the new certificate except the CA's, and whether it is critical. Raises RenewError."""
    yield x509.BasicConstraints(ca=False, path_length=None), True
    yield (
        x509.KeyUsage(
            digital_signature=True,
            key_encipherment=True,
            content_commitment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        ),
        True,
    )
    yield x509.ExtendedKeyUsage(_usages(old, use, path)), False
    names = _names(old, path)
    if names:
        yield x509.SubjectAlternativeName(names), False
    yield x509.SubjectKeyIdentifier.from_public_key(old.public_key()), False
    unknown = [
        extension.oid.dotted_string
        for extension in old.extensions
        if extension.critical and extension.oid not in _KNOWN
    ]
    if unknown:
        raise RenewError(f"{path}: it has a critical extension that is not known here ({unknown[0]})")


_KNOWN = (
    x509.BasicConstraints.oid,
    x509.KeyUsage.oid,
    x509.ExtendedKeyUsage.oid,
    x509.SubjectAlternativeName.oid,
    x509.SubjectKeyIdentifier.oid,
    x509.AuthorityKeyIdentifier.oid,
)


def _usages(old: x509.Certificate, use: str, path: str) -> list[ObjectIdentifier]:
    known = planes.use_of(use)
    if not known.renewable:
        raise RenewError(f"{path}: a certificate of this kind ({use or 'unknown'}) is not renewed here")
    allowed = [oid for name, oid in _USAGES.items() if name in known.needs | known.may_have]
    needed = {_USAGES[name] for name in known.needs}
    try:
        had = list(old.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        had = allowed
    chosen = [usage for usage in allowed if usage in had or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in had]
    if not needed <= set(chosen):
        raise RenewError(f"{path}: its extended key usage does not fit its place ({use}), and is not widened here")
    return chosen


def _names(old: x509.Certificate, path: str) -> list[x509.GeneralName]:
    try:
        names = list(old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []
    if len(names) > _MOST_NAMES:
        raise RenewError(f"{path}: it has {len(names)} names; more than {_MOST_NAMES} are not renewed here")
    for name in names:
        is_address = isinstance(name, x509.IPAddress) and isinstance(
            name.value, ipaddress.IPv4Address | ipaddress.IPv6Address
        )
        is_name = isinstance(name, x509.DNSName) and len(name.value) < 254 and _DNS_NAME.fullmatch(name.value)
        if not is_address and not is_name:
            raise RenewError(f"{path}: it has an alternative name that is neither a DNS name nor an address")
    return names
