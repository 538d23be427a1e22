"""A fleet of made masters: as records, and as metrics with times from which promtool makes the data of a Prometheus."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from certmedic.core.fleet import Cure, Expiry, Master, Records, Report

HOURS, DAYS = timedelta(hours=1), timedelta(days=1)
MASTERS = ("master-a", "master-b", "master-c")
FILES = 25  # certificates of a master


def made(clusters: int, now: datetime) -> Records:
    """Return the records of clusters of three masters: each tenth has an expired certificate, each fifteenth a silent master."""
    names = [f"prod-{('eu', 'us', 'ap')[number % 3]}-{number:03}.example.org" for number in range(clusters)]
    masters, expiries, reports, cures = [], [], [], []
    for number, cluster in enumerate(names):
        sick = number % 10 == 3
        for place, master in enumerate(MASTERS):
            silent = number % 15 == 7 and place == 2
            heard = now - (30 * HOURS if silent else timedelta(seconds=40))
            masters.append(Master(cluster=cluster, name=master, heard=heard, version="1.0.0", mode="notify"))
            for file in range(FILES):
                first = sick and place == 1 and file == 0
                days = -1 if first else 4 + (number * 37 + place * 11 + file * 29) % 380
                expiries.append(
                    Expiry(
                        cluster=cluster,
                        master=master,
                        path="/mnt/master-vol-01/pki/etcd-cluster-token-etcd/peers/me.crt"
                        if first
                        else f"/etc/kubernetes/pki/{('apiserver', 'front-proxy-client', 'etcd/server', 'admin')[file % 4]}-{file}.crt",
                        not_after=(now + days * DAYS).replace(microsecond=0),
                        plane="kops",
                        use="peer",
                        cure="restart" if file % 3 else "renew",
                        by_itself=file % 5 == 1,
                    )
                )
            if sick:
                reports.append(
                    Report(
                        cluster=cluster,
                        master=master,
                        cause="expired",
                        suspect="own" if place == 1 else "peer",
                        severity="critical" if place == 1 else "warning",
                        plane="kops",
                        group="main",
                        since=now - (20 - place) * HOURS,
                    )
                )
        if number % 8 == 0:
            at = (now - (number + 1) * HOURS).replace(microsecond=0)
            cures.append(Cure(cluster=cluster, master=MASTERS[0], at=at, what="restart", verified=number != 16))
    return Records(masters=tuple(masters), expiries=tuple(expiries), reports=tuple(reports), cures=tuple(cures))


def samples(records: Records) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield name, labels and value of each series by which the agents of such a fleet show it."""
    for master in records.masters:
        here = {"cluster": master.cluster, "job": "node", "instance": f"{master.name}.{master.cluster}:9100"}
        yield "certmedic_info", {**here, "host": master.name, "version": master.version, "mode": master.mode}, 1
        assert master.heard is not None
        yield "certmedic_updated_timestamp_seconds", here, master.heard.timestamp()
    for number, expiry in enumerate(records.expiries):
        here = {
            "cluster": expiry.cluster,
            "job": "node",
            "instance": f"{expiry.master}.{expiry.cluster}:9100",
            "filepath": expiry.path,
            "serial_number": str(10**38 + number),
        }
        names = {
            "subject_CN": expiry.path.rpartition("/")[2],
            "subject_O": "system:masters",
            "issuer_CN": "kubernetes-ca",
        }
        yield "x509_cert_not_after", {**here, **names}, expiry.not_after.timestamp()
        info = {"plane": expiry.plane, "use": expiry.use, "cure": expiry.cure, "renewer": "nodeup", "holder": "etcd"}
        yield "certmedic_certificate_info", {**here, **info, "by_itself": "yes" if expiry.by_itself else "no"}, 1
        yield "certmedic_certificate_in_use", here, 1
    for report in records.reports:
        here = {"cluster": report.cluster, "job": "node", "instance": f"{report.master}.{report.cluster}:9100"}
        what = {name: getattr(report, name) for name in ("severity", "cause", "suspect", "plane", "group")}
        assert report.since is not None
        yield "certmedic_incident_opened_timestamp_seconds", {**here, **what}, report.since.timestamp()
    for cure in records.cures:
        here = {"cluster": cure.cluster, "job": "node", "instance": f"{cure.master}.{cure.cluster}:9100"}
        state = "verified" if cure.verified else "failed"
        yield "certmedic_last_act_timestamp_seconds", {**here, "remedy": cure.what, "state": state}, cure.at.timestamp()


def write_data(home: Path, records: Records, now: datetime) -> None:
    """Have promtool make the data of a Prometheus in which these metrics were read from a minute before `now` to twenty after."""
    lines: dict[str, list[str]] = {}
    for name, labels, value in samples(records):
        text = ",".join(f'{label}="{word}"' for label, word in labels.items())
        of_name = lines.setdefault(name, [f"# TYPE {name} gauge"])
        of_name += [f"{name}{{{text}}} {value} {now.timestamp() - ago:.0f}" for ago in range(60, -1260, -240)]
    home.mkdir(exist_ok=True)
    (home / "made.om").write_text("\n".join([*(line for each in lines.values() for line in each), "# EOF", ""]))
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(home / "made.om"), str(home / "data")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
