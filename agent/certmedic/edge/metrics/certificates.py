"""The metrics of certificates: on disk, served, and in memory.

The x509_ names and labels are those of enix/x509-certificate-exporter@5381261, docs/metrics.md. A label that does not apply is left
out, which Prometheus takes for an empty one: those of Secrets, ConfigMaps and caBundles. Certificates in files that others than
root may change are counted and nothing more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from certmedic.core import planes
from certmedic.core.certificates import attributes
from certmedic.core.decision import Policy, cure_of, is_used, renews_by_itself
from certmedic.core.examine import replaced, served_by_system
from certmedic.core.model import Certificate, Facts, Place, Stored, Trust

NAMES = ("C", "ST", "L", "O", "OU", "CN")
CERTIFICATE = (
    "filename",
    "filepath",
    "embedded_kind",
    "embedded_key",
    "serial_number",
    *(f"issuer_{name}" for name in NAMES),
    *(f"subject_{name}" for name in NAMES),
    "discriminator",
)
CRL = ("filename", "filepath", *(f"issuer_{name}" for name in NAMES), "crl_number")
NOBODY = ("", "", "", *("" for name in NAMES * 2), "")  # of a file without a certificate: all but its name and path
FILE = ("filepath", "serial_number")
INFO = (*FILE, "plane", "group", "use", "renewer", "cure", "holder", "by_itself")
SOURCE = ("file", "certificates")  # source_kind and source_name: the agent is one source
INVENTORY_FOR = timedelta(minutes=30)  # an older inventory is down: the agent takes one every ten minutes
MOST = 500  # certificates, those that expire first
LONGEST_LABEL = 256
# A fault of a file -> its reason in x509_source_errors_total. The first reason has a series from the start, so that agents are counted.
REASONS: Mapping[str, str] = {
    "unreadable": "read_failed",
    "missing": "broken_symlink",
    "empty": "no_certificate_found",
    "not_a_certificate": "no_certificate_found",
    "broken": "bad_pem",
    "too_large": "read_failed",
    "password": "bad_passphrase",
}


class Certificates:
    """Makes the metrics of certificates, and counts the faults of each inventory once."""

    def __init__(self) -> None:
        self._errors: Counter[str] = Counter(read_failed=0)  # reason -> faulty files, over all inventories
        self._collisions = 0
        self._counted: datetime | None = None  # the last inventory that was counted

    def metrics(self, facts: Facts | None, policy: Policy | None, now: datetime) -> list[Metric]:
        """Return the metrics of an inventory; only the counters if there was none yet."""
        if facts is None:
            return self._counters()
        trusted = [stored for stored in facts.stored if stored.trust is Trust.SYSTEM and not replaced(stored, facts)]
        listed = sorted(trusted, key=lambda stored: stored.certificate.not_after)[:MOST]
        rows = dict(_rows(listed))
        if facts.at != self._counted:
            self._counted = facts.at
            self._errors.update(REASONS[fault.reason] for fault in facts.faults if fault.trust is Trust.SYSTEM)
            self._collisions += sum(bool(labels[-1]) for labels in rows)
        files = len({stored.certificate.path for stored in trusted})
        return [
            *_dates(rows, facts, now),
            *_revocations(facts, now),
            *_source(files, now - facts.at),
            *self._counters(),
            *_counts(facts, len(trusted) - len(listed)),
            *_infos(listed, facts, policy),
            *_served(listed, facts),
        ]

    def _counters(self) -> list[Metric]:
        errors = CounterMetricFamily(
            "x509_source_errors",
            "Faulty certificate files, each counted once an inventory.",
            labels=["source_kind", "source_name", "reason"],
        )
        for reason, number in sorted(self._errors.items()):
            errors.add_metric([*SOURCE, reason], number)
        passwords = CounterMetricFamily(
            "x509_pkcs12_passphrase_failures",
            "PKCS#12 archives that their password does not open, each counted once an inventory.",
            labels=["source_name"],
        )
        passwords.add_metric([SOURCE[1]], self._errors["bad_passphrase"])
        collisions = CounterMetricFamily(
            "x509_cert_collision",
            "Certificates that differ from another one in no label but the discriminator, each counted once an inventory.",
            labels=["source_kind"],
        )
        collisions.add_metric([SOURCE[0]], self._collisions)
        dropped = CounterMetricFamily(
            "x509_cert_collision_dropped",
            "Certificates left out because of that: none ever is.",
            labels=["source_kind"],
        )
        dropped.add_metric([SOURCE[0]], 0)
        return [errors, passwords, collisions, dropped]


def _rows(listed: Iterable[Stored]) -> Iterator[tuple[tuple[str, ...], Certificate]]:
    """Yield the labels of each certificate, and that certificate. A series must be unique, though a file may hold a certificate twice."""
    known: dict[tuple[str, ...], str] = {}
    for stored in listed:
        certificate = stored.certificate
        labels = (*_labels(certificate), "")
        if labels in known and known[labels] != certificate.fingerprint:
            labels = (*labels[:-1], certificate.fingerprint[:8])
        known.setdefault(labels, certificate.fingerprint)
        yield labels, certificate


def _labels(certificate: Certificate) -> tuple[str, ...]:
    issuer, subject = attributes(certificate.issuer), attributes(certificate.subject)
    return tuple(
        text[:LONGEST_LABEL]
        for text in (
            PurePosixPath(certificate.path).name,
            certificate.path,
            certificate.embedded_kind,
            certificate.embedded_key,
            _serial(certificate),
            *(issuer.get(name, "") for name in NAMES),
            *(subject.get(name, "") for name in NAMES),
        )
    )


def _serial(certificate: Certificate) -> str:
    return str(int(certificate.serial, 16))


def _dates(rows: Mapping[tuple[str, ...], Certificate], facts: Facts, now: datetime) -> list[Metric]:
    before = GaugeMetricFamily("x509_cert_not_before", "NotBefore, as Unix time.", labels=CERTIFICATE)
    after = GaugeMetricFamily("x509_cert_not_after", "NotAfter, as Unix time.", labels=CERTIFICATE)
    expired = GaugeMetricFamily("x509_cert_expired", "1 if NotAfter has passed, else 0.", labels=CERTIFICATE)
    error = GaugeMetricFamily("x509_cert_error", "1 if no certificate could be read, else 0.", labels=CERTIFICATE)
    for labels, certificate in rows.items():
        before.add_metric(labels, certificate.not_before.timestamp())
        after.add_metric(labels, certificate.not_after.timestamp())
        expired.add_metric(labels, float(certificate.not_after < now))
        error.add_metric(labels, 0.0)
    for fault in facts.faults[:MOST]:
        if fault.trust is Trust.SYSTEM:
            path = fault.path[:LONGEST_LABEL]
            error.add_metric((PurePosixPath(path).name, path, *NOBODY), 1.0)
    return [before, after, expired, error]


def _revocations(facts: Facts, now: datetime) -> list[Metric]:
    following = GaugeMetricFamily("x509_crl_next_update", "nextUpdate of a CRL, as Unix time.", labels=CRL)
    this = GaugeMetricFamily("x509_crl_this_update", "thisUpdate of a CRL, as Unix time.", labels=CRL)
    number = GaugeMetricFamily("x509_crl_number", "Number of a CRL.", labels=CRL)
    stale = GaugeMetricFamily("x509_crl_stale", "1 if nextUpdate has passed, else 0.", labels=CRL)
    known: set[tuple[str, ...]] = set()
    for crl in [crl for crl in facts.revocations if crl.trust is Trust.SYSTEM][:MOST]:
        issuer = attributes(crl.issuer)
        texts = (
            PurePosixPath(crl.path).name,
            crl.path,
            *(issuer.get(name, "") for name in NAMES),
            "" if crl.number is None else str(crl.number),
        )
        labels = tuple(text[:LONGEST_LABEL] for text in texts)
        if labels in known:
            continue
        known.add(labels)
        this.add_metric(labels, crl.this_update.timestamp())
        if crl.number is not None:
            number.add_metric(labels, crl.number)
        if crl.next_update is not None:
            following.add_metric(labels, crl.next_update.timestamp())
            stale.add_metric(labels, float(crl.next_update < now))
    return [following, this, number, stale]


def _source(files: int, age: timedelta) -> list[Metric]:
    up = GaugeMetricFamily(
        "x509_source_up", "1 if all files were looked at lately, else 0.", labels=["source_kind", "source_name"]
    )
    up.add_metric(SOURCE, float(age < INVENTORY_FOR))
    bundles = GaugeMetricFamily(
        "x509_source_bundles", "Files in which certificates were read.", labels=["source_kind", "source_name"]
    )
    bundles.add_metric(SOURCE, files)
    return [up, bundles]


def _counts(facts: Facts, left: int) -> list[Metric]:
    trusts = Counter(stored.trust for stored in facts.stored)
    known = GaugeMetricFamily(
        "certmedic_certificates",
        "Certificates in files, by who may change the file: only `system` ones have series.",
        labels=["trust"],
    )
    for trust in Trust:
        known.add_metric([trust], trusts[trust])
    return [
        known,
        GaugeMetricFamily(
            "certmedic_certificates_without_series", f"Certificates beyond the first {MOST}.", value=left
        ),
        GaugeMetricFamily(
            "certmedic_inventory_timestamp_seconds", "When all files were last looked at.", value=facts.at.timestamp()
        ),
    ]


def _infos(listed: Iterable[Stored], facts: Facts, policy: Policy | None) -> list[Metric]:
    info = GaugeMetricFamily(
        "certmedic_certificate_info",
        "1. Plane, use and renewer of a certificate, its cure, the program that holds it, and whether it is renewed by itself.",
        labels=INFO,
    )
    used = GaugeMetricFamily("certmedic_certificate_in_use", "0 if another certificate is used instead.", labels=FILE)
    cures: dict[Place, str] = {}
    known: set[tuple[str, str]] = set()
    for stored in listed:
        place, certificate = stored.place, stored.certificate
        file = (certificate.path[:LONGEST_LABEL], _serial(certificate))
        if file in known:
            continue
        known.add(file)
        if place not in cures:
            cures[place] = cure_of(place, facts)
        alone = policy is not None and renews_by_itself(stored, facts, policy)
        holder = planes.use_of(place.use).holder
        words = (place.plane, place.group, place.use, place.renewer, cures[place], holder, "yes" if alone else "no")
        info.add_metric((*file, *words), 1)
        used.add_metric(file, float(is_used(stored, facts)))
    return [info, used]


def _served(listed: Iterable[Stored], facts: Facts) -> list[Metric]:
    """Return what trusted listeners of this machine serve, and whether it is what the files hold."""
    served = GaugeMetricFamily(
        "certmedic_certificate_served",
        "1 if the port of this file serves the certificate in it, 0 if it serves another one.",
        labels=[*FILE, "port"],
    )
    until = GaugeMetricFamily(
        "certmedic_served_not_after", "NotAfter of the certificate that is served.", labels=["address", "port"]
    )
    memory = GaugeMetricFamily(
        "certmedic_memory_not_after",
        "NotAfter of a certificate that a program serves and that no file holds.",
        labels=["address", "port", "program"],
    )
    shown: dict[tuple[str, str], Certificate] = {}  # the one that expires first, if SNI makes a difference
    by_port: dict[int, set[str]] = {}
    for seen, certificate in served_by_system(facts):
        by_port.setdefault(seen.port, set()).add(certificate.fingerprint)
        where = (seen.address, str(seen.port))
        if where not in shown or certificate.not_after < shown[where].not_after:
            shown[where] = certificate
    filed = {stored.certificate.fingerprint for stored in facts.stored}
    holders: dict[str, str] = {}
    known: set[tuple[str, ...]] = set()
    for stored in listed:
        certificate = stored.certificate
        for port in stored.place.ports:
            holders.setdefault(str(port), planes.use_of(stored.place.use).holder)
            labels = (certificate.path[:LONGEST_LABEL], _serial(certificate), str(port))
            if port in by_port and not certificate.is_ca and certificate.index == 0 and labels not in known:
                known.add(labels)
                served.add_metric(labels, float(certificate.fingerprint in by_port[port]))
    for (address, port_name), certificate in shown.items():
        until.add_metric((address, port_name), certificate.not_after.timestamp())
        if certificate.fingerprint not in filed:
            memory.add_metric((address, port_name, holders.get(port_name, "")), certificate.not_after.timestamp())
    return [served, until, memory]
