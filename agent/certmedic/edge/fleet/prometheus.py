"""Records of a fleet from Prometheus, or anything that answers its query API: a few queries, joined here by job and instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from certmedic.core.fleet import Cure, Expiry, Master, Records, Report
from certmedic.core.text import cut, printable
from certmedic.edge.fleet.request import FleetError, address_of, ask, shown

BACK = "7d"  # how long a master that has gone is still listed, and an action shown
INFO = "certmedic_info"
INFO_BEFORE = f"last_over_time(certmedic_info[{BACK}])"
UPDATED = f"max_over_time(certmedic_updated_timestamp_seconds[{BACK}])"
OF_GONE = "1h"  # a master that has gone keeps what it last said for so long; then it counts as silent
FILE = "job, instance, filepath, serial_number"
NOT_AFTER = 'x509_cert_not_after{filepath!=""}'
KIND = "certmedic_certificate_info"
IN_USE = "certmedic_certificate_in_use"
OPENED = "certmedic_incident_opened_timestamp_seconds"
ACTED = f'last_over_time(certmedic_last_act_timestamp_seconds{{state=~"verified|failed"}}[{BACK}])'
LAST = datetime(9999, 12, 31, tzinfo=UTC)

Labels = Mapping[str, str]
Place = tuple[str, str]  # job and instance


def from_prometheus(url: str) -> Records:
    """Return the records of all agents whose metrics a Prometheus has. Raises FleetError."""
    masters = _masters(url)
    if not masters:
        raise FleetError(
            f"{shown(address_of(url))}: it has no series certmedic_info: have the node exporters of the masters"
            " read /run/certmedic/metrics.prom (--collector.textfile.directory=/run/certmedic)"
        )
    return Records(
        masters=tuple(masters.values()),
        expiries=tuple(_expiries(url, masters)),
        reports=tuple(_reports(url, masters)),
        cures=tuple(_cures(url, masters)),
    )


def series(url: str, expression: str) -> Iterator[tuple[Labels, float]]:
    """Yield labels and value of each series of an expression; what has not the form of the API is left out. Raises FleetError."""
    answer = ask(url, "/api/v1/query", {"query": expression})
    name = shown(address_of(url))
    if not isinstance(answer, dict) or answer.get("status") not in ("success", "error"):
        raise FleetError(f"{name}: the answer is JSON, but not that of Prometheus: is the address right?")
    if answer["status"] == "error":
        raise FleetError(f"{name}: Prometheus refuses a query: {cut(printable(str(answer.get('error', ''))), 200)}")
    data = answer.get("data")
    result = data.get("result") if isinstance(data, dict) else None
    for each in result if isinstance(result, list) else ():
        try:
            labels = {str(name): str(value) for name, value in each["metric"].items()}
            yield labels, float(each["value"][1])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            continue


def kept(selector: str) -> str:
    """Return an expression for series as they are, and for a master that has gone as they were."""
    return f"{selector} or (last_over_time({selector}[{OF_GONE}]) unless on (job, instance) {INFO})"


def _place(labels: Labels) -> Place:
    return labels.get("job", ""), labels.get("instance", "")


def _masters(url: str) -> dict[Place, Master]:
    heard = {_place(labels): moment(value) for labels, value in series(url, UPDATED)}
    masters = {}
    for query in (INFO_BEFORE, INFO):  # what holds now counts more than what held before an upgrade
        for labels, _ in series(url, query):
            place = _place(labels)
            masters[place] = Master(
                cluster=labels.get("cluster", ""),
                name=labels.get("host") or place[1].rpartition(":")[0] or place[1],
                heard=heard.get(place),
                version=labels.get("version", ""),
                mode=labels.get("mode", ""),
            )
    return masters


def _expiries(url: str, masters: Mapping[Place, Master]) -> Iterator[Expiry]:
    def key(labels: Labels) -> tuple[Place, str, str]:
        return _place(labels), labels.get("filepath", ""), labels.get("serial_number", "")

    unused = {key(labels) for labels, _ in series(url, f"({kept(IN_USE)}) == 0")}
    ends = {key(labels): value for labels, value in series(url, f"max by ({FILE}) ({kept(NOT_AFTER)})")}
    for labels, _ in series(url, kept(KIND)):
        known, master = key(labels), masters.get(_place(labels))
        end = moment(ends[known]) if known in ends else None
        if master is not None and end is not None and known not in unused:
            yield Expiry(
                cluster=master.cluster,
                master=master.name,
                path=known[1],
                not_after=end,
                plane=labels.get("plane", ""),
                use=labels.get("use", ""),
                cure=labels.get("cure", ""),
                by_itself=labels.get("by_itself") == "yes",
            )


def _reports(url: str, masters: Mapping[Place, Master]) -> Iterator[Report]:
    for labels, value in series(url, kept(OPENED)):
        if (master := masters.get(_place(labels))) is not None:
            yield Report(
                cluster=master.cluster,
                master=master.name,
                cause=labels.get("cause", ""),
                suspect=labels.get("suspect", ""),
                severity=labels.get("severity", ""),
                plane=labels.get("plane", ""),
                group=labels.get("group", ""),
                since=moment(value),
            )


def _cures(url: str, masters: Mapping[Place, Master]) -> Iterator[Cure]:
    for labels, value in series(url, ACTED):
        master, at = masters.get(_place(labels)), moment(value)
        if master is not None and at is not None:
            yield Cure(
                cluster=master.cluster,
                master=master.name,
                at=at,
                what=labels.get("remedy", ""),
                verified=labels.get("state") == "verified",
            )


def moment(seconds: float) -> datetime | None:
    """Return Unix time as a moment, the last one for times too late; None for what is no time."""
    if seconds >= LAST.timestamp():
        return LAST
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # not a number, or long before our era
        return None
